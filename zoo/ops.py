"""Message passing on a DGLGraph, written on `dgl.ops`.

Every model and layer passes its messages through these functions and never through DGL's own layers, so that kernels
for other devices can be put in here later. An edge weight makes an SpMM several times as expensive
(`benchmarks/kernels.py`), hence degree normalisation scales nodes before and after an unweighted sum.

Messages run along the edges: a node receives from the sources of its in-edges.

What a layer has for every edge can be many times as large as what it has for every node. A layer therefore computes it
inside `per_receiver`, which prediction cuts into blocks of receiving nodes (`in_blocks`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from zoo._cache import per_graph
from zoo._dgl import dgl

__all__ = [
    "BLOCK_SIZE",
    "degree_scale",
    "edge_add",
    "edge_dot",
    "edge_softmax",
    "in_blocks",
    "in_degrees",
    "per_receiver",
    "propagate",
    "propagate_gcn",
    "propagate_mean",
    "readout",
    "reverse",
]

BLOCK_SIZE = 1 << 18  # edges; with eight heads some 8 MB for each value per edge

_block_size: ContextVar[int | None] = ContextVar("block_size", default=None)


def reverse(graph: "dgl.DGLGraph") -> "dgl.DGLGraph":
    """The graph with every edge turned round, without features."""
    return per_graph(graph, "reverse", lambda: dgl.reverse(graph, copy_ndata=False, copy_edata=False))


def in_degrees(graph: "dgl.DGLGraph", like: Tensor) -> Tensor:
    """In-degrees with dtype and device of `like`, shape (num_nodes, 1)."""
    return per_graph(graph, ("in_degrees", like.dtype, like.device), lambda: graph.in_degrees().to(like).unsqueeze(1))


def degree_scale(graph: "dgl.DGLGraph", like: Tensor) -> Tensor:
    """In-degrees to the power -1/2 with dtype and device of `like`, (num_nodes, 1); 0 for a node without in-edges."""

    def compute() -> Tensor:
        degrees = in_degrees(graph, like)
        return torch.where(degrees > 0, degrees.clamp(min=1).rsqrt(), torch.zeros_like(degrees))

    return per_graph(graph, ("degree_scale", like.dtype, like.device), compute)


def propagate(graph: "dgl.DGLGraph", feat: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum of the in-neighbours' features, each times its edge's weight.

    Args:
        graph: Homogeneous graph.
        feat: (num_nodes, ...).
        weight: (num_edges, ...), broadcast against `feat`. Default: 1 on every edge.

    Returns:
        (num_nodes, ...).
    """
    if weight is None:
        return dgl.ops.copy_u_sum(graph, feat)
    return dgl.ops.u_mul_e_sum(graph, feat, weight)


def propagate_mean(graph: "dgl.DGLGraph", feat: Tensor) -> Tensor:
    """Mean of the in-neighbours' features, shape (num_nodes, width); 0 for a node without in-edges."""
    return propagate(graph, feat).div_(in_degrees(graph, feat).clamp(min=1))


def propagate_gcn(graph: "dgl.DGLGraph", feat: Tensor) -> Tensor:
    """D^(-1/2) A D^(-1/2) X, with D the in-degrees at both ends (Kipf & Welling 2017, eq. 2).

    Out-degrees would do as well on a directed graph; in-degrees are what the authors' PyG convolutions use.
    """
    scale = degree_scale(graph, feat)
    feat = feat * scale  # in the place of the unscaled ones, which are needed no more
    return propagate(graph, feat).mul_(scale)


def edge_softmax(graph: "dgl.DGLGraph", logits: Tensor) -> Tensor:
    """Softmax of (num_edges, heads, 1) scores over the in-edges of each node."""
    return dgl.ops.edge_softmax(graph, logits)


def edge_dot(graph: "dgl.DGLGraph", src: Tensor, dst: Tensor) -> Tensor:
    """Inner product of both ends' vectors on every edge: two (num_nodes, heads, width) to (num_edges, heads, 1)."""
    return dgl.ops.u_dot_v(graph, src, dst)


def edge_add(graph: "dgl.DGLGraph", src: Tensor, dst: Tensor) -> Tensor:
    """Sum of both ends' values on every edge: two (num_nodes, heads, 1) to (num_edges, heads, 1)."""
    return dgl.ops.u_add_v(graph, src, dst)


@contextmanager
def in_blocks(block_size: int = BLOCK_SIZE) -> Iterator[None]:
    """In here `per_receiver` works on one block of nodes after another, and no gradients are recorded.

    Args:
        block_size: Most edges of a block. A node with more in-edges is a block of its own.
    """
    token = _block_size.set(block_size)
    try:
        with torch.no_grad():
            yield
    finally:
        _block_size.reset(token)


def per_receiver(graph: "dgl.DGLGraph", compute: Callable[["dgl.DGLGraph", slice], Tensor]) -> Tensor:
    """What `compute` makes of every node's in-edges, (num_nodes, ...).

    Args:
        graph: Homogeneous graph.
        compute: Called with a graph that has all in-edges of some nodes, and with the slice of nodes that these are:
            once with `graph` itself and all nodes, or inside `in_blocks`, if there are more edges than a block may
            have, with one block after another. A block's sources are all nodes of `graph`, its destinations the
            slice's nodes. Returns a row for each node of the slice.
    """
    block_size = _block_size.get()
    if block_size is None or graph.num_edges() <= block_size:
        return compute(graph, slice(None))
    output = torch.empty(0)
    for block, receivers in _receiver_blocks(graph, block_size):
        rows = compute(block, receivers)
        if receivers.start == 0:
            output = rows.new_empty(graph.num_nodes(), *rows.shape[1:])
        output[receivers] = rows
    return output


def _receiver_blocks(graph: "dgl.DGLGraph", block_size: int) -> Iterator[tuple["dgl.DGLGraph", slice]]:
    """Cuts the nodes into slices of at most `block_size` in-edges; a block's edges are a view of the graph's own."""
    indptr, sources, _ = graph.adj_tensors("csc")
    start = 0
    while start < graph.num_nodes():
        first = indptr[start]
        stop = max(start + 1, int(torch.searchsorted(indptr, first + block_size, right=True)) - 1)
        csc = (indptr[start : stop + 1] - first, sources[first : indptr[stop]], sources.new_empty(0))
        sizes = {"num_src_nodes": graph.num_nodes(), "num_dst_nodes": stop - start}
        yield dgl.create_block(("csc", csc), **sizes), slice(start, stop)
        start = stop


def readout(graph: "dgl.DGLGraph", feat: Tensor, reducer: str) -> Tensor:
    """Sum, mean or max of each graph's nodes: (num_nodes, width) to (num_graphs, width)."""
    return dgl.ops.segment_reduce(graph.batch_num_nodes().to(feat.device), feat, reducer)
