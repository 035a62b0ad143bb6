"""Nodes with several labels each: learnt, saved, loaded, scored and predicted as such."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import zoo
from zoo import models, weights
from zoo._dgl import dgl
from zoo.cli import main
from zoo.errors import CheckpointError, ConfigError, GraphError, RecipeError
from zoo.model import ZooModel
from zoo.training import loop, tasks
from zoo.training.folder import RunFolder
from zoo.training.loaders import describe, make_loader
from zoo.training.recipe import Protocol, TrainingSpec, find_settings, merge, parse


@pytest.fixture
def graph() -> Any:
    """`csbm` with three labels that its features tell, of which a node has any number."""
    graph = zoo.datasets.load("csbm", split="random-60-20-20", seed=0)
    first, second, third = graph.ndata["feat"][:, :3].T
    graph.ndata["label"] = torch.stack([first > 0, second > third, third > 1], dim=1)
    return graph


def new_model(num_classes: int = 3, **arguments: Any) -> ZooModel:
    return models.create("sage", {"in_feats": 8, "num_classes": num_classes, "dropout": 0.0, **arguments})


def trained(graph: Any, path: Path | None = None, epochs: int = 3) -> zoo.Run:
    training, protocol = TrainingSpec(epochs=epochs, lr=0.05), Protocol(metric="roc-auc", select="best-val-loss")
    with loop.seeded(0):
        model = new_model()
        folder = None if path is None else RunFolder(path, {})
        return loop.fit(model, make_loader(graph, model, None), describe(graph)[0], training, protocol, folder=folder)


def areas(scores: Tensor, labels: Tensor) -> list[float]:
    """For each label the share of pairs, one node with and one without it, that the scores rank rightly."""
    columns = zip(scores.T, labels.bool().T, strict=True)
    shares = [(score[label][:, None] > score[~label]).double() for score, label in columns]
    return [100 * float(share.mean()) for share in shares]


def test_several_labels_are_learnt_and_known_again_from_the_files(graph: Any, tmp_path: Path) -> None:
    task, in_feats, num_classes = describe(graph)
    assert (task.name, in_feats, num_classes) == ("node-multilabel", 8, 3)
    run = trained(graph, tmp_path, epochs=25)
    assert run.test > 85
    model = zoo.load_folder(tmp_path)
    assert model.multilabel
    prediction, test = zoo.predict(model, graph), graph.ndata["test_mask"]
    assert prediction.probabilities is not None
    with torch.no_grad():
        logits = model(model.prepare(graph))
    assert torch.allclose(prediction.probabilities, 1 / (1 + torch.exp(-logits)))
    assert torch.equal(prediction.values, (logits > 0).long())
    assert prediction.probabilities.sum(1).max() > 1.5, "not shares of one"
    assert run.test == pytest.approx(np.mean(areas(logits[test], graph.ndata["label"][test])))
    evaluation = zoo.evaluate(model, graph)
    assert (evaluation.metric, evaluation.value) == ("roc-auc", run.test)
    assert zoo.evaluate(tmp_path, graph).value == run.test


def test_classes_written_as_columns_are_told(graph: Any) -> None:
    graph.ndata["label"] = torch.nn.functional.one_hot(torch.arange(graph.num_nodes()) % 3)
    with pytest.raises(GraphError, match=r"exactly one of its labels: pass the classes, label.argmax\(1\)"):
        describe(graph)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64, torch.uint8])
def test_labels_of_any_type_are_the_same_labels(graph: Any, dtype: torch.dtype) -> None:
    run = trained(graph)
    graph.ndata["label"] = graph.ndata["label"].to(dtype)
    again = trained(graph)
    assert (again.val, again.test) == (run.val, run.test)
    assert all(torch.equal(*pair) for pair in zip(run.model.parameters(), again.model.parameters(), strict=True))


def test_a_recipe_on_a_set_of_several_labels(graph: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("zoo.datasets.ogbn.read", lambda about: graph.local_var())
    settings = merge(
        find_settings("gcn-csbm"),
        {
            "data": {"name": "ogbn-proteins", "split": "random-60-20-20"},
            "training": {"epochs": 3},
            "protocol": {"metric": "roc-auc", "select": "best-val-loss"},
        },
    )
    recipe = parse(settings, "several")
    run = zoo.train(recipe, 0, tmp_path)
    assert run.model.num_classes == 3
    assert zoo.api.score(zoo.load_folder(tmp_path), "ogbn-proteins", "random-60-20-20", 0, "roc-auc") == run.test
    assert zoo.train(recipe, 0, tmp_path).model.multilabel, "read back"
    with pytest.raises(RecipeError, match="ogbn-proteins is for node-multilabel: choose from roc-auc"):
        parse(merge(settings, {"protocol": {"metric": "accuracy"}}), "several")


def test_loss_and_metric_agree_with_a_direct_computation() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(60, 4, generator=generator).double()
    labels = torch.randint(2, (60, 4), generator=generator).float()
    right = torch.where(labels == 1, 1 / (1 + torch.exp(-logits)), 1 / (1 + torch.exp(logits)))
    assert float(tasks.TASKS["node-multilabel"].loss(logits, labels)) == pytest.approx(float(-right.log().mean()))
    assert tasks.measure("roc-auc", logits, labels) == pytest.approx(np.mean(areas(logits, labels)))
    labels[:, 1], labels[:, 2] = 0, 1
    others = np.mean(areas(logits[:, [0, 3]], labels[:, [0, 3]]))
    assert tasks.measure("roc-auc", logits, labels) == pytest.approx(others), "what all have, or none, is left out"
    with pytest.raises(RecipeError, match="needs items of both classes"):
        tasks.measure("roc-auc", logits, torch.ones(60, 4))


def test_finetuning_goes_to_several_labels_and_back(graph: Any) -> None:
    with pytest.warns(UserWarning, match="new and untrained: head"):
        several = zoo.finetune("gcn-csbm", graph, epochs=2)
    assert (several.metric, several.model.num_classes, several.model.multilabel) == ("roc-auc", 3, True)
    assert zoo.finetune(several.model, graph, epochs=2, freeze=True).model.multilabel
    classes = zoo.datasets.load("csbm", seed=0)
    with pytest.warns(UserWarning, match="new and untrained: head"):
        one = zoo.finetune(several.model, classes, epochs=2)
    assert (one.metric, one.model.multilabel, "multilabel" in one.model.config) == ("accuracy", False, False)
    with pytest.raises(ConfigError, match="num_classes=4, but each node has 3 labels"), pytest.warns(UserWarning):
        zoo.finetune("gcn-csbm", graph, epochs=1, num_classes=4)


def test_a_model_in_float64_learns_several_labels(graph: Any) -> None:
    run = zoo.finetune(trained(graph).model.double(), graph, epochs=2)
    assert next(run.model.parameters()).dtype == torch.float64


def test_other_widths_keep_that_labels_are_several(graph: Any, tmp_path: Path) -> None:
    trained(graph, tmp_path)
    with pytest.warns(UserWarning, match="new and untrained"):
        assert zoo.load(tmp_path, num_classes=5).multilabel


@pytest.mark.parametrize("value", [False, "yes", None, [True]])
def test_a_config_says_several_labels_or_nothing(value: Any, graph: Any, tmp_path: Path) -> None:
    trained(graph, tmp_path)
    config = json.loads((tmp_path / weights.CONFIG).read_text())
    assert config["multilabel"] is True
    (tmp_path / weights.CONFIG).write_text(json.dumps(config | {"multilabel": value}))
    with pytest.raises(CheckpointError, match="has no argument 'multilabel'"):
        zoo.load(tmp_path)


def test_a_model_for_the_other_kind_of_labels_is_not_scored(graph: Any) -> None:
    several = trained(graph).model
    with pytest.raises(ConfigError, match="the data has 3 labels of each node, the model is for one label of"):
        zoo.evaluate(new_model(), graph)
    with pytest.raises(RecipeError, match="'accuracy' is not for node-multilabel: choose from roc-auc"):
        zoo.evaluate(several, graph, metric="accuracy")
    labels = graph.ndata["label"]
    graph.ndata["label"] = labels.long() * 2
    with pytest.raises(GraphError, match="each of several labels is 0 or 1, but one in the test mask is neither"):
        zoo.evaluate(several, graph)
    for label in (labels[:, :2], labels[:, 0]):
        graph.ndata["label"] = label
        with pytest.raises(ConfigError, match=r"the data has (2 labels|one label) of each node, the model is for 3"):
            zoo.evaluate(several, graph)


def test_from_files_into_files(graph: Any, tmp_path: Path) -> None:
    trained(graph, tmp_path / "model")
    keys = ("feat", "label", "train_mask", "val_mask", "test_mask")
    arrays = {key: graph.ndata[key].numpy() for key in keys}
    np.savez(tmp_path / "graph.npz", edges=torch.stack(graph.edges()).numpy(), **arrays)
    dgl.save_graphs(str(tmp_path / "graph.bin"), [graph])
    expected = zoo.evaluate(tmp_path / "model", graph).value
    for name in ("graph.npz", "graph.bin"):
        assert zoo.evaluate(tmp_path / "model", zoo.datasets.read_graph(tmp_path / name)).value == expected
    for name in ("out.csv", "out.npz"):
        arguments = ["predict", str(tmp_path / "model"), str(tmp_path / "graph.npz"), "--out", str(tmp_path / name)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    prediction = zoo.predict(tmp_path / "model", graph)
    assert prediction.probabilities is not None
    header, *rows = csv.reader((tmp_path / "out.csv").read_text().splitlines())
    assert header == ["node", "prediction0", "prediction1", "prediction2", "p0", "p1", "p2"]
    assert [[int(cell) for cell in row[1:4]] for row in rows] == prediction.values.tolist()
    assert [[float(cell) for cell in row[4:]] for row in rows] == prediction.probabilities.tolist()
    with np.load(tmp_path / "out.npz") as written:
        assert np.array_equal(written["prediction"], prediction.values.numpy())
        assert np.array_equal(written["probabilities"], prediction.probabilities.numpy())
