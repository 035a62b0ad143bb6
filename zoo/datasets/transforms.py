"""Preprocessing by name: functions from a graph to a new graph. The given graph stays as it is.

All node data are kept; edge data are not, since edges come and go. A batched graph stays batched.

| name | what it does |
| --- | --- |
| `add_self_loop` | exactly one self-loop at every node |
| `remove_self_loop` | no self-loops |
| `to_undirected` | every edge in both directions, none twice |
| `row_normalize` | every row of `feat` divided by the sum of its absolute values; zero rows stay zero |
| `max_normalize_label` | regression targets divided by the largest; a graph without labels passes |
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from zoo._checks import check_features
from zoo._dgl import dgl
from zoo.errors import ConfigError, GraphError

__all__ = [
    "TRANSFORMS",
    "add_self_loop",
    "apply",
    "check",
    "max_normalize_label",
    "remove_self_loop",
    "row_normalize",
    "to_undirected",
]

FORMATS = ("coo", "csr", "csc")


def add_self_loop(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """Gives every node exactly one self-loop; those already there are not doubled."""
    src, dst = _without_self_loops(graph)
    nodes = graph.nodes()
    return _with_edges(graph, torch.cat([src, nodes]), torch.cat([dst, nodes]))


def remove_self_loop(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """Leaves out all self-loops."""
    return _with_edges(graph, *_without_self_loops(graph))


def to_undirected(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """Adds every edge's reverse; an edge that is then there twice is kept once."""
    src, dst = _with_all_formats(graph).edges()
    key = torch.cat([src, dst]).long() * graph.num_nodes() + torch.cat([dst, src])
    key = torch.unique(key)
    return _with_edges(graph, key // graph.num_nodes(), key % graph.num_nodes())


def row_normalize(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """Divides every row of `feat` by the sum of its absolute values; zero rows stay zero.

    Raises:
        GraphError: The graph has no `feat`, or it is not a dense matrix of finite values and sums.
    """
    if "feat" not in graph.ndata:
        raise GraphError(f'row_normalize needs ndata["feat"]; ndata holds {", ".join(graph.ndata) or "nothing"}')
    feat = graph.ndata["feat"]
    feat = feat if feat.is_floating_point() else feat.float()
    check_features(feat)
    total = feat.abs().sum(dim=1, keepdim=True, dtype=torch.promote_types(feat.dtype, torch.float32))
    if not torch.isfinite(total).all():
        raise GraphError(f"row_normalize: a row of feat has a sum too large for {total.dtype}")
    return _with_data(graph, "feat", (feat / torch.where(total > 0, total, 1)).to(feat.dtype))


def max_normalize_label(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """Divides regression targets by the largest of them, as the CNA paper does with page traffic.

    A graph without targets (no labels, or classes) passes.

    Raises:
        GraphError: No target is positive.
    """
    label = graph.ndata.get("label")
    if label is None or not label.is_floating_point():
        return graph.local_var()
    largest = label[torch.isfinite(label)].amax() if torch.isfinite(label).any() else label.new_zeros(())
    if not largest > 0:
        raise GraphError("max_normalize_label needs a positive target")
    return _with_data(graph, "label", label / largest)


TRANSFORMS = {
    transform.__name__: transform
    for transform in (add_self_loop, remove_self_loop, to_undirected, row_normalize, max_normalize_label)
}


def apply(graph: dgl.DGLGraph, names: Iterable[str]) -> dgl.DGLGraph:
    """Applies transforms in the order of their names; without any, the result is a plain copy.

    Raises:
        ConfigError: A name is not a transform; no transform has been applied.
    """
    names = list(names)
    check(names)
    graph = _with_all_formats(graph.local_var())
    for name in names:
        graph = TRANSFORMS[name](graph)
    return graph


def _with_all_formats(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """The graph, free to make every sparse format, should it have been restricted to some."""
    formats = graph.formats()
    restricted = len(formats["created"]) + len(formats["not created"]) < len(FORMATS)
    return graph.formats(list(FORMATS)) if restricted else graph


def check(names: Iterable[str]) -> None:
    """Raises ConfigError if a name is not that of a transform, or is given twice."""
    if isinstance(names, str):
        raise ConfigError(f"transforms is a list of names, got {names!r}")
    names = list(names)
    if unknown := [name for name in names if name not in TRANSFORMS]:
        raise ConfigError(f"unknown transform {', '.join(map(repr, unknown))}; there are {', '.join(TRANSFORMS)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"transforms names one twice: {', '.join(names)}")


def _without_self_loops(graph: dgl.DGLGraph) -> tuple[Tensor, Tensor]:
    src, dst = _with_all_formats(graph).edges()
    keep = src != dst
    return src[keep], dst[keep]


def _with_edges(graph: dgl.DGLGraph, src: Tensor, dst: Tensor) -> dgl.DGLGraph:
    """A graph with the nodes, node data and batch of `graph` and these edges, sorted."""
    order = torch.argsort(src.long() * graph.num_nodes() + dst, stable=True)
    src, dst = src[order].to(graph.idtype), dst[order].to(graph.idtype)
    new = dgl.graph((src, dst), num_nodes=graph.num_nodes(), idtype=graph.idtype, device=graph.device)
    new.ndata.update(graph.ndata)
    if graph.batch_size > 1:
        sizes = graph.batch_num_nodes()
        new.set_batch_num_nodes(sizes)
        owner = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
        new.set_batch_num_edges(torch.bincount(owner[src.long()], minlength=len(sizes)).to(graph.idtype))
    return new


def _with_data(graph: dgl.DGLGraph, name: str, values: Tensor) -> dgl.DGLGraph:
    new = graph.local_var()
    new.ndata[name] = values
    return new
