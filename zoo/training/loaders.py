"""What the loop trains on: a full graph is a loader of one batch, a set of graphs one of many."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from zoo._checks import check_mask
from zoo._dgl import dgl
from zoo.datasets import GraphDataset
from zoo.datasets.graphs import check_graph
from zoo.errors import ConfigError, GraphError
from zoo.inference import check_alike, without_others
from zoo.model import ZooModel
from zoo.training.labels import check_shape, check_values, plain
from zoo.training.tasks import Task, task_of

__all__ = [
    "FullGraph",
    "GraphBatches",
    "Loader",
    "check_level",
    "describe",
    "make_loader",
]

PARTS = ("train", "val", "test")
MOST_CLASSES = 1000  # that a set with fewer items may have


class FullGraph:
    """One graph, prepared, of which every step and every evaluation sees all.

    Args:
        graph: With ndata `feat`, `label` and the masks.
        model: Whose `prepare` is applied.
    """

    def __init__(self, graph: dgl.DGLGraph, model: ZooModel) -> None:
        self.graph = model.prepare(graph)
        self.labels = plain(self.graph.ndata["label"])
        self.rows = {part: self.graph.ndata[f"{part}_mask"].nonzero().squeeze(1) for part in PARTS}
        self._shares_passes = False
        self._ahead: Tensor | None = None

    def begin(self, model: ZooModel, resumed: bool) -> None:
        """Called before a training.

        Where that goes on from a state, the next step's logits come from the model as it is: the pass in training mode
        was made before the state was written.
        """
        all_trained = all(parameter.requires_grad for parameter in model.parameters())
        self._shares_passes, self._ahead = model.same_in_training and all_trained, None
        if self._shares_passes and resumed:
            self._ahead = model.eval()(self.graph)

    def train_batches(self, model: ZooModel) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and labels of the training nodes, once."""
        logits, self._ahead = model(self.graph) if self._ahead is None else self._ahead, None
        yield self._select(logits, "train")

    def predict(self, model: ZooModel) -> dict[str, tuple[Tensor, Tensor]]:
        """Logits and labels of validation and test, from one forward pass.

        The pass is the next training step's too where a model computes the same in both modes, and no part of it is
        frozen. It then runs in training mode: what that changes, such as centroids, belongs to what is scored.
        """
        if self._shares_passes:
            with torch.enable_grad():
                self._ahead = model.train()(self.graph)
        logits = model(self.graph) if self._ahead is None else self._ahead.detach()
        return {part: self._select(logits, part) for part in ("val", "test")}

    def _select(self, logits: Tensor, part: str) -> tuple[Tensor, Tensor]:
        rows = self.rows[part]
        return logits.index_select(0, rows), self.labels[rows]


class GraphBatches:
    """A set of graphs, prepared, trained on in shuffled batches.

    Args:
        dataset: A `zoo.datasets.GraphDataset`.
        model: Whose `prepare` is applied.
        batch_size: Graphs per batch.
    """

    def __init__(self, dataset: Any, model: ZooModel, batch_size: int) -> None:
        check_alike(dataset.graphs, model)
        first, *others = (without_others(graph, model) for graph in dataset.graphs)
        self.graphs = [model.prepare(first), *map(model.prepare_quietly, others)]
        self.labels = plain(dataset.labels)
        self.batch_size = batch_size
        self.train_rows = dataset.train_mask.nonzero().squeeze(1)
        self.evaluation = {
            part: [
                (self._batch(rows), self.labels[rows])
                for rows in getattr(dataset, f"{part}_mask").nonzero().squeeze(1).split(batch_size)
            ]
            for part in ("val", "test")
        }

    def train_batches(self, model: ZooModel) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and labels of the training graphs, in a new order, drawn from torch's generator."""
        order = self.train_rows[torch.randperm(len(self.train_rows))]
        for rows in order.split(self.batch_size):
            yield model(self._batch(rows)), self.labels[rows]

    def _batch(self, rows: Tensor) -> dgl.DGLGraph:
        return dgl.batch([self.graphs[i] for i in rows.tolist()], edata=None)

    def predict(self, model: ZooModel) -> dict[str, tuple[Tensor, Tensor]]:
        """Logits and labels of validation and test."""
        return {
            part: (torch.cat([model(graph) for graph, _ in batches]), torch.cat([labels for _, labels in batches]))
            for part, batches in self.evaluation.items()
        }


Loader = FullGraph | GraphBatches


def check_level(model: ZooModel, *, one_graph: bool) -> None:
    """Raises ConfigError where a model of whole graphs gets one graph, or one of nodes a set of graphs."""
    if one_graph and model.readout is not None:
        raise ConfigError("this model has a readout, so it classifies whole graphs, but the data is one graph")
    if not one_graph and model.readout is None:
        raise ConfigError("this model has no readout, so it classifies nodes, but the data is a set of graphs")


def make_loader(data: Any, model: ZooModel, batch_size: int | None) -> Loader:
    """The loader that fits the data: a DGLGraph or a `GraphDataset`.

    Raises:
        ConfigError: The model gives logits per node for a set of graphs, or per graph for one graph; or not as many as
            each node has labels.
    """
    if isinstance(data, dgl.DGLGraph):
        check_level(model, one_graph=True)
        if batch_size is not None:
            raise ConfigError(f"batch_size={batch_size} is for sets of graphs; one graph is trained on whole")
        labels = data.ndata["label"]
        if labels.dim() == 2 and labels.shape[1] != model.num_classes:
            raise ConfigError(f"num_classes={model.num_classes}, but each node has {labels.shape[1]} labels")
        return FullGraph(data, model)
    check_level(model, one_graph=False)
    return GraphBatches(data, model, batch_size or len(data))


def describe(data: Any, *, tests_on_all: bool = False) -> tuple[Task, int, int]:
    """Task, in_feats and num_classes of a DGLGraph or a `GraphDataset`.

    Integer labels are classes, floats the targets of a regression (num_classes is 1), and a graph's labels of shape
    (num_nodes, num_classes), of False and True or 0 and 1, are several for each node.

    Args:
        data: The graph or the set.
        tests_on_all: Whether the test mask may overlap the other two, see `zoo.datasets.splits.tests_on_all`.

    Raises:
        GraphError: Features, labels or masks are missing, of a wrong shape or type, empty, or overlap; features or
            labels have a gradient, or features are of inference mode.
    """
    node_level = isinstance(data, dgl.DGLGraph)
    if node_level:
        graphs, holder, label = [data], data.ndata, "label"
    elif isinstance(data, GraphDataset):
        graphs, holder, label = data.graphs, vars(data), "labels"
    else:
        hint = "; graphs without labels (in a .bin, label) can only be predicted" if isinstance(data, list) else ""
        raise GraphError(f"expected a DGLGraph or a zoo.datasets.GraphDataset, got {type(data).__name__}{hint}")
    for graph in graphs:
        check_graph(graph)
        _check_constant("feat", graph.ndata["feat"])
        if graph.ndata["feat"].is_inference():
            raise GraphError("feat was made in inference mode, and cannot be trained on: give it feat.clone()")
    widths = {graph.ndata["feat"].shape[1] for graph in graphs}
    if len(widths) != 1:
        raise GraphError(f"the graphs have features of different widths: {sorted(widths)}")
    if missing := [key for key in (label, *(f"{part}_mask" for part in PARTS)) if key not in holder]:
        raise GraphError(
            f"the graph lacks ndata {', '.join(missing)}: training needs features, labels and masks, and its ndata "
            f"holds {', '.join(holder)}"
        )
    size = data.num_nodes() if node_level else len(graphs)
    check_shape(holder[label], label, size)
    _check_constant(label, holder[label])
    used = plain(holder[label])[_used(holder, size, tests_on_all)]
    check_values(used, "the masks")
    if used.dim() == 2:
        if (used.sum(1) == 1).all():
            raise GraphError("every node in the masks has exactly one of its labels: pass the classes, label.argmax(1)")
        num_classes = used.shape[1]
    elif used.is_floating_point():
        num_classes = 1
    else:
        num_classes = _count_classes(used, size, None if node_level else data.num_classes)
    return task_of(used, one_graph=node_level), widths.pop(), num_classes


def _check_constant(name: str, values: Tensor) -> None:
    """Raises GraphError for a tensor with a gradient: the backward pass of each step would go into it."""
    if values.requires_grad:
        raise GraphError(f"{name} has a gradient, which training does not follow: give it {name}.detach()")


def _count_classes(used: Tensor, size: int, num_classes: int | None) -> int:
    """How many classes there are: as many as a set has, or as the largest label asks for."""
    largest = int(used.max())
    if num_classes is not None and largest >= num_classes:
        raise GraphError(f"a label is {largest}, but the set has {num_classes} classes, counted from 0")
    if largest >= max(MOST_CLASSES, size):
        raise GraphError(f"a label is {largest}, of {size} items: number the classes from 0 without gaps")
    if largest == used.min():
        raise GraphError(f"all labels in the masks are {largest}: there is nothing to tell apart")
    return num_classes or largest + 1


def _used(holder: Any, size: int, tests_on_all: bool) -> Tensor:
    """Items in one of the three masks, which are checked: bool, of the right length, not empty, disjoint."""
    masks = {f"{part}_mask": holder[f"{part}_mask"] for part in PARTS}
    for name, mask in masks.items():
        check_mask(name, mask, size)
    apart = [name for name in masks if not (tests_on_all and name == "test_mask")]
    twice = torch.stack([masks[name] for name in apart]).sum(0) > 1
    if twice.any():
        raise GraphError(f"{int(twice.sum())} items are in more than one of {', '.join(apart)}")
    return torch.stack(list(masks.values())).any(0)
