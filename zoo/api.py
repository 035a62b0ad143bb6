"""Scoring and predicting with a checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo import datasets, registry
from zoo._dgl import dgl
from zoo.datasets import GraphDataset
from zoo.datasets.graphs import check_graph
from zoo.errors import GraphError
from zoo.model import ZooModel
from zoo.training.loaders import make_loader
from zoo.training.loop import seeded
from zoo.training.tasks import measure
from zoo.weights import load

__all__ = ["Evaluation", "Prediction", "evaluate", "predict", "score"]


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's score, measured now.

    Attributes:
        name: The checkpoint.
        metric: Name of the metric.
        value: Measured.
        recorded: In the registry.
    """

    name: str
    metric: str
    value: float
    recorded: float

    @property
    def matches(self) -> bool:
        """Whether the measured score is the recorded one, to the last bit."""
        return self.value == self.recorded


@dataclass(frozen=True)
class Prediction:
    """What a model says of each node, or of each graph.

    Attributes:
        values: Classes, (n,) int64; for regression the values, (n,) float.
        probabilities: (n, num_classes); None for regression.
    """

    values: Tensor
    probabilities: Tensor | None


def evaluate(name: str) -> Evaluation:
    """Scores a checkpoint's file on its own test set.

    Raises:
        DatasetNotFound: The data is neither at hand nor to be fetched.
        ZooError: See `load`.
    """
    entry = registry.info(name)
    value = score(load(name), entry.dataset, entry.split, entry.score.seed, entry.score.metric)
    return Evaluation(name, entry.score.metric, value, entry.score.value)


@torch.no_grad()
def score(model: ZooModel, dataset: str, split: str, seed: int, metric: str) -> float:
    """A model's metric on a data set's test split, computed with one thread as in training."""
    loader = make_loader(datasets.load(dataset, split=split, seed=seed), model, batch_size=None)
    with seeded(seed):
        return measure(metric, *loader.predict(model)["test"])


@torch.no_grad()
def predict(model: ZooModel | str, graph: Any) -> Prediction:
    """Classes and probabilities for a graph of your own.

    Args:
        model: A model, or a checkpoint's name.
        graph: A raw DGLGraph with ndata `feat`; for a model with a readout also a list of such, or a
            `zoo.datasets.GraphDataset`. The model's `prepare` is applied.

    Raises:
        GraphError: The graph does not fit, see `ZooModel.forward`.
    """
    model = load(model) if isinstance(model, str) else model
    graph = _one_graph(graph, model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        logits = model(model.prepare(graph))
    finally:
        for module, training in modes.items():
            module.training = training
    if logits.shape[1] == 1:
        return Prediction(logits.squeeze(1), None)
    return Prediction(logits.argmax(1), logits.softmax(1))


def _one_graph(data: Any, model: ZooModel) -> "dgl.DGLGraph":
    """A graph, or several as a batch, with features only: labels play no part in a prediction."""
    if isinstance(data, dgl.DGLGraph):
        graph = data.local_var()
        for key in list(graph.ndata):
            if key != "feat":
                del graph.ndata[key]
        return graph
    graphs = data.graphs if isinstance(data, GraphDataset) else data
    if not isinstance(graphs, Sequence) or not all(isinstance(graph, dgl.DGLGraph) for graph in graphs):
        raise GraphError(f"expected a DGLGraph, a list of them or a GraphDataset, got {type(data).__name__}")
    if model.readout is None:
        raise GraphError(f"this model predicts nodes, one graph at a time; it was given {len(graphs)} graphs")
    if not graphs:
        raise GraphError("there are no graphs to predict")
    for graph in graphs:
        check_graph(graph)
    widths = {graph.ndata["feat"].shape[1] for graph in graphs}
    if len(widths) > 1:
        raise GraphError(f"the graphs have features of different widths: {sorted(widths)}")
    return dgl.batch(list(graphs), ndata=["feat"])
