"""The errors that users meet. Each message says what was wrong, where, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "CheckpointError",
    "CheckpointNotFound",
    "ConfigError",
    "DGLImportError",
    "DatasetNotFound",
    "GraphError",
    "HubError",
    "IntegrityError",
    "RecipeError",
    "RecipeNotFound",
    "RegistryError",
    "ZooError",
    "memory_as_zoo_error",
]


class ZooError(Exception):
    """Base class of every error that the zoo raises on purpose."""


class GraphError(ZooError, ValueError):
    """A graph or its features cannot be used: wrong shape, NaN, no nodes, missing field."""


class DatasetNotFound(ZooError, LookupError):
    """No data set of that name, or its files are neither at hand nor to be fetched."""


class ConfigError(ZooError, ValueError):
    """A model was given an argument that it does not know or that is impossible."""


class RecipeError(ZooError, ValueError):
    """A recipe has an unknown, missing or impossible key."""


class RecipeNotFound(ZooError, LookupError):
    """No recipe or table of that name."""


class RegistryError(ZooError, ValueError):
    """checkpoints.json is broken or an entry is incomplete."""


class CheckpointNotFound(ZooError, LookupError):
    """No checkpoint of that name, or its weights are neither bundled, cached nor on the Hub."""


class CheckpointError(ZooError, ValueError):
    """A checkpoint's files do not describe a model of this zoo."""


class HubError(ZooError):
    """The Hub refuses or does not answer, or what it sent cannot be kept."""


class IntegrityError(ZooError):
    """A file's bytes are not those that its sha256 names."""


class DGLImportError(ZooError, ImportError):
    """DGL or PyTorch is missing, does not load, or is of a version or backend that the zoo cannot use."""


OUT_OF_MEMORY = ("out of memory", "allocate memory", "tried to allocate", "alloc_failed")  # PyTorch's and CUDA's words


@contextmanager
def memory_as_zoo_error() -> Iterator[None]:
    """Raises ZooError where memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, RuntimeError) and not any(words in text.lower() for words in OUT_OF_MEMORY):
            raise
        raise ZooError(f"out of memory: {text}") from error
