"""What APPNP, DAGNN and GPR-GNN share: class scores of the features alone, which are then propagated."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from torch import Tensor, nn

from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.model import ZooModel
from zoo.nn.convs import LinearConv
from zoo.nn.sparse_linear import Dropout, Features

__all__ = ["PropagatedMLP", "check_steps"]

MAX_STEPS = 10_000


def check_steps(num_steps: int) -> None:
    """Raises ConfigError unless it is a number of propagation steps."""
    if not 1 <= num_steps <= MAX_STEPS:
        raise ConfigError(f"num_steps must be from 1 to {MAX_STEPS}, got {num_steps}")


class PropagatedMLP(ZooModel):
    """Linear layers with ReLU between them, the last one with a propagation behind it.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        propagated: Makes the last layer, for the widths of its input and output.
        num_layers: Number of linear layers; with a readout one more follows the propagation.
        hidden: Width of the hidden layers.
        dropout: Before every linear layer.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        propagated: Callable[[int, int], nn.Module],
        num_layers: int,
        hidden: int,
        dropout: float,
        readout: str | None,
        transforms: Sequence[str],
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        self.propagated, self.hidden = propagated, hidden
        plain = self.num_hidden(num_layers) - (readout is not None)
        widths = [in_feats] + [hidden] * plain
        self.mlp = nn.ModuleList(LinearConv(before, after) for before, after in pairwise(widths))
        if readout is not None:  # the head sees pooled graphs only
            self.mlp.append(propagated(widths[-1], hidden))
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last linear layer and the propagation; behind a readout a linear layer."""
        return (self.propagated if self.readout is None else LinearConv)(self.hidden, num_classes)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each hidden layer after its ReLU; the dropout before the next layer is part of the state."""
        state = self.dropout(feat)
        for layer in self.mlp:
            state = self.dropout(nn.functional.relu(layer(graph, state)))
            yield state
