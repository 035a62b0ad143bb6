"""Data sets that need no file and no network: scikit-learn's digits and the contextual stochastic block model."""

import math

import numpy as np
import torch
from sklearn.datasets import load_digits

from zoo._dgl import dgl
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import node_graph
from zoo.errors import GraphError

__all__ = ["csbm", "digits"]

# Keeps the stream that draws a graph apart from the one that draws its split from the same seed.
_GRAPH_STREAM = 0x5EED


def read(info: DatasetInfo, seed: int) -> dgl.DGLGraph:
    """The graph of `load("digits")`, the same for every seed, or of `load("csbm", seed=seed)`."""
    if info.name == "digits":
        return digits()
    return csbm(generator=torch.Generator().manual_seed(seed + _GRAPH_STREAM))


def digits(num_neighbors: int = 8) -> dgl.DGLGraph:
    """Handwritten digits (UCI, 8 × 8 pixels, from scikit-learn), each joined to the images most like it.

    Args:
        num_neighbors: Neighbours that an image chooses by Euclidean distance; an edge stands if one end chose it.

    Returns:
        1797 nodes; `feat` are the 64 grey values in [0, 1], `label` the digit.
    """
    images, label = load_digits(return_X_y=True)
    # Grey values are whole numbers up to 16: squared distances are exact and below 2 ** 15. A stable sort settles ties
    # by index, so the graph is the same on every machine, which a nearest-neighbour library does not promise.
    square = (images**2).sum(axis=1)
    distance = (square[:, None] + square - 2 * images @ images.T).astype(np.int16)
    np.fill_diagonal(distance, np.iinfo(np.int16).max)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :num_neighbors]
    return node_graph(np.repeat(np.arange(len(images)), num_neighbors), nearest.ravel(), images / 16, label)


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
