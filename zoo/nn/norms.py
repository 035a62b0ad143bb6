"""Normalisations: of clusters and rows for CNA, and those that any backbone takes by name (`Norms`).

The latter are called with the states and the graph. Where nodes of one graph are compared, each graph of a batch is
taken apart. arXiv:2502.11394 reads them as propagation over signed edges: states are drawn along A⁺ and pushed apart
along A⁻. Its table 5 gives the pair for each; Â is the normalised adjacency, n the number of nodes, X the states, and
normalising divisions are left out there.
"""

import math
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo import ops
from zoo._cache import per_graph
from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.errors import ConfigError

__all__ = ["NORMS", "BatchNorm", "ClusterNorm", "ContraNorm", "LayerNorm", "Norms", "PairNorm", "RowNorm"]

EPSILON = 1e-5
PAIRNORM_EPSILON = 1e-6
PAIRNORM_MODES = ("PN", "PN-SI", "PN-SCS")
MAX_NORMS = 10
BLOCK_ROWS = 128  # each with a value for every node of its graph; for 20 000 nodes 10 MB


class ClusterNorm(nn.Module):
    """Standardises each feature over the nodes of each cluster, all clusters at once.

    y_v = (x_v - mean_c) / √(var_c + ε), with the biased variance; a node alone in its cluster becomes 0.

    Args:
        num_clusters: K.
        width: Number of features.
        running: In evaluation, take the averages of the statistics seen in training (as batch normalisation does)
            instead of those of the nodes at hand: a graph's answer then does not depend on its batch.

    Shapes:
        input x (num_nodes, width) and clusters (num_nodes,) int64; output as x.
    """

    means: Tensor
    variances: Tensor
    updates: Tensor

    def __init__(self, num_clusters: int, width: int, *, running: bool = False) -> None:
        super().__init__()
        self.num_clusters, self.running = num_clusters, running
        if running:
            self.register_buffer("means", torch.zeros(num_clusters, width))
            self.register_buffer("variances", torch.ones(num_clusters, width))
            self.register_buffer("updates", torch.zeros(num_clusters, 1))

    def forward(self, x: Tensor, clusters: Tensor) -> Tensor:
        """See the class."""
        return self._standardised(ops.widened(x), clusters).to(x.dtype)

    def _standardised(self, x: Tensor, clusters: Tensor) -> Tensor:
        if self.running and not self.training:
            scale = (self.variances + EPSILON).rsqrt()
            return (x - self.means.index_select(0, clusters)) * scale.index_select(0, clusters)
        counts = torch.bincount(clusters, minlength=self.num_clusters).unsqueeze(1)
        means = _means(x, clusters, counts)
        centred = x - means.index_select(0, clusters)
        variances = _means(centred * centred, clusters, counts)
        if self.running:
            self._update(means.detach(), variances.detach(), counts > 0)
        return centred * (variances + EPSILON).rsqrt().index_select(0, clusters)

    def forget(self) -> None:
        """Lets each cluster's averages begin anew with its next batch: after a refit the clusters are others."""
        if self.running:
            self.updates.zero_()

    def _update(self, means: Tensor, variances: Tensor, present: Tensor) -> None:
        """A plain average over the first ten batches, then an exponential one."""
        weight = present / (self.updates + 1).clamp(max=10)
        self.means.lerp_(means.to(self.means.dtype), weight)
        self.variances.lerp_(variances.to(self.variances.dtype), weight)
        self.updates += present

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.num_clusters}, running={self.running}"


def _means(x: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
    """Of each cluster's rows, (num_clusters, width); 0 for an empty one."""
    return x.new_zeros(len(counts), x.shape[1]).index_add(0, clusters, x) / counts.clamp(min=1)


class RowNorm(nn.Module):
    """Standardises each node's row over its features, with the unbiased variance (the CNA authors' code).

    Shapes:
        input x (num_nodes, width), and clusters, which play no part; output as x.
    """

    def forward(self, x: Tensor, clusters: Tensor) -> Tensor:
        """See the class."""
        width = x.shape[1]
        # layer_norm divides by the biased variance plus its ε; the unbiased one is width / (width - 1) times as large.
        ratio = max(1, width - 1) / width
        scale = x.new_full((width,), ratio**0.5)
        return nn.functional.layer_norm(x, (width,), scale, eps=EPSILON * ratio)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of rows (Ioffe & Szegedy 2015, arXiv:1502.03167) that takes a single row as in evaluation.

    Rows are standardised over all nodes of a batch in training, with running averages in evaluation. As signed
    propagation: A⁺ = Â, A⁻ = (11ᵀ/n) Â.

    Shapes:
        input x (num_nodes, width), and the graph, which plays no part; output as x.
    """

    def forward(self, x: Tensor, graph: dgl.DGLGraph | None = None) -> Tensor:
        """See the class."""
        if self.training and len(x) == 1:
            averages = self.running_mean, self.running_var
            return nn.functional.batch_norm(x, *averages, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation of each row (Ba et al. 2016, arXiv:1607.06450): torch's, with a learnt weight and bias.

    ContraNorm's authors have a row normalisation "LN", too: centred rows of length 1, which is this one with a weight
    of 1/√width and no ε. Their experiments use torch's, one for all layers where here each layer has its own.

    Shapes:
        input x (num_nodes, width), and the graph, which plays no part; output as x.
    """

    def forward(self, x: Tensor, graph: dgl.DGLGraph | None = None) -> Tensor:
        """See the class."""
        return super().forward(x)


class PairNorm(nn.Module):
    """PairNorm (Zhao & Akoglu 2020, arXiv:1909.12223): holds the mean squared distance of all pairs of nodes.

    With x̄ the mean row of x_v's graph:

    - `"PN"`: y_v = s (x_v - x̄) / √(ε + mean over u of |x_u - x̄|²) (eqs. 10 and 11);
    - `"PN-SI"`: y_v = s (x_v - x̄) / √(ε + |x_v - x̄|²), each row for itself;
    - `"PN-SCS"`: y_v = s x_v / √(ε + |x_v|²) - x̄, of the authors' code and not in the paper.

    ε = 1e-6 is the code's. As signed propagation: A⁺ = Â, A⁻ = (11ᵀ/n) Â.

    Args:
        scale: s, above 0. Default: 1.
        mode: See above. Default: `"PN"`.

    Shapes:
        input x (num_nodes, width) and the graph; output as x.
    """

    def __init__(self, scale: float = 1.0, *, mode: str = "PN") -> None:
        super().__init__()
        check_choice("mode", mode, PAIRNORM_MODES)
        if not 0 < scale < math.inf:
            raise ConfigError(f"PairNorm's scale must be above 0 and finite, got {scale}")
        self.scale, self.mode = scale, mode

    def forward(self, x: Tensor, graph: dgl.DGLGraph) -> Tensor:
        """See the class."""
        return self._normalised(ops.widened(x), graph).to(x.dtype)

    def _normalised(self, x: Tensor, graph: dgl.DGLGraph) -> Tensor:
        means = _graph_means(x, graph)
        if self.mode == "PN-SCS":
            return self.scale * x * _inverse_norms(_squares(x)) - means
        centred = x - means
        squares = _squares(centred)
        if self.mode == "PN":
            squares = _graph_means(squares, graph)
        return self.scale * centred * _inverse_norms(squares)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.scale}, mode={self.mode}"


def _graph_means(x: Tensor, graph: dgl.DGLGraph) -> Tensor:
    """For every node the mean row of its graph, (num_nodes, width)."""
    return ops.readout(graph, x, "mean").repeat_interleave(ops.batch_sizes(graph, x.device), dim=0)


def _squares(x: Tensor) -> Tensor:
    """Squared length of each row, (num_nodes, 1)."""
    return torch.linalg.vecdot(x, x).unsqueeze(1)


def _inverse_norms(squares: Tensor) -> Tensor:
    return (squares + PAIRNORM_EPSILON).rsqrt()


class ContraNorm(nn.Module):
    """ContraNorm (Guo et al. 2023, arXiv:2303.06562): pushes each node from the nodes that it is like.

    y_v = (1 + s) x_v - s Σ_u softmax_u(cos(x_v, x_u)) x_u, as in the authors' code for graphs, where u runs over the
    nodes of v's graph, or with `mask_edges` over those that v has no edge from. Of self-loops in the graph, v itself
    is then none of them. A node that is left without any stays as it is; the code has NaN there.

    All pairs are computed, in blocks of rows: time grows with the square of the number of nodes, memory does not.

    As signed propagation: A⁺ = Â, A⁻ = (X Xᵀ) Â.

    Args:
        scale: s, at least 0. Default: 1.
        mask_edges: Leave out the pairs that are edges, which the propagation before has just drawn together: the
            code's choice.

    Shapes:
        input x (num_nodes, width) and the graph; output as x.
    """

    def __init__(self, scale: float = 1.0, *, mask_edges: bool) -> None:
        super().__init__()
        if not 0 <= scale < math.inf:
            raise ConfigError(f"ContraNorm's scale must be at least 0 and finite, got {scale}")
        self.scale, self.mask_edges = scale, mask_edges

    def forward(self, x: Tensor, graph: dgl.DGLGraph) -> Tensor:
        """See the class."""
        similar: Tensor = _SimilarRows.apply(_unit_rows(x), x, _pairs(graph, x.device, self.mask_edges))
        return (1 + self.scale) * x - self.scale * similar

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.scale}, mask_edges={self.mask_edges}"


def _unit_rows(x: Tensor) -> Tensor:
    """Rows divided by their lengths; a row of zeros stays, with a gradient that does not explode."""
    lengths = x.norm(dim=1, keepdim=True)
    return x / torch.where(lengths > 0, lengths, 1)


def _pairs(graph: dgl.DGLGraph, device: torch.device, mask_edges: bool) -> "_Pairs":
    """Those of a graph, or of the graphs of a batch."""
    sizes = ops.batch_sizes(graph, graph.device)
    key = ("pairs", device, mask_edges, tuple(sizes.tolist()))
    return per_graph(graph, key, lambda: _Pairs(graph, sizes, device, mask_edges=mask_edges))


class _Pairs:
    """Which pairs of nodes are compared: those of the same graph, on request without edges.

    A node that would be left without any pair is compared with itself.
    """

    def __init__(self, graph: dgl.DGLGraph, sizes: Tensor, device: torch.device, *, mask_edges: bool) -> None:
        self.num_nodes, self.ends = graph.num_nodes(), sizes.cumsum(0).tolist()
        self.owners = torch.repeat_interleave(sizes).to(device)
        self.masked = _masked_pairs(graph, sizes) if mask_edges else torch.empty(2, 0, dtype=torch.int64)
        self.masked = self.masked.to(device)

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Slices of nodes, each with the slice of the nodes in all their graphs."""
        for start in range(0, self.num_nodes, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, self.num_nodes)
            first, last = bisect(self.ends, start), bisect(self.ends, stop - 1)
            yield slice(start, stop), slice(self.ends[first - 1] if first else 0, self.ends[last])

    def mask(self, weights: Tensor, rows: slice, columns: slice) -> Tensor:
        """A block of weights, with 0 written in for the pairs that are not compared."""
        if len(self.ends) > 1:
            weights *= self.owners[rows].unsqueeze(1) == self.owners[columns]
        first, end = torch.searchsorted(self.masked[0], self.masked.new_tensor([rows.start, rows.stop])).tolist()
        receivers, senders = self.masked[:, first:end]
        weights[receivers - rows.start, senders - columns.start] = 0
        return weights


def _masked_pairs(graph: dgl.DGLGraph, sizes: Tensor) -> Tensor:
    """Receivers, sorted, over senders of the edges, without self-loops of nodes that all nodes of their graph reach."""
    num_nodes = graph.num_nodes()
    senders, receivers = (ends.long() for ends in ops.with_coo(graph).edges())
    pairs = torch.unique(receivers * num_nodes + senders)
    receivers, senders = pairs // num_nodes, pairs % num_nodes
    complete = torch.bincount(receivers, minlength=num_nodes) == sizes.repeat_interleave(sizes)
    return torch.stack([receivers, senders])[:, ~(complete[receivers] & (receivers == senders))]


class _SimilarRows(torch.autograd.Function):
    """W X over the row sums of W = exp(U Uᵀ), whose blocks are computed once more in the backward pass.

    No score is larger than 1, so that none has to be subtracted before the exponential.
    """

    @staticmethod
    def forward(ctx: Any, unit: Tensor, x: Tensor, pairs: _Pairs) -> Tensor:
        result, totals = torch.empty_like(x), x.new_empty(len(x), 1)
        with_ones = nn.functional.pad(x, (0, 1), value=1)
        for rows, columns in pairs.blocks():
            sums = _weights(unit, pairs, rows, columns) @ with_ones[columns]
            totals[rows] = sums[:, -1:]
            result[rows] = sums[:, :-1] / sums[:, -1:]
        ctx.save_for_backward(unit, x, result, totals)
        ctx.pairs = pairs
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, x, result, totals = ctx.saved_tensors
        grad_unit, grad_x = torch.zeros_like(unit), torch.zeros_like(x)
        grad = grads[0] / totals
        offset = torch.linalg.vecdot(grad, result).unsqueeze(1)
        for rows, columns in ctx.pairs.blocks():
            weights = _weights(unit, ctx.pairs, rows, columns)
            grad_x[columns].addmm_(weights.t(), grad[rows])
            grad_scores = torch.addmm(offset[rows], grad[rows], x[columns].t(), beta=-1).mul_(weights)
            grad_unit[rows].addmm_(grad_scores, unit[columns])
            grad_unit[columns].addmm_(grad_scores.t(), unit[rows])
        return grad_unit, grad_x, None


def _weights(unit: Tensor, pairs: _Pairs, rows: slice, columns: slice) -> Tensor:
    """A block of W."""
    return pairs.mask((unit[rows] @ unit[columns].t()).exp_(), rows, columns)


NORMS: dict[str, Callable[[int, float], nn.Module]] = {
    "batchnorm": lambda width, scale: BatchNorm(width),
    "layernorm": lambda width, scale: LayerNorm(width),
    "pairnorm": lambda width, scale: PairNorm(scale),
    "pairnorm-si": lambda width, scale: PairNorm(scale, mode="PN-SI"),
    "pairnorm-scs": lambda width, scale: PairNorm(scale, mode="PN-SCS"),
    "contranorm": lambda width, scale: ContraNorm(scale, mask_edges=False),
    "contranorm-mask-edges": lambda width, scale: ContraNorm(scale, mask_edges=True),
}


class Norms(nn.ModuleList):
    """Normalisations by their names in `NORMS`, one after the other; without any, nothing is done.

    Args:
        names: Of the normalisations, first one first.
        width: Number of features.
        scale: s of every PairNorm and ContraNorm. Default: 1.

    Shapes:
        input x (num_nodes, width) and the graph; output as x.
    """

    def __init__(self, names: Iterable[str], width: int, *, scale: float = 1.0) -> None:
        super().__init__()
        names = list(names)
        if len(names) > MAX_NORMS:  # before a stranger's config has a million of them built
            raise ConfigError(f"{len(names)} normalisations one after the other: at most {MAX_NORMS}")
        for name in names:
            check_choice("normalisation", name, NORMS)
            self.append(NORMS[name](width, scale))

    def forward(self, x: Tensor, graph: dgl.DGLGraph) -> Tensor:
        """See the class."""
        for norm in self:
            x = norm(x, graph)
        return x
