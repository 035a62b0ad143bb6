"""The `.npz` files of gnn-benchmark (Shchur et al. 2018) and graph2gauss: CSR parts of adjacency and features.

Only plain arrays are read, with pickles forbidden; the pickled names of classes stay closed.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, node_graph
from zoo.errors import IntegrityError

# Polynormer's names of the sets.
_SPLIT_FILES = {
    "amazon-photo": "amazon-photo",
    "amazon-computers": "amazon-computer",
    "coauthor-cs": "coauthor-cs",
    "coauthor-physics": "coauthor-physics",
}


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """Amazon Photo and Computers, Coauthor CS and Physics, Cora full; stored with direction, made symmetric."""
    with _archive(info) as archive:
        edges, attributes = csr_matrix(archive, "adj").tocoo(), csr_matrix(archive, "attr")
        label = archive["labels"].astype(np.int64)
        if not edges.shape[0] == edges.shape[1] == attributes.shape[0] == len(label):
            raise ValueError("edges, features and labels are not about the same nodes")
    return node_graph(edges.row, edges.col, attributes.toarray(), label)


def words(info: DatasetInfo) -> list[str] | None:
    """The words that the columns stand for, which the files of Coauthor CS and Physics name and the others do not."""
    with _archive(info) as archive:
        return archive["attr_names"].tolist() if "attr_names" in archive else None


@contextlib.contextmanager
def _archive(info: DatasetInfo) -> Iterator[Mapping[str, Array]]:
    (content,) = sources.read(info.name, [f"gnn_benchmark/{info.raw}.npz"])
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            yield archive
    except Exception as error:  # where no digest has vouched for the bytes; a broken file can raise nearly anything
        raise IntegrityError(f"gnn_benchmark/{info.raw}.npz does not hold a graph in plain arrays: {error}") from error


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """The split that Polynormer's authors published."""
    (content,) = sources.read(info.name, [f"gnn_benchmark/splits/{_SPLIT_FILES[info.name]}_split.npz"])
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        train, val, test = (torch.from_numpy(stored[part]) for part in ("train", "valid", "test"))
    return splits.from_indices(len(labels), train, val, test)


def csr_matrix(parts: Mapping[str, Array], name: str) -> scipy.sparse.csr_matrix:
    """The matrix whose CSR parts are `name_data`, `name_indices`, `name_indptr` and `name_shape`.

    Raises:
        KeyError: A part is missing.
        ValueError: The parts are no matrix; every index is checked, for SciPy's compiled code trusts them.
    """
    data, indices, indptr, shape = (parts[f"{name}_{piece}"] for piece in ("data", "indices", "indptr", "shape"))
    matrix = scipy.sparse.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
    matrix.check_format()
    return matrix
