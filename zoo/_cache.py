"""What is derived from a graph or a constant tensor is computed once, and forgotten with its owner."""

import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

__all__ = ["latest", "per_graph", "per_tensor"]

T = TypeVar("T")

_graphs: weakref.WeakKeyDictionary[Any, tuple[Any, Any, dict[Any, Any]]] = weakref.WeakKeyDictionary()
_tensors: dict[int, tuple[weakref.ref[Tensor], int, dict[Any, Any]]] = {}


def per_graph(graph: Any, key: Any, compute: Callable[[], T]) -> T:
    """What `compute` returns, computed once for this structure of a DGLGraph.

    DGL puts a new index object into a graph whenever its nodes or edges change, and a new dictionary when the sizes of
    its batch do: the entry goes with the old ones.
    """
    index, sizes = graph._graph, graph._batch_num_nodes
    entry = _graphs.get(graph)
    if entry is None or entry[0] is not index or entry[1] is not sizes:
        entry = _graphs[graph] = (index, sizes, {})
    return _computed(entry[2], key, compute)


def per_tensor(tensor: Tensor, key: Any, compute: Callable[[], T]) -> T:
    """What `compute` returns, computed once for this content of a tensor.

    In-place changes are seen by the tensor's version counter; an inference tensor has none and is never remembered.
    The result must not refer to the tensor, or it would keep its owner alive.
    """
    if tensor.is_inference():
        return compute()
    address = id(tensor)
    entry = _tensors.get(address)
    if entry is None or entry[0]() is not tensor or entry[1] != tensor._version:
        entry = _tensors[address] = (_reference(tensor, address), tensor._version, {})
    return _computed(entry[2], key, compute)


def latest(tensor: Tensor, graph: Any, key: Any, compute: Callable[[], T]) -> T:
    """What `compute` returns for this content of a tensor and this structure of a graph or of a copy of it.

    Of each tensor one result is remembered, the last: it can be as large as the tensor.
    """
    results: list[tuple[weakref.ref[Any], dict[Any, Any]]] = per_tensor(tensor, latest, list)
    entry = results[0] if results else None  # looked at once: another thread may put its own there
    if entry is None or entry[0]() is not graph._graph or key not in entry[1]:
        results[:] = [entry := (weakref.ref(graph._graph), {})]
    return _computed(entry[1], key, compute)


def _reference(tensor: Tensor, address: int) -> weakref.ref[Tensor]:
    def forget(dead: weakref.ref[Tensor], tensors: dict[int, Any] = _tensors) -> None:  # globals are gone at the exit
        entry = tensors.get(address)
        if entry is not None and entry[0] is dead:
            del tensors[address]

    return weakref.ref(tensor, forget)


def _computed(values: dict[Any, Any], key: Any, compute: Callable[[], T]) -> T:
    if key not in values:
        # What is remembered is a constant, but one that may have a part in a gradient later.
        with torch.inference_mode(False), torch.no_grad():
            values[key] = compute()
    return cast(T, values[key])
