r"""APPNP: approximate personalised propagation of neural predictions (Gasteiger et al., ICLR 2019, arXiv:1810.05997).

.. math:: Z^{(0)} = H = \mathrm{MLP}(X), \qquad Z^{(k+1)} = (1 - \alpha) \hat A Z^{(k)} + \alpha H, \qquad
          \hat A = \tilde D^{-1/2} \tilde A \tilde D^{-1/2}, \quad \tilde A = A + I

H are the class scores that the features alone give, D̃ the degrees of Ã, α the probability of a restart at the node
itself; the logits are Z⁽ᴷ⁾, which comes near to personalised PageRank's (I - (1-α) Â)⁻¹ α H. The self-loops of Ã are a
transform of the recipe.

In training the paper drops from the input of both linear layers (`dropout`) and from Â, anew at every step
(`edge_dropout`). In the authors' code, a deeper MLP has dropout before its first and its last layer only, here before
every layer; and the code's linear layers have no bias.

Read as signed propagation (arXiv:2502.11394, table 5), A⁺ = Σ_{i=0}^{k+1} αⁱ Âⁱ and A⁻ = α Σ_{j=0}^{k} αʲ Âʲ. With
1 - α in the place of this α, and K = k + 1, A⁺ - A⁻ is what takes H to Z⁽ᴷ⁾.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from zoo import ops
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models import register
from zoo.nn.propagated_mlp import PropagatedMLP, check_steps
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = ["APPNP", "PersonalisedLinear"]


@register(
    "appnp",
    paper="arXiv:1810.05997",
    title="Predict then Propagate: Graph Neural Networks meet Personalized PageRank",
    authors="Johannes Gasteiger and Aleksandar Bojchevski and Stephan Günnemann",
    venue="ICLR 2019",
)
class APPNP(PropagatedMLP):
    """Linear layers with ReLU between them; the last one's output is propagated.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of linear layers; with a readout one more follows the propagation.
        hidden: Width of the hidden layers.
        num_steps: K, the number of propagation steps.
        alpha: α, from 0 to 1.
        dropout: Before every linear layer.
        edge_dropout: On the entries of Â, at every step.
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
        num_steps: int = 10,
        alpha: float = 0.1,
        dropout: float = 0.5,
        edge_dropout: float = 0.5,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        propagated = partial(PersonalisedLinear, num_steps=num_steps, alpha=alpha, edge_dropout=edge_dropout)
        super().__init__(
            in_feats,
            num_classes,
            propagated=propagated,
            num_layers=num_layers,
            hidden=hidden,
            dropout=dropout,
            readout=readout,
            transforms=transforms,
        )


class PersonalisedLinear(nn.Module):
    """Z⁽ᴷ⁾ of H = X W + b, see the module; self-loops are a transform of the data.

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        num_steps: K.
        alpha: α.
        edge_dropout: On the entries of Â, at every step.

    Shapes:
        graph with N nodes, input (N, in_feats), a Tensor or `SparseFeatures`; output (N, out_feats).
    """

    def __init__(self, in_feats: int, out_feats: int, *, num_steps: int, alpha: float, edge_dropout: float) -> None:
        super().__init__()
        check_steps(num_steps)
        if not 0 <= alpha <= 1:
            raise ConfigError(f"alpha must be from 0 to 1, got {alpha}")
        self.num_steps, self.alpha = num_steps, alpha
        self.linear = Linear(in_feats, out_feats)
        self.edge_dropout = Dropout(edge_dropout)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the class."""
        scores = state = self.linear(feat)
        for _ in range(self.num_steps):
            state = ops.lerp(self._propagate(graph, state), scores, self.alpha)
        return state

    def _propagate(self, graph: dgl.DGLGraph, state: Tensor) -> Tensor:
        if not self.training or self.edge_dropout.p == 0:
            return ops.propagate_gcn(graph, state)
        scale = ops.degree_scale(graph, state)
        kept = self.edge_dropout(state.new_ones(graph.num_edges()))
        return ops.propagate(graph, state * scale, kept) * scale
