"""The loop: same seed, same bits; selection; groups; and a run that goes on after a kill."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from oracles import assert_same_bits
from torch import Tensor

import zoo
from zoo import datasets, models, weights
from zoo._dgl import dgl
from zoo._files import locked, resource
from zoo.datasets import GraphDataset
from zoo.environment import environment
from zoo.errors import CheckpointError, ConfigError, GraphError, RecipeError, ZooError
from zoo.models.cna import CNA
from zoo.training import loop, tasks
from zoo.training.folder import LOG, RESULT, STATE, Run, RunFolder, State
from zoo.training.loaders import describe, make_loader
from zoo.training.recipe import ParameterGroup, Protocol, Recipe, TrainingSpec, find, find_settings, merge, parse


def small(**overrides: Any) -> Recipe:
    """Fifteen epochs of GCN on csbm."""
    return parse(merge(find_settings("gcn-csbm"), {"training": {"epochs": 15}}, overrides), "small")


def tensors(run: Run) -> dict[str, Tensor]:
    return run.model.state_dict()


@pytest.mark.parametrize(
    "recipe", [small(), parse(merge(find_settings("cna-gcn-digits"), {"training": {"epochs": 3}}), "")]
)
def test_the_same_seed_gives_the_same_bits(recipe: Recipe) -> None:
    first, second = zoo.train(recipe, 1), zoo.train(recipe, 1)
    assert_same_bits(tensors(first), tensors(second))
    assert (first.val, first.test, first.epoch) == (second.val, second.test, second.epoch)


def test_another_seed_gives_other_bits() -> None:
    first, second = zoo.train(small(), 1), zoo.train(small(), 2)
    assert not torch.equal(first.model.head.bias, second.model.head.bias)  # type: ignore[arg-type]


def test_the_users_generator_and_threads_stay_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    state, threads, step = torch.get_rng_state(), torch.get_num_threads(), loop._step
    seen = set()

    def noting(*arguments: Any) -> Any:
        seen.add(torch.get_num_threads())
        return step(*arguments)

    monkeypatch.setattr(loop, "_step", noting)
    torch.set_num_threads(2)
    try:
        zoo.train(small(), 0)
        assert torch.equal(torch.get_rng_state(), state)
        assert (seen, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(threads)


def test_bits_do_not_depend_on_the_users_default_type_and_autocast() -> None:
    plain = tensors(zoo.train(small(), 0))
    torch.set_default_dtype(torch.float64)
    try:
        assert_same_bits(tensors(zoo.train(small(), 0)), plain)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same_bits(tensors(zoo.train(small(), 0)), plain)


def test_a_run_does_not_go_on_under_other_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, model = RunFolder(tmp_path, {"some": "run"}), models.create("gcn", {"in_feats": 2, "num_classes": 2})
    optimizer = torch.optim.Adam(model.parameters())
    kept.write_state(State(epoch=3), model, optimizer)
    assert kept.read_state(model, optimizer).epoch == 3
    monkeypatch.setattr("zoo.training.folder.environment", lambda: environment() | {"torch": "9.9"})
    with pytest.raises(ZooError, match=r"was made by other versions \(torch: .* there, 9.9 here\)"):
        kept.read_state(model, optimizer)


def test_the_log_has_a_line_per_epoch_and_the_folder_a_checkpoint(tmp_path: Path) -> None:
    run = zoo.train(small(), 0, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 16))
    assert lines[run.epoch - 1]["test"] == run.test
    files = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert files == {LOG, RESULT, "config.json", "model.safetensors"}
    assert_same_bits(zoo.load_folder(tmp_path).state_dict(), tensors(run))


def test_a_finished_run_is_read_back(tmp_path: Path) -> None:
    first = zoo.train(small(), 0, tmp_path)
    with counted_steps() as steps:
        second = zoo.train(small(), 0, tmp_path)
    assert steps == []
    assert_same_bits(tensors(first), tensors(second))
    assert (first.val, first.test, first.seconds) == (second.val, second.test, second.seconds)


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / RESULT), pytest.raises(ZooError, match="another process is at work"):
        zoo.train(small(), 0, tmp_path)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    zoo.train(small(), 0, tmp_path)
    with pytest.raises(RecipeError, match="belongs to another run"):
        zoo.train(small(), 1, tmp_path)


def test_a_score_is_not_read_back_with_other_weights(tmp_path: Path) -> None:
    run = zoo.train(small(), 0, tmp_path)
    run.model.reset_head(2)
    run.model.save_pretrained(tmp_path)
    with pytest.raises(ZooError, match="is the result of other weights than those beside it"):
        zoo.train(small(), 0, tmp_path)
    with pytest.raises(CheckpointError, match="is the result of other weights than those beside it"):
        zoo.push(tmp_path, "org")


def test_a_model_that_no_run_has_written_is_not_overwritten(tmp_path: Path) -> None:
    zoo.load("gcn-csbm").save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(ZooError, match="holds a model that no run has written"):
        zoo.train(small(), 0, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_run_killed_between_its_last_two_writes_is_made_again(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("zoo.training.folder.write_text", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        zoo.train(small(), 0, tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / RESULT).exists()
    assert_same_bits(tensors(zoo.train(small(), 0, tmp_path)), tensors(zoo.train(small(), 0)))


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory: 7 GB\nat …"), MemoryError("7 GB")])
def test_where_memory_runs_out_there_is_one_clear_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*arguments: object) -> None:
        raise error

    model, graph = zoo.load("gcn-csbm"), zoo.datasets.load("csbm", split="random-60-20-20", seed=0)
    monkeypatch.setattr(type(model), "forward", forward)
    calls = (
        lambda: zoo.train(small()),
        lambda: zoo.finetune(model, graph),
        lambda: zoo.evaluate(model, graph),
        lambda: zoo.predict(model, graph),
    )
    for call in calls:
        with pytest.raises(ZooError, match=r"^out of memory: .*7 GB$"):
            call()


def test_a_folder_tells_how_its_model_was_trained(tmp_path: Path) -> None:
    recipe = small()
    zoo.train(recipe, 0, tmp_path)
    settings = json.loads((tmp_path / RESULT).read_text())["settings"]
    assert (settings.pop("recipe"), settings.pop("seed")) == (recipe.name, 0)
    again = parse({"name": "again", "method": recipe.method, "paper": recipe.paper, **settings}, "result.json")
    assert again.digest() == recipe.digest()


def test_a_home_of_nobody_is_one_clear_error() -> None:
    with pytest.raises(ZooError, match="~nobody-has-this-name/run: "):
        zoo.train(small(), 0, "~nobody-has-this-name/run")


def test_a_folder_in_the_users_home_can_be_named_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run = zoo.train(small(), 0, "~/run")
    run.model.save_pretrained("~/saved")
    for name in ("run", "saved"):
        assert_same_bits(zoo.load(f"~/{name}").state_dict(), tensors(run))
        assert_same_bits(type(run.model).from_pretrained(f"~/{name}").state_dict(), tensors(run))


def test_an_impossible_argument_of_the_model_is_told_with_its_recipe() -> None:
    recipe = dataclasses.replace(small(), model={"num_layers": 2, "dropout": 1.5})
    with pytest.raises(RecipeError, match=r"recipe .*, model: .* a dropout probability is at least 0 and below 1"):
        zoo.train(recipe, 0)


@pytest.mark.parametrize("file", [STATE, RESULT])
def test_a_broken_file_of_a_run_is_named(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"not this")
    with pytest.raises(ZooError, match=f"{file} is not .* delete it"):
        zoo.train(small(), 0, tmp_path)


@pytest.mark.parametrize("identity", [None, [1], "run"])
def test_a_result_of_no_run_is_named(tmp_path: Path, identity: Any) -> None:
    zoo.train(small(), 0, tmp_path)
    result = json.loads((tmp_path / RESULT).read_text())
    (tmp_path / RESULT).write_text(json.dumps(result | {"identity": identity}))
    with pytest.raises(ZooError, match=f"{RESULT} is not the result of a run"):
        zoo.train(small(), 0, tmp_path)


def test_a_result_whose_weights_cannot_be_read_is_told(tmp_path: Path) -> None:
    zoo.train(small(), 0, tmp_path)
    (tmp_path / weights.WEIGHTS).unlink()
    (tmp_path / weights.WEIGHTS).mkdir()
    with pytest.raises(CheckpointError, match="is the result of weights that cannot be read"):
        zoo.train(small(), 0, tmp_path)


TRAIN = """
import sys
from pathlib import Path
import zoo
from zoo.training.recipe import find
zoo.train(find(sys.argv[1]), 3, Path(sys.argv[2]), save_every=0)
"""


@contextmanager
def counted_steps() -> Iterator[list[None]]:
    """A list that grows with every epoch that is trained in this process."""
    steps: list[None] = []
    step = loop._step

    def counting(*arguments: Any) -> float:
        steps.append(None)
        return step(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_step", counting)
        yield steps


def lines_in(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


SHARED = "num_layers = 4\nshare_activation = true"  # its centroids are refitted in the middle of passes


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("layers", ["num_layers = 2", SHARED], ids=["own", "shared"])
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path: Path, layers: str) -> None:
    text = (resource("recipes") / "cna" / "cna-gcn-digits.toml").read_text()
    for old, new in [
        ('"cna-gcn-digits"', '"mine"'),
        ("epochs = 150", "epochs = 60"),
        ("hidden = 64", "hidden = 8"),
        ("num_layers = 2", layers),
    ]:
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "mine.toml").write_text(text)
    recipe = find(str(tmp_path / "mine.toml"))
    whole = zoo.train(recipe, 3)
    folder, log = tmp_path / "run", tmp_path / "run" / LOG
    moments = random.Random(0)
    for target in (moments.randrange(1, 20), moments.randrange(20, 55)):
        process = subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path / "mine.toml"), str(folder)])
        while lines_in(log) < target and process.poll() is None:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = torch.load(folder / STATE, weights_only=True)["state"]["epoch"]
    assert done >= 20
    (folder / f".{STATE}.leftover").touch()
    with counted_steps() as steps:
        resumed = zoo.train(recipe, 3, folder)
    assert len(steps) == 60 - done
    assert not list(folder.glob(f".{STATE}.*"))
    assert_same_bits(tensors(resumed), tensors(whole))
    assert (resumed.val, resumed.test, resumed.epoch) == (whole.val, whole.test, whole.epoch)
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == list(range(1, 61))


@pytest.mark.parametrize(
    ("options", "epochs", "passes"),
    [
        ({}, 1, 2),
        ({}, 20, 21),  # the centroids are fitted anew in the 21st training call, which is that of the last evaluation
        ({"num_layers": 4, "share_activation": True}, 6, 12),
        ({"num_layers": 4, "share_activation": True, "num_clusters": 1}, 6, 7),
        ({"version": "D"}, 3, 6),
    ],
)
def test_a_pass_may_serve_an_evaluation_and_the_next_step_but_scores_what_is_kept(
    options: dict[str, Any], epochs: int, passes: int, tmp_path: Path
) -> None:
    recipe = find("cna-gcn-digits")
    recipe = dataclasses.replace(
        recipe,
        model=recipe.model | options,
        training=dataclasses.replace(recipe.training, epochs=epochs),
        protocol=Protocol(metric="accuracy", select="last"),
    )
    made: list[None] = []
    encode = CNA.encode

    def counting(self: CNA, *arguments: Any) -> Tensor:
        made.append(None)
        return encode(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CNA, "encode", counting)
        run = zoo.train(recipe, 0, tmp_path)
    assert len(made) == passes
    with loop.seeded(0):
        graph = run.model.prepare(zoo.datasets.load("digits", split=recipe.data.split, seed=0))
        rows = graph.ndata["val_mask"]
        loss = torch.nn.functional.cross_entropy(run.model(graph)[rows], graph.ndata["label"][rows])
    assert float(loss.detach()) == scores_of(tmp_path)[-1]["val_loss"]


def test_a_loader_serves_one_training_after_another() -> None:
    recipe = find("cna-gcn-digits")
    data = zoo.datasets.load("digits", split=recipe.data.split, seed=0)
    task, in_feats, num_classes = describe(data)
    training, runs = dataclasses.replace(recipe.training, epochs=2), []
    loader = make_loader(data, models.create("cna", {"in_feats": in_feats, "num_classes": num_classes}), None)
    for _ in range(2):
        with loop.seeded(0):
            model = models.create("cna", {"in_feats": in_feats, "num_classes": num_classes, **recipe.model})
            runs.append(loop.fit(model, loader, task, training, recipe.protocol))
    assert_same_bits(tensors(runs[0]), tensors(runs[1]))


def scores_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.mark.parametrize(
    ("select", "key"),
    [
        ("best-val", lambda line: (line["val"], -line["val_loss"])),
        ("best-val-loss", lambda line: -line["val_loss"]),
        ("best-test", lambda line: line["test"]),
        ("last", lambda line: line["epoch"]),
    ],
)
def test_the_selected_epoch_is_the_one_the_rule_names(tmp_path: Path, select: str, key: Any) -> None:
    run = zoo.train(small(protocol={"select": select}, training={"epochs": 60, "lr": 0.1}), 0, tmp_path)
    best = max(scores_of(tmp_path), key=key)
    assert (run.epoch, run.val, run.test) == (best["epoch"], best["val"], best["test"])
    loader = make_loader(zoo.datasets.load("csbm", seed=0), run.model, None)
    with torch.no_grad():
        measured = {part: tasks.measure("accuracy", *pair) for part, pair in loader.predict(run.model).items()}
    assert measured == {"val": run.val, "test": run.test}, "the model is that of the selected epoch"
    assert select == "last" or run.epoch < run.epochs


@pytest.mark.parametrize("select", ["best-val", "best-val-loss"])
def test_test_labels_decide_nothing(select: str) -> None:
    recipe = small(protocol={"select": select})
    graph = zoo.datasets.load("csbm", seed=0)
    runs = []
    for labels in (graph.ndata["label"], torch.where(graph.ndata["test_mask"], 0, graph.ndata["label"])):
        graph.ndata["label"] = labels
        with loop.seeded(0):
            model = models.create("gcn", {"in_feats": 8, "num_classes": 2})
            runs.append(loop.fit(
                model, make_loader(graph, model, None), describe(graph)[0], recipe.training, recipe.protocol
            ))
    assert_same_bits(tensors(runs[0]), tensors(runs[1]))


def test_patience_stops_after_epochs_without_progress(tmp_path: Path) -> None:
    run = zoo.train(small(training={"epochs": 500, "patience": 5, "lr": 0.5}), 0, tmp_path)
    scores = scores_of(tmp_path)
    assert run.epochs == len(scores) < 500
    best_val, best_loss = max(line["val"] for line in scores), min(line["val_loss"] for line in scores)
    assert all(line["val"] < best_val and line["val_loss"] > best_loss for line in scores[-5:])


def test_groups_change_only_what_they_name() -> None:
    recipe = small(training={"groups": [{"parameters": "convs.*", "lr": 1e-30}]}, protocol={"select": "last"})
    data = zoo.datasets.load("csbm", seed=0)
    model = models.create("gcn", {"in_feats": 8, "num_classes": 2})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loop.fit(model, make_loader(data, model, None), describe(data)[0], recipe.training, recipe.protocol)
    moved = {name: float((tensor - before[name]).abs().max()) for name, tensor in model.state_dict().items()}
    assert all((distance < 1e-25) == name.startswith("convs.") for name, distance in moved.items()), moved


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"no trained parameter matches 'activation\.\*'; there are convs"):
        zoo.train(small(training={"groups": [{"parameters": "activation.*"}]}), 0)


def test_clipping_bounds_each_groups_gradient() -> None:
    data = zoo.datasets.load("csbm", seed=0)
    model = models.create("gcn", {"in_feats": 8, "num_classes": 2})
    training = TrainingSpec(
        epochs=1, lr=1.0, groups=(ParameterGroup(parameters="head.*", clip_norm=1e-3),)
    )
    loop.fit(model, make_loader(data, model, None), describe(data)[0], training, Protocol(metric="accuracy"))
    norms = {
        part: torch.cat([p.grad.flatten() for name, p in model.named_parameters() if name.startswith(part)]).norm()  # type: ignore[union-attr]
        for part in ("head", "convs")
    }
    assert norms["head"] == pytest.approx(1e-3, rel=1e-3)
    assert norms["convs"] > 1e-2


def graph_set(num_graphs: int = 30) -> GraphDataset:
    """Rings and paths, which a GCN that sums over nodes can tell apart."""
    graphs = []
    for i in range(num_graphs):
        n = 5 + i % 4
        ring = torch.stack([torch.arange(n), (torch.arange(n) + 1) % n])
        edges = ring if i % 2 else ring[:, :-1]
        graphs.append(zoo.datasets.from_arrays(edges, torch.ones(n, 1), num_nodes=n))
    part = torch.arange(num_graphs) // 2 % 3
    return GraphDataset(
        name="rings",
        graphs=graphs,
        labels=torch.arange(num_graphs) % 2,
        num_classes=2,
        train_mask=part == 0,
        val_mask=part == 1,
        test_mask=part == 2,
    )


def test_a_split_that_tests_on_all_graphs_is_trained_and_scored_but_only_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = graph_set()
    monkeypatch.setattr("zoo.datasets.tu.read", lambda about: (data.graphs, data.labels))
    overrides = {"data": {"name": "ptc", "split": "tu-10fold-whole"}, "model": {"readout": "max"}}
    run = zoo.train(small(**overrides), 1)
    split = zoo.datasets.load("ptc", split="tu-10fold-whole", seed=1)
    assert split.test_mask.all()
    right = zoo.predict(run.model, split).values == split.labels
    assert run.test == pytest.approx(100 * float(right.double().mean()))
    assert zoo.evaluate(run.model, split).value == run.test
    with pytest.raises(GraphError, match="30 items are in more than one of train_mask, val_mask, test_mask"):
        describe(split)
    with pytest.raises(GraphError, match="27 items are in more than one of train_mask, val_mask"):
        describe(dataclasses.replace(split, val_mask=split.train_mask), tests_on_all=True)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_sets_of_graphs_are_learnt_in_batches(batch_size: int | None) -> None:
    data = graph_set()
    task, in_feats, num_classes = describe(data)
    assert (task.name, in_feats, num_classes) == ("graph-classification", 1, 2)
    with loop.seeded(0):
        model = models.create("gcn", {
            "in_feats": 1, "num_classes": 2, "hidden": 32, "readout": "max", "dropout": 0.0,
        })
        loader = make_loader(data, model, batch_size)
        training = TrainingSpec(epochs=150, lr=0.01)
        run = loop.fit(model, loader, task, training, Protocol(metric="accuracy"))
    assert run.test > 80


def test_regression_is_learnt() -> None:
    data = zoo.datasets.load("csbm", seed=0)
    data.ndata["label"] = data.ndata["feat"].mean(1) + 5
    task, in_feats, outputs = describe(data)
    assert (task.name, outputs) == ("node-regression", 1)
    with loop.seeded(0):
        model = models.create("sage", {"in_feats": in_feats, "num_classes": 1, "dropout": 0.0, "hidden": 32})
        training = TrainingSpec(epochs=300, lr=0.01)
        run = loop.fit(model, make_loader(data, model, None), task, training, Protocol(metric="nmse"))
    labels = data.ndata["label"][data.ndata["test_mask"]]
    assert run.test < 0.5 * float(labels.var() / labels.mean())


def test_a_metric_of_another_task_is_an_error() -> None:
    data = zoo.datasets.load("csbm")
    model = models.create("gcn", {"in_feats": 8, "num_classes": 2})
    training, protocol = TrainingSpec(epochs=1, lr=0.1), Protocol(metric="nmse")
    with pytest.raises(RecipeError, match="metric 'nmse' is not for node-classification"):
        loop.fit(model, make_loader(data, model, None), describe(data)[0], training, protocol)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train_mask", torch.zeros(100, dtype=torch.bool), "the train mask is empty"),
        ("test_mask", torch.zeros(100, dtype=torch.bool), "the test mask is empty"),
        ("label", None, "the graph lacks ndata label"),
        ("label", -torch.ones(100, dtype=torch.int64), "a class in the masks is negative"),
        ("label", torch.ones(100, 1), r"label has shape \(100, 1\): expected \(100,\)"),
        ("label", torch.full((100,), torch.nan), "a target in the masks is NaN"),
        ("label", torch.zeros(100, 2, 2), r"label has shape \(100, 2, 2\)"),
        ("label", torch.full((100, 2), 2), "each of several labels is 0 or 1, but one in the masks is neither"),
        ("label", torch.full((100, 2), torch.nan), "each of several labels is 0 or 1"),
        ("test_mask", torch.ones(100, dtype=torch.bool), "in more than one of"),
        ("train_mask", torch.ones(100), "train_mask is torch.float32 of shape"),
        ("feat", torch.full((100, 8), torch.inf), "NaN or infinite"),
        ("feat", torch.ones(100, 8, requires_grad=True), r"feat has a gradient, .* give it feat.detach\(\)"),
        ("label", torch.ones(100, requires_grad=True), r"label has a gradient, .* give it label.detach\(\)"),
    ],
)
def test_data_that_cannot_be_trained_on_is_an_error(key: str, value: Tensor | None, message: str) -> None:
    graph = zoo.datasets.load("csbm")
    if value is None:
        del graph.ndata[key]
    else:
        graph.ndata[key] = value
    with pytest.raises(GraphError, match=message):
        describe(graph)


def test_features_made_in_inference_mode_are_told() -> None:
    graph = zoo.datasets.load("csbm")
    with torch.inference_mode():
        graph.ndata["feat"] = 2 * graph.ndata["feat"]
    with pytest.raises(GraphError, match=r"feat was made in inference mode, .* give it feat.clone\(\)"):
        describe(graph)


def test_metrics_agree_with_a_direct_computation() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 2, generator=generator), torch.randint(2, (50,), generator=generator)
    right = sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))
    assert tasks.measure("accuracy", logits, labels) == 100 * right / 50
    margin = logits[:, 1] - logits[:, 0]
    pairs = [(a > b).item() for a in margin[labels == 1] for b in margin[labels == 0]]
    assert tasks.measure("roc-auc", logits, labels) == 100 * (sum(pairs) / len(pairs))
    tied = (2 * logits).round()
    margin = tied[:, 1] - tied[:, 0]
    counted = [(int(a > b) + int(a >= b)) / 2 for a in margin[labels == 1] for b in margin[labels == 0]]
    assert 0.5 in counted
    assert tasks.measure("roc-auc", tied, labels) == 100 * (sum(counted) / len(counted))
    targets = torch.rand(50, generator=generator)
    errors = [(float(row[0]) - float(target)) ** 2 for row, target in zip(logits, targets, strict=True)]
    expected = sum(errors) / 50 / float(targets.mean())
    assert tasks.measure("nmse", logits[:, :1], targets) == pytest.approx(expected, rel=1e-5)


def test_roc_auc_is_for_two_classes() -> None:
    with pytest.raises(RecipeError, match="roc-auc is for two classes, not 3"):
        tasks.measure("roc-auc", torch.zeros(2, 3), torch.tensor([0, 1]))


def test_roc_auc_needs_both_classes() -> None:
    with pytest.raises(RecipeError, match="needs items of both classes"):
        tasks.measure("roc-auc", torch.zeros(2, 2), torch.tensor([0, 0]))


def test_int32_labels_are_classes_too() -> None:
    data = zoo.datasets.load("csbm", seed=0)
    runs = []
    for dtype in (torch.int64, torch.int32):
        data.ndata["label"] = data.ndata["label"].to(dtype)
        with loop.seeded(0):
            model = models.create("gcn", {"in_feats": 8, "num_classes": 2})
            loader, task = make_loader(data, model, None), describe(data)[0]
            runs.append(loop.fit(model, loader, task, TrainingSpec(epochs=3, lr=0.01), Protocol(metric="accuracy")))
    assert_same_bits(tensors(runs[0]), tensors(runs[1]))


@pytest.mark.parametrize(("readout", "message"), [(None, "has no readout"), ("mean", "has a readout")])
def test_a_model_for_the_other_level_is_refused(readout: str | None, message: str) -> None:
    data = graph_set() if readout is None else zoo.datasets.load("csbm")
    model = models.create("gcn", {"in_feats": 1, "num_classes": 2, "readout": readout})
    with pytest.raises(ConfigError, match=message):
        make_loader(data, model, None)


def test_a_run_that_diverges_keeps_its_best_epoch_and_says_so(tmp_path: Path) -> None:
    step = loop._step

    def diverging(model: Any, *arguments: Any) -> float:
        return step(model, *arguments) if lines_in(tmp_path / LOG) < 4 else float("nan")

    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="diverged: the loss at epoch 5"):
        patch.setattr(loop, "_step", diverging)
        run = zoo.train(small(), 0, tmp_path)
    assert run.epochs == len(scores_of(tmp_path)) == 4
    assert run.val == max(line["val"] for line in scores_of(tmp_path))


def test_a_run_that_never_starts_is_an_error() -> None:
    data = zoo.datasets.load("csbm", seed=0)
    model = models.create("gcn", {"in_feats": 8, "num_classes": 2})
    with torch.no_grad():
        model.head.bias.fill_(torch.nan)  # type: ignore[operator]
    with pytest.warns(UserWarning, match="diverged"), pytest.raises(ZooError, match="from the first epoch on"):
        loop.fit(
            model,
            make_loader(data, model, None),
            describe(data)[0],
            TrainingSpec(epochs=3, lr=0.01),
            Protocol(metric="accuracy"),
        )


def test_a_run_that_diverges_under_roc_auc_is_no_traceback() -> None:
    recipe = small(protocol={"metric": "roc-auc"}, training={"lr": 1e6, "weight_decay": 1e37})
    with pytest.warns(UserWarning, match="diverged"), pytest.raises(ZooError, match="from the first epoch on"):
        zoo.train(recipe, 0)


def test_a_set_of_graphs_may_differ_in_what_no_model_looks_at() -> None:
    data, other = graph_set(), graph_set()
    other.graphs[3].ndata["pos"] = torch.ones(other.graphs[3].num_nodes(), 2)
    other.graphs[4].edata["weight"] = torch.ones(other.graphs[4].num_edges())
    model = models.create("gcn", {"in_feats": 1, "num_classes": 2, "readout": "sum"}).eval()
    graphs = [make_loader(dataset, model, 4).predict(model)["val"][0] for dataset in (data, other)]
    assert torch.equal(*graphs)
    other.graphs[3].ndata["feat"] = other.graphs[3].ndata["feat"].double()
    with pytest.raises(GraphError, match="features of different types"):
        make_loader(other, model, 4)


def test_a_seed_from_numpy_is_a_seed(tmp_path: Path) -> None:
    first, second = zoo.train(small(), cast("int", np.int64(1)), tmp_path), zoo.train(small(), 1)
    assert_same_bits(tensors(first), tensors(second))
    for seed in (1.5, "1", -1, 2**63):
        with pytest.raises(RecipeError, match="a seed is"):
            zoo.train(small(), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_mask": torch.ones(30, dtype=torch.bool)}, "items are in more than one of"),
        ({"val_mask": torch.ones(30)}, "val_mask is torch.float32"),
        ({"test_mask": torch.ones(29, dtype=torch.bool)}, r"test_mask is torch.bool of shape \(29,\)"),
        ({"labels": torch.full((30,), 6)}, "a label is 6, but the set has 2 classes"),
        ({"labels": torch.zeros(30, 1)}, r"labels has shape \(30, 1\)"),
        ({"labels": torch.zeros(30, 2)}, r"labels has shape \(30, 2\)"),
        ({"graphs": [zoo.datasets.from_arrays([[0], [1]], torch.ones(2, w)) for w in (1, 2) * 15]}, "different widths"),
        ({"graphs": [dgl.graph(([0], [1]))] * 30}, 'no ndata."feat"'),
    ],
)
def test_a_set_of_graphs_that_cannot_be_trained_on_is_an_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        describe(dataclasses.replace(graph_set(), **change))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on file sizes")
@pytest.mark.parametrize("what", ["weights", "state", "log"])
def test_a_full_disk_is_one_clear_error_for_every_writer(tmp_path: Path, what: str) -> None:
    import resource as limits

    model = models.create("gcn", {"in_feats": 200, "num_classes": 2, "hidden": 64})
    kept = RunFolder(tmp_path, {"some": "run"})
    old = limits.getrlimit(limits.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits.setrlimit(limits.RLIMIT_FSIZE, (5000, old[1]))
    try:
        with pytest.raises(ZooError, match="cannot write"):
            if what == "weights":
                weights.write(model, tmp_path)
            elif what == "state":
                kept.write_state(State(), model, torch.optim.Adam(model.parameters()))
            else:
                log = kept.log(0)
                for epoch in range(1000):
                    log({"epoch": epoch})
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    assert not [path for path in tmp_path.iterdir() if path.name not in (LOG,)]


def test_batches_are_of_one_size_and_in_a_new_order_every_time() -> None:
    graphs = [dgl.rand_graph(3 + i, 6) for i in range(12)]
    for graph in graphs:
        graph.ndata["feat"] = torch.rand(graph.num_nodes(), 4)
    train = torch.arange(12) < 10
    dataset = GraphDataset("twelve", graphs, torch.arange(12), 12, train, ~train, ~train)
    model = models.create("gin", {"in_feats": 4, "num_classes": 12, "readout": "sum"})
    loader = make_loader(dataset, model, batch_size=4)
    first, second = ([labels for _, labels in loader.train_batches(model)] for _ in range(2))
    assert [len(labels) for labels in first] == [4, 4, 2]
    assert sorted(torch.cat(first).tolist()) == sorted(torch.cat(second).tolist()) == list(range(10))
    assert torch.cat(first).tolist() != torch.cat(second).tolist()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.int16])
def test_classes_may_be_of_any_integer_type(dtype: torch.dtype) -> None:
    graph = datasets.load("csbm")
    expected = zoo.finetune("gcn-csbm", graph, epochs=2)
    graph.ndata["label"] = graph.ndata["label"].to(dtype)
    found = zoo.finetune("gcn-csbm", graph, epochs=2)
    assert (found.val, found.test) == (expected.val, expected.test)
