"""Time and memory of `zoo.predict` on a graph of ogbn-arxiv's size, at once and in blocks.

    OMP_NUM_THREADS=1 python benchmarks/inference.py [--block-size 262144]

The graph is random: 169,343 nodes, 1,166,243 edges in both directions, 128 features; the models have three layers,
40 classes and random parameters. Every prediction has a process of its own, whose largest resident size is printed; the
line `nothing` is of a process that has graph and libraries in memory and predicts nothing. Blocks bound what attention
has for every edge and head; without attention there are none, and the states of width 256 (165 MB each) are the rest.
"""

import time
from typing import Any

import click
import torch
from cna import alone, resident

import zoo
from zoo import models, ops
from zoo.datasets import from_arrays

NODES, EDGES, IN_FEATS, CLASSES = 169_343, 1_166_243, 128, 40
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gat, 8 heads of 32": ("gat", {"num_layers": 3, "heads": 8, "hidden": 32, "transforms": ["add_self_loop"]}),
    "gat, 16 heads of 4": ("gat", {"num_layers": 3, "heads": 16, "hidden": 4, "transforms": ["add_self_loop"]}),
    "cna, transformer": ("cna", {"num_layers": 3, "hidden": 256, "conv": "transformer"}),
    "gcn": ("gcn", {"num_layers": 3, "hidden": 256, "transforms": ["add_self_loop"]}),
    "sage": ("sage", {"num_layers": 3, "hidden": 256}),
}
AT_ONCE = 1 << 62


def measure(name: str | None, block_size: int) -> tuple[float, float]:
    """Seconds of a prediction, and this process's largest resident size in MB."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(NODES, (2, EDGES), generator=generator)
    graph = from_arrays(edges, torch.randn(NODES, IN_FEATS, generator=generator))
    start = time.perf_counter()
    if name is not None:
        method, arguments = MODELS[name]
        model = models.create(method, {"in_feats": IN_FEATS, "num_classes": CLASSES, **arguments})
        zoo.predict(model, graph, block_size=block_size)
    return time.perf_counter() - start, resident()


@click.command()
@click.option("--block-size", default=ops.BLOCK_SIZE, show_default=True)
def main(block_size: int) -> None:
    """Prints a line per model."""
    print(f"{'':18s} {'at once':>20s} {f'blocks of {block_size}':>20s}")
    print(f"{'nothing':18s} {alone(measure, None, AT_ONCE)[1]:17.0f} MB")
    for name in MODELS:
        results = [alone(measure, name, size) for size in (AT_ONCE, block_size)]
        print(f"{name:18s}", *(f"{seconds:8.1f} s {peak:6.0f} MB" for seconds, peak in results), flush=True)


if __name__ == "__main__":
    main()
