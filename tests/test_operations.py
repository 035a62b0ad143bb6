"""Counted operations: against hand counts, and against PyTorch's own counter, which knows dense products only."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo import models
from zoo._dgl import dgl
from zoo.analysis import count_operations
from zoo.errors import GraphError

N, IN, HIDDEN, CLASSES = 12, 6, 4, 3


def graph_of(num_edges: int, num_nodes: int = N) -> Any:
    """A ring, each node also joined to its next but one and so on, until there are so many edges; dense features."""
    src, step = torch.arange(num_edges) % num_nodes, 1 + torch.arange(num_edges) // num_nodes
    graph = dgl.graph((src, (src + step) % num_nodes), num_nodes=num_nodes)
    graph.ndata["feat"] = 1 + torch.rand(num_nodes, IN)
    return graph


def make(method: str, **arguments: Any) -> Any:
    return models.create(method, {"in_feats": IN, "num_classes": CLASSES, **arguments})


def dense(rows: int, inner: int, columns: int) -> int:
    return 2 * rows * inner * columns


def along_edges(edges: int, width: int) -> int:
    return 2 * edges * width


def sums(rows: int, width: int) -> int:
    return 2 * rows * width


# Beside products: means and variances of clusters; states, and counts, of classes.
SUMS = {"cna": 2 * sums(N, 64), "label-sbp": sums(N, 32) + sums(N, 1)}


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (
            "gcn",
            {"hidden": HIDDEN},
            lambda e: (
                dense(N, IN, HIDDEN) + along_edges(e, HIDDEN) + dense(N, HIDDEN, CLASSES) + along_edges(e, CLASSES)
            ),
        ),
        (
            "sage",  # both the neighbours and the node itself go through a matrix
            {"hidden": HIDDEN},
            lambda e: (
                2 * dense(N, IN, HIDDEN) + along_edges(e, HIDDEN)
                + 2 * dense(N, HIDDEN, CLASSES) + along_edges(e, CLASSES)
            ),
        ),
        (
            "gat",
            {"hidden": HIDDEN, "heads": 2, "output_heads": 5},
            lambda e: (
                dense(N, IN, 2 * HIDDEN) + along_edges(e, 2 * HIDDEN)
                + dense(N, 2 * HIDDEN, 5 * CLASSES) + along_edges(e, 5 * CLASSES)
            ),
        ),
        (
            "sgc",  # K = 3: two propagations of the features, the last one of the scores
            {"num_layers": 3},
            lambda e: 2 * along_edges(e, IN) + dense(N, IN, CLASSES) + along_edges(e, CLASSES),
        ),
        (
            # Four matrices a layer; queries meet keys along the edges, then values are summed; seven distances;
            # means and variances of clusters.
            "cna",
            {"conv": "transformer", "hidden": HIDDEN, "num_clusters": 7},
            lambda e: (
                4 * dense(N, IN, HIDDEN) + 2 * along_edges(e, HIDDEN) + dense(7, HIDDEN, N) + 2 * sums(N, HIDDEN)
                + 4 * dense(N, HIDDEN, CLASSES) + 2 * along_edges(e, CLASSES)
            ),
        ),
        (
            "g2",  # one layer: a convolution, and another for the gate, whose differences are summed over the edges
            {"hidden": HIDDEN, "num_layers": 2, "gate_conv": True},
            lambda e: (
                dense(N, IN, HIDDEN) + 2 * (dense(N, HIDDEN, HIDDEN) + along_edges(e, HIDDEN)) + sums(e, HIDDEN)
                + dense(N, HIDDEN, CLASSES)
            ),
        ),
        ("mlp", {"hidden": HIDDEN}, lambda e: dense(N, IN, HIDDEN) + dense(N, HIDDEN, CLASSES)),
    ],
)
@pytest.mark.parametrize("num_edges", [12, 31])
def test_hand_counts(method: str, arguments: dict[str, Any], expected: Callable[[int], int], num_edges: int) -> None:
    assert count_operations(make(method, **arguments), graph_of(num_edges)) == expected(num_edges)


def test_sparse_features_cost_what_is_not_zero() -> None:
    graph = graph_of(20)
    graph.ndata["feat"] = torch.zeros(N, IN)
    graph.ndata["feat"][:5, 2] = 1
    first = 2 * 5 * HIDDEN + along_edges(20, HIDDEN)
    assert count_operations(make("gcn", hidden=HIDDEN), graph) == (
        first + dense(N, HIDDEN, CLASSES) + along_edges(20, CLASSES)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # one kernel, and PyTorch's own products
def test_an_lstm_costs_two_products_at_each_step_in_each_direction(dtype: torch.dtype) -> None:
    convs = dense(N, IN, HIDDEN) + dense(N, HIDDEN, HIDDEN) + 2 * along_edges(20, HIDDEN)
    steps = 2 * N
    lstm = 2 * 2 * dense(steps, HIDDEN, 4 * HIDDEN) + dense(steps, 2 * HIDDEN, 1)
    model = make("jknet", num_layers=3, hidden=HIDDEN, jump="lstm").to(dtype)
    assert count_operations(model, graph_of(20)) == convs + lstm + dense(N, HIDDEN, CLASSES)


@pytest.mark.parametrize("method", models.list_models())
def test_without_edges_every_model_costs_its_dense_products_and_sums(method: str) -> None:
    model, graph = make(method).eval().requires_grad_(False), graph_of(0)
    with FlopCounterMode(display=False) as counter:
        model(model.prepare(graph))
    assert count_operations(model, graph) == counter.get_total_flops() + SUMS.get(method, 0)


@pytest.mark.parametrize("method", models.list_models())
def test_fewer_edges_cost_less(method: str) -> None:
    model = make(method)
    few, many = (count_operations(model, graph_of(num_edges)) for num_edges in (12, 31))
    assert few == many if method == "mlp" else few < many


@pytest.mark.parametrize("method", models.list_models())
@pytest.mark.parametrize("training", [True, False])
def test_a_pass_in_evaluation_mode_is_counted_whatever_came_before(method: str, training: bool) -> None:
    model, graph = make(method), graph_of(31)
    expected = count_operations(model.eval(), graph)
    model(model.prepare(graph))
    assert count_operations(model.train(training), graph) == expected
    assert model.training == training


def test_edges_that_preparing_adds_are_counted() -> None:
    plain, looped = (make("gcn", hidden=HIDDEN, transforms=names) for names in ([], ["add_self_loop"]))
    more = along_edges(N, HIDDEN + CLASSES)
    assert count_operations(looped, graph_of(20)) == count_operations(plain, graph_of(20)) + more


def test_a_batch_costs_its_graphs_and_their_pooled_rows() -> None:
    model = make("sage", num_layers=1, hidden=HIDDEN, readout="mean")
    nodes = 2 * dense(N + 5, IN, HIDDEN) + along_edges(20 + 5, HIDDEN)
    batch = dgl.batch([graph_of(20), graph_of(5, num_nodes=5)])
    assert count_operations(model, batch) == nodes + dense(2, HIDDEN, CLASSES)


def test_a_graph_without_features_is_refused() -> None:
    with pytest.raises(GraphError, match="no node features"):
        count_operations(make("gcn"), dgl.graph(([0], [1])))
