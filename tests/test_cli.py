"""The command line: what it prints, and how it fails."""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import zoo
from zoo import registry
from zoo._files import resource
from zoo.bundling import _best, bundle
from zoo.cli import main
from zoo.demo import Line
from zoo.errors import DatasetNotFound, IntegrityError
from zoo.finetuning import finetune
from zoo.reproduction import reproduce
from zoo.results import Row, read_results


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    """The csbm graph as a user's folder of CSVs."""
    graph = zoo.datasets.load("csbm", seed=0)
    feat, label = graph.ndata["feat"], graph.ndata["label"]
    part = {
        node: name
        for name in ("train", "val", "test")
        for node in graph.ndata[f"{name}_mask"].nonzero().flatten().tolist()
    }
    folder = tmp_path / "graph"
    folder.mkdir()
    header = ["id", *(f"f{i}" for i in range(8)), "label", "split"]
    lines = [[i, *feat[i].tolist(), int(label[i]), part[i]] for i in range(100)]
    (folder / "nodes.csv").write_text("\n".join(",".join(map(str, line)) for line in [header, *lines]) + "\n")
    edges = torch.stack(graph.edges(), dim=1).tolist()
    (folder / "edges.csv").write_text("src,dst\n" + "\n".join(f"{a},{b}" for a, b in edges) + "\n")
    return folder


def test_list_has_a_line_per_checkpoint() -> None:
    result = run("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()[2:]] == registry.list_checkpoints()
    narrowed = run("list", "gcn-*", "--dataset", "csbm").output.splitlines()
    assert [line.split()[0] for line in narrowed[2:]] == ["gcn-csbm"]


def test_show_prints_the_entry_as_json() -> None:
    shown = json.loads(run("show", "gcn-csbm").output)
    assert shown["weights"]["sha256"] == registry.info("gcn-csbm").weights.sha256
    assert shown["settings"]["training"]["lr"] == 0.01


def test_eval_measures_the_recorded_score() -> None:
    result = run("eval", "gcn-csbm", "cna-gcn-digits")
    assert result.exit_code == 0
    assert [line.split()[-1] for line in result.output.splitlines()[2:]] == ["yes", "yes"]


def test_eval_fails_where_the_score_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.api.score", lambda *_: 12.5)
    result = run("eval", "gcn-csbm")
    assert result.exit_code == 1
    assert "12.5000" in result.output and "NO" in result.output


def test_one_failure_does_not_silence_the_others() -> None:
    result = run("eval", "no-such", "gcn-csbm")
    assert result.exit_code == 2
    assert "no checkpoint 'no-such'" in result.stderr and "gcn-csbm" in result.stdout


def test_finetune_writes_a_checkpoint(graph_file: Path, tmp_path: Path) -> None:
    result = run("finetune", "gcn-csbm", str(graph_file), "--out", str(tmp_path / "new"), "--epochs", "2")
    assert result.exit_code == 0, result.output
    assert zoo.load_folder(tmp_path / "new").method == "gcn"


def test_patience_0_is_none(graph_file: Path, tmp_path: Path) -> None:
    epochs = []
    for patience in ("3", "0"):
        out = tmp_path / patience
        assert run("finetune", "gcn-csbm", str(graph_file), "--out", str(out), "--lr", "1", "--epochs", "60",
                   "--patience", patience).exit_code == 0
        epochs.append(json.loads((out / "result.json").read_text())["epochs"])
    assert epochs[0] < epochs[1] == 60


@pytest.mark.parametrize(
    ("command", "function", "own"),
    [("finetune", finetune, {"graph", "directed"}), ("reproduce", reproduce, set()), ("bundle", bundle, {"names"})],
)
def test_options_are_the_arguments_of_a_function(command: str, function: Callable[..., Any], own: set[str]) -> None:
    parameters = inspect.signature(function).parameters
    assert {param.name for param in main.commands[command].params} - own <= parameters.keys()


def test_options_of_finetune_have_the_functions_defaults() -> None:
    parameters = inspect.signature(finetune).parameters
    options = {param.name: param for param in main.commands["finetune"].params}
    for name in ("epochs", "lr", "weight_decay", "patience", "layer_decay", "seed"):
        assert options[name].default == parameters[name].default


def test_train_goes_on_where_it_was(tmp_path: Path) -> None:
    first = run("train", "gcn-csbm", "--out", str(tmp_path))
    assert "on validation" in first.stdout
    assert run("train", "gcn-csbm", "--out", str(tmp_path)).stdout == first.stdout


def test_reproduce_prints_the_verdict(tmp_path: Path) -> None:
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    result = run("reproduce", "gcn-csbm", "--seeds", "2", *folders)
    assert result.exit_code == 0
    assert "(2)" in result.output and "no published value" in result.output
    listed = run("reproduce").output
    assert "table   planetoid" in listed and "recipe  cna-gcn-cora" in listed


def test_what_a_locale_cannot_write_stops_nothing(graph_file: Path) -> None:
    nodes = (graph_file / "nodes.csv").read_text().replace("\n0,", "\nŁódź,", 1)
    (graph_file / "nodes.csv").write_text(nodes, encoding="utf-8")
    edges = re.sub(r"\b0\b", "Łódź", (graph_file / "edges.csv").read_text())
    (graph_file / "edges.csv").write_text(edges, encoding="utf-8")
    latin = CliRunner(charset="latin-1")
    listed = latin.invoke(main, ["list", "gcn-csbm"])
    assert (listed.exit_code, listed.stdout.splitlines()[2].count(" ? ")) == (0, 1), "for the – of no published value"
    predicted = latin.invoke(main, ["predict", "gcn-csbm", str(graph_file)])
    assert predicted.exit_code == 0
    assert "Łódź," in predicted.stdout_bytes.decode()


def test_verify_checks_every_checkpoint() -> None:
    result = run("verify")
    assert result.exit_code == 0
    assert [line.split()[:2] for line in result.output.splitlines()[2:]] == [
        [name, "ok"] for name in registry.list_checkpoints()
    ]


def test_verify_goes_on_after_a_name_that_is_none() -> None:
    result = run("verify", "no-such", "gcn-csbm")
    assert result.exit_code == 2
    assert "no checkpoint 'no-such'" in result.output
    assert "gcn-csbm  ok" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "gcn-csmb"],
        ["show", "../x"],
        ["eval", "no-such"],
        ["train", "no-such"],
        ["train", "/no/such.toml"],
        ["reproduce", "no-such"],
        ["predict", "gcn-csbm", "/no/such.npz"],
        ["finetune", "gcn-csbm", "/no/such", "--out", "/no/such"],
        ["list", "nope*"],
        ["report", "--readme", "/no/such.md", "--docs", "/dev/null/docs"],
        ["reproduce", "gcn-csbm", "--results", "/dev/null/results"],
        ["verify", "no-such"],
        ["bundle", "no-such"],
        ["train", "gcn-csbm", "--out", "/dev/null/folder"],
    ],
)
def test_an_error_is_one_line_and_exit_code_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("zoo: ") and result.stderr.count("\n") == 1


def test_bundle_ships_the_run_with_the_best_validation_score(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    run("reproduce", "gcn-csbm", "--seeds", "3", *folders)
    registry.write({}, tmp_path / "checkpoints.json")
    for module in ("zoo.bundling", "zoo.registry", "zoo.weights"):
        monkeypatch.setattr(f"{module}.resource", lambda name: tmp_path / name)
    result = run("bundle", "gcn-csbm", *folders)
    assert result.exit_code == 0, result.output
    entry = registry.info("gcn-csbm")
    rows = read_results(tmp_path / "results" / "gcn-csbm.csv")
    assert entry.score.seed == max(rows, key=lambda row: (row.val, -row.seed)).seed
    assert entry.runs.n == 3
    assert zoo.evaluate("gcn-csbm").value == entry.score.value


def test_bundle_finds_a_run_that_another_cell_has_lent(
    monkeypatch: pytest.MonkeyPatch, tables: Path, tmp_path: Path
) -> None:
    settings = 'title = "Twins"\nbase = "gcn-csbm"\nrows = ["gcn"]\ncolumns = ["first", "second"]\n'
    (tables / "twins.toml").write_text(settings + '[column.first]\nname = "twin"\n')
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    run("reproduce", "twins", "--seeds", "1", *folders)
    registry.write({}, tmp_path / "checkpoints.json")
    for module in ("zoo.bundling", "zoo.registry", "zoo.weights"):
        monkeypatch.setattr(f"{module}.resource", lambda name: tmp_path / name)
    assert run("bundle", "gcn-csbm", "--table", "twins", *folders).exit_code == 0
    assert registry.info("gcn-csbm").score.value == read_results(tmp_path / "results" / "twins.csv")[1].test


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 1), ("nmse", 0)])
def test_the_shipped_seed_is_chosen_by_validation(metric: str, best: int) -> None:
    common = {"cell": "c", "recipe": "r", "digest": "d", "metric": metric, "epoch": 1, "epochs": 1, "seconds": 1.0}
    versions = {"python": "", "torch": "", "dgl": ""}
    scores = [(0, 80.0, 99.0), (1, 90.0, 50.0), (2, 90.0, 70.0)]
    rows = tuple(Row(seed=seed, val=val, test=test, **common, **versions) for seed, val, test in scores)  # type: ignore[arg-type]
    assert _best(rows).seed == best


def test_bundle_refuses_a_cell_with_another_published_number(tables: Path) -> None:
    settings = 'title = "Twins"\nbase = "gcn-csbm"\nrows = ["gcn"]\ncolumns = ["csbm"]\n'
    (tables / "twins.toml").write_text(settings + '[row.gcn]\npublished = { value = 88.0, source = "a page" }\n')
    result = run("bundle", "gcn-csbm", "--table", "twins")
    assert (result.exit_code, "has no cell that is recipe 'gcn-csbm'" in result.stderr) == (2, True)


def test_bundle_writes_no_weights_beside_a_registry_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    assert run("reproduce", "gcn-csbm", "--seeds", "1", *folders).exit_code == 0
    (tmp_path / "checkpoints.json").write_text("{")
    for module in ("zoo.bundling", "zoo.registry", "zoo.weights"):
        monkeypatch.setattr(f"{module}.resource", lambda name: tmp_path / name)
    result = run("bundle", "gcn-csbm", *folders)
    assert (result.exit_code, "checkpoints.json" in result.stderr) == (2, True)
    assert not (tmp_path / "pretrained").exists()


def test_bundle_refuses_a_table_without_the_recipe() -> None:
    result = run("bundle", "gcn-csbm", "--table", "planetoid")
    assert (result.exit_code, "has no cell that is recipe 'gcn-csbm'" in result.stderr) == (2, True)


def test_bundle_changes_nothing_where_the_score_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    run("reproduce", "gcn-csbm", "--seeds", "1", *folders)
    monkeypatch.setattr("zoo.bundling.resource", lambda name: tmp_path / name)
    monkeypatch.setattr("zoo.bundling.score", lambda *_: 12.5)
    result = run("bundle", "gcn-csbm", *folders)
    assert (result.exit_code, "the file scores 12.5" in result.stderr) == (2, True)
    assert not (tmp_path / "pretrained").exists()


def test_bundle_refuses_what_was_chosen_on_test_scores(tmp_path: Path) -> None:
    text = (resource("recipes") / "gcn" / "gcn-csbm.toml").read_text()
    (tmp_path / "weak.toml").write_text(
        text.replace('"gcn-csbm"', '"weak"').replace('select = "best-val"', 'select = "best-test"')
    )
    result = run("bundle", str(tmp_path / "weak.toml"))
    assert result.exit_code == 2
    assert "selects on test scores" in result.stderr


def test_bundle_refuses_what_tests_on_its_training_graphs(tmp_path: Path) -> None:
    text = (resource("recipes") / "n2" / "n2-proteins.toml").read_text()
    (tmp_path / "whole.toml").write_text(
        text.replace('"n2-proteins"', '"whole"').replace('"tu-10fold"', '"tu-10fold-whole"')
    )
    result = run("bundle", str(tmp_path / "whole.toml"))
    assert result.exit_code == 2
    assert "tests on training graphs too" in result.stderr


@pytest.mark.filterwarnings("ignore:.*new and untrained:UserWarning")
def test_the_demo_ends_with_measured_beside_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.registry.list_checkpoints", lambda: ["cna-gcn-digits", "gcn-csbm"])
    monkeypatch.setattr("zoo.demo.CELLS", "100 Label-SBP/20")  # and 200
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert "2 of 2 scores are the recorded ones to the last bit." in result.output
    assert len(re.findall(r"blocks-of-100 Label-SBP/200? +\d\d\.\d\d ± \d+\.\d\d ", result.output)) == 2


@pytest.mark.filterwarnings("ignore:.*new and untrained:UserWarning")
def test_the_demo_fails_where_a_checkpoint_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise IntegrityError("was changed")

    monkeypatch.setattr("zoo.registry.list_checkpoints", lambda: ["gcn-csbm"])
    monkeypatch.setattr("zoo.demo._reproduce", lambda: None)
    monkeypatch.setattr("zoo.api.load", load)
    result = run("demo")
    assert result.exit_code == 1
    assert "BROKEN" in result.output and "0 of 0 scores" in result.output


def test_the_demo_tells_what_data_is_missing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(name: str) -> None:
        raise DatasetNotFound("not there")

    monkeypatch.setattr("zoo.registry.list_checkpoints", lambda: ["gat-cora", "gcn-cora", "gcn-citeseer"])
    monkeypatch.setattr("zoo.demo.evaluate", evaluate)
    monkeypatch.setattr("zoo.demo._finetune", lambda: None)
    monkeypatch.setattr("zoo.demo._reproduce", lambda: None)
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert result.output.count("Neither at hand nor to be fetched: citeseer, cora.") == 1
    assert "0 of 0 scores" in result.output and "The data of 3 others is missing" in result.output


def test_the_demo_fails_where_a_score_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.demo._score", lambda name: Line(name, 50.0, measured=49.0))
    monkeypatch.setattr("zoo.demo._finetune", lambda: None)
    monkeypatch.setattr("zoo.demo._reproduce", lambda: None)
    assert run("demo").exit_code == 1
