"""Message passing against dense matrices and loops over edges, on graphs with every oddity of GRAPHS."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import mean_over_rows, normalised
from torch import Tensor
from torch.autograd import gradcheck

from zoo import ops
from zoo._dgl import dgl
from zoo.errors import GraphError

Edges = list[tuple[int, int]]


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def values_of_edges(edges: Edges, values: Tensor) -> Tensor:
    """From (num_edges, heads) to the flat order of `zoo.ops`."""
    targets = range(1 + max((target for _, target in edges), default=-1))
    incoming = [[number for number, edge in enumerate(edges) if edge[1] == target] for target in targets]
    return torch.cat([values[numbers].t().flatten() for numbers in incoming] or [values.flatten()])


UNWEIGHTED: list[tuple[Callable[[Any, Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
    (ops.propagate, lambda adjacency: adjacency),
    (ops.propagate_mean, mean_over_rows),
    (ops.propagate_gcn, normalised),
]


@pytest.mark.parametrize(("function", "matrix"), UNWEIGHTED)
def test_propagation_is_a_matrix_product(
    graph: Any, adjacency: Tensor, function: Callable[[Any, Tensor], Tensor], matrix: Callable[[Tensor], Tensor]
) -> None:
    x, upstream = rand(graph.num_nodes(), 4).requires_grad_(), rand(graph.num_nodes(), 4)
    result = function(graph, x)
    (grad,) = torch.autograd.grad(result, x, upstream)
    torch.testing.assert_close(result, matrix(adjacency) @ x, rtol=0, atol=1e-12)
    torch.testing.assert_close(grad, matrix(adjacency).t() @ upstream, rtol=0, atol=1e-12)


def test_propagate_takes_further_dimensions(graph: Any, adjacency: Tensor) -> None:
    x = rand(graph.num_nodes(), 3, 2)
    expected = torch.einsum("ij,jhw->ihw", adjacency, x)
    torch.testing.assert_close(ops.propagate(graph, x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 3])
def test_weighted_propagation_sums_over_edges(graph: Any, edges: Edges, heads: int) -> None:
    x = rand(graph.num_nodes(), heads, 2).requires_grad_()
    weight = rand(len(edges), heads)
    expected = [torch.zeros(heads, 2, dtype=torch.float64) for _ in range(graph.num_nodes())]
    for edge, (source, target) in enumerate(edges):
        expected[target] = expected[target] + weight[edge].unsqueeze(1) * x[source]
    values = values_of_edges(edges, weight).requires_grad_()
    torch.testing.assert_close(ops.propagate(graph, x, values), torch.stack(expected), rtol=0, atol=1e-12)
    if edges:
        assert gradcheck(lambda x, values: ops.propagate(graph, x, values), (x, values))


def test_weights_of_one_are_no_weights(graph: Any, edges: Edges) -> None:
    x = rand(graph.num_nodes(), 2)
    ones = torch.ones(len(edges), dtype=torch.float64)
    torch.testing.assert_close(ops.propagate(graph, x, ones), ops.propagate(graph, x), rtol=0, atol=1e-12)


def test_degrees(graph: Any, adjacency: Tensor) -> None:
    degrees = ops.in_degrees(graph, torch.empty(0, dtype=torch.float64))
    scale = ops.degree_scale(graph, torch.empty(0, dtype=torch.float64))
    assert degrees.shape == scale.shape == (graph.num_nodes(), 1)
    assert torch.equal(degrees.squeeze(1), adjacency.sum(1))
    expected = [degree**-0.5 if degree > 0 else 0.0 for degree in adjacency.sum(1).tolist()]
    torch.testing.assert_close(scale.squeeze(1), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)


def test_degrees_have_the_dtype_that_is_asked_for(graph: Any) -> None:
    for dtype in (torch.float32, torch.float64, torch.float32):
        assert ops.in_degrees(graph, torch.empty(0, dtype=dtype)).dtype == dtype
        assert ops.degree_scale(graph, torch.empty(0, dtype=dtype)).dtype == dtype


def test_reverse_turns_every_edge_round(graph: Any, edges: Edges) -> None:
    src, dst = ops.reverse(graph).edges(order="eid")
    assert list(zip(dst.tolist(), src.tolist(), strict=True)) == edges
    assert ops.reverse(graph).num_nodes() == graph.num_nodes()
    assert ops.reverse(graph).idtype == graph.idtype


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_edge_softmax_is_over_the_in_edges_of_each_node(graph: Any, edges: Edges, size: float) -> None:
    logits = size * rand(len(edges), 2)
    expected = torch.empty_like(logits)
    for target in range(graph.num_nodes()):
        incoming = [number for number, edge in enumerate(edges) if edge[1] == target]
        expected[incoming] = logits[incoming].softmax(0)
    result = ops.edge_softmax(graph, values_of_edges(edges, logits))
    torch.testing.assert_close(result, values_of_edges(edges, expected), rtol=0, atol=1e-12)


def test_edge_scores_join_both_ends(graph: Any, edges: Edges) -> None:
    src, dst = rand(graph.num_nodes(), 2, 3), rand(graph.num_nodes(), 2, 3)
    dots, sums = rand(len(edges), 2), rand(len(edges), 2)
    for number, (source, target) in enumerate(edges):
        dots[number] = (src[source] * dst[target]).sum(1)
        sums[number] = src[source, :, 0] + dst[target, :, 0]
    expected_dots, expected_sums = values_of_edges(edges, dots), values_of_edges(edges, sums)
    torch.testing.assert_close(ops.edge_dot(graph, src, dst), expected_dots, rtol=0, atol=1e-12)
    torch.testing.assert_close(ops.edge_add(graph, src[..., 0], dst[..., 0]), expected_sums, rtol=0, atol=1e-12)


def test_edge_functions_have_the_right_gradients(graph: Any, edges: Edges) -> None:
    if not edges:
        pytest.skip("no edge, no gradient")
    src, dst = rand(graph.num_nodes(), 2, 3).requires_grad_(), rand(graph.num_nodes(), 2, 3).requires_grad_()
    assert gradcheck(lambda src, dst: ops.edge_dot(graph, src, dst), (src, dst))
    assert gradcheck(lambda src, dst: ops.edge_add(graph, src[..., 0], dst[..., 0]), (src, dst))
    assert gradcheck(lambda scores: ops.edge_softmax(graph, scores), (rand(2 * len(edges)).requires_grad_(),))


def attend(graph: Any, x: Tensor) -> Tensor:
    """Sums with attention over each node's in-edges, which depend on both ends of every edge."""

    def gather(graph: Any, receivers: slice) -> Tensor:
        return ops.propagate(graph, x, ops.edge_softmax(graph, ops.edge_dot(graph, x, x[receivers])))

    return ops.per_receiver(graph, gather)


@pytest.mark.parametrize("block_size", [1, 2, 3, 100])
def test_blocks_give_what_the_whole_graph_gives(graph: Any, block_size: int) -> None:
    x = rand(graph.num_nodes(), 2, 3)
    with ops.in_blocks(block_size):
        in_blocks = attend(graph, x)
    assert torch.equal(in_blocks, attend(graph, x))


@pytest.mark.parametrize("block_size", [1, 2, 3, 100])
def test_a_block_has_all_in_edges_of_its_nodes_and_no_more_edges_than_allowed(
    graph: Any, edges: Edges, block_size: int
) -> None:
    nodes: list[int] = []

    def compute(block: Any, receivers: slice) -> Tensor:
        members = range(graph.num_nodes())[receivers]
        nodes.extend(members)
        src, dst = block.edges()
        found = [(source, members[target]) for source, target in zip(src.tolist(), dst.tolist(), strict=True)]
        assert sorted(found) == sorted(edge for edge in edges if edge[1] in members)
        assert block.num_edges() <= block_size or len(members) == 1
        return torch.zeros(len(members))

    with ops.in_blocks(block_size):
        ops.per_receiver(graph, compute)
    assert nodes == list(range(graph.num_nodes()))


def test_there_are_blocks_only_where_they_are_asked_for() -> None:
    graph, met = dgl.graph(([0, 1], [1, 2]), num_nodes=3), []

    def compute(block: Any, receivers: slice) -> Tensor:
        met.append(block.num_edges())
        return torch.zeros(block.num_dst_nodes())

    ops.per_receiver(graph, compute)
    with pytest.raises(KeyError), ops.in_blocks(1):
        ops.per_receiver(graph, compute)
        raise KeyError
    ops.per_receiver(graph, compute)
    assert met == [2, 1, 1, 2]


def test_no_gradients_are_recorded_in_blocks(graph: Any) -> None:
    with ops.in_blocks(1):
        assert not attend(graph, rand(graph.num_nodes(), 1, 2).requires_grad_()).requires_grad


@pytest.mark.parametrize("reducer", ["sum", "mean", "max"])
@pytest.mark.parametrize("sizes", [[3], [2, 1, 4]])
@pytest.mark.parametrize("idtype", [torch.int32, torch.int64])
def test_readout_reduces_each_graph_of_a_batch(reducer: str, sizes: list[int], idtype: torch.dtype) -> None:
    graph = dgl.batch([dgl.graph(([0], [0]), num_nodes=size, idtype=idtype) for size in sizes])
    x = rand(sum(sizes), 3).requires_grad_()
    parts = x.split(sizes)
    expected = torch.stack([part.max(0).values if reducer == "max" else getattr(part, reducer)(0) for part in parts])
    torch.testing.assert_close(ops.readout(graph, x, reducer), expected, rtol=0, atol=1e-12)
    assert gradcheck(lambda x: ops.readout(graph, x, reducer), (x,))


def test_an_edge_added_in_place_is_seen() -> None:
    graph, x = dgl.graph(([0, 1], [1, 2]), num_nodes=3), rand(3, 2)
    for function, _ in UNWEIGHTED:
        function(graph, x)
    assert ops.reverse(graph).num_edges() == 2
    graph.add_edges([2, 0], [0, 2])
    adjacency = torch.tensor([[0, 0, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.float64)
    for function, matrix in UNWEIGHTED:
        torch.testing.assert_close(function(graph, x), matrix(adjacency) @ x, rtol=0, atol=1e-12)
    assert ops.reverse(graph).num_edges() == 4


def test_what_is_derived_is_computed_once_and_goes_with_the_graph() -> None:
    graph = dgl.graph(([0, 1], [1, 2]), num_nodes=3)
    like = torch.empty(0)
    derived = [ops.reverse(graph), ops.degree_scale(graph, like), ops.in_degrees(graph, like)]
    again = [ops.reverse(graph), ops.degree_scale(graph, like), ops.in_degrees(graph, like)]
    assert all(one is other for one, other in zip(derived, again, strict=True))
    remains = [weakref.ref(graph), *map(weakref.ref, derived)]
    del graph, derived, again
    gc.collect()
    assert [reference() for reference in remains] == [None] * 4


@pytest.mark.parametrize("function", [ops.propagate_mean, ops.propagate_gcn])
def test_a_graph_met_in_inference_mode_can_be_trained_on(function: Callable[[Any, Tensor], Tensor]) -> None:
    graph = dgl.graph(([0, 1], [1, 0]))
    with torch.inference_mode():
        function(graph, torch.ones(2, 1))
    x = torch.ones(2, 1, requires_grad=True)
    function(graph, x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1], [1]]


EDGES = ([0, 0, 1, 3], [1, 2, 0, 3])
OFFSETS, ENDS, NO_NUMBERS = torch.tensor([0, 2, 3, 3, 4]), torch.tensor([1, 2, 0, 3]), torch.empty(0, dtype=torch.int64)


@pytest.mark.parametrize(
    ("graph", "sources", "targets"),
    [
        (dgl.graph(("csr", (OFFSETS, ENDS, NO_NUMBERS))), *EDGES),
        (dgl.graph(("csc", (OFFSETS, ENDS, NO_NUMBERS))), *reversed(EDGES)),
        *((dgl.graph(EDGES).formats(kind), *EDGES) for kind in ("coo", "csr", "csc")),
    ],
    ids=["csr", "csc", "only-coo", "only-csr", "only-csc"],
)
def test_however_a_graph_is_kept_its_sums_and_gradients_are_the_same(
    graph: Any, sources: list[int], targets: list[int]
) -> None:
    adjacency = torch.zeros(4, 4, dtype=torch.float64)
    adjacency[targets, sources] = 1
    x, heads = rand(4, 2).requires_grad_(), rand(4, 2, 3).requires_grad_()
    torch.testing.assert_close(ops.propagate(graph, x), adjacency @ x, rtol=0, atol=1e-12)
    assert gradcheck(lambda x: ops.propagate(graph, x), (x,))
    assert gradcheck(lambda x: ops.propagate(graph, x, ops.edge_softmax(graph, ops.edge_dot(graph, x, x))), (heads,))


def test_features_of_other_nodes_are_refused(graph: Any) -> None:
    with pytest.raises(GraphError, match=r"feat has \d+ rows, the graph has \d+ nodes"):
        ops.propagate(graph, rand(graph.num_nodes() + 1, 2))


@pytest.mark.parametrize("heads", [1, 3])
def test_every_value_of_an_edge_belongs_to_an_edge_with_its_ends(graph: Any, edges: Edges, heads: int) -> None:
    numbers, ends = ops.edge_numbers(graph, heads, graph.device), ops.edge_ends(graph, graph.device)
    for end, found in enumerate(ends):
        expected = torch.tensor([edge[end] for edge in edges], dtype=torch.int64).view(-1, 1).expand(-1, heads)
        assert torch.equal(found[numbers], values_of_edges(edges, expected))


def test_selected_edges_make_a_graph_of_them_in_the_same_order(graph: Any) -> None:
    x, kept = rand(graph.num_nodes(), 2), torch.rand(graph.num_edges()) < 0.6
    selected = ops.select_edges(graph, kept)
    assert (selected.num_nodes(), selected.idtype) == (graph.num_nodes(), graph.idtype)
    for found, ends in zip(ops.edge_ends(selected, x.device), ops.edge_ends(graph, x.device), strict=True):
        assert torch.equal(found, ends[kept])
    values = rand(graph.num_edges())
    expected = ops.propagate(graph, x, values * kept)
    torch.testing.assert_close(ops.propagate(selected, x, values[kept]), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_a_blocks_in_edges_are_found_among_the_graphs(graph: Any, block_size: int) -> None:
    senders, _ = ops.edge_ends(graph, graph.device)
    met = []

    def compute(block: Any, receivers: slice) -> Tensor:
        own = senders[ops.in_edges(graph, receivers, senders.device)]
        assert torch.equal(own, ops.edge_ends(block, senders.device)[0])
        met.append(len(own))
        return torch.zeros(block.num_dst_nodes())

    with ops.in_blocks(block_size):
        ops.per_receiver(graph, compute)
    assert sum(met) == graph.num_edges()


@pytest.mark.parametrize("block_size", [1, 5, 1000])
@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0, 3.0])
def test_powers_of_differences_are_summed_over_edges(
    graph: Any, edges: Edges, exponent: float, block_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops, "BLOCK_SIZE", block_size)
    x = rand(graph.num_nodes(), 2).requires_grad_()
    expected = [torch.zeros(2, dtype=torch.float64) for _ in range(graph.num_nodes())]
    for source, target in edges:
        expected[target] = expected[target] + (x[source] - x[target]).abs() ** exponent
    result = ops.propagate_differences(graph, x, exponent)
    torch.testing.assert_close(result, torch.stack(expected), rtol=0, atol=1e-12)
    assert gradcheck(lambda x: ops.propagate_differences(graph, x, exponent), (x,))


def test_powers_of_small_differences_are_not_lost() -> None:
    graph, x = dgl.graph(([0, 1], [1, 0])), torch.tensor([[1000.0], [1000.0625]])
    assert ops.propagate_differences(graph, x, 2.0).tolist() == [[0.0625**2]] * 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sums_of_many_half_floats_are_right(dtype: torch.dtype) -> None:
    hub = dgl.graph((torch.arange(3000), torch.zeros(3000, dtype=torch.int64)), num_nodes=3000)
    for reducer, expected in {"mean": 1.0, "sum": 3000.0, "max": 1.0}.items():
        found = ops.readout(hub, torch.ones(3000, 2, dtype=dtype), reducer)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), torch.full((1, 2), expected), rtol=0.01, atol=0)
    attention = ops.edge_softmax(hub, torch.zeros(3000, dtype=dtype))
    torch.testing.assert_close(attention.float(), torch.full((3000,), 1 / 3000), rtol=0.01, atol=0)
    ends = torch.zeros(3000, 1, dtype=dtype, requires_grad=True)
    ops.edge_add(hub, torch.zeros_like(ends), ends).sum().backward()
    assert ends.grad is not None
    assert ends.grad[0].item() == pytest.approx(3000, rel=0.01)
