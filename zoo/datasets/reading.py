"""Reads a graph of the user's own from a file or folder."""

from __future__ import annotations

import csv
import zipfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets.containers import GraphDataset
from zoo.datasets.gnn_benchmark import csr_matrix
from zoo.datasets.graphs import MASKS, Array, check_graph, from_arrays
from zoo.errors import GraphError

__all__ = ["read_graph", "read_named_graph"]

_PARTS = {"train": "train_mask", "val": "val_mask", "test": "test_mask"}
_NOT_FEATURES = ("id", "label", "split")  # columns of nodes.csv


def read_graph(path: str | Path, undirected: bool = True) -> Any:
    """Reads a graph from a file; nothing in it is ever unpickled.

    Args:
        path: One of

            - `.npz` with `edges` and `feat`, optional `label`, `train_mask`, `val_mask`, `test_mask`, as in
              `from_arrays`; or of the form of the heterophilous graphs (`node_features`, `node_labels`, `edges`, whose
              first split is taken); or of gnn-benchmark's (CSR parts `adj_*` and `attr_*`, `labels`).
            - `.bin`, written by `dgl.save_graphs`: one graph with `ndata["feat"]`; or several with a label each in the
              labels dictionary under `label`, and optional masks there.
            - a folder with `nodes.csv` and `edges.csv`, both with a line of column names. Edges have `src` and `dst`.
              Nodes have numeric features in all columns but these: `id` (what edges call the node; without it they
              count rows from 0), `label` (classes if all are written as whole numbers, else targets; may be empty where
              the split is), and `split` (`train`, `val`, `test` or empty).
        undirected: Whether to add every edge's reverse. A `.bin` is taken as it is.

    Returns:
        A graph with `ndata` feat and, as far as the file has them, label and masks; a `GraphDataset` if a `.bin` holds
        several graphs.

    Raises:
        GraphError: The file is missing, broken, or does not describe a graph; the message names it.
    """
    return read_named_graph(path, undirected)[0]


def read_named_graph(path: str | Path, undirected: bool = True) -> tuple[Any, list[str] | None]:
    """What `read_graph` reads, and what the file calls the nodes: the column `id` of nodes.csv, None without one."""
    path = Path(path)
    if not path.exists():
        raise GraphError(f"{path}: there is no such file or folder")
    try:
        if path.is_dir():
            arguments, names = _folder(path)
            return from_arrays(**arguments, undirected=undirected), names
        if path.suffix == ".npz":
            return from_arrays(**_npz(path), undirected=undirected), None
        if path.suffix == ".bin":
            return _bin(path), None
    except GraphError as error:
        raise GraphError(f"{path}: {error}") from error
    raise GraphError(f"{path}: expected an .npz or .bin file, or a folder with nodes.csv and edges.csv")


def _npz(path: Path) -> dict[str, Any]:
    """The arguments of `from_arrays`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise GraphError(f"not an .npz of plain arrays ({error})") from error
    if {"edges", "feat"} <= members.keys():
        return {name: members[name] for name in ("edges", "feat", "label", *MASKS) if name in members}
    if {"edges", "node_features"} <= members.keys():
        masks = {mask: members[f"{mask}s"][0] for mask in MASKS if len(members.get(f"{mask}s", ()))}
        edges = members["edges"]  # one row per edge: (2, 2) is not to be taken for sources and destinations
        edges = edges.T if edges.ndim == 2 and edges.shape[1] == 2 else edges
        return {"edges": edges, "feat": members["node_features"], "label": members.get("node_labels"), **masks}
    if {"adj_data", "attr_data"} <= members.keys():
        return {"edges": _csr(members, "adj"), "feat": _csr(members, "attr"), "label": members.get("labels")}
    raise GraphError(
        f"it holds {', '.join(members) or 'nothing'}; expected edges and feat, or edges and node_features, "
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
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise GraphError(f"not a file of dgl.save_graphs ({reason[-1]})") from error
    for graph in graphs:
        if not graph.is_homogeneous:
            raise GraphError("a graph has several node or edge types; the zoo's models take homogeneous graphs")
        graph.ndata.update({name: _restored(name, values) for name, values in graph.ndata.items()})
        check_graph(graph)
    if len(graphs) == 1:
        return graphs[0]
    label = labels.get("label")
    if label is None or label.shape != (len(graphs),) or label.is_floating_point() or not len(graphs):
        raise GraphError(
            f'{len(graphs)} graphs need an integer label each, labels={{"label": tensor}} in dgl.save_graphs; '
            f"found {', '.join(labels) or 'none'}"
        )
    masks = (labels.get(name, torch.zeros(len(graphs))).bool() for name in MASKS)
    return GraphDataset(path.stem, graphs, label.long(), int(label.max()) + 1, *masks)


def _restored(name: str, values: Tensor) -> Tensor:
    """Features as float32, and masks as bool again: DGL's format stores bool as uint8."""
    if name == "feat":
        return values.float()
    return values.bool() if name in MASKS and values.dtype == torch.uint8 else values


def _folder(path: Path) -> tuple[dict[str, Any], list[str] | None]:
    """The arguments of `from_arrays`, and the nodes' names if they have any."""
    table = _table(path / "nodes.csv")
    feat, nodes = _features(table)
    names = nodes.get("id")
    arguments: dict[str, Any] = {"edges": _edges(path / "edges.csv", len(feat), names), "feat": feat}
    if "label" in nodes:
        arguments["label"] = _labels(nodes["label"], nodes.get("split"))
    if "split" in nodes:
        arguments |= _masks(nodes["split"])
    return arguments, names


def _features(table: Iterator[list[str]]) -> tuple[Array, dict[str, list[str]]]:
    """From the rows of nodes.csv, header first: the features as one matrix, the other columns as they are written."""
    places = {name: place for place, name in enumerate(next(table))}
    others = {name: (places.pop(name), list[str]()) for name in _NOT_FEATURES if name in places}
    if not places:
        raise GraphError("nodes.csv has no feature columns")
    values = array("d")
    for row in table:
        for place, column in others.values():
            column.append(row[place])
        values.extend([_number(name, row[place]) for name, place in places.items()])
    return np.array(values).reshape(-1, len(places)), {name: column for name, (_, column) in others.items()}


def _edges(path: Path, num_nodes: int, names: list[str] | None) -> tuple[Array, Array]:
    """Sources and destinations as node numbers."""
    names = [str(number) for number in range(num_nodes)] if names is None else names
    numbers = {name: number for number, name in enumerate(names)}
    if len(numbers) != num_nodes:
        raise GraphError("nodes.csv names a node twice in its column id")
    table = _table(path)
    header = next(table)
    if missing := {"src", "dst"} - set(header):
        raise GraphError(f"edges.csv has no column {' and '.join(sorted(missing))}")
    src, dst = header.index("src"), header.index("dst")
    ends = array("q")
    try:
        for row in table:
            ends.extend((numbers[row[src]], numbers[row[dst]]))
    except KeyError as error:
        raise GraphError(f"edges.csv names node {error}, which nodes.csv does not have") from error
    pairs = np.array(ends).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _labels(column: list[str], split: list[str] | None) -> Array:
    """Classes if every cell is written as a whole number, else targets; an unlabelled node outside the split gets 0."""
    given = [cell or ("0" if split is not None and not split[node] else "") for node, cell in enumerate(column)]
    if missing := [node for node, cell in enumerate(given) if not cell]:
        why = "its node is in the split" if split is not None else "there is no column split that leaves its node out"
        raise GraphError(f"nodes.csv, column label: row {missing[0] + 2} is empty, but {why}")
    labels = np.array([_number("label", cell) for cell in given])
    classes = all(cell.lstrip("+-").isdigit() for cell in given)
    return labels.astype(np.int64) if classes else labels


def _table(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file, the column names first; a large file is never in memory as a whole."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = ([cell.strip() for cell in row] for row in csv.reader(file) if row)
            header = next(rows, None)
            if header is None:
                raise GraphError(f"{path.name} cannot be read as CSV (it is empty)")
            if len(set(header)) < len(header):
                raise GraphError(f"{path.name} names a column twice: {', '.join(header)}")
            yield header
            for number, row in enumerate(rows, start=2):
                if len(row) != len(header):
                    raise GraphError(f"{path.name}, line {number}: {len(row)} cells for {len(header)} columns")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GraphError(f"{path.name} cannot be read as CSV ({error})") from error


def _number(name: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise GraphError(f"nodes.csv, column {name}: {error}") from error


def _masks(parts: list[str]) -> dict[str, Array]:
    if unknown := set(parts) - {*_PARTS, ""}:
        raise GraphError(f"nodes.csv, column split: {sorted(unknown)[0]!r} is none of train, val, test or empty")
    return {mask: np.array([given == part for given in parts]) for part, mask in _PARTS.items()}
