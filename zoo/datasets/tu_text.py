"""The text form of TU sets that DGCNN and GIN read.

First the number of graphs; per graph a line `nodes label`, then per node a line `tag degree neighbour ...`.
MUTAG's order differs from TUDataset's zip, and its published folds follow the order here.
"""

import io
import zipfile

import numpy as np
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import sources
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import Array, canonical_edges, graph_list
from zoo.datasets.tu import classes, one_hot, one_hot_degree


def read(info: DatasetInfo) -> tuple[list[dgl.DGLGraph], Tensor]:
    """MUTAG, whose features are its tags one-hot, or COLLAB, which has none and gets `one_hot_degree`."""
    labels, sizes, tags, src, dst = parse(read_file(info, f"{info.raw}.txt"))
    num_nodes = int(sizes.sum())
    src, dst = canonical_edges(src, dst, num_nodes)
    feat = one_hot(tags) if len(np.unique(tags)) > 1 else one_hot_degree(src, num_nodes)
    return graph_list(src, dst, sizes, feat), classes(labels)


def parse(text: bytes) -> tuple[Array, Array, Array, Array, Array]:
    """Takes the whole text apart without a loop over its nodes (COLLAB has 24.6 million neighbours).

    Returns:
        Labels and sizes of the graphs, tags of the nodes, and the edges' ends counted through all graphs.
    """
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    first = _line_starts(text)
    headers = []
    line = 1
    for _ in range(int(numbers[0])):
        headers.append(line)
        line += int(numbers[first[line]]) + 1
    sizes, labels = numbers[first[headers]], numbers[first[headers] + 1]

    is_node = np.ones(line, dtype=bool)
    is_node[[0, *headers]] = False
    start = first[:line][is_node]
    tags, degrees = numbers[start], numbers[start + 1]
    # The k-th neighbour of a node stands k places after its degree.
    place = np.arange(degrees.sum()) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    neighbours = numbers[np.repeat(start + 2, degrees) + place]
    offset = np.repeat(np.cumsum(sizes) - sizes, sizes)
    return labels, sizes, tags, np.repeat(np.arange(len(start)), degrees), neighbours + np.repeat(offset, degrees)


def _line_starts(text: bytes) -> Array:
    """For every line the index of its first number among all numbers of the text."""
    letters = np.frombuffer(text, dtype=np.uint8)
    blank = letters <= ord(" ")
    number_starts = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
    line_starts = np.concatenate([[0], np.flatnonzero(letters == ord("\n")) + 1])
    return np.searchsorted(number_starts, line_starts)


def read_file(info: DatasetInfo, path: str) -> bytes:
    """A file of this form, by its path in the set's folder; COLLAB's lie in a zip."""
    folder = info.raw.replace("-", "")
    if info.name != "collab":
        return sources.read(info.name, [f"tu_text/{folder}/{path}"])[0]
    (content,) = sources.read(info.name, ["tu_text/COLLAB.zip"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(f"{folder}/{path}")
