r"""MLP: what the features alone tell (the baseline of Kipf & Welling, ICLR 2017, arXiv:1609.02907, table 3).

.. math:: H^{(l+1)} = \mathrm{ReLU}(H^{(l)} W^{(l)} + b^{(l)})

H⁽⁰⁾ are the features; the last layer gives the logits, without ReLU. The edges play no part. Dropout stands before
every layer, and weights and biases start as PyTorch's linear layers do.

Table 5 of arXiv:2502.11394, which reads methods as signed propagation, has no row for it: nothing is propagated,
A⁺ = A⁻ = 0.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import LinearConv
from zoo.nn.sparse_linear import Dropout, Features

__all__ = ["MLP"]


@register(
    "mlp",
    paper="arXiv:1609.02907",
    title="Semi-Supervised Classification with Graph Convolutional Networks",
    authors="Thomas N. Kipf and Max Welling",
    venue="ICLR 2017",
)
class MLP(ZooModel):
    """Linear layers with ReLU between them.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of linear layers; with a readout one more follows them.
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
        hidden: int = 64,
        dropout: float = 0.5,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        widths = [in_feats] + [hidden] * self.num_hidden(num_layers)
        self.hidden = hidden
        self.linears = nn.ModuleList(LinearConv(before, after) for before, after in pairwise(widths))
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last layer."""
        return LinearConv(self.hidden, num_classes)

    @property
    def wants_reverses(self) -> bool:
        """See `ZooModel`."""
        return False

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each hidden layer after its ReLU; the dropout before the next layer is part of the state."""
        state = self.dropout(feat)
        for linear in self.linears:
            state = self.dropout(nn.functional.relu(linear(graph, state)))
            yield state
