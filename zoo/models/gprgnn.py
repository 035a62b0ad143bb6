r"""GPR-GNN: generalised PageRank graph neural network (Chien et al., ICLR 2021, arXiv:2006.07988).

.. math:: Z = \sum_{k=0}^{K} \gamma_k P^k H, \qquad H = \mathrm{MLP}(X), \qquad
          P = \tilde D^{-1/2} \tilde A \tilde D^{-1/2}, \quad \tilde A = A + I

H are the class scores that the features alone give, D̃ the degrees of Ã, Z the logits. The weights γ are learnt, and
may turn negative: on a graph whose neighbours differ they then sharpen where averaging would smooth. The self-loops of
Ã are a transform of the recipe.

From the authors' code: dropout on X and on the hidden layers (`dropout`) and on H (`propagation_dropout`), and no
weight decay on γ, which is a parameter group of the recipe. Of the code's SGC start, one weight of 1 and the others 0,
there are the two that its script uses: `init="ppr"` with α = 0 (only γ_K) and with α = 1 (only γ_0).

With `init="ppr"` and the γ kept as they start this is APPNP; with α = 0 in addition, SGC behind an MLP.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models import register
from zoo.nn.propagated_mlp import PropagatedMLP, check_steps
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = ["GPRGNN", "PropagatedLinear"]

INITS = ("ppr", "nppr", "random")


@register(
    "gprgnn",
    paper="arXiv:2006.07988",
    title="Adaptive Universal Generalized PageRank Graph Neural Network",
    authors="Eli Chien and Jianhao Peng and Pan Li and Olgica Milenkovic",
    venue="ICLR 2021",
)
class GPRGNN(PropagatedMLP):
    """Linear layers with ReLU between them; the last one's output is propagated.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of linear layers; with a readout one more follows the propagation.
        hidden: Width of the hidden layers.
        num_steps: K, the number of propagation steps.
        init: How γ starts. `"ppr"`: γ_k = α(1-α)^k, but γ_K = (1-α)^K; `"nppr"`: α^k; `"random"`: uniform around 0.
            The latter two are divided by Σ|γ_k|.
        alpha: α: from 0 to 1 for `"ppr"`, from -1 to 1 for `"nppr"`, without effect on `"random"`.
        dropout: Before every linear layer.
        propagation_dropout: Before the propagation.
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
        init: str = "ppr",
        alpha: float = 0.1,
        dropout: float = 0.5,
        propagation_dropout: float = 0.5,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(
            in_feats,
            num_classes,
            propagated=partial(
                PropagatedLinear, num_steps=num_steps, init=init, alpha=alpha, dropout=propagation_dropout
            ),
            num_layers=num_layers,
            hidden=hidden,
            dropout=dropout,
            readout=readout,
            transforms=transforms,
        )


class PropagatedLinear(nn.Module):
    """Z = Σ_k γ_k P^k (X W + b), with P = D^(-1/2) A D^(-1/2); self-loops are a transform of the data.

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        num_steps: K.
        init: How γ starts, see `GPRGNN`.
        alpha: See there.
        dropout: On X W + b, before it is propagated.

    Shapes:
        graph with N nodes, input (N, in_feats), a Tensor or `SparseFeatures`; output (N, out_feats).
    """

    def __init__(
        self, in_feats: int, out_feats: int, *, num_steps: int, init: str, alpha: float, dropout: float
    ) -> None:
        super().__init__()
        gamma = _initial_gamma(num_steps, init, alpha)
        self.linear = Linear(in_feats, out_feats)
        self.gamma = nn.Parameter(gamma)
        self.dropout = Dropout(dropout)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the class."""
        power = self.dropout(self.linear(feat))
        first, *others = self.gamma
        total = first * power
        for weight in others:
            power = ops.propagate_gcn(graph, power)
            total = total + weight * power
        return total


def _initial_gamma(num_steps: int, init: str, alpha: float) -> Tensor:
    """Where γ starts, (num_steps + 1,); see `GPRGNN`."""
    check_steps(num_steps)
    check_choice("init", init, INITS)
    lowest = 0 if init == "ppr" else -1
    if not lowest <= alpha <= 1:
        raise ConfigError(f"alpha must be from {lowest} to 1 for init={init!r}, got {alpha}")
    if init == "random":
        gamma = torch.empty(num_steps + 1).uniform_(-1, 1)
        return gamma / gamma.abs().sum()
    # On the CPU: a checkpoint is first built without memory, where the first power takes a second of imports.
    steps = torch.arange(num_steps + 1, dtype=torch.get_default_dtype(), device="cpu")
    if init == "ppr":
        gamma = alpha * (1 - alpha) ** steps
        gamma[-1] = (1 - alpha) ** num_steps
    else:
        gamma = alpha**steps
        gamma = gamma / gamma.abs().sum()
    return gamma.to(torch.get_default_device())
