"""Node-level sets of the Open Graph Benchmark (Hu et al. 2020), in the layout in which the package `ogb` stores them.

The tables `*.csv.gz` are read, never what ogb makes of them: that is a pickle, which PyTorch 2.6 and later refuse to
open. ogb is imported where it is needed only, for its import asks the network whether it is the newest.
"""

import contextlib
import io
import os
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

_RAW = ("edge", "node-feat", "node-label", "num-node-list", "num-edge-list")
_PARTS = ("train", "valid", "test")
_FILES = [f"raw/{name}.csv.gz" for name in _RAW] + [f"split/time/{part}.csv.gz" for part in _PARTS]


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """ogbn-arxiv, every citation in its own direction."""
    from ogb.io.read_graph_raw import read_csv_graph_raw

    raw = _folder(info) / "raw"
    with _as_integrity_error(raw):
        with _silence():
            (graph,) = read_csv_graph_raw(str(raw))
        (src, dst), feat = graph["edge_index"], graph["node_feat"]
        label = _column(raw / "node-label.csv.gz")
        ends = np.concatenate([src, dst])
        if len(label) != len(feat) or not np.all((ends >= 0) & (ends < len(feat))):
            raise ValueError("edges, features and labels are not about the same nodes")
    return node_graph(src, dst, feat, label, undirected=not info.directed)


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """The official split, by the year of publication."""
    folder = _folder(info) / "split" / "time"
    with _as_integrity_error(folder):
        parts = [torch.from_numpy(_column(folder / f"{part}.csv.gz")) for part in _PARTS]
        return splits.from_indices(len(labels), *parts)


def _folder(info: DatasetInfo) -> Path:
    """Where ogb's folder of this set lies: below `$ZOO_DATA/ogb`, else below the cache's, into which ogb fetches it."""
    name = info.raw.replace("-", "_")
    data, cache = os.environ.get("ZOO_DATA"), sources.cache() / "ogb"
    places = ([Path(data, "ogb", name)] if data else []) + [cache / name]
    for place in places:
        if all((place / file).is_file() for file in _FILES):
            return place
    _fetch(info, cache, name)
    return cache / name


def _fetch(info: DatasetInfo, root: Path, name: str) -> None:
    from ogb.nodeproppred import NodePropPredDataset

    remedy = f"Set ZOO_DATA to a folder whose ogb/{name} has {', '.join(_FILES)}, or connect to the network"
    if (root / name).exists():  # ogb would ask at the terminal what to do with it
        raise DatasetNotFound(f"data set {info.name!r} is not whole in {root / name}: delete that. {remedy}")
    try:
        with _silence():
            NodePropPredDataset(info.raw, str(root))
    except (OSError, RuntimeError) as error:  # no network, no place to write; a download that breaks off
        raise DatasetNotFound(
            f"data set {info.name!r} is not at hand and ogb cannot fetch it into {root} ({error}). {remedy}"
        ) from error


def _column(path: Path) -> Array:
    """A table of one column of integers, without a header."""
    return pandas.read_csv(path, header=None, dtype=np.int64)[0].to_numpy(copy=True)


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
