"""Time and memory of training N²: the direct formulation of `benchmarks/n2_direct.py` against `zoo.models.N2`.

    python benchmarks/n2.py [photo] [scaling] [--repeats 3] [--threads 1] [--most-nodes 1000000] [--limit 20]
                            [--out FILE] [--plot FILE]

Both are the authors' form, with five steps, d = 128, q = 64, k = 8, n_p = 256 and dropout 0.1. Every training has a
process of its own, and its first epoch or step warms up. Printed are the fastest and the median of the others, the
process's largest resident size, and the part of it that was not there before the training.

- `photo`: epochs on Amazon Photo, a step of Adam on the whole graph and the scores on validation and test. Ours runs in
  the zoo's own loop, the direct formulation in a plain one; they take turns, of which the medians are printed. Where
  the data set is not at hand, a random graph of its sizes takes its place. Then the operations that the time of a step
  of ours goes to.
- `scaling`: steps of Adam on random graphs of 10,000 to a million nodes, with ten neighbours on average, 128 features
  and ten classes. A training that asks for more than `--limit` GB of address space is out of memory, and so are those
  of the same formulation on larger graphs.

`--out` writes a table of all measurements, as CSV; `--plot` draws those of `scaling`, as SVG (crosses: out of memory,
which is `--limit`).
"""

import csv
import io
import os
import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from cna import alone, random_graph, resident
from n2_direct import DirectN2, train
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from zoo import datasets
from zoo._files import write_bytes, write_text
from zoo.datasets import catalog, splits
from zoo.errors import DatasetNotFound
from zoo.model import ZooModel
from zoo.models.n2 import N2
from zoo.training.loaders import FullGraph, describe
from zoo.training.loop import fit
from zoo.training.recipe import Protocol, TrainingSpec

FORMULATIONS = ("direct", "ours")
PHOTO, DENSITY = "amazon-photo", 0.35  # share of its features that are not zero
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
NEIGHBOURS, IN_FEATS, CLASSES = 10, 128, 10
EPOCHS = 8
STEPS, SECONDS = 2, 10  # so many steps, and more until so much time has gone
OPTIONS: dict[str, Any] = {
    "num_layers": 6,
    "hidden": 128,
    "state_width": 64,
    "num_pseudo_nodes": 256,
    "num_pieces": 8,
    "dropout": 0.1,
    "transforms": ["add_self_loop"],
}
TRAINING = TrainingSpec(epochs=EPOCHS, lr=1e-3, weight_decay=1e-6)
SMALL = 0.02  # shares of a step's time below it are printed as one


class Turn(NamedTuple):
    """Seconds of an epoch or a step, the fastest and the median; MB at the most, and of the training."""

    fastest: float
    median: float
    peak: float
    training: float


class Row(NamedTuple):
    """A measurement; without a turn it was out of memory."""

    part: str
    nodes: int
    formulation: str
    turn: Turn | None


class EpochClock(FullGraph):
    """Takes down when each epoch begins."""

    def __init__(self, graph: Any, model: ZooModel) -> None:
        super().__init__(graph, model)
        self.marks: list[float] = []

    def train_batches(self, model: ZooModel) -> Iterator[tuple[Tensor, Tensor]]:
        """See `FullGraph`."""
        self.marks.append(time.perf_counter())
        return super().train_batches(model)


def load_photo() -> Any:
    """Amazon Photo, or else a random graph of its sizes."""
    with suppress(DatasetNotFound):
        return datasets.load(PHOTO)
    return random_graph(PHOTO, DENSITY)


def scaling_graph(num_nodes: int) -> Any:
    """A random graph that can be trained on."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(num_nodes, (2, NEIGHBOURS * num_nodes // 2), generator=generator)
    feat = torch.randn(num_nodes, IN_FEATS, generator=generator)
    label = torch.randint(CLASSES, (num_nodes,), generator=generator)
    return datasets.from_arrays(edges, feat, label, *splits.draw("random-60-20-20", label, seed=0))


def make_model(graph: Any) -> N2:
    """At its start."""
    torch.manual_seed(0)
    _, in_feats, num_classes = describe(graph)
    return N2(in_feats, num_classes, **OPTIONS)


def measure_epochs(formulation: str) -> Turn:
    """Trains on Amazon Photo."""
    graph = load_photo()
    model = make_model(graph)
    loader, before = EpochClock(graph, model), resident()
    if formulation == "direct":
        seconds = list(train(DirectN2(model, loader.graph), loader.graph, TRAINING))
    else:
        fit(model, loader, describe(graph)[0], TRAINING, Protocol(metric="accuracy", select="best-val-loss"))
        seconds = [end - start for start, end in pairwise(loader.marks)]
    return make_turn(seconds, before)


def measure_steps(formulation: str, num_nodes: int, limit: float) -> Turn | None:
    """Trains on a random graph; nothing comes back if that takes more than `limit` GB."""
    resource.setrlimit(resource.RLIMIT_AS, (int(1e9 * limit),) * 2)
    try:
        graph = scaling_graph(num_nodes)
        model = make_model(graph)
        graph, before = model.prepare(graph), resident()
        return make_turn(list(take_steps(formulation, model, graph)), before)
    except MemoryError:
        return None
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # PyTorch's words
            raise
        return None


def take_steps(formulation: str, model: N2, graph: Any) -> Iterator[float]:
    """Steps of Adam in a plain loop; the seconds of each."""
    feat, labels, rows = (graph.ndata[name] for name in ("feat", "label", "train_mask"))
    direct = DirectN2(model, graph) if formulation == "direct" else None
    optimizer = torch.optim.Adam(model.parameters(), lr=TRAINING.lr, weight_decay=TRAINING.weight_decay)
    begin, taken = time.perf_counter(), 0
    while taken < STEPS or time.perf_counter() - begin < SECONDS:
        start = time.perf_counter()
        optimizer.zero_grad()
        logits = model(graph) if direct is None else direct(feat)
        cross_entropy(logits[rows], labels[rows]).backward()
        optimizer.step()
        taken += 1
        yield time.perf_counter() - start


def make_turn(seconds: Sequence[float], before: float) -> Turn:
    """Of a training before which the largest resident size was `before`."""
    return Turn(min(seconds[1:]), statistics.median(seconds[1:]), resident(), resident() - before)


def profile_steps() -> dict[str, float]:
    """Seconds of a step of ours on Amazon Photo, by operation."""
    graph = load_photo()
    model = make_model(graph)
    steps = take_steps("ours", model, model.prepare(graph))
    next(steps)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        num_steps = len(list(steps))
    return {event.key: event.self_cpu_time_total / 1e6 / num_steps for event in profiler.key_averages()}


def compare_epochs(repeats: int) -> Iterator[Row]:
    """On Amazon Photo, the medians over turns."""
    turns = [[alone(measure_epochs, formulation) for formulation in FORMULATIONS] for _ in range(repeats)]
    for formulation, own in zip(FORMULATIONS, zip(*turns, strict=True), strict=True):
        medians = Turn(*map(statistics.median, zip(*own, strict=True)))
        yield Row("photo", catalog.info(PHOTO).num_nodes, formulation, medians)


def compare_steps(most_nodes: int, limit: float) -> Iterator[Row]:
    """On random graphs, one turn each."""
    out_of_memory: set[str] = set()
    for num_nodes in (size for size in SIZES if size <= most_nodes):
        for formulation in FORMULATIONS:
            turn = None
            if formulation not in out_of_memory:
                with suppress(BrokenProcessPool):  # not all that allocates says so when it fails
                    turn = alone(measure_steps, formulation, num_nodes, limit)
            if turn is None:
                out_of_memory.add(formulation)
            yield Row("scaling", num_nodes, formulation, turn)


def show(rows: Iterator[Row]) -> list[Row]:
    """Prints rows as they come, and behind each of ours how it compares with the one before."""
    shown: list[Row] = []
    for row in rows:
        line = f"{row.part:8s} {row.nodes:9,d} nodes  {row.formulation:6s} "
        if row.turn is None:
            line += "out of memory"
        else:
            line += "{:9.3f} s {:9.3f} s {:8.0f} MB {:8.0f} MB".format(*row.turn)
            if row.formulation == "ours" and (direct := shown[-1].turn):
                line += "   ratios" + "".join(f"{a / b:6.1f}" for a, b in zip(direct, row.turn, strict=True))
        print(line, flush=True)
        shown.append(row)
    return shown


def explain() -> None:
    """Prints where the time of a step of ours goes."""
    operations = alone(profile_steps)
    total = sum(operations.values())
    shown = {name: seconds for name, seconds in operations.items() if seconds >= SMALL * total}
    ordered = sorted(shown.items(), key=lambda item: -item[1])
    for name, seconds in [*ordered, ("others", total - sum(shown.values()))]:
        print(f"  {name:40s} {1000 * seconds:8.1f} ms {100 * seconds / total:4.0f} %", flush=True)


def write(rows: Sequence[Row], path: Path) -> None:
    """All measurements, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["part", "nodes", "formulation", "fastest_s", "median_s", "peak_mb", "training_mb"])
    for row in rows:
        numbers = [""] * 4 if row.turn is None else "{:.4f} {:.4f} {:.0f} {:.0f}".format(*row.turn).split()
        writer.writerow([row.part, row.nodes, row.formulation, *numbers])
    write_text(path, text.getvalue())


def draw(rows: Sequence[Row], limit: float, path: Path) -> None:
    """Seconds and memory of a step against the number of nodes."""
    import matplotlib
    from matplotlib.figure import Figure

    from zoo.plots import STYLE

    picture = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 3), layout="constrained")
        seconds, memory = (
            figure.add_subplot(1, 2, i, xscale="log", yscale="log", xlabel="nodes", ylabel=label)
            for i, label in ((1, "seconds of a training step"), (2, "peak memory, GB"))
        )
        for formulation, color in zip(FORMULATIONS, ("C0", "C1"), strict=True):
            own = [row for row in rows if row.formulation == formulation]
            measured = [(row.nodes, row.turn) for row in own if row.turn]
            nodes = [num_nodes for num_nodes, _ in measured]
            seconds.plot(nodes, [turn.fastest for _, turn in measured], "o-", color=color, label=formulation)
            memory.plot(nodes, [turn.peak / 1000 for _, turn in measured], "o-", color=color)
            if missing := [row.nodes for row in own if row.turn is None]:
                memory.plot(missing, [limit] * len(missing), "x", color=color, label=f"{formulation}: out of memory")
        figure.legend(loc="outside lower center", ncols=3)
        figure.savefig(picture, format="svg", metadata={"Date": None})
    write_bytes(path, picture.getvalue())


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(["photo", "scaling"]))
@click.option("--repeats", default=3, show_default=True, help="Turns of photo.")
@click.option("--threads", default=1, show_default=True)
@click.option("--most-nodes", default=SIZES[-1], show_default=True, help="Largest graph of scaling.")
@click.option("--limit", default=20.0, show_default=True, help="GB that a training of scaling may take.")
@click.option("--out", type=click.Path(path_type=Path), help="CSV of all measurements.")
@click.option("--plot", type=click.Path(path_type=Path), help="SVG of scaling.")
def main(
    parts: tuple[str, ...],
    repeats: int,
    threads: int,
    most_nodes: int,
    limit: float,
    out: Path | None,
    plot: Path | None,
) -> None:
    """Compares the two formulations, in both parts by default."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when a process starts, by PyTorch and by DGL
    os.environ["KINETO_LOG_LEVEL"] = "5"  # the profiler shall be silent
    rows: list[Row] = []
    print(f"{'':32s} {'fastest':>11s} {'median':>11s} {'peak':>11s} {'training':>11s}")
    if "photo" in parts or not parts:
        rows += show(compare_epochs(repeats))
        explain()
    if "scaling" in parts or not parts:
        rows += show(compare_steps(most_nodes, limit))
    if out:
        write(rows, out)
    if plot:
        draw([row for row in rows if row.part == "scaling"], limit, plot)


if __name__ == "__main__":
    main()
