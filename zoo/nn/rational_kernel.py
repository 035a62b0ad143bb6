"""The gradients of rationals of degrees 5/4, which the CNA authors use throughout, compiled for the CPU.

`zoo.nn.rational` has the formulas for any degrees and device. Here one pass over the nodes keeps everything between
loading and storing in registers: several times as fast, forward and backward, as the printed formula under autograd
(`benchmarks/kernels.py`). Compiling takes a second of each process that trains, so this module is imported by the first
backward pass.
"""

from typing import Any

import numba
import numpy as np

__all__ = ["gradients"]

Array = np.ndarray[Any, Any]


# Sums may be taken in any order, which lets them be vectorised; NaN and infinity stay what they are.
@numba.njit(error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
def gradients(
    base: float,
    magnitude: bool,
    grad: Array,
    x: Array,
    ratio: Array,
    a: Array,
    c: Array,
    clusters: Array,
    grad_x: Array,
    grad_a: Array,
    grad_c: Array,
) -> None:
    """Those of R(x) = P(x) / (base + |s(z)|), where P = Σ a_j x^j, s = Σ c_k z^k, and z is |x| or x.

    Args:
        base: Of the type of x.
        magnitude: Whether z is |x|.
        grad: Of the result, (num_nodes, width).
        x: As `grad`.
        ratio: R(x).
        a: One row per function, (num_functions, 6).
        c: (num_functions, 5).
        clusters: The function of each node, (num_nodes,).
        grad_x: Written.
        grad_a: Added to, (num_functions, 6), float64, for there may be many nodes.
        grad_c: Added to, (num_functions, 5), float64.
    """
    one, zero = x.dtype.type(1), x.dtype.type(0)
    two, three, four, five = x.dtype.type(2), x.dtype.type(3), x.dtype.type(4), x.dtype.type(5)
    for v in range(len(x)):
        own = clusters[v]
        a1, a2, a3, a4, a5 = a[own, 1], a[own, 2], a[own, 3], a[own, 4], a[own, 5]
        c0, c1, c2, c3, c4 = c[own, 0], c[own, 1], c[own, 2], c[own, 3], c[own, 4]
        of_a0 = of_a1 = of_a2 = of_a3 = of_a4 = of_a5 = zero
        of_c0 = of_c1 = of_c2 = of_c3 = of_c4 = zero
        for i in range(x.shape[1]):
            y, r = x[v, i], ratio[v, i]
            z = abs(y) if magnitude else y
            z_slope = np.sign(y) if magnitude else one
            s = c0 + z * (c1 + z * (c2 + z * (c3 + z * c4)))
            s_slope = c1 + z * (two * c2 + z * (three * c3 + z * (four * c4)))
            p_slope = a1 + y * (two * a2 + y * (three * a3 + y * (four * a4 + y * (five * a5))))
            sign = np.sign(s)
            over_q = grad[v, i] / (base + abs(s))
            grad_x[v, i] = (p_slope - r * sign * s_slope * z_slope) * over_q  # (P' - R Q') / Q
            moment = over_q  # dR/da_j = x^j / Q
            of_a0 += moment
            moment *= y
            of_a1 += moment
            moment *= y
            of_a2 += moment
            moment *= y
            of_a3 += moment
            moment *= y
            of_a4 += moment
            moment *= y
            of_a5 += moment
            moment = -over_q * r * sign  # dR/dc_k = -R/Q · sign(s) · z^k
            of_c0 += moment
            moment *= z
            of_c1 += moment
            moment *= z
            of_c2 += moment
            moment *= z
            of_c3 += moment
            moment *= z
            of_c4 += moment
        grad_a[own, 0] += of_a0
        grad_a[own, 1] += of_a1
        grad_a[own, 2] += of_a2
        grad_a[own, 3] += of_a3
        grad_a[own, 4] += of_a4
        grad_a[own, 5] += of_a5
        grad_c[own, 0] += of_c0
        grad_c[own, 1] += of_c1
        grad_c[own, 2] += of_c2
        grad_c[own, 3] += of_c3
        grad_c[own, 4] += of_c4
