"""CNA in plain PyTorch, as a reader of the paper (arXiv:2412.04064) would first write it.

Dense features, edges as two lists of nodes, one cluster after another, rationals by the powers of x under autograd. Its
tensors have the names and shapes of `zoo.models.CNA`, whose oracle it is in the tests and whose rival in
`benchmarks/cna.py`; so it computes nothing with the zoo's own code, and shall not be made faster.
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from zoo._dgl import dgl
from zoo.models.cna import CNA
from zoo.training.recipe import TrainingSpec

__all__ = ["LoopCNA", "train"]

EPSILON = 1e-5
Edges = tuple[Tensor, Tensor]  # the node that sends and the node that receives, of every edge


class GCNConv(nn.Module):
    """Y = D^(-1/2) A D^(-1/2) X W + b."""

    def __init__(self, in_feats: int, out_feats: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_feats, out_feats, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_feats))

    def forward(self, edges: Edges, x: Tensor) -> Tensor:
        """x: (num_nodes, in_feats)."""
        scale = in_degrees(edges, x) ** -0.5
        scale[scale == math.inf] = 0
        return scale * sum_of_senders(edges, scale * self.linear(x)) + self.bias


class SAGEConv(nn.Module):
    """Y = mean(X over in-neighbours) W_neighbours + X W_root + b."""

    def __init__(self, in_feats: int, out_feats: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(in_feats, out_feats, bias=False)
        self.root = nn.Linear(in_feats, out_feats)

    def forward(self, edges: Edges, x: Tensor) -> Tensor:
        """x: (num_nodes, in_feats)."""
        return self.neighbours(sum_of_senders(edges, x) / in_degrees(edges, x).clamp(min=1)) + self.root(x)


class TransformerConv(nn.Module):
    """y_i = W_root x_i + b + Σ_j α_ij v_j, with α_ij the softmax over j of q_i · k_j / √out_feats."""

    def __init__(self, in_feats: int, out_feats: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.root = (nn.Linear(in_feats, out_feats) for _ in range(4))

    def forward(self, edges: Edges, x: Tensor) -> Tensor:
        """x: (num_nodes, in_feats)."""
        senders, receivers = edges
        query, key, value = self.query(x), self.key(x), self.value(x)
        scores = (query.index_select(0, receivers) * key.index_select(0, senders)).sum(1) / math.sqrt(query.shape[1])
        largest = scores.new_zeros(len(x)).scatter_reduce(0, receivers, scores.detach(), "amax", include_self=False)
        exponentials = (scores - largest.index_select(0, receivers)).exp()
        sums = sum_at_receivers(edges, exponentials, len(x))
        attention = exponentials / sums.index_select(0, receivers)
        messages = attention.unsqueeze(1) * value.index_select(0, senders)
        return sum_at_receivers(edges, messages, len(x)) + self.root(x)


CONVS = {"gcn": GCNConv, "sage": SAGEConv, "transformer": TransformerConv}


def in_degrees(edges: Edges, x: Tensor) -> Tensor:
    """(num_nodes, 1), in the type of x."""
    return sum_at_receivers(edges, x.new_ones(len(edges[1]), 1), len(x))


def sum_of_senders(edges: Edges, x: Tensor) -> Tensor:
    """Σ_j x_j over the edges j → i, (num_nodes, width)."""
    return sum_at_receivers(edges, x.index_select(0, edges[0]), len(x))


def sum_at_receivers(edges: Edges, messages: Tensor, num_nodes: int) -> Tensor:
    """(num_edges, ...) to (num_nodes, ...)."""
    index = edges[1].view(-1, *[1] * (messages.dim() - 1)).expand_as(messages)
    return messages.new_zeros(num_nodes, *messages.shape[1:]).scatter_add(0, index, messages)  # index_add keeps them


class Rationals(nn.Module):
    """The rational function of each cluster; versions and coefficients as in `zoo.nn.rational`."""

    def __init__(self, num_clusters: int, degrees: Sequence[int], version: str) -> None:
        super().__init__()
        self.version, self.lowest = version, 0 if version == "C" else 1
        self.numerator = nn.Parameter(torch.empty(num_clusters, degrees[0] + 1))
        self.denominator = nn.Parameter(torch.empty(num_clusters, degrees[1] + 1 - self.lowest))

    def forward(self, x: Tensor, cluster: int) -> Tensor:
        """The function of one cluster, of the rows of its nodes."""
        a, b = (part[cluster].view(-1, 1, 1) for part in (self.numerator, self.denominator))
        powers = torch.stack([x**k for k in range(max(len(a), self.lowest + len(b)))])
        above = (a * powers[: len(a)]).sum(0)
        terms = b * powers[self.lowest : self.lowest + len(b)]
        if self.version == "A":
            return above / (1 + terms.abs().sum(0))
        return above / ((0.1 if self.version == "C" else 1) + terms.sum(0).abs())


class LoopActivation(nn.Module):
    """Cluster, normalize, activate; arguments as `zoo.models.cna.ClusterNormalizeActivate` has them."""

    centroids: Tensor
    calls: Tensor

    def __init__(
        self,
        width: int,
        num_clusters: int,
        norm: str,
        distance: str,
        refit_every: int,
        degrees: Sequence[int],
        version: str,
    ) -> None:
        super().__init__()
        self.norm, self.distance, self.refit_every = norm, distance, refit_every
        self.register_buffer("centroids", torch.zeros(num_clusters, width))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.activate = Rationals(num_clusters, degrees, version)

    def forward(self, x: Tensor) -> Tensor:
        """x: (num_nodes, width), output as x."""
        clusters = self.cluster(x.detach())
        result = torch.empty_like(x)
        for cluster in clusters.unique().tolist():
            members = clusters == cluster
            result[members] = self.activate(standardise(x[members], self.norm), cluster)
        return result

    def cluster(self, x: Tensor) -> Tensor:
        """The cluster of each node; in training the centroids are fitted when that is due."""
        if self.training:
            if self.calls == 0 or (self.refit_every > 0 and self.calls % self.refit_every == 0):
                self.centroids.copy_(kmeans(x, len(self.centroids), self.distance))
            self.calls += 1
        return nearest(x, self.centroids, self.distance)


def standardise(x: Tensor, norm: str) -> Tensor:
    """Each feature over the rows (`"cluster"`), or each row over its features (`"row"`), or neither."""
    if norm == "none":
        return x
    dim, correction = (0, 0) if norm == "cluster" else (1, 1)
    mean, variance = x.mean(dim, keepdim=True), x.var(dim, correction=correction, keepdim=True)
    return (x - mean) / (variance + EPSILON).sqrt()


def kmeans(points: Tensor, num_clusters: int, distance: str, max_iter: int = 100, tol: float = 1e-4) -> Tensor:
    """Centroids, (num_clusters, width), by Lloyd's algorithm from k-means++ seeds; stops as `zoo.nn.kmeans` does."""
    if distance == "cosine":
        points = normalize(points, dim=1)
    centroids = plus_plus(points, num_clusters)
    for _ in range(max_iter):
        clusters = nearest(points, centroids, distance)
        means = centroids.clone()
        for cluster in clusters.unique().tolist():
            means[cluster] = points[clusters == cluster].mean(0)
        shift = (means - centroids).square().sum()
        centroids = means
        if shift <= tol * points.var(0, correction=0).mean():
            break
    return centroids


def plus_plus(points: Tensor, num_clusters: int) -> Tensor:
    """Points drawn one after another, with probability proportional to the squared distance from those before."""
    seeds = [points[int(torch.randint(len(points), (1,)))]]
    while len(seeds) < num_clusters:
        distances = torch.stack([(points - seed).square().sum(1) for seed in seeds])
        seeds.append(points[int(torch.multinomial(distances.amin(0), 1))])
    return torch.stack(seeds)


def nearest(points: Tensor, centroids: Tensor, distance: str) -> Tensor:
    """The nearest centroid of each point, (num_points,)."""
    if distance == "cosine":
        points, centroids = normalize(points, dim=1), normalize(centroids, dim=1)
        return torch.stack([1 - points @ centroid for centroid in centroids], dim=1).argmin(1)
    return torch.stack([(points - centroid).square().sum(1) for centroid in centroids], dim=1).argmin(1)


class LoopCNA(nn.Module):
    """A model that answers as another does, and starts with its parameters and centroids.

    Args:
        model: With rational activations, a convolution from `CONVS`, no linear ends and no readout. Of version D the
            noise of training is left out.
    """

    def __init__(self, model: CNA) -> None:
        super().__init__()
        options = model.arguments
        conv, hidden = CONVS[options["conv"]], options["hidden"]
        num_hidden = options["num_layers"] - 1
        self.convs = nn.ModuleList(conv(hidden if i else options["in_feats"], hidden) for i in range(num_hidden))
        names = ("num_clusters", "norm", "distance", "refit_every", "degrees", "version")
        self.activations = nn.ModuleList(
            LoopActivation(hidden, **{name: options[name] for name in names})
            for _ in range(1 if options["share_activation"] else num_hidden)
        )
        self.head = conv(hidden, options["num_classes"])
        state = model.state_dict()
        self.to(next(model.parameters()).dtype)
        self.load_state_dict({name: state[name] for name in self.state_dict()})

    def forward(self, graph: dgl.DGLGraph) -> Tensor:
        """Logits, (num_nodes, num_classes), of a graph with ndata `feat`."""
        edges, state = graph.edges(), graph.ndata["feat"]
        for i, conv in enumerate(self.convs):
            state = self.activations[i % len(self.activations)](conv(edges, state))
        return self.head(edges, state)


def train(model: LoopCNA, graph: dgl.DGLGraph, training: TrainingSpec) -> Iterator[float]:
    """Trains with Adam on the nodes of `train_mask`; the seconds of every epoch.

    After each step one pass gives the accuracies on validation and test.
    """
    labels, rational = graph.ndata["label"], training.groups[0]
    others = [parameter for name, parameter in model.named_parameters() if not name.startswith("activations.")]
    groups: list[dict[str, Any]] = [
        {"params": model.activations.parameters(), "lr": rational.lr},
        {"params": others, "lr": training.lr},
    ]
    optimizer = torch.optim.Adam(groups, weight_decay=training.weight_decay)
    for _ in range(training.epochs):
        start = time.perf_counter()
        model.train()
        optimizer.zero_grad()
        rows = graph.ndata["train_mask"]
        cross_entropy(model(graph)[rows], labels[rows]).backward()
        if rational.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.activations.parameters(), rational.clip_norm)
        optimizer.step()
        model.eval()
        with torch.no_grad():
            right = model(graph).argmax(1) == labels
            for part in ("val_mask", "test_mask"):
                float(right[graph.ndata[part]].float().mean())
        yield time.perf_counter() - start
