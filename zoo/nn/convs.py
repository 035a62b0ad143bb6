"""Graph convolutions that several methods share.

A convolution takes the graph as it is: self-loops are a transform of the data (`add_self_loop`), not a step hidden in
here. Every one multiplies by its weights before it passes messages, which is the same product by associativity and
lets sparse input features go through the first matrix as CSR. Parameters start as in PyTorch Geometric, with which the
papers' numbers were made.

Shapes of all: graph with N nodes, input (N, in_feats), a Tensor or `SparseFeatures`; output (N, out_feats).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = [
    "CONVS",
    "ChebConv",
    "DirGCNConv",
    "DirSAGEConv",
    "GATConv",
    "GCNConv",
    "GINConv",
    "LinearConv",
    "SAGEConv",
    "TransformerConv",
    "make_conv",
    "propagation",
]


def propagation(adjacency: str) -> Callable[[dgl.DGLGraph, Tensor], Tensor]:
    """What takes X to D⁻¹ A X, for `"row"`, or D^(-1/2) A D^(-1/2) X, for `"symmetric"`; both (num_nodes, width).

    Raises:
        ConfigError: It is neither.
    """
    check_choice("adjacency", adjacency, ("row", "symmetric"))
    return ops.propagate_mean if adjacency == "row" else ops.propagate_gcn


class LinearConv(nn.Module):
    """Y = X W + b: no messages, a multilayer perceptron's layer."""

    def __init__(self, in_feats: int, out_feats: int) -> None:
        super().__init__()
        self.linear = Linear(in_feats, out_feats)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        return self.linear(feat)


class GCNConv(nn.Module):
    """Y = D^(-1/2) A D^(-1/2) X W + b (Kipf & Welling 2017, eq. 2; the paper's Ã and D̃ have self-loops).

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        adjacency: `"symmetric"`, as above, or `"row"`: D⁻¹ A instead, the mean over in-neighbours.
    """

    def __init__(self, in_feats: int, out_feats: int, *, adjacency: str = "symmetric") -> None:
        super().__init__()
        propagation(adjacency)  # an unknown one is told here
        self.adjacency = adjacency
        self.linear = Linear(in_feats, out_feats, bias=False, init="glorot")
        self.bias = nn.Parameter(torch.zeros(out_feats))

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        return propagation(self.adjacency)(graph, self.linear(feat)).add_(self.bias)


class SAGEConv(nn.Module):
    """Y = mean(X over in-neighbours) W_neighbours + X W_root + b (Hamilton et al. 2017, algorithm 1, mean)."""

    def __init__(self, in_feats: int, out_feats: int) -> None:
        super().__init__()
        self.neighbours = Linear(in_feats, out_feats, bias=False)
        self.root = Linear(in_feats, out_feats)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        return ops.propagate_mean(graph, self.neighbours(feat)) + self.root(feat)


class GATConv(nn.Module):
    """Graph attention (Veličković et al. 2018, eqs. 1 to 6; the paper's neighbourhoods have self-loops).

    On edge j → i: α_ij = softmax_j LeakyReLU(a_dst · W x_i + a_src · W x_j); y_i = Σ_j α_ij W x_j + b.

    Args:
        in_feats: Width of the input.
        out_feats: Width of one head's output.
        heads: Number of heads. Default: 1.
        merge: `"concat"` (output (N, heads · out_feats), eq. 5) or `"mean"` (output (N, out_feats), eq. 6).
        negative_slope: Of the LeakyReLU. Default: 0.2.
        attention_dropout: Dropout on α. Default: 0.
        value_dropout: Dropout on the W x_j that are summed, not on those that give the scores. Default: 0.
    """

    def __init__(
        self,
        in_feats: int,
        out_feats: int,
        *,
        heads: int = 1,
        merge: str = "concat",
        negative_slope: float = 0.2,
        attention_dropout: float = 0.0,
        value_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("merge", merge, ("concat", "mean"))
        self.heads, self.out_feats, self.merge, self.negative_slope = heads, out_feats, merge, negative_slope
        self.linear = Linear(in_feats, heads * out_feats, bias=False, init="glorot")
        self.attention_src = nn.Parameter(torch.empty(heads, out_feats))
        self.attention_dst = nn.Parameter(torch.empty(heads, out_feats))
        self.bias = nn.Parameter(torch.zeros(out_feats if merge == "mean" else heads * out_feats))
        self.attention_dropout = Dropout(attention_dropout)
        self.value_dropout = Dropout(value_dropout)
        nn.init.xavier_uniform_(self.attention_src)
        nn.init.xavier_uniform_(self.attention_dst)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        values, src, dst = self.project(feat)

        def gather(graph: dgl.DGLGraph, receivers: slice) -> Tensor:
            attention = self.attention_dropout(ops.edge_softmax(graph, self.scores(graph, src, dst[receivers])))
            return ops.propagate(graph, self.value_dropout(values), attention)

        return self.combine(ops.per_receiver(graph, gather))

    def project(self, feat: Features) -> tuple[Tensor, Tensor, Tensor]:
        """W x, (N, heads, out_feats), and its products with a_src and a_dst, (N, heads)."""
        values = self.linear(feat).view(-1, self.heads, self.out_feats)
        return values, (values * self.attention_src).sum(-1), (values * self.attention_dst).sum(-1)

    def scores(self, graph: dgl.DGLGraph, src: Tensor, dst: Tensor) -> Tensor:
        """What the softmax takes in, as values of edges."""
        return nn.functional.leaky_relu(ops.edge_add(graph, src, dst), self.negative_slope)

    def combine(self, sums: Tensor) -> Tensor:
        """Σ_j α_ij W x_j of every head, (N, heads, out_feats), to the output."""
        return (sums.mean(1) if self.merge == "mean" else sums.flatten(1)) + self.bias


class TransformerConv(nn.Module):
    """Dot-product attention over in-neighbours (Shi et al. 2021, UniMP, eqs. 3 to 5, one head, no edge features).

    On edge j → i: α_ij = softmax_j (q_i · k_j / √out_feats); y_i = W_root x_i + b + Σ_j α_ij v_j.
    """

    def __init__(self, in_feats: int, out_feats: int) -> None:
        super().__init__()
        self.query = Linear(in_feats, out_feats)
        self.key = Linear(in_feats, out_feats)
        self.value = Linear(in_feats, out_feats)
        self.root = Linear(in_feats, out_feats)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        return self._attend(graph, feat) + self.root(feat)

    def _attend(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """Σ_j α_ij v_j, (N, out_feats)."""
        query, key, value = (layer(feat).unsqueeze(1) for layer in (self.query, self.key, self.value))

        def gather(graph: dgl.DGLGraph, receivers: slice) -> Tensor:
            scores = ops.edge_dot(graph, key, query[receivers] * query.shape[-1] ** -0.5)
            return ops.propagate(graph, value, ops.edge_softmax(graph, scores))

        return ops.per_receiver(graph, gather).squeeze(1)


class ChebConv(nn.Module):
    """Y = Σ_{k<K} T_k(L̂) X W_k + b, L̂ = -D^(-1/2) A D^(-1/2) (Defferrard et al. 2016, with λ_max = 2).

    The sum is evaluated by Clenshaw's recurrence on Z_k = X W_k, from the highest degree down.

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        num_terms: K. Default: 3.
    """

    def __init__(self, in_feats: int, out_feats: int, *, num_terms: int = 3) -> None:
        super().__init__()
        self.terms = nn.ModuleList(
            Linear(in_feats, out_feats, bias=False, init="glorot") for _ in range(num_terms)
        )
        self.bias = nn.Parameter(torch.zeros(out_feats))

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        terms = [term(feat) for term in self.terms]
        if len(terms) == 1:
            return terms[0] + self.bias
        after, after_next = terms.pop(), 0
        while len(terms) > 1:
            after, after_next = terms.pop() - 2 * ops.propagate_gcn(graph, after) - after_next, after
        return terms.pop() - ops.propagate_gcn(graph, after) - after_next + self.bias


class DirGCNConv(nn.Module):
    """Y = α S X W_out + (1 - α) Sᵀ X W_in + b, S = D_out^(-1/2) A D_in^(-1/2) (Rossi et al. 2023, Dir-GNN, eq. 6).

    S X gathers from the nodes that a node points at, Sᵀ X from those that point at it. A direction whose factor is 0 is
    neither computed nor has it parameters.

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        alpha: α. Default: 1, which the CNA authors use: one direction only.
    """

    def __init__(self, in_feats: int, out_feats: int, *, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.outwards = Linear(in_feats, out_feats, bias=False) if alpha != 0 else None
        self.inwards = Linear(in_feats, out_feats, bias=False) if alpha != 1 else None
        bias = torch.empty(out_feats).uniform_(-1, 1)
        # A division on the meta device, where loading first builds a model, would import PyTorch's compiler.
        self.bias = nn.Parameter(bias if bias.is_meta else bias / math.sqrt(in_feats))

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        output: Tensor = self.bias
        if self.outwards is not None:
            output = output + self.alpha * _propagate_scaled(ops.reverse(graph), self.outwards(feat))
        if self.inwards is not None:
            output = output + (1 - self.alpha) * _propagate_scaled(graph, self.inwards(feat))
        return output


def _propagate_scaled(graph: dgl.DGLGraph, feat: Tensor) -> Tensor:
    """Sum over in-neighbours, each divided by √(its out-degree · the receiver's in-degree)."""
    return ops.propagate(graph, feat * ops.degree_scale(ops.reverse(graph), feat)) * ops.degree_scale(graph, feat)


class DirSAGEConv(nn.Module):
    """Y = X W_root + b + α mean(X over out-neighbours) W_out + (1 - α) mean(X over in-neighbours) W_in (Dir-GNN).

    Args:
        in_feats: Width of the input.
        out_feats: Width of the output.
        alpha: α. Default: 0.5.
    """

    def __init__(self, in_feats: int, out_feats: int, *, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = alpha
        self.outwards = Linear(in_feats, out_feats, bias=False)
        self.inwards = Linear(in_feats, out_feats, bias=False)
        self.root = Linear(in_feats, out_feats)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        outwards = ops.propagate_mean(ops.reverse(graph), self.outwards(feat))
        inwards = ops.propagate_mean(graph, self.inwards(feat))
        return self.root(feat) + self.alpha * outwards + (1 - self.alpha) * inwards


class GINConv(nn.Module):
    """Y = MLP((1 + ε) X + sum of X over in-neighbours), ε learnt, MLP of two layers (Xu et al. 2019, eq. 4.1)."""

    def __init__(self, in_feats: int, out_feats: int) -> None:
        super().__init__()
        self.epsilon = nn.Parameter(torch.zeros(()))
        self.first = Linear(in_feats, out_feats, bias=False)
        self.first_bias = nn.Parameter(torch.zeros(out_feats))
        self.second = Linear(out_feats, out_feats)

    def forward(self, graph: dgl.DGLGraph, feat: Features) -> Tensor:
        """See the module."""
        inner = self.first(feat)
        inner = (1 + self.epsilon) * inner + ops.propagate(graph, inner) + self.first_bias
        return self.second(nn.functional.relu(inner))


CONVS: dict[str, Callable[[int, int], nn.Module]] = {
    "gcn": GCNConv,
    "gat": GATConv,
    "sage": SAGEConv,
    "transformer": TransformerConv,
    "cheb": ChebConv,
    "dir-gcn": DirGCNConv,
    "dir-sage": DirSAGEConv,
    "gin": GINConv,
    "linear": LinearConv,
}


def make_conv(name: str, in_feats: int, out_feats: int) -> nn.Module:
    """The convolution of that name, with its default options."""
    check_choice("convolution", name, CONVS)
    return CONVS[name](in_feats, out_feats)
