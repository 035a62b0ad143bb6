"""SBP's table 6: the structural imbalance degree of each method's signed graph, on graphs of the CSBM.

    python benchmarks/sbp_table6.py

A method is read as A⁺ - A⁻ (the paper's table 5), a pair of nodes by the sign of its entry, here in matrices of all
pairs. |P|: nodes of the same label, the node itself among them, whose entry is not positive. |N|: nodes of the other
label whose entry is not negative. SID is half their sum. Means over ten graphs of `csbm-200`, of whose labels four
fifths are known, beside the printed values. DropEdge's are those of dropped edges that are missing, not negative.
"""

from collections.abc import Callable

import click
import torch
from torch import Tensor

from zoo import datasets

SEEDS = 10
DROPPED = 0.3  # share of the edges: the one at which the printed |P| comes out; the paper does not say it
PUBLISHED = {
    "GCN, SGC": (89.87, 100.00, 94.94),
    "DropEdge": (92.62, 100.00, 96.31),
    "Residual": (90.87, 100.00, 95.44),
    "APPNP, JKNet, DAGNN": (0.00, 100.00, 50.00),
    "BatchNorm, PairNorm": (89.87, 4.56, 47.22),
    "Feature-SBP": (89.87, 4.56, 47.22),
    "Label-SBP": (32.46, 36.16, 34.31),
}


class Sample:
    """One graph: what the signs of all methods are made of.

    Attributes:
        adjacency: Row-stochastic, with self-loops, (n, n).
        feat: (n, width).
        label: (n,).
        known: (n,), bool.
        kept: Symmetric, bool, (n, n): the pairs that DropEdge leaves.
    """

    def __init__(self, seed: int) -> None:
        graph = datasets.load("csbm-200", split="random-79-1-20", seed=seed)
        loops = torch.eye(graph.num_nodes())
        joined = torch.zeros_like(loops)
        joined[graph.edges()] = 1
        self.adjacency = (joined + loops) / (joined + loops).sum(1, keepdim=True)
        self.feat, self.label, self.known = graph.ndata["feat"], graph.ndata["label"], ~graph.ndata["test_mask"]
        draws = torch.rand(joined.shape, generator=torch.Generator().manual_seed(seed)).triu(1)
        self.kept = draws + draws.t() + loops >= DROPPED


def dropped_edges(sample: Sample) -> Tensor:
    """The edges that are kept."""
    return sample.adjacency * sample.kept


def all_powers(sample: Sample) -> Tensor:
    """Whatever a few propagations reach is positive; what APPNP and the jumps take away of it is less."""
    return torch.linalg.matrix_power(sample.adjacency, 10)


def centred(sample: Sample) -> Tensor:
    """Â less its columns' means."""
    return sample.adjacency - sample.adjacency.mean(0)


def unlike_features(sample: Sample) -> Tensor:
    """Feature-SBP with α = β = 1."""
    return sample.adjacency - (-sample.feat @ sample.feat.t()).softmax(1)


def unlike_labels(sample: Sample) -> Tensor:
    """Label-SBP: pairs of known labels by these alone, others by the edges."""
    same = torch.where(sample.label[:, None] == sample.label, 1.0, -1.0)
    return torch.where(sample.known[:, None] & sample.known, same, sample.adjacency)


METHODS: dict[str, Callable[[Sample], Tensor]] = {
    "GCN, SGC": lambda sample: sample.adjacency,
    "DropEdge": dropped_edges,
    "Residual": lambda sample: sample.adjacency - torch.eye(len(sample.label)),
    "APPNP, JKNet, DAGNN": all_powers,
    "BatchNorm, PairNorm": centred,
    "Feature-SBP": unlike_features,
    "Label-SBP": unlike_labels,
}


def imbalance(signed: Tensor, label: Tensor) -> tuple[float, float, float]:
    """Mean |P|, mean |N|, and SID of a signed matrix."""
    same = label[:, None] == label
    positive = float((same & (signed <= 0)).sum(1).double().mean())
    negative = float((~same & (signed >= 0)).sum(1).double().mean())
    return positive, negative, (positive + negative) / 2


@click.command()
def main() -> None:
    """Prints the table."""
    samples = [Sample(seed) for seed in range(SEEDS)]
    click.echo(f"{'method':<22}{'mean |P| / mean |N| / SID':<30}printed")
    for name, method in METHODS.items():
        figures = torch.tensor([imbalance(method(sample), sample.label) for sample in samples]).mean(0).tolist()
        measured, printed = (" / ".join(f"{value:6.2f}" for value in row) for row in (figures, PUBLISHED[name]))
        click.echo(f"{name:<22}{measured:<30}{printed}")


if __name__ == "__main__":
    main()
