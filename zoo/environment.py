"""The versions that a number was made with."""

import platform
from importlib import metadata

__all__ = ["environment"]


def environment() -> dict[str, str]:
    """Versions of Python, torch and DGL."""
    return {"python": platform.python_version(), "torch": metadata.version("torch"), "dgl": metadata.version("dgl")}
