"""JKNet against dense float64 matrices, with each jump; the LSTM's attention against its recurrence written out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import IN_FEATS, NUM_CLASSES, assert_same_with_gradients, features, linear, normalised, randomised
from torch import Tensor

from zoo import models, weights
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models.jknet import JUMPS, JKNet

every_jump = pytest.mark.parametrize("jump", JUMPS)


def make(**options: Any) -> Any:
    model: Any = JKNet(IN_FEATS, NUM_CLASSES, **{"num_layers": 4, "hidden": 6, **options})
    return randomised(model)


def convolved(model: Any, adjacency: Tensor, x: Tensor) -> list[Tensor]:
    states = []
    for conv in model.convs:
        x = (normalised(adjacency) @ x @ conv.linear.weight.t() + conv.bias).clamp(min=0)
        states.append(x)
    return states


def recurrence(lstm: Any, states: list[Tensor], suffix: str) -> list[Tensor]:
    """The states of one direction of an LSTM, in the order in which it reads."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    w_in, w_state, b_in, b_state = (getattr(lstm, name + suffix) for name in names)
    state = cell = torch.zeros_like(states[0])
    read = []
    for x in states:
        take, forget, new, give = (x @ w_in.t() + b_in + state @ w_state.t() + b_state).chunk(4, dim=1)
        cell = forget.sigmoid() * cell + take.sigmoid() * new.tanh()
        state = give.sigmoid() * cell.tanh()
        read.append(state)
    return read


def attended(attention: Any, states: list[Tensor]) -> Tensor:
    forward = recurrence(attention.lstm, states, "")
    backward = recurrence(attention.lstm, states[::-1], "_reverse")[::-1]
    pairs = [torch.cat(pair, dim=1) for pair in zip(forward, backward, strict=True)]
    scores = [pair @ attention.score.weight.t() + attention.score.bias for pair in pairs]
    total = sum(score.exp() for score in scores)
    return torch.stack([score.exp() / total * state for score, state in zip(scores, states, strict=True)]).sum(0)


def joined(model: Any, states: list[Tensor]) -> Tensor:
    if model.jump == "lstm":
        return attended(model.attention, states)
    return torch.cat(states, dim=1) if model.jump == "concat" else torch.stack(states).max(0).values


@every_jump
@pytest.mark.parametrize("num_layers", [2, 4])
def test_logits_and_gradients_are_the_equations(jump: str, num_layers: int, graph: Any, adjacency: Tensor) -> None:
    model, x = make(jump=jump, num_layers=num_layers), features(graph).requires_grad_()
    expected = linear(model.head, joined(model, convolved(model, adjacency, x)))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@every_jump
def test_behind_a_readout_the_jump_is_pooled(jump: str, graph: Any, adjacency: Tensor) -> None:
    model, x = make(jump=jump, num_layers=3, readout="mean"), features(graph).requires_grad_()
    state = joined(model, convolved(model, adjacency, x)).mean(0, keepdim=True)
    assert_same_with_gradients(model(graph, x), linear(model.head, state), [x, *model.parameters()])


@every_jump
def test_the_hidden_layers_are_the_convolutions_but_the_last_and_the_jump(
    jump: str, graph: Any, adjacency: Tensor
) -> None:
    model, x = make(jump=jump, num_layers=4), features(graph)
    states = convolved(model, adjacency, x)
    for layer, expected in zip(model.layers(graph, x), [*states[:-1], joined(model, states)], strict=True):
        torch.testing.assert_close(layer, expected)


@every_jump
def test_saved_and_loaded_it_is_the_same_model(jump: str, tmp_path: Path) -> None:
    graph = dgl.graph(([0, 1, 2], [1, 2, 0]))
    model, x = make(jump=jump), features(graph)
    weights.write(model, tmp_path)
    assert torch.equal(weights.load_folder(tmp_path)(graph, x), model(graph, x))


def test_an_unknown_jump_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown jump 'mean': choose from concat, max, lstm"):
        models.create("jknet", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, "jump": "mean"})
