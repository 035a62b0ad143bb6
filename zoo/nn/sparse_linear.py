"""Bag-of-words features as CSR: a first layer that multiplies only what is not zero.

Cora's features are 1.3 % dense, CiteSeer's 0.9 %: the sparse product is exact and many times as fast
(`benchmarks/kernels.py`). A model turns its input into `SparseFeatures` once (`compress`), and `Linear` and `Dropout`
take either kind.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo._cache import per_tensor
from zoo._checks import check_choice
from zoo.errors import ConfigError
from zoo.ops import csr_tensor

__all__ = ["Dropout", "Features", "Linear", "SparseFeatures", "compress", "constant", "dense"]

INITS = ("torch", "glorot")
MAX_DENSITY = 0.15  # above it the dense product is the faster one
DROPOUT_BLOCK = 1 << 16  # elements; 512 KB in float64


@dataclass(frozen=True, eq=False)
class SparseFeatures:
    """A constant (num_nodes, in_feats) matrix as CSR, and its transpose for the backward pass.

    Attributes:
        csr: The matrix.
        transpose: The transpose as CSR.
        order: Where each value of the transpose stands among the values of `csr`.
    """

    csr: Tensor
    transpose: Tensor
    order: Tensor

    @staticmethod
    def from_dense(feat: Tensor) -> "SparseFeatures":
        """Compresses a dense (num_nodes, in_feats) matrix."""
        rows, columns = feat.nonzero(as_tuple=True)
        order = torch.argsort(columns, stable=True)
        num_nodes, in_feats = feat.shape
        csr = _csr(rows, columns, feat[rows, columns], (num_nodes, in_feats))
        transpose = _csr(columns[order], rows[order], csr.values()[order], (in_feats, num_nodes))
        return SparseFeatures(csr, transpose, order)

    @property
    def shape(self) -> torch.Size:
        """(num_nodes, in_feats)."""
        return self.csr.shape

    def with_values(self, values: Tensor) -> "SparseFeatures":
        """The same pattern of non-zeros with other values."""
        csr = _with_values(self.csr, values)
        return SparseFeatures(csr, _with_values(self.transpose, values[self.order]), self.order)


Features = Tensor | SparseFeatures  # what a first layer takes


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A CSR matrix from coordinates that are sorted by row."""
    indptr = torch.zeros(shape[0] + 1, dtype=torch.int64, device=rows.device)
    indptr[1:] = torch.bincount(rows, minlength=shape[0]).cumsum(0)
    return csr_tensor(indptr, columns, values, shape)


def _with_values(csr: Tensor, values: Tensor) -> Tensor:
    return csr_tensor(csr.crow_indices(), csr.col_indices(), values, (csr.shape[0], csr.shape[1]))


def compress(feat: Tensor) -> Tensor | SparseFeatures:
    """The features as CSR where that is faster, else as they are; compressed once per tensor and version of it.

    Args:
        feat: (num_nodes, in_feats), dense. A tensor that needs a gradient stays dense.
    """
    if feat.requires_grad:
        return feat
    sparse = per_tensor(feat, SparseFeatures, lambda: SparseFeatures.from_dense(feat) if _is_sparse(feat) else None)
    return feat if sparse is None else sparse


def dense(feat: Features) -> Tensor:
    """The features as a plain (num_nodes, in_feats) matrix."""
    return feat.csr.to_dense() if isinstance(feat, SparseFeatures) else feat


def constant(feat: Features) -> Tensor | None:
    """The tensor with which what is derived from the features is remembered.

    None for features that need a gradient, and under autocast, where other values would be derived.
    """
    tensor = feat.csr if isinstance(feat, SparseFeatures) else feat
    return None if tensor.requires_grad or torch.is_autocast_enabled(tensor.device.type) else tensor


def _is_sparse(feat: Tensor) -> bool:
    return bool(feat.count_nonzero() <= MAX_DENSITY * feat.numel())


def _product(csr: Tensor, dense: Tensor) -> Tensor:
    """csr @ dense as weighted sums of rows, which PyTorch does faster than its CSR product."""
    return nn.functional.embedding_bag(
        csr.col_indices(),
        dense,
        csr.crow_indices(),
        mode="sum",
        per_sample_weights=csr.values(),
        include_last_offset=True,
    )


class _SparseProduct(torch.autograd.Function):
    """feat @ weight.T for constant sparse features."""

    @staticmethod
    def forward(ctx: Any, feat: SparseFeatures, weight: Tensor) -> Tensor:
        ctx.feat = feat
        return _product(feat.csr, weight.t().contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (grad,) = grads
        return None, _product(ctx.feat.transpose, grad.contiguous()).t().contiguous()


class Linear(nn.Module):
    r"""Y = X Wᵀ + b, for dense or sparse features.

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        bias: Whether b is there. Default: True.
        init: `"glorot"` (uniform, bias 0: Kipf's and PyG's graph convolutions) or `"torch"` (the bounds
            1/√in_feats of `torch.nn.Linear`). Default: `"torch"`.

    Shapes:
        input (num_nodes, in_feats), a Tensor or `SparseFeatures`; output (num_nodes, out_feats).
    """

    def __init__(self, in_feats: int, out_feats: int, *, bias: bool = True, init: str = "torch") -> None:
        super().__init__()
        if in_feats < 1 or out_feats < 1:
            raise ConfigError(f"a layer's widths must be positive, got {in_feats} and {out_feats}")
        check_choice("init", init, INITS)
        self.in_feats, self.out_feats, self.init = in_feats, out_feats, init
        self.weight = nn.Parameter(torch.empty(out_feats, in_feats))
        self.bias = nn.Parameter(torch.empty(out_feats)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the parameters anew."""
        bound = 1 / math.sqrt(self.in_feats)
        if self.init == "glorot":
            nn.init.xavier_uniform_(self.weight)
        else:
            nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            if self.init == "glorot":
                nn.init.zeros_(self.bias)
            else:
                nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, feat: Tensor | SparseFeatures) -> Tensor:
        """See the class."""
        if isinstance(feat, Tensor):
            return nn.functional.linear(feat, self.weight, self.bias)
        product: Tensor = _SparseProduct.apply(feat, self.weight)
        return product if self.bias is None else product + self.bias

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.in_feats}, {self.out_feats}, bias={self.bias is not None}"


def _drop(values: Tensor, p: float) -> Tensor:
    """What `torch.nn.functional.dropout` does, on a CPU faster (`benchmarks/kernels.py`).

    There torch draws a float64 for one element after the other and keeps those with less than 1 - p; for Intel's
    processors it may draw otherwise. Here a block's numbers are drawn, then compared. Where torch's are so too, a
    contiguous tensor has the same bits from both.
    """
    if values.device.type != "cpu":
        return nn.functional.dropout(values, p)
    kept = torch.empty(values.shape, dtype=values.dtype, device="cpu")
    for block in kept.view(-1).split(DROPOUT_BLOCK):
        torch.lt(torch.rand(len(block), dtype=torch.float64, device="cpu"), 1 - p, out=block)
    return values * kept.div_(1 - p)


class Dropout(nn.Module):
    """Dropout that, on sparse features, draws for the non-zeros only: the zeros would stay zero anyway.

    Args:
        p: Probability of a zero.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ConfigError(f"a dropout probability is at least 0 and below 1, got {p}")
        self.p = p

    def forward(self, feat: Any) -> Any:
        """A Tensor of any shape, or `SparseFeatures`, to the same."""
        if not self.training or self.p == 0:
            return feat
        if isinstance(feat, SparseFeatures):
            return feat.with_values(_drop(feat.csr.values(), self.p))
        return _drop(feat, self.p)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"p={self.p}"
