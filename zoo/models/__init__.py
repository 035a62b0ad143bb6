"""The models, one file per method. A class decorated with `register` in any file here is found by its method's name."""

import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

from zoo._types import fits, type_hints, type_name
from zoo.errors import ConfigError
from zoo.model import ZooModel

__all__ = ["check_arguments", "create", "get", "list_models", "register"]

M = TypeVar("M", bound=type[ZooModel])

_classes: dict[str, type[ZooModel]] = {}


def register(method: str, *, paper: str, title: str, authors: str, venue: str) -> Callable[[M], M]:
    """Names a model class after its method, and the paper that it implements.

    Args:
        method: By which recipes and configs call it.
        paper: `arXiv:` and the number.
        title, authors, venue: For citing it, as BibTeX has them; the venue ends in the year.

    Raises:
        ConfigError: Another module's class has that name.
    """

    def decorate(cls: M) -> M:
        if not cls.__module__.startswith(f"{__name__}."):
            _discover()
        if method in _classes and _classes[method].__module__ != cls.__module__:
            raise ConfigError(f"method {method!r} is {_classes[method].__module__}'s already: choose another name")
        cls.method, cls.paper = method, paper
        cls.citation = _bibtex(method, paper.removeprefix("arXiv:"), title, authors, *venue.rsplit(" ", 1))
        _classes[method] = cls
        return cls

    return decorate


def _bibtex(key: str, arxiv: str, title: str, authors: str, venue: str, year: str) -> str:
    fields = {
        "title": title, "author": authors, "booktitle": venue, "year": year, "eprint": arxiv, "archiveprefix": "arXiv"
    }
    lines = "".join(f"  {field} = {{{value}}},\n" for field, value in fields.items())
    return f"@inproceedings{{{key}{year},\n{lines}}}"


@functools.cache
def _discover() -> dict[str, type[ZooModel]]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _classes


def list_models() -> list[str]:
    """The methods' names, sorted."""
    return sorted(_discover())


def get(method: str) -> type[ZooModel]:
    """The model class of a method; ConfigError with the nearest names if there is none."""
    classes = _discover()
    if method not in classes:
        near = difflib.get_close_matches(str(method), classes, n=3) or sorted(classes)
        hint = "a method of your own is known once its module is imported"
        raise ConfigError(f"unknown method {method!r}: did you mean {', '.join(near)}? ({hint})")
    return classes[method]


def check_arguments(method: str, arguments: dict[str, Any]) -> None:
    """Raises ConfigError if a method does not know an argument, or wants another type."""
    cls = get(method)
    hints = type_hints(cls.__init__)
    known = list(inspect.signature(cls.__init__).parameters)[1:]  # signature(cls) is that of __new__ in Python 3.11.2
    for name, value in arguments.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise ConfigError(f"method {method!r} has no argument {name!r}: {hint}")
        if not fits(value, hints.get(name, Any)):
            raise ConfigError(f"method {method!r}: {name} must be {type_name(hints[name])}, got {value!r}")


def create(method: str, arguments: dict[str, Any]) -> ZooModel:
    """A new model of a method.

    Args:
        method: Its name.
        arguments: Keyword arguments of the class.

    Raises:
        ConfigError: Unknown method; unknown, missing or impossible argument.
    """
    check_arguments(method, arguments)
    cls = get(method)
    try:
        return cls(**arguments)
    except ConfigError as error:
        raise ConfigError(f"method {method!r}: {error}") from error
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # what Python and torch say of such arguments
        reason = str(error).partition("\n")[0].removeprefix(f"{cls.__name__}.")  # torch adds a trace
        raise ConfigError(f"method {method!r}: {reason}") from error
