"""Geom-GCN's files (Pei et al. 2020): a text table of nodes, one of edges, and ten splits.

In the published repository Cornell's nodes are a copy of Texas's, so Cornell is read from corrected files (they agree
with `cornell.npz` of the heterophilous graphs, and the ten Cornell splits fit them; their lines end in CRLF).
"""

import io

import numpy as np
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, node_graph


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """Texas, Wisconsin, Cornell, Chameleon, Squirrel or Actor ("film"), directed or not."""
    folder = "geom_gcn/cornell_fixed" if info.raw == "cornell" else f"geom_gcn/new_data/{info.raw}"
    paths = [f"{folder}/out1_{part}.txt" for part in ("graph_edges", "node_feature_label")]
    edges, nodes = sources.read(info.name, paths)
    src, dst = _numbers(edges.partition(b"\n")[2]).reshape(-1, 2).T
    rows = nodes.partition(b"\n")[2]
    feat, label = _sparse_rows(rows, info.in_feats) if info.raw == "film" else _dense_rows(rows)
    return node_graph(src, dst, feat, label, undirected=not info.directed)


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """Split `seed % 10` of the ten that are published as files."""
    (content,) = sources.read(info.name, [f"geom_gcn/splits/{info.raw}_split_0.6_0.2_{seed % 10}.npz"])
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return splits.Masks(*(torch.from_numpy(stored[f"{part}_mask"].astype(bool)) for part in splits.Masks._fields))


def _numbers(text: bytes) -> Array:
    """All integers of a text that parts them by commas and any white space."""
    return np.fromstring(text.replace(b",", b" "), dtype=np.int64, sep=" ")


def _dense_rows(rows: bytes) -> tuple[Array, Array]:
    """Lines `number <tab> 0,1,0,... <tab> label`, in any order."""
    table = _numbers(rows).reshape(rows.strip().count(b"\n") + 1, -1)
    table = table[np.argsort(table[:, 0])]
    return table[:, 1:-1], table[:, -1]


def _sparse_rows(rows: bytes, in_feats: int) -> tuple[Array, Array]:
    """Lines `number <tab> indices of the ones <tab> label`, in any order."""
    lines = [line.split(b"\t") for line in rows.splitlines()]
    feat, label = np.zeros((len(lines), in_feats), dtype=np.float32), np.zeros(len(lines), dtype=np.int64)
    for number, ones, kind in lines:
        feat[int(number), _numbers(ones)] = 1
        label[int(number)] = int(kind)
    return feat, label
