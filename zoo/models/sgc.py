r"""SGC: simple graph convolution (Wu et al., ICML 2019, arXiv:1902.07153).

.. math:: Z = S^K X W + b, \qquad S = \tilde D^{-1/2} \tilde A \tilde D^{-1/2}, \quad \tilde A = A + I

A GCN without its ReLUs: what is left of K layers is one matrix W behind K propagations of the features X. D̃ are the
degrees of Ã, whose self-loops are a transform of the recipe; Z the logits.

The hidden layers are S^k X, and the head is the last propagation with W. As in the authors' code, the features are
propagated once and not in every epoch: S^(K-1) X is remembered as long as they are. The code has all K propagations
there; here the last one comes behind W, which is the same product and leaves K-1 hidden layers, as other methods have.
The code's W and b start uniformly within 1/√in_feats; here W starts as GCN's, and b at 0: the loss is convex.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._cache import per_tensor
from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GCNConv, LinearConv
from zoo.nn.sparse_linear import Features, Linear, SparseFeatures, compress, dense

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
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        self.num_steps = self.num_hidden(num_layers)
        self.width = in_feats if hidden is None else hidden
        self.reduction = None if hidden is None else Linear(in_feats, hidden, bias=False, init="glorot")
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """W and the last propagation; behind a readout a linear layer."""
        return (LastConv if self.readout is None else LinearConv)(self.width, num_classes)

    @property
    def same_in_training(self) -> bool:
        """See `ZooModel`."""
        return True

    def hidden_states(self, graph: "dgl.DGLGraph", feat: Features) -> Iterator[Tensor]:
        """The features after each propagation."""
        state = dense(feat) if self.reduction is None else self.reduction(feat)
        for _ in range(self.num_steps):
            state = ops.propagate_gcn(graph, state)
            yield state

    def forward(self, graph: "dgl.DGLGraph", feat: Tensor | None = None) -> Tensor:
        """See `ZooModel`. Of constant features, the state before the head is computed once."""
        given = self._input(graph, feat)
        learnt = self.reduction is not None or (isinstance(given, Tensor) and given.requires_grad)
        if learnt or self.readout is not None:
            return super().forward(graph, feat)
        latest = per_tensor(given.csr if isinstance(given, SparseFeatures) else given, SGC, Propagated)
        if not latest.fits(graph, self.num_steps):
            with torch.inference_mode(False), torch.no_grad():
                latest.keep(graph, self.num_steps, self.encode(graph, feat))
        return self.head(graph, latest.state)


class Propagated:
    """The state that some features had last: one, since it can be as large as they are."""

    state: Tensor

    def __init__(self) -> None:
        self.structure, self.num_steps = None, 0

    def fits(self, graph: "dgl.DGLGraph", num_steps: int) -> bool:
        """Whether it is of this graph, or of a copy with the same edges, and of this depth."""
        return self.structure is graph._graph and self.num_steps == num_steps  # see `zoo._cache.per_graph`

    def keep(self, graph: "dgl.DGLGraph", num_steps: int, state: Tensor) -> None:
        """Puts another state in its place."""
        self.structure, self.num_steps, self.state = graph._graph, num_steps, state


class LastConv(GCNConv):
    """S X W + b, where X goes through W as CSR if it is still sparse, as words are after one propagation."""

    def forward(self, graph: "dgl.DGLGraph", feat: Features) -> Tensor:
        """See the class."""
        return super().forward(graph, compress(feat) if isinstance(feat, Tensor) else feat)
