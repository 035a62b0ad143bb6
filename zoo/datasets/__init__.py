"""Benchmark graphs by name, and graphs of your own.

    zoo.datasets.list_datasets()                    # names
    zoo.datasets.info("cora")                       # counts, splits, source; opens no file
    graph = zoo.datasets.load("cora")               # DGLGraph with ndata feat, label, train_mask, val_mask, test_mask
    dataset = zoo.datasets.load("mutag", seed=3)    # GraphDataset; fold 3 tests
    graph = zoo.datasets.from_arrays(edges, feat)   # arrays of your own
    graph = zoo.datasets.read_graph("graph.npz")    # a file of your own

Importing this package imports neither torch nor DGL; what needs them is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from zoo.datasets.catalog import DatasetInfo, info, list_datasets
from zoo.datasets.containers import GraphDataset

if TYPE_CHECKING:
    from zoo.datasets import splits, synthetic, transforms
    from zoo.datasets.graphs import from_arrays
    from zoo.datasets.loading import load
    from zoo.datasets.reading import read_graph

__all__ = [
    "DatasetInfo",
    "GraphDataset",
    "from_arrays",
    "info",
    "list_datasets",
    "load",
    "read_graph",
    "splits",
    "synthetic",
    "transforms",
]

_FUNCTIONS = {"from_arrays": "graphs", "load": "loading", "read_graph": "reading"}
_MODULES = {"splits", "synthetic", "transforms"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"{__name__}.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
