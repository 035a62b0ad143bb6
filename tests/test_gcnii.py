"""GCNII and GCNII* against dense float64 matrices; the place where another propagation can stand."""

import fnmatch
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import IN_FEATS, NUM_CLASSES, assert_same_with_gradients, features, linear, normalised, randomised
from torch import Tensor

from zoo import models
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models.gcnii import GCNII
from zoo.nn.norms import Norms

ALPHA, LAM, WIDTH = 0.2, 0.7, 6


def make(cls: type[GCNII] = GCNII, **options: Any) -> Any:
    defaults = {"num_layers": 4, "hidden": WIDTH, "alpha": ALPHA, "lam": LAM}
    model: Any = cls(IN_FEATS, NUM_CLASSES, **{**defaults, **options})
    return randomised(model)


def states_of(
    model: Any, propagation: Tensor, x: Tensor, norm: Callable[[Tensor], Tensor] = lambda state: state
) -> list[Tensor]:
    """H⁽⁰⁾, H⁽¹⁾, …; a normalisation stands before each ReLU but the first."""
    first = (x @ model.embed.weight.t() + model.embed.bias).clamp(min=0)
    states, identity = [first], torch.eye(WIDTH, dtype=torch.float64)
    for depth, conv in enumerate(model.convs, start=1):
        beta = math.log(LAM / depth + 1)
        matrices = [parameter.t() for parameter in conv.parameters()]
        maps = [(1 - beta) * identity + beta * matrix for matrix in matrices]
        state = (1 - ALPHA) * propagation @ states[-1] @ maps[0] + ALPHA * first @ maps[-1]
        states.append(norm(state).clamp(min=0))
    return states


@pytest.mark.parametrize("variant", [False, True])
@pytest.mark.parametrize("num_layers", [2, 5])
def test_logits_and_gradients_are_the_equations(variant: bool, num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(variant=variant, num_layers=num_layers), features(graph).requires_grad_()
    expected = linear(model.head, states_of(model, normalised(adjacency), x)[-1])
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_normalisations_stand_before_the_relus(graph: Any, adjacency: Tensor) -> None:
    names = ["pairnorm", "contranorm"]
    model, norms = make(norms=names, norm_scale=0.5), Norms(names, WIDTH, scale=0.5)
    x = features(graph).requires_grad_()
    states = states_of(model, normalised(adjacency), x, lambda state: norms(state, graph))
    assert_same_with_gradients(model(graph, x), linear(model.head, states[-1]), [x, *model.parameters()])


@pytest.mark.parametrize("variant", [False, True])
def test_behind_a_readout_the_last_convolution_is_pooled(variant: bool, graph: Any, adjacency: Tensor) -> None:
    model, x = make(variant=variant, num_layers=2, readout="mean"), features(graph).requires_grad_()
    state = states_of(model, normalised(adjacency), x)[-1].mean(0, keepdim=True)
    assert_same_with_gradients(model(graph, x), linear(model.head, state), [x, *model.parameters()])


def test_the_hidden_layers_are_the_convolutions(graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=4), features(graph)
    for layer, expected in zip(model.layers(graph, x), states_of(model, normalised(adjacency), x)[1:], strict=True):
        torch.testing.assert_close(layer, expected)


def test_the_first_state_comes_back_without_dropout() -> None:
    graph, x = dgl.graph(([0, 1], [1, 0])), torch.ones(2, IN_FEATS, dtype=torch.float64)
    model = make(num_layers=2, alpha=1.0, lam=0.0, dropout=0.5)
    with torch.no_grad():
        model.embed.weight.zero_()
        model.embed.bias.fill_(1)
    (layer,) = model.train().layers(graph, x)
    assert set(layer.unique().tolist()) <= {0.0, 2.0}  # one dropout behind it, not two


@pytest.mark.parametrize("variant", [False, True])
def test_a_pattern_tells_the_matrices_of_the_convolutions_from_the_ends(variant: bool) -> None:
    names = [name for name, _ in make(variant=variant, num_layers=3).named_parameters()]
    ends = [name for name in names if not fnmatch.fnmatch(name, "convs.*")]
    assert ends == ["embed.weight", "embed.bias", "head.linear.weight", "head.linear.bias"]
    assert len(names) - len(ends) == (4 if variant else 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -0.1}, "alpha must be from 0 to 1, got -0.1"),
        ({"alpha": float("nan")}, "alpha must be from 0 to 1, got nan"),
        ({"lam": -0.5}, "lam must be finite and not negative, got -0.5"),
        ({"lam": float("inf")}, "lam must be finite and not negative, got inf"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        models.create("gcnii", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **arguments})
