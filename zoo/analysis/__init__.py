"""What representations tell about a model.

    energies = zoo.analysis.per_layer(model, graph)             # Dirichlet energy of every hidden layer
    zoo.analysis.mad(graph, model.encode(model.prepare(graph)))
"""

from zoo.analysis.oversmoothing import dirichlet_energy, mad, mad_gap, mu, per_layer, sid

__all__ = ["dirichlet_energy", "mad", "mad_gap", "mu", "per_layer", "sid"]
