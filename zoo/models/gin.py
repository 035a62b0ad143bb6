r"""GIN: graph isomorphism network (Xu et al., ICLR 2019, arXiv:1810.00826).

.. math:: h_v^{(l+1)} = \mathrm{ReLU}\,\mathrm{BN}\,\mathrm{MLP}^{(l)}\Bigl((1 + \epsilon^{(l)})\, h_v^{(l)}
          + \sum_{u \in N(v)} h_u^{(l)}\Bigr), \qquad
          y = \sum_{l=0}^{L} W^{(l)}\, \mathrm{READOUT}_v\, h_v^{(l)} + b^{(l)}

h⁽⁰⁾ are the features; an MLP is two linear layers with batch normalisation (BN) and ReLU between them. The sum over
N(v) keeps apart what a mean or a maximum confuses; the node's own state has its weight 1 + ε, so the graph needs no
self-loops. With a readout, the features and every layer's states are pooled and predict the classes each for itself;
the predictions y⁽ˡ⁾ are added up, in training after dropout on them (the paper's "after the dense layer").

The last hidden layer of a model with a readout is therefore [h⁽⁰⁾ ‖ … ‖ h⁽ᴸ⁾]: pooling it pools every layer. The paper
counts the input among its five layers, which are `num_layers=4`. Without a readout, which the paper has not, the last
convolution gives the logits, and dropout stands before every layer.

Two ε are the paper's: learnt (GIN-ε), and 0 (GIN-0, which did better); in the authors' code `learn_eps`, too. The
biases of the code that a batch normalisation cancels are not here. A node that is alone in a training batch has no
variance, and is normalised as in evaluation.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._dgl import dgl
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.norms import BatchNorm
from zoo.nn.sparse_linear import Dropout, Features, Linear, dense

__all__ = ["GIN", "SumConv"]


@register(
    "gin",
    paper="arXiv:1810.00826",
    title="How Powerful are Graph Neural Networks?",
    authors="Keyulu Xu and Weihua Hu and Jure Leskovec and Stefanie Jegelka",
    venue="ICLR 2019",
)
class GIN(ZooModel):
    """Sums over neighbours with an MLP, batch normalisation and ReLU behind each; all layers predict a graph's class.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of convolutions; with a readout linear layers follow them, one for each state.
        hidden: Width of the hidden layers, and inside the MLPs.
        learn_eps: Whether ε is learnt, beginning at 0, or stays 0.
        dropout: With a readout on the logits of every layer, without before every layer.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 4,
        hidden: int = 64,
        learn_eps: bool = False,
        dropout: float = 0.5,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        self.hidden, self.learn_eps = hidden, learn_eps
        self.widths = [in_feats] + [hidden] * self.num_hidden(num_layers)
        self.convs = nn.ModuleList(
            SumConv(before, hidden, hidden, learn_eps=learn_eps, bias=False) for before in self.widths[:-1]
        )
        self.norms = nn.ModuleList(BatchNorm(hidden) for _ in self.convs)
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last convolution; behind a readout the sum of all predictions."""
        if self.readout is None:
            return SumConv(self.hidden, self.hidden, num_classes, learn_eps=self.learn_eps)
        return Predictions(self.widths, num_classes, dropout=self.dropout.p)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each hidden layer after its ReLU; without a readout the dropout before the next layer is part of the state.

        With a readout the last one is the features and all layers side by side.
        """
        if self.readout is None:
            yield from self._stack(graph, feat, self.dropout)
            return
        *others, last = self._stack(graph, feat, nn.Identity())
        yield from others
        yield torch.cat([dense(feat), *others, last], dim=1)

    def _stack(self, graph: dgl.DGLGraph, feat: Features, dropout: nn.Module) -> Iterator[Tensor]:
        state = dropout(feat)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            state = dropout(nn.functional.relu(norm(conv(graph, state))))
            yield state


class SumConv(nn.Module):
    """MLP((1 + ε) X + sum of X over in-neighbours), with batch normalisation inside the MLP.

    Args:
        in_feats: Width of the input.
        hidden: Width inside the MLP.
        out_feats: Width of the output.
        learn_eps: Whether ε is learnt or 0.
        bias: Whether the MLP's last layer has one. Default: True.

    Shapes:
        graph with N nodes, input (N, in_feats), a Tensor or `SparseFeatures`; output (N, out_feats).
    """

    def __init__(self, in_feats: int, hidden: int, out_feats: int, *, learn_eps: bool, bias: bool = True) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(())) if learn_eps else None
        self.first = Linear(in_feats, hidden, bias=False)
        self.norm = BatchNorm(hidden)
        self.second = Linear(hidden, out_feats, bias=bias)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the class."""
        inner = self.first(feat)
        own = inner if self.epsilon is None else (1 + self.epsilon) * inner
        return self.second(nn.functional.relu(self.norm(own + ops.propagate(graph, inner))))


class Predictions(nn.Module):
    """The head behind a readout: Σ_l dropout(x_l W_l + b_l) of parts x_l, which stand side by side.

    Args:
        widths: Of the parts.
        num_classes: Width of the output.
        dropout: On each part's prediction.
    """

    def __init__(self, widths: Sequence[int], num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.widths = list(widths)
        self.linears = nn.ModuleList(Linear(width, num_classes) for width in widths)
        self.dropout = Dropout(dropout)

    def forward(self, graph: dgl.DGLGraph, pooled: Tensor) -> Tensor:
        """Of graphs, (num_graphs, sum of widths), to (num_graphs, num_classes)."""
        parts = zip(self.linears, pooled.split(self.widths, dim=1), strict=True)
        return torch.stack([self.dropout(linear(part)) for linear, part in parts]).sum(0)
