"""Loads a data set by name."""

from typing import Any

from zoo._checks import check_seed
from zoo.datasets import alignment, splits
from zoo.datasets.catalog import info
from zoo.datasets.containers import GraphDataset

__all__ = ["load"]


def load(name: str, split: str | None = None, seed: int = 0, align: str | None = None) -> Any:
    """Loads a data set by name, its files checked against their sha256, with a split's masks.

    Raw files are looked for in `$ZOO_DATA`, then in the cache (`$ZOO_CACHE`, else the user's), then fetched from their
    public origin. No sha256 is known of `cora-full` and `genius`, nor of `ogbn-arxiv`, `arxiv-year`,
    `ogbn-proteins` and `ogbn-products`, which the package `ogb` fetches.

    Args:
        name: One of `list_datasets()`.
        split: One of `info(name).splits`, numbers filled in; default: `info(name).default_split`.
        seed: Picks or draws the split where it varies, see `zoo.datasets.splits`; for `csbm` and `syn-cora-…` it draws
            the graph too.
        align: Another data set, in whose columns the features are put, so that a model which was trained on it can
            read them: by word or only by frequency, see `zoo.datasets.alignment`. Default: as they are.

    Returns:
        For a node-level set a graph with `ndata`

        - `feat`: float32, shape (num_nodes, in_feats)
        - `label`: int64 classes or float32 targets, shape (num_nodes,); where each node has several labels bool,
          shape (num_nodes, num_classes)
        - `train_mask`, `val_mask`, `test_mask`: bool, shape (num_nodes,); disjoint, they need not cover all nodes.

        Its edges are sorted by (source, destination), none twice. Undirected sets store both directions and no
        self-loops; directed ones (`info(name).directed`) store what the raw file has, self-loops included. For a
        graph-level set a `GraphDataset`.

    Raises:
        DatasetNotFound: No such name, or the files are neither at hand nor to be fetched.
        IntegrityError: A file is not the one that its origin published.
        GraphError: The data set has no such split, or too few items for it.
        RecipeError: The seed is not a whole number from 0 to 2^63 - 1.
    """
    about, onto, seed = info(name), None if align is None else info(align), check_seed(seed)
    split = about.default_split if split is None else split
    splits.check(about, split)  # before anything is fetched
    graphs, labels = alignment.raw_graphs(about, seed)
    if onto is not None:
        alignment.align(graphs, about, onto, seed)
    masks = splits.masks(about, split, seed, labels)
    if about.task == "graph-classification":
        return GraphDataset(name, graphs, labels, about.num_classes, *masks)
    (graph,) = graphs
    graph.ndata.update({f"{part}_mask": mask for part, mask in masks._asdict().items()})
    return graph
