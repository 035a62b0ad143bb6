"""DropEdge and DropMessage: expectations over every draw, gradients, and batches; nothing in evaluation."""

import itertools
import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import normalised
from torch import Tensor

from zoo import ops
from zoo._dgl import dgl
from zoo.errors import ConfigError, GraphError
from zoo.nn import drops
from zoo.nn.drops import DropEdge, DropMessage


def pairs(graph: Any) -> list[tuple[int, int]]:
    return list(zip(*(ends.tolist() for ends in graph.edges()), strict=True))


def dense(graph: Any) -> Tensor:
    """A[i, j] = number of edges j → i."""
    matrix = torch.zeros(graph.num_nodes(), graph.num_nodes(), dtype=torch.float64)
    for sender, receiver in pairs(graph):
        matrix[receiver, sender] += 1
    return matrix


def random_graph(num_nodes: int, num_edges: int) -> Any:
    return dgl.graph(tuple(torch.randint(num_nodes, (2, num_edges))), num_nodes=num_nodes)


def features(graph: Any, width: int = 3) -> Tensor:
    return torch.randn(graph.num_nodes(), width, dtype=torch.float64)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_that_share_of_the_edges_goes_and_self_loops_stay(rate: float, graph: Any) -> None:
    loops = [pair for pair in pairs(graph) if pair[0] == pair[1]]
    others = [pair for pair in pairs(graph) if pair[0] != pair[1]]
    dropped = DropEdge(rate)(graph)
    kept = [pair for pair in pairs(dropped) if pair[0] != pair[1]]
    assert [pair for pair in pairs(dropped) if pair[0] == pair[1]] == loops
    assert len(kept) == len(others) - int(rate * len(others))
    assert all(kept.count(pair) <= others.count(pair) for pair in kept)
    assert (dropped.num_nodes(), dropped.idtype) == (graph.num_nodes(), graph.idtype)


def test_every_edge_is_dropped_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = dgl.graph(([0, 1, 2, 3, 3], [1, 2, 3, 0, 3]))
    mean = torch.zeros(4, 4, dtype=torch.float64)
    for order in itertools.permutations(range(4)):
        monkeypatch.setattr(torch, "randperm", lambda number, order=order: torch.tensor(order[:number]))
        mean += dense(DropEdge(0.25)(graph)) / 24
    expected = 0.75 * dense(graph)
    expected[3, 3] = 1
    torch.testing.assert_close(mean, expected)


def test_kept_edges_are_normalised_by_their_own_degrees(graph: Any) -> None:
    dropped, x = DropEdge(0.4)(graph), features(graph)
    torch.testing.assert_close(ops.propagate_gcn(dropped, x), normalised(dense(dropped)) @ x)


def test_edges_are_drawn_anew_from_torchs_generator() -> None:
    graph, drop = random_graph(20, 100), DropEdge(0.5)
    torch.manual_seed(1)
    first, second = pairs(drop(graph)), pairs(drop(graph))
    torch.manual_seed(1)
    assert pairs(drop(graph)) == first != second


def test_a_batch_stays_one_and_keeps_its_node_data() -> None:
    graphs = [random_graph(size, 3 * size) for size in (4, 1, 6)]
    batch = dgl.batch(graphs)
    batch.ndata["feat"] = features(batch)
    dropped = DropEdge(0.5)(batch)
    assert dropped.ndata["feat"] is batch.ndata["feat"]
    assert dropped.batch_num_nodes().tolist() == [4, 1, 6]
    parts = dgl.unbatch(dropped)
    assert [part.num_edges() for part in parts] == dropped.batch_num_edges().tolist()
    assert sum(part.num_edges() for part in parts) == dropped.num_edges()
    assert torch.equal(torch.block_diag(*(dense(part) for part in parts)), dense(dropped))


def test_messages_are_right_in_expectation_over_all_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, rate = dgl.graph(([0, 1, 2, 0], [1, 2, 1, 0])), 0.3
    x = features(graph, width=2)
    mean = torch.zeros_like(x)
    for mask in itertools.product([0.0, 1.0], repeat=8):
        values = torch.tensor(mask, dtype=x.dtype).view(4, 2)
        monkeypatch.setattr(Tensor, "bernoulli_", lambda self, p, generator, values=values: self.copy_(values))
        probability = rate ** mask.count(0) * (1 - rate) ** mask.count(1)
        mean += probability * DropMessage(rate)(graph, x)
    torch.testing.assert_close(mean, normalised(dense(graph)) @ x)


@pytest.mark.parametrize("block_size", [1, 7, 1 << 22])
def test_what_is_left_of_a_message_is_scaled(block_size: int, graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "BLOCK_SIZE", block_size)
    x, adjacency = features(graph), dense(graph)
    left = DropMessage(0.6)(graph, x)
    for node in range(graph.num_nodes()):
        senders = [sender for sender, receiver in pairs(graph) if receiver == node]
        factors = normalised(adjacency)[node, senders] / adjacency[node, senders] / 0.4
        for column, messages in enumerate((factors.unsqueeze(1) * x[senders]).t().tolist()):
            chosen = itertools.product([0.0, 1.0], repeat=len(messages))
            sums = [sum(map(operator.mul, messages, mask)) for mask in chosen]
            assert min(abs(left[node, column].item() - each) for each in sums) < 1e-10


@pytest.mark.parametrize("block_size", [1, 7, 1 << 22])
def test_the_gradient_of_messages_sees_the_same_masks(
    block_size: int, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drops, "BLOCK_SIZE", block_size)
    drop, x = DropMessage(0.4), features(graph).requires_grad_()

    def dropped(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return drop(graph, x)

    assert torch.autograd.gradcheck(dropped, (x,))


def test_messages_are_drawn_anew_from_torchs_generator() -> None:
    graph, drop = random_graph(20, 100), DropMessage(0.5)
    x = features(graph)
    torch.manual_seed(1)
    first, second = drop(graph, x), drop(graph, x)
    torch.manual_seed(1)
    assert torch.equal(drop(graph, x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_nothing_is_dropped_in_evaluation_or_at_rate_0(rate: float, training: bool, graph: Any) -> None:
    x, state = features(graph), torch.get_rng_state()
    assert DropEdge(rate).train(training)(graph) is graph
    assert torch.equal(DropMessage(rate).train(training)(graph, x), ops.propagate_gcn(graph, x))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("make", [DropEdge, DropMessage])
def test_impossible_rates_are_refused(make: Callable[[float], Any], rate: float) -> None:
    with pytest.raises(ConfigError, match=f"{make.__name__}'s rate must be at least 0 and below 1, got {rate}"):
        make(rate)


def test_a_graph_of_several_types_is_refused() -> None:
    graph = dgl.heterograph({("a", "to", "b"): ([0], [1]), ("b", "to", "a"): ([0], [1])})
    with pytest.raises(GraphError, match="several node or edge types"):
        DropEdge(0.5).train()(graph)


@pytest.mark.parametrize("formats", ["csr", "csc"])
def test_a_graph_restricted_to_a_format_loses_the_same(formats: str) -> None:
    graph = dgl.rand_graph(20, 80)
    torch.manual_seed(0)
    expected = DropEdge(0.5)(graph)
    torch.manual_seed(0)
    kept = DropEdge(0.5)(graph.formats(formats))
    assert all(map(torch.equal, kept.edges(), expected.edges()))
    x = torch.rand(20, 3)
    sums = []
    for given in (graph, graph.formats(formats)):
        torch.manual_seed(0)
        sums.append(DropMessage(0.5)(given, x))
    torch.testing.assert_close(*sums)
