"""What `load` returns for a set of many graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo._checks import check_count
from zoo.errors import GraphError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo._dgl import dgl

__all__ = ["GraphDataset"]


@dataclass(frozen=True, eq=False)
class GraphDataset:
    """Graphs, each with one label.

    Attributes:
        name: Name of the data set.
        graphs: Graphs with `ndata["feat"]`, float32 of shape (num_nodes, in_feats).
        labels: int64 classes, or float32 targets of a regression, of shape (num_graphs,).
        num_classes: Number of classes; 1 for targets.
        train_mask: bool of shape (num_graphs,): the graphs to train on; likewise `val_mask` and `test_mask`.
    """

    name: str
    graphs: list[dgl.DGLGraph]
    labels: Tensor
    num_classes: int
    train_mask: Tensor
    val_mask: Tensor
    test_mask: Tensor

    def __post_init__(self) -> None:
        """Takes arrays and lists as tensors.

        Raises:
            GraphError: There are no graphs, `num_classes` is no number of classes, or the rest are not arrays.
        """
        import torch

        from zoo._dgl import dgl

        if not isinstance(self.graphs, (list, tuple)) or not self.graphs:
            raise GraphError(f"a set of graphs needs a list of them, got {self.graphs!r:.100}")
        if strange := [graph for graph in self.graphs if not isinstance(graph, dgl.DGLGraph)]:
            hint = ": of pairs take [graph for graph, _ in data]" if isinstance(strange[0], tuple) else ""
            raise GraphError(f"a set of graphs is a list of DGLGraphs, but one is a {type(strange[0]).__name__}{hint}")
        object.__setattr__(self, "graphs", list(self.graphs))
        object.__setattr__(self, "num_classes", check_count("num_classes", self.num_classes, GraphError))
        for name in ("labels", "train_mask", "val_mask", "test_mask"):
            try:
                object.__setattr__(self, name, torch.as_tensor(getattr(self, name)))
            except (TypeError, ValueError, RuntimeError) as error:
                raise GraphError(f"{name} is not an array of a value for each graph ({error})") from error

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, index: int) -> tuple[dgl.DGLGraph, Tensor]:
        """The graph at `index` and its label, a tensor of shape ()."""
        return self.graphs[index], self.labels[index]
