"""Message passing on a DGLGraph, with PyTorch's kernels.

Every model and layer passes its messages through these functions and never through DGL's own layers. DGL keeps the
graph; the sums are PyTorch's: an `embedding_bag` adds up rows that are named by an index, weighted or not, which is
what a node does with its neighbours, and `sampled_addmm` takes inner products along edges. On a CPU weighted sums are
several times as fast as DGL's (`benchmarks/kernels.py`).

Messages run along the edges: a node receives from the sources of its in-edges.

Values of edges, such as attention, are flat, (num_edges · heads,): for each receiving node, for each head, a value for
each of its in-edges, in the order of `graph.adj_tensors("csc")`.

What a layer has for every edge can be many times as large as what it has for every node. A layer therefore computes it
inside `per_receiver`, which prediction cuts into blocks of receiving nodes (`in_blocks`).
"""

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

from zoo._cache import per_graph
from zoo._dgl import dgl
from zoo.errors import GraphError

__all__ = [
    "BLOCK_SIZE",
    "batch_sizes",
    "csr_tensor",
    "degree_scale",
    "edge_add",
    "edge_dot",
    "edge_ends",
    "edge_numbers",
    "edge_softmax",
    "in_blocks",
    "in_degrees",
    "in_edges",
    "lerp",
    "per_receiver",
    "propagate",
    "propagate_differences",
    "propagate_gcn",
    "propagate_mean",
    "readout",
    "reverse",
    "select_edges",
    "widened",
    "with_coo",
]

BLOCK_SIZE = 1 << 18  # edges; with eight heads some 8 MB for each value of an edge, and 16 for each index

_block_size: ContextVar[int | None] = ContextVar("block_size", default=None)


def reverse(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """The graph with every edge turned round, without features."""
    return per_graph(graph, "reverse", lambda: dgl.reverse(graph, copy_ndata=False, copy_edata=False))


def batch_sizes(graph: dgl.DGLGraph, device: torch.device) -> Tensor:
    """Number of nodes of each graph of a batch, (num_graphs,) int64."""
    if graph._batch_num_nodes is None:  # it is no batch; asked, DGL would note it in the graph, in this index type
        return torch.tensor([graph.num_nodes()], device=device)
    return graph.batch_num_nodes().to(device).long()


def in_degrees(graph: dgl.DGLGraph, like: Tensor) -> Tensor:
    """In-degrees with dtype and device of `like`, shape (num_nodes, 1)."""

    def compute() -> Tensor:
        return _in_links(graph, 1, like.device).offsets.diff().to(like).unsqueeze(1)

    return per_graph(graph, ("in_degrees", like.dtype, like.device), compute)


def degree_scale(graph: dgl.DGLGraph, like: Tensor) -> Tensor:
    """In-degrees to the power -1/2 with dtype and device of `like`, (num_nodes, 1); 0 for a node without in-edges."""

    def compute() -> Tensor:
        degrees = in_degrees(graph, like)
        return torch.where(degrees > 0, degrees.clamp(min=1).rsqrt(), torch.zeros_like(degrees))

    return per_graph(graph, ("degree_scale", like.dtype, like.device), compute)


def edge_ends(graph: dgl.DGLGraph, device: torch.device) -> tuple[Tensor, Tensor]:
    """Senders and receivers of the edges in the order of their values, two (num_edges,)."""
    return _in_links(graph, 1, device).ends, _receivers(graph, 1, device)


def edge_numbers(graph: dgl.DGLGraph, heads: int, device: torch.device) -> Tensor:
    """Which edge each value of several heads belongs to, (num_edges · heads,): its place among those of one head."""

    def compute() -> Tensor:
        offsets, _, _ = _adjacency(graph, "csc", device)
        return _for_each_head(offsets, heads)[2]

    return per_graph(graph, ("edge_numbers", heads, device), compute)


def in_edges(graph: dgl.DGLGraph, receivers: slice, device: torch.device) -> slice:
    """Where the in-edges of a slice of nodes, one that `per_receiver` gave, have their values of one head."""
    if receivers == slice(None):
        return receivers
    offsets = _in_links(graph, 1, device).offsets
    return slice(int(offsets[receivers.start]), int(offsets[receivers.stop]))


def select_edges(graph: dgl.DGLGraph, kept: Tensor) -> dgl.DGLGraph:
    """A graph of the same nodes, without data, with the edges for which `kept`, (num_edges,) bool, is True.

    Their values stand in the order in which they stood.
    """
    offsets, ends, _ = _adjacency(graph, "csc", kept.device)
    before = torch.nn.functional.pad(kept.cumsum(0), (1, 0))
    csc = (before[offsets], ends[kept], ends.new_empty(0))
    return dgl.graph(("csc", csc), num_nodes=graph.num_nodes(), idtype=graph.idtype, device=graph.device)


class _Links(NamedTuple):
    """Which rows are linked by edges, where row i · heads + h stands for head h of node i."""

    offsets: Tensor  # (num_nodes · heads + 1,): where each row's links begin
    ends: Tensor  # (num_edges · heads,): the row at the other end of a link


def _in_links(graph: dgl.DGLGraph, heads: int, device: torch.device) -> _Links:
    """From receivers to senders, in the order of the values of edges."""
    return _links(graph, "csc", heads, device)


def _out_links(graph: dgl.DGLGraph, heads: int, device: torch.device) -> _Links:
    """From senders to receivers."""
    return _links(graph, "csr", heads, device)


def _links(graph: dgl.DGLGraph, kind: str, heads: int, device: torch.device) -> _Links:
    def compute() -> _Links:
        offsets, ends, _ = _adjacency(graph, kind, device)
        if heads == 1:
            return _Links(offsets, ends)
        offsets, owners, edge = _for_each_head(offsets, heads)
        return _Links(offsets, ends[edge] * heads + owners % heads)

    return per_graph(graph, ("links", kind, heads, device), compute)


def _receivers(graph: dgl.DGLGraph, heads: int, device: torch.device) -> Tensor:
    """The receiving row of each value of an edge, (num_edges · heads,)."""

    def compute() -> Tensor:
        return torch.repeat_interleave(_in_links(graph, heads, device).offsets.diff())

    return per_graph(graph, ("receivers", heads, device), compute)


def _out_order(graph: dgl.DGLGraph, heads: int, device: torch.device) -> Tensor:
    """Where each of the out-links stands among the values of edges, (num_edges · heads,)."""

    def compute() -> Tensor:
        first, _, by_receiver = _adjacency(graph, "csc", device)
        offsets, receivers, by_sender = _adjacency(graph, "csr", device)
        place = torch.argsort(by_receiver)[by_sender]
        if heads == 1:
            return place
        _, owners, edge = _for_each_head(offsets, heads)
        start, degree = first[receivers[edge]], first.diff()[receivers[edge]]
        # Before it are the values of earlier receivers, of earlier heads, and of earlier edges.
        return start * heads + owners % heads * degree + place[edge] - start

    return per_graph(graph, ("out_order", heads, device), compute)


def with_coo(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """The graph, or where it was restricted to CSR or CSC a copy that lists its edges, too."""
    known = any("coo" in kinds for kinds in graph.formats().values())
    return graph if known else graph.formats(["coo", "csr", "csc"])


def _adjacency(graph: dgl.DGLGraph, kind: str, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets, nodes at the other end, and numbers of the edges: `"csc"` by receivers, `"csr"` by senders."""
    if not any(kind in kinds for kinds in graph.formats().values()):  # the graph was restricted to others
        graph = graph.formats([kind])
    offsets, ends, numbers = (part.to(device).long() for part in graph.adj_tensors(kind))
    return offsets, ends, numbers if len(numbers) else torch.arange(len(ends), device=device)  # none: they count up


def _for_each_head(offsets: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Every node's list of edges once for each head: offsets, owning row of each entry, and index of its edge."""
    counts = offsets.diff().repeat_interleave(heads)
    repeated = torch.cat([offsets[:1], counts.cumsum(0)])
    owners = torch.repeat_interleave(counts)
    positions = torch.arange(len(owners), device=offsets.device) - repeated[owners]
    return repeated, owners, offsets[owners // heads] + positions


def _sums(links: _Links, rows: Tensor, weight: Tensor | None) -> Tensor:
    """For every row, the sum over its links of the rows at their ends, each times the link's weight."""
    rows = rows.detach().contiguous()  # with a gradient in sight, embedding_bag would prepare its own backward pass
    if weight is not None:
        weight = weight.detach().to(rows.dtype).contiguous()  # under autocast they may differ
    return embedding_bag(
        links.ends, rows, links.offsets, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def csr_tensor(offsets: Tensor, ends: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix of values whose places are known to be right."""
    _hear_of_csr()
    return torch.sparse_csr_tensor(offsets, ends, values, size=shape, check_invariants=False)


@functools.cache
def _hear_of_csr() -> None:
    """PyTorch says once in each process that CSR is in beta: here, to nobody."""
    none = torch.zeros(0, dtype=torch.int64, device="cpu")
    with warnings.catch_warnings(action="ignore"):
        torch.sparse_csr_tensor(none.new_zeros(1), none, none.float(), size=(0, 0))


def _dots(links: _Links, owners: Tensor, ends: Tensor) -> Tensor:
    """For every link, the inner product of the rows that it joins."""
    crowded = len(links.ends) > len(owners) * len(ends)  # parallel edges: more than a sparse matrix has places for
    if crowded or owners.dtype.itemsize < 4:  # nor is there a kernel for half floats
        return (owners[torch.repeat_interleave(links.offsets.diff())] * ends[links.ends]).sum(1)
    values = owners.new_zeros(len(links.ends))
    pattern = csr_tensor(links.offsets, links.ends, values, (len(owners), len(ends)))
    return torch.sparse.sampled_addmm(pattern, owners, ends.t(), beta=0).values()


class _Propagate(torch.autograd.Function):
    """Weighted sums over the in-links; the gradient of the rows runs over the out-links."""

    @staticmethod
    def forward(
        ctx: Any,
        graph: dgl.DGLGraph,
        rows: Tensor,
        weight: Tensor | None,
        heads: int,
        sent_weight: Callable[[], Tensor] | None,
    ) -> Tensor:
        ctx.graph, ctx.heads, ctx.sent_weight = graph, heads, sent_weight
        ctx.save_for_backward(None if sent_weight else weight, rows if ctx.needs_input_grad[2] else None)
        return _sums(_in_links(graph, heads, rows.device), rows, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None, Tensor | None, None, None]:
        (grad,) = grads
        weight, rows = ctx.saved_tensors
        grad_rows = grad_weight = None
        if ctx.needs_input_grad[1]:
            if ctx.sent_weight is not None:
                weight = ctx.sent_weight()
            elif weight is not None:
                weight = weight[_out_order(ctx.graph, ctx.heads, grad.device)]
            grad_rows = _sums(_out_links(ctx.graph, ctx.heads, grad.device), grad, weight)
        if ctx.needs_input_grad[2]:
            grad_weight = _dots(_in_links(ctx.graph, ctx.heads, grad.device), grad, rows)
        return None, grad_rows, grad_weight, None, None


def propagate(graph: dgl.DGLGraph, feat: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum of the in-neighbours' features, each times its edge's weight.

    Args:
        graph: Homogeneous graph.
        feat: (num_nodes, ...), with weights of several heads (num_nodes, heads, ...).
        weight: Values of edges, (num_edges · heads,), see the module. Default: 1 on every edge.

    Returns:
        As `feat`.

    Raises:
        GraphError: `feat` has another number of rows.
    """
    _check_rows(graph, feat)
    heads = 1 if weight is None else _heads(graph, weight)
    if feat.dim() == 2 and heads == 1:  # what follows would return a view, which autograd copies when it is written to
        return _Propagate.apply(graph, feat, weight, 1, None)
    rows = feat.reshape(len(feat) * heads, math.prod(feat.shape[1:]) // heads)
    result = _Propagate.apply(graph, rows, weight, heads, None)
    return result.view(len(result) // heads, *feat.shape[1:])


def _check_rows(graph: dgl.DGLGraph, feat: Tensor) -> None:
    if len(feat) != graph.num_src_nodes():
        raise GraphError(f"feat has {len(feat)} rows, the graph has {graph.num_src_nodes()} nodes")


def _heads(graph: dgl.DGLGraph, values: Tensor) -> int:
    return len(values) // graph.num_edges() if graph.num_edges() else 1


def propagate_mean(graph: dgl.DGLGraph, feat: Tensor) -> Tensor:
    """Mean of the in-neighbours' features, shape (num_nodes, width); 0 for a node without in-edges."""
    return propagate(graph, feat).div_(in_degrees(graph, feat).clamp(min=1))


def propagate_gcn(graph: dgl.DGLGraph, feat: Tensor) -> Tensor:
    """D^(-1/2) A D^(-1/2) X, with D the in-degrees at both ends (Kipf & Welling 2017, eq. 2); X: (num_nodes, width).

    Out-degrees would do as well on a directed graph; in-degrees are what the authors' PyG convolutions use.

    Raises:
        GraphError: `feat` has another number of rows.
    """

    dtype, device = feat.dtype, feat.device

    def compute() -> Tensor:
        scale = degree_scale(graph, feat).squeeze(1)
        return scale[_receivers(graph, 1, device)] * scale[_in_links(graph, 1, device).ends]

    weight = per_graph(graph, ("gcn_weights", dtype, device), compute)

    def sent_weight() -> Tensor:
        return per_graph(graph, ("sent_gcn_weights", dtype, device), lambda: weight[_out_order(graph, 1, device)])

    _check_rows(graph, feat)
    return _Propagate.apply(graph, feat, weight, 1, sent_weight)


class _DifferencePowers(torch.autograd.Function):
    """Σ_j |x_j - x_i|^p over the in-edges, in blocks of edges, which the backward pass computes once more."""

    @staticmethod
    def forward(ctx: Any, graph: dgl.DGLGraph, x: Tensor, exponent: float) -> Tensor:
        ctx.graph, ctx.exponent = graph, exponent
        ctx.save_for_backward(x)
        result = torch.zeros_like(x)
        for senders, receivers in _edge_blocks(graph, x):
            result.index_add_(0, receivers, _differences(x, senders, receivers).abs_().pow_(exponent))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        (x,) = ctx.saved_tensors
        result = torch.zeros_like(x)
        for senders, receivers in _edge_blocks(ctx.graph, x):
            slope = _differences(x, senders, receivers)
            if ctx.exponent != 2:
                slope = slope.abs().pow_(ctx.exponent - 1).copysign_(slope).mul_(slope != 0)
            slope.mul_(grads[0].index_select(0, receivers))
            result.index_add_(0, senders, slope).index_add_(0, receivers, slope, alpha=-1)
        return None, result.mul_(ctx.exponent), None


def _edge_blocks(graph: dgl.DGLGraph, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Senders and receivers, block by block, each of at most `BLOCK_SIZE` values in rows of x."""
    size = max(1, BLOCK_SIZE // x.shape[1])
    return zip(*(ends.split(size) for ends in edge_ends(graph, x.device)), strict=True)


def _differences(x: Tensor, senders: Tensor, receivers: Tensor) -> Tensor:
    return x.index_select(0, senders).sub_(x.index_select(0, receivers))


def propagate_differences(graph: dgl.DGLGraph, feat: Tensor, exponent: float) -> Tensor:
    """Σ_j |x_j - x_i|^p over the in-edges j → i of each node, feature by feature; as `feat`, (num_nodes, width).

    Squares are not multiplied out: near oversmoothing, where they matter, nothing would be left of them.

    Args:
        graph: Homogeneous graph.
        feat: x.
        exponent: p, at least 1.

    Raises:
        GraphError: `feat` has another number of rows.
    """
    _check_rows(graph, feat)
    result: Tensor = _DifferencePowers.apply(graph, feat, exponent)
    return result


def widened(values: Tensor) -> Tensor:
    """Half floats as floats, others as they are: for what overflows, or loses its sums' small terms, in half floats."""
    return values.float() if values.dtype.itemsize < 4 else values


def _segment_reduce(values: Tensor, reducer: str, offsets: Tensor) -> Tensor:
    return torch.segment_reduce(widened(values), reducer, offsets=offsets).to(values.dtype)


class _EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, offsets: Tensor, receivers: Tensor, scores: Tensor) -> Tensor:
        largest = _segment_reduce(scores, "max", offsets)
        exponentials = torch.exp(scores - largest[receivers])
        totals = _segment_reduce(exponentials, "sum", offsets)
        result = exponentials.div_(totals[receivers])
        ctx.save_for_backward(offsets, receivers, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor]:
        offsets, receivers, result = ctx.saved_tensors
        weighted = result * grads[0]
        totals = _segment_reduce(weighted, "sum", offsets)
        return None, None, weighted.addcmul_(result, totals[receivers], value=-1)


def edge_softmax(graph: dgl.DGLGraph, scores: Tensor) -> Tensor:
    """Softmax over the in-edges of each node, head by head, of values of edges, (num_edges · heads,)."""
    heads = _heads(graph, scores)
    offsets, receivers = _in_links(graph, heads, scores.device).offsets, _receivers(graph, heads, scores.device)
    return _EdgeSoftmax.apply(offsets, receivers, scores)


class _EdgeDot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: dgl.DGLGraph, src: Tensor, dst: Tensor, heads: int) -> Tensor:
        ctx.graph, ctx.heads = graph, heads
        ctx.save_for_backward(src, dst)
        return _dots(_in_links(graph, heads, src.device), dst, src)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (grad,) = grads
        src, dst = ctx.saved_tensors
        place = ctx.graph, ctx.heads, grad.device
        return None, _sums(_out_links(*place), dst, grad[_out_order(*place)]), _sums(_in_links(*place), src, grad), None


def edge_dot(graph: dgl.DGLGraph, src: Tensor, dst: Tensor) -> Tensor:
    """Inner product of both ends' vectors, two (num_nodes, heads, width), as values of edges, (num_edges · heads,)."""
    return _EdgeDot.apply(graph, src.flatten(0, 1), dst.flatten(0, 1), src.shape[1])


class _EdgeAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: dgl.DGLGraph, src: Tensor, dst: Tensor, heads: int) -> Tensor:
        ctx.graph, ctx.heads = graph, heads
        return src[_in_links(graph, heads, src.device).ends].add_(dst[_receivers(graph, heads, src.device)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (grad,) = grads
        place = ctx.graph, ctx.heads, grad.device
        grad_src = _segment_reduce(grad[_out_order(*place)], "sum", _out_links(*place).offsets)
        return None, grad_src, _segment_reduce(grad, "sum", _in_links(*place).offsets), None


def edge_add(graph: dgl.DGLGraph, src: Tensor, dst: Tensor) -> Tensor:
    """Sum of both ends' values, two (num_nodes, heads), as values of edges, (num_edges · heads,)."""
    return _EdgeAdd.apply(graph, src.flatten(), dst.flatten(), src.shape[1])


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


def per_receiver(graph: dgl.DGLGraph, compute: Callable[[dgl.DGLGraph, slice], Tensor]) -> Tensor:
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


def _receiver_blocks(graph: dgl.DGLGraph, block_size: int) -> Iterator[tuple[dgl.DGLGraph, slice]]:
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


def readout(graph: dgl.DGLGraph, feat: Tensor, reducer: str) -> Tensor:
    """Sum, mean or max of each graph's nodes: (num_nodes, width) to (num_graphs, width)."""
    sizes = batch_sizes(graph, feat.device)
    wide = widened(feat)
    if feat.device.type == "cpu":
        return dgl.ops.segment_reduce(sizes, wide, reducer).to(feat.dtype)  # PyTorch's bits, up to twelve times as fast
    return torch.segment_reduce(wide, reducer, lengths=sizes).to(feat.dtype)  # DGL of the package index knows no GPU


def lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """start + weight · (end - start): torch's, which under autocast does not take the precisions that come together."""
    dtype = torch.promote_types(start.dtype, end.dtype)
    return torch.lerp(start.to(dtype), end.to(dtype), weight.to(dtype) if isinstance(weight, Tensor) else weight)
