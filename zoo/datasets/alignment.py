"""Features in the columns of another data set, so that a model which was trained there can read them.

Columns are partners by their word where the files of both sets name their words (Coauthor CS and Physics, of whose
6,805 and 8,415 words 3,088 are shared): a partner then means the same. All other sets are aligned by frequency, the
column that most nodes have with the column that most nodes have there, and so on (Amazon Photo and Computers, whose
words have no names; the atoms of NCI1 and NCI109). That is a guess from counts alone: it looks at no label, but two
columns of one rank need not mean the same, and the rarer they are the less it says.

Columns without a partner are dropped; columns of the other set without one are zero.
"""

import importlib

import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets.catalog import DatasetInfo

__all__ = ["align", "partners_by_rank", "partners_by_word", "raw_graphs", "rearrange", "words"]


def align(graphs: list[dgl.DGLGraph], about: DatasetInfo, onto: DatasetInfo, seed: int) -> None:
    """Puts the features of a data set's graphs in the columns of another data set, in place.

    Args:
        graphs: All of the data set's.
        about: The data set.
        onto: The other one.
        seed: Draws the other set's graph where it is drawn (`csbm`, `syn-cora-…`).
    """
    own, other = words(about), words(onto)
    if own is not None and other is not None:
        partners = partners_by_word(own, other)
    else:
        partners = partners_by_rank(_num_nodes_with(graphs), _num_nodes_with(raw_graphs(onto, seed)[0]))
    for graph in graphs:
        graph.ndata["feat"] = rearrange(graph.ndata["feat"], partners, onto.in_feats)


def raw_graphs(about: DatasetInfo, seed: int) -> tuple[list[dgl.DGLGraph], Tensor]:
    """A data set's graphs without masks, and the labels of its nodes or graphs."""
    reader = importlib.import_module(f"zoo.datasets.{about.reader}")
    if about.task == "graph-classification":
        graphs, labels = reader.read(about)
        return graphs, labels
    graph = reader.read(about, seed) if about.reader == "synthetic" else reader.read(about)
    return [graph], graph.ndata["label"]


def words(about: DatasetInfo) -> list[str] | None:
    """The words that a data set's columns stand for, None where its files do not name them."""
    reader = importlib.import_module(f"zoo.datasets.{about.reader}")
    names: list[str] | None = reader.words(about) if hasattr(reader, "words") else None
    return names


def partners_by_word(own: list[str], other: list[str]) -> Tensor:
    """For each own word the column of the same word among the others, -1 without one."""
    column = {word: i for i, word in enumerate(other)}
    return torch.tensor([column.get(word, -1) for word in own])


def partners_by_rank(own: Tensor, other: Tensor) -> Tensor:
    """For each own column that of the same rank among the others by falling count, -1 without one; ties by column."""
    partners = torch.full_like(own, -1)
    shared = min(len(own), len(other))
    partners[_falling(own)[:shared]] = _falling(other)[:shared]
    return partners


def _falling(counts: Tensor) -> Tensor:
    return torch.argsort(counts, descending=True, stable=True)


def _num_nodes_with(graphs: list[dgl.DGLGraph]) -> Tensor:
    """For each column the number of nodes in which it is not zero."""
    return torch.cat([graph.ndata["feat"] for graph in graphs]).count_nonzero(dim=0)


def rearrange(feat: Tensor, partners: Tensor, width: int) -> Tensor:
    """Features of shape (num_nodes, width) with each column at its partner's place."""
    has_partner = partners >= 0
    moved = feat.new_zeros(len(feat), width)
    moved[:, partners[has_partner]] = feat[:, has_partner]
    return moved
