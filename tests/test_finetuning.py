"""A checkpoint goes on learning on another graph."""

from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import CheckpointNotFound, ConfigError, GraphError, RecipeError
from zoo.training import loop
from zoo.training.loaders import describe, make_loader
from zoo.training.recipe import Protocol, TrainingSpec

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
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor)


def test_starting_from_a_checkpoint_beats_starting_from_nothing(digits: object) -> None:
    assert zoo.finetune("cna-gcn-digits", digits, epochs=1, lr=1e-4).test > 95
    assert zoo.finetune("gcn-csbm", digits, epochs=1, lr=1e-4).test < 50


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
    with pytest.raises(RecipeError, match=r"belongs to another run \(training: "):
        zoo.finetune("gcn-csbm", digits, epochs=2, lr=0.5, folder=tmp_path)
    with pytest.raises(RecipeError, match="belongs to another run"):
        zoo.finetune("gcn-csbm", zoo.datasets.load("digits", seed=1), epochs=2, folder=tmp_path)


def test_the_trained_head_can_be_kept_for_fewer_classes(digits: object) -> None:
    graph = zoo.datasets.load("digits")
    for part in ("train_mask", "val_mask", "test_mask"):
        graph.ndata[part] &= graph.ndata["label"] < 5
    graph.ndata["label"] = graph.ndata["label"].clamp(max=4)
    assert zoo.finetune("cna-gcn-digits", graph, epochs=1, num_classes=10).model.num_classes == 10
    assert zoo.finetune("cna-gcn-digits", graph, epochs=1).model.num_classes == 5
    with pytest.raises(ConfigError, match="num_classes=3, but the labels need 5"):
        zoo.finetune("cna-gcn-digits", graph, epochs=1, num_classes=3)


def test_the_same_seed_gives_the_same_bits(digits: object) -> None:
    runs = [zoo.finetune("gcn-csbm", digits, epochs=3, seed=5) for _ in range(2)]
    for name, tensor in runs[0].model.state_dict().items():
        assert torch.equal(runs[1].model.state_dict()[name], tensor)


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
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor)


def test_bad_arguments_are_clear_errors(digits: object) -> None:
    with pytest.raises(CheckpointNotFound, match="no checkpoint 'gcn-none'"):
        zoo.finetune("gcn-none", digits)
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
