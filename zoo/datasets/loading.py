"""Loads a data set by name."""

import importlib
from typing import Any

from zoo.datasets import splits
from zoo.datasets.catalog import info
from zoo.datasets.containers import GraphDataset

__all__ = ["load"]


def load(name: str, split: str | None = None, seed: int = 0) -> Any:
    """Loads a data set, its files checked against their sha256 (of `cora-full` none is known), with a split's masks.

    Raw files are looked for in `$ZOO_DATA`, then in the cache (`$ZOO_CACHE`, else the user's), then fetched from their
    public origin.

    Args:
        name: One of `list_datasets()`.
        split: One of `info(name).splits`, percentages filled in; default: `info(name).default_split`.
        seed: Picks or draws the split where it varies, see `zoo.datasets.splits`; for `csbm` it draws the graph too.

    Returns:
        For a node-level set a graph with `ndata`

        - `feat`: float32, shape (num_nodes, in_feats)
        - `label`: int64 classes or float32 targets, shape (num_nodes,)
        - `train_mask`, `val_mask`, `test_mask`: bool, shape (num_nodes,); disjoint, they need not cover all nodes.

        Its edges are sorted by (source, destination), none twice. Undirected sets store both directions and no
        self-loops; `*-directed` ones store what the raw file has, self-loops included. For a graph-level set a
        `GraphDataset`.

    Raises:
        DatasetNotFound: No such name, or the files are neither at hand nor to be fetched.
        IntegrityError: A file is not the one that its origin published.
        GraphError: The data set has no such split.
    """
    about = info(name)
    split = about.default_split if split is None else split
    reader = importlib.import_module(f"zoo.datasets.{about.reader}")
    if about.task == "graph-classification":
        graphs, labels = reader.read(about)
        masks = splits.masks(about, split, seed, labels)
        return GraphDataset(name, graphs, labels, about.num_classes, *masks)
    graph = reader.read(about, seed) if about.reader == "synthetic" else reader.read(about)
    masks = splits.masks(about, split, seed, graph.ndata["label"])
    graph.ndata.update({f"{part}_mask": mask for part, mask in masks._asdict().items()})
    return graph
