"""Checks of arguments that several parts of the zoo take."""

import numbers
import operator
from collections.abc import Sequence
from typing import Any

from zoo.errors import ConfigError, RecipeError, ZooError

__all__ = ["check_choice", "check_count", "check_seed", "plain_number"]


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
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
