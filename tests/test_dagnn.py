"""DAGNN against its sum over powers of dense float64 matrices."""

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
from zoo.errors import ConfigError
from zoo.models.dagnn import DAGNN

STEPS = 4


def make(**options: Any) -> Any:
    model: Any = DAGNN(IN_FEATS, NUM_CLASSES, **{"hidden": 6, "num_steps": STEPS, **options})
    return randomised(model)


def gated_sum(layer: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    scores = linear(layer, x)
    hops = [torch.linalg.matrix_power(normalised(adjacency), k) @ scores for k in range(STEPS + 1)]
    gates = [1 / (1 + (-(hop @ layer.gate.weight[0] + layer.gate.bias)).exp()) for hop in hops]
    return torch.stack([torch.diag(gate) @ hop for gate, hop in zip(gates, hops, strict=True)]).sum(0)


@pytest.mark.parametrize("num_layers", [2, 4])
def test_logits_and_gradients_are_the_equations(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=num_layers), features(graph).requires_grad_()
    expected = gated_sum(model.head, adjacency, relus(model.mlp, x))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@pytest.mark.parametrize("num_layers", [1, 3])
def test_behind_a_readout_the_last_hidden_layer_is_propagated(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=num_layers, readout="mean"), features(graph).requires_grad_()
    *plain, last = model.mlp
    state = gated_sum(last, adjacency, relus(plain, x)).clamp(min=0)
    expected = linear(model.head, state.mean(0, keepdim=True))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@pytest.mark.parametrize("num_steps", [0, 10**9])
def test_impossible_numbers_of_steps_are_refused(num_steps: int) -> None:
    with pytest.raises(ConfigError, match=f"num_steps must be from 1 to 10000, got {num_steps}"):
        models.create("dagnn", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, "num_steps": num_steps})
