"""ωGCN against its operators as dense float64 matrices; where it starts, and where its dropout stands."""

from typing import Any

import pytest
import torch
from oracles import IN_FEATS, NUM_CLASSES, assert_same_with_gradients, features, linear, normalised, randomised
from torch import Tensor

from zoo._dgl import dgl
from zoo.models.omega_gcn import OmegaGCN

WIDTH = 6


def make(**options: Any) -> Any:
    return OmegaGCN(IN_FEATS, NUM_CLASSES, **{"num_layers": 4, "hidden": WIDTH, **options})


def convolved(model: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    identity = torch.eye(len(adjacency), dtype=torch.float64)
    state = (x @ model.embed.weight.t() + model.embed.bias).clamp(min=0)
    for conv in model.convs:
        operators = [identity - omega * (identity - normalised(adjacency)) for omega in conv.omega]
        channels = [operator @ state[:, channel] for channel, operator in enumerate(operators)]
        state = (torch.stack(channels, dim=1) @ conv.linear.weight.t()).clamp(min=0)
    return state


@pytest.mark.parametrize("num_layers", [2, 4])
def test_logits_and_gradients_are_the_equations(num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = randomised(make(num_layers=num_layers)), features(graph).requires_grad_()
    expected = linear(model.head, convolved(model, adjacency, x))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_behind_a_readout_the_last_convolution_is_pooled(graph: Any, adjacency: Tensor) -> None:
    model, x = randomised(make(num_layers=2, readout="mean")), features(graph).requires_grad_()
    expected = linear(model.head, convolved(model, adjacency, x).mean(0, keepdim=True))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_it_starts_as_the_plain_propagation_of_its_first_layer(graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=4).double().eval(), features(graph)
    first = (x @ model.embed.weight.t() + model.embed.bias).clamp(min=0)
    expected = torch.linalg.matrix_power(normalised(adjacency), 3) @ first
    torch.testing.assert_close(model.encode(graph, x), expected)


def test_dropout_stands_before_both_ends_and_not_between() -> None:
    nodes = torch.arange(2000)
    graph, x = dgl.graph((nodes, nodes)), torch.ones(2000, IN_FEATS, dtype=torch.float64)
    model = make(num_layers=4, dropout=0.5).double().train()
    torch.nn.init.constant_(model.embed.weight, 1.0)
    torch.nn.init.constant_(model.embed.bias, 0.0)
    first, second, last = model.layers(graph, x)  # of loops and identities: nothing but the dropouts changes a state
    assert torch.equal((first * 0.5).round().unique(), torch.arange(IN_FEATS + 1, dtype=torch.float64))
    assert torch.equal(first, second)
    kept = last != 0
    torch.testing.assert_close(last[kept], second[kept] / 0.5)
    assert 0.47 < kept[second != 0].double().mean() < 0.53
