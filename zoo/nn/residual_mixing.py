"""GCNII's initial residual and identity mapping (Chen et al., ICML 2020, arXiv:2007.02133)."""

from torch import Tensor, nn

from zoo import ops
from zoo.nn.sparse_linear import Linear

__all__ = ["ResidualMixing"]


class ResidualMixing(nn.Module):
    r"""What one layer makes of ÂH and H⁽⁰⁾ before its ReLU.

    .. math:: \bigl((1 - \alpha) \hat A H + \alpha H^{(0)}\bigr) \bigl((1 - \beta) I + \beta W\bigr)

    GCNII*, `variant=True`, has a matrix W for each of the two parts, see `zoo.models.gcnii`.

    Args:
        width: Of all states.
        alpha: α.
        beta: β.
        variant: GCNII*.

    Shapes:
        input propagated ÂH, first H⁽⁰⁾, and output (num_nodes, width).
    """

    def __init__(self, width: int, *, alpha: float, beta: float, variant: bool) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.linear = Linear(width, width, bias=False)
        self.initial_linear = Linear(width, width, bias=False) if variant else None

    def forward(self, propagated: Tensor, first: Tensor) -> Tensor:
        """See the class."""
        if self.initial_linear is None:
            return self._mapped(ops.lerp(propagated, first, self.alpha), self.linear)
        parts = self._mapped(propagated, self.linear), self._mapped(first, self.initial_linear)
        return ops.lerp(*parts, self.alpha)

    def _mapped(self, state: Tensor, linear: nn.Module) -> Tensor:
        """State times (1 - β) I + β W."""
        return ops.lerp(state, linear(state), self.beta)
