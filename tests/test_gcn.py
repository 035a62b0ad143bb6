"""GCN and its options against their equations on dense float64 matrices."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from oracles import (
    IN_FEATS,
    NUM_CLASSES,
    assert_same_with_gradients,
    features,
    mean_over_rows,
    normalised,
    randomised,
)
from torch import Tensor

from zoo import models
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models.gcn import GCN
from zoo.nn.norms import NORMS, Norms


def make(**options: Any) -> Any:
    model: Any = GCN(IN_FEATS, NUM_CLASSES, **{"hidden": 6, "dropout": 0.0, **options})
    return randomised(model)


def logits(model: Any, graph: Any, adjacency: Tensor, x: Tensor, norms: Sequence[str], residual: float) -> Tensor:
    """Of a model with four layers."""

    def convolve(conv: Any, state: Tensor) -> Tensor:
        return normalised(adjacency) @ state @ conv.linear.weight.t() + conv.bias

    norm = Norms(norms, 6, scale=0.5)
    states = [x]
    for conv in model.convs:
        after = norm(convolve(conv, states[-1]), graph).clamp(min=0)
        states.append(after if len(states) == 1 else after + residual * states[-1])
    return convolve(model.head, states[-1])


@pytest.mark.parametrize("residual", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("norms", [[], ["pairnorm"], ["contranorm-mask-edges", "pairnorm-si"]])
def test_logits_and_gradients_are_the_equations(
    norms: list[str], residual: float, graph: Any, adjacency: Tensor
) -> None:
    model = make(num_layers=4, norms=norms, norm_scale=0.5, residual=residual)
    x = features(graph).requires_grad_()
    expected = logits(model, graph, adjacency, x, norms, residual)
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


def test_rows_of_the_adjacency_can_sum_to_one(graph: Any, adjacency: Tensor) -> None:
    model, x = make(num_layers=3, adjacency="row"), features(graph).requires_grad_()
    rows, state = mean_over_rows(adjacency), x
    for conv in model.convs:
        state = (rows @ state @ conv.linear.weight.t() + conv.bias).clamp(min=0)
    expected = rows @ state @ model.head.linear.weight.t() + model.head.bias
    assert_same_with_gradients(model(graph, x), expected, [x, *model.parameters()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adjacency": "column"}, "unknown adjacency 'column': choose from row, symmetric"),
        ({"adjacency": "row", "drop_message": 0.5}, "drop_message goes with adjacency 'symmetric', got 'row'"),
    ],
)
def test_impossible_adjacencies_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        models.create("gcn", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **options})


def test_options_are_off_by_default() -> None:
    names = {"convs.0.linear.weight", "convs.0.bias", "head.linear.weight", "head.bias"}
    assert set(GCN(IN_FEATS, NUM_CLASSES).state_dict()) == names
    assert set(GCN(IN_FEATS, NUM_CLASSES, drop_message=0.5, drop_edge=0.5, residual=1.0).state_dict()) == names


def test_layers_with_parameters_of_a_normalisation_have_their_own(graph: Any) -> None:
    model = make(num_layers=3, norms=["batchnorm", "layernorm"])
    names = [name for name, _ in model.named_parameters() if name.startswith("norms.")]
    assert names == [f"norms.{i}.{j}.{part}" for i in range(2) for j in range(2) for part in ("weight", "bias")]
    model(graph, features(graph)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.norms.parameters())


def complete_graph() -> Any:
    """Twenty edges: every node sends to every other."""
    nodes = torch.arange(5)
    senders, receivers = torch.cartesian_prod(nodes, nodes).t()
    return dgl.graph((senders[senders != receivers], receivers[senders != receivers]))


def test_all_layers_of_a_pass_see_the_edges_that_are_kept() -> None:
    graph = complete_graph()
    model, x, seen = make(num_layers=3, drop_edge=0.5).train(), features(graph), []
    for conv in (*model.convs, model.head):
        conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(graph, x)
    model(graph, x)
    assert [each is seen[0] for each in seen] == [True] * 3 + [False] * 3
    assert {each.num_edges() for each in seen} == {10}
    model.eval()(graph, x)
    assert seen[-1] is graph


@pytest.mark.parametrize("option", ["drop_edge", "drop_message"])
def test_drops_act_in_training_only(option: str) -> None:
    graph = complete_graph()
    model, plain, x = make(num_layers=3, **{option: 0.5}), make(num_layers=3), features(graph)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(graph, x), plain(graph, x))
    model.train()
    assert not torch.allclose(model(graph, x), model(graph, x))
    logits = model(graph, x)
    assert all(grad.any() for grad in torch.autograd.grad(logits.square().sum(), list(model.parameters())))


@pytest.mark.parametrize("option", ["drop_edge", "drop_message"])
def test_drops_of_a_batch_of_graphs(option: str) -> None:
    batch = dgl.batch([complete_graph(), complete_graph()])
    model = make(readout="sum", **{option: 0.5}).train()
    assert model(batch, features(batch)).shape == (2, NUM_CLASSES)


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"norms": ["row"]}, r"method 'gcn': unknown normalisation 'row': choose from batchnorm, "),
    ({"norms": "batchnorm"}, r"norms must be list, got 'batchnorm'"),
    ({"norms": ["pairnorm"], "norm_scale": 0.0}, r"PairNorm's scale must be above 0"),
    ({"residual": -1.0}, r"residual must be at least 0 and finite, got -1\.0"),
    ({"drop_edge": 1.0}, r"DropEdge's rate must be at least 0 and below 1"),
    ({"drop_message": -0.5}, r"DropMessage's rate must be at least 0 and below 1"),
]


@pytest.mark.parametrize("method", ["gcn", "sgc"])
@pytest.mark.parametrize(("options", "message"), IMPOSSIBLE)
def test_impossible_options_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("gcn", method)):
        models.create(method, {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **options})


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({}, True),
        ({"norms": ["pairnorm"], "residual": 0.5}, True),
        ({"norms": ["batchnorm"]}, False),
        ({"dropout": 0.5}, False),
        ({"drop_edge": 0.5}, False),
        ({"drop_message": 0.5}, False),
    ],
)
def test_passes_are_shared_where_nothing_is_drawn_or_averaged(options: dict[str, Any], same: bool) -> None:
    graph = complete_graph()
    model, x = make(**{"dropout": 0.0, **options}), features(graph)
    assert model.same_in_training == same
    assert torch.equal(model.train()(graph, x), model.eval()(graph, x)) == same


@pytest.mark.parametrize("norm", NORMS)
def test_a_normalisation_leaves_nothing_in_the_graph(norm: str) -> None:
    graph = dgl.graph(([0, 1, 2], [1, 2, 0]))
    graph.ndata["feat"] = torch.randn(3, IN_FEATS)
    GCN(IN_FEATS, NUM_CLASSES, norms=[norm], readout="mean")(graph)
    assert dgl.batch([graph.int(), graph.int()]).num_nodes() == 6, "kept sizes would be of the other index type"
