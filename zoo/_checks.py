"""Checks of arguments that several parts of the zoo take."""

import operator
from collections.abc import Sequence
from typing import Any

from zoo.errors import ConfigError, RecipeError

__all__ = ["check_choice", "check_seed"]


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raises ConfigError unless a model's argument is one of the words that it can be."""
    if value not in choices:
        raise ConfigError(f"unknown {name} {value!r}: choose from {', '.join(choices)}")


def check_seed(seed: Any) -> int:
    """The seed as a plain int, also from NumPy; RecipeError if it is none, or not from 0 to 2^63 - 1."""
    try:
        plain = operator.index(seed)
    except TypeError as error:
        raise RecipeError(f"a seed is a whole number, got {seed!r}") from error
    if not 0 <= plain < 2**63:
        raise RecipeError(f"a seed is from 0 to 2^63 - 1, got {plain}")
    return plain
