"""MLP against its equation in float64; what its dropout acts on."""

from typing import Any

import pytest
import torch
from oracles import IN_FEATS, NUM_CLASSES, assert_same_with_gradients, features, linear, randomised, relus

from zoo._dgl import dgl
from zoo.models.mlp import MLP


def make(**options: Any) -> Any:
    model: Any = MLP(IN_FEATS, NUM_CLASSES, **{"hidden": 6, **options})
    return randomised(model)


@pytest.mark.parametrize("num_layers", [2, 4])
def test_logits_and_gradients_are_the_equation(num_layers: int, graph: Any) -> None:
    model, x = make(num_layers=num_layers), features(graph).requires_grad_()
    expected = linear(model.head, relus(model.linears, x))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_behind_a_readout_pooled_graphs_are_classified(graph: Any) -> None:
    model, x = make(num_layers=2, readout="mean"), features(graph).requires_grad_()
    expected = linear(model.head, relus(model.linears, x).mean(0, keepdim=True))
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_dropout_acts_before_every_layer_in_training_only() -> None:
    graph, model = dgl.graph(([], []), num_nodes=4000), make(num_layers=2, hidden=1, dropout=0.25)
    x = torch.ones(4000, IN_FEATS, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0)
        model.linears[0].linear.weight.fill_(1)
        model.head.linear.weight.fill_(1)
    assert torch.equal(model(graph, x)[:, 0], x.sum(1))
    dropped = model.train()(graph, x)[:, 0]
    kept = dropped[dropped != 0] * 0.75**2  # a number of the inputs, for the hidden unit was kept
    assert torch.equal(kept.round().unique(), torch.arange(1, IN_FEATS + 1, dtype=torch.float64))
    assert 0.72 < len(kept) / 4000 < 0.78  # that all inputs were dropped is one case in a thousand
