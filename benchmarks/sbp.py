"""Time and memory of SBP: the dense formula of its paper against `zoo.models.sbp`, and Label-SBP on a large graph.

    python benchmarks/sbp.py [cora] [pubmed] [arxiv] [--repeats 3] [--threads 1] [--out FILE]

The models have the paper's GCN backbone, hidden width 32 and dropout 0.6. Every turn is a process of its own: a first
step of Adam, which warms up and makes what the model keeps, more steps, and evaluations, each a pass over the whole
graph. Printed are the seconds of the first step, of the fastest and of the median of the others, and of the fastest
evaluation; the process's largest resident size, and the part of it that was not there before the first step.

- `cora`, 16 layers, medians over `--repeats` turns, and `pubmed`, 2 layers (one signed step and the head), one turn:
  Label-SBP and Feature-SBP. In "dense", A⁻ and its softmax are the formula's n × n matrices, made once, and a step
  multiplies them by its states; all else is the zoo's in both. Of Cora's size, Feature-SBP in the zoo does the same; of
  PubMed's, it makes tiles of them, in every layer and both ways: less memory for more time. A data set that is not at
  hand is replaced by a random graph of its sizes.
- `arxiv`, 16 layers, one turn: Label-SBP and its variant for large graphs on a random graph of 169,343 nodes and
  1,166,243 edges, where a dense matrix would have 115 GB.

A pair of formulations is printed as soon as it is measured. `--out` writes what is measured as CSV, and takes what the
file already has from there: a run that was ended goes on where it was.
"""

import csv
import io
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from cna import alone, random_graph, resident
from torch import Tensor
from torch.nn.functional import cross_entropy

from zoo import datasets
from zoo._files import write_text
from zoo.datasets import catalog
from zoo.errors import DatasetNotFound
from zoo.models.sbp import SBP, FeatureSBP, LabelSBP, Product

STEPS, SECONDS = 2, 2  # so many steps and evaluations, and more until so much time has gone
OPTIONS: dict[str, Any] = {"hidden": 32, "dropout": 0.6, "transforms": ["row_normalize", "add_self_loop"]}


@dataclass(frozen=True)
class Case:
    """What is measured on.

    Attributes:
        data: Name of the data set.
        layers: Number of layers.
        density: Share of the features that are not zero, where the graph has to be random.
        pairs: Names in `MODELS`, those in a row that are compared.
        random: Whether the graph is random in any case.
        once: Whether one turn is enough.
    """

    data: str
    layers: int
    density: float
    pairs: Sequence[Sequence[str]] = (("label, dense", "label, ours"), ("feature, dense", "feature, ours"))
    random: bool = False
    once: bool = True


CASES = {
    "cora": Case("cora", layers=16, density=0.013, once=False),
    "pubmed": Case("pubmed", layers=2, density=0.1),
    "arxiv": Case(
        "ogbn-arxiv", layers=16, density=1.0, pairs=[["label, ours"], ["label, ours, scalable"]], random=True
    ),
}


class DenseLabelSBP(LabelSBP):
    """Label-SBP with the matrices of the formula."""

    weights: Tensor | None = None

    def repulsion(self, graph: Any, feat: Any) -> Product:
        """See `LabelSBP`."""
        if self.weights is None:
            label, known = graph.ndata["label"], graph.ndata["train_mask"]
            same = label.unsqueeze(1) == label
            both_known = known.unsqueeze(1) & known
            self.weights = torch.where(both_known, torch.where(same, -1.0, 1.0), 0.0).softmax(1)
        weights = self.weights
        return lambda state: weights @ state


class DenseFeatureSBP(FeatureSBP):
    """Feature-SBP with the matrices of the formula."""

    weights: Tensor | None = None

    def repulsion(self, graph: Any, feat: Any) -> Product:
        """See `FeatureSBP`."""
        if self.weights is None:
            given = graph.ndata["feat"]
            self.weights = (-given @ given.t()).softmax(1)
        weights = self.weights
        return lambda state: weights @ state


MODELS: dict[str, tuple[type[SBP], dict[str, Any]]] = {
    "label, dense": (DenseLabelSBP, {}),
    "label, ours": (LabelSBP, {}),
    "label, ours, scalable": (LabelSBP, {"scalable": True}),
    "feature, dense": (DenseFeatureSBP, {}),
    "feature, ours": (FeatureSBP, {}),
}


class Turn(NamedTuple):
    """Seconds of the first step, of the fastest and the median of the others, of an evaluation; MB at the most, and MB
    that were not there before.
    """

    first: float
    fastest: float
    median: float
    evaluation: float
    peak: float
    training: float


def load(case: Case) -> Any:
    """The data set, or else a random graph of its sizes."""
    if not case.random:
        with suppress(DatasetNotFound):
            return datasets.load(case.data)
    return random_graph(case.data, case.density)


def take_turn(name: str, model_name: str, seed: int) -> Turn:
    """Trains a little and evaluates."""
    torch.manual_seed(seed)
    case, (cls, options) = CASES[name], MODELS[model_name]
    info = catalog.info(case.data)
    model = cls(info.in_feats, info.num_classes, num_layers=case.layers, **OPTIONS, **options)
    graph, before = model.prepare(load(case)), resident()
    rows = graph.ndata["train_mask"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(graph)[rows], graph.ndata["label"][rows]).backward()
        optimizer.step()

    first = seconds(step)
    steps = list(repeatedly(step))
    model.eval()
    with torch.no_grad():
        evaluations = list(repeatedly(lambda: model(graph)))
    return Turn(first, min(steps), statistics.median(steps), min(evaluations), resident(), resident() - before)


def seconds(call: Callable[[], object]) -> float:
    """That a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeatedly(call: Callable[[], object]) -> Iterator[float]:
    """Seconds of each of several calls."""
    begin, made = time.perf_counter(), 0
    while made < STEPS or time.perf_counter() - begin < SECONDS:
        yield seconds(call)
        made += 1


Results = dict[tuple[str, str], Turn]  # by the names of case and model


def measure(name: str, pair: Sequence[str], repeats: int) -> Results:
    """Takes the turns of one pair in turn; their medians."""
    turns: dict[str, list[Turn]] = {model_name: [] for model_name in pair}
    for seed in range(1 if CASES[name].once else repeats):
        for model_name, own in turns.items():
            own.append(alone(take_turn, name, model_name, seed))
    medians = (Turn(*map(statistics.median, zip(*own, strict=True))) for own in turns.values())
    return {(name, model_name): turn for model_name, turn in zip(turns, medians, strict=True)}


def show(results: Results, name: str, pair: Sequence[str]) -> None:
    """Prints a pair, and how the two compare."""
    turns = [results[name, model_name] for model_name in pair]
    for model_name, turn in zip(pair, turns, strict=True):
        numbers = "{:9.4f} s {:9.4f} s {:9.4f} s {:9.4f} s {:8.0f} MB {:8.0f} MB".format(*turn)
        print(f"{name:7s} {model_name:22s} {numbers}")
    if len(turns) > 1:
        ratios = "".join(f"{dense / ours:11.1f}" for dense, ours in zip(*turns, strict=True))
        print(f"{'':7s} {'dense / ours':22s}{ratios}")
    print(end="", flush=True)


def read(path: Path) -> Results:
    """What was measured before."""
    with path.open(newline="") as file:
        return {(row.pop("data"), row.pop("model")): Turn(*map(float, row.values())) for row in csv.DictReader(file)}


def write(results: Results, path: Path) -> None:
    """All that is measured, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "model", "first_s", "fastest_s", "median_s", "evaluation_s", "peak_mb", "training_mb"])
    writer.writerows([*names, *(f"{number:.4f}" for number in turn)] for names, turn in results.items())
    write_text(path, text.getvalue())


@click.command()
@click.argument("cases", nargs=-1, type=click.Choice(list(CASES)))
@click.option("--repeats", default=3, show_default=True, help="Turns of cora.")
@click.option("--threads", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="CSV of all measurements, also of earlier ones.")
def main(cases: tuple[str, ...], repeats: int, threads: int, out: Path | None) -> None:
    """Prints a line per model of each case, of all cases by default."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when a process starts, by PyTorch and by DGL
    results = read(out) if out and out.exists() else {}
    titles = "".join(f"{title:>11s}" for title in ("first step", "fastest", "median", "evaluation", "peak", "training"))
    print(f"{'':31s}{titles}")
    for name in cases or CASES:
        for pair in CASES[name].pairs:
            if any((name, model_name) not in results for model_name in pair):
                results |= measure(name, pair, repeats)
                if out:
                    write(results, out)
            show(results, name, pair)


if __name__ == "__main__":
    main()
