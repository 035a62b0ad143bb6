r"""G²: gradient gating (Rusch et al., ICLR 2023, arXiv:2210.00513), a wrapper around any graph convolution.

.. math:: X^{(n)} = (1 - \tau^{(n)}) \odot X^{(n-1)} + \tau^{(n)} \odot \sigma(F(X^{(n-1)})), \qquad
          \tau^{(n)}_{ik} = \tanh\Bigl(\sum_{j \in N_i} \bigl|\hat\tau^{(n)}_{jk} - \hat\tau^{(n)}_{ik}\bigr|^p\Bigr),
          \qquad \hat\tau^{(n)} = \sigma(\hat F(X^{(n-1)}))

F and F̂ are convolutions, p ≥ 1 an exponent, N_i the neighbours of node i, k a channel. The gate τ is near 0 where a
node's neighbours are alike in a channel: there the node keeps its state, however deep the network is, and so
oversmoothing switches itself off. X⁽⁰⁾ is a linear layer with ReLU of the features, the logits are a linear layer of
X⁽ᴸ⁾.

Where the authors' code differs from the paper, or the paper leaves a choice:

- `share_layers=True`: one F, and one F̂, for all layers, as in the code; the paper gives each layer its own.
- `mean_gate=True`: the mean over the neighbours instead of the sum, as in the code. A self-loop is no neighbour: the
  code adds loops inside its convolutions only, here they are a transform of the recipe.
- `gate_conv=False`: F̂ is F, the default of the authors' scripts.
- σ is ReLU, around graph attention ELU, in the code. It has a bias and an ELU for each of a GAT's four heads, and takes
  means over four neighbouring channels of one head; here the mean is over the heads, and bias and ELU follow it. With
  one head, as in the recipes, there is no difference.
- In the code a node's gate looks at its out-neighbours, here, as everywhere in the zoo, at its in-neighbours.
- Dropout on the features and before the last layer, none between, as in the code. The defaults are those of its script
  for synthetic Cora.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._cache import per_graph
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GATConv, LinearConv, make_conv
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = ["G2"]


@register(
    "g2",
    paper="arXiv:2210.00513",
    title="Gradient Gating for Deep Multi-Rate Learning on Graphs",
    authors="T. Konstantin Rusch and Benjamin P. Chamberlain and Michael W. Mahoney and Michael M. Bronstein and "
    "Siddhartha Mishra",
    venue="ICLR 2023",
)
class G2(ZooModel):
    """A linear layer, gated graph convolutions, and another linear layer.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        conv: A name from `zoo.nn.convs.CONVS`.
        num_layers: Number of graph convolutions L, and without a readout one more, for the last linear layer.
        hidden: Width of all hidden layers.
        heads: Heads of a graph attention layer, averaged; other convolutions have none.
        exponent: p.
        gate_conv: Whether the gates have convolutions F̂ of their own.
        mean_gate: See the module.
        share_layers: See the module.
        input_dropout: On the features.
        dropout: Before the last layer.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        conv: str = "gcn",
        num_layers: int = 14,
        hidden: int = 128,
        heads: int = 1,
        exponent: float = 2.0,
        gate_conv: bool = False,
        mean_gate: bool = True,
        share_layers: bool = True,
        input_dropout: float = 0.7,
        dropout: float = 0.2,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        if not 1 <= exponent < float("inf"):
            raise ConfigError(f"exponent must be at least 1 and finite, got {exponent}")
        self.hidden, self.heads, self.exponent, self.mean_gate = hidden, heads, float(exponent), mean_gate
        self.depth = self.num_hidden(num_layers)
        self.activate = nn.functional.elu if conv == "gat" else nn.functional.relu
        self.embed = Linear(in_feats, hidden)
        num_convs = 1 if share_layers else self.depth
        self.convs = nn.ModuleList(self.make_conv(conv) for _ in range(num_convs))
        self.gate_convs = nn.ModuleList(self.make_conv(conv) for _ in range(num_convs)) if gate_conv else None
        self.input_dropout = Dropout(input_dropout)
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_conv(self, name: str) -> nn.Module:
        """The convolution of that name."""
        if name == "gat":
            return GATConv(self.hidden, self.hidden, heads=self.heads, merge="mean")
        return make_conv(name, self.hidden, self.hidden)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last linear layer."""
        return LinearConv(self.hidden, num_classes)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """X⁽¹⁾ to X⁽ᴸ⁾; the dropout before the last layer is part of the last."""
        state = nn.functional.relu(self.embed(self.input_dropout(feat)))
        for i in range(self.depth):
            state = self._advance(graph, state, i % len(self.convs))
            yield self.dropout(state) if i == self.depth - 1 else state

    def _advance(self, graph: dgl.DGLGraph, state: Tensor, i: int) -> Tensor:
        """One gated layer, with the convolutions of number i."""
        new = self.activate(self.convs[i](graph, state))
        compared = new if self.gate_convs is None else self.activate(self.gate_convs[i](graph, state))
        return ops.lerp(state, new, self.gate(graph, compared))

    def gate(self, graph: dgl.DGLGraph, compared: Tensor) -> Tensor:
        """τ of τ̂; both (num_nodes, hidden)."""
        total = ops.propagate_differences(graph, compared, self.exponent)
        return torch.tanh(total / _num_neighbours(graph, compared) if self.mean_gate else total)


def _num_neighbours(graph: dgl.DGLGraph, like: Tensor) -> Tensor:
    """Number of in-edges that are not self-loops, (num_nodes, 1), with dtype and device of `like`; 1 for none."""

    def compute() -> Tensor:
        senders, receivers = ops.edge_ends(graph, like.device)
        counts = torch.bincount(receivers[senders != receivers], minlength=graph.num_nodes())
        return counts.clamp(min=1).to(like).unsqueeze(1)

    return per_graph(graph, ("num_neighbours", like.dtype, like.device), compute)
