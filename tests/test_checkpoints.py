"""Every bundled checkpoint loads, and scores what the registry says."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import assert_same_bits

import zoo
from zoo import registry, weights
from zoo._dgl import dgl
from zoo._files import resource
from zoo.errors import CheckpointError, CheckpointNotFound, DatasetNotFound, GraphError, IntegrityError
from zoo.model import ZooModel

CHECKPOINTS = registry.list_checkpoints()


def random_graph(in_feats: int, num_nodes: int = 12) -> Any:
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(num_nodes, (2, 40), generator=generator)
    return zoo.datasets.from_arrays(edges, torch.rand(num_nodes, in_feats, generator=generator))


def num_answers(model: ZooModel) -> int:
    """Rows of a model's logits on `random_graph`: one per node, with a readout one for all."""
    return 12 if model.readout is None else 1


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_scores_what_the_registry_says(name: str) -> None:
    try:
        evaluation = zoo.evaluate(name)
    except DatasetNotFound as error:
        pytest.skip(str(error))
    assert evaluation.value == evaluation.recorded


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_answers_on_a_new_graph(name: str) -> None:
    model = zoo.load(name)
    graph = random_graph(model.in_feats)
    logits = model(model.prepare(graph))
    assert not model.training
    assert logits.shape == (num_answers(model), model.num_classes)
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, zoo.load(name)(model.prepare(graph)))


WHOLE_GRAPHS = [name for name in CHECKPOINTS if registry.info(name).task.startswith("graph-")]


@pytest.mark.parametrize("name", WHOLE_GRAPHS)
def test_checkpoint_of_whole_graphs_answers_on_a_list_of_them(name: str) -> None:
    model = zoo.load(name)
    graphs = [random_graph(model.in_feats, num_nodes) for num_nodes in (3, 12, 7)]
    together, alone = zoo.predict(name, graphs), [zoo.predict(name, [graph]) for graph in graphs]
    assert together.values.tolist() == [prediction.values.item() for prediction in alone]
    assert together.probabilities is not None
    assert together.probabilities.shape == (3, model.num_classes)
    for row, prediction in zip(together.probabilities, alone, strict=True):
        torch.testing.assert_close(row[None], prediction.probabilities)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoint_takes_another_width_and_number_of_classes(name: str) -> None:
    num_classes = zoo.load(name).num_classes + 1
    with pytest.warns(UserWarning, match="new and untrained: "):
        model = zoo.load(name, in_feats=5, num_classes=num_classes)
    assert model(model.prepare(random_graph(5))).shape == (num_answers(model), num_classes)
    assert model.load_report is not None
    trained = zoo.load(name).state_dict()
    own = model.state_dict()
    assert set(model.load_report.kept) | set(model.load_report.new) == own.keys()
    for tensor in model.load_report.kept:
        assert torch.equal(own[tensor], trained[tensor])
    for tensor in model.load_report.new:
        assert own[tensor].shape != trained[tensor].shape
    assert any(tensor.startswith("head.") for tensor in model.load_report.new)


def test_the_same_shapes_keep_everything() -> None:
    model = zoo.load("gcn-csbm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = zoo.load("gcn-csbm", in_feats=model.in_feats, num_classes=model.num_classes)
    assert same.load_report is not None
    assert same.load_report.new == ()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a bundled checkpoint."""
    return Path(shutil.copytree(resource("pretrained") / "gcn-csbm", tmp_path / "gcn-csbm"))


@pytest.mark.parametrize("position", [0, 8, 400, -1])
def test_one_changed_byte_is_found(folder: Path, position: int) -> None:
    content = bytearray((folder / weights.WEIGHTS).read_bytes())
    content[position] ^= 1
    (folder / weights.WEIGHTS).write_bytes(content)
    with pytest.raises(IntegrityError, match="was changed: its sha256"):
        weights.load_folder(folder, expected=registry.info("gcn-csbm").weights)


def test_a_truncated_file_is_said_to_be_cut_short(folder: Path) -> None:
    (folder / weights.WEIGHTS).write_bytes((folder / weights.WEIGHTS).read_bytes()[:300])
    with pytest.raises(IntegrityError, match="is cut short: 300 of "):
        weights.load_folder(folder, expected=registry.info("gcn-csbm").weights)


def test_a_changed_config_is_found(folder: Path) -> None:
    config = (folder / weights.CONFIG).read_text()
    assert '"add_self_loop"' in config
    (folder / weights.CONFIG).write_text(config.replace('"add_self_loop"', ""))
    with pytest.raises(IntegrityError, match="was changed: the weights were written with another config"):
        weights.load_folder(folder, expected=registry.info("gcn-csbm").weights)


@pytest.mark.parametrize("size", [0, 7, 100, 500])
def test_a_truncated_file_is_found_without_a_digest_too(folder: Path, size: int) -> None:
    content = (folder / weights.WEIGHTS).read_bytes()
    (folder / weights.WEIGHTS).write_bytes(content[:size])
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        weights.load_folder(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "is not JSON"),
        ("[]", "does not describe a model"),
        ("{}", "does not describe a model"),
        ('{"method": "gcnn"}', "unknown method 'gcnn': did you mean gcn"),
        ('{"method": "gcn"}', "in_feats"),
        ('{"method": "gcn", "in_feats": 8, "num_classes": 2, "width": 3}', "width"),
        ('{"method": "gcn", "in_feats": 8, "num_classes": 3}', "does not fit GCN: head"),
        ('{"method": "gcn", "in_feats": 8, "num_classes": 2, "num_layers": 3}', "does not fit GCN: convs.1"),
        ('{"method": "gcn", "in_feats": "8", "num_classes": 2}', "config.json"),
        ('{"method": "gcn", "in_feats": 8, "num_classes": 2, "readout": true}', "readout must be"),
        ('{"method": "gcn", "in_feats": 1e400, "num_classes": 2}', "config.json"),
        ('{"method": "gcn", "in_feats": 1000000000000, "num_classes": 2}', "does not fit GCN: convs.0"),
        ('{"method": "gcn", "in_feats": 8, "num_classes": 2, "dropout": "a"}', "config.json"),
        ('{"method": "gcn", "in_feats": 8, "num_classes": 2, "transforms": ["os.system"]}', "unknown transform"),
    ],
)
def test_a_config_that_does_not_fit_is_one_clear_error(folder: Path, config: str, message: str) -> None:
    (folder / weights.CONFIG).write_text(config)
    with pytest.raises(CheckpointError, match=message):
        weights.load_folder(folder)


@pytest.mark.parametrize("file", [weights.CONFIG, weights.WEIGHTS])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(CheckpointError, match=f"cannot read .*{file}"):
        weights.load_folder(folder)


def test_a_checkpoint_that_is_nowhere_is_said_to_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zoo.weights.resource", lambda _: tmp_path)
    with pytest.raises(CheckpointNotFound, match="neither bundled with this installation nor on the Hub"):
        zoo.load("gcn-csbm")


def test_a_wrong_feature_width_names_the_right_one() -> None:
    model = zoo.load("gcn-csbm")
    with pytest.raises(GraphError, match=r"feat has shape \(12, 5\), but this model and graph need \(12, 8\)"):
        model(model.prepare(random_graph(5)))


def test_predict_prepares_and_gives_probabilities() -> None:
    graph = random_graph(8)
    model = zoo.load("gcn-csbm")
    prediction = zoo.predict("gcn-csbm", graph)
    assert prediction.probabilities is not None
    assert torch.equal(prediction.probabilities, model(model.prepare(graph)).softmax(1))
    assert torch.equal(prediction.values, prediction.probabilities.argmax(1))


def test_a_float64_model_comes_back_as_it_was(tmp_path: Path) -> None:
    model = zoo.load("gcn-csbm").double()
    weights.write(model, tmp_path)
    read = zoo.load_folder(tmp_path)
    assert_same_bits(read.state_dict(), model.state_dict())


def test_predict_leaves_the_models_mode_as_it_was() -> None:
    model = zoo.load("gcn-csbm").train()
    graph = random_graph(8)
    model.get_submodule("convs").eval()
    assert torch.equal(zoo.predict(model, graph).values, zoo.predict("gcn-csbm", graph).values)
    assert (model.training, model.get_submodule("convs").training) == (True, False)


def test_predict_takes_several_graphs_for_a_readout_only() -> None:
    graphs = [random_graph(8), random_graph(8, num_nodes=7)]
    model = zoo.models.create("gcn", {"in_feats": 8, "num_classes": 3, "readout": "mean"})
    together = zoo.predict(model, graphs)
    assert together.probabilities is not None
    assert together.probabilities.shape == (2, 3)
    for i, graph in enumerate(graphs):
        torch.testing.assert_close(zoo.predict(model, [graph]).probabilities, together.probabilities[i : i + 1])
    with pytest.raises(GraphError, match="predicts nodes, one graph at a time"):
        zoo.predict("gcn-csbm", graphs)
    with pytest.raises(GraphError, match="there are no graphs"):
        zoo.predict(model, [])
    for wrong in (5, [1, 2]):
        with pytest.raises(GraphError, match="expected a DGLGraph, a list of them or a GraphDataset, got"):
            zoo.predict(model, wrong)
    with pytest.raises(GraphError, match="different widths"):
        zoo.predict(model, [graphs[0], random_graph(5)])
    graphs[0].ndata["label"] = torch.zeros(12)
    assert torch.equal(zoo.predict(model, tuple(graphs)).values, together.values)


def test_predict_refuses_several_types_of_nodes() -> None:
    graph = dgl.heterograph({("a", "to", "b"): ([0], [0])})
    with pytest.raises(GraphError, match="expected one of each"):
        zoo.predict("gcn-csbm", graph)
