r"""DAGNN: deep adaptive graph neural network (Liu, Gao, Ji, KDD 2020, arXiv:2007.09296).

.. math:: Z = \mathrm{MLP}(X), \qquad H_l = \hat A^l Z, \qquad
          Y = \sum_{l=0}^{K} \mathrm{diag}(\sigma(H_l s))\, H_l, \qquad
          \hat A = \tilde D^{-1/2} \tilde A \tilde D^{-1/2}, \quad \tilde A = A + I

Z are the class scores that the features X alone give, D̃ the degrees of Ã, whose self-loops are a transform of the
recipe. s is a learnt vector with an entry for each class: σ(H_l s), a number between 0 and 1, says how much a node
retains of what is l steps away. Y are the logits.

From the authors' code: a bias beside s, and dropout before both linear layers of the MLP.

Read as signed propagation (arXiv:2502.11394, table 5), A⁺ = Σ_i α_i Âⁱ + Âᵏ⁺¹ and A⁻ = Σ_j α_j Âᵏ, indices as printed.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._dgl import dgl
from zoo.models import register
from zoo.nn.propagated_mlp import PropagatedMLP, check_steps
from zoo.nn.sparse_linear import Features, Linear

__all__ = ["DAGNN", "AdaptiveLinear"]


@register(
    "dagnn",
    paper="arXiv:2007.09296",
    title="Towards Deeper Graph Neural Networks",
    authors="Meng Liu and Hongyang Gao and Shuiwang Ji",
    venue="KDD 2020",
)
class DAGNN(PropagatedMLP):
    """Linear layers with ReLU between them; the last one's output is propagated, and every hop of it is gated.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of linear layers; with a readout one more follows the propagation.
        hidden: Width of the hidden layers.
        num_steps: K, the number of propagation steps.
        dropout: Before every linear layer.
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
        dropout: float = 0.8,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(
            in_feats,
            num_classes,
            propagated=partial(AdaptiveLinear, num_steps=num_steps),
            num_layers=num_layers,
            hidden=hidden,
            dropout=dropout,
            readout=readout,
            transforms=transforms,
        )


class AdaptiveLinear(nn.Module):
    """Y of Z = X W + b, see the module; self-loops are a transform of the data.

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        num_steps: K.

    Shapes:
        graph with N nodes, input (N, in_feats), a Tensor or `SparseFeatures`; output (N, out_feats).
    """

    def __init__(self, in_feats: int, out_feats: int, *, num_steps: int) -> None:
        super().__init__()
        check_steps(num_steps)
        self.num_steps = num_steps
        self.linear = Linear(in_feats, out_feats)
        self.gate = Linear(out_feats, 1)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the class."""
        hop = self.linear(feat)
        total = self._retained(hop)
        for _ in range(self.num_steps):
            hop = ops.propagate_gcn(graph, hop)
            total = total + self._retained(hop)
        return total

    def _retained(self, hop: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(hop)) * hop
