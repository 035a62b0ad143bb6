"""The `.mat` files of LINKX (Lim et al. 2021): plain arrays.

Its authors ship five random 50/25/25 splits of a set, drawn once; here the same shares are drawn anew for every seed.
"""

import io

import numpy as np
import scipy.io

from zoo._dgl import dgl
from zoo.datasets import sources
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, node_graph
from zoo.errors import IntegrityError


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """Genius, its edges as they are stored, each in one direction: so N²'s code takes it.

    LINKX's code adds the other direction: transform `to_undirected`.
    """
    path = f"linkx/{info.raw}.mat"
    (content,) = sources.read(info.name, [path])
    try:
        src, dst, feat, label = _arrays(content)
    except Exception as error:  # no digest has vouched for the bytes, and a broken file can raise nearly anything
        raise IntegrityError(f"{path} does not hold a graph in plain arrays: {error}") from error
    return node_graph(src, dst, feat, label, undirected=not info.directed)


def _arrays(content: bytes) -> tuple[Array, Array, Array, Array]:
    """Sources, destinations, features and classes."""
    members = scipy.io.loadmat(io.BytesIO(content))
    src, dst = members["edge_index"].astype(np.int64)
    feat, label = members["node_feat"].astype(np.float32), members["label"].ravel().astype(np.int64)
    ends = np.concatenate([src, dst])
    if feat.ndim != 2 or len(feat) != len(label) or not np.all((ends >= 0) & (ends < len(label))):
        raise ValueError("edges, features and labels are not about the same nodes")
    return src, dst, feat, label
