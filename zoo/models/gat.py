r"""GAT: graph attention network (Veličković et al., ICLR 2018, arXiv:1710.10903).

.. math:: h_i' = \mathrm{ELU}\Bigl(\sum_{j \in N_i} \alpha_{ij} W h_j\Bigr), \qquad
          \alpha_{ij} = \mathrm{softmax}_j\, \mathrm{LeakyReLU}(a^T [W h_i \,\|\, W h_j])

The heads of hidden layers are concatenated (eq. 5), those of the last are averaged (eq. 6). N_i includes i: self-loops
are a transform of the recipe.

Where the authors' code differs from the paper: dropout acts on every layer's input and on the α (paper), and once
more on the W h_j that are summed, though not on those that give the scores: `value_dropout`. The published numbers come
from the code. It also draws the input's dropout anew for every head; here the heads share it.

Remedies against oversmoothing, off by default, are options: normalisations behind each hidden convolution, before its
ELU (`norms`), and fewer edges in training (`drop_edge`); see `zoo.nn.norms` and `zoo.nn.drops`.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor, nn

from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GATConv, LinearConv
from zoo.nn.drops import DropEdge
from zoo.nn.norms import Norms
from zoo.nn.sparse_linear import Dropout, Features

__all__ = ["GAT"]


@register(
    "gat",
    paper="arXiv:1710.10903",
    title="Graph Attention Networks",
    authors="Petar Veličković and Guillem Cucurull and Arantxa Casanova and Adriana Romero and "
    "Pietro Liò and Yoshua Bengio",
    venue="ICLR 2018",
)
class GAT(ZooModel):
    """Graph attention layers with ELU between them.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of attention layers; with a readout a linear layer follows them.
        hidden: Width of one head of a hidden layer.
        heads: Heads of the hidden layers, concatenated.
        output_heads: Heads of the last layer, averaged.
        dropout: On every layer's input.
        attention_dropout: On the attention coefficients.
        value_dropout: On the projected features before they are summed (authors' code).
        norms: Names from `zoo.nn.norms.NORMS`, applied behind each hidden convolution, first one first.
        norm_scale: s of PairNorm and ContraNorm among them.
        drop_edge: Share of the edges, without self-loops, that `forward` leaves out in training.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 2,
        hidden: int = 8,
        heads: int = 8,
        output_heads: int = 1,
        dropout: float = 0.6,
        attention_dropout: float = 0.6,
        value_dropout: float = 0.0,
        norms: Sequence[str] = (),
        norm_scale: float = 1.0,
        drop_edge: float = 0.0,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        self.width, self.output_heads = hidden * heads, output_heads
        self.make_conv = partial(GATConv, attention_dropout=attention_dropout, value_dropout=value_dropout)
        widths = [in_feats] + [self.width] * (self.num_hidden(num_layers) - 1)
        self.convs = nn.ModuleList(self.make_conv(width, hidden, heads=heads) for width in widths)
        self.norms = nn.ModuleList(Norms(norms, self.width, scale=norm_scale) for _ in self.convs)
        self.drop_edge = DropEdge(drop_edge)
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last attention layer; behind a readout a linear layer."""
        if self.readout is not None:
            return LinearConv(self.width, num_classes)
        return self.make_conv(self.width, num_classes, heads=self.output_heads, merge="mean")

    def forward(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """See `ZooModel`."""
        return super().forward(self.drop_edge(graph), feat)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each hidden layer after its ELU; the dropout before the next layer is part of the state."""
        state = self.dropout(feat)
        for conv, norms in zip(self.convs, self.norms, strict=True):
            state = self.dropout(nn.functional.elu(norms(conv(graph, state), graph)))
            yield state
