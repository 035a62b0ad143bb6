r"""SGC: simple graph convolution (Wu et al., ICML 2019, arXiv:1902.07153).

.. math:: Z = S^K X W + b, \qquad S = \tilde D^{-1/2} \tilde A \tilde D^{-1/2}, \quad \tilde A = A + I

A GCN without its ReLUs: what is left of K layers is one matrix W behind K propagations of the features X. D̃ are the
degrees of Ã, whose self-loops are a transform of the recipe; Z the logits.

The hidden layers are S^k X, and the head is the last propagation with W. As in the authors' code, the features are
propagated once and not in every epoch: S^(K-1) X is remembered as long as they are. The code has all K propagations
there; here the last one comes behind W, which is the same product and leaves K-1 hidden layers, as other methods have.
The code's W and b start uniformly within 1/√in_feats; here W starts as GCN's, and b at 0: the loss is convex.

Remedies against oversmoothing, all off by default, are options: X ← norms(S X + r X) in each of the K steps, with
`norms` and `residual`, and fewer edges (`drop_edge`) or messages (`drop_message`) in training. With any but `drop_edge`
all K steps are hidden layers and come before W.

Read as signed propagation (arXiv:2502.11394, table 5), SGC is A⁺ = Â and A⁻ = 0, with Â the S of above; a residual
connection makes A⁻ = I of it. What the others do is told in `zoo.nn.norms` and `zoo.nn.drops`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from zoo._checks import check_residual
from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GCNConv, LinearConv
from zoo.nn.drops import DropEdge, DropMessage
from zoo.nn.norms import Norms
from zoo.nn.sparse_linear import Features, Linear, compress, dense

__all__ = ["SGC"]


@register(
    "sgc",
    paper="arXiv:1902.07153",
    title="Simplifying Graph Convolutional Networks",
    authors="Felix Wu and Amauri Souza and Tianyi Zhang and Christopher Fifty and Tao Yu and Kilian Weinberger",
    venue="ICML 2019",
)
class SGC(ZooModel):
    """Propagations of the features, and one linear layer.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: K, the number of propagations; with a readout the linear layer sees pooled graphs.
        hidden: Width of a linear layer before the propagations: W is then a product of two matrices, and states of
            this width are propagated, in every epoch. Default: None, no such layer, as in the paper.
        norms: Names from `zoo.nn.norms.NORMS`, applied behind each propagation, first one first.
        norm_scale: s of PairNorm and ContraNorm among them.
        residual: r, at least 0: each propagation adds r times its input to its output.
        drop_edge: Share of the edges, without self-loops, that `forward` leaves out in training.
        drop_message: Probability that an element of a message is left out in training.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 2,
        hidden: int | None = None,
        norms: Sequence[str] = (),
        norm_scale: float = 1.0,
        residual: float = 0.0,
        drop_edge: float = 0.0,
        drop_message: float = 0.0,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        check_residual(residual)
        self.linear_head = readout is not None or len(norms) > 0 or residual != 0 or drop_message != 0
        self.num_steps = self.num_hidden(num_layers, head_apart=self.linear_head)
        self.width = in_feats if hidden is None else hidden
        self.reduction = None if hidden is None else Linear(in_feats, hidden, bias=False, init="glorot")
        self.norms = nn.ModuleList(Norms(norms, self.width, scale=norm_scale) for _ in range(self.num_steps))
        self.residual = float(residual)
        self.drop_edge, self.drop_message = DropEdge(drop_edge), DropMessage(drop_message)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """W and the last propagation; behind a readout, and where W cannot change places with it, a linear layer."""
        return (LinearConv if self.linear_head else LastConv)(self.width, num_classes)

    @property
    def same_in_training(self) -> bool:
        """See `ZooModel`."""
        return not self._drops and not any(True for _ in self.norms.buffers())

    @property
    def _drops(self) -> bool:
        return self.drop_edge.rate > 0 or self.drop_message.rate > 0

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """The features after each propagation and what follows it."""
        state = dense(feat) if self.reduction is None else self.reduction(feat)
        for k in range(self.num_steps):
            output = self.drop_message(graph, state)
            if self.residual != 0:
                output = output + self.residual * state
            state = self.norms[k](output, graph)
            yield state

    def forward(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """See `ZooModel`. The state before the head is computed once where nothing in it is learnt or drawn."""
        learnt = self.reduction is not None or self.norms.state_dict()
        drawn = self.training and self._drops
        if learnt or drawn or self.readout is not None:
            return super().forward(self.drop_edge(graph), feat)
        return self.head(graph, self.encode_once(graph, feat, self._options))

    def _options(self) -> tuple[Any, ...]:
        return self.num_steps, repr(self.norms), self.residual


class LastConv(GCNConv):
    """S X W + b, where X goes through W as CSR if it is still sparse, as words are after one propagation."""

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the class."""
        return super().forward(graph, compress(feat) if isinstance(feat, Tensor) else feat)
