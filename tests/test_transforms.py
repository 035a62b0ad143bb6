"""Transforms: what each does to edges, data and batches, and that the given graph stays as it is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo._dgl import dgl
from zoo.datasets import transforms
from zoo.errors import ConfigError, GraphError

# Node 3 has a self-loop, node 4 is isolated, 0 -> 1 is there twice.
EDGES = [(0, 1), (0, 1), (1, 0), (1, 2), (3, 3)]


def make_graph(edges: list[tuple[int, int]] = EDGES, num_nodes: int = 5, **options: Any) -> dgl.DGLGraph:
    graph = dgl.graph(edges, num_nodes=num_nodes, **options)
    graph.ndata["feat"] = torch.arange(2.0 * num_nodes).view(num_nodes, 2) - 2
    graph.ndata["label"] = torch.arange(num_nodes)
    graph.ndata["train_mask"] = torch.arange(num_nodes) < 2
    return graph


def edges_of(graph: dgl.DGLGraph) -> list[tuple[int, int]]:
    src, dst = graph.edges()
    return list(zip(src.tolist(), dst.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add_self_loop", [(0, 0), (0, 1), (0, 1), (1, 0), (1, 1), (1, 2), (2, 2), (3, 3), (4, 4)]),
        ("remove_self_loop", [(0, 1), (0, 1), (1, 0), (1, 2)]),
        ("to_undirected", [(0, 1), (1, 0), (1, 2), (2, 1), (3, 3)]),
        ("row_normalize", EDGES),
    ],
)
def test_edges(name: str, expected: list[tuple[int, int]]) -> None:
    assert edges_of(transforms.apply(make_graph(), [name])) == expected


@pytest.mark.parametrize("name", ["add_self_loop", "remove_self_loop", "to_undirected"])
@pytest.mark.parametrize("idtype", [torch.int32, torch.int64])
def test_node_data_and_index_type_are_kept(name: str, idtype: torch.dtype) -> None:
    graph = make_graph(idtype=idtype)
    new = transforms.apply(graph, [name])
    assert new.idtype == idtype
    assert new.ndata.keys() == graph.ndata.keys()
    assert all(torch.equal(new.ndata[key], graph.ndata[key]) for key in graph.ndata)


@pytest.mark.parametrize("name", ["add_self_loop", "remove_self_loop", "to_undirected", "row_normalize"])
def test_twice_is_once(name: str) -> None:
    once = transforms.apply(make_graph(), [name])
    twice = transforms.apply(once, [name])
    assert edges_of(twice) == edges_of(once)
    assert torch.allclose(twice.ndata["feat"], once.ndata["feat"])


@pytest.mark.parametrize("name", transforms.TRANSFORMS)
def test_the_given_graph_stays_as_it_is(name: str) -> None:
    graph = make_graph()
    graph.ndata["label"] = graph.ndata["label"].float()
    before = {key: (value, value.clone()) for key, value in graph.ndata.items()}
    new = transforms.apply(graph, [name])
    new.ndata["feat"] = torch.zeros(5, 1)
    assert edges_of(graph) == EDGES
    assert graph.ndata.keys() == before.keys()
    for key, (value, copy) in before.items():
        assert graph.ndata[key] is value
        assert torch.equal(value, copy)


@pytest.mark.parametrize("name", transforms.TRANSFORMS)
def test_batched_graphs_stay_batched(name: str) -> None:
    members = [make_graph(), make_graph([], num_nodes=1), make_graph([(0, 1), (1, 1)], num_nodes=2)]
    for member in members:
        member.ndata["label"] = member.ndata["label"].float() + 1
    whole = transforms.apply(dgl.batch(members), [name])
    assert whole.batch_num_nodes().tolist() == [5, 1, 2]
    assert whole.batch_num_edges().sum() == whole.num_edges()
    for part, member in zip(dgl.unbatch(whole), members, strict=True):
        assert sorted(edges_of(part)) == sorted(edges_of(transforms.apply(member, [name])))
        assert part.ndata["train_mask"].equal(member.ndata["train_mask"])


def test_a_graph_without_edges_or_nodes() -> None:
    for num_nodes in (0, 3):
        empty = make_graph([], num_nodes=num_nodes)
        assert transforms.add_self_loop(empty).num_edges() == num_nodes
        assert transforms.to_undirected(empty).num_edges() == 0
        assert transforms.remove_self_loop(empty).num_edges() == 0


def test_row_normalize() -> None:
    graph = make_graph([], num_nodes=3)
    graph.ndata["feat"] = torch.tensor([[1.0, 3.0], [0.0, 0.0], [-1.0, 1.0]])
    feat = transforms.row_normalize(graph).ndata["feat"]
    assert feat.tolist() == [[0.25, 0.75], [0.0, 0.0], [-0.5, 0.5]]
    del graph.ndata["feat"]
    with pytest.raises(GraphError, match=r'needs ndata\["feat"\]; ndata holds label, train_mask'):
        transforms.row_normalize(graph)


def test_half_floats_whose_sum_is_beyond_them_are_normalised() -> None:
    graph = make_graph([], num_nodes=2)
    graph.ndata["feat"] = torch.full((2, 4), 40_000.0, dtype=torch.float16)
    feat = transforms.row_normalize(graph).ndata["feat"]
    assert feat.dtype == torch.float16
    assert feat.tolist() == [[0.25] * 4] * 2


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_counts_and_marks_are_normalised_too(dtype: torch.dtype) -> None:
    graph = make_graph([], num_nodes=2)
    graph.ndata["feat"] = torch.tensor([[1, 1], [0, 0]]).to(dtype)
    assert transforms.row_normalize(graph).ndata["feat"].tolist() == [[0.5, 0.5], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("feat", "message"),
    [
        (torch.ones(2), r"feat has shape \(2,\)"),
        (torch.ones(2, 3).to_sparse(), r"convert it with feat.to_dense\(\)"),
        (torch.tensor([[1.0, torch.nan], [0.0, 1.0]]), "NaN or infinite, the first at node 0, feature 1"),
        (torch.full((2, 3), 3e38), "a row of feat has a sum too large for torch.float32"),
    ],
)
def test_rows_that_cannot_be_normalised_are_refused(feat: torch.Tensor, message: str) -> None:
    graph = make_graph([], num_nodes=2)
    graph.ndata["feat"] = feat
    with pytest.raises(GraphError, match=message):
        transforms.row_normalize(graph)


@pytest.mark.parametrize("idtype", [torch.int32, torch.int64])
def test_a_batch_stays_a_batch_for_both_index_types(idtype: torch.dtype) -> None:
    batch = dgl.batch([make_graph(idtype=idtype), make_graph([(0, 1)], num_nodes=2, idtype=idtype)])
    looped = transforms.apply(batch, ["to_undirected", "add_self_loop"])
    assert looped.batch_num_nodes().tolist() == [5, 2]
    assert looped.batch_num_edges().tolist() == [9, 4]


def test_max_normalize_label() -> None:
    graph = make_graph([], num_nodes=3)
    assert transforms.max_normalize_label(graph).ndata["label"].tolist() == [0, 1, 2], "classes pass"
    graph.ndata["label"] = torch.zeros(3)
    with pytest.raises(GraphError, match="needs a positive target"):
        transforms.max_normalize_label(graph)
    graph.ndata["label"] = torch.tensor([1.0, 4.0, 2.0])
    assert transforms.max_normalize_label(graph).ndata["label"].tolist() == [0.25, 1.0, 0.5]
    del graph.ndata["label"]
    assert "label" not in transforms.max_normalize_label(graph).ndata


def test_transforms_are_applied_in_order() -> None:
    graph = make_graph([(0, 1)], num_nodes=2)
    assert edges_of(transforms.apply(graph, ["to_undirected", "add_self_loop"])) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert edges_of(transforms.apply(graph, ["add_self_loop", "remove_self_loop"])) == [(0, 1)]
    copy = transforms.apply(graph, [])
    assert copy is not graph
    assert edges_of(copy) == edges_of(graph)


def test_unknown_name() -> None:
    with pytest.raises(
        ConfigError, match="unknown transform 'add_selfloop'; there are add_self_loop, remove_self_loop"
    ):
        transforms.apply(make_graph(), ["add_self_loop", "add_selfloop"])


@pytest.mark.parametrize("name", ["add_self_loop", "remove_self_loop", "to_undirected"])
@pytest.mark.parametrize("formats", ["csr", "csc"])
def test_a_graph_restricted_to_a_format_is_transformed_alone_too(name: str, formats: str) -> None:
    graph = dgl.graph(([0, 1, 1, 3], [1, 1, 2, 0]))
    made, expected = (transforms.TRANSFORMS[name](given) for given in (graph.formats(formats), graph))
    pairs = [sorted(zip(*map(Tensor.tolist, result.edges()), strict=True)) for result in (made, expected)]
    assert pairs[0] == pairs[1]
