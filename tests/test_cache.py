"""What is derived from a graph or tensor: computed once, anew after a change, and freed with its owner."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo._cache import latest, per_graph, per_tensor
from zoo._dgl import dgl


class Counter:
    """Returns a new object at each call, and counts them."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        return type("Value", (), {"number": self.calls})()


def small_graph() -> Any:
    return dgl.graph(([0, 1], [1, 2]), num_nodes=3)


OWNERS: list[tuple[Callable[[Any, Any, Callable[[], Any]], Any], Callable[[], Any]]] = [
    (per_graph, small_graph),
    (per_tensor, lambda: torch.ones(3)),
]


@pytest.mark.parametrize(("remember", "make"), OWNERS)
def test_computed_once_per_owner_and_key(remember: Callable[..., Any], make: Callable[[], Any]) -> None:
    compute, first, second = Counter(), make(), make()
    values = [remember(owner, key, compute) for owner in (first, second) for key in ("a", ("b", 1)) for _ in range(2)]
    assert [value.number for value in values] == [1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(("remember", "make"), OWNERS)
def test_none_is_remembered_too(remember: Callable[..., Any], make: Callable[[], Any]) -> None:
    owner, calls = make(), []
    for _ in range(2):
        assert remember(owner, "key", lambda: calls.append(1)) is None
    assert len(calls) == 1


@pytest.mark.parametrize(("remember", "make"), OWNERS)
def test_a_failed_computation_is_not_remembered(remember: Callable[..., Any], make: Callable[[], Any]) -> None:
    owner = make()
    with pytest.raises(ZeroDivisionError):
        remember(owner, "key", lambda: 1 // 0)
    assert remember(owner, "key", lambda: 5) == 5


@pytest.mark.parametrize(("remember", "make"), OWNERS)
def test_freed_with_the_owner(remember: Callable[..., Any], make: Callable[[], Any]) -> None:
    owner = make()
    remains = [weakref.ref(owner), weakref.ref(remember(owner, "key", Counter()))]
    assert all(reference() is not None for reference in remains)
    del owner
    gc.collect()
    assert all(reference() is None for reference in remains)


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: graph.add_edges([0], [2]),
        lambda graph: graph.add_nodes(1),
        lambda graph: graph.remove_edges([0]),
        lambda graph: graph.remove_nodes([2]),
        lambda graph: graph.set_batch_num_nodes(torch.tensor([1, graph.num_nodes() - 1])),
    ],
    ids=["add_edges", "add_nodes", "remove_edges", "remove_nodes", "set_batch_num_nodes"],
)
def test_computed_anew_after_a_graph_changes(change: Callable[[Any], None]) -> None:
    graph, compute = small_graph(), Counter()
    old = weakref.ref(per_graph(graph, "key", compute))
    change(graph)
    assert per_graph(graph, "key", compute).number == 2
    gc.collect()
    assert old() is None


def test_new_features_leave_a_graphs_structure_known() -> None:
    graph, compute = small_graph(), Counter()
    per_graph(graph, "key", compute)
    graph.ndata["feat"] = torch.ones(3, 1)
    assert per_graph(graph, "key", compute).number == 1


@pytest.mark.parametrize(
    "change",
    [lambda tensor: tensor.add_(1), lambda tensor: tensor.__setitem__(0, 5), lambda tensor: tensor[1:].zero_()],
    ids=["add_", "setitem", "view"],
)
def test_computed_anew_after_a_tensor_changes_in_place(change: Callable[[torch.Tensor], None]) -> None:
    tensor, compute = torch.ones(3), Counter()
    per_tensor(tensor, "key", compute)
    change(tensor)
    assert per_tensor(tensor, "key", compute).number == 2


def test_an_inference_tensor_is_never_remembered() -> None:
    compute = Counter()
    with torch.inference_mode():
        tensor = torch.ones(3)
    assert [per_tensor(tensor, "key", compute).number for _ in range(2)] == [1, 2]


def test_equal_tensors_one_after_another_at_one_address_are_told_apart() -> None:
    compute = Counter()
    for number in range(1, 20):
        tensor = torch.ones(3)
        assert per_tensor(tensor, "key", compute).number == number
        del tensor


def test_the_latest_of_a_tensor_is_shared_by_copies_of_a_graph_and_the_only_one_kept() -> None:
    compute, tensor, graph = Counter(), torch.ones(3), small_graph()
    first = latest(tensor, graph, "a", compute)
    assert latest(tensor, graph.local_var(), "a", compute) is first
    kept = weakref.ref(first)
    del first
    assert latest(tensor, graph, "b", compute).number == 2
    assert kept() is None
    assert latest(tensor, graph, "a", compute).number == 3
    assert latest(tensor, small_graph(), "a", compute).number == 4
    assert latest(torch.ones(3), graph, "a", compute).number == 5
    tensor += 1
    graph.add_edges([2], [0])
    assert [latest(tensor, graph, "a", compute).number for _ in range(2)] == [6, 6]
    graph.add_edges([2], [0])
    assert latest(tensor, graph, "a", compute).number == 7


def test_nothing_is_said_when_python_ends(tmp_path: Path) -> None:
    lines = ["import zoo", "graph = zoo.datasets.load('digits')", "graph.ndata['feat'] = graph.ndata['feat'].double()"]
    lines += ["def test(): zoo.load('cna-gcn-digits')(graph)"]  # pytest keeps the module, and so the graph, to the end
    (tmp_path / "test_it.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "pytest", "-q", "test_it.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stderr == ""


def test_the_latest_keeps_no_graph_alive() -> None:
    tensor, graph = torch.ones(3), small_graph()
    latest(tensor, graph, "key", Counter())
    structure = weakref.ref(graph._graph)
    del graph
    gc.collect()
    assert structure() is None
