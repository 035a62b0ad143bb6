"""The `.npz` files of gnn-benchmark (Shchur et al. 2018) and graph2gauss: CSR parts of adjacency and features.

Only plain arrays are read, with pickles forbidden; the pickled names of classes stay closed.
"""

import io

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import node_graph

# Polynormer's names of the sets.
_SPLIT_FILES = {
    "amazon-photo": "amazon-photo",
    "amazon-computers": "amazon-computer",
    "coauthor-cs": "coauthor-cs",
    "coauthor-physics": "coauthor-physics",
}


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """Amazon Photo and Computers, Coauthor CS and Physics, Cora full; stored with direction, made symmetric."""
    (content,) = sources.read(info.name, [f"gnn_benchmark/{info.raw}.npz"])
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        adjacency, attributes = (
            scipy.sparse.csr_matrix(
                (archive[f"{part}_data"], archive[f"{part}_indices"], archive[f"{part}_indptr"]),
                shape=archive[f"{part}_shape"],
            )
            for part in ("adj", "attr")
        )
        label = archive["labels"]
    edges = adjacency.tocoo()
    return node_graph(edges.row, edges.col, attributes.toarray(), label)


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """The split that Polynormer's authors published."""
    (content,) = sources.read(info.name, [f"gnn_benchmark/splits/{_SPLIT_FILES[info.name]}_split.npz"])
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        train, val, test = (torch.from_numpy(stored[part]) for part in ("train", "valid", "test"))
    return splits.from_indices(len(labels), train, val, test)
