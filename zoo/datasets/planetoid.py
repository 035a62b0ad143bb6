"""Planetoid's files (Yang et al. 2016): Python 2 pickles of CSR features, one-hot labels and neighbour lists."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import pickles, sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import node_graph

_VALIDATION = 500


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """Cora, CiteSeer or PubMed.

    Rows of `tx` and `ty` follow the file `test.index`, which is not sorted. In CiteSeer 15 test numbers have no row:
    these nodes have edges, but no features, and their label is 0, as everywhere. The public split leaves them out.
    """
    *pickled, index = _files(info, "allx", "ally", "tx", "ty", "graph", "test.index")
    allx, ally, tx, ty, neighbours = map(pickles.loads, pickled)
    test = np.array(index.split(), dtype=np.int64)
    num_nodes = max(len(neighbours), int(test.max()) + 1)
    rows = np.concatenate([np.arange(len(ally)), test])

    feat = np.zeros((num_nodes, allx.shape[1]), dtype=np.float32)
    feat[rows] = scipy.sparse.vstack([allx, tx]).toarray()
    label = np.zeros(num_nodes, dtype=np.int64)
    label[rows] = np.concatenate([ally, ty]).argmax(axis=1)

    src = np.repeat(list(neighbours), [len(ends) for ends in neighbours.values()])
    dst = np.concatenate([np.array(ends, dtype=np.int64) for ends in neighbours.values()])
    return node_graph(src, dst, feat, label)


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """The rows of `y`, the 500 nodes after them, and `test.index`, or in `public-rest` all others."""
    y, index = _files(info, "y", "test.index")
    num_train = len(pickles.loads(y))
    test = torch.tensor([int(number) for number in index.split()])
    val = torch.arange(num_train, num_train + _VALIDATION)
    public = splits.from_indices(len(labels), torch.arange(num_train), val, test)
    return public if name == "public" else public._replace(test=~(public.train | public.val))


def _files(info: DatasetInfo, *parts: str) -> list[bytes]:
    return sources.read(info.name, [f"planetoid/ind.{info.raw}.{part}" for part in parts])
