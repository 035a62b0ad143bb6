"""APPNP against its iteration on dense float64 matrices and against personalised PageRank; what its dropouts act on."""

from typing import Any

import pytest
import torch
from oracles import (
    IN_FEATS,
    NUM_CLASSES,
    assert_same_with_gradients,
    features,
    linear,
    normalised,
    randomised,
    relus,
)
from torch import Tensor

from zoo import models
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models.appnp import APPNP

STEPS = 4


def make(**options: Any) -> Any:
    model: Any = APPNP(IN_FEATS, NUM_CLASSES, **{"hidden": 6, "num_steps": STEPS, **options})
    return randomised(model)


def iterated(layer: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    scores = state = linear(layer, x)
    for _ in range(layer.num_steps):
        state = (1 - layer.alpha) * normalised(adjacency) @ state + layer.alpha * scores
    return state


@pytest.mark.parametrize("num_layers", [2, 4])
@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_logits_and_gradients_are_the_equations(num_layers: int, alpha: float, graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=num_layers, alpha=alpha), features(graph).requires_grad_()
    expected = iterated(model.head, adjacency, relus(model.mlp, x))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@pytest.mark.parametrize("num_layers", [1, 3])
def test_behind_a_readout_the_last_hidden_layer_is_propagated(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=num_layers, readout="mean"), features(graph).requires_grad_()
    *plain, last = model.mlp
    state = iterated(last, adjacency, relus(plain, x)).clamp(min=0)
    expected = linear(model.head, state.mean(0, keepdim=True))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_many_steps_come_to_personalised_pagerank() -> None:
    graph = dgl.graph(([0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]), num_nodes=5)
    model = make(alpha=0.2, num_steps=200, transforms=["add_self_loop"])
    graph, x = model.prepare(graph), features(graph)
    src, dst = graph.edges()
    adjacency = torch.zeros(5, 5, dtype=torch.float64).index_put((dst, src), torch.ones(11, dtype=torch.float64))
    inverse = torch.linalg.inv(torch.eye(5, dtype=torch.float64) - 0.8 * normalised(adjacency))
    torch.testing.assert_close(model(graph, x), 0.2 * inverse @ linear(model.head, relus(model.mlp, x)))


def test_edges_that_are_kept_have_their_weights(graph: Any) -> None:
    model, x = make(dropout=0.0, edge_dropout=1e-12), features(graph).requires_grad_()
    expected = model(graph, x)  # all are kept, but for one draw in a million million
    assert_same_with_gradients(model.train()(graph, x), expected, [x, *model.parameters()])


def test_edge_dropout_draws_anew_at_every_step_in_training_only() -> None:
    nodes = torch.arange(2000)
    graph, x = dgl.graph((nodes, nodes)), torch.randn(2000, IN_FEATS, dtype=torch.float64)
    model = make(num_steps=2, alpha=0.0, dropout=0.0, edge_dropout=0.25)
    scores, dropped = model(graph, x), model.train()(graph, x)
    kept = dropped.any(1)
    torch.testing.assert_close(dropped[kept], scores[kept] / 0.75**2)
    assert 0.75**2 - 0.05 < kept.double().mean() < 0.75**2 + 0.05


def test_without_dropout_training_computes_what_evaluation_does(graph: Any) -> None:
    model, x = make(dropout=0.0, edge_dropout=0.0), features(graph)
    assert torch.equal(model(graph, x), model.train()(graph, x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "num_steps must be from 1 to 10000, got 0"),
        ({"num_steps": 10**9}, "num_steps must be from 1 to 10000, got 1000000000"),
        ({"alpha": -0.1}, "alpha must be from 0 to 1, got -0.1"),
        ({"alpha": float("nan")}, "alpha must be from 0 to 1, got nan"),
        ({"edge_dropout": 1.0}, "dropout probability is at least 0 and below 1, got 1.0"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        models.create("appnp", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **arguments})
