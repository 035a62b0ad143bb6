"""What the zoo's choice of kernels is worth, on Cora's sizes and one thread.

    python benchmarks/kernels.py [--repeats 50]

Prints pairs: the plain way, ours, and the ratio of their medians, timed in turn in one run.

- Sums over neighbours, without and with edge weights, and attention (dot products, softmax, weighted sum), forward and
  backward: DGL's kernels against those of `zoo.ops`.
- The first layer's product with bag-of-words features, dense against sparse, forward and backward.
- Dropout on hidden states, forward and backward: torch's against that of `zoo.nn.sparse_linear`.
- One rational activation, forward and backward: the printed formula under autograd against `zoo.nn.rational`.
"""

import statistics
import time
from collections.abc import Callable

import click
import torch
from torch import Tensor

from zoo import ops
from zoo._dgl import dgl
from zoo.datasets import from_arrays
from zoo.nn.rational import Rational
from zoo.nn.sparse_linear import Dropout, Linear, compress

NODES, EDGES, WORDS, DENSITY, WIDTH, CLUSTERS = 2708, 5278, 1433, 0.013, 280, 14


def pair(name: str, plain: Callable[[], object], ours: Callable[[], object], repeats: int) -> None:
    """Times two calls in turn and prints their medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 3):
        for call, own in zip((plain, ours), times, strict=True):
            start = time.perf_counter()
            call()
            own.append(time.perf_counter() - start)
    first, second = (1000 * statistics.median(own[3:]) for own in times)
    print(f"{name:46s} {first:9.2f} ms {second:9.2f} ms   {first / second:5.1f}")


def printed_formula(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """P(x) / (1 + Σ |b_k x^k|), with one row of coefficients per row of x."""
    numerator = sum(a[:, j : j + 1] * x**j for j in range(a.shape[1]))
    denominator = 1 + sum((b[:, k : k + 1] * x ** (k + 1)).abs() for k in range(b.shape[1]))
    return numerator / denominator  # type: ignore[return-value]


@click.command()
@click.option("--repeats", default=50, show_default=True)
def main(repeats: int) -> None:
    """Prints a line per pair."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    feat = (torch.rand(NODES, WORDS, generator=generator) < DENSITY).float()
    graph = from_arrays(torch.randint(NODES, (2, EDGES), generator=generator), feat)
    hidden = torch.randn(NODES, WIDTH, generator=generator, requires_grad=True)
    heads = hidden.unsqueeze(1)  # one head
    weight = torch.rand(graph.num_edges(), 1, 1, generator=generator, requires_grad=True)
    print(f"{'':46s} {'plain':>12s} {'ours':>12s}   ratio")

    pair(
        "sum over neighbours, forward and backward",
        lambda: dgl.ops.copy_u_sum(graph, hidden).sum().backward(),
        lambda: ops.propagate(graph, hidden).sum().backward(),
        repeats,
    )
    pair(
        "weighted sum over neighbours, both ways",
        lambda: dgl.ops.u_mul_e_sum(graph, heads, weight).sum().backward(retain_graph=True),
        lambda: ops.propagate(graph, heads, weight.flatten()).sum().backward(retain_graph=True),
        repeats,
    )

    def dgl_attention() -> None:
        attention = dgl.ops.edge_softmax(graph, dgl.ops.u_dot_v(graph, heads, heads))
        dgl.ops.u_mul_e_sum(graph, heads, attention).sum().backward(retain_graph=True)

    def attention() -> None:
        attention = ops.edge_softmax(graph, ops.edge_dot(graph, heads, heads))
        ops.propagate(graph, heads, attention).sum().backward(retain_graph=True)

    pair("attention, forward and backward", dgl_attention, attention, repeats)

    linear, dropout = Linear(WORDS, WIDTH), Dropout(0.5)
    sparse = compress(feat)
    pair(
        "first layer, forward and backward",
        lambda: linear(feat).sum().backward(),
        lambda: linear(sparse).sum().backward(),
        repeats,
    )

    pair(
        "dropout, forward and backward",
        lambda: torch.nn.functional.dropout(hidden, 0.5).sum().backward(),
        lambda: dropout(hidden).sum().backward(),
        repeats,
    )

    rational = Rational(CLUSTERS)
    clusters = torch.randint(CLUSTERS, (NODES,), generator=generator)

    def formula() -> None:
        printed_formula(hidden, rational.numerator[clusters], rational.denominator[clusters]).sum().backward()

    def function() -> None:
        rational(hidden, clusters).sum().backward()

    pair(f"rational of {CLUSTERS} clusters, forward and backward", formula, function, repeats)


if __name__ == "__main__":
    main()
