"""What `load` returns for a set of many graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    def __len__(self) -> int:
        return len(self.graphs)

    def __getitem__(self, index: int) -> tuple[dgl.DGLGraph, Tensor]:
        """The graph at `index` and its label, a tensor of shape ()."""
        return self.graphs[index], self.labels[index]
