"""SGC against powers of dense float64 matrices; what is remembered of them, and for how long."""

from typing import Any

import pytest
import torch
from oracles import IN_FEATS, NUM_CLASSES, assert_same_with_gradients, features, normalised, randomised
from torch import Tensor

from zoo import models, ops
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models.sgc import SGC


def make(**options: Any) -> Any:
    model: Any = SGC(IN_FEATS, NUM_CLASSES, **options)
    return randomised(model)


def power(adjacency: Tensor, exponent: int) -> Tensor:
    return torch.linalg.matrix_power(normalised(adjacency), exponent)


def small_graph() -> Any:
    return dgl.graph(([0, 1, 1, 2, 3, 2], [1, 0, 2, 1, 3, 3]), num_nodes=4)


@pytest.mark.parametrize("num_layers", [2, 5])
def test_logits_and_gradients_are_the_equation(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=num_layers), features(graph).requires_grad_()
    expected = power(adjacency, num_layers) @ x @ model.head.linear.weight.t() + model.head.bias
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@pytest.mark.parametrize("num_layers", [2, 5])
def test_constant_features_give_the_same(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=num_layers), features(graph)
    for _ in range(2):
        expected = power(adjacency, num_layers) @ x @ model.head.linear.weight.t() + model.head.bias
        assert_same_with_gradients(model(graph, x), expected, [model.head.linear.weight, model.head.bias])


@pytest.mark.parametrize("num_layers", [1, 3])
def test_behind_a_readout_pooled_graphs_are_classified(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=num_layers, readout="mean"), features(graph).requires_grad_()
    pooled = (power(adjacency, num_layers) @ x).mean(0, keepdim=True)
    expected = pooled @ model.head.linear.weight.t() + model.head.linear.bias
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])
    torch.testing.assert_close(model(graph, x.detach()), expected)


def test_with_a_width_w_is_a_product(graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=3, hidden=2), features(graph).requires_grad_()
    product = model.reduction.weight.t() @ model.head.linear.weight.t()
    expected = power(adjacency, 3) @ x @ product + model.head.bias
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])
    assert model.encode(graph, x).shape == (graph.num_nodes(), 2)


def test_layers_are_the_propagated_features(graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=4), features(graph)
    for exponent, state in enumerate(model.layers(graph, x), start=1):
        torch.testing.assert_close(state, power(adjacency, exponent) @ x)


def test_constant_features_are_propagated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, model, widths = small_graph(), make(num_layers=5), []
    x, propagate = features(graph), ops.propagate_gcn

    def counted(graph: Any, feat: Tensor) -> Tensor:
        widths.append(feat.shape[1])
        return propagate(graph, feat)

    monkeypatch.setattr(ops, "propagate_gcn", counted)
    for each in (graph, graph, graph.local_var()):
        model(each, x)
    assert widths == [IN_FEATS] * 4 + [NUM_CLASSES] * 3


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_other_features_edges_and_depths_are_not_mistaken(density: float) -> None:
    graph, shallow, deep = small_graph(), make(num_layers=2), make(num_layers=3)
    deep.load_state_dict(shallow.state_dict())
    x = features(graph) * (torch.rand(4, IN_FEATS) < density)
    x[0, 0] = 1

    def expect_fresh(feat: Tensor) -> None:
        for model in (shallow, deep):
            alone = feat.clone().requires_grad_()  # nothing is remembered of what may change
            torch.testing.assert_close(model(graph, feat), model(graph, alone))

    expect_fresh(x)
    expect_fresh(2 * x)
    expect_fresh(x)
    x[0, 0] = 7
    expect_fresh(x)
    graph.add_edges([3], [0])
    expect_fresh(x)
    with torch.inference_mode():
        expect_fresh(x)


def test_the_state_that_encode_returns_is_the_callers() -> None:
    graph, model = small_graph(), make()
    x = features(graph)
    expected = model(graph, x)
    model.encode(graph, x).zero_()
    assert torch.equal(model(graph, x), expected)


@pytest.mark.parametrize("hidden", [0, -3])
def test_an_impossible_width_is_refused(hidden: int) -> None:
    with pytest.raises(ConfigError, match=f"a layer's widths must be positive, got {IN_FEATS} and {hidden}"):
        models.create("sgc", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, "hidden": hidden})
