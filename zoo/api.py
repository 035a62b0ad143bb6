"""Scoring and predicting with a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import datasets, ops, registry
from zoo._checks import check_count, check_mask
from zoo._dgl import dgl
from zoo.datasets import GraphDataset
from zoo.errors import ConfigError, GraphError, memory_as_zoo_error
from zoo.hub import SCHEME
from zoo.inference import forward, predict_logits
from zoo.model import ZooModel
from zoo.predictions import Prediction
from zoo.training.labels import check_shape, check_values, plain
from zoo.training.loaders import check_level
from zoo.training.loop import seeded
from zoo.training.tasks import measure, task_of
from zoo.weights import as_model, is_path, load, local_folder

__all__ = ["Evaluation", "Prediction", "evaluate", "predict", "score"]


@dataclass(frozen=True)
class Evaluation:
    """A model's score, measured now.

    Attributes:
        name: The source as it was given; of a model, the method's name.
        metric: Name of the metric.
        value: Measured.
        recorded: In the registry; None where it has no such score.
    """

    name: str
    metric: str
    value: float
    recorded: float | None

    @property
    def matches(self) -> bool | None:
        """Whether the measured score is the recorded one, to the last bit; None where none is recorded."""
        return None if self.recorded is None else self.value == self.recorded


def evaluate(source: str | Path | ZooModel, data: Any = None, *, metric: str | None = None) -> Evaluation:
    """Scores a model on a test set.

    Args:
        source: Whatever `zoo.load` takes: a name, a folder, an address on the Hub; or a model.
        data: A raw DGLGraph with ndata `feat`, `label` and `test_mask`, or a `zoo.datasets.GraphDataset`; the model's
            `prepare` is applied. Default: for a name of the registry, the test set of the recorded score.
        metric: Default: without data that of the recorded score, else `accuracy`, for regression `mse`, where nodes
            have several labels `roc-auc`.

    Raises:
        DatasetNotFound: The registry's data is neither at hand nor to be fetched.
        GraphError: The data lacks features, labels or a test mask, or they are of a wrong shape or type; or logits
            overflow.
        ConfigError: The labels need more classes than the model has; the model is for the other level, nodes or graphs;
            or a source that is not in the registry comes without data.
        RecipeError: The metric is not for this task.
        ZooError: See `load`.
    """
    name = source.method if isinstance(source, ZooModel) else str(source)
    if data is not None:
        return Evaluation(name, *_measure(as_model(source), data, metric), recorded=None)
    if not isinstance(source, ZooModel) and is_path(source):
        local_folder(source)  # that there is none is told first
    if not isinstance(source, str) or is_path(source) or source.startswith(SCHEME):
        raise ConfigError(f"{name} has no recorded test set, unlike those of `zoo list`: give data (zoo eval --graph)")
    entry = registry.info(name)
    metric = metric or entry.score.metric
    value = score(load(name), entry.dataset, entry.split, entry.score.seed, metric)
    return Evaluation(name, metric, value, entry.score.value if metric == entry.score.metric else None)


def score(model: ZooModel, dataset: str, split: str, seed: int, metric: str) -> float:
    """A model's metric on a data set's test split, computed with one thread as in training."""
    data = datasets.load(dataset, split=split, seed=seed)
    with seeded(seed):
        return _measure(model, data, metric)[1]


def predict(model: str | Path | ZooModel, graph: Any, *, block_size: int = ops.BLOCK_SIZE) -> Prediction:
    """Classes and probabilities for a graph of your own, or for many.

    Layer follows layer, and within a layer what it has for every edge is computed for a block of nodes at a time; many
    graphs go through the model some at a time. The block size bounds the memory and leaves the answer as it is.

    Args:
        model: Whatever `zoo.load` takes: a name, a folder, an address on the Hub; or a model.
        graph: A raw DGLGraph with ndata `feat`; for a model with a readout also a list of such, or a
            `zoo.datasets.GraphDataset`. The model's `prepare` is applied. Labels are looked at by a model that says so
            (`ZooModel.node_data`), and then those of its `train_mask` only.
        block_size: Most edges of a block; most nodes and edges of the graphs that go through together. A node or graph
            that has more goes alone.

    Raises:
        GraphError: The graph does not fit, see `ZooModel.forward`, or its features are so large that logits overflow.
        ConfigError: The block size is not a positive number.
        ZooError: See `load`.
    """
    model = as_model(model)
    with memory_as_zoo_error():
        logits = predict_logits(model, graph, check_count("block_size", block_size))
    _check_finite(logits)
    if model.multilabel:
        return Prediction((logits > 0).long(), logits.sigmoid())
    if logits.shape[1] == 1:
        return Prediction(logits.squeeze(1), None)
    return Prediction(logits.argmax(1), logits.softmax(1))


def _measure(model: ZooModel, data: Any, metric: str | None) -> tuple[str, float]:
    """Name and value of a metric on the data's test set; by default the first metric of its task."""
    one_graph = isinstance(data, dgl.DGLGraph)
    with memory_as_zoo_error():
        logits, labels = _test_nodes(model, data) if one_graph else _test_graphs(model, data)
    _check_finite(logits)
    task = task_of(labels, one_graph=one_graph)
    metric = metric or task.metrics[0]
    task.check_metric(metric)
    return metric, measure(metric, logits, labels)


def _check_finite(logits: Tensor) -> None:
    if not torch.isfinite(logits).all():
        raise GraphError("not all logits are finite: too large features, or weights that are not finite themselves")


def _test_nodes(model: ZooModel, graph: dgl.DGLGraph) -> tuple[Tensor, Tensor]:
    """Logits and labels of a graph's test nodes."""
    check_level(model, one_graph=True)
    prepared = model.prepare(graph)
    rows, labels = _test_items(prepared.ndata, "label", prepared.num_nodes())
    _check_labels(model, labels)
    return forward(model, [prepared])[rows], labels


def _test_graphs(model: ZooModel, dataset: Any) -> tuple[Tensor, Tensor]:
    """Logits and labels of a set's test graphs."""
    if not isinstance(dataset, GraphDataset):
        raise GraphError(f"expected a DGLGraph or a zoo.datasets.GraphDataset, got {type(dataset).__name__}")
    check_level(model, one_graph=False)
    rows, labels = _test_items(vars(dataset), "labels", len(dataset))
    _check_labels(model, labels)
    return predict_logits(model, [dataset.graphs[row] for row in rows.tolist()]), labels


def _test_items(holder: Mapping[str, Any], label: str, size: int) -> tuple[Tensor, Tensor]:
    """Numbers of the items in the test mask, and their labels as `plain` has them."""
    if missing := [name for name in (label, "test_mask") if name not in holder]:
        raise GraphError(f"the graph lacks ndata {' and '.join(missing)}: a score needs labels and a test mask")
    labels, mask = holder[label], holder["test_mask"]
    check_shape(labels, label, size)
    check_mask("test_mask", mask, size)
    return mask.nonzero().squeeze(1), plain(labels[mask])


def _check_labels(model: ZooModel, labels: Tensor) -> None:
    """That the labels of a test mask, of one item or more, are of the model's kind, and no more than it has."""
    check_values(labels, "the test mask")
    if model.multilabel or labels.dim() == 2:
        given = f"{labels.shape[1]} labels of each node" if labels.dim() == 2 else "one label of each node"
        wanted = f"{model.num_classes} labels of each node" if model.multilabel else "one label of each node"
        if given != wanted:
            raise ConfigError(f"the data has {given}, the model is for {wanted}: fine-tune it on this data first")
    elif labels.is_floating_point():
        if model.num_classes > 1:
            raise ConfigError(f"the labels are targets of a regression, but the model has {model.num_classes} classes")
    elif model.num_classes == 1:
        raise ConfigError("the labels are classes, but the model is a regression: give it targets as floats")
    elif labels.max() >= model.num_classes:
        raise ConfigError(
            f"the labels need {int(labels.max()) + 1} classes, but the model has {model.num_classes}: "
            "fine-tune it on this data first"
        )
