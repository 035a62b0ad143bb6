r"""DYNAMO-GAT: graph attention whose edges are pruned in training (Chakraborty et al., ICML 2025, arXiv:2412.07243).

A graph attention network (`zoo.models.gat`) is read as a dynamical system, with the layer t for its time:

.. math:: h_i(t+1) = \mathrm{ELU}\Bigl(\sum_{j \in N(i)} \alpha_{ij}(t)\, W(t)\, h_j(t)\Bigr)

It contracts to a point where all nodes are alike: oversmoothing. Weakening some of its edges is to keep it away from
there. In training each layer

1. adds noise (eq. 4): h_i ← h_i + σ ξ_i, ξ_i ~ N(0, I);
2. takes the covariance of every edge's two ends, C_ij = Cov(h_i, h_j);
3. and a threshold, τ(t) = mean |w| + β std |w| over the weights w_ij of its edges;
4. and a rate, r(t) = r₀ (1 + γ t), with t = 0 for the first layer;
5. gives every edge a pruning probability, p_ij = r(t) |α_ij| / τ(t) · (C_ii + C_jj ∓ 2 C_ij);
6. weakens it (eq. 5): w_ij ← w_ij (1 - p_ij), and removes it once w_ij < ε;
7. recalibrates what is left: α_ij ← α_ij / Σ_k α_ik over the edges that survive.

In evaluation there is no noise and nothing is pruned: the network takes the edges and weights that training has left.

No code was published, and the paper leaves much open. What is done about each gap, and the option that decides it:

| what the paper leaves open | here | option |
| --- | --- | --- |
| w or α | w is a factor on α, 1 at first, which outlives the pass: one for each layer and edge, for all heads | – |
| α of several heads | their mean | – |
| the weights that τ is of | the α in use, w among their factors; or the w | `threshold_of` |
| what E in Cov runs over | the features of a node; also of rows less the mean row, or scaled | `covariance` |
| - or + in ∓ | -, so that unlike ends part, as in table 5; section 3.2 says like ends, which is + | `sign` |
| p above 1 | is 1 | – |
| when edges are pruned | in every so many-th pass, before the layer passes its messages | `prune_every` |
| "cumulative across layers" | an edge is at most as strong in a layer as in the one before | `cumulative` |
| self-loops | stay, as - would have it: C_ii + C_ii - 2 C_ii is 0; they are not counted in τ | – |
| r₀, γ, ε | no values are given; σ and β are table 6's best for Cora | `rate`, `rate_growth`, `epsilon` |
| equal widths of all h(t) | h(0) is a linear layer with ELU of the features, the logits one of the last state | – |
| how deep ones can be trained | (1 - ρ) h(t+1) + ρ h(0) for h(t+1), after GCNII; not for ρ = 0 | `initial_residual` |
| the scale of h, and so of σ | h(0) has mean 0 and variance 1 at each node; or is left as it is | `normalize_first` |
| one-shot pruning | an edge is removed at once with probability p_ij: w falls as fast on average | `gradual` |

E over draws of the noise cannot be meant for a layer's own: that covariance is σ² for i = j and 0 else. The defaults
that the paper does not give are those of which no other value that was tried is better by a point of validation
accuracy on Cora (docs/methods/dynamo-gat.md). The paper's five ablations are `noise=0`; `covariance="none"`, for which
the bracket in p is 1; `fixed_threshold`; `gradual=False`; and `recalibrate=False`, where the weights are w_ij α_ij and
α_ij a share of all edges, removed ones too.

A removed edge is left out of its layer's graph: neither scores nor messages are computed along it. (Without
recalibration both are, for the others' shares need its score; its message is times 0.) A node that loses all others
keeps its self-loop, which is a transform of the recipe. C is taken along edges, O(edges · width), never as a matrix.

Weights are of the edges of one graph, and known again by the edges' ends, whatever their order. On any other graph, and
on the same with its nodes numbered anew, the model is what it is without pruning; training there starts all weights
anew. With a readout, where every batch is another graph, nothing is pruned.

A weight is kept in 255 steps, a byte for each layer and edge: for 128 layers on Cora 1.7 MB, where floats would be four
times as large. It is rounded at random, so that a small p counts on average.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._cache import latest, per_graph
from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.errors import CheckpointError, ConfigError, GraphError
from zoo.model import ZooModel, eval_mode
from zoo.models import register
from zoo.nn.convs import GATConv, LinearConv
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = ["DynamoGAT", "PrunedEdges"]

COVARIANCES = ("features", "nodes", "correlation", "none")
SIGNS = ("-", "+")
THRESHOLDS = ("attention", "weights")
FULL = 255  # the level of an edge that has lost nothing; 0 is that of a removed one


@dataclass(frozen=True)
class Rule:
    """The options of `DynamoGAT` that say which edges are weakened, and how much."""

    rate: float
    rate_growth: float
    beta: float
    epsilon: float
    covariance: str
    sign: str
    threshold_of: str
    fixed_threshold: float | None
    gradual: bool

    def __post_init__(self) -> None:
        check_choice("covariance", self.covariance, COVARIANCES)
        check_choice("sign", self.sign, SIGNS)
        check_choice("threshold_of", self.threshold_of, THRESHOLDS)
        for name in ("rate", "rate_growth", "beta"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.epsilon < 1:
            raise ConfigError(f"epsilon must be at least 0 and below 1, got {self.epsilon}")
        if self.fixed_threshold is not None and not 0 < self.fixed_threshold < math.inf:
            raise ConfigError(f"fixed_threshold must be above 0 and finite, got {self.fixed_threshold}")

    def probabilities(
        self, graph: dgl.DGLGraph, state: Tensor, attention: Tensor, weight: Tensor, depth: int
    ) -> Tensor:
        """p of each edge, (num_edges,): 0 for self-loops and removed edges.

        Args:
            graph: The layer's.
            state: h, (num_nodes, width).
            attention: The α in use, (num_edges,).
            weight: w, (num_edges,).
            depth: t.
        """
        senders, receivers = ops.edge_ends(graph, state.device)
        prunable = (senders != receivers) & (weight > 0)
        rate = float(self.rate) * (1 + float(self.rate_growth) * depth)
        threshold = self.threshold((attention if self.threshold_of == "attention" else weight)[prunable])
        p = rate * attention / threshold * self.spread(graph, state)
        return torch.where(prunable, p, 0).nan_to_num(nan=0.0).clamp(0, 1)  # NaN is of a diverging training

    def threshold(self, weights: Tensor) -> Tensor | float:
        """τ of the edges that can be pruned; NaN if there are none."""
        if self.fixed_threshold is not None:
            return float(self.fixed_threshold)
        mean = weights.mean()
        return mean + float(self.beta) * (weights - mean).square().mean().sqrt()

    def spread(self, graph: dgl.DGLGraph, state: Tensor) -> Tensor | float:
        """C_ii + C_jj ∓ 2 C_ij of each edge, (num_edges,)."""
        if self.covariance == "none":
            return 1.0
        rows = state - state.mean(0) if self.covariance == "nodes" else state - state.mean(1, keepdim=True)
        if self.covariance == "correlation":
            rows = nn.functional.normalize(rows, dim=1) * rows.shape[1] ** 0.5
        squares, rows = torch.linalg.vecdot(rows, rows).unsqueeze(1), rows.unsqueeze(1)
        products = 2 * ops.edge_dot(graph, rows, rows)
        ends = ops.edge_add(graph, squares, squares)
        return (ends - products if self.sign == "-" else ends + products) / rows.shape[2]

    def weakened(self, levels: Tensor, p: Tensor) -> Tensor:
        """The levels of edges after they were weakened, or removed, with these p."""
        chances = torch.rand(len(p), dtype=p.dtype).to(p.device)
        if not self.gradual:
            return torch.where(chances < p, 0, levels)
        new = levels - (levels * p + chances).floor()  # not levels * (1 - p) + chances, which can round up to 256
        return torch.where(new < self.epsilon * FULL, 0, new).clamp(min=0).to(levels.dtype)


class Edges(NamedTuple):
    """The edges of a layer, in the order of `zoo.ops`, (num_edges,)."""

    graph: dgl.DGLGraph
    weight: Tensor | None  # w; None: all are 1
    places: Tensor  # where the layer's levels has them


class Levels(nn.Module):
    """The weights w of one layer's edges, in `FULL` steps.

    Its buffer has the edges of the graph that was pruned, sorted by receiver and sender; it is empty before.
    """

    levels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("levels", torch.zeros(0, dtype=torch.uint8))

    def resize(self, num_edges: int) -> None:
        """Makes it one for so many edges that have lost nothing."""
        self.levels = self.levels.new_full((num_edges,), FULL)

    def edges(self, graph: dgl.DGLGraph, like: Tensor, *, with_removed: bool) -> Edges:
        """What is left of a graph's edges, remembered until that changes.

        Args:
            graph: The one that was pruned.
            like: Of the weights' dtype and device.
            with_removed: Whether removed edges stay in the layer's graph, with the weight 0.
        """

        def compute() -> tuple[dgl.DGLGraph | None, Tensor | None, Tensor]:
            places = _places(graph, like.device)
            levels = self.levels.to(like.device)[places]
            if (levels == FULL).all():
                return None, None, places
            kept = levels > 0
            if with_removed or kept.all():
                return None, levels.to(like.dtype) / FULL, places
            return ops.select_edges(graph, kept), levels[kept].to(like.dtype) / FULL, places[kept]

        left, weight, places = latest(self.levels, graph, (with_removed, like.dtype, like.device), compute)
        return Edges(graph if left is None else left, weight, places)


def _places(graph: dgl.DGLGraph, device: torch.device) -> Tensor:
    """The rank of each edge by receiver and sender, in the order of `zoo.ops`, (num_edges,)."""
    return per_graph(graph, ("places", device), lambda: _ranks(graph, *ops.edge_ends(graph, device)))


def _ranks(graph: dgl.DGLGraph, senders: Tensor, receivers: Tensor) -> Tensor:
    order = torch.argsort(receivers * graph.num_nodes() + senders, stable=True)
    return torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))


class Pruning(nn.Module):
    """Which edges each layer has left, of which graph, and when they are pruned next.

    It has no parameters: as part of a frozen model it stands still.

    Args:
        num_layers: Number of attention layers.
        rule: How edges are weakened.
        every: See `prune_every` of `DynamoGAT`.
        cumulative: See there.
        recalibrate: See there.
    """

    fingerprint: Tensor
    passes: Tensor

    def __init__(self, num_layers: int, rule: Rule, *, every: int, cumulative: bool, recalibrate: bool) -> None:
        super().__init__()
        if every < 1:
            raise ConfigError(f"prune_every must be positive, got {every}")
        self.rule, self.every, self.cumulative, self.recalibrate = rule, every, cumulative, recalibrate
        self.layers = nn.ModuleList(Levels() for _ in range(num_layers))
        self.register_buffer("fingerprint", torch.zeros(hashlib.sha256().digest_size, dtype=torch.uint8))
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def resize(self, num_edges: int) -> None:
        """Makes it one for a graph of so many edges, of which none has lost anything."""
        for depth in range(len(self.layers)):
            self._layer(depth).resize(num_edges)

    def knows(self, graph: dgl.DGLGraph) -> bool:
        """Whether the weights are of this graph's edges.

        Raises:
            CheckpointError: A file says so, and has not as many.
        """
        if not torch.equal(self.fingerprint.cpu(), _fingerprint(graph)):
            return False
        if (count := len(self._layer(0).levels)) != graph.num_edges():
            raise CheckpointError(f"the model has weights of {count} edges for a graph of {graph.num_edges()}")
        return True

    def is_of_another_graph(self, graph: dgl.DGLGraph) -> bool:
        """Whether the weights are of the edges of some graph, and not of this."""
        return len(self._layer(0).levels) > 0 and not self.knows(graph)

    def begins_to_prune(self, graph: dgl.DGLGraph) -> bool:
        """Called before the first layer of each pass: whether it is one that prunes; if so, the graph becomes known."""
        if not self.training:
            return False
        self.passes += 1
        if int(self.passes) % self.every != 0:
            return False
        if not self.knows(graph):
            self.fingerprint.copy_(_fingerprint(graph))
            self.resize(graph.num_edges())
        return True

    def edges(self, depth: int, graph: dgl.DGLGraph, like: Tensor) -> Edges:
        """The edges of a layer of a graph that is known; `like` gives dtype and device of their weights."""
        return self._layer(depth).edges(graph, like, with_removed=not self.recalibrate)

    @torch.no_grad()
    def prune(self, depth: int, graph: dgl.DGLGraph, state: Tensor, conv: "WeightedGATConv") -> None:
        """Weakens the edges of a layer of a graph that is known, by the states that it is given."""
        edges = self.edges(depth, graph, state)
        attention = conv.attention(edges.graph, state, edges.weight)
        weight = torch.ones_like(attention) if edges.weight is None else edges.weight
        p = self.rule.probabilities(edges.graph, state, attention, weight, depth)
        levels = self._layer(depth).levels
        places = edges.places.to(levels.device)
        levels[places] = self.rule.weakened(levels[places], p.to(levels.device))
        if self.cumulative and depth > 0:
            torch.minimum(levels, self._layer(depth - 1).levels, out=levels)

    def weights(self, graph: dgl.DGLGraph) -> Tensor:
        """See `DynamoGAT.edge_weights`."""
        if not self.knows(graph):
            return torch.ones(len(self.layers), graph.num_edges())
        ranks = _ranks(graph, *(ends.long() for ends in ops.with_coo(graph).edges(order="eid")))
        return torch.stack([self._layer(i).levels.to(ranks.device)[ranks] for i in range(len(self.layers))]) / FULL

    def _layer(self, depth: int) -> Levels:
        return cast(Levels, self.layers[depth])


def _fingerprint(graph: dgl.DGLGraph) -> Tensor:
    """The SHA-256 of a graph's edges, whatever their order, as 32 bytes."""

    def compute() -> Tensor:
        senders, receivers = ops.edge_ends(graph, torch.device("cpu"))
        pairs = (receivers * graph.num_nodes() + senders).sort().values
        seen = hashlib.sha256(f"{graph.num_nodes()} ".encode() + pairs.numpy().tobytes())
        return torch.tensor(list(seen.digest()), dtype=torch.uint8)

    return per_graph(graph, "fingerprint", compute)


class WeightedGATConv(GATConv):
    """`GATConv` whose edges have weights w.

    For a node i: α_ij = w_ij exp(s_ij) / Σ_k w_ik exp(s_ik), with s the scores of `GATConv`.

    Args:
        in_feats: See `GATConv`.
        out_feats: See `GATConv`.
        heads: See `GATConv`.
        attention_dropout: See `GATConv`.
        recalibrate: False: α_ij = w_ij exp(s_ij) / Σ_k exp(s_ik), which no longer sum to 1.
    """

    def __init__(
        self, in_feats: int, out_feats: int, *, heads: int, attention_dropout: float, recalibrate: bool
    ) -> None:
        super().__init__(in_feats, out_feats, heads=heads, attention_dropout=attention_dropout)
        self.recalibrate = recalibrate

    def forward(self, graph: dgl.DGLGraph, feat: Features, weight: Tensor | None = None) -> Tensor:
        """See the class; `weight` is (num_edges,), in the order of `zoo.ops`. Default: 1 for every edge."""
        if weight is None:
            return super().forward(graph, feat)
        values, src, dst = self.project(feat)

        def gather(block: dgl.DGLGraph, receivers: slice) -> Tensor:
            own = weight[ops.in_edges(graph, receivers, weight.device)]
            attention = self.attention_dropout(self._weighted(block, src, dst[receivers], own))
            return ops.propagate(block, values, attention)

        return self.combine(ops.per_receiver(graph, gather))

    def attention(self, graph: dgl.DGLGraph, feat: Tensor, weight: Tensor | None) -> Tensor:
        """The mean of the heads' α of each edge, (num_edges,)."""
        _, src, dst = self.project(feat)
        weight = src.new_ones(graph.num_edges()) if weight is None else weight
        attention = self._weighted(graph, src, dst, weight)
        numbers = ops.edge_numbers(graph, self.heads, src.device)
        return attention.new_zeros(graph.num_edges()).index_add_(0, numbers, attention) / self.heads

    def _weighted(self, graph: dgl.DGLGraph, src: Tensor, dst: Tensor, weight: Tensor) -> Tensor:
        """The α, as values of edges."""
        scores, weight = self.scores(graph, src, dst), weight[ops.edge_numbers(graph, self.heads, src.device)]
        if self.recalibrate:
            return ops.edge_softmax(graph, scores + weight.log())
        return ops.edge_softmax(graph, scores) * weight


class PrunedEdges(NamedTuple):
    """What pruning did to the edges of a layer, as the paper's table 5 has it of the last one.

    Attributes:
        pruned_share: Of the edges, without self-loops, that the layer has lost.
        kept_similarity: Mean cosine similarity of the two ends of the others, of the states that the layer takes in;
            NaN if there are none.
        pruned_similarity: The same of the lost ones.
    """

    pruned_share: float
    kept_similarity: float
    pruned_similarity: float


@register(
    "dynamo-gat",
    paper="arXiv:2412.07243",
    title="A Dynamical Systems-Inspired Pruning Strategy for Addressing Oversmoothing in Graph Attention Networks",
    authors="Biswadeep Chakraborty and Harshit Kumar and Saibal Mukhopadhyay",
    venue="ICML 2025",
)
class DynamoGAT(ZooModel):
    """A linear layer, graph attention layers that lose edges in training, and another linear layer.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of attention layers, and without a readout one more, for the last linear layer.
        hidden: Width of one head.
        heads: Heads of every attention layer, concatenated.
        noise: σ, at least 0; 0 is an ablation.
        rate: r₀, at least 0; 0 prunes nothing.
        rate_growth: γ, at least 0.
        beta: β, at least 0.
        epsilon: ε, from 0 and below 1.
        covariance: `"features"`: C_ij = mean over features of (h_i - h̄_i) (h_j - h̄_j), with h̄_i the mean of row h_i;
            `"nodes"`: with the mean row of all nodes instead of h̄_i and h̄_j; `"correlation"`: as `"features"`, of rows
            scaled to C_ii = 1; `"none"`: the bracket in p is 1, an ablation.
        sign: `"-"` or `"+"`, the one in the bracket.
        threshold_of: `"attention"`: τ is of the α in use; `"weights"`: of the w.
        fixed_threshold: τ, above 0, the same for all layers and passes: an ablation. Default: None, as in the module.
        gradual: False: an edge is removed at once with its p, an ablation.
        cumulative: Whether an edge is at most as strong in a layer as in the one before it.
        recalibrate: False: the α are left as they are, an ablation, see the module.
        prune_every: Each so many-th training pass prunes.
        initial_residual: ρ, from 0 to 1.
        normalize_first: Whether each node's h(0) is scaled to mean 0 and variance 1.
        dropout: On the features and before the last linear layer.
        attention_dropout: On the attention coefficients.
        readout: See `ZooModel`; with one nothing is pruned.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 17,
        hidden: int = 64,
        heads: int = 1,
        noise: float = 0.05,
        rate: float = 0.1,
        rate_growth: float = 0.01,
        beta: float = 1.0,
        epsilon: float = 0.1,
        covariance: str = "features",
        sign: str = "-",
        threshold_of: str = "attention",
        fixed_threshold: float | None = None,
        gradual: bool = True,
        cumulative: bool = True,
        recalibrate: bool = True,
        prune_every: int = 10,
        initial_residual: float = 0.1,
        normalize_first: bool = True,
        dropout: float = 0.5,
        attention_dropout: float = 0.0,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        if not 0 <= noise < math.inf:
            raise ConfigError(f"noise must be at least 0 and finite, got {noise}")
        if not 0 <= initial_residual <= 1:
            raise ConfigError(f"initial_residual must be from 0 to 1, got {initial_residual}")
        rule = Rule(
            rate=rate,
            rate_growth=rate_growth,
            beta=beta,
            epsilon=epsilon,
            covariance=covariance,
            sign=sign,
            threshold_of=threshold_of,
            fixed_threshold=fixed_threshold,
            gradual=gradual,
        )
        num_convs = self.num_hidden(num_layers)
        self.width, self.noise = hidden * heads, float(noise)
        self.initial_residual, self.normalize_first = initial_residual, normalize_first
        self.embed = Linear(in_feats, self.width)
        self.convs = nn.ModuleList(
            WeightedGATConv(
                self.width, hidden, heads=heads, attention_dropout=attention_dropout, recalibrate=recalibrate
            )
            for _ in range(num_convs)
        )
        self.pruning: Pruning | None = None
        if readout is None:
            self.pruning = Pruning(
                num_convs, rule, every=prune_every, cumulative=cumulative, recalibrate=recalibrate
            )
        self.dropout = Dropout(dropout)
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last linear layer."""
        return LinearConv(self.width, num_classes)

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """See `ZooModel`."""
        levels = state.get("pruning.layers.0.levels")
        if self.pruning is not None and levels is not None:
            self.pruning.resize(levels.numel())

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each attention layer's states; the dropout before the last linear layer is part of the last."""
        prunes = self.pruning is not None and self.pruning.begins_to_prune(graph)
        pruned = self.pruning if self.pruning is not None and self.pruning.knows(graph) else None
        state = first = self._first(feat)
        for depth, conv in enumerate(cast(list[WeightedGATConv], list(self.convs))):
            if self.training and self.noise > 0:
                state = state + self.noise * torch.randn_like(state)
            if pruned is not None and prunes:
                pruned.prune(depth, graph, state, conv)
            edges, weight = (graph, None) if pruned is None else pruned.edges(depth, graph, state)[:2]
            new = nn.functional.elu(conv(edges, state, weight))
            state = ops.lerp(new, first, self.initial_residual)
            yield self.dropout(state) if depth == len(self.convs) - 1 else state

    def _first(self, feat: Features) -> Tensor:
        """h(0)."""
        state = nn.functional.elu(self.embed(self.dropout(feat)))
        return nn.functional.layer_norm(state, (self.width,)) if self.normalize_first else state

    def edge_weights(self, graph: dgl.DGLGraph) -> Tensor:
        """w of each edge in each attention layer, (num_layers, num_edges), in the order of `graph.edges()`.

        0 is a removed edge. All are 1 on another graph than the one that was pruned.

        Args:
            graph: A prepared graph.
        """
        if self.pruning is None:
            return torch.ones(len(self.convs), graph.num_edges())
        return self.pruning.weights(graph)

    @torch.no_grad()
    def pruned_edges(self, graph: dgl.DGLGraph) -> list[PrunedEdges]:
        """How many edges are gone, and how alike the ends of these and of the others are in evaluation.

        One item for each attention layer, first layer first.

        Args:
            graph: The prepared graph that was pruned, with its features.

        Raises:
            GraphError: Another graph was pruned, or this one before it was prepared.
        """
        if self.pruning is not None and self.pruning.is_of_another_graph(graph):
            raise GraphError("this is not the graph whose edges were pruned: pass that one, prepared by model.prepare")
        with eval_mode(self):
            taken_in = [self._first(self._input(graph, None)), *self.layers(graph)][:-1]
        senders, receivers = (ends.long() for ends in ops.with_coo(graph).edges(order="eid"))
        counted = senders != receivers
        told = []
        for state, weight in zip(taken_in, self.edge_weights(graph), strict=True):
            similarity, gone = torch.cosine_similarity(state[senders], state[receivers]), weight == 0
            kept, pruned = similarity[counted & ~gone], similarity[counted & gone]
            share = len(pruned) / max(1, int(counted.sum()))
            told.append(PrunedEdges(share, float(kept.mean()), float(pruned.mean())))
        return told
