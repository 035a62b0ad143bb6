"""What a graph of the CSBM tells of its classes: its features alone, the labelled nodes' edges alone, and both.

    python benchmarks/sbp_csbm.py

The best rule of each kind, by the sign of a log-likelihood ratio with the model's own parameters: no method that sees
no more can be expected to do better. Edges are those between a test node and a labelled one; what goes over several
unlabelled nodes is left out. Mean test accuracy in per cent over the graphs and splits of table 10.
"""

import math
import statistics
from typing import Any

import click
import torch
from torch import Tensor

from zoo import datasets

SEEDS = 10
ACROSS = math.log(100) / 100  # probability of an edge between the classes
WITHIN = 2 * ACROSS
MEANS = {"csbm": 1.0, "csbm-200": 1.0, "csbm-200-unit": 8**-0.5}  # distance of a class's mean from 0, in every feature


def ratios(graph: Any, mean: float) -> tuple[Tensor, Tensor]:
    """Log-likelihood ratios of class 1 to class 0 by features and by labelled nodes' edges, two of (num_nodes,)."""
    known = graph.ndata["train_mask"]
    joined = torch.zeros(graph.num_nodes(), graph.num_nodes(), dtype=torch.bool)
    joined[graph.edges()] = True
    of_pairs = torch.where(joined, math.log(WITHIN / ACROSS), math.log((1 - WITHIN) / (1 - ACROSS)))
    return 2 * mean * graph.ndata["feat"].sum(1), of_pairs[:, known] @ signs(graph)[known]


def signs(graph: Any) -> Tensor:
    """-1 for class 0 and 1 for class 1."""
    return 2 * graph.ndata["label"].float() - 1


def accuracies(name: str, seed: int) -> tuple[float, float, float]:
    """Test accuracy in per cent by features, by edges, and by both."""
    graph = datasets.load(name, split="random-79-1-20", seed=seed)
    by_feat, by_edges = ratios(graph, MEANS[name])
    right = [(ratio * signs(graph) > 0)[graph.ndata["test_mask"]] for ratio in (by_feat, by_edges, by_feat + by_edges)]
    features, edges, both = (100 * float(hits.double().mean()) for hits in right)
    return features, edges, both


@click.command()
def main() -> None:
    """Prints the three accuracies for each kind of graph."""
    click.echo(f"{'graphs':<16}{'features':>10}{'edges':>10}{'both':>10}")
    for name in MEANS:
        means = map(statistics.fmean, zip(*(accuracies(name, seed) for seed in range(SEEDS)), strict=True))
        click.echo(f"{name:<16}{''.join(f'{mean:>10.2f}' for mean in means)}")


if __name__ == "__main__":
    main()
