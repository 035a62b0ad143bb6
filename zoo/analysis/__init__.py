"""What representations tell about a model.

    energies = zoo.analysis.per_layer(model, graph)             # Dirichlet energy of every hidden layer
    zoo.analysis.mad(graph, model.encode(model.prepare(graph)))
    zoo.analysis.count_operations(model, graph)                 # floating-point operations of a forward pass
"""

from zoo.analysis.operations import count_operations
from zoo.analysis.oversmoothing import attractor_rank, dirichlet_energy, mad, mad_gap, mu, per_layer, sid

__all__ = ["attractor_rank", "count_operations", "dirichlet_energy", "mad", "mad_gap", "mu", "per_layer", "sid"]
