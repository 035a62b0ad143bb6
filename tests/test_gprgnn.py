"""GPR-GNN against its sum on dense float64 matrices; where γ starts, and what it makes of the model."""

from pathlib import Path
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

from zoo import models, weights
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models.gprgnn import GPRGNN, PropagatedLinear

STEPS = 4


def make(**options: Any) -> GPRGNN:
    return GPRGNN(IN_FEATS, NUM_CLASSES, **{"hidden": 6, "num_steps": STEPS, **options})


def hidden(model: GPRGNN, x: Tensor) -> Tensor:
    return relus([layer for layer in model.mlp if not isinstance(layer, PropagatedLinear)], x)


def propagation(model: GPRGNN) -> PropagatedLinear:
    layer = model.head if model.readout is None else model.mlp[-1]
    assert isinstance(layer, PropagatedLinear)
    return layer


def generalised_pagerank(layer: PropagatedLinear, adjacency: Tensor, x: Tensor) -> Tensor:
    scores = linear(layer, x)
    powers = [torch.linalg.matrix_power(normalised(adjacency), k) for k in range(STEPS + 1)]
    return torch.stack([layer.gamma[k] * powers[k] @ scores for k in range(STEPS + 1)]).sum(0)


@pytest.mark.parametrize("num_layers", [2, 4])
def test_logits_and_gradients_are_the_equations(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = randomised(make(num_layers=num_layers)), features(graph).requires_grad_()
    expected = generalised_pagerank(propagation(model), adjacency, hidden(model, x))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@pytest.mark.parametrize("num_layers", [1, 3])
def test_behind_a_readout_the_last_hidden_layer_is_propagated(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = randomised(make(num_layers=num_layers, readout="mean")), features(graph).requires_grad_()
    state = generalised_pagerank(propagation(model), adjacency, hidden(model, x)).clamp(min=0)
    expected = model.head(graph, state.mean(0, keepdim=True))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_an_isolated_node_keeps_its_own_scores() -> None:
    graph = dgl.graph(([0, 1, 1], [1, 0, 2]), num_nodes=4)
    model, x = randomised(make(transforms=["add_self_loop"])), features(graph)
    layer = propagation(model)
    scores = linear(layer, hidden(model, x[3:]))
    with pytest.warns(UserWarning, match="no self-loop"):
        torch.testing.assert_close(model(graph, x)[3:], layer.gamma[0] * scores)
    torch.testing.assert_close(model(model.prepare(graph), x)[3:], layer.gamma.sum() * scores)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": 0.1}, [0.1, 0.09, 0.081, 0.0729, 0.6561]),
        ({"alpha": 0.5}, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16]),
        ({"alpha": 0}, [0.0, 0.0, 0.0, 0.0, 1.0]),
        ({"alpha": 1}, [1.0, 0.0, 0.0, 0.0, 0.0]),
        ({"init": "nppr", "alpha": 0.5}, [16 / 31, 8 / 31, 4 / 31, 2 / 31, 1 / 31]),
        ({"init": "nppr", "alpha": -0.5}, [16 / 31, -8 / 31, 4 / 31, -2 / 31, 1 / 31]),
    ],
)
def test_gamma_starts_as_its_name_says(options: dict[str, Any], expected: list[float]) -> None:
    torch.testing.assert_close(propagation(make(**options)).gamma.detach(), torch.tensor(expected))


def test_random_gamma_has_both_signs_and_a_norm_of_1() -> None:
    first, second = (propagation(make(init="random", num_steps=50)).gamma for _ in range(2))
    assert first.min() < 0 < first.max()
    torch.testing.assert_close(first.abs().sum(), torch.tensor(1.0))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_with_gamma_as_it_starts_it_is_appnp(alpha: float, graph: Any, adjacency: Tensor) -> None:
    model, x = make(alpha=alpha).double().eval(), features(graph)
    scores = propagation(model).linear(model.encode(graph, x))
    state = scores
    for _ in range(STEPS):
        state = (1 - alpha) * normalised(adjacency) @ state + alpha * scores
    torch.testing.assert_close(model(graph, x), state, rtol=1e-6, atol=1e-6)


def test_propagation_dropout_acts_on_the_scores_in_training_only() -> None:
    graph = dgl.graph(([0], [1]), num_nodes=200)
    model, x = make(alpha=1.0, dropout=0.0, propagation_dropout=0.75), torch.randn(200, IN_FEATS)
    scores, dropped = model.eval()(graph, x), model.train()(graph, x)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], 4 * scores[kept])
    assert 0.15 < kept.float().mean() < 0.35


def test_with_other_classes_gamma_is_kept_by_loading_and_starts_anew_with_a_new_head(tmp_path: Path) -> None:
    model = make(alpha=0.5)
    torch.nn.init.constant_(propagation(model).gamma, 0.25)
    weights.write(model, tmp_path)
    with pytest.warns(UserWarning, match="new and untrained: head.linear"):
        loaded = weights.load_folder(tmp_path, num_classes=7)
    assert torch.equal(loaded.state_dict()["head.gamma"], propagation(model).gamma)
    model.reset_head(7)
    assert torch.equal(propagation(model).gamma, propagation(make(alpha=0.5)).gamma)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_steps": 0}, "num_steps must be from 1 to 10000, got 0"),
        ({"init": "sgc"}, "unknown init 'sgc': choose from ppr, nppr, random"),
        ({"alpha": -0.1}, "alpha must be from 0 to 1 for init='ppr', got -0.1"),
        ({"alpha": float("nan")}, "alpha must be from 0 to 1 for init='ppr', got nan"),
        ({"init": "nppr", "alpha": -1.1}, "alpha must be from -1 to 1 for init='nppr', got -1.1"),
        ({"propagation_dropout": 1.0}, "dropout probability is at least 0 and below 1, got 1.0"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        models.create("gprgnn", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **arguments})
