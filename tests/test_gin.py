"""GIN against its equations on dense float64 matrices, in both modes; how all layers predict a graph's class."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import IN_FEATS, NUM_CLASSES, assert_same_with_gradients, features, randomised
from torch import Tensor

from zoo._dgl import dgl
from zoo.models.gin import GIN

READOUTS: dict[str, Callable[..., Tensor]] = {"sum": Tensor.sum, "mean": Tensor.mean, "max": Tensor.amax}

every_mode = pytest.mark.parametrize("training", [True, False])


def make(training: bool, **options: Any) -> Any:
    """With every parameter and running average away from its start."""
    model: Any = GIN(IN_FEATS, NUM_CLASSES, **{"hidden": 6, "dropout": 0.0, **options})
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return randomised(model).train(training)


def batch_norm(norm: Any, x: Tensor) -> Tensor:
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()  # training changes them later
    if norm.training and len(x) > 1:
        mean, variance = x.mean(0), x.var(0, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias


def convolve(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    epsilon = 0 if conv.epsilon is None else conv.epsilon
    inner = batch_norm(conv.norm, ((1 + epsilon) * x + adjacency @ x) @ conv.first.weight.t()).clamp(min=0)
    return inner @ conv.second.weight.t() + (0 if conv.second.bias is None else conv.second.bias)


def states(model: Any, adjacency: Tensor, x: Tensor) -> list[Tensor]:
    """The features, and each hidden layer."""
    found = [x]
    for conv, norm in zip(model.convs, model.norms, strict=True):
        found.append(batch_norm(norm, convolve(conv, adjacency, found[-1])).clamp(min=0))
    return found


@every_mode
@pytest.mark.parametrize("learn_eps", [True, False])
def test_logits_and_gradients_are_the_equations(
    training: bool, learn_eps: bool, graph: Any, adjacency: Tensor
) -> None:
    model, x = make(training, num_layers=3, learn_eps=learn_eps), features(graph).requires_grad_()
    expected = convolve(model.head, adjacency, states(model, adjacency, x)[-1])
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@every_mode
@pytest.mark.parametrize("readout", READOUTS)
def test_behind_a_readout_every_layer_and_the_input_predict(
    training: bool, readout: str, graph: Any, adjacency: Tensor
) -> None:
    model, batch = make(training, num_layers=3, readout=readout), dgl.batch([graph, graph])
    x = features(batch).requires_grad_()
    expected = torch.zeros(2, NUM_CLASSES, dtype=torch.float64)
    for linear, state in zip(model.head.linears, states(model, torch.block_diag(adjacency, adjacency), x), strict=True):
        pooled = torch.stack([READOUTS[readout](part, 0) for part in state.split(graph.num_nodes())])
        expected = expected + pooled @ linear.weight.t() + linear.bias
    assert_same_with_gradients(model(batch, x), expected, [x, *model.parameters()])


def test_the_last_layer_behind_a_readout_is_all_layers_side_by_side(graph: Any, adjacency: Tensor) -> None:
    model, x = make(training=False, num_layers=3, readout="sum"), features(graph)
    expected = states(model, adjacency, x)
    first, second, last = model.layers(graph, x)
    for actual, state in ((first, expected[1]), (second, expected[2]), (last, torch.cat(expected, dim=1))):
        torch.testing.assert_close(actual, state)


def test_epsilon_is_0_or_learnt_from_0() -> None:
    fixed, learnt = GIN(IN_FEATS, NUM_CLASSES), GIN(IN_FEATS, NUM_CLASSES, learn_eps=True)
    assert not [name for name, _ in fixed.named_parameters() if "epsilon" in name]
    epsilons = {name: value for name, value in learnt.named_parameters() if "epsilon" in name}
    assert list(epsilons) == [f"convs.{i}.epsilon" for i in range(3)] + ["head.epsilon"]
    assert all(value == 0 for value in epsilons.values())


def test_dropout_behind_a_readout_acts_on_each_layers_logits_only() -> None:
    graph = dgl.batch([dgl.graph(([0, 1], [1, 2]), num_nodes=3)] * 100)
    model, x = make(training=True, num_layers=3, readout="sum", dropout=0.5), features(graph)
    assert all(torch.equal(*pair) for pair in zip(model.layers(graph, x), model.layers(graph, x), strict=True))
    with torch.no_grad():
        for linear in model.head.linears:
            linear.weight.zero_()
            linear.bias.fill_(1)
    values, counts = model(graph, x).unique(return_counts=True)
    assert values.tolist() == [0, 2, 4, 6, 8]  # a prediction of 1 by each of four is doubled or dropped
    assert counts[2] > counts[0] + counts[4]
    assert (model.eval()(graph, x) == 4).all()


def test_dropout_without_a_readout_acts_on_features_and_hidden_layers(graph: Any) -> None:
    model, x = make(training=True, num_layers=3, dropout=1 - 1e-9), features(graph)
    assert not any(layer.any() for layer in model.layers(graph, x))
