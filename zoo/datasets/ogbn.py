"""Node-level sets of the Open Graph Benchmark (Hu et al. 2020), in the layout in which the package `ogb` stores them.

The tables `raw/*.csv.gz` are read, never the cache that ogb keeps of them: that is a pickle, which PyTorch 2.6 and later
refuse to open. ogb is imported here only, for its import asks the network whether it is the newest.
"""

import contextlib
import io
import os
from pathlib import Path

import pandas
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, node_graph
from zoo.errors import DatasetNotFound


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """ogbn-arxiv, every citation in its own direction."""
    from ogb.io.read_graph_raw import read_csv_graph_raw

    raw = _folder(info) / "raw"
    with _silence():
        (graph,) = read_csv_graph_raw(str(raw))
    src, dst = graph["edge_index"]
    label = _table(raw / "node-label.csv.gz")
    return node_graph(src, dst, graph["node_feat"], label, undirected=not info.directed)


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """The official split, by the year of publication."""
    folder = _folder(info) / "split" / "time"
    train, val, test = (torch.from_numpy(_table(folder / f"{part}.csv.gz")) for part in ("train", "valid", "test"))
    return splits.from_indices(len(labels), train, val, test)


def _folder(info: DatasetInfo) -> Path:
    """Where ogb's folder of this set lies: below `$ZOO_DATA/ogb`, else below the cache's, into which ogb fetches it."""
    name = info.raw.replace("-", "_")
    data, cache = os.environ.get("ZOO_DATA"), sources.cache() / "ogb"
    places = ([Path(data, "ogb", name)] if data else []) + [cache / name]
    complete = (place for place in places if (place / "raw" / "edge.csv.gz").is_file())
    return next(complete, None) or _fetch(info, cache) / name


def _fetch(info: DatasetInfo, root: Path) -> Path:
    from ogb.nodeproppred import NodePropPredDataset

    try:
        with _silence():
            NodePropPredDataset(info.raw, str(root))
    except (OSError, RuntimeError) as error:  # no network, no place to write; a download that breaks off
        raise DatasetNotFound(
            f"data set {info.name!r} is not at hand and ogb cannot fetch it into {root} ({error}). "
            f"Set ZOO_DATA to a folder in which ogb/{info.raw.replace('-', '_')} is what ogb has stored, or connect to "
            f"the network"
        ) from error
    return root


def _table(path: Path) -> Array:
    """A table of one column, without a header."""
    return pandas.read_csv(path, header=None)[0].to_numpy()


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    """ogb prints what it does."""
    return contextlib.redirect_stdout(io.StringIO())
