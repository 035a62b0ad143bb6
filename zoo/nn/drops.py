"""What training leaves out at random of a graph's edges or messages, for any backbone; in evaluation nothing is.

Random numbers come from torch's generator. arXiv:2502.11394 reads what is left out as propagation over negative edges.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo import ops
from zoo._dgl import dgl
from zoo.errors import ConfigError, GraphError

__all__ = ["DropEdge", "DropMessage"]

BLOCK_SIZE = 1 << 22  # elements of the message matrix; 16 MB in float32


class DropEdge(nn.Module):
    """DropEdge (Rong et al. 2020, arXiv:1907.10903): each pass of training sees a graph with fewer edges.

    Of E edges ⌊p E⌋ are left out, drawn anew in every call. All layers of a pass are given the same graph, as in the
    paper (but for its layer-wise variant), and what they take from its degrees counts the kept edges only: the paper
    normalises after the removal. Self-loops are not among the E edges and stay, as in the authors' code, which adds
    them after the removal. An edge and its reverse are drawn independently, there as here.

    As signed propagation: A⁺ = Â, A⁻ = Â_m, the normalised adjacency of the dropped edges.

    Args:
        rate: p, at least 0 and below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        _check_rate("DropEdge", rate)
        self.rate = rate

    def forward(self, graph: dgl.DGLGraph) -> dgl.DGLGraph:
        """In training a graph with the same nodes and node data and some of the edges, in evaluation the same graph."""
        if not self.training or self.rate == 0:
            return graph
        if not graph.is_homogeneous:
            raise GraphError("the graph has several node or edge types; the zoo's models take homogeneous graphs")
        graph = ops.with_coo(graph)
        senders, receivers = graph.edges()
        kept = senders == receivers
        others = (~kept).nonzero().squeeze(1)
        order = torch.randperm(len(others)).to(others.device)
        kept[others[order[int(self.rate * len(others)) :]]] = True
        return _with_edges(graph, kept)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return str(self.rate)


def _with_edges(graph: dgl.DGLGraph, kept: Tensor) -> dgl.DGLGraph:
    """The graph with the edges for which `kept` is True, in the same batch."""
    new = dgl.edge_subgraph(graph, kept, relabel_nodes=False, store_ids=False)
    if graph.batch_size > 1:
        before = nn.functional.pad(kept.cumsum(0), (1, 0))
        ends = graph.batch_num_edges().long().cumsum(0)
        new.set_batch_num_nodes(ops.batch_sizes(graph, graph.device).to(graph.idtype))
        new.set_batch_num_edges(before[ends].diff(prepend=before[:1]).to(graph.idtype))
    return new


class DropMessage(nn.Module):
    """D^(-1/2) A D^(-1/2) X whose messages lose elements in training (Fang et al. 2023, arXiv:2204.10037).

    Each element of each edge's message is 0 with probability p, and else divided by 1 - p, so that the sum is right in
    expectation. Degrees are those of the whole graph.

    The masks are drawn in blocks of edges and, from the same seed, once more in the backward pass: the memory is that
    of a block, not that of the (num_edges, width) message matrix; the time is that of all its elements.

    As signed propagation: H = A H - M_m, with M_m the dropped part of the messages.

    Args:
        rate: p, at least 0 and below 1.

    Shapes:
        graph with N nodes, x (N, width); output as x.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        _check_rate("DropMessage", rate)
        self.rate = rate

    def forward(self, graph: dgl.DGLGraph, x: Tensor) -> Tensor:
        """See the class."""
        if not self.training or self.rate == 0:
            return ops.propagate_gcn(graph, x)
        senders, receivers = (ends.to(x.device).long() for ends in ops.with_coo(graph).edges())
        scale, seed = ops.degree_scale(graph, x), int(torch.randint(1 << 62, ()))
        sums: Tensor = _DroppedSums.apply(scale * x, senders, receivers, self.rate, seed)
        return scale * sums

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return str(self.rate)


class _DroppedSums(torch.autograd.Function):
    """For each node the sum over its in-edges of what is left of the senders' rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, senders: Tensor, receivers: Tensor, rate: float, seed: int) -> Tensor:
        ctx.save_for_backward(senders, receivers)
        ctx.rate, ctx.seed = rate, seed
        return _dropped_sums(x, senders, receivers, rate, seed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        senders, receivers = ctx.saved_tensors
        return _dropped_sums(grads[0], receivers, senders, ctx.rate, ctx.seed), None, None, None, None


def _dropped_sums(x: Tensor, senders: Tensor, receivers: Tensor, rate: float, seed: int) -> Tensor:
    generator = torch.Generator(x.device).manual_seed(seed)
    size = max(1, BLOCK_SIZE // x.shape[1])
    result = torch.zeros_like(x)
    for sources, targets in zip(senders.split(size), receivers.split(size), strict=True):
        messages = x[sources]
        messages *= torch.empty_like(messages).bernoulli_(1 - rate, generator=generator)
        result.index_add_(0, targets, messages)
    return result.div_(1 - rate)


def _check_rate(name: str, rate: float) -> None:
    if not 0 <= rate < 1:
        raise ConfigError(f"{name}'s rate must be at least 0 and below 1, got {rate}")
