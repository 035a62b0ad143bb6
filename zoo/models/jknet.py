r"""JKNet: jumping knowledge network (Xu et al., ICML 2018, arXiv:1806.03536).

.. math:: H^{(l)} = \mathrm{ReLU}(\hat A H^{(l-1)} W^{(l)} + b^{(l)}), \qquad
          Z = \mathrm{jump}(H^{(1)}, \dots, H^{(L)})\, W + b, \qquad
          \hat A = \tilde D^{-1/2} \tilde A \tilde D^{-1/2}, \quad \tilde A = A + I

The layers are those of a GCN: H⁽⁰⁾ are the features, D̃ the degrees of Ã, whose self-loops are a transform of the
recipe. All of them jump to the last layer, so that a node need not see its neighbourhood from the deepest one only; Z
are the logits. The jump is

- `"concat"`: [H⁽¹⁾ ‖ … ‖ H⁽ᴸ⁾], of which W weighs the layers, for all nodes alike;
- `"max"`: the largest value of each channel;
- `"lstm"`: Σ_l a⁽ˡ⁾ h⁽ˡ⁾ for each node. A bidirectional LSTM reads h⁽¹⁾, …, h⁽ᴸ⁾; a linear layer scores the pair of its
  states at each l, and a⁽ˡ⁾ is the softmax of the scores. Here each direction is as wide as h.

Dropout stands before every layer, and what jumps has gone through it. The model's hidden layers are H⁽¹⁾, …, H⁽ᴸ⁻¹⁾ and
the jump. The authors' code was not at hand. Implementations differ in the last layer: here it is linear, as in the
equation; DGL's example first sums the jump over each node's neighbours.

Read as signed propagation (arXiv:2502.11394, table 5), A⁺ = Σ_i α_i Âⁱ + Âᵏ⁺¹ and A⁻ = Σ_j α_j Âᵏ, indices as printed.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GCNConv, LinearConv
from zoo.nn.sparse_linear import Dropout, Features

__all__ = ["JKNet", "LSTMAttention"]

JUMPS = ("concat", "max", "lstm")


@register(
    "jknet",
    paper="arXiv:1806.03536",
    title="Representation Learning on Graphs with Jumping Knowledge Networks",
    authors="Keyulu Xu and Chengtao Li and Yonglong Tian and Tomohiro Sonobe and Ken-ichi Kawarabayashi and "
    "Stefanie Jegelka",
    venue="ICML 2018",
)
class JKNet(ZooModel):
    """Graph convolutions with ReLU behind each, all of which the last layer sees.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of graph convolutions L, and without a readout one more, for the linear layer.
        hidden: Width of the graph convolutions.
        jump: `"concat"`, `"max"` or `"lstm"`, see the module.
        dropout: Before every layer.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 5,
        hidden: int = 32,
        jump: str = "concat",
        dropout: float = 0.5,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        check_choice("jump", jump, JUMPS)
        widths = [in_feats] + [hidden] * self.num_hidden(num_layers)
        self.convs = nn.ModuleList(GCNConv(before, after) for before, after in pairwise(widths))
        self.jump = jump
        self.attention = LSTMAttention(hidden) if jump == "lstm" else None
        self.width = hidden * len(self.convs) if jump == "concat" else hidden
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The linear layer."""
        return LinearConv(self.width, num_classes)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each layer but the last after its ReLU and the dropout behind it, then the jump."""
        states: list[Tensor] = []
        state = self.dropout(feat)
        for conv in self.convs:
            yield from states[-1:]
            state = self.dropout(nn.functional.relu(conv(graph, state)))
            states.append(state)
        yield self._join(states)

    def _join(self, states: list[Tensor]) -> Tensor:
        if self.jump == "concat":
            return torch.cat(states, dim=1)
        layers = torch.stack(states, dim=1)
        return layers.amax(1) if self.attention is None else self.attention(layers)


class LSTMAttention(nn.Module):
    """Weighs each node's layers by what a bidirectional LSTM, which reads them in turn, makes of them.

    Args:
        width: Of the layers, and of each direction's state.

    Shapes:
        input (num_nodes, num_layers, width), output (num_nodes, width).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, bidirectional=True, batch_first=True)
        self.score = nn.Linear(2 * width, 1)

    def forward(self, layers: Tensor) -> Tensor:
        """See the class."""
        read, _ = self.lstm(layers)
        return (self.score(read).softmax(1) * layers).sum(1)
