"""Time and memory of training CNA: the plain formulation of `benchmarks/cna_loop.py` against `zoo.models.CNA`.

    python benchmarks/cna.py [cora] [photo] [arxiv] [--repeats 5] [--threads 1]

Both train by the same recipe, in turn, each turn in a process of its own. An epoch is a step of Adam on the whole
graph and the scores on validation and test. Ours runs in the zoo's own loop, the plain formulation in a plain one,
which takes one pass for both scores. A data set that is not at hand is replaced by a random graph of its sizes. Arxiv
always is one, of 169,343 nodes and 1,166,243 edges; it has one turn each whatever `--repeats` says, and needs minutes
and 17 GB. Printed are medians over the turns:

- an epoch in which no centroids are fitted: the fastest of several, which other work on the machine disturbed least,
  and their median; one fit (with the assignment that every call does); and the fastest epoch with as many fits as fall
  due in one on average;
- the process's largest resident size, and the part of it that was not there before the training.

Then, for ours, where the time of an epoch without fits goes, and the floor of any. An epoch counts as three forward
passes: one, which scores the parameters and serves the next step, and two for the way back; the product of the first
layer, whose input needs no gradient, counts twice. In each layer a pass multiplies features by weights, sends messages
along the edges, and (activations) clusters, normalises and activates. Each of the three reads its input and writes its
output once, 4 bytes a number, beside 8 bytes for every edge and, where features are sparse, for every one that is not
zero. It takes at least the time of these bytes at the speed at which a hidden layer is copied, and that of its
operations at the speed at which a hidden layer is multiplied by a square matrix. Adam moves seven numbers a parameter.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import click
import torch
from cna_loop import LoopCNA, train
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from zoo import datasets
from zoo.datasets import catalog, splits
from zoo.errors import DatasetNotFound
from zoo.models.cna import CNA, ClusterNormalizeActivate
from zoo.nn.convs import GCNConv, TransformerConv
from zoo.nn.norms import RowNorm
from zoo.nn.rational import Rational
from zoo.nn.sparse_linear import Linear, SparseFeatures, compress
from zoo.training.loaders import FullGraph, describe
from zoo.training.loop import fit
from zoo.training.recipe import Protocol, TrainingSpec, find
from zoo.training.tasks import Task


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        recipe: Its name.
        epochs: Epochs without fits that are timed.
        density: Share of the features that are not zero, where the graph has to be random.
        random: Whether it is random in any case.
        once: Whether one turn is enough.
    """

    recipe: str
    epochs: int
    density: float
    random: bool = False
    once: bool = False


CASES = {
    "cora": Case("cna-gcn-cora", epochs=20, density=0.013),
    "photo": Case("cna-transformer-photo", epochs=5, density=0.35),
    "arxiv": Case("cna-gcn-ogbn-arxiv", epochs=2, density=1.0, random=True, once=True),
}
SMALL = 0.02  # shares of an epoch's time below it are printed as one
FORMULATIONS = ("plain", "ours")
PARTS: dict[type[nn.Module], str] = {
    Linear: "products",
    GCNConv: "messages",
    TransformerConv: "messages",
    ClusterNormalizeActivate: "clustering",
    RowNorm: "normalisation",
    Rational: "rationals",
}


class Setting(NamedTuple):
    """What it is trained on, in words; a model at its start, and all that its training needs."""

    data: str
    model: CNA
    loader: FullGraph
    task: Task
    training: TrainingSpec
    protocol: Protocol


def prepare(case: Case) -> Setting:
    """With the data set, or else a random graph."""
    recipe, graph = find(case.recipe), None
    data = recipe.data.name
    if not case.random:
        with suppress(DatasetNotFound):
            graph = datasets.load(data, split=recipe.data.split)
    if graph is None:
        graph, data = random_graph(data, case.density), f"a random graph of the sizes of {data}"
    task, in_feats, num_classes = describe(graph)
    options = {**recipe.model, "transforms": list(recipe.data.transforms)}
    model = CNA(in_feats, num_classes, **options)
    training = replace(recipe.training, epochs=1 + case.epochs)
    return Setting(data, model, FullGraph(graph, model), task, training, recipe.protocol)


def random_graph(name: str, density: float) -> Any:
    """A graph of a data set's sizes; its features are words or, at a density of 1, normal numbers."""
    info, generator = catalog.info(name), torch.Generator().manual_seed(0)
    edges = torch.randint(info.num_nodes, (2, info.num_edges or 0), generator=generator)
    shape = info.num_nodes, info.in_feats
    words = (torch.rand(shape, generator=generator) < density).float()
    feat = words if density < 1 else torch.randn(shape, generator=generator)
    label = torch.randint(info.num_classes, shape[:1], generator=generator)
    return datasets.from_arrays(edges, feat, label, *splits.draw("random-80-10-10", label, seed=0))


class Turn(NamedTuple):
    """Seconds of epochs without fits, of one fit and of an average epoch; MB at the most, and of the training."""

    fastest: float
    median: float
    fit: float
    epoch: float
    peak: float
    training: float


def take_turn(name: str, formulation: str, seed: int) -> Turn:
    """Trains once. The first epoch fits the centroids and warms up, the others are timed."""
    torch.manual_seed(seed)
    setting, before = prepare(CASES[name]), resident()
    if formulation == "plain":
        model: Any = LoopCNA(setting.model)
        fits = watch_fits(model)
        seconds = list(train(model, setting.loader.graph, setting.training))
    else:
        fits = watch_fits(setting.model)
        seconds = fit_timed(setting, lambda loss: None, lambda: None)
    fastest, median, one = min(seconds[1:]), statistics.median(seconds[1:]), statistics.fmean(fits)
    due = len(setting.model.convs) / setting.model.arguments["refit_every"]
    return Turn(fastest, median, one, fastest + due * one, resident(), resident() - before)


def fit_timed(setting: Setting, began: Callable[[Tensor], None], ended: Callable[[], None]) -> list[float]:
    """Trains in the zoo's loop; the seconds of every epoch.

    Args:
        setting: What is trained.
        began: Called with every training loss, before the way back from it.
        ended: Called at the end of every epoch.
    """
    marks = [time.perf_counter()]

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        value = setting.task.loss(logits, labels)
        if value.requires_grad:
            began(value)
        else:  # the loss on validation, an epoch's last
            marks.append(time.perf_counter())
            ended()
        return value

    fit(setting.model, setting.loader, replace(setting.task, loss=loss), setting.training, setting.protocol)
    return [after - before for before, after in pairwise(marks)]


def watch_fits(model: Any) -> list[float]:
    """Lets only the first call of a layer fit its centroids; the seconds of these calls, as they come."""
    seconds: list[float] = []

    def watched(layer: Any) -> Callable[[Tensor], Tensor]:
        cluster = layer.cluster

        def call(x: Tensor) -> Tensor:
            fits, start = layer.calls == 0, time.perf_counter()
            clusters: Tensor = cluster(x)
            if fits:
                seconds.append(time.perf_counter() - start)
            return clusters

        return call

    for layer in model.activations:
        layer.cluster, layer.refit_every = watched(layer), 0
    return seconds


def resident() -> float:
    """This process's largest resident size so far, in MB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


WATCHING = "watching"


class Clock:
    """Adds up time by names; while an inner one runs, the outer stands still."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running, self._since = ["loop, loss and metrics"], time.perf_counter()

    def enter(self, name: str) -> None:
        """From now on time is booked on this name."""
        self._book()
        self._running.append(name)

    def leave(self) -> None:
        """Back to the name before."""
        self._book()
        self._running.pop()

    def _book(self) -> None:
        now = time.perf_counter()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def watch_modules(self, model: CNA) -> None:
        """Books the forward passes of the model's parts, in training and in evaluation."""
        for module in model.modules():
            if name := PARTS.get(type(module)):
                module.register_forward_pre_hook(lambda *_, name=name: self.enter(name))
                module.register_forward_hook(lambda *_: self.leave())

    def watch_backward(self, loss: Tensor) -> None:
        """Books the way back from a loss, by the operations that it undoes."""
        self.enter(WATCHING)
        nodes = [loss.grad_fn]
        seen = set(nodes)
        while nodes:
            node: Any = nodes.pop()
            name = type(node).__name__.removesuffix("0").removesuffix("Backward").strip("_")
            node.register_prehook(lambda *_, name=f"back: {name}": self.enter(name))
            node.register_hook(lambda *_: self.leave())
            ahead = {following for following, _ in node.next_functions if following is not None} - seen
            seen |= ahead
            nodes += ahead
        self.leave()


class Speeds(NamedTuple):
    """Bytes read and written a second, and operations a second."""

    memory: float
    arithmetic: float


def analyse(name: str) -> tuple[str, dict[str, float], dict[str, float], Speeds]:
    """The data, where the seconds of an epoch of ours go, their floor, and this machine's speeds."""
    torch.manual_seed(0)
    setting = prepare(CASES[name])
    speeds = measure_speeds(setting.loader.graph.num_nodes(), setting.model.hidden)
    return setting.data, shares(setting), floor(setting, speeds), speeds


def shares(setting: Setting) -> dict[str, float]:
    """Where the seconds of an epoch without fits go."""
    clock, totals = Clock(), []
    watch_fits(setting.model)
    clock.watch_modules(setting.model)
    register_optimizer_step_pre_hook(lambda *_: clock.enter("Adam"))
    register_optimizer_step_post_hook(lambda *_: clock.leave())
    fit_timed(setting, clock.watch_backward, lambda: totals.append(dict(clock.seconds)))
    first, last = totals[0], totals[-1]
    return {name: (last[name] - first.get(name, 0)) / (len(totals) - 1) for name in last if name != WATCHING}


def measure_speeds(num_nodes: int, width: int) -> Speeds:
    """On hidden layers of this size."""
    hidden, weight = torch.randn(num_nodes, width), torch.randn(width, width)
    target = torch.empty_like(hidden)
    return Speeds(
        2 * 4 * hidden.numel() / fastest(lambda: target.copy_(hidden)),
        2 * hidden.numel() * width / fastest(lambda: torch.mm(hidden, weight, out=target)),
    )


def fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of ten calls."""
    times = []
    for _ in range(10):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


class Counts(NamedTuple):
    """Of a convolution: weight matrices, matrices that messages are made of, operations an edge and feature."""

    weights: int
    senders: int
    per_edge: int


COUNTS = {"gcn": Counts(1, 1, 1), "transformer": Counts(4, 3, 4)}


def floor(setting: Setting, speeds: Speeds) -> dict[str, float]:
    """The least seconds of an epoch, by the rule above."""
    model, graph = setting.model, setting.loader.graph
    options, counts = model.arguments, COUNTS[model.conv]
    nodes, edges = graph.num_nodes(), graph.num_edges()
    feat = compress(graph.ndata["feat"])
    inputs, size = (len(feat.csr.values()), 12) if isinstance(feat, SparseFeatures) else (feat.numel(), 4)
    # An activation looks for the nearest centroid, standardises, and evaluates and divides two polynomials.
    activation = 2 * options["num_clusters"] + 4 + 2 * sum(options["degrees"]) + 1
    seconds: defaultdict[str, float] = defaultdict(float)

    def add(name: str, passes: int, moved: int, operations: int) -> None:
        seconds[name] += passes * max(moved / speeds.memory, operations / speeds.arithmetic)

    for layer, width in enumerate([model.hidden] * len(model.convs) + [model.num_classes]):
        outputs = nodes * width
        add(
            "products",
            3 if layer else 2,
            size * inputs + 4 * counts.weights * outputs,
            2 * counts.weights * inputs * width,
        )
        add("messages", 3, 4 * (counts.senders + 1) * outputs + 8 * edges, counts.per_edge * edges * width)
        if layer < len(model.convs):
            add("activations", 3, 2 * 4 * outputs, activation * outputs)
        inputs, size = outputs, 4
    add("Adam", 1, 7 * 4 * sum(parameter.numel() for parameter in model.parameters()), 0)
    return dict(seconds)


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def compare(name: str, repeats: int) -> None:
    """Prints the two formulations' medians and their ratio."""
    turns: dict[str, list[Turn]] = {formulation: [] for formulation in FORMULATIONS}
    for seed in range(1 if CASES[name].once else repeats):
        for formulation, own in turns.items():
            own.append(alone(take_turn, name, formulation, seed))
    plain, ours = (Turn(*map(statistics.median, zip(*own, strict=True))) for own in turns.values())
    print(f"{name + ', ' + CASES[name].recipe:36s} {'plain':>13s} {'ours':>13s}   ratio")
    for title, field, scale, unit in (
        ("epoch without fits, the fastest", "fastest", 1000, "ms"),
        ("epoch without fits, the median", "median", 1000, "ms"),
        ("one fit of centroids", "fit", 1000, "ms"),
        ("epoch, fits as they fall due", "epoch", 1000, "ms"),
        ("peak memory", "peak", 1, "MB"),
        ("of it not there before training", "training", 1, "MB"),
    ):
        one, other = (scale * getattr(turn, field) for turn in (plain, ours))
        print(f"  {title:34s} {one:10.1f} {unit} {other:10.1f} {unit} {one / other:7.1f}", flush=True)


def explain(name: str) -> None:
    """Prints where the time of ours goes, and the floor."""
    data, parts, least, speeds = alone(analyse, name)
    total = sum(parts.values())
    print(f"  all of this on {data}")
    print(f"  {'where the time of ours goes':34s} {1000 * total:10.1f} ms")
    small = {part: seconds for part, seconds in parts.items() if seconds < SMALL * total}
    shown = {part: seconds for part, seconds in parts.items() if part not in small}
    for part, seconds in [*sorted(shown.items(), key=lambda item: -item[1]), ("others", sum(small.values()))]:
        print(f"    {part:32s} {1000 * seconds:10.1f} ms {100 * seconds / total:5.0f} %")
    print(f"  {'floor':34s} {1000 * sum(least.values()):10.1f} ms")
    for part, seconds in least.items():
        print(f"    {part:32s} {1000 * seconds:10.1f} ms")
    print(f"    at {speeds.memory / 1e9:.1f} GB/s and {speeds.arithmetic / 1e9:.1f} Gflop/s", flush=True)


@click.command()
@click.argument("cases", nargs=-1, type=click.Choice(list(CASES)))
@click.option("--repeats", default=5, show_default=True)
@click.option("--threads", default=1, show_default=True)
def main(cases: tuple[str, ...], repeats: int, threads: int) -> None:
    """Prints the comparison of each case, of all by default."""
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when a process starts, by PyTorch and by DGL
    for name in cases or CASES:
        compare(name, repeats)
        explain(name)


if __name__ == "__main__":
    main()
