"""Message passing on a DGLGraph, written on `dgl.ops`.

Every model and layer passes its messages through these functions and never through DGL's own layers, so that kernels
for other devices can be put in here later. An edge weight makes an SpMM several times as expensive
(`benchmarks/kernels.py`), hence degree normalisation scales nodes before and after an unweighted sum.

Messages run along the edges: a node receives from the sources of its in-edges.
"""

import torch
from torch import Tensor

from zoo._cache import per_graph
from zoo._dgl import dgl

__all__ = [
    "degree_scale",
    "edge_add",
    "edge_dot",
    "edge_softmax",
    "in_degrees",
    "propagate",
    "propagate_gcn",
    "propagate_mean",
    "readout",
    "reverse",
]


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
    return propagate(graph, feat) / in_degrees(graph, feat).clamp(min=1)


def propagate_gcn(graph: "dgl.DGLGraph", feat: Tensor) -> Tensor:
    """D^(-1/2) A D^(-1/2) X, with D the in-degrees at both ends (Kipf & Welling 2017, eq. 2).

    Out-degrees would do as well on a directed graph; in-degrees are what the authors' PyG convolutions use.
    """
    scale = degree_scale(graph, feat)
    return propagate(graph, feat * scale) * scale


def edge_softmax(graph: "dgl.DGLGraph", logits: Tensor) -> Tensor:
    """Softmax of (num_edges, heads, 1) scores over the in-edges of each node."""
    return dgl.ops.edge_softmax(graph, logits)


def edge_dot(graph: "dgl.DGLGraph", src: Tensor, dst: Tensor) -> Tensor:
    """Inner product of both ends' vectors on every edge: two (num_nodes, heads, width) to (num_edges, heads, 1)."""
    return dgl.ops.u_dot_v(graph, src, dst)


def edge_add(graph: "dgl.DGLGraph", src: Tensor, dst: Tensor) -> Tensor:
    """Sum of both ends' values on every edge: two (num_nodes, heads, 1) to (num_edges, heads, 1)."""
    return dgl.ops.u_add_v(graph, src, dst)


def readout(graph: "dgl.DGLGraph", feat: Tensor, reducer: str) -> Tensor:
    """Sum, mean or max of each graph's nodes: (num_nodes, width) to (num_graphs, width)."""
    return dgl.ops.segment_reduce(graph.batch_num_nodes().to(feat.device), feat, reducer)
