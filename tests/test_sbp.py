"""SBP against its formulas with the n × n matrices, in float64; what labels may reach, and what tiles may hold."""

import math
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
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from zoo._dgl import dgl
from zoo.errors import ConfigError, GraphError
from zoo.inference import predict_logits
from zoo.models import sbp
from zoo.models.sbp import SBP, FeatureSBP, LabelSBP

KINDS = {"label": LabelSBP, "feature": FeatureSBP}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, **options: Any) -> Any:
    return KINDS[kind](IN_FEATS, NUM_CLASSES, **{"hidden": 4, "num_layers": 3, "lam": 0.6, "beta": 0.7, **options})


def some_graph(num_nodes: int) -> Any:
    return dgl.graph(tuple(torch.randint(num_nodes, (2, 3 * num_nodes))), num_nodes=num_nodes)


def labelled(graph: Any) -> Any:
    """Every third node's label is unknown, and what stands there is no class."""
    graph = graph.local_var()
    nodes = torch.arange(graph.num_nodes())
    graph.ndata["train_mask"] = nodes % 3 != 2
    graph.ndata["label"] = torch.where(graph.ndata["train_mask"], nodes % NUM_CLASSES, 99)
    return graph


def signs(graph: Any) -> Tensor:
    """A⁻ of the labels: 1 where they differ, -1 where they agree, 0 where one is unknown."""
    label, known = graph.ndata["label"], graph.ndata["train_mask"]
    matrix = torch.zeros(graph.num_nodes(), graph.num_nodes(), dtype=torch.float64)
    for i in range(len(label)):
        for j in range(len(label)):
            if known[i] and known[j]:
                matrix[i, j] = -1 if label[i] == label[j] else 1
    return matrix


def expected_states(model: SBP, graph: Any, adjacency: Tensor, x: Tensor) -> list[Tensor]:
    """The formula of the module, with dense matrices."""
    edges = adjacency * (signs(graph) <= 0) if isinstance(model, LabelSBP) and model.scalable else adjacency
    positive = mean_over_rows(edges) if model.adjacency == "row" else normalised(edges)
    states, state = [], x
    skips = model.backbone == "gcn" and model.skip_weights
    if model.backbone == "gcnii":
        first = state = nn.functional.linear(x, model.embed.weight, model.embed.bias).clamp(min=0)
    for k in range(model.num_steps):
        kept = state
        if model.backbone == "gcn":
            weight, bias = model.linears[k].weight, model.linears[k].bias
            state = state @ weight.t() + bias  # type: ignore[operator]
        if not skips:
            kept = state
        update = model.alpha * positive @ state
        if isinstance(model, FeatureSBP) and model.scalable:
            update = update - model.beta * state @ (-state.t() @ state).softmax(1)
        elif not model.scalable:
            negative = signs(graph) if isinstance(model, LabelSBP) else -x @ x.t()
            update = update - model.beta * negative.softmax(1) @ state
        state = update if skips and k == 0 else (1 - model.lam) * kept + model.lam * update
        if model.norm_after == "each" or (model.norm_after == "last" and k == model.num_steps - 1):
            centred = state - state.mean(1, keepdim=True)
            state = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        if model.backbone == "gcnii":
            beta = math.log(0.5 / (k + 1) + 1)
            mixed = 0.9 * state + 0.1 * first
            state = (1 - beta) * mixed + beta * mixed @ model.convs[k].linear.weight.t()  # type: ignore[operator, union-attr]
        if model.backbone != "sgc":
            state = state.clamp(min=0)
        states.append(state)
    return states


@every_kind
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"backbone": "sgc"},
        {"backbone": "gcnii"},
        {"scalable": True},
        {"scalable": True, "backbone": "sgc", "adjacency": "symmetric"},
        {"adjacency": "symmetric", "norm_after": "last"},
        {"skip_weights": False},
        {"skip_weights": False, "norm_after": "none"},
        {"norm_after": "none", "alpha": 0.5, "lam": 1.0},
    ],
)
def test_states_and_gradients_are_the_formula(
    kind: str, options: dict[str, Any], graph: Any, adjacency: Tensor
) -> None:
    model, graph = randomised(make(kind, **options)), labelled(graph)
    x = features(graph).requires_grad_()
    *_, expected = expected_states(model, graph, adjacency, x)
    hidden = [parameter for name, parameter in model.named_parameters() if not name.startswith("head.")]
    assert_same_with_gradients(model.encode(graph, x), expected, [x, *hidden])


@every_kind
@pytest.mark.parametrize("name", ["row", "symmetric"])
def test_the_last_convolution_of_a_gcn_has_the_adjacency_of_its_steps(
    kind: str, name: str, graph: Any, adjacency: Tensor
) -> None:
    model, graph = randomised(make(kind, adjacency=name)), labelled(graph)
    x = features(graph)
    positive = mean_over_rows(adjacency) if name == "row" else normalised(adjacency)
    expected = positive @ model.encode(graph, x) @ model.head.linear.weight.t() + model.head.bias
    torch.testing.assert_close(model(graph, x), expected)


class ZeroedOnce(nn.Module):
    """Stands in for a dropout: leaves out everything behind the first layer, at its second call, else nothing."""

    calls = 0

    def forward(self, state: Tensor) -> Tensor:
        self.calls += 1
        return state * (self.calls != 2)


@pytest.mark.parametrize("skip_weights", [False, True])
def test_a_state_that_skips_weights_skips_dropout_too(skip_weights: bool, graph: Any) -> None:
    model = randomised(make("label", skip_weights=skip_weights))
    model.dropout = ZeroedOnce()
    x = features(graph).requires_grad_()
    model.encode(graph, x).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.any()) == skip_weights


@pytest.mark.parametrize("tile", [1, 20, 1000])
@pytest.mark.parametrize("backbone", sbp.BACKBONES)
def test_tiles_give_what_the_kept_matrix_gives(backbone: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = some_graph(9)
    model, x = randomised(make("feature", backbone=backbone)), torch.randn(9, IN_FEATS, dtype=torch.float64)
    x.requires_grad_()
    kept = model(graph, x)
    monkeypatch.setattr(sbp, "KEPT", 9 * 9 - 1)
    monkeypatch.setattr(sbp, "TILE", tile)
    assert_same_with_gradients(model(graph, x), kept, [x, *model.parameters()])


class Softmaxes(TorchDispatchMode):
    """Counts them."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func is torch.ops.aten._softmax.default
        return func(*args, **(kwargs or {}))


def test_the_kept_matrix_is_made_once_for_the_features_as_they_are() -> None:
    graph, model = some_graph(9), make("feature", num_layers=4)
    graph.ndata["feat"] = torch.randn(9, IN_FEATS)
    with Softmaxes() as softmaxes:
        for _ in range(2):
            model(graph).sum().backward()
    assert softmaxes.number == 1
    model.eval()
    with torch.no_grad():
        graph.ndata["feat"].mul_(2)
        assert torch.equal(model(graph), model(graph, graph.ndata["feat"].clone()))


class Largest(TorchDispatchMode):
    """The most entries that a tensor had."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.entries = max(self.entries, result.numel())
        return result


@every_kind
@pytest.mark.parametrize("backbone", sbp.BACKBONES)
def test_no_tensor_joins_all_nodes_to_all(kind: str, backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbp, "KEPT", 0)
    monkeypatch.setattr(sbp, "TILE", 2000)
    graph = labelled(some_graph(500))
    graph.ndata["feat"] = torch.randn(500, IN_FEATS)
    with Largest() as largest:
        make(kind, backbone=backbone)(graph).sum().backward()
    assert largest.entries < 500 * 500 / 10


@every_kind
@pytest.mark.parametrize("scalable", [False, True])
@pytest.mark.parametrize("backbone", sbp.BACKBONES)
def test_labels_of_validation_and_test_do_not_enter(kind: str, scalable: bool, backbone: str) -> None:
    graph = labelled(some_graph(30))
    graph.ndata["feat"] = torch.randn(30, IN_FEATS)
    other = graph.local_var()
    other.ndata["label"] = torch.where(graph.ndata["train_mask"], graph.ndata["label"], -5)
    other.ndata["feat"] = graph.ndata["feat"].clone()  # of which nothing is remembered
    model = make(kind, scalable=scalable, backbone=backbone).eval()
    assert torch.equal(model(graph), model(other))


@pytest.mark.parametrize("backbone", sbp.BACKBONES)
def test_training_labels_enter(backbone: str) -> None:
    graph = labelled(some_graph(30))
    graph.ndata["feat"] = torch.randn(30, IN_FEATS)
    other = graph.local_var()
    other.ndata["label"] = torch.zeros(30, dtype=torch.int64)
    for scalable in (False, True):
        model = make("label", scalable=scalable, backbone=backbone).eval()
        before = model(graph)
        assert not torch.equal(before, model(other))
        assert torch.equal(before, model(graph))


@pytest.mark.parametrize("scalable", [False, True])
@pytest.mark.parametrize("backbone", sbp.BACKBONES)
def test_labels_and_mask_are_taken_as_they_are(scalable: bool, backbone: str) -> None:
    graph = labelled(some_graph(30))
    graph.ndata["feat"] = torch.randn(30, IN_FEATS)
    model = make("label", scalable=scalable, backbone=backbone).eval()
    unchanged = model(graph)
    changes: list[tuple[str, Any]] = [("label", 1), ("train_mask", True)]
    for name, value in changes:
        graph.ndata[name][2::3] = value
        other = graph.clone()
        other.ndata["feat"] = graph.ndata["feat"].clone()  # of which nothing is remembered
        assert torch.equal(model(graph), model(other))
    assert not torch.equal(model(graph), unchanged)


def test_a_prediction_sees_the_training_labels() -> None:
    graphs = [labelled(some_graph(size)) for size in (30, 9)]
    for graph in graphs:
        graph.ndata["feat"] = torch.randn(graph.num_nodes(), IN_FEATS)
    of_nodes, of_graphs = make("label").eval(), make("label", readout="mean").eval()
    assert torch.equal(predict_logits(of_nodes, graphs[0]), of_nodes(graphs[0]))
    expected = torch.cat([of_graphs(graph) for graph in graphs])
    for block_size in (1, 1000):
        torch.testing.assert_close(predict_logits(of_graphs, graphs, block_size), expected)
    del graphs[1].ndata["label"]
    with pytest.raises(GraphError, match="some graphs lack what others have of feat, label, train_mask"):
        predict_logits(of_graphs, graphs)


def test_without_labels_all_nodes_repel_alike() -> None:
    graph = some_graph(12)
    model, x = randomised(make("label", num_layers=2, backbone="sgc", norm_after="none")), features(graph)
    unknown = labelled(graph)
    unknown.ndata["train_mask"][:] = False
    torch.testing.assert_close(model(graph, x), model(unknown, x))
    plain = randomised(make("label", num_layers=2, backbone="sgc", norm_after="none", beta=0.0))
    difference = plain.encode(graph, x) - model.encode(graph, x)
    torch.testing.assert_close(difference, (0.6 * 0.7 * x.mean(0)).expand(12, -1))


@every_kind
@pytest.mark.parametrize("scalable", [False, True])
@pytest.mark.parametrize("backbone", sbp.BACKBONES)
@pytest.mark.parametrize("kept", [0, sbp.KEPT])
def test_a_graph_of_a_batch_gets_what_it_gets_alone(
    kind: str, scalable: bool, backbone: str, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sbp, "KEPT", kept)
    graphs = [labelled(some_graph(size)) for size in (4, 7, 2)]
    for graph in graphs:
        graph.ndata["feat"] = features(graph)
    model, batch = randomised(make(kind, scalable=scalable, backbone=backbone)), dgl.batch(graphs)
    together = model(batch)
    torch.testing.assert_close(together, torch.cat([model(graph) for graph in graphs]))
    if not (kind == "label" and scalable):  # which looks along edges only
        one = batch.local_var()
        one.set_batch_num_nodes(torch.tensor([batch.num_nodes()]))
        one.set_batch_num_edges(torch.tensor([batch.num_edges()]))
        assert not torch.allclose(model(one), together)


@every_kind
def test_steps_that_are_remembered_are_of_the_model_as_it_is(kind: str) -> None:
    graph = labelled(some_graph(20))
    graph.ndata["feat"] = torch.randn(20, IN_FEATS)
    model = make(kind, backbone="sgc").eval()
    before = model(graph)
    model.beta = 3.0
    assert not torch.allclose(model(graph), before)


@pytest.mark.parametrize(
    ("label", "mask", "message"),
    [
        (torch.tensor([0, 1, 3]), torch.tensor([True, True, True]), "from 0 to 2, the classes of this model"),
        (torch.tensor([0, -1, 1]), torch.tensor([True, True, False]), "from 0 to 2"),
        (torch.tensor([0.0, 1.0, 1.0]), torch.tensor([True, True, False]), "label is torch.float32"),
        (torch.tensor([0, 1, 1]), torch.tensor([1, 1, 0]), r"train_mask torch.int64 of shape \(3,\)"),
        (torch.zeros(3, 2).long(), torch.tensor([True, True, False]), r"label is torch.int64 of shape \(3, 2\)"),
        (torch.zeros(3, 1).long(), torch.ones(3, 1).bool(), r"label is torch.int64 of shape \(3, 1\)"),
    ],
)
@pytest.mark.parametrize("scalable", [False, True])
def test_labels_that_cannot_be_used_are_refused(label: Tensor, mask: Tensor, message: str, scalable: bool) -> None:
    graph = dgl.graph(([0, 1], [1, 2]))
    graph.ndata["feat"], graph.ndata["label"], graph.ndata["train_mask"] = torch.randn(3, IN_FEATS), label, mask
    with pytest.raises(GraphError, match=message):
        make("label", scalable=scalable)(graph)


@every_kind
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "gat"}, "unknown backbone 'gat': choose from sgc, gcn, gcnii"),
        ({"adjacency": "none"}, "unknown adjacency 'none': choose from row, symmetric"),
        ({"norm_after": "first"}, "unknown norm_after 'first': choose from each, last, none"),
        ({"lam": 0.0}, "lam must be above 0 and at most 1, got 0.0"),
        ({"lam": float("nan")}, "lam must be above 0"),
        ({"beta": -1.0}, "alpha and beta must not be negative, got 1.0 and -1.0"),
        ({"alpha": float("inf")}, "alpha and beta"),
        ({"residual": 1.5}, "residual is from 0 to 1, mapping not negative: got 1.5 and 0.5"),
    ],
)
def test_impossible_arguments_are_refused(kind: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(kind, **arguments)


@pytest.mark.parametrize("backbone", ["gcn", "gcnii"])
def test_tiles_take_two_precisions(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = dgl.graph(([0, 1, 2], [1, 2, 0]))
    graph.ndata["feat"] = torch.randn(3, IN_FEATS)
    model = make("feature", backbone=backbone).eval()
    with torch.autocast("cpu", torch.bfloat16):
        kept = model(graph)
        monkeypatch.setattr(sbp, "KEPT", 0)
        torch.testing.assert_close(model(graph).float(), kept.float(), rtol=0.02, atol=0.02)
