r"""GraphSAGE with the mean aggregator (Hamilton et al., NeurIPS 2017, arXiv:1706.02216).

.. math:: h_v^{(l+1)} = \mathrm{ReLU}\bigl(W^{(l)}
          [\, h_v^{(l)} \,\|\, \mathrm{mean}_{u \in N(v)} h_u^{(l)} \,] + b^{(l)}\bigr)

Algorithm 1 on the full neighbourhood N(v), without sampling and without the rows' final division by their norm, as in
the supervised baselines of later papers. The matrix on the concatenation is kept as its two halves. Dropout stands
before every layer.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import LinearConv, SAGEConv
from zoo.nn.sparse_linear import Dropout, Features

__all__ = ["SAGE"]


@register(
    "sage",
    paper="arXiv:1706.02216",
    title="Inductive Representation Learning on Large Graphs",
    authors="William L. Hamilton and Rex Ying and Jure Leskovec",
    venue="NeurIPS 2017",
)
class SAGE(ZooModel):
    """Mean aggregations with ReLU between them.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of aggregations; with a readout a linear layer follows them.
        hidden: Width of the hidden layers.
        dropout: Before every layer.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 2,
        hidden: int = 16,
        dropout: float = 0.5,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        widths = [in_feats] + [hidden] * self.num_hidden(num_layers)
        self.hidden = hidden
        self.convs = nn.ModuleList(SAGEConv(before, after) for before, after in pairwise(widths))
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last aggregation; behind a readout a linear layer."""
        return (SAGEConv if self.readout is None else LinearConv)(self.hidden, num_classes)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each hidden layer after its ReLU; the dropout before the next layer is part of the state."""
        state = self.dropout(feat)
        for conv in self.convs:
            state = self.dropout(nn.functional.relu(conv(graph, state)))
            yield state
