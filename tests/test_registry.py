"""checkpoints.json is complete, and joined to the files, the recipes and the results it speaks of."""

import copy
import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from zoo import datasets, models, registry
from zoo._files import resource
from zoo.errors import CheckpointNotFound, RegistryError
from zoo.results import read_results
from zoo.tables import Cell, Table, find_table, list_tables
from zoo.training import recipe as recipes
from zoo.verdicts import summarise

CHECKPOINTS = registry.list_checkpoints()
RESULTS = Path(__file__).parent.parent / "results"


@functools.cache  # to read them takes seconds, and every checkpoint asks
def tables() -> list[Table]:
    """All of them, but those of a single recipe."""
    return [find_table(table) for table in list_tables()]


def cells_of(name: str) -> list[tuple[Path, Cell]]:
    """The cells of a recipe, with the results file each is in."""
    found = [*tables(), find_table(name)]
    cells = [(table, cell) for table in found for cell in table.cells if cell.recipe.name == name]
    return [(RESULTS / f"{table.name}.csv", cell) for table, cell in cells]


def test_the_registry_is_not_empty() -> None:
    assert len(CHECKPOINTS) >= 14


def test_every_bundled_folder_has_an_entry() -> None:
    assert sorted(path.name for path in resource("pretrained").iterdir()) == CHECKPOINTS


def test_all_bundled_checkpoints_stay_small() -> None:
    assert sum(path.stat().st_size for path in resource("pretrained").rglob("*")) < 80_000_000


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_entry_agrees_with_its_files(name: str) -> None:
    entry = registry.info(name)
    content = (resource("pretrained") / name / "model.safetensors").read_bytes()
    config = json.loads((resource("pretrained") / name / "config.json").read_text())
    assert (entry.weights.sha256, entry.weights.bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (entry.method, entry.model) == (config["method"], models.get(entry.method).__name__)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_entry_agrees_with_its_recipe(name: str) -> None:
    entry, recipe = registry.info(name), recipes.find(registry.info(name).recipe)
    info = datasets.info(entry.dataset)
    assert recipe.name == name
    assert (entry.method, entry.dataset) == (recipe.method, recipe.data.name)
    assert entry.split == (recipe.data.split or info.default_split)
    assert entry.task == info.task
    assert entry.published == recipe.published
    assert entry.score.metric == recipe.protocol.metric


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_entry_agrees_with_the_runs_in_results(name: str) -> None:
    entry = registry.info(name)
    digest = recipes.find(entry.recipe).digest()  # best-test cells have the recipe's name too
    cells = [(path, cell) for path, cell in cells_of(name) if path.exists() and cell.recipe.digest() == digest]
    summaries = [summarise(cell, read_results(path)) for path, cell in cells]
    summary = max(summaries, key=lambda summary: len(summary.rows))  # tables that share runs may ask for fewer
    assert len(summary.rows) == entry.runs.n
    assert (entry.runs.mean, entry.runs.std, entry.verdict) == (summary.mean, summary.std, summary.verdict)
    run = next(row for row in summary.rows if row.seed == entry.score.seed)
    assert entry.score.value == run.test
    assert run.val == max(row.val for row in summary.rows)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_what_is_not_reproduced_has_a_diagnosis(name: str) -> None:
    entry = registry.info(name)
    assert entry.verdict in ("reproduced", "no published value") or recipes.find(entry.recipe).diagnosis


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(CheckpointNotFound, match=r"did you mean .*cna-gcn-cora"):
        registry.info("cna-gnc-cora")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "CNA", "x" * 5000, "a--b", "x\0"])
def test_a_path_is_not_a_name(name: str) -> None:
    with pytest.raises(CheckpointNotFound, match=r"is not a checkpoint's name|no checkpoint"):
        registry.info(name)


def test_filters_narrow_the_list() -> None:
    assert set(registry.list_checkpoints("gcn-*")) < set(CHECKPOINTS)
    assert {registry.info(name).dataset for name in registry.list_checkpoints(dataset="cora")} == {"cora"}
    assert {registry.info(name).method for name in registry.list_checkpoints(method="cna")} == {"cna"}
    assert registry.list_checkpoints(task="graph-regression") == []


@pytest.fixture
def content() -> dict[str, Any]:
    entry = dataclasses.asdict(registry.info("gcn-cora"))
    entry.pop("name")
    return {"schema": 1, "checkpoints": {"gcn-cora": entry}}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "needs \"schema\": 1"),
        (["checkpoints"], [], '"checkpoints" must be an object'),
        (["checkpoints", "gcn-cora"], None, "must be an object"),
        (["checkpoints", "../x"], {}, "a name is"),
        (["checkpoints", "gcn-cora", "weights"], {}, "keys missing or unknown: bytes, sha256"),
        (["checkpoints", "gcn-cora", "weights", "sha256"], "0" * 63, "64 hex digits"),
        (["checkpoints", "gcn-cora", "weights", "bytes"], "many", "bytes has a wrong type"),
        (["checkpoints", "gcn-cora", "weights", "bytes"], 0, "must be positive"),
        (["checkpoints", "gcn-cora", "params"], True, "params has a wrong type"),
        (["checkpoints", "gcn-cora", "hub"], {"repo_id": "a/b", "revision": "main"}, "40 hex digits"),
        (["checkpoints", "gcn-cora", "hub"], {"repo_id": "a/b", "revision": None}, "go together"),
        (["checkpoints", "gcn-cora", "verdict"], "good", "choose from reproduced"),
        (["checkpoints", "gcn-cora", "published"], None, "verdict and published disagree"),
        (["checkpoints", "gcn-cora", "runs", "n"], 0, "at least 1"),
        (["checkpoints", "gcn-cora", "environment"], {"python": 3}, "environment has a wrong type"),
        (["checkpoints", "gcn-cora", "environment"], {"python": "3"}, "environment needs python, torch and dgl"),
        (["checkpoints", "gcn-cora", "hub"], {"repo_id": "../..", "revision": "0" * 40}, "must be organisation/name"),
        (["checkpoints", "gcn-cora", "score", "metric"], "f1", "score.metric: choose from"),
        (["checkpoints", "gcn-cora", "score", "value"], float("nan"), "must be finite numbers"),
        (["checkpoints", "gcn-cora", "runs", "std"], -1.0, "must be finite numbers"),
        (["checkpoints", "gcn-cora", "task"], "juggling", "task: choose from"),
        (["checkpoints", "gcn-cora", "extra"], 1, "keys missing or unknown: extra"),
    ],
)
def test_a_wrong_entry_is_refused(content: dict[str, Any], path: list[str], value: Any, message: str) -> None:
    table = content
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    with pytest.raises(RegistryError, match=message):
        registry.validate(content, "checkpoints.json")


def test_a_written_registry_reads_the_same(content: dict[str, Any], tmp_path: Path) -> None:
    entries = registry.validate(content, "")
    registry.write(entries, tmp_path / "checkpoints.json")
    assert registry.read(tmp_path / "checkpoints.json") == entries


def test_a_wrong_registry_is_not_written(content: dict[str, Any], tmp_path: Path) -> None:
    (entry,) = registry.validate(content, "").values()
    with pytest.raises(RegistryError):
        registry.write({"gcn-cora": dataclasses.replace(entry, verdict="good")}, tmp_path / "checkpoints.json")
    assert not (tmp_path / "checkpoints.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", '{"schema": 1}'])
def test_a_broken_registry_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "checkpoints.json").write_text(text)
    with pytest.raises(RegistryError, match=r"checkpoints\.json"):
        registry.read(tmp_path / "checkpoints.json")


def test_validation_does_not_change_what_it_reads(content: dict[str, Any]) -> None:
    before = copy.deepcopy(content)
    registry.validate(content, "")
    assert content == before
