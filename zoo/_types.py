"""Whether a value from JSON or TOML is of the type that an annotation asks for."""

import functools
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["fits", "type_hints", "type_name"]

# Reading annotations takes longer than checking a value.
type_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value is of an annotated type: a whole number is a float too, a bool is no number."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return any(fits(value, option) for option in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin in (tuple, list, Sequence):
        return isinstance(value, list | tuple) and all(fits(item, typing.get_args(hint)[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, typing.get_args(hint)[1]) for item in value.values())
    if hint is float and type(value) is int:
        return abs(value) <= sys.float_info.max
    return hint is Any or type(value) is hint


def type_name(hint: Any) -> str:
    """What a message calls an annotation."""
    if typing.get_origin(hint) in (tuple, list, Sequence):
        return "list"
    return str(getattr(hint, "__name__", hint)).replace("collections.abc.", "")
