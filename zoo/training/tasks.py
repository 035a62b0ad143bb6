"""Objective and metric of each task."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from zoo.errors import RecipeError

__all__ = ["METRICS", "TASKS", "Metric", "Task", "measure", "task_of"]


@dataclass(frozen=True)
class Task:
    """What is learnt.

    Attributes:
        name: As in the registry.
        loss: Of logits (n, num_classes) and labels (n,), or (n, num_classes) where a node has several.
        metrics: The metrics that make sense for it.
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: tuple[str, ...]

    def check_metric(self, metric: str) -> None:
        """Raises RecipeError unless the metric makes sense for it."""
        if metric not in self.metrics:
            raise RecipeError(f"metric {metric!r} is not for {self.name}: choose from {', '.join(self.metrics)}")


@dataclass(frozen=True)
class Metric:
    """How well it is learnt.

    Attributes:
        compute: Of logits and labels as in `Task`.
        higher_is_better: Whether a larger value is the better one.
    """

    compute: Callable[[Tensor, Tensor], float]
    higher_is_better: bool

    def better(self, value: float, than: float) -> bool:
        """Whether a value beats another."""
        return value > than if self.higher_is_better else value < than


def _squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.mse_loss(logits.squeeze(1), labels)


def _binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    """Per cent of right classes."""
    return 100 * int((logits.argmax(1) == labels).sum()) / len(labels)


def _roc_auc(logits: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve of class 1 against class 0, in per cent; of several labels the mean over them.

    A label that all items have, or none, is left out of the mean, as in Open Graph Benchmark's evaluator.
    """
    if labels.dim() == 1:
        if logits.shape[1] != 2:
            raise RecipeError(f"roc-auc is for two classes, not {logits.shape[1]}")
        logits, labels = (logits[:, 1] - logits[:, 0]).unsqueeze(1), labels.unsqueeze(1)
    columns = zip(labels.T.cpu().numpy(), logits.T.cpu().numpy(), strict=True)
    areas = [_area(logit, label == 1) for label, logit in columns if label.min() < label.max()]
    if not areas:
        raise RecipeError("roc-auc needs items of both classes in the validation and the test mask")
    return 100 * statistics.fmean(areas)


def _area(scores: npt.NDArray[Any], positive: npt.NDArray[Any]) -> float:
    """Share of the pairs of a positive and a negative item that the scores order rightly, ties by half.

    Counted, and so the same to the last bit on every machine that orders alike, which a sum of trapezoids is not.
    """
    from scipy.stats import rankdata

    num_positive = int(positive.sum())
    ahead = rankdata(scores)[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(ahead / (num_positive * (len(scores) - num_positive)))


def _mse(logits: Tensor, labels: Tensor) -> float:
    """Mean squared error."""
    return float(_squared_error(logits, labels))


def _nmse(logits: Tensor, labels: Tensor) -> float:
    """Mean squared error over the targets' mean (what the CNA authors print as NMSE)."""
    mean = float(labels.mean())
    if mean <= 0:
        raise RecipeError(f"nmse divides by the targets' mean, which is {mean:.4g} here and must be positive: use mse")
    return _mse(logits, labels) / mean


def _classification(name: str) -> Task:
    return Task(name, functional.cross_entropy, ("accuracy", "roc-auc"))


TASKS = {
    "node-classification": _classification("node-classification"),
    "graph-classification": _classification("graph-classification"),
    "node-multilabel": Task("node-multilabel", _binary_cross_entropy, ("roc-auc",)),
    "node-regression": Task("node-regression", _squared_error, ("mse", "nmse")),
}
METRICS = {
    "accuracy": Metric(_accuracy, higher_is_better=True),
    "roc-auc": Metric(_roc_auc, higher_is_better=True),
    "mse": Metric(_mse, higher_is_better=False),
    "nmse": Metric(_nmse, higher_is_better=False),
}


def task_of(labels: Tensor, *, one_graph: bool) -> Task:
    """What labels make of the nodes of one graph, or of a set of graphs.

    Integers are classes, floats the targets of a regression; of shape (n, num_classes) they are several for each node.
    """
    if labels.dim() == 2:
        return TASKS["node-multilabel"]
    if labels.is_floating_point():
        return TASKS["node-regression"]
    return TASKS["node-classification" if one_graph else "graph-classification"]


def measure(metric: str, logits: Tensor, labels: Tensor) -> float:
    """A metric's value; RecipeError where there is nothing to measure on."""
    if len(labels) == 0:
        raise RecipeError(f"{metric} needs at least one labelled item in the validation and the test mask")
    with torch.no_grad():
        return METRICS[metric].compute(logits, labels)
