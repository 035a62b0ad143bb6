"""From arrays to DGL graphs: one canonical form for the zoo's data sets, one set of checks for a user's own.

Canonical means: no edge twice, edges sorted by (source, destination), so that equal data give equal graphs, bit by bit.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import Tensor

from zoo._checks import check_count, check_features
from zoo._dgl import dgl
from zoo.errors import GraphError

__all__ = ["canonical_edges", "check_graph", "check_input", "from_arrays", "graph_list", "node_graph"]

Array = npt.NDArray[Any]
MASKS = ("train_mask", "val_mask", "test_mask")


def canonical_edges(
    src: Array, dst: Array, num_nodes: int, *, undirected: bool = True, self_loops: bool = False
) -> tuple[Array, Array]:
    """Sorts edges by (source, destination), each once.

    Args:
        src: Sources, shape (num_edges,), all below `num_nodes`; likewise `dst`.
        num_nodes: Number of nodes.
        undirected: Whether to add every edge's reverse.
        self_loops: Whether to keep self-loops.

    Returns:
        Sources and destinations, int64.
    """
    src, dst = src.astype(np.int64, copy=False), dst.astype(np.int64, copy=False)
    if not self_loops:
        keep = src != dst
        src, dst = src[keep], dst[keep]
    key = src * num_nodes + dst
    if undirected:
        key = np.concatenate([key, dst * num_nodes + src])
    # Sorting in place: np.unique hashes, which takes far longer on COLLAB's 49 million keys.
    key.sort()
    key = key[np.concatenate([[True], key[1:] != key[:-1]])[: len(key)]]
    return key // num_nodes, key % num_nodes


def node_graph(src: Array, dst: Array, feat: Array, label: Array, *, undirected: bool = True) -> dgl.DGLGraph:
    """The canonical graph of a data set: undirected without self-loops, or directed with all that its file has.

    Args:
        src: Sources, shape (num_edges,); likewise `dst`.
        feat: Features, shape (num_nodes, in_feats).
        label: Classes (integers) or targets (floats), shape (num_nodes,); or several labels of each node, 0 or 1,
            shape (num_nodes, num_classes).
        undirected: Whether to add every edge's reverse and to leave out self-loops.
    """
    src, dst = canonical_edges(src, dst, len(feat), undirected=undirected, self_loops=not undirected)
    graph = dgl.graph((torch.from_numpy(src), torch.from_numpy(dst)), num_nodes=len(feat))
    graph.ndata["feat"] = torch.from_numpy(np.ascontiguousarray(feat, dtype=np.float32))
    kind = bool if label.ndim == 2 else np.float32 if np.issubdtype(label.dtype, np.floating) else np.int64
    graph.ndata["label"] = torch.from_numpy(np.ascontiguousarray(label, dtype=kind))
    return graph


def graph_list(src: Array, dst: Array, sizes: Array, feat: Array) -> list[dgl.DGLGraph]:
    """Cuts one large graph into its member graphs.

    Args:
        src: Sources, counted through all graphs and canonical, shape (num_edges,); likewise `dst`.
        sizes: Nodes of every graph, shape (num_graphs,).
        feat: Features of all nodes, shape (num_nodes, in_feats); the graphs hold views of it.
    """
    stop = np.cumsum(sizes)
    start = stop - sizes
    # Edges are sorted by source, hence by graph.
    cuts = np.searchsorted(src, stop)
    owner = np.repeat(start, np.diff(cuts, prepend=0))
    all_src, all_dst = torch.from_numpy(src - owner), torch.from_numpy(dst - owner)
    all_feat = torch.from_numpy(np.ascontiguousarray(feat, dtype=np.float32))
    graphs = []
    for begin, first, last, size in zip(start, np.append(0, cuts[:-1]), cuts, sizes, strict=True):
        graph = dgl.graph((all_src[first:last], all_dst[first:last]), num_nodes=int(size))
        graph.ndata["feat"] = all_feat[begin : begin + size]
        graphs.append(graph)
    return graphs


def from_arrays(
    edges: Any,
    feat: Any,
    label: Any = None,
    train_mask: Any = None,
    val_mask: Any = None,
    test_mask: Any = None,
    num_nodes: int | None = None,
    undirected: bool = True,
) -> dgl.DGLGraph:
    """Builds a graph from arrays of your own.

    Args:
        edges: Integers of shape (2, num_edges) or (num_edges, 2), a pair of arrays (sources, destinations), or a SciPy
            sparse adjacency matrix. What has the shape (2, 2) is read as (sources, destinations); of a list of two
            tuples, which could be two edges, a warning tells. Edges have no weights: every entry of a matrix that is
            not 0 is an edge like any other, and a warning tells where it is not 1.
        feat: Features, shape (num_nodes, in_feats); NumPy, torch, a list or a SciPy sparse matrix.
        label: Integer classes, counted from 0, or float targets of a regression, shape (num_nodes,); or several labels
            of each node, 0 or 1, shape (num_nodes, num_classes).
        train_mask: bool of shape (num_nodes,); likewise `val_mask` and `test_mask`. No node may be in two of them.
        num_nodes: Number of nodes; default: the rows of `feat`. Given, it is compared with them.
        undirected: Whether to add every edge's reverse, which nearly every model expects. Edges given twice are kept
            once, self-loops are kept.

    Returns:
        A graph with `ndata` feat (float32), label (int64, float32; bool where each node has several) and the masks, as
        far as they are given.

    Raises:
        GraphError: The arrays do not describe a graph; the message says which one and why.
    """
    feat = _features(feat)
    if len(feat) == 0:
        raise GraphError("the graph has no nodes: feat has no rows")
    num_nodes = len(feat) if num_nodes is None else check_count("num_nodes", num_nodes, GraphError)
    if len(feat) != num_nodes:
        raise GraphError(f"feat has {len(feat)} rows for {num_nodes} nodes: give every node one row")
    src, dst = _edges(edges, num_nodes)
    src, dst = canonical_edges(src, dst, num_nodes, undirected=undirected, self_loops=True)
    graph = dgl.graph((torch.from_numpy(src), torch.from_numpy(dst)), num_nodes=num_nodes)
    graph.ndata["feat"] = torch.from_numpy(feat)
    if label is not None:
        graph.ndata["label"] = torch.from_numpy(_label(label, num_nodes))
    for name, mask in zip(MASKS, (train_mask, val_mask, test_mask), strict=True):
        if mask is not None:
            graph.ndata[name] = torch.from_numpy(_mask(name, mask, num_nodes))
    _check_disjoint({name: graph.ndata[name] for name in MASKS if name in graph.ndata})
    return graph


def check_graph(graph: dgl.DGLGraph) -> None:
    """Checks that a DGL graph is one that the zoo's models can take.

    Raises:
        GraphError: See `check_input`; its features are not (num_nodes, in_feats), NaN or infinite; or its masks are not
            bool or overlap.
    """
    check_input(graph)
    check_features(graph.ndata["feat"])
    present = {name: graph.ndata[name] for name in MASKS if name in graph.ndata}
    for name, mask in present.items():
        if mask.dtype != torch.bool or mask.dim() != 1:
            raise GraphError(f"{name} is {mask.dtype} of shape {tuple(mask.shape)}: expected bool, one per node")
    _check_disjoint(present)


def check_input(graph: dgl.DGLGraph) -> None:
    """Checks that a graph has what a model takes in; the features themselves are looked at behind its transforms.

    Raises:
        GraphError: It is heterogeneous, has no nodes, or its `ndata["feat"]` is missing.
    """
    if not graph.is_homogeneous:
        raise GraphError(f"the graph has node types {graph.ntypes} and edge types {graph.etypes}: expected one of each")
    if graph.num_nodes() == 0:
        raise GraphError("the graph has no nodes")
    if "feat" not in graph.ndata:
        raise GraphError(f'the graph has no ndata["feat"]; its ndata holds {sorted(graph.ndata) or "nothing"}')


def _array(values: Any, name: str) -> Array:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values if values.layout is torch.strided else values.to_dense()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # NumPy lacks that type
    if scipy.sparse.issparse(values):
        dense: Array = values.toarray()
        return dense
    if np.ma.is_masked(values):
        raise GraphError(f"{name} is an array with masked values: fill them first")
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise GraphError(f"{name} is not an array: {error}") from error


def _features(values: Any) -> Array:
    feat = _array(values, "feat")
    if feat.dtype.kind not in "biuf":
        raise GraphError(f"feat has dtype {feat.dtype}: expected numbers")
    feat = np.array(feat, dtype=np.float32, order="C")
    check_features(torch.from_numpy(feat))
    return feat


def _edges(edges: Any, num_nodes: int) -> tuple[Array, Array]:
    if scipy.sparse.issparse(edges):
        if edges.shape != (num_nodes, num_nodes):
            raise GraphError(f"the adjacency matrix has shape {edges.shape} for {num_nodes} nodes")
        coo = edges.tocoo()
        if not np.isin(coo.data, (0, 1)).all():
            warnings.warn("the zoo's edges have no weights: each entry of the matrix but 0 is 1", stacklevel=3)
        edges = (coo.row[coo.data != 0], coo.col[coo.data != 0])
    pair = isinstance(edges, tuple) and len(edges) == 2
    ends = _array([_array(end, "edges") for end in edges] if pair else edges, "edges")
    if ends.size == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if ends.dtype.kind not in "iu":
        raise GraphError(f"edges have dtype {ends.dtype}: expected integer node numbers")
    if ends.ndim != 2 or 2 not in ends.shape:
        raise GraphError(f"edges have shape {ends.shape}: expected (2, num_edges) or (num_edges, 2)")
    if isinstance(edges, list) and ends.shape == (2, 2) and all(isinstance(edge, tuple) for edge in edges):
        warnings.warn("two tuples of two are read as (sources, destinations), not as two edges", stacklevel=3)
    src, dst = ends if len(ends) == 2 else ends.T
    lowest, highest = int(ends.min()), int(ends.max())
    if lowest < 0 or highest >= num_nodes:
        wrong = lowest if lowest < 0 else highest
        raise GraphError(f"an edge names node {wrong}, but the nodes are 0 to {num_nodes - 1}")
    return src, dst


def _label(values: Any, num_nodes: int) -> Array:
    label = _array(values, "label")
    if label.ndim == 2 and len(label) == num_nodes and label.shape[1] > 1:
        if not np.isin(label, (0, 1)).all():
            raise GraphError("label has several columns, so each entry is 0 or 1, but some are neither")
        return label.astype(np.bool_)
    if label.shape != (num_nodes,):
        raise GraphError(f"label has shape {label.shape}: expected ({num_nodes},), one per node")
    if label.dtype.kind == "f":
        with np.errstate(over="ignore"):
            label = label.astype(np.float32)
        if not np.isfinite(label).all():
            raise GraphError(
                "label has NaN or infinite values, as float32: give unlabelled nodes 0, and leave them out of all masks"
            )
        return label
    if label.dtype.kind not in "biu":
        raise GraphError(f"label has dtype {label.dtype}: expected integer classes or float targets")
    if label.min() < 0:
        raise GraphError(
            f"label holds {label.min()}: classes count from 0; give unlabelled nodes 0, and leave them out of all masks"
        )
    if label.max() > np.iinfo(np.int64).max:
        raise GraphError(f"label holds {label.max()}: classes count from 0 to at most 2^63 - 1")
    return label.astype(np.int64)


def _mask(name: str, values: Any, num_nodes: int) -> Array:
    mask = _array(values, name)
    if mask.shape != (num_nodes,) or mask.dtype != np.bool_:
        raise GraphError(f"{name} is {mask.dtype} of shape {mask.shape}: expected bool of shape ({num_nodes},)")
    return mask.copy()


def _check_disjoint(masks: dict[str, Tensor]) -> None:
    if len(masks) > 1 and (overlap := int((torch.stack(list(masks.values())).sum(dim=0) > 1).sum())):
        raise GraphError(f"{overlap} nodes are in more than one of {', '.join(masks)}")
