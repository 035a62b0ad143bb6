"""Node-level sets of the Open Graph Benchmark (Hu et al. 2020), in the layout in which the package `ogb` stores them.

`arxiv-year` (Lim et al. 2021, LINKX) is ogbn-arxiv with other labels: in which fifth of the years a paper appeared. Its
authors ship five random 50/25/25 splits, drawn once; here the same shares are drawn anew for every seed.

ogbn-proteins has no features of nodes: a protein gets the mean of its associations' eight features, as in OGB's and
LINKX's code. (N²'s code takes a protein's species, one-hot, and the sum of the eight.)

The tables `*.csv.gz` are read, never what ogb makes of them: that is a pickle, which PyTorch 2.6 and later refuse to
open. ogb is imported where it is needed only, for its import asks the network whether it is the newest.
"""

import contextlib
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, node_graph
from zoo.errors import DatasetNotFound, IntegrityError

_TABLES = {
    "ogbn-arxiv": ("node-feat", "node-label"),
    "arxiv-year": ("node-feat", "node_year"),
    "ogbn-proteins": ("edge-feat", "node-label"),
    "ogbn-products": ("node-feat", "node-label"),
}
_SPLITS = {"ogbn-arxiv": "time", "ogbn-proteins": "species", "ogbn-products": "sales_ranking"}
_PARTS = ("train", "valid", "test")


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """ogbn-arxiv or arxiv-year, every citation in its own direction, ogbn-proteins or ogbn-products."""
    from ogb.io.read_graph_raw import read_csv_graph_raw

    raw = _folder(info) / "raw"
    _, labels = _TABLES[info.name]
    with _as_integrity_error(raw):
        with _silence():
            (graph,) = read_csv_graph_raw(str(raw))
        (src, dst), feat = graph["edge_index"], graph["node_feat"]
        label = _labels(info, raw / f"{labels}.csv.gz")
        ends = np.concatenate([src, dst])
        if not np.all((ends >= 0) & (ends < len(label))):
            raise ValueError("edges and labels are not about the same nodes")
        if feat is None:
            feat = _mean_over_edges(src, dst, graph["edge_feat"], len(label))
        if len(feat) != len(label):
            raise ValueError("features and labels are not about the same nodes")
    return node_graph(src, dst, feat, label, undirected=not info.directed)


def _labels(info: DatasetInfo, path: Path) -> Array:
    if info.task == "node-multilabel":
        table = _table(path, np.float64)
        if not np.isin(table, (0, 1)).all():
            raise ValueError("a label is neither 0 nor 1")
        return table
    (column,) = _table(path).T
    return quantile_classes(column, info.num_classes) if info.name == "arxiv-year" else column


def quantile_classes(values: Array, num_classes: int) -> Array:
    """Classes of about equal size: class k has the values from the k-th of `num_classes` quantiles up to the next."""
    bounds = np.quantile(values, np.arange(1, num_classes) / num_classes)
    return np.searchsorted(bounds, values, side="right")


def _mean_over_edges(src: Array, dst: Array, feat: Array, num_nodes: int) -> Array:
    """Each node's mean of its edges' features, (num_nodes, width); an edge is one of both its ends."""

    def sums(weights: Array | None) -> Array:
        return np.bincount(src, weights, num_nodes) + np.bincount(dst, weights, num_nodes)

    return np.stack([sums(column) for column in feat.T], axis=1) / np.maximum(sums(None), 1)[:, None]


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """The official split: ogbn-arxiv's papers until 2017, of 2018, and later; ogbn-proteins' species; ogbn-products'
    sales ranks, the best sold to train.
    """
    folder = _folder(info) / "split" / _SPLITS[info.name]
    with _as_integrity_error(folder):
        parts = [torch.from_numpy(_table(folder / f"{part}.csv.gz")[:, 0]) for part in _PARTS]
        return splits.from_indices(len(labels), *parts)


def _folder(info: DatasetInfo) -> Path:
    """Where ogb's folder of this set lies: below `$ZOO_DATA/ogb`, else below the cache's, into which ogb fetches it."""
    name = info.raw.replace("-", "_")
    places = [folder / "ogb" / name for folder in (sources.data(), sources.cache()) if folder]
    for place in places:
        if all((place / file).is_file() for file in _files(info)):
            return place
    _fetch(info, places[-1].parent, name)
    return places[-1]


def _files(info: DatasetInfo) -> list[str]:
    raw = ("edge", *_TABLES[info.name], "num-node-list", "num-edge-list")
    parts = [f"split/{_SPLITS[info.name]}/{part}" for part in _PARTS] if info.name in _SPLITS else []
    return [f"{file}.csv.gz" for file in (*(f"raw/{table}" for table in raw), *parts)]


def _fetch(info: DatasetInfo, root: Path, name: str) -> None:
    from ogb.nodeproppred import NodePropPredDataset, dataset

    remedy = f"Set ZOO_DATA to a folder whose ogb/{name} has {', '.join(_files(info))}, or connect to the network"
    if (root / name).exists():  # ogb would ask at the terminal what to do with it
        raise DatasetNotFound(f"data set {info.name!r} is not whole in {root / name}: delete that. {remedy}")
    asking, dataset.decide_download = dataset.decide_download, lambda url: True  # it asks before more than 1 GB
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # progress is on the other stream
            NodePropPredDataset(info.raw, str(root))
    except (OSError, RuntimeError) as error:  # no network, no place to write; a download that breaks off
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise DatasetNotFound(
            f"data set {info.name!r} is not at hand and ogb cannot fetch it from snap.stanford.edu into {root} "
            f"({error}). {remedy}"
        ) from error
    finally:
        dataset.decide_download = asking


def _table(path: Path, dtype: type = np.int64) -> Array:
    """A table of numbers, without a header."""
    return pandas.read_csv(path, header=None, dtype=dtype).to_numpy(copy=True)


@contextlib.contextmanager
def _as_integrity_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, IndexError, RuntimeError, zlib.error) as error:
        raise IntegrityError(f"{folder} does not hold what ogb stores there: {error}") from error


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """ogb prints what it does, and shows its progress on the other stream."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
