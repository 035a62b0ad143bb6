"""TUDataset's zips (Morris et al. 2020): one text file each for edges, graph numbers, labels and attributes."""

import io
import zipfile

import numpy as np
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, canonical_edges, graph_list


def read(info: DatasetInfo) -> tuple[list[dgl.DGLGraph], Tensor]:
    """Graphs and their classes, in the order of the file; nodes and graphs count from 1 in it, here from 0.

    Features are the node labels one-hot, in the order of their numbers, then the attributes, where the set has any
    (PROTEINS, ENZYMES). Sets without either (IMDB) get `one_hot_degree`.
    """
    (content,) = sources.read(info.name, [f"tudataset/{info.raw}.zip"])
    tables = _tables(content, info.raw)
    src, dst = tables["A"].astype(np.int64).reshape(-1, 2).T - 1
    sizes = np.bincount(tables["graph_indicator"].astype(np.int64))[1:]
    num_nodes = int(sizes.sum())
    src, dst = canonical_edges(src, dst, num_nodes)
    feats = []
    if "node_labels" in tables:
        feats.append(one_hot(tables["node_labels"]))
    if "node_attributes" in tables:
        feats.append(tables["node_attributes"].reshape(num_nodes, -1).astype(np.float32))
    feat = np.concatenate(feats, axis=1) if feats else one_hot_degree(src, num_nodes)
    return graph_list(src, dst, sizes, feat), classes(tables["graph_labels"])


def one_hot(values: Array) -> Array:
    """Rows of zeros with a one at the rank of each value among the distinct ones, float32."""
    distinct, rank = np.unique(values, return_inverse=True)
    rows = np.zeros((len(values), len(distinct)), dtype=np.float32)
    rows[np.arange(len(values)), rank] = 1
    return rows


def one_hot_degree(src: Array, num_nodes: int) -> Array:
    """One column per degree that occurs in the data set, as GIN does it; `src` are sources of canonical edges.

    COLLAB gets 369 columns where GIN has 367: its file has 2837 self-loops, which are left out here.
    """
    return one_hot(np.bincount(src, minlength=num_nodes))


def classes(labels: Array) -> Tensor:
    """Graph labels as int64 classes 0, 1, ... in the order of their numbers."""
    return torch.from_numpy(np.unique(labels, return_inverse=True)[1].astype(np.int64))


def _tables(content: bytes, name: str) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        texts = {member.rpartition(f"/{name}_")[2]: member for member in archive.namelist() if f"/{name}_" in member}
        return {
            part.removesuffix(".txt"): np.fromstring(archive.read(member).replace(b",", b" "), sep=" ")
            for part, member in texts.items()
        }
