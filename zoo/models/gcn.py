r"""GCN: graph convolutional network (Kipf & Welling, ICLR 2017, arXiv:1609.02907).

.. math:: H^{(l+1)} = \mathrm{ReLU}(\tilde D^{-1/2} \tilde A \tilde D^{-1/2} H^{(l)} W^{(l)} + b^{(l)}), \qquad
          \tilde A = A + I

H⁽⁰⁾ are the row-normalised features, D̃ the degrees of Ã; the last layer gives the logits, without ReLU (eqs. 2 and 9).
Dropout stands before every layer. The self-loops of Ã and the row-normalisation are transforms of the recipe. The bias,
and weight decay on the first layer only, are the authors' code's.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GCNConv, LinearConv
from zoo.nn.sparse_linear import Dropout, Features

__all__ = ["GCN"]


@register(
    "gcn",
    paper="arXiv:1609.02907",
    title="Semi-Supervised Classification with Graph Convolutional Networks",
    authors="Thomas N. Kipf and Max Welling",
    venue="ICLR 2017",
)
class GCN(ZooModel):
    """Graph convolutions with ReLU between them.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of graph convolutions; with a readout a linear layer follows them.
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
        self.convs = nn.ModuleList(GCNConv(before, after) for before, after in pairwise(widths))
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last convolution; behind a readout a linear layer."""
        return (GCNConv if self.readout is None else LinearConv)(self.hidden, num_classes)

    def hidden_states(self, graph: "dgl.DGLGraph", feat: Features) -> Iterator[Tensor]:
        """Each hidden layer after its ReLU; the dropout before the next layer is part of the state."""
        state = self.dropout(feat)
        for conv in self.convs:
            state = self.dropout(nn.functional.relu(conv(graph, state)))
            yield state
