r"""GCN: graph convolutional network (Kipf & Welling, ICLR 2017, arXiv:1609.02907).

.. math:: H^{(l+1)} = \mathrm{ReLU}(\tilde D^{-1/2} \tilde A \tilde D^{-1/2} H^{(l)} W^{(l)} + b^{(l)}), \qquad
          \tilde A = A + I

H⁽⁰⁾ are the row-normalised features, D̃ the degrees of Ã; the last layer gives the logits, without ReLU (eqs. 2 and 9).
Dropout stands before every layer. The self-loops of Ã and the row-normalisation are transforms of the recipe. The bias,
and weight decay on the first layer only, are the authors' code's.

Remedies against oversmoothing, all off by default, are options: normalisations behind each hidden convolution, before
its ReLU (`norms`), and behind that the layer's input before its dropout, r times (`residual`), both placed as in the
code of ContraNorm (arXiv:2303.06562, r = 1); fewer edges (`drop_edge`) or messages (`drop_message`) in training.

Read as signed propagation (arXiv:2502.11394, table 5), GCN is A⁺ = Â and A⁻ = 0, with Â the normalised adjacency; a
residual connection makes A⁻ = I of it. What the others do is told in `zoo.nn.norms` and `zoo.nn.drops`.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from zoo._checks import check_residual
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GCNConv, LinearConv
from zoo.nn.drops import DropEdge, DropMessage
from zoo.nn.norms import Norms
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
        norms: Names from `zoo.nn.norms.NORMS`, applied behind each hidden convolution, first one first.
        norm_scale: s of PairNorm and ContraNorm among them.
        residual: r, at least 0: each hidden layer but the first adds r times its input to its output.
        drop_edge: Share of the edges, without self-loops, that `forward` leaves out in training.
        drop_message: Probability that an element of a message is left out in training.
        adjacency: `"symmetric"`, as in the paper, or `"row"`, D̃⁻¹ Ã; with `drop_message` the first only.
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
        norms: Sequence[str] = (),
        norm_scale: float = 1.0,
        residual: float = 0.0,
        drop_edge: float = 0.0,
        drop_message: float = 0.0,
        adjacency: str = "symmetric",
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        widths = [in_feats] + [hidden] * self.num_hidden(num_layers)
        check_residual(residual)
        if drop_message != 0 and adjacency != "symmetric":
            raise ConfigError(f"drop_message goes with adjacency 'symmetric', got {adjacency!r}")
        self.hidden, self.residual, self.drop_message, self.adjacency = hidden, float(residual), drop_message, adjacency
        self.convs = nn.ModuleList(self.make_conv(before, after) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(Norms(norms, hidden, scale=norm_scale) for _ in self.convs)
        self.drop_edge = DropEdge(drop_edge)
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_conv(self, in_feats: int, out_feats: int) -> nn.Module:
        """A graph convolution, whose messages lose elements if they are to."""
        if self.drop_message == 0:
            return GCNConv(in_feats, out_feats, adjacency=self.adjacency)
        return DropMessageConv(in_feats, out_feats, rate=self.drop_message)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last convolution; behind a readout a linear layer."""
        return (self.make_conv if self.readout is None else LinearConv)(self.hidden, num_classes)

    @property
    def same_in_training(self) -> bool:
        """See `ZooModel`."""
        drops = (self.dropout.p, self.drop_edge.rate, self.drop_message)
        return not any(drops) and not any(True for _ in self.norms.buffers())

    def forward(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """See `ZooModel`."""
        return super().forward(self.drop_edge(graph), feat)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each hidden layer after its ReLU; the dropout before the next layer is part of the state."""
        state, before = self.dropout(feat), None
        for conv, norms in zip(self.convs, self.norms, strict=True):
            output = nn.functional.relu(norms(conv(graph, state), graph))
            if self.residual != 0 and before is not None:
                output = output + self.residual * before
            state, before = self.dropout(output), output
            yield state


class DropMessageConv(GCNConv):
    """`GCNConv` whose messages lose elements in training.

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        rate: Of `DropMessage`.
    """

    def __init__(self, in_feats: int, out_feats: int, *, rate: float) -> None:
        super().__init__(in_feats, out_feats)
        self.drop = DropMessage(rate)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the class."""
        return self.drop(graph, self.linear(feat)) + self.bias
