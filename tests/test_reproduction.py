"""Runs are made once, kept, and compared."""

import dataclasses
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from scipy import stats
from test_tables import LAYERED, TABLE

from zoo import datasets, reproduction, weights
from zoo.errors import DatasetNotFound, RecipeError, RecipeNotFound, ZooError
from zoo.report import summaries, table_page
from zoo.reproduction import reproduce
from zoo.results import Row, add_rows, list_results, read_layers, read_results
from zoo.tables import OF_PRUNING, find_table
from zoo.training import loop
from zoo.training import recipe as recipes
from zoo.training.folder import Run
from zoo.training.recipe import Recipe, find


def test_runs_are_kept_and_not_repeated(tmp_path: Path) -> None:
    results, runs = tmp_path / "results", tmp_path / "runs"
    (first,) = reproduce("gcn-csbm", seeds=2, results=results, runs=runs)
    text = (results / "gcn-csbm.csv").read_text()
    assert [row.seed for row in first.rows] == [0, 1]
    assert first.mean == sum(row.test for row in first.rows) / 2
    (again,) = reproduce("gcn-csbm", seeds=2, results=results, runs=runs)
    assert again == first
    assert (results / "gcn-csbm.csv").read_text() == text
    (more,) = reproduce("gcn-csbm", seeds=3, results=results, runs=runs)
    assert (results / "gcn-csbm.csv").read_text().startswith(text)
    assert len(more.rows) == 3


def test_processes_side_by_side_give_the_same_runs(tmp_path: Path) -> None:
    (alone,) = reproduce("gcn-csbm", seeds=2, results=tmp_path / "a", runs=tmp_path / "runs-a")
    (together,) = reproduce("gcn-csbm", seeds=2, jobs=2, results=tmp_path / "b", runs=tmp_path / "runs-b")
    assert [(row.seed, row.val, row.test, row.epoch) for row in alone.rows] == [
        (row.seed, row.val, row.test, row.epoch) for row in together.rows
    ]
    for seed in range(2):
        files = [
            reproduction.run_folder(tmp_path / f"runs-{side}", find("gcn-csbm"), seed) / "model.safetensors"
            for side in "ab"
        ]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_two_processes_on_one_table_keep_each_others_runs(tmp_path: Path) -> None:
    results = tmp_path / "results"
    table = find_table("gcn-csbm")
    (first,) = reproduce("gcn-csbm", seeds=1, results=results, runs=tmp_path)
    other = dataclasses.replace(first.rows[0], seed=7)
    with pytest.MonkeyPatch.context() as patch:

        def meanwhile(*arguments: object) -> object:
            add_rows(results / "gcn-csbm.csv", Row, [other], table)
            return run(*arguments)  # type: ignore[arg-type]

        run = reproduction._run
        patch.setattr(reproduction, "_run", meanwhile)
        (result,) = reproduce("gcn-csbm", seeds=2, results=results, runs=tmp_path)
    assert [row.seed for row in result.rows] == [0, 1, 7]


def test_a_run_that_fails_is_told_and_the_others_go_on(tables: Path, tmp_path: Path) -> None:
    (tables / "depth.toml").write_text(TABLE.replace("training.epochs = 7", "training.lr = 1e6"))
    train = loop.train

    def failing(recipe: Recipe, *arguments: Any) -> Run:
        if recipe.training.lr == 1e6:
            raise ZooError("it diverged")
        return train(recipe, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", failing)
        shallow, deep = reproduce("depth", seeds=1, results=tmp_path / "r", runs=tmp_path / "r")
    assert (len(shallow.rows), shallow.failures) == (1, ())
    assert (deep.verdict, deep.failures) == ("not run", ("gcn-csbm, seed 0: it diverged",))


def test_a_mistake_in_the_code_is_no_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Run:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(loop, "train", failing)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        reproduce("gcn-csbm", seeds=1, results=tmp_path, runs=tmp_path)


@pytest.mark.parametrize("option", ["jobs", "seeds"])
@pytest.mark.parametrize("value", [0, -1])
def test_no_jobs_and_no_seeds_are_refused(option: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"{option} is a whole number from 1, got {value}"):
        reproduce("gcn-csbm", results=tmp_path, runs=tmp_path, **{option: value})  # type: ignore[arg-type]


def test_a_place_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ZooError, match=r"cannot write .*file"):
        reproduce("gcn-csbm", results=tmp_path / "file", runs=tmp_path)
    (tmp_path / "gcn-csbm.csv").mkdir()
    with pytest.raises(ZooError, match="cannot read results"):
        reproduce("gcn-csbm", results=tmp_path, runs=tmp_path)
    assert not list(tmp_path.glob("gcn-csbm-*"))


KILLED = """
import sys
from pathlib import Path
from zoo.reproduction import reproduce
if __name__ == "__main__":
    reproduce(sys.argv[1], jobs=2, seeds=2, results=Path(sys.argv[2]), runs=Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_parent_takes_its_processes_along(tmp_path: Path) -> None:
    text = recipes._path("gcn-csbm").read_text()
    recipe, script = tmp_path / "endless.toml", tmp_path / "killed.py"
    recipe.write_text(text.replace('"gcn-csbm"', '"endless"').replace("epochs = 200", "epochs = 9999999"))
    script.write_text(KILLED)
    process = subprocess.Popen([sys.executable, str(script), str(recipe), str(tmp_path)])
    while len(logs := list(tmp_path.glob("endless-*/seed-*/log.jsonl"))) < 2 and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    for log in logs:
        lock = FileLock(log.with_name(".result.json.lock"))
        lock.acquire(timeout=60)  # held for as long as the process lives
        lock.release()
    assert len(logs) == 2


def test_data_out_of_reach_is_not_run_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise DatasetNotFound("nowhere to be found")

    monkeypatch.setattr("zoo.datasets.loading.load", absent)
    (result,) = reproduce("gcn-cora", seeds=1, results=tmp_path, runs=tmp_path)
    assert (result.verdict, result.reason, result.mean) == ("not run", "nowhere to be found", None)
    assert not (tmp_path / "gcn-cora.csv").exists()


def test_a_recipe_that_has_changed_does_not_take_old_runs(tmp_path: Path) -> None:
    reproduce("gcn-csbm", seeds=1, results=tmp_path, runs=tmp_path)
    path = tmp_path / "gcn-csbm.csv"
    path.write_text(path.read_text().replace(find("gcn-csbm").digest(), "0" * 16))
    (result,) = reproduce("gcn-csbm", seeds=1, results=tmp_path, runs=tmp_path)
    assert len(result.rows) == 1
    assert "0" * 16 not in path.read_text()


def test_a_table_of_ones_own_is_run_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TABLE)
    (result,) = reproduce(path, cells="shallow", seeds=1, results=tmp_path / "r", runs=tmp_path / "r")
    assert [row.cell for row in read_results(tmp_path / "r" / "mine.csv")] == ["gcn/shallow"]
    assert math.isfinite(result.mean or math.nan)


def test_cells_can_be_chosen(tables: Path, tmp_path: Path) -> None:
    (tables / "depth.toml").write_text(TABLE)
    (result,) = reproduce("depth", cells="deep", seeds=1, results=tmp_path / "r", runs=tmp_path / "r")
    assert result.cell.name == "gcn/deep"
    assert math.isfinite(result.mean or math.nan)
    (again,) = reproduce("depth", cells="g*/de?p", seeds=1, results=tmp_path / "r", runs=tmp_path / "r")
    assert again.rows == result.rows
    with pytest.raises(RecipeNotFound, match="has no cell like 'deeep'; the nearest of its 2: gcn/deep, gcn/shallow"):
        reproduce("depth", cells="deeep")


OTHER_ROW = """
[row.omega-gcn]
base = "gcn-csbm"
"""


def test_the_whole_name_of_a_cell_chooses_it_alone(tables: Path, tmp_path: Path) -> None:
    (tables / "depth.toml").write_text(TABLE.replace('rows = ["gcn"]', 'rows = ["gcn", "omega-gcn"]') + OTHER_ROW)
    (result,) = reproduce("depth", cells="gcn/deep", seeds=1, results=tmp_path / "r", runs=tmp_path / "r")
    assert result.cell.name == "gcn/deep"


def test_a_run_that_another_table_has_is_taken_over(tables: Path, tmp_path: Path) -> None:
    (tables / "depth.toml").write_text(TABLE)
    (tables / "again.toml").write_text(TABLE)
    (tables / "layered.toml").write_text(TABLE.replace("columns", 'layers = "mu"\ncolumns'))
    folders: dict[str, Any] = {"results": tmp_path / "results", "runs": tmp_path / "runs"}
    (there,) = reproduce("depth", cells="deep", seeds=2, **folders)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduction, "_run", lambda *training: pytest.fail("a run is made again"))
        (taken,) = reproduce("again", cells="deep", seeds=1, **folders)
    assert taken.rows == there.rows[:1]
    assert read_results(tmp_path / "results" / "again.csv") == list(taken.rows)
    (tmp_path / "results" / "nodes.csv").write_text("of,another,kind\n1,2,3\n")
    reproduce("again", cells="deep", seeds=3, **folders)
    reproduce("layered", cells="deep", seeds=1, **folders)
    assert len(read_layers(tmp_path / "results", find_table("layered"))) == 1


BASELINE = """
title = "Width"
base = "gcn-csbm"
rows = ["narrow", "wide"]
columns = ["csbm", "shorter"]
baseline = "narrow"
[row.narrow.model]
hidden = 2
[column.shorter.training]
epochs = 30
"""


def test_rows_are_compared_with_the_baseline_seed_by_seed(tables: Path, tmp_path: Path) -> None:
    (tables / "width.toml").write_text(BASELINE)
    narrow, _, wide, shorter = reproduce("width", seeds=4, results=tmp_path / "r", runs=tmp_path / "r")
    assert narrow.difference is None
    pairs = zip(wide.rows, narrow.rows, strict=True)
    test = stats.ttest_rel([row.test for row in wide.rows], [row.test for row in narrow.rows])
    low, high = test.confidence_interval(0.95)
    assert wide.difference is not None and shorter.difference is not None
    assert wide.difference.mean == pytest.approx(sum(one.test - other.test for one, other in pairs) / 4)
    assert wide.difference.mean - wide.difference.margin == pytest.approx(low)
    assert wide.difference.mean + wide.difference.margin == pytest.approx(high)
    assert wide.difference.n == 4
    (alone,) = reproduce("width", cells="wide/csbm", seeds=5, results=tmp_path / "r", runs=tmp_path / "r")
    assert alone.difference == wide.difference, "the fifth seed has no partner"


def test_one_pair_is_no_comparison(tables: Path, tmp_path: Path) -> None:
    (tables / "width.toml").write_text(BASELINE)
    results = reproduce("width", cells="csbm", seeds=1, results=tmp_path / "r", runs=tmp_path / "r")
    assert [result.difference for result in results] == [None, None]


RULES = """
title = "Rules of selection"
base = "gcn-csbm"
rows = ["gcn"]
columns = ["weak", "honest", "last"]
[column.weak]
name = "gcn-csbm-weak"
protocol.select = "best-test"
[column.last]
protocol.select = "last"
"""


def test_a_weak_rule_is_read_from_the_log_of_the_honest_one(tables: Path, tmp_path: Path) -> None:
    (tables / "rules.toml").write_text(RULES)
    trained: list[str] = []
    with pytest.MonkeyPatch.context() as patch:

        def counted(recipe: Recipe, *arguments: Any) -> Run:
            trained.append(recipe.protocol.select)
            return train(recipe, *arguments)

        train = loop.train
        patch.setattr(loop, "train", counted)
        weak, honest, last = reproduce("rules", seeds=2, results=tmp_path / "r", runs=tmp_path / "runs")
    assert trained == ["best-val", "last"] * 2, "seed by seed, and one training for two rules"
    for seed in range(2):
        alone = loop.train(weak.cell.recipe, seed)
        row = weak.rows[seed]
        assert (row.recipe, row.digest) == ("gcn-csbm-weak", weak.cell.recipe.digest())
        assert (row.val, row.test, row.epoch, row.epochs) == (alone.val, alone.test, alone.epoch, alone.epochs)
        assert row.test >= honest.rows[seed].test
        assert row.seconds == honest.rows[seed].seconds
        assert last.rows[seed].epoch == last.rows[seed].epochs
    text = (tmp_path / "r" / "rules.csv").read_text()
    (tmp_path / "r" / "rules.csv").unlink()
    reproduce("rules", cells="weak", seeds=2, results=tmp_path / "r", runs=tmp_path / "runs")
    reproduce("rules", seeds=2, results=tmp_path / "r", runs=tmp_path / "runs")
    assert (tmp_path / "r" / "rules.csv").read_text() == text, "a cell alone finds the same runs"


@pytest.mark.parametrize("damage", ["missing", "shorter", "no JSON", "without scores"])
def test_a_damaged_log_fails_only_the_rule_that_reads_it(tables: Path, tmp_path: Path, damage: str) -> None:
    (tables / "rules.toml").write_text(RULES)
    reproduce("rules", cells="honest", seeds=1, results=tmp_path / "r", runs=tmp_path / "runs")
    (log,) = (tmp_path / "runs").glob("*/seed-0/log.jsonl")
    lines = log.read_text().splitlines(keepends=True)
    if damage == "missing":
        log.unlink()
    else:
        broken = {"shorter": lines[:-1], "no JSON": [*lines[:-1], "{"], "without scores": ["{}\n"] * len(lines)}
        log.write_text("".join(broken[damage]))
    weak, honest, _ = reproduce("rules", seeds=1, results=tmp_path / "r", runs=tmp_path / "runs")
    assert len(honest.rows) == 1 and not honest.failures
    assert weak.verdict == "not run"
    assert "log.jsonl" in weak.failures[0] and "delete its folder to train anew" in weak.failures[0]


def test_a_table_says_why_it_has_no_runs(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tables / "rules.toml").write_text('not_run = "a week of time"' + RULES)
    results = reproduce("rules", cells="honest", seeds=1, results=tmp_path / "r", runs=tmp_path / "runs")
    assert results[0].verdict != "not run"
    table = find_table("rules")
    rows = read_results(tmp_path / "r" / "rules.csv")
    assert "a week of time" in table_page(table, summaries(table, rows))

    def absent(*_: object, **__: object) -> None:
        raise DatasetNotFound("nowhere to be found")

    monkeypatch.setattr("zoo.datasets.loading.load", absent)
    weak, _, last = reproduce("rules", seeds=1, results=tmp_path / "r", runs=tmp_path / "other")
    assert (weak.reason, last.reason) == ("nowhere to be found", "nowhere to be found")
    (honest,) = reproduce("rules", cells="honest", seeds=3, results=tmp_path / "r", runs=tmp_path / "other")
    assert len(honest.rows) == 1
    assert honest.failures == ("gcn-csbm: nowhere to be found",)
    assert (weak.failures, last.failures) == ((), ())


def test_that_nothing_is_left_to_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for told in (False, True):
        reproduce("gcn-csbm", seeds=1, progress=True, results=tmp_path, runs=tmp_path)
        assert (f"gcn-csbm: no run is missing in {tmp_path / 'gcn-csbm.csv'}" in capsys.readouterr().err) is told


def test_layers_are_measured_once_and_of_each_model(tables: Path, tmp_path: Path) -> None:
    (tables / "layered.toml").write_text(LAYERED)
    folders: dict[str, Any] = {"results": tmp_path / "r", "runs": tmp_path / "runs", "seeds": 2}
    shallow, deep, weak = reproduce("layered", jobs=2, **folders)
    path = tmp_path / "r" / "layered-layers.csv"
    table = find_table("layered")
    rows = read_layers(tmp_path / "r", table)
    assert [(row.cell, row.seed) for row in rows] == [("gcn/2", 0), ("gcn/2", 1), ("gcn/4", 0), ("gcn/4", 1)]
    assert [len(row.numbers) for row in rows] == [1, 1, 3, 3]
    assert len(weak.rows) == 2, "it has scores, but no model"
    graph = datasets.load("csbm", seed=1)
    model = weights.load_folder(reproduction.run_folder(tmp_path / "runs", deep.cell.recipe, 1))
    matrix = torch.zeros(graph.num_nodes(), graph.num_nodes(), dtype=torch.float64)
    matrix.index_put_(graph.edges(), torch.ones(graph.num_edges(), dtype=torch.float64), accumulate=True)
    scale = matrix.sum(1).clamp(min=1).rsqrt()
    laplacian = torch.diag((matrix.sum(1) > 0).double()) - scale[:, None] * matrix * scale
    with torch.no_grad():
        states = [state.double() for state in model.layers(model.prepare(graph))]
    assert rows[3].numbers == pytest.approx([float((s.T @ laplacian @ s).trace()) for s in states], rel=1e-4)
    text, results = path.read_text(), (tmp_path / "r" / "layered.csv").read_text()
    path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_step", None)  # training anything would fail
        again = reproduce("layered", **folders)
    assert (path.read_text(), (tmp_path / "r" / "layered.csv").read_text()) == (text, results)
    assert again == [shallow, deep, weak]
    (tables / "layered.toml").write_text(LAYERED.replace("dirichlet-energy", "mad"))
    reproduce("layered", **folders)
    assert {row.measure for row in read_layers(tmp_path / "r", find_table("layered"))} == {"mad"}
    (tables / "layered.toml").write_text(LAYERED)
    assert read_layers(tmp_path / "r", find_table("layered")) == rows
    assert list_results(tmp_path / "r") == ["layered"]


PRUNED = """
title = "Pruned"
base = "dynamo-gat-cora"
rows = ["often", "never"]
columns = ["csbm"]
layers = ["pruned-share", "kept-similarity", "pruned-similarity"]
[row."*"]
data = { name = "csbm", split = "random-60-20-20" }
model = { num_layers = 4, prune_every = 1, rate = 0.1, epsilon = 0.5 }
training = { epochs = 4, patience = 4 }
[row."never"]
model.rate = 0.0
"""


def test_what_was_pruned_is_measured_of_each_layer(tables: Path, tmp_path: Path) -> None:
    (tables / "pruned.toml").write_text(PRUNED)
    results = reproduce("pruned", seeds=1, results=tmp_path, runs=tmp_path)
    graph = datasets.load("csbm", split="random-60-20-20", seed=0)
    measured = {(row.cell, row.measure): row.numbers for row in read_layers(tmp_path, find_table("pruned"))}
    for result in results:
        model: Any = weights.load_folder(reproduction.run_folder(tmp_path, result.cell.recipe, 0))
        told = zip(*model.pruned_edges(model.prepare(graph)), strict=True)
        for measure, numbers in zip(OF_PRUNING, told, strict=True):
            assert measured[result.cell.name, measure] == pytest.approx(numbers, rel=1e-5, nan_ok=True)
    assert 0 < measured["often/csbm", "pruned-share"][-1] < 1
    assert measured["never/csbm", "pruned-share"] == (0, 0, 0)
    text = PRUNED.replace("dynamo-gat-cora", "gcn-csbm").replace("model = {", "#").replace("model.rate", "#")
    (tables / "pruned.toml").write_text(text)
    often = reproduce("pruned", seeds=1, results=tmp_path / "gcn", runs=tmp_path)[0]
    assert "a GCN prunes no edges" in often.failures[0]
    assert len(often.rows) == 1


def test_several_measures_of_layers_are_of_the_same_models(tables: Path, tmp_path: Path) -> None:
    folders: dict[str, Any] = {"results": tmp_path / "r", "runs": tmp_path / "runs", "seeds": 1}
    one_by_one: dict[tuple[str, str], str] = {}
    for measures in ('"mu"', '"mad"', '["mad", "mu"]'):
        (tables / "layered.toml").write_text(LAYERED.replace('"dirichlet-energy"', measures))
        with pytest.MonkeyPatch.context() as patch:
            if one_by_one:
                patch.setattr(loop, "_step", None)  # training anything would fail
            reproduce("layered", **folders)
        rows = read_layers(tmp_path / "r", find_table("layered"))
        if len(rows) == 2:
            one_by_one |= {(row.cell, row.measure): row.values for row in rows}
    places = [("gcn/2", "mad"), ("gcn/2", "mu"), ("gcn/4", "mad"), ("gcn/4", "mu")]
    assert [(row.cell, row.measure) for row in rows] == places
    assert {(row.cell, row.measure): row.values for row in rows} == one_by_one
