"""What every registered model promises. A model that is added later is tested here without an edit."""

import copy
import inspect
import itertools
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import assert_same_bits, snapshot
from torch import Tensor

import zoo
from zoo import models, weights
from zoo._dgl import dgl
from zoo.datasets.transforms import add_self_loop
from zoo.errors import ConfigError, GraphError
from zoo.model import READOUTS, ZooModel
from zoo.nn.convs import CONVS
from zoo.nn.drops import DropEdge
from zoo.nn.norms import Norms

METHODS = models.list_models()
IN_FEATS, NUM_CLASSES = 12, 4

# Values away from the defaults of arguments that are neither numbers nor switches.
OTHER_CHOICES: dict[str, Any] = {
    "readout": "max",
    "transforms": ("add_self_loop", "row_normalize"),
    "conv": "sage",
    "norm": "row",
    "distance": "cosine",
    "degrees": (4, 3),
    "version": "C",
    "refit_threshold": 0.5,
}


def make_graph(num_nodes: int = 30, seed: int = 1) -> Any:
    """Random and directed, without parallel edges; the last node is isolated."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm((num_nodes - 1) ** 2, generator=generator)[: 4 * num_nodes]
    graph = dgl.graph((places // (num_nodes - 1), places % (num_nodes - 1)), num_nodes=num_nodes)
    graph.ndata["feat"] = torch.randn(num_nodes, IN_FEATS, generator=generator)
    return graph


def as_double(graph: Any) -> Any:
    graph = graph.local_var()
    graph.ndata["feat"] = graph.ndata["feat"].double()
    return graph


def make(method: str, **arguments: Any) -> ZooModel:
    return models.create(method, {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **arguments})


def make_trained(method: str, graph: Any, **arguments: Any) -> ZooModel:
    """After three steps: statistics, centroids and biases are no longer at their start."""
    model = make(method, **arguments).to(graph.ndata["feat"].dtype)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model(graph).square().mean().backward()
        optimizer.step()
    return model.eval()


every_method = pytest.mark.parametrize("method", METHODS)


@every_method
def test_the_class_names_its_paper(method: str) -> None:
    cls = models.get(method)
    assert cls.method == method
    assert re.fullmatch(r"arXiv:\d{4}\.\d{4,5}", cls.paper)
    module = inspect.getmodule(cls)
    assert module is not None
    assert cls.paper in (module.__doc__ or "")
    assert cls.__doc__
    for name in list(inspect.signature(cls.__init__).parameters)[1:]:
        assert f"\n        {name}: " in cls.__doc__, f"{name} is not described"


@every_method
def test_arguments_after_the_widths_are_keyword_only(method: str) -> None:
    _, first, second, *others = inspect.signature(models.get(method).__init__).parameters.values()
    assert (first.name, second.name) == ("in_feats", "num_classes")
    assert all(other.kind is inspect.Parameter.KEYWORD_ONLY for other in others)
    assert all(other.default is not inspect.Parameter.empty for other in others)


@every_method
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_one_finite_row_per_node(method: str, training: bool) -> None:
    graph = make_graph()
    logits = make(method).train(training)(graph)
    assert logits.shape == (30, NUM_CLASSES)
    assert logits.isfinite().all()


@every_method
@pytest.mark.parametrize("readout", READOUTS)
def test_logits_are_one_finite_row_per_graph_with_a_readout(method: str, readout: str) -> None:
    batch = dgl.batch([make_graph(5), make_graph(9), make_graph(2)])
    model = make_trained(method, batch, readout=readout)
    assert model(batch).shape == (3, NUM_CLASSES)
    assert model(batch).isfinite().all()
    assert model(make_graph(5)).shape == (1, NUM_CLASSES)


@every_method
def test_every_parameter_gets_a_gradient(method: str) -> None:
    graph, model = make_graph(), make(method)
    torch.nn.functional.cross_entropy(model(graph), torch.arange(30) % NUM_CLASSES).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        if parameter.dim() > 1:  # a bias in front of a normalisation has none
            assert parameter.grad.any(), name


@every_method
def test_a_given_feat_stands_in_for_the_graphs_own_and_gets_a_gradient(method: str) -> None:
    graph = make_graph()
    model = make_trained(method, graph)
    expected = model(graph)
    feat = graph.ndata.pop("feat").clone().requires_grad_()
    torch.testing.assert_close(model(graph, feat), expected, rtol=0, atol=0)
    (grad,) = torch.autograd.grad(model(graph, feat).square().sum(), feat)
    assert grad.any()


@every_method
@pytest.mark.parametrize("readout", [None, *READOUTS])
def test_encode_layers_and_head_make_up_forward(method: str, readout: str | None) -> None:
    batch = dgl.batch([make_graph(8), make_graph(6)])
    model = make_trained(method, batch, readout=readout)
    layers, code = model.layers(batch), model.encode(batch)
    assert all(layer.shape[0] == 14 for layer in layers)
    parts = layers[-1].split([8, 6])
    expected = {
        None: layers[-1],
        "mean": torch.stack([part.mean(0) for part in parts]),
        "sum": torch.stack([part.sum(0) for part in parts]),
        "max": torch.stack([part.amax(0) for part in parts]),
    }
    torch.testing.assert_close(code, expected[readout])
    torch.testing.assert_close(model.head(batch, code), model(batch), rtol=0, atol=0)


@every_method
@pytest.mark.parametrize("num_layers", [2, 3, 5])
def test_each_layer_more_is_one_more_of_the_layers(method: str, num_layers: int) -> None:
    graph = make_graph()
    assert len(make(method, num_layers=num_layers).layers(graph)) == num_layers - 1
    assert len(make(method, num_layers=num_layers, readout="sum").layers(graph)) == num_layers


@pytest.mark.parametrize("method", ["gcn", "gat", "g2", "dynamo-gat"])
def test_the_methods_of_dynamo_gats_figures_run_128_layers_deep(method: str) -> None:
    graph = make_graph().add_self_loop()
    # A dropout of 0.6 on states and attention, GAT's default, overflows in training at this depth.
    options = {"dropout": 0.0, "attention_dropout": 0.0} if method == "gat" else {}
    model = make_trained(method, graph, num_layers=128, **options)
    assert all(layer.isfinite().all() for layer in model.layers(graph))
    model.train()(graph).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@every_method
@pytest.mark.parametrize("readout", [None, "mean"])
@pytest.mark.parametrize("training", [True, False])
def test_a_new_head_leaves_everything_else_as_it_is(method: str, readout: str | None, training: bool) -> None:
    graph = as_double(make_graph())
    model = make_trained(method, graph, readout=readout).train(training)
    before = snapshot(model)
    model.reset_head(7)
    with pytest.raises(ConfigError, match="num_classes is a whole number from 1, got 0"):
        model.reset_head(0)
    assert all(torch.equal(v, before[name]) for name, v in model.state_dict().items() if not name.startswith("head."))
    assert all(module.training == training for module in model.modules())
    assert model.num_classes == model.config["num_classes"] == 7
    model.eval()
    assert model(graph).dtype == torch.float64
    assert model(graph).shape[1] == 7
    assert torch.equal(model(graph), model(graph))


@every_method
@pytest.mark.parametrize("readout", [None, "mean"])
def test_evaluation_is_a_pure_function(method: str, readout: str | None) -> None:
    graph = make_graph()
    model = make_trained(method, graph, readout=readout)
    state, feat, random_state = snapshot(model), graph.ndata["feat"].clone(), torch.get_rng_state()
    assert torch.equal(model(graph), model(graph))
    assert_same_bits(model.state_dict(), state)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert torch.equal(graph.ndata["feat"], feat)
    assert list(graph.ndata) == ["feat"]
    assert not graph.edata


@every_method
@pytest.mark.parametrize("readout", [None, "mean"])
def test_training_does_not_write_to_the_graph(method: str, readout: str | None) -> None:
    graph = make_graph()
    feat = graph.ndata["feat"].clone()
    make_trained(method, graph, readout=readout)
    assert torch.equal(graph.ndata["feat"], feat)
    assert list(graph.ndata) == ["feat"]
    assert not graph.edata


@every_method
def test_the_seed_decides_the_training(method: str) -> None:
    graph, states = make_graph(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(snapshot(make_trained(method, graph)))
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def permuted(graph: Any, order: Tensor) -> Any:
    """The same graph, where node i was node order[i], with its edges in another order."""
    place = torch.argsort(order)
    src, dst = graph.edges()
    shuffle = torch.randperm(graph.num_edges())
    new = dgl.graph((place[src[shuffle]], place[dst[shuffle]]), num_nodes=graph.num_nodes())
    new.ndata["feat"] = graph.ndata["feat"][order]
    return new


@every_method
@pytest.mark.parametrize("readout", [None, *READOUTS])
def test_names_of_nodes_and_order_of_edges_play_no_part(method: str, readout: str | None) -> None:
    graph = as_double(make_graph())
    model, order = make_trained(method, graph, readout=readout), torch.randperm(30)
    expected = model(graph) if readout else model(graph)[order]
    torch.testing.assert_close(model(permuted(graph, order)), expected, rtol=1e-9, atol=1e-9)


@every_method
@pytest.mark.parametrize("readout", READOUTS)
def test_a_graph_has_the_same_answer_alone_and_in_any_batch(method: str, readout: str) -> None:
    graphs = [as_double(make_graph(size, seed=size)) for size in (4, 9, 2, 15)]
    model = make_trained(method, dgl.batch(graphs), readout=readout)
    alone = torch.cat([model(graph) for graph in graphs])
    torch.testing.assert_close(model(dgl.batch(graphs)), alone, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model(dgl.batch(graphs[::-1])), alone.flip(0), rtol=1e-9, atol=1e-9)


@every_method
def test_sparse_features_give_what_dense_ones_give(method: str) -> None:
    graph = as_double(make_graph())
    graph.ndata["feat"] = graph.ndata["feat"] * (torch.rand(30, IN_FEATS) < 0.1)
    model = make_trained(method, graph)
    dense = graph.ndata["feat"].clone().requires_grad_()
    torch.testing.assert_close(model(graph), model(graph, dense), rtol=1e-9, atol=1e-9)


@every_method
@pytest.mark.parametrize("idtype", [torch.int32, torch.int64])
def test_the_type_of_the_node_numbers_plays_no_part(method: str, idtype: torch.dtype) -> None:
    graph = make_graph()
    model = make_trained(method, graph)
    assert torch.equal(model(graph.astype(idtype)), model(graph))


@every_method
def test_graphs_without_edges_and_of_one_node(method: str) -> None:
    model = make_trained(method, make_graph())
    for num_nodes in (1, 3):
        graph = dgl.graph(([], []), num_nodes=num_nodes)
        assert model(graph, torch.randn(num_nodes, IN_FEATS)).isfinite().all()
        assert model.train()(graph, torch.randn(num_nodes, IN_FEATS)).isfinite().all()


@every_method
@pytest.mark.parametrize("density", [0.1, 1.0])
def test_a_graph_met_in_inference_mode_can_be_trained_on(method: str, density: float) -> None:
    graph, model = make_graph(), make(method)
    graph.ndata["feat"] *= torch.rand(30, IN_FEATS) < density
    with torch.inference_mode():
        model.eval()(graph)
    model.train()(graph).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def other_value(name: str, default: Any) -> Any:
    if name in OTHER_CHOICES:
        return OTHER_CHOICES[name]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    return (default / 2 or 0.25) if isinstance(default, float) else default


def other_arguments(method: str) -> dict[str, Any]:
    """Every argument of a method away from its default."""
    parameters = inspect.signature(models.get(method).__init__).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return {name: other_value(name, default) for name, default in defaults.items()}


def as_json(config: dict[str, Any]) -> Any:
    return json.loads(json.dumps(config))


@every_method
@pytest.mark.parametrize("options", ["defaults", "others"])
def test_saved_and_loaded_it_is_the_same_model(method: str, options: str, tmp_path: Path) -> None:
    arguments, graph = other_arguments(method) if options == "others" else {}, add_self_loop(make_graph())
    model = make_trained(method, graph, **arguments)
    model.save_pretrained(tmp_path)
    for loaded in (models.get(method).from_pretrained(str(tmp_path)), weights.load_folder(tmp_path)):
        assert type(loaded) is type(model)
        assert not loaded.training
        assert as_json(loaded.config) == as_json(model.config)
        assert_same_bits(loaded.state_dict(), snapshot(model))
        for each in (graph, add_self_loop(make_graph(11, seed=5))):
            assert torch.equal(loaded(each), model(each))


@every_method
def test_the_config_has_the_method_and_every_argument(method: str) -> None:
    arguments = other_arguments(method)
    config = make(method, **arguments).config
    named = as_json({"method": method, "in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **arguments})
    assert config == named
    assert as_json(models.get(method)(IN_FEATS, NUM_CLASSES).config) == as_json(make(method).config)


@every_method
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_the_same_model_and_apart(method: str, copied: Callable[[ZooModel], ZooModel]) -> None:
    graph = add_self_loop(make_graph())
    model = make_trained(method, graph, **other_arguments(method))
    twin, expected = copied(model), model(graph)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(twin(graph), expected)
    assert twin.config == model.config


@every_method
def test_a_new_head_is_saved_and_loaded(method: str, tmp_path: Path) -> None:
    graph = make_graph()
    model = make_trained(method, graph)
    model.reset_head(6)
    weights.write(model, tmp_path)
    assert torch.equal(weights.load_folder(tmp_path)(graph), model(graph))


@every_method
@pytest.mark.parametrize("changed", [{"num_classes": 6}, {"in_feats": 5}, {"num_classes": 6, "in_feats": 5}])
def test_loaded_for_other_widths_it_keeps_what_fits(method: str, changed: dict[str, Any], tmp_path: Path) -> None:
    model = make_trained(method, make_graph())
    weights.write(model, tmp_path)
    with pytest.warns(UserWarning, match="new and untrained"):
        other = weights.load_folder(tmp_path, **changed)
    report, old = other.load_report, snapshot(model)
    assert report is not None
    assert report.new
    assert set(report.kept) | set(report.new) == set(other.state_dict())
    assert all(torch.equal(other.state_dict()[name], old[name]) for name in report.kept)
    assert other(make_graph(), torch.randn(30, other.in_feats)).shape == (30, other.num_classes)


@every_method
def test_an_argument_that_no_config_can_hold_is_refused(method: str) -> None:
    values: list[Any] = [np.int64(3), torch.tensor(3)]
    for value in values:
        with pytest.raises(ConfigError, match="num_layers"):
            make(method, num_layers=value)
        with pytest.raises(ConfigError, match="num_classes"):
            models.get(method)(IN_FEATS, value)


@every_method
def test_prepare_applies_the_models_own_transforms_to_a_copy(method: str) -> None:
    graph = make_graph()
    feat, num_edges = graph.ndata["feat"].clone(), graph.num_edges()
    prepared = make(method, transforms=["remove_self_loop", "add_self_loop", "row_normalize"]).prepare(graph)
    assert all(prepared.has_edges_between(range(30), range(30)))
    torch.testing.assert_close(prepared.ndata["feat"].abs().sum(1), torch.ones(30))
    assert torch.equal(graph.ndata["feat"], feat)
    assert graph.num_edges() == num_edges
    plain = make(method).prepare(graph)
    assert plain is not graph
    assert torch.equal(plain.ndata["feat"], feat)


def test_a_model_in_half_floats_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a model in torch\.float16 is not saved, only float32 and float64 are"):
        make("gcn").half().save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_tensors_that_cannot_be_saved_are_told(tmp_path: Path) -> None:
    tied = models.create("gcn", {"in_feats": 4, "num_classes": 2, "num_layers": 3, "hidden": 4})
    tied.convs[1].linear.weight = tied.convs[0].linear.weight  # type: ignore[index, union-attr]
    for model in (tied, models.create("gcn", {"in_feats": 4, "num_classes": 2}).to("meta")):
        with pytest.raises(ConfigError, match="the model's tensors cannot be saved: "):
            model.save_pretrained(tmp_path / "there")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_thousand_normalisations_are_refused() -> None:
    with pytest.raises(ConfigError, match="1000 normalisations one after the other: at most 10"):
        models.create("sgc", {"in_feats": 4, "num_classes": 2, "norms": ["pairnorm"] * 1000})


@every_method
def test_a_model_in_float64_works(method: str) -> None:
    graph = make_graph()
    model = make_trained(method, as_double(graph))
    assert model(as_double(graph)).dtype == torch.float64
    assert torch.equal(model(graph), model(as_double(graph)))


def test_a_graph_that_was_not_prepared_is_told() -> None:
    model, graph = zoo.load("gcn-csbm"), zoo.datasets.load("csbm", seed=0)
    with pytest.warns(UserWarning, match=r"100 of 100 nodes have no self-loop.* pass it model\.prepare\(graph\)"):
        model(graph)
    model(model.prepare(graph))


@pytest.mark.parametrize(("conv", "told"), [("gcn", True), ("dir-gcn", False), ("linear", False)])
def test_edges_in_one_direction_are_told_where_both_are_expected(
    conv: str, told: bool, recwarn: pytest.WarningsRecorder
) -> None:
    model = make("cna", conv=conv)
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 3]])
    graph = zoo.datasets.from_arrays(edges, torch.rand(4, IN_FEATS), undirected=False)
    zoo.predict(model, graph)
    assert ["of 3 edges looked at none has its reverse" in str(one.message) for one in recwarn.list] == [True] * told
    recwarn.clear()
    zoo.predict(model, zoo.datasets.from_arrays(edges, torch.rand(4, IN_FEATS)))
    zoo.predict(model, zoo.datasets.from_arrays(edges[:, 3:], torch.rand(4, IN_FEATS), undirected=False))
    assert not recwarn.list


def test_one_edge_with_its_reverse_is_enough_however_large_the_graph(recwarn: pytest.WarningsRecorder) -> None:
    chain = torch.stack([torch.arange(999), torch.arange(1, 1000)])
    edges = torch.cat([chain, chain[:, 500:501].flip(0)], dim=1)
    zoo.predict(make("gcn"), zoo.datasets.from_arrays(edges, torch.rand(1000, IN_FEATS), undirected=False))
    assert not recwarn.list


def test_a_taken_name_is_not_registered_again() -> None:
    code = """
import zoo
from zoo.errors import ConfigError
try:
    zoo.models.register("gcn", paper="arXiv:0", title="", authors="", venue="X 2020")(type("Own", (), {}))
except ConfigError as error:
    print(error)
print(zoo.load("gcn-csbm").method)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-2:] == ["method 'gcn' is zoo.models.gcn's already: choose another name", "gcn"]


def spoilt(row: int, column: int, value: float) -> Tensor:
    feat = torch.zeros(30, IN_FEATS)
    feat[row, column] = value
    return feat


BAD_FEATURES: list[tuple[Tensor, str]] = [
    (torch.zeros(30, IN_FEATS + 1), r"\(30, 13\), but this model and graph need \(30, 12\)"),
    (torch.zeros(29, IN_FEATS), r"\(29, 12\), but this model and graph need \(30, 12\)"),
    (torch.zeros(30), r"\(30,\), but"),
    (torch.zeros(30, IN_FEATS, 1), r"\(30, 12, 1\), but"),
    (torch.zeros(30, IN_FEATS, dtype=torch.int64), r"torch.int64; convert it with feat.float\(\)"),
    (torch.zeros(30, IN_FEATS, dtype=torch.bool), r"torch.bool; convert it with feat.float\(\)"),
    (spoilt(3, 2, float("nan")), "1 values that are NaN or infinite, the first at node 3, feature 2"),
    (spoilt(29, 11, float("-inf")), "first at node 29, feature 11"),
]


@every_method
@pytest.mark.parametrize(("feat", "message"), BAD_FEATURES, ids=[message for _, message in BAD_FEATURES])
def test_bad_features_are_refused(method: str, feat: Tensor, message: str) -> None:
    graph, model = make_graph(), make(method)
    for function in (model, model.encode, model.layers):
        with pytest.raises(GraphError, match=message):
            function(graph, feat)


@every_method
def test_features_that_go_bad_in_place_are_refused(method: str) -> None:
    graph, model = make_graph(), make(method)
    model(graph)
    graph.ndata["feat"][4, 1] = float("inf")
    with pytest.raises(GraphError, match="node 4, feature 1"):
        model(graph)


def two_types() -> Any:
    return dgl.heterograph({("a", "to", "b"): ([0], [1]), ("b", "to", "a"): ([0], [1])})


@every_method
@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (dgl.graph(([], [])), "the graph has no nodes"),
        (dgl.batch([dgl.graph(([0], [1])), dgl.graph(([], []))]), "a graph of the batch has no nodes"),
        (two_types(), "several node or edge types"),
    ],
    ids=["empty", "empty-in-batch", "two-types"],
)
@pytest.mark.parametrize("readout", [None, "mean"])
def test_graphs_that_cannot_be_used_are_refused(method: str, graph: Any, message: str, readout: str | None) -> None:
    model = make(method, readout=readout)
    for _ in range(2):
        with pytest.raises(GraphError, match=message):
            model(graph, torch.zeros(graph.num_nodes(), IN_FEATS))


@every_method
def test_a_graph_without_features_is_refused(method: str) -> None:
    with pytest.raises(GraphError, match=r'set graph.ndata\["feat"\] or pass feat'):
        make(method)(dgl.graph(([0], [1])))


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"in_feats": 0}, "must be positive, got 0 and 4"),
    ({"num_classes": -1}, "must be positive, got 12 and -1"),
    ({"num_layers": 1}, "num_layers=1 leaves no hidden layer: use at least 2"),
    ({"num_layers": 0, "readout": "sum"}, "num_layers=0 leaves no hidden layer: use at least 1"),
    ({"readout": "median"}, "unknown readout 'median': choose from mean, sum, max"),
    ({"transforms": ["add_loops"]}, "unknown transform 'add_loops'"),
    ({"hidden": 0}, "positive"),
    ({"no_such": 1}, "has no argument 'no_such'"),
]


@every_method
@pytest.mark.parametrize(("arguments", "message"), IMPOSSIBLE, ids=str)
def test_impossible_arguments_are_refused(method: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(method, **arguments)


def test_what_is_no_graph_or_no_tensor_is_refused() -> None:
    model, graph = make("gcn").eval(), make_graph()
    for wrong in (None, [graph], graph.ndata["feat"]):
        with pytest.raises(GraphError, match=r"expected a DGLGraph, got (NoneType|list|Tensor)"):
            model.prepare(wrong)
        with pytest.raises(GraphError, match=r"expected a DGLGraph, got (NoneType|list|Tensor)"):
            model(wrong)
    with pytest.raises(GraphError, match="feat is a ndarray: expected a tensor"):
        model(graph, graph.ndata["feat"].numpy())
    with pytest.raises(GraphError, match="feat is on cpu, the model on meta"):
        model.to("meta")(graph)


@every_method
def test_a_missing_argument_is_named(method: str) -> None:
    with pytest.raises(ConfigError, match="missing a required argument: 'num_classes'"):
        models.create(method, {"in_feats": 3})


@pytest.mark.parametrize("method", [m for m in METHODS if "dropout" in other_arguments(m)])
@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_an_impossible_dropout_is_refused(method: str, p: float) -> None:
    with pytest.raises(ConfigError, match=f"got {p}"):
        make(method, dropout=p)


def test_an_unknown_method_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'gcnn': did you mean .*gcn"):
        models.create("gcnn", {})
    with pytest.raises(ConfigError, match=r"unknown method 'transformer9000': did you mean .*\bcna\b"):
        models.get("transformer9000")


@pytest.mark.parametrize("conv", CONVS)
@pytest.mark.parametrize("extra", [{}, {"readout": "mean", "linear_ends": True}], ids=["nodes", "graphs"])
def test_cna_takes_every_convolution(conv: str, extra: dict[str, Any]) -> None:
    graph, order = as_double(make_graph()), torch.randperm(30)
    model = make_trained("cna", graph, conv=conv, num_layers=3, **extra)
    expected = model(graph) if extra else model(graph)[order]
    torch.testing.assert_close(model(permuted(graph, order)), expected, rtol=1e-8, atol=1e-8)


def test_sage_is_the_papers_formula() -> None:
    graph = as_double(make_graph())
    model: Any = make_trained("sage", graph, num_layers=3)
    state = graph.ndata["feat"]
    for layer in (*model.convs, model.head):
        rows = []
        for node in range(graph.num_nodes()):
            neighbours = graph.predecessors(node)
            mean = state[neighbours].mean(0) if len(neighbours) else torch.zeros_like(state[0])
            rows.append(torch.cat([state[node], mean]) @ torch.cat([layer.root.weight, layer.neighbours.weight], 1).t())
        state = torch.stack(rows) + layer.root.bias
        state = state if layer is model.head else state.relu()
    torch.testing.assert_close(model(graph), state, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("names", [[], ["pairnorm", "contranorm"]])
def test_gat_is_the_papers_formula_with_normalisations_before_the_elus(names: list[str]) -> None:
    graph = as_double(make_graph().add_self_loop().to_simple(copy_ndata=True))
    options = {"num_layers": 3, "hidden": 3, "heads": 2, "output_heads": 3, "norms": names, "norm_scale": 0.5}
    model: Any = make_trained("gat", graph, **options)
    norms = Norms(names, 6, scale=0.5)
    state = graph.ndata["feat"]
    for layer in (*model.convs, model.head):
        values = (state @ layer.linear.weight.t()).view(len(state), layer.heads, -1)
        rows = []
        for node in range(len(state)):
            heads = []
            for head in range(layer.heads):
                a = torch.cat([layer.attention_dst[head], layer.attention_src[head]])
                near = values[graph.predecessors(node), head]
                pairs = torch.cat([values[node, head].expand_as(near), near], 1)
                heads.append(torch.nn.functional.leaky_relu(pairs @ a, 0.2).softmax(0) @ near)
            rows.append(torch.stack(heads).mean(0) if layer is model.head else torch.cat(heads))
        state = torch.stack(rows) + layer.bias
        state = state if layer is model.head else torch.nn.functional.elu(norms(state, graph))
    torch.testing.assert_close(model(graph), state, rtol=1e-10, atol=1e-10)


def takers(option: str) -> list[str]:
    return [method for method in METHODS if option in inspect.signature(models.get(method).__init__).parameters]


@pytest.mark.parametrize("method", takers("drop_edge"))
def test_a_pass_of_training_draws_its_edges_once_and_evaluation_keeps_all(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"gcn", "gat", "gcnii", "sgc"} <= set(takers("drop_edge"))
    graph, seen = make_graph(), []
    other = {name: 0.0 for name in ("dropout", "attention_dropout") if method in takers(name)}
    model, plain = make(method, drop_edge=0.5, **other), make(method, **other)
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(graph), plain.eval()(graph))
    draw = DropEdge.forward

    def draw_and_tell(self: DropEdge, graph: Any) -> Any:
        seen.append(draw(self, graph))
        return seen[-1]

    monkeypatch.setattr(DropEdge, "forward", draw_and_tell)
    logits = model.train()(graph)
    (kept,) = seen
    assert kept.num_edges() < graph.num_edges()
    assert torch.equal(logits, plain.train()(kept))


def test_a_class_without_its_two_methods_cannot_be_made() -> None:
    class Half(ZooModel):
        def make_head(self, num_classes: int) -> torch.nn.Module:
            return torch.nn.Identity()

    with pytest.raises(TypeError, match=r"abstract method '?hidden_states"):
        Half(3, 2)  # type: ignore[abstract]


ROUTES: list[tuple[str, dict[str, Any]]] = [(method, {}) for method in METHODS]
ROUTES += [(method, {"readout": "mean"}) for method in METHODS]
ROUTES += [("cna", {"conv": conv}) for conv in CONVS] + [("cna", {"norm": "row"}), ("g2", {"conv": "gat"})]
ROUTES += [(method, {"backbone": name}) for method in ("label-sbp", "feature-sbp") for name in ("sgc", "gcnii")]
every_route = pytest.mark.parametrize(("method", "arguments"), ROUTES, ids=str)


def test_a_part_of_another_module_is_loaded_like_one_alone() -> None:
    graph = make_graph()
    source, target = (torch.nn.ModuleDict({"part": make("dynamo-gat", prune_every=1, rate=0.5)}) for _ in range(2))
    source["part"].train()(graph)
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.eval()["part"](graph), source.eval()["part"](graph))
    assert (target["part"].edge_weights(graph) < 1).any()  # type: ignore[operator]


def test_what_is_said_to_be_the_same_in_training_is() -> None:
    claimed = set()
    for (method, arguments), without_dropout in itertools.product(ROUTES, (False, True)):
        dropouts = {name: 0.0 for name in ("dropout", "input_dropout", "attention_dropout") if method in takers(name)}
        model = make(method, **arguments, **(dropouts if without_dropout else {}))
        graph = model.prepare(make_graph())
        if model.same_in_training:
            claimed.add(method)
            assert torch.equal(model.train()(graph), model.eval()(graph)), (method, arguments)
    assert claimed >= {"cna", "gcn", "sgc", "label-sbp", "feature-sbp"}


def assert_learns(model: ZooModel, logits: Tensor) -> None:
    logits.float().square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


@every_route
def test_all_learn_in_half_floats_too(method: str, arguments: dict[str, Any]) -> None:
    graph = make_graph()
    graph.ndata["feat"] = graph.ndata["feat"].bfloat16()
    model = make(method, **arguments).bfloat16()
    logits = model(model.prepare(graph))
    assert logits.dtype == torch.bfloat16
    assert_learns(model, logits)


@every_route
@pytest.mark.parametrize("sparse", [False, True])
def test_all_learn_under_autocast(method: str, arguments: dict[str, Any], sparse: bool) -> None:
    graph = make_graph()
    if sparse:
        graph.ndata["feat"] *= torch.rand(graph.ndata["feat"].shape) < 0.1
    model = make(method, **arguments)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(model.prepare(graph))
    assert_learns(model, logits)


def test_features_beyond_the_models_precision_are_refused() -> None:
    graph = make_graph()
    graph.ndata["feat"] = graph.ndata["feat"].double()
    graph.ndata["feat"][2, 1] = 1e39
    with pytest.raises(GraphError, match=r"infinite as torch\.float32, the first at node 2, feature 1"):
        make("gcn")(graph)
