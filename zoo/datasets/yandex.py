"""The `.npz` files of the heterophilous graphs (Platonov et al. 2023): plain arrays, ten splits inside."""

import io

import numpy as np
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, node_graph


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """One of the heterophilous graphs; an edge is a row of `edges`."""
    edges, feat, label = _members(info, "edges", "node_features", "node_labels")
    return node_graph(edges[:, 0], edges[:, 1], feat, label, undirected=not info.directed)


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """Split `seed % 10` of the ten in the file."""
    stored = _members(info, *(f"{part}_masks" for part in splits.Masks._fields))
    return splits.Masks(*(torch.from_numpy(masks[seed % len(masks)].copy()) for masks in stored))


def _members(info: DatasetInfo, *names: str) -> list[Array]:
    (content,) = sources.read(info.name, [f"heterophilous/{info.raw}.npz"])
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return [archive[name] for name in names]
