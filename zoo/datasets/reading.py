"""Reads a graph of the user's own from a file or folder."""

from __future__ import annotations

import csv
import warnings
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo._files import user_path
from zoo.datasets.containers import GraphDataset
from zoo.datasets.gnn_benchmark import csr_matrix
from zoo.datasets.graphs import MASKS, Array, check_graph, from_arrays
from zoo.errors import GraphError

__all__ = ["read_graph", "read_named_graph"]

_NPZ = {"edges", "feat", "label", *MASKS, "node_features", "node_labels", *(f"{mask}s" for mask in MASKS), "labels"}
_NPZ |= {f"{part}_{member}" for part in ("adj", "attr") for member in ("data", "indices", "indptr", "shape")}
_PARTS = {"train": "train_mask", "val": "val_mask", "test": "test_mask"}
_NOT_FEATURES = ("id", "label", "split")  # columns of nodes.csv
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_CLASS = 2**63 - 1


def read_graph(path: str | Path, undirected: bool = True) -> Any:
    """Reads a graph from a file; nothing in it is ever unpickled.

    Args:
        path: One of

            - `.npz` with `edges` and `feat`, optional `label`, `train_mask`, `val_mask`, `test_mask`, as in
              `from_arrays`; or of the form of the heterophilous graphs (`node_features`, `node_labels`, `edges`, whose
              first split is taken); or of gnn-benchmark's (CSR parts `adj_*` and `attr_*`, `labels`).
            - `.bin`, written by `dgl.save_graphs`: one graph with `ndata["feat"]`; or several, which can be trained and
              scored on if the labels dictionary has a class (integers) or target (floats) of each under `label`, and
              the masks.
            - a folder with `nodes.csv` and `edges.csv`, both with a line of column names. Edges have `src` and `dst`.
              Nodes have numeric features in all columns but these: `id` (what edges call the node; without it they
              count rows from 0), `label` (classes if all are written as whole numbers; one `1.0` or `1e3` makes all of
              them targets of a regression; may be empty where the split is), and `split` (`train`, `val`, `test` or
              empty).
        undirected: Whether to add every edge's reverse. A `.bin` is taken as it is.

    Returns:
        A graph with `ndata` feat and, as far as the file has them, label and masks. If a `.bin` holds several graphs, a
        `GraphDataset`; without labels their list, which `zoo.predict` takes.

    Raises:
        GraphError: The file is missing, broken, or does not describe a graph; the message names it.
    """
    return read_named_graph(path, undirected)[0]


def read_named_graph(path: str | Path, undirected: bool = True) -> tuple[Any, list[str] | None]:
    """What `read_graph` reads, and what the file calls the nodes: the column `id` of nodes.csv, None without one."""
    path = user_path(path)
    try:
        if not path.exists():
            raise GraphError("there is no such file or folder")
        if path.is_dir():
            arguments, names = _folder(path)
            return from_arrays(**arguments, undirected=undirected), names
        if path.suffix == ".npz":
            return from_arrays(**_npz(path), undirected=undirected), None
        if path.suffix == ".bin":
            return _bin(path), None
    except (GraphError, OSError) as error:  # a place that may not be looked at
        raise GraphError(f"{path}: {error}") from error
    raise GraphError(f"{path}: expected an .npz or .bin file, or a folder with nodes.csv and edges.csv")


def _npz(path: Path) -> dict[str, Any]:
    """The arguments of `from_arrays`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            members = {name: archive[name] for name in names if name in _NPZ}  # others may be pickled
    except Exception as error:  # a damaged file can raise nearly anything
        raise GraphError(f"not an .npz of plain arrays ({error})") from error
    if {"edges", "feat"} <= members.keys():
        if others := sorted(members.keys() - {"edges", "feat", "label", *MASKS}):
            raise GraphError(f"beside edges and feat it has {', '.join(others)}: expected label, {', '.join(MASKS)}")
        return members
    if {"edges", "node_features"} <= members.keys():
        masks = {mask: np.atleast_2d(members[f"{mask}s"])[0] for mask in MASKS if np.size(members.get(f"{mask}s", ()))}
        edges = members["edges"]  # one row per edge: (2, 2) is not to be taken for sources and destinations
        edges = edges.T if edges.ndim == 2 and edges.shape[1] == 2 else edges
        return {"edges": edges, "feat": members["node_features"], "label": members.get("node_labels"), **masks}
    if {"adj_data", "attr_data"} <= members.keys():
        return {"edges": _csr(members, "adj"), "feat": _csr(members, "attr"), "label": members.get("labels")}
    raise GraphError(
        f"it holds {', '.join(names) or 'nothing'}; expected edges and feat, or edges and node_features, "
        f"or CSR parts adj_* and attr_*"
    )


def _csr(members: dict[str, Array], part: str) -> scipy.sparse.csr_matrix:
    try:
        return csr_matrix(members, part)
    except (KeyError, ValueError, TypeError) as error:
        raise GraphError(f"the CSR parts {part}_* are not a matrix: {error}") from error


def _bin(path: Path) -> Any:
    try:
        graphs, labels = dgl.load_graphs(str(path))
    except (dgl.DGLError, RuntimeError) as error:
        raise GraphError(f"not a file of dgl.save_graphs, or cut short ({_reason(error)})") from error
    for graph in graphs:
        if not graph.is_homogeneous:
            raise GraphError("a graph has several node or edge types; the zoo's models take homogeneous graphs")
        graph.ndata.update({name: _restored(name, values) for name, values in graph.ndata.items()})
        check_graph(graph)
    if len(graphs) == 1:
        return graphs[0]
    return _labelled(path.stem, graphs, labels) if "label" in labels else graphs


def _reason(error: Exception) -> str:
    """What DGL says in the end of its first line; before it are places in its source, below it a stack trace."""
    return str(error).partition("\n")[0].rpartition(": ")[2].strip() or "unreadable"


def _labelled(name: str, graphs: list[dgl.DGLGraph], labels: dict[str, Tensor]) -> GraphDataset:
    label = labels["label"]
    if label.shape != (len(graphs),):
        raise GraphError(f"label has shape {tuple(label.shape)}: expected ({len(graphs)},), one per graph")
    masks = (labels.get(mask, torch.zeros(len(graphs))).bool() for mask in MASKS)
    if label.is_floating_point():
        return GraphDataset(name, graphs, label.float(), 1, *masks)
    return GraphDataset(name, graphs, label.long(), max(1, int(label.max()) + 1), *masks)


def _restored(name: str, values: Tensor) -> Tensor:
    """Features as float32, and masks as bool again: DGL's format stores bool as uint8."""
    if name == "feat":
        return values.float()
    return values.bool() if name in MASKS and values.dtype == torch.uint8 else values


@dataclass(frozen=True)
class _Nodes:
    """What nodes.csv says of the nodes, but for their features.

    Attributes:
        columns: Those of `_NOT_FEATURES` that it has, as they are written.
        lines: Where each node is written.
    """

    columns: dict[str, list[str]]
    lines: array[int]

    def number(self, node: int, column: str, cell: str) -> float:
        """A cell as a number; GraphError if it is none, or one that float32 cannot hold."""
        try:
            value = float(cell)
        except ValueError:
            value = np.nan
        if not abs(value) <= _LARGEST:  # nor is NaN
            raise GraphError(f"{self.place(node, column)}: expected a finite number of float32, got {cell!r}")
        return value

    def place(self, node: int, column: str) -> str:
        """Where a cell is, as a user finds it."""
        name = f" (id {self.columns['id'][node]})" if "id" in self.columns else ""
        return f"nodes.csv, line {self.lines[node]}{name}, column {column}"


def _folder(path: Path) -> tuple[dict[str, Any], list[str] | None]:
    """The arguments of `from_arrays`, and the nodes' names if they have any."""
    feat, nodes = _nodes(path / "nodes.csv")
    names = nodes.columns.get("id")
    arguments: dict[str, Any] = {"edges": _edges(path / "edges.csv", len(feat), names), "feat": feat}
    if "label" in nodes.columns:
        arguments["label"] = _labels(nodes)
    if "split" in nodes.columns:
        arguments |= _masks(nodes)
    return arguments, names


def _nodes(path: Path) -> tuple[Array, _Nodes]:
    """The features as one matrix, and what else is written."""
    table = _table(path)
    features = {name: place for place, name in enumerate(next(table)[1])}
    for name in features:
        if name not in _NOT_FEATURES and name.lower() in _NOT_FEATURES:
            raise GraphError(f"nodes.csv has a column {name}: write {name.lower()}, or another name if it is a feature")
        if name in MASKS:
            raise GraphError(f"nodes.csv has a column {name}: write one column split, with train, val, test or nothing")
        if not name:
            raise GraphError("nodes.csv has a column without a name: name it if it is a feature, else leave it out")
    others = {name: features.pop(name) for name in _NOT_FEATURES if name in features}
    if not features:
        raise GraphError("nodes.csv has no feature columns")
    nodes = _Nodes({name: [] for name in others}, array("q"))
    values = array("d")
    for line, row in table:
        nodes.lines.append(line)
        for name, place in others.items():
            nodes.columns[name].append(row[place])
        values.extend([nodes.number(-1, name, row[place]) for name, place in features.items()])
    return np.array(values).reshape(-1, len(features)), nodes


def _edges(path: Path, num_nodes: int, names: list[str] | None) -> tuple[Array, Array]:
    """Sources and destinations as node numbers."""
    names = [str(number) for number in range(num_nodes)] if names is None else names
    numbers = {name: number for number, name in enumerate(names)}
    if len(numbers) != num_nodes:
        raise GraphError("nodes.csv names a node twice in its column id")
    table = _table(path)
    _, header = next(table)
    if missing := {"src", "dst"} - set(header):
        raise GraphError(f"edges.csv has no column {' and '.join(sorted(missing))}")
    if others := [name for name in header if name not in ("src", "dst")]:
        warnings.warn(f"edges.csv: {', '.join(others)} is not read: the zoo's edges have no weights", stacklevel=2)
    src, dst = header.index("src"), header.index("dst")
    ends = array("q")
    try:
        for _, row in table:
            ends.extend((numbers[row[src]], numbers[row[dst]]))
    except KeyError as error:
        raise GraphError(f"edges.csv names node {error}, which nodes.csv does not have") from error
    pairs = np.array(ends).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _labels(nodes: _Nodes) -> Array:
    """Classes if every cell is written as a whole number, else targets; an unlabelled node outside the split gets 0."""
    split = nodes.columns.get("split")
    given = [
        cell or ("0" if split is not None and not split[node] else "")
        for node, cell in enumerate(nodes.columns["label"])
    ]
    if missing := [node for node, cell in enumerate(given) if not cell]:
        why = "its node is in the split" if split is not None else "there is no column split that leaves its node out"
        raise GraphError(f"{nodes.place(missing[0], 'label')}: it is empty, but {why}")
    if not all(cell.lstrip("+-").isdecimal() for cell in given):
        return np.array([_target(nodes, node, cell) for node, cell in enumerate(given)])
    return np.array([_class(nodes, node, cell) for node, cell in enumerate(given)], dtype=np.int64)


def _target(nodes: _Nodes, node: int, cell: str) -> float:
    try:
        return nodes.number(node, "label", cell)
    except GraphError as error:
        raise GraphError(f"{error}; classes are written as whole numbers from 0") from error


def _class(nodes: _Nodes, node: int, cell: str) -> int:
    nodes.number(node, "label", cell)  # int() refuses thousands of digits in other words
    if 0 <= int(cell) <= _LARGEST_CLASS:
        return int(cell)
    raise GraphError(
        f"{nodes.place(node, 'label')}: {cell} is no class, they count from 0 to at most 2^63 - 1; an unlabelled node "
        "has neither label nor split, and a target of a regression is written with a decimal point"
    )


def _table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """A CSV file's rows and the lines where they end, the column names first; never in memory as a whole."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader if row)
            number, header = next(rows, (0, []))
            if not header:
                raise GraphError(f"{path.name} cannot be read as CSV (it is empty)")
            if len(set(header)) < len(header):
                raise GraphError(f"{path.name} names a column twice: {', '.join(header)}")
            yield number, header
            for number, row in rows:
                if len(row) != len(header):
                    raise GraphError(f"{path.name}, line {number}: {len(row)} cells for {len(header)} columns")
                yield number, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GraphError(f"{path.name} cannot be read as CSV ({error})") from error


def _masks(nodes: _Nodes) -> dict[str, Array]:
    parts = nodes.columns["split"]
    for node, part in enumerate(parts):
        if part and part not in _PARTS:
            raise GraphError(f"{nodes.place(node, 'split')}: {part!r} is none of train, val, test or empty")
    return {mask: np.array([given == part for given in parts]) for part, mask in _PARTS.items()}
