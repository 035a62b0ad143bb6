"""MUSAE's Wikipedia graphs (Rozemberczki et al. 2021) with the monthly traffic of every page as regression target."""

import json

import numpy as np

from zoo._dgl import dgl
from zoo.datasets import sources
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, node_graph


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """Chameleon or Squirrel; `label` is the traffic as it is stored, up to 849131.

    The CNA paper divides it by its largest value: transform `max_normalize_label`. Nodes are those of Geom-GCN's
    graphs in the same order, so its ten splits hold here as well.
    """
    parts = ("edges.csv", "features.json", "target.csv")
    edges, features, targets = sources.read(info.name, [f"musae/{info.raw}_{part}" for part in parts])
    src, dst = _table(edges).T
    target = _table(targets)
    label = np.zeros(len(target), dtype=np.float32)
    label[target[:, 0]] = target[:, 1]

    ones = json.loads(features)
    rows = np.repeat(np.array(list(ones), dtype=np.int64), [len(columns) for columns in ones.values()])
    feat = np.zeros((len(label), info.in_feats), dtype=np.float32)
    feat[rows, np.concatenate([np.array(columns, dtype=np.int64) for columns in ones.values()])] = 1
    return node_graph(src, dst, feat, label)


def _table(text: bytes) -> Array:
    """Two columns of integers below a line of names."""
    return np.fromstring(text.partition(b"\n")[2].replace(b",", b" "), dtype=np.int64, sep=" ").reshape(-1, 2)
