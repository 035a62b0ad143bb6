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
from zoo.nn.norms import Norms


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


NORMS = [[], ["pairnorm"], ["contranorm-mask-edges"], ["pairnorm-si", "contranorm"]]


@pytest.mark.parametrize("residual", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("norms", NORMS)
@pytest.mark.parametrize("constant", [True, False])
def test_every_step_propagates_adds_and_normalises(
    constant: bool, norms: list[str], residual: float, graph: Any, adjacency: Tensor
) -> None:
    model, x = make(num_layers=3, norms=norms, norm_scale=0.5, residual=residual), features(graph)
    x.requires_grad_(not constant)
    norm, linear = Norms(norms, IN_FEATS, scale=0.5), model.head.linear
    bias = linear.bias if norms or residual else model.head.bias
    for _ in range(2):
        state = x
        for _ in range(3):
            state = norm(normalised(adjacency) @ state + residual * state, graph)
        expected = state @ linear.weight.t() + bias
        assert_same_with_gradients(model(graph, x), expected, list(model.parameters()) + [x][constant:])


@pytest.mark.parametrize("norm", ["batchnorm", "layernorm"])
def test_learnt_normalisations_are_not_remembered(norm: str) -> None:
    graph, model = small_graph(), make(norms=[norm])
    x = features(graph)
    before = model(graph, x)
    with torch.no_grad():
        for parameter in model.norms.parameters():
            parameter.neg_()
    assert not torch.allclose(model(graph, x), before)
    assert model.same_in_training == (norm == "layernorm")
    assert torch.equal(model.train()(graph, x), model.eval()(graph, x)) == model.same_in_training


@pytest.mark.parametrize("option", ["drop_edge", "drop_message"])
def test_drops_are_drawn_anew_in_training_only(option: str) -> None:
    nodes = torch.arange(5)
    graph = dgl.graph((nodes.repeat(5), nodes.repeat_interleave(5)))
    model, x = make(**{option: 0.5}), features(graph)
    expected = power(torch.ones(5, 5, dtype=x.dtype), 2) @ x @ model.head.linear.weight.t()
    expected = expected + (model.head.linear.bias if option == "drop_message" else model.head.bias)
    torch.testing.assert_close(model(graph, x), expected)
    first, second = model.train()(graph, x), model(graph, x)
    assert not torch.allclose(first, second)
    assert not model.same_in_training
    torch.testing.assert_close(model.eval()(graph, x), expected)


@pytest.mark.parametrize("option", ["drop_edge", "drop_message"])
def test_evaluation_with_drops_propagates_once(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, model = small_graph(), make(**{option: 0.5})
    x = features(graph)
    first = model(graph, x)
    monkeypatch.setattr(model, "hidden_states", None)
    assert torch.equal(model(graph, x), first)


def test_options_do_not_share_what_is_remembered() -> None:
    graph, x = small_graph(), torch.randn(4, IN_FEATS, dtype=torch.float64)
    pairnorm: dict[str, Any] = {"norms": ["pairnorm"]}
    options = [pairnorm, {**pairnorm, "norm_scale": 2.0}, {"norms": ["contranorm"]}, {"residual": 1.0}]
    head, logits = make(residual=1.0).head, []
    for each in options:
        model = make(**each)
        model.head = head
        logits.append(model(graph, x))
        torch.testing.assert_close(logits[-1], model(graph, x.clone().requires_grad_()))
    assert not any(torch.allclose(logits[i], logits[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize("hidden", [0, -3])
def test_an_impossible_width_is_refused(hidden: int) -> None:
    with pytest.raises(ConfigError, match=f"a layer's widths must be positive, got {IN_FEATS} and {hidden}"):
        models.create("sgc", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, "hidden": hidden})
