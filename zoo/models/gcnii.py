r"""GCNII: graph convolutions via initial residual and identity mapping (Chen et al., ICML 2020, arXiv:2007.02133).

.. math:: H^{(l)} = \mathrm{ReLU}\Bigl(\bigl((1 - \alpha) \hat A H^{(l-1)} + \alpha H^{(0)}\bigr)
          \bigl((1 - \beta_l) I + \beta_l W^{(l)}\bigr)\Bigr), \qquad
          \beta_l = \log(\lambda / l + 1), \qquad \hat A = \tilde D^{-1/2} (A + I) \tilde D^{-1/2}

H⁽⁰⁾ is a linear layer with ReLU of the features, the logits are a linear layer of H⁽ᴸ⁾, D̃ are the degrees of A + I,
whose self-loops are a transform of the recipe. α keeps a part of H⁽⁰⁾ in every layer; β falls with the depth l, so that
deep layers hardly mix channels. GCNII*, `variant=True`, has a matrix for each of the two parts:

.. math:: H^{(l)} = \mathrm{ReLU}\Bigl((1 - \alpha) \hat A H^{(l-1)} \bigl((1 - \beta_l) I + \beta_l W_1^{(l)}\bigr)
          + \alpha H^{(0)} \bigl((1 - \beta_l) I + \beta_l W_2^{(l)}\bigr)\Bigr)

From the authors' code: dropout before every layer, though not on the H⁽⁰⁾ that is added, and the start of the matrices,
which have no bias. For GCNII* the code leaves out the factors 1 - α and α before W₁ and W₂: for 0 < α < 1 the same
family of functions, with another start and another weight decay. Here it is as printed. The authors' weight decay has
two groups: `convs.*`, which are the W⁽ˡ⁾, and the two linear layers.

Remedies against oversmoothing, off by default, are options: normalisations behind each graph convolution, before its
ReLU (`norms`), and fewer edges in training (`drop_edge`); see `zoo.nn.norms` and `zoo.nn.drops`.

Read as signed propagation, arXiv:2502.11394 treats GCNII like APPNP (table 5): A⁺ = Σ_{i=0}^{k+1} αⁱ Âⁱ,
A⁻ = α Σ_{j=0}^{k} αʲ Âʲ, where this α stands for 1 - α (see `zoo.models.appnp`).
"""

import math
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from zoo import ops
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import LinearConv
from zoo.nn.drops import DropEdge
from zoo.nn.norms import Norms
from zoo.nn.residual_mixing import ResidualMixing
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = ["GCNII"]


@register(
    "gcnii",
    paper="arXiv:2007.02133",
    title="Simple and Deep Graph Convolutional Networks",
    authors="Ming Chen and Zhewei Wei and Zengfeng Huang and Bolin Ding and Yaliang Li",
    venue="ICML 2020",
)
class GCNII(ZooModel):
    """A linear layer, graph convolutions that come back to its output, and another linear layer.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of graph convolutions L, and without a readout one more, for the last linear layer.
        hidden: Width of all hidden layers.
        alpha: α, from 0 to 1.
        lam: λ, not negative.
        variant: GCNII*, see the module.
        dropout: Before every layer.
        norms: Names from `zoo.nn.norms.NORMS`, applied behind each graph convolution, first one first.
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
        num_layers: int = 17,
        hidden: int = 64,
        alpha: float = 0.1,
        lam: float = 0.5,
        variant: bool = False,
        dropout: float = 0.6,
        norms: Sequence[str] = (),
        norm_scale: float = 1.0,
        drop_edge: float = 0.0,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        if not 0 <= alpha <= 1:
            raise ConfigError(f"alpha must be from 0 to 1, got {alpha}")
        if not 0 <= lam < math.inf:
            raise ConfigError(f"lam must be finite and not negative, got {lam}")
        self.hidden = hidden
        self.embed = Linear(in_feats, hidden)
        self.convs = nn.ModuleList(
            ResidualMixing(hidden, alpha=alpha, beta=math.log(lam / depth + 1), variant=variant)
            for depth in range(1, self.num_hidden(num_layers) + 1)
        )
        self.norms = nn.ModuleList(Norms(norms, hidden, scale=norm_scale) for _ in self.convs)
        self.drop_edge = DropEdge(drop_edge)
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last linear layer."""
        return LinearConv(self.hidden, num_classes)

    def forward(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """See `ZooModel`."""
        return super().forward(self.drop_edge(graph), feat)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each graph convolution after its ReLU; the dropout before the next layer is part of the state."""
        first = nn.functional.relu(self.embed(self.dropout(feat)))
        state = self.dropout(first)
        for conv, norms in zip(self.convs, self.norms, strict=True):
            mixed = conv(ops.propagate_gcn(graph, state), first)
            state = self.dropout(nn.functional.relu(norms(mixed, graph)))
            yield state
