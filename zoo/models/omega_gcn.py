r"""ωGCN: a GCN with learnt propagation operators (Eliasof et al., ICML 2023, arXiv:2210.17224).

.. math:: H^{(l+1)} = \mathrm{ReLU}\Bigl(\bigl(H^{(l)} - (H^{(l)} - \hat A H^{(l)})\, \Omega^{(l)}\bigr) W^{(l)}\Bigr),
          \qquad \Omega^{(l)} = \mathrm{diag}(\omega^{(l)}), \qquad
          \hat A = \tilde D^{-1/2} \tilde A \tilde D^{-1/2}, \quad \tilde A = A + I

Every layer and every channel has an operator of its own, I - ω (I - Â), and learns its ω, which has no bounds: between
0 and 1 the operator smooths, below 0 it sharpens. H⁽⁰⁾ is a linear layer with ReLU of the features, the logits are a
linear layer of the last H. D̃ are the degrees of Ã, whose self-loops are a transform of the recipe.

From the authors' code: ω starts at 1, where the layer is a GCN's, and the W⁽ˡ⁾ at the identity, to which the code adds
noise of at most 10⁻⁴; there is dropout before the two linear layers and none between the convolutions. The W⁽ˡ⁾ have no
bias. The code's linear layers have none either; those here do, and start as PyTorch's.

Table 5 of arXiv:2502.11394, which reads methods as signed propagation, has no row for it. By the equation, a channel
with ω > 0 has A⁺ = ω Â and A⁻ = ω I beside its own state, as that table's residual connection has Â and I.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import LinearConv
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = ["OmegaConv", "OmegaGCN"]


@register(
    "omega-gcn",
    paper="arXiv:2210.17224",
    title="Improving Graph Neural Networks with Learnable Propagation Operators",
    authors="Moshe Eliasof and Lars Ruthotto and Eran Treister",
    venue="ICML 2023",
)
class OmegaGCN(ZooModel):
    """A linear layer, graph convolutions that learn how far each channel is smoothed, and another linear layer.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of graph convolutions, and without a readout one more, for the last linear layer.
        hidden: Width of all hidden layers.
        dropout: Before both linear layers.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 3,
        hidden: int = 64,
        dropout: float = 0.6,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        self.hidden = hidden
        self.embed = Linear(in_feats, hidden)
        self.convs = nn.ModuleList(OmegaConv(hidden) for _ in range(self.num_hidden(num_layers)))
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last linear layer."""
        return LinearConv(self.hidden, num_classes)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each graph convolution after its ReLU; the dropout before the head is part of the last state."""
        state = nn.functional.relu(self.embed(self.dropout(feat)))
        *others, last = self.convs
        for conv in others:
            state = nn.functional.relu(conv(graph, state))
            yield state
        yield self.dropout(nn.functional.relu(last(graph, state)))


class OmegaConv(nn.Module):
    """Y = (X - (X - ÂX) diag(ω)) W, with Â = D^(-1/2) A D^(-1/2); self-loops are a transform of the data.

    Args:
        width: Of input and output.

    Shapes:
        graph with N nodes, input and output (N, width).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.omega = nn.Parameter(torch.ones(width))
        self.linear = Linear(width, width, bias=False)
        with torch.no_grad():
            self.linear.weight.zero_().fill_diagonal_(1)  # eye_ would import torch's compiler on every load

    def forward(self, graph: dgl.DGLGraph, feat: Tensor) -> Tensor:
        """See the class."""
        return self.linear(ops.lerp(feat, ops.propagate_gcn(graph, feat), self.omega))
