r"""Learnable rational activations, one per cluster (Padé activation units, Molina et al. 2020).

.. math:: R_c(x) = \frac{P_c(x)}{Q_c(x)}, \qquad P_c(x) = \sum_{j=0}^{m} a_{c,j}\, x^j

The versions differ in the denominator, which none of them lets reach zero:

==== ====================================== ======================================================
A    :math:`1 + \sum_{k=1}^n |b_k x^k|`      the default of the CNA authors
B    :math:`1 + |\sum_{k=1}^n b_k x^k|`
C    :math:`0.1 + |\sum_{k=0}^n b_k x^k|`
D    as B                                    coefficients times uniform(0.9, 1.1) noise in training
==== ====================================== ======================================================

All four are a base plus |s|, where s is a polynomial in z: z = |x| with coefficients |b| in version A (so that
s = Σ |b_k x^k| ≥ 0), z = x with coefficients b in the others. One forward and one backward pass serve them all; for the
usual degrees the CPU has a compiled one.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo import ops
from zoo._checks import check_choice
from zoo.errors import ConfigError

__all__ = ["VERSIONS", "Rational", "relu_coefficients"]

VERSIONS = ("A", "B", "C", "D")
MAX_DEGREE = 100  # a config from a stranger must not ask for more than can be built

# Coefficients of degrees 5/4 that approximate ReLU on [-3, 3]; the denominator's start at b_1, in version C at b_0.
_RELU_NUMERATOR = {
    "A": (0.029963801610813613, 0.6168978366891341, 2.37534759733888, 3.0659900472408443, 1.5246831881677423,
          0.2528070864040542),
    "B": (0.033897129202224346, 0.4999985439606278, 1.6701363611130988, 1.9901021632350815, 0.9413089613384323,
          0.1509133373584318),
    "C": (0.7865035431863266, 11.601593145754968, 38.7535199511595, 46.17884158100411, 21.842701976543186,
          3.501924367528041),
}
_RELU_DENOMINATOR = {
    "A": (-1.191550121923625, 4.4080487697236626, 0.9110357113686055, 0.34884977946384615),
    "B": (-2.1040152094202414e-05, 3.980247851167207, -3.166344237241501e-05, 0.30183382300945066),
    "C": (23.103140929589287, 0.0004299501319296557, 92.356987965797, 0.000308676388304253, 7.003817416523842),
}
_NOISE = 0.1
_BLOCK = 1 << 18  # elements of x at a time


def _base(version: str) -> float:
    return 0.1 if version == "C" else 1.0


def relu_coefficients(degrees: Sequence[int] = (5, 4), version: str = "A") -> tuple[Tensor, Tensor]:
    """Coefficients that approximate ReLU on [-3, 3].

    Higher degrees than 5/4 continue with zeros, which is the same function; lower ones are fitted by least squares
    from the truncated table.

    Args:
        degrees: Of numerator and denominator, each from 1 to 100.
        version: A to D.

    Returns:
        numerator (m + 1,) and denominator (n,), in version C (n + 1,), both float64.
    """
    check_choice("rational version", version, VERSIONS)
    if len(degrees) != 2 or not all(1 <= degree <= MAX_DEGREE for degree in degrees):
        raise ConfigError(
            f"rational degrees are two positive numbers up to {MAX_DEGREE}, numerator and denominator; got {degrees!r}"
        )
    m, n = degrees
    numerator, denominator = _near_relu(min(m, 5), min(n, 4), version)
    return (
        torch.as_tensor(np.pad(numerator, (0, max(0, m - 5)))),
        torch.as_tensor(np.pad(denominator, (0, max(0, n - 4)))),
    )


@functools.cache  # a deep model asks for the same in every layer
def _near_relu(m: int, n: int, version: str) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of degrees up to 5/4 that approximate ReLU."""
    table = "B" if version == "D" else version
    numerator = np.array(_RELU_NUMERATOR[table][: m + 1])
    denominator = np.array(_RELU_DENOMINATOR[table][: n + (version == "C")])
    return (numerator, denominator) if (m, n) == (5, 4) else _fit_relu(numerator, denominator, version)


def _fit_relu(numerator: np.ndarray, denominator: np.ndarray, version: str) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import least_squares

    x = torch.linspace(-3, 3, 301, dtype=torch.float64, device="cpu").unsqueeze(1)

    def error(coefficients: np.ndarray) -> np.ndarray:
        a, b = (torch.from_numpy(part).unsqueeze(0) for part in np.split(coefficients, [len(numerator)]))
        result = _evaluate(x, a, b, version, torch.empty_like(x), x.new_empty(2, *x.shape))
        return (result - x.relu()).squeeze(1).numpy()

    start = np.concatenate([numerator, denominator])
    lowest = np.full_like(start, -np.inf)
    if version == "A":  # b and |b| are the same function; without the kink at 0 the search does not stall there
        start[len(numerator) :] = np.abs(denominator)
        lowest[len(numerator) :] = 0
    solution = least_squares(error, start, bounds=(lowest, np.inf), max_nfev=200).x
    first, second = np.split(solution, [len(numerator)])
    return first, second


def _polynomial(z: Tensor, coefficients: Tensor, out: Tensor) -> Tensor:
    """Σ_k c_k z^k by Horner's rule. z: (rows, width); coefficients: (rows or 1, degree + 1)."""
    *lower, highest = coefficients.split(1, dim=1)
    out.copy_(highest)
    for c in reversed(lower):
        torch.addcmul(c, out, z, out=out)
    return out


def _derivative(coefficients: Tensor) -> Tensor:
    """Coefficients of a polynomial's derivative."""
    powers = torch.arange(1, coefficients.shape[1], dtype=coefficients.dtype, device=coefficients.device)
    return coefficients[:, 1:] * powers


def _denominator_coefficients(denominator: Tensor, version: str) -> Tensor:
    """Those of Q in version A, which is positive as it is; in the others those of the s in Q = base + |s|."""
    if version == "C":
        return denominator
    if version == "A":
        denominator = denominator.abs()
    return torch.cat([torch.full_like(denominator[:, :1], version == "A"), denominator], dim=1)


def _argument(x: Tensor, version: str, out: Tensor) -> Tensor:
    """The z in which the denominator is a polynomial."""
    return torch.abs(x, out=out) if version == "A" else x


def _evaluate(
    x: Tensor, numerator: Tensor, denominator: Tensor, version: str, out: Tensor, scratch: Tensor
) -> Tensor:
    """Writes R(x), with one row of coefficients per row of x, or one for all; overwrites two scratch tensors."""
    z = _argument(x, version, scratch[0])
    q = _polynomial(z, _denominator_coefficients(denominator, version), scratch[1])
    if version != "A":
        q.abs_().add_(_base(version))
    return _polynomial(x, numerator, out).div_(q)


def _blocks(x: Tensor, num_scratch: int) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows, and for each the same scratch memory, which with them stays in the processor's cache."""
    rows = max(1, _BLOCK // max(1, x.shape[1]))
    scratch = x.new_empty(num_scratch, min(rows, len(x)), x.shape[1])
    for start in range(0, len(x), rows):
        yield slice(start, start + rows), scratch[:, : len(x) - start]


class _RationalFunction(torch.autograd.Function):
    """R_c(x) with a backward pass that keeps x, R and the coefficients only, and recomputes the powers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, numerator: Tensor, denominator: Tensor, clusters: Tensor, version: str) -> Tensor:
        result = torch.empty_like(x)
        for rows, scratch in _blocks(x, 2):
            own = clusters[rows]
            _evaluate(x[rows], numerator[own], denominator[own], version, result[rows], scratch)
        ctx.save_for_backward(x, result, numerator, denominator, clusters)
        ctx.version = version
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        (grad,) = grads
        x, result, numerator, denominator, clusters = ctx.saved_tensors
        if _has_kernel(x, numerator, denominator, ctx.version):
            return *_kernel_gradients(grad, x, result, numerator, denominator, clusters, ctx.version), None, None
        grad_x, grad_a, grad_b = torch.empty_like(x), torch.zeros_like(numerator), torch.zeros_like(denominator)
        for rows, scratch in _blocks(x, 4):
            own = clusters[rows]
            of_a, of_b = _gradients(
                grad[rows], x[rows], result[rows], numerator[own], denominator[own], ctx.version, grad_x[rows], scratch
            )
            grad_a.index_add_(0, own, of_a.to(grad_a.dtype))
            grad_b.index_add_(0, own, of_b.to(grad_b.dtype))
        return grad_x, grad_a, grad_b, None, None


def _has_kernel(x: Tensor, numerator: Tensor, denominator: Tensor, version: str) -> bool:
    degrees = numerator.shape[1] - 1, denominator.shape[1] - (version == "C")
    same = x.dtype == numerator.dtype == denominator.dtype
    return degrees == (5, 4) and same and x.dtype in (torch.float32, torch.float64) and x.device.type == "cpu"


def _kernel_gradients(
    grad: Tensor, x: Tensor, ratio: Tensor, numerator: Tensor, denominator: Tensor, clusters: Tensor, version: str
) -> tuple[Tensor, Tensor, Tensor]:
    """What `_gradients` computes, summed over each function's nodes, by `zoo.nn.rational_kernel`."""
    from zoo.nn import rational_kernel

    c = _denominator_coefficients(denominator, version)
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    grad_a, grad_c = (torch.zeros_like(coefficients, dtype=torch.float64) for coefficients in (numerator, c))
    written = grad_x, grad_a, grad_c
    arrays = [tensor.detach().contiguous().numpy() for tensor in (grad, x, ratio, numerator, c, clusters, *written)]
    base = 0.0 if version == "A" else _base(version)  # in version A the 1 is in c
    rational_kernel.gradients(arrays[1].dtype.type(base), version == "A", *arrays)
    grad_b = grad_c if version == "C" else grad_c[:, 1:]
    if version == "A":
        grad_b = grad_b * _sign(denominator)  # c_k = |b_k|
    return grad_x, grad_a.to(x.dtype), grad_b.to(x.dtype)


def _gradients(
    grad: Tensor,
    x: Tensor,
    ratio: Tensor,
    a: Tensor,
    b: Tensor,
    version: str,
    grad_x: Tensor,
    scratch: Tensor,
) -> tuple[Tensor, Tensor]:
    """Writes the gradient of R(x) = `ratio` to x, and returns, per row, those to its coefficients a and b."""
    z, c = _argument(x, version, scratch[0]), _denominator_coefficients(b, version)
    q = _polynomial(z, c, scratch[1])
    slope = _polynomial(z, _derivative(c), scratch[2])  # dQ/dz, but for the sign
    sign = torch.sign(x if version == "A" else q, out=scratch[3])  # of dz/dx, or of s
    if version != "A":
        q.abs_().add_(_base(version))
    slope.mul_(sign)
    over_q = torch.div(grad, q, out=q)
    _polynomial(x, _derivative(a), grad_x).addcmul_(slope, ratio, value=-1).mul_(over_q)  # (P' - R Q') / Q
    of_c = torch.mul(over_q, ratio, out=slope)
    if version != "A":
        of_c.mul_(sign)
    of_a = _moments(over_q, x, range(a.shape[1]))  # dR/da_j = x^j / Q
    first = 0 if version == "C" else 1
    of_b = _moments(of_c, z, range(first, first + b.shape[1])).neg_()  # dR/dc_k = -R/Q · sign(s) · z^k
    return of_a, of_b.mul_(_sign(b)) if version == "A" else of_b  # A: c_k = |b_k|


def _sign(coefficients: Tensor) -> Tensor:
    """1 of 0, too: a coefficient that starts at 0 could not leave it without a gradient."""
    return torch.where(coefficients < 0, -1, 1)


def _moments(weight: Tensor, z: Tensor, powers: range) -> Tensor:
    """Σ_width weight · z^k for each of the powers, shape (rows, len(powers)). Overwrites `weight`."""
    sums = []
    for k in range(powers.stop):
        if k > 0:
            weight.mul_(z)
        if k in powers:
            sums.append(weight.sum(1))
    return torch.stack(sums, dim=1)


class Rational(nn.Module):
    """One rational function per cluster, all evaluated at once.

    Args:
        num_functions: How many functions. Default: 1.
        degrees: Of numerator and denominator, each from 1 to 100. Default: (5, 4).
        version: A to D, see the module. Default: `"A"`.

    Shapes:
        input x (num_nodes, width), and clusters (num_nodes,) int64 that names each row's function; output as x.
    """

    def __init__(self, num_functions: int = 1, *, degrees: Sequence[int] = (5, 4), version: str = "A") -> None:
        super().__init__()
        numerator, denominator = relu_coefficients(degrees, version)
        self.version = version
        self.numerator = nn.Parameter(_rows(numerator, num_functions))
        self.denominator = nn.Parameter(_rows(denominator, num_functions))

    def forward(self, x: Tensor, clusters: Tensor) -> Tensor:
        """See the class; ConfigError if there is not one cluster for each row."""
        if clusters.shape != x.shape[:1]:
            raise ConfigError(f"rows and clusters differ: {tuple(x.shape)} and {tuple(clusters.shape)}")
        numerator: Tensor = self.numerator
        denominator: Tensor = self.denominator
        if self.version == "D" and self.training:
            numerator, denominator = _jitter(numerator), _jitter(denominator)
        wide = (ops.widened(part) for part in (x, numerator, denominator))  # powers up to x⁵ overflow half floats
        result: Tensor = _RationalFunction.apply(*wide, clusters, self.version)
        return result.to(x.dtype)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        count, terms = self.numerator.shape
        return f"{count}, degrees=({terms - 1}, {self.denominator.shape[1] - (self.version == 'C')}), {self.version}"


def _rows(coefficients: Tensor, count: int) -> Tensor:
    """The same row so many times; not by `repeat`, which on the meta device takes a second of imports."""
    return torch.empty(count, len(coefficients)).copy_(coefficients)


def _jitter(coefficients: Tensor) -> Tensor:
    return coefficients * torch.empty_like(coefficients).uniform_(1 - _NOISE, 1 + _NOISE)
