"""A checkpoint goes on learning on another graph."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import assert_same_bits, snapshot

import zoo
from zoo import models
from zoo.errors import CheckpointNotFound, ConfigError, GraphError, RecipeError
from zoo.model import ZooModel
from zoo.training import loop
from zoo.training.loaders import describe, make_loader
from zoo.training.recipe import Protocol, Recipe, TrainingSpec, find_settings, merge, parse
from zoo.training.transfer import start

pytestmark = pytest.mark.filterwarnings("ignore:.*new and untrained:UserWarning")


@pytest.fixture(scope="module")
def digits() -> object:
    return zoo.datasets.load("digits")


def test_a_checkpoint_with_other_widths_learns_digits(digits: object, tmp_path: Path) -> None:
    run = zoo.finetune("gcn-csbm", digits, epochs=60, lr=0.02, folder=tmp_path)
    assert run.test > 80
    assert run.model.load_report is not None
    assert {"convs.0.linear.weight", "head.linear.weight"} <= set(run.model.load_report.new)
    read = zoo.load_folder(tmp_path)
    assert_same_bits(read.state_dict(), run.model.state_dict())


def test_starting_from_a_checkpoint_beats_starting_from_nothing(digits: object) -> None:
    assert zoo.finetune("cna-gcn-digits", digits, epochs=1, lr=1e-4).test > 95
    assert zoo.finetune("gcn-csbm", digits, epochs=1, lr=1e-4).test < 50


def test_a_wide_checkpoint_of_another_graph_learns_digits(digits: object) -> None:
    run = zoo.finetune("cna-gcn-cora", digits, epochs=30, lr=0.02)
    assert run.test > 60  # of ten classes


def test_a_folder_and_a_model_start_like_the_name(digits: object, tmp_path: Path) -> None:
    model = zoo.load("gcn-csbm")
    model.save_pretrained(tmp_path / "mine")
    before = snapshot(model)
    sources = ["gcn-csbm", tmp_path / "mine", str(tmp_path / "mine"), model]
    runs = [zoo.finetune(source, digits, epochs=2) for source in sources]  # type: ignore[arg-type]
    for run in runs[1:]:
        assert_same_bits(run.model.state_dict(), runs[0].model.state_dict())
    assert_same_bits(model.state_dict(), before)


def test_other_starting_weights_are_another_run(digits: object, tmp_path: Path) -> None:
    model = zoo.load("gcn-csbm")
    zoo.finetune(model, digits, epochs=2, folder=tmp_path)
    zoo.finetune("gcn-csbm", digits, epochs=2, folder=tmp_path)  # the same weights: the finished run is read back
    with torch.no_grad():
        model.convs[0].bias.add_(1)  # type: ignore[index, union-attr]
    with pytest.raises(RecipeError, match=r"belongs to another run \(sha256: "):
        zoo.finetune(model, digits, epochs=2, folder=tmp_path)


def rates(model: ZooModel, training: TrainingSpec) -> dict[str, float]:
    """The learning rate of every trained parameter."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = loop._parameter_groups(model, training)
    return {names[id(parameter)]: group["lr"] for group in groups for parameter in group["params"]}


@pytest.mark.parametrize(
    ("in_feats", "freeze", "powers"),
    [
        (8, False, {"convs.0": 3, "convs.1": 2, "convs.2": 1, "head": 0}),
        (9, False, {"convs.0": 0, "convs.1": 2, "convs.2": 1, "head": 0}),  # the first layer is new
        (9, True, {"convs.0": 0, "head": 0}),
    ],
)
def test_layer_decay_gives_each_layer_its_rate(in_feats: int, freeze: bool, powers: dict[str, int]) -> None:
    source = zoo.models.create("gcn", {"in_feats": 8, "num_classes": 2, "num_layers": 4})
    model, training = start(
        source, in_feats, 3, TrainingSpec(epochs=1, lr=0.1), freeze=freeze, layer_decay=0.5
    )
    found = rates(model, training)
    kept = {"convs.0.bias": 0.1 * 0.5**3} if in_feats != 8 and not freeze else {}
    expected = {
        name: 0.1 * 0.5 ** powers[layer]
        for name, _ in model.named_parameters()
        if (layer := ".".join(name.split(".")[: 2 if name.startswith("convs") else 1])) in powers
    }
    if freeze:
        del expected["convs.0.bias"]
    assert found == pytest.approx(expected | kept)


def test_what_has_no_number_learns_as_the_first_layer() -> None:
    source = zoo.models.create("cna", {"in_feats": 8, "num_classes": 2, "num_layers": 3, "linear_ends": True})
    found = rates(*start(source, 8, 2, TrainingSpec(epochs=1, lr=1.0), layer_decay=0.5))
    assert found["encoder.weight"] == found["convs.0.linear.weight"] == 0.5**3
    assert found["activations.2.activate.numerator"] == 0.5
    assert found["head.linear.weight"] == 1.0


def test_layer_decay_leaves_a_method_that_is_all_head_its_rate() -> None:
    source = models.create("sgc", {"in_feats": 8, "num_classes": 2})
    found = rates(*start(source, 8, 2, TrainingSpec(epochs=1, lr=1.0), layer_decay=0.5))
    assert set(found.values()) == {1.0}


def test_layer_decay_of_one_changes_no_bit(digits: object) -> None:
    plain, decayed = (zoo.finetune("gcn-csbm", digits, epochs=3, **how) for how in ({}, {"layer_decay": 1}))  # type: ignore[arg-type]
    assert_same_bits(decayed.model.state_dict(), plain.model.state_dict())


PRETRAINED = {
    "name": "mine",
    "data": {"name": "digits", "split": "few-5-30", "align": "csbm"},
    "training": {"epochs": 5, "lr": 0.01, "weight_decay": 5e-4, "patience": 50},
    "pretrained": {"checkpoint": "gcn-csbm"},
}


def pretrained(**overrides: Any) -> Recipe:
    return parse(merge(find_settings("gcn-csbm"), PRETRAINED, overrides), "mine")


@pytest.mark.parametrize("how", [{}, {"freeze": True}, {"layer_decay": 0.3}])
def test_a_recipe_with_a_checkpoint_gives_the_same_bits_as_finetune(how: dict[str, Any]) -> None:
    data = zoo.datasets.load("digits", split="few-5-30", seed=3, align="csbm")
    by_hand = zoo.finetune("gcn-csbm", data, epochs=5, lr=0.01, seed=3, **how)
    by_recipe = zoo.train(pretrained(pretrained=how), 3)
    assert (by_recipe.val, by_recipe.test, by_recipe.epoch) == (by_hand.val, by_hand.test, by_hand.epoch)
    assert_same_bits(by_recipe.model.state_dict(), by_hand.model.state_dict())
    assert all(parameter.requires_grad for parameter in by_recipe.model.parameters())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model": {"hidden": 8}}, "mine: model.hidden: is 8, but checkpoint 'gcn-csbm' was made with 16"),
        ({"data": {"transforms": []}}, r"mine: data.transforms: is \[\], but .* made with \['add_self_loop'\]"),
        ({"method": "sage"}, "mine: method: is 'sage', but checkpoint 'gcn-csbm' was made with 'gcn'"),
    ],
)
def test_a_recipe_of_another_model_than_its_checkpoint_is_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        zoo.train(pretrained(**overrides), 0)


def test_freezing_trains_the_head_and_what_is_new_only(digits: object) -> None:
    before = zoo.load("cna-gcn-digits").state_dict()
    run = zoo.finetune("cna-gcn-digits", digits, epochs=3, freeze=True)
    for name, parameter in run.model.named_parameters():
        assert torch.equal(parameter, before[name]) != name.startswith("head."), name


def test_what_is_frozen_keeps_its_centroids_too(digits: object) -> None:
    before = zoo.load("cna-gcn-digits").state_dict()
    run = zoo.finetune("cna-gcn-digits", digits, epochs=25, freeze=True, patience=None)
    assert torch.equal(run.model.state_dict()["activations.0.centroids"], before["activations.0.centroids"])
    assert all(parameter.requires_grad for parameter in run.model.parameters())


def test_buffers_of_frozen_modules_without_parameters_stay_too() -> None:
    model = zoo.models.create("cna", {"in_feats": 8, "num_classes": 2, "activation": "relu", "refit_every": 1})
    model.convs.requires_grad_(False)
    data = zoo.datasets.load("csbm")
    before = model.state_dict()["activations.0.centroids"].clone()
    loader, task = make_loader(data, model, None), describe(data)[0]
    loop.fit(model, loader, task, TrainingSpec(epochs=3, lr=0.01), Protocol(metric="accuracy"))
    assert torch.equal(model.state_dict()["activations.0.centroids"], before)


def test_a_folder_of_other_settings_or_data_is_refused(digits: object, tmp_path: Path) -> None:
    zoo.finetune("gcn-csbm", digits, epochs=2, folder=str(tmp_path))
    with pytest.raises(RecipeError, match=r"belongs to another run \(lr: 0\.005 there, 0\.5 here\)"):
        zoo.finetune("gcn-csbm", digits, epochs=2, lr=0.5, folder=tmp_path)
    with pytest.raises(RecipeError, match="belongs to another run"):
        zoo.finetune("gcn-csbm", zoo.datasets.load("digits", seed=1), epochs=2, folder=tmp_path)


def test_a_folder_without_a_name_is_the_current_one(
    digits: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    zoo.finetune("gcn-csbm", digits, epochs=2, folder="")
    with pytest.raises(RecipeError, match=r"belongs to another run \(epochs: 2 there, 3 here\)"):
        zoo.finetune("gcn-csbm", digits, epochs=3, folder="")


def test_the_trained_head_can_be_kept_for_fewer_classes(digits: object) -> None:
    graph = zoo.datasets.load("digits")
    for part in ("train_mask", "val_mask", "test_mask"):
        graph.ndata[part] &= graph.ndata["label"] < 5
    graph.ndata["label"] = graph.ndata["label"].clamp(max=4)
    assert zoo.finetune("cna-gcn-digits", graph, epochs=1, num_classes=10).model.num_classes == 10
    assert zoo.finetune("cna-gcn-digits", graph, epochs=1).model.num_classes == 5
    with pytest.raises(ConfigError, match="num_classes=3, but the labels need 5"):
        zoo.finetune("cna-gcn-digits", graph, epochs=1, num_classes=3)


def test_numbers_may_be_numpys(digits: object) -> None:
    plain: dict[str, Any] = {"epochs": 2, "lr": 0.01, "weight_decay": 0.0, "patience": 3, "layer_decay": 0.5}
    numpys = {name: np.float64(value) if isinstance(value, float) else np.int64(value) for name, value in plain.items()}
    runs = [
        zoo.finetune("gcn-csbm", digits, num_classes=10, **plain),
        zoo.finetune("gcn-csbm", digits, num_classes=np.int64(10), **numpys),  # type: ignore[arg-type]
    ]
    assert runs[0].val == runs[1].val
    assert json.dumps(runs[1].model.config) == json.dumps(runs[0].model.config)
    with pytest.raises(ConfigError, match="num_classes is a whole number from 1, got '10'"):
        zoo.finetune("gcn-csbm", digits, num_classes="10")  # type: ignore[arg-type]


def test_features_may_be_half_floats() -> None:
    graph = zoo.datasets.load("digits")
    graph.ndata["feat"] = graph.ndata["feat"].bfloat16()
    assert zoo.finetune("cna-gcn-digits", graph, epochs=1).test > 95


def test_so_may_the_model_where_nothing_is_saved(digits: object, tmp_path: Path) -> None:
    model = zoo.load("cna-gcn-digits").bfloat16()
    assert zoo.finetune(model, digits, epochs=1).test > 90
    with pytest.raises(ConfigError, match=r"a model in torch\.bfloat16 is not saved"):
        zoo.finetune(model, digits, epochs=1, folder=tmp_path)


def test_the_same_seed_gives_the_same_bits(digits: object) -> None:
    runs = [zoo.finetune("gcn-csbm", digits, epochs=3, seed=5) for _ in range(2)]
    assert_same_bits(runs[1].model.state_dict(), runs[0].model.state_dict())


def test_an_interrupted_run_ends_with_the_same_bits(digits: object, tmp_path: Path) -> None:
    whole = zoo.finetune("gcn-csbm", digits, epochs=6)
    calls = 0

    def stop_at_four(*arguments: object) -> float:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    step = loop._step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_step", stop_at_four)
        with pytest.raises(KeyboardInterrupt):
            zoo.finetune("gcn-csbm", digits, epochs=6, folder=tmp_path, save_every=0)
        resumed = zoo.finetune("gcn-csbm", digits, epochs=6, folder=tmp_path)
    assert calls == 4 + 3  # three epochs were done, the fourth was interrupted
    assert_same_bits(resumed.model.state_dict(), whole.model.state_dict())


def test_bad_arguments_are_clear_errors(digits: object) -> None:
    with pytest.raises(CheckpointNotFound, match="no checkpoint 'gcn-none'"):
        zoo.finetune("gcn-none", digits)
    for value in (0, 1.5, float("nan"), "1", True):
        with pytest.raises(RecipeError, match="fine-tuning: layer_decay: must be a number above 0, at most 1"):
            zoo.finetune("gcn-csbm", digits, layer_decay=value)  # type: ignore[arg-type]
    impossible = [("epochs", 0), ("epochs", 2.5), ("patience", 0), ("lr", float("nan")), ("weight_decay", -1.0)]
    for option, value in impossible:
        with pytest.raises(RecipeError, match=f"fine-tuning: training.{option}: must be"):
            zoo.finetune("gcn-csbm", digits, **{option: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="batch_size=4 is for sets of graphs"):
        zoo.finetune("gcn-csbm", digits, batch_size=4)
    with pytest.raises(GraphError, match=r"expected a DGLGraph or a zoo\.datasets\.GraphDataset, got list"):
        zoo.finetune("gcn-csbm", [digits])
    with pytest.raises(GraphError, match="the graph lacks ndata label"):
        zoo.finetune("gcn-csbm", zoo.datasets.from_arrays([[0], [1]], torch.ones(2, 3)))


def test_a_new_head_can_be_had_for_as_many_classes(digits: object) -> None:
    trained = zoo.load("cna-gcn-digits")
    run = zoo.finetune("cna-gcn-digits", digits, epochs=1, lr=1e-6)
    assert run.model.load_report is not None
    assert run.model.load_report.new == ()
    assert run.test > 95
    with pytest.warns(UserWarning, match=r"new and untrained: head\."):
        run = zoo.finetune("cna-gcn-digits", digits, epochs=1, lr=1e-6, new_head=True)
    assert run.model.load_report is not None
    heads = {name for name in trained.state_dict() if name.startswith("head.")}
    assert set(run.model.load_report.new) == set(run.model.load_report.dropped) == heads
    assert run.test < 50


@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_regression_keeps_the_epoch_of_the_smallest_error(shift: float, tmp_path: Path) -> None:
    graph = zoo.datasets.load("csbm")
    graph.ndata["label"] = graph.ndata["feat"][:, 0] + shift
    run = zoo.finetune("gcn-csbm", graph, epochs=40, lr=0.02, folder=tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    best = min(log, key=lambda line: line["val_loss"])
    assert (run.metric, run.epoch, run.val) == ("mse", best["epoch"], best["val"])
    assert run.epoch > 1


def test_nmse_is_refused_where_it_has_no_meaning() -> None:
    graph = zoo.datasets.load("csbm")
    graph.ndata["label"] = graph.ndata["feat"][:, 0].abs() * -1
    with pytest.raises(RecipeError, match=r"nmse divides by the targets' mean, which is -.*: use mse"):
        zoo.finetune("gcn-csbm", graph, epochs=1, metric="nmse")
    with pytest.raises(ConfigError, match="num_classes=3, but the labels are targets of a regression"):
        zoo.finetune("gcn-csbm", graph, epochs=1, num_classes=3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(100, dtype=torch.int64), "all labels in the masks are 0: there is nothing to tell apart"),
        (torch.arange(100) * 10**9, "number the classes from 0 without gaps"),
    ],
)
def test_labels_that_no_model_is_for_are_clear_errors(labels: torch.Tensor, message: str) -> None:
    graph = zoo.datasets.load("csbm")
    graph.ndata["label"] = labels
    with pytest.raises(GraphError, match=message):
        zoo.finetune("gcn-csbm", graph, epochs=1)


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
def test_it_trains_where_gradients_are_switched_off(digits: object, switch: Callable[[], Any]) -> None:
    expected = zoo.finetune("gcn-csbm", digits, epochs=2).val
    with switch():
        assert zoo.finetune("gcn-csbm", digits, epochs=2).val == expected
