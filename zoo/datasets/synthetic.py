"""Data sets that are made here: scikit-learn's digits, the contextual stochastic block model, and Syn-Cora.

The first two need no file and no network; Syn-Cora draws its graph, and takes its features from Cora's files.
"""

import math
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import catalog, planetoid
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import node_graph
from zoo.errors import GraphError

__all__ = ["csbm", "digits", "syn_cora"]

_DIGITS_NEIGHBORS = 8

# Keeps the stream that draws a graph apart from the one that draws its split from the same seed.
_GRAPH_STREAM = 0x5EED

# Densities stay those of 100 nodes. `unit`: the class means lie at distance 1 from 0, not at 1 in each of 8 features.
_DENSITY = math.log(100) / 100
_BLOCKS_OF_100: dict[str, Any] = {"num_nodes": 200, "p": 2 * _DENSITY, "q": _DENSITY}
_CSBM: dict[str, dict[str, Any]] = {
    "csbm": {},
    "csbm-200": _BLOCKS_OF_100,
    "csbm-200-unit": _BLOCKS_OF_100 | {"mean": 8**-0.5},
}

_CLASS_SIZE = 298  # of Syn-Cora, as large as the fifth largest of Cora's classes
_NUM_CLASSES = 5


def read(info: DatasetInfo, seed: int) -> dgl.DGLGraph:
    """The graph of `load("digits")`, the same for every seed, or of `load("csbm", seed=seed)` and the like."""
    if info.name == "digits":
        return digits()
    generator = torch.Generator().manual_seed(seed + _GRAPH_STREAM)
    if info.name in _CSBM:
        return csbm(**_CSBM[info.name], generator=generator)
    assert info.num_edges is not None
    return syn_cora(float(info.raw), 2 * info.num_edges / info.num_nodes, generator=generator)


def digits() -> dgl.DGLGraph:
    """Handwritten digits (UCI, 8 × 8 pixels, from scikit-learn), each joined to the images most like it.

    Every image chooses eight neighbours by Euclidean distance; an edge stands if one end chose it.

    Returns:
        1797 nodes; `feat` are the 64 grey values in [0, 1], `label` the digit.
    """
    images, label = load_digits(return_X_y=True)
    # Grey values are whole numbers up to 16: squared distances are exact and below 2 ** 15. A stable sort settles ties
    # by index, so the graph is the same on every machine, which a nearest-neighbour library does not promise.
    square = (images**2).sum(axis=1)
    distance = (square[:, None] + square - 2 * images @ images.T).astype(np.int16)
    np.fill_diagonal(distance, np.iinfo(np.int16).max)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :_DIGITS_NEIGHBORS]
    return node_graph(np.repeat(np.arange(len(images)), _DIGITS_NEIGHBORS), nearest.ravel(), images / 16, label)


def csbm(
    num_nodes: int = 100,
    p: float | None = None,
    q: float | None = None,
    mean: float = 1.0,
    in_feats: int = 8,
    *,
    generator: torch.Generator,
) -> dgl.DGLGraph:
    """Contextual stochastic block model with two blocks of equal size; the defaults are those of the SBP paper.

    Its text says N = 100. The counts in its table 6 are those of 100 nodes in each block, with these probabilities and
    four fifths of the labels known: `csbm-200`. And the accuracies in its table 10 are near those of class means at
    distance 1 from 0, where features alone give 84 per cent at best, Φ(1): `csbm-200-unit`.

    A pair of nodes is joined with probability `p` inside a block and `q` between the blocks; features are normal with
    unit variance around -`mean` in block 0 and +`mean` in block 1.

    Args:
        num_nodes: Number of nodes; the first half is block 0.
        p: Default: 2 log(num_nodes) / num_nodes.
        q: Default: log(num_nodes) / num_nodes.
        mean: Distance of a block's mean from 0, in every feature.
        in_feats: Width of the features.
        generator: Draws everything: equal state, equal graph.

    Raises:
        GraphError: A probability lies outside [0, 1], or there are fewer than two nodes.
    """
    if num_nodes < 2:
        raise GraphError(f"num_nodes is {num_nodes}: two blocks need at least two nodes")
    p = 2 * math.log(num_nodes) / num_nodes if p is None else p
    q = math.log(num_nodes) / num_nodes if q is None else q
    for name, probability in (("p", p), ("q", q)):
        if not 0 <= probability <= 1:
            raise GraphError(f"{name} is {probability}: expected a probability between 0 and 1")
    label = (torch.arange(num_nodes) >= num_nodes // 2).long()
    src, dst = torch.triu_indices(num_nodes, num_nodes, offset=1)
    joined = torch.rand(len(src), generator=generator) < torch.where(label[src] == label[dst], p, q)
    feat = torch.randn(num_nodes, in_feats, generator=generator) + mean * (2 * label - 1).unsqueeze(1)
    return node_graph(src[joined].numpy(), dst[joined].numpy(), feat.numpy(), label.numpy())


def syn_cora(homophily: float, degree: float, *, generator: torch.Generator) -> dgl.DGLGraph:
    """Syn-Cora: Cora's features on a drawn graph, in the manner of Zhu et al. 2020 (H2GCN, arXiv:2006.11468).

    As there, 1,490 nodes in five classes of 298 come one after another and are joined to nodes before them
    (preferential attachment): to one of their own class with probability h, the homophily, to one of each other class
    with (1 - h) / 4, and inside a class in proportion to its nodes' degrees. The five classes stand for those of Cora's
    that have 298 nodes, in Cora's order; each node has the features of another of that class's nodes.

    What differs is for the sake of large degrees, where the first nodes find too few to be joined to. In the authors'
    code a node draws its two edges among all nodes at once, by class times degree. Here classes come in turns, each
    edge draws whether it stays in the class and then its node; the first nodes take fewer edges, as many as leave h
    what it is, and the later ones so many more that the mean degree comes out to an edge. That all other classes are
    alike is one of two choices of the authors' code; which one their graphs were made with is not known here.

    Labels and features are drawn before the edges: from equal states they are the same for every h and degree.

    Args:
        homophily: h, the expected share of the edges whose ends are of one class, from 0 to 1.
        degree: Mean number of neighbours.
        generator: Draws everything: equal state, equal graph.

    Raises:
        GraphError: `homophily` or `degree` is impossible, or there are not so many pairs of nodes for both.
        DatasetNotFound: Cora's files are neither at hand nor to be fetched.
    """
    num_nodes = _CLASS_SIZE * _NUM_CLASSES
    if not 0 <= homophily <= 1:
        raise GraphError(f"homophily is {homophily}: expected a share between 0 and 1")
    if not 0 < degree < num_nodes:
        raise GraphError(f"degree is {degree}: expected a mean above 0 and below {num_nodes}, the number of nodes")
    label = torch.rand(_CLASS_SIZE, _NUM_CLASSES, generator=generator).argsort(dim=1).flatten()
    feat = _features_of_cora(label, generator)
    src, dst = _attach(label, homophily, round(degree * num_nodes / 2), generator)
    return node_graph(src.numpy(), dst.numpy(), feat.numpy(), label.numpy())


def _features_of_cora(label: Tensor, generator: torch.Generator) -> Tensor:
    """For each node the features of another node of Cora, whose class is the one that its own stands for."""
    cora = planetoid.read(catalog.info("cora"))
    classes: Tensor = cora.ndata["label"]
    origin = torch.empty_like(label)
    large = torch.bincount(classes) >= _CLASS_SIZE
    for own, theirs in enumerate(large.nonzero().flatten()):
        members = (classes == theirs).nonzero().flatten()
        origin[label == own] = members[torch.randperm(len(members), generator=generator)[:_CLASS_SIZE]]
    return cora.ndata["feat"][origin]


def _attach(label: Tensor, homophily: float, num_edges: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Both ends of the edges with which each node, in turn, is joined to different nodes before it."""
    num_nodes, missing = len(label), num_edges
    degree, ends = torch.zeros(num_nodes), []
    for node in range(num_nodes):
        like = label[:node] == label[node]
        count = min(math.ceil(missing / (num_nodes - node)), _room(like, homophily))
        num_like = int((torch.rand(count, generator=generator) < homophily).sum())
        weight = degree[:node].clamp(min=1)
        drawn = ((weight * like, num_like), (weight * ~like, count - num_like))
        chosen = torch.cat([_draw(weights, wanted, generator) for weights, wanted in drawn])
        degree[chosen] += 1
        degree[node] = len(chosen)
        missing -= len(chosen)
        ends.append(chosen)
    if missing > 0:
        raise GraphError(
            f"there is no room for {num_edges} edges between {num_nodes} nodes at homophily {homophily}: {missing} are "
            "left over. Ask for a smaller degree"
        )
    counts = torch.tensor([len(chosen) for chosen in ends])
    return torch.repeat_interleave(counts), torch.cat(ends)


def _room(like: Tensor, homophily: float) -> int:
    """How many edges to these nodes there can be at this homophily, where `like` says which are of one's own class."""
    num_like = int(like.sum())
    pools = ((num_like, homophily), (len(like) - num_like, 1 - homophily))
    return math.floor(min(size / share for size, share in pools if share > 0))


def _draw(weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many different indices, or all there are, in proportion to their weights."""
    count = min(count, int(weight.count_nonzero()))
    return torch.multinomial(weight, count, generator=generator) if count > 0 else torch.empty(0, dtype=torch.int64)
