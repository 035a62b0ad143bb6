"""G² against its equations on dense float64 matrices, with every option; what the gate does in depth."""

from typing import Any

import pytest
import torch
from oracles import IN_FEATS, NUM_CLASSES, assert_same_with_gradients, features, linear, normalised, randomised
from torch import Tensor

from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models.g2 import G2
from zoo.nn.convs import GATConv

WIDTH = 4


def make(**options: Any) -> Any:
    return G2(IN_FEATS, NUM_CLASSES, **{"num_layers": 4, "hidden": WIDTH, **options})


def convolved(conv: Any, graph: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    """σ(F(X)); graph attention, which has tests of its own, as it is."""
    if isinstance(conv, GATConv):
        return torch.nn.functional.elu(conv(graph, x))
    return (normalised(adjacency) @ x @ conv.linear.weight.t() + conv.bias).clamp(min=0)


def gate(model: Any, adjacency: Tensor, compared: Tensor) -> Tensor:
    differences = (compared[:, None] - compared[None, :]).abs() ** model.exponent
    total = (adjacency[:, :, None] * differences).sum(1)
    if model.mean_gate:
        total = total / (adjacency - adjacency.diag().diag()).sum(1, keepdim=True).clamp(min=1)
    return torch.tanh(total)


def states_of(model: Any, graph: Any, adjacency: Tensor, x: Tensor, depth: int) -> list[Tensor]:
    """X⁽⁰⁾, X⁽¹⁾, …"""
    states = [(x @ model.embed.weight.t() + model.embed.bias).clamp(min=0)]
    for i in range(depth):
        place = i if len(model.convs) > 1 else 0
        new = compared = convolved(model.convs[place], graph, adjacency, states[-1])
        if model.gate_convs is not None:
            compared = convolved(model.gate_convs[place], graph, adjacency, states[-1])
        tau = gate(model, adjacency, compared)
        states.append((1 - tau) * states[-1] + tau * new)
    return states


OPTIONS: list[dict[str, Any]] = [
    {},
    {"gate_conv": True},
    {"share_layers": False},
    {"share_layers": False, "gate_conv": True, "mean_gate": False, "exponent": 2.5},
    {"exponent": 1.0},
    {"conv": "gat", "heads": 3, "gate_conv": True, "mean_gate": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_logits_and_gradients_are_the_equations(options: dict[str, Any], graph: Any, adjacency: Tensor) -> None:
    model, x = randomised(make(**options)), features(graph).requires_grad_()
    assert len(model.convs) == (1 if model.arguments["share_layers"] else 3)
    expected = states_of(model, graph, adjacency, x, 3)
    assert_same_with_gradients(model(graph, x), linear(model.head, expected[-1]), [x, *model.parameters()])
    for layer, state in zip(model.layers(graph, x), expected[1:], strict=True):
        torch.testing.assert_close(layer, state)


def test_behind_a_readout_the_last_layer_is_pooled(graph: Any, adjacency: Tensor) -> None:
    model, x = randomised(make(num_layers=2, readout="mean")), features(graph).requires_grad_()
    state = states_of(model, graph, adjacency, x, 2)[-1].mean(0, keepdim=True)
    assert_same_with_gradients(model(graph, x), linear(model.head, state), [x, *model.parameters()])


def test_heads_are_averaged() -> None:
    (conv,) = make(conv="gat", heads=3).convs
    assert (conv.heads, conv.merge, conv.out_feats) == (3, "mean", WIDTH)


def test_nodes_whose_neighbours_are_alike_keep_their_states_however_deep_it_is() -> None:
    graph = dgl.add_self_loop(dgl.graph(([0, 1, 2, 3, 3, 4], [1, 0, 3, 2, 4, 3])))  # a pair, and a path
    x = torch.tensor([[1.0], [1.0], [0.0], [1.0], [2.0]]).double() * torch.ones(1, IN_FEATS)
    model = randomised(make(num_layers=129))
    first = torch.relu(model.embed(x))
    last = model.layers(graph, x)[-1]
    assert torch.equal(last[:2], first[:2])
    assert not torch.equal(last[2:], first[2:])


def test_dropout_stands_before_both_ends_and_not_between() -> None:
    graph, x = dgl.graph(([], []), num_nodes=2000), torch.ones(2000, IN_FEATS, dtype=torch.float64)
    model = make(input_dropout=0.5, dropout=0.25).double().train()
    torch.nn.init.constant_(model.embed.weight, 1.0)
    torch.nn.init.constant_(model.embed.bias, 0.0)
    first, second, last = model.layers(graph, x)  # without edges every gate is closed
    assert torch.equal((first / 2).unique(), torch.arange(IN_FEATS + 1, dtype=torch.float64))
    assert torch.equal(first, second)
    kept = last != 0
    torch.testing.assert_close(last[kept], second[kept] / 0.75)
    assert 0.72 < kept[second != 0].double().mean() < 0.78


@pytest.mark.parametrize("exponent", [0.5, float("inf"), float("nan")])
def test_an_impossible_exponent_is_refused(exponent: float) -> None:
    with pytest.raises(ConfigError, match="exponent must be at least 1 and finite, got"):
        make(exponent=exponent)
