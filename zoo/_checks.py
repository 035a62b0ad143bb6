"""Checks of arguments that several parts of the zoo take. Importing this imports no torch."""

import math
import numbers
import operator
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from zoo.errors import ConfigError, GraphError, RecipeError, ZooError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "check_choice",
    "check_count",
    "check_features",
    "check_mask",
    "check_residual",
    "check_seed",
    "plain_number",
]


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raises ConfigError unless a model's argument is one of the words that it can be."""
    if value not in choices:
        raise ConfigError(f"unknown {name} {value!r}: choose from {', '.join(choices)}")


def check_count(name: str, value: Any, error: type[ZooError] = ConfigError) -> int:
    """The value as a plain int, also from NumPy; the error if it is no whole number from 1."""
    try:
        plain = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        plain = 0
    if plain < 1:
        raise error(f"{name} is a whole number from 1, got {value!r}")
    return plain


def check_residual(residual: float) -> None:
    """Raises ConfigError if a residual connection has an impossible weight."""
    if not 0 <= residual < math.inf:
        raise ConfigError(f"residual must be at least 0 and finite, got {residual}")


def check_features(feat: "Tensor", *, as_type: "torch.dtype | None" = None) -> None:
    """Raises GraphError unless node features are a dense floating-point matrix of finite values.

    Args:
        feat: The features.
        as_type: The model's type, if it is not the one that they were given in.
    """
    import torch

    if feat.dim() != 2:
        raise GraphError(f"feat has shape {tuple(feat.shape)}: expected (num_nodes, in_feats)")
    if not feat.is_floating_point():
        raise GraphError(f"feat is {feat.dtype}; convert it with feat.float()")
    if feat.layout is not torch.strided:
        raise GraphError("feat is a sparse tensor; convert it with feat.to_dense()")
    if torch.isfinite(feat.sum()):  # then all are; a sum too large for its type is looked at below
        return
    broken = (~torch.isfinite(feat)).nonzero()
    if len(broken):
        row, column = broken[0].tolist()
        raise GraphError(
            f"feat has {len(broken)} values that are NaN or infinite{'' if as_type is None else f' as {as_type}'}, "
            f"the first at node {row}, feature {column}"
        )


def check_mask(name: str, mask: "Tensor", size: int) -> None:
    """Raises GraphError unless a mask, such as `train_mask`, is bool, (size,), and chooses something."""
    import torch

    if mask.dtype != torch.bool or mask.shape != (size,):
        raise GraphError(f"{name} is {mask.dtype} of shape {tuple(mask.shape)}: expected bool of shape ({size},)")
    if not mask.any():
        raise GraphError(f"the {name.replace('_', ' ')} is empty, or was not given")


def plain_number(value: Any) -> Any:
    """NumPy's numbers as Python's own, all else as it is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def check_seed(seed: Any) -> int:
    """The seed as a plain int, also from NumPy; RecipeError if it is none, or not from 0 to 2^63 - 1."""
    try:
        plain = operator.index(seed)
    except TypeError as error:
        raise RecipeError(f"a seed is a whole number, got {seed!r}") from error
    if not 0 <= plain < 2**63:
        raise RecipeError(f"a seed is from 0 to 2^63 - 1, got {plain}")
    return plain
