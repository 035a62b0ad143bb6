"""The search over validation scores: its grids, what it prints, and what it refuses."""

import dataclasses
import runpy
import statistics
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import zoo
from zoo.training.recipe import find


@pytest.fixture(scope="module")
def search() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "search.py"))


def test_search_covers_the_grid(search: dict[str, Any]) -> None:
    cells = search["cells"]
    assert len({str(cell) for cell in cells("label-sbp", ())}) == 72
    assert list(cells("label-sbp", ("training.lr=0.1,1",))) == [{"training.lr": 0.1}, {"training.lr": 1}]
    assert len(list(cells("gcn", ("model.norm='pairnorm','none'", "training.lr=0.1,1.0")))) == 4


@pytest.mark.parametrize(
    ("tried", "message"),
    [
        ((), "gcn has no grid"),
        (("training.lr",), "is not TABLE.KEY=VALUE"),
        (("lr=0.1",), "is not TABLE.KEY=VALUE"),
        (("training.lr=fast",), "--try training.lr=fast: "),
        (("training.lr=0.1", "training.lr=0.2"), "tried twice"),
    ],
)
def test_search_refuses_what_is_no_grid(search: dict[str, Any], tried: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.ClickException, match=message):
        search["cells"]("gcn", tried)


@pytest.mark.parametrize(("name", "best"), [("gcn-cora", 0.9), ("cna-gcn-chameleon-traffic", 0.1)])
def test_search_tells_the_best_first(
    search: dict[str, Any], name: str, best: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcome(name: str, cell: dict[str, float], seeds: int) -> Any:
        return search["Outcome"](cell, cell["training.lr"], None)

    monkeypatch.setitem(search["search"].__globals__, "outcome", outcome)
    search["search"](name, 1, ("training.lr=0.5,0.1,0.9",), 2)
    _, title, first, second = capsys.readouterr().out.splitlines()
    assert "best 2 of 3" in title
    assert first.endswith(f"lr {best}") and second.endswith("lr 0.5")


def test_search_trains_every_cell_and_goes_on_after_a_bad_one(search: dict[str, Any]) -> None:
    arguments = ["gcn-csbm", "--try", "model.hidden=8,0,4", "--try", "training.epochs=3", "--seeds", "2"]
    result = CliRunner().invoke(search["main"], arguments)
    assert result.exit_code == 0, result.output
    assert "{'model.hidden': 0, 'training.epochs': 3}: " in result.output
    assert "gcn-csbm: mean validation score over 2 seeds, best 2 of 2" in result.output
    recipe = find("gcn-csbm")
    for hidden in (8, 4):
        training = dataclasses.replace(recipe.training, epochs=3)
        changed = dataclasses.replace(recipe, model={**recipe.model, "hidden": hidden}, training=training)
        runs = [zoo.train(changed, seed) for seed in range(2)]
        val, test = (statistics.fmean(getattr(run, part) for run in runs) for part in ("val", "test"))
        assert round(val, 2) not in (round(test, 2), round(runs[0].val, 2))
        assert f"  {val:6.2f}  hidden {hidden}, epochs 3\n" in result.output


def test_search_tells_an_unknown_recipe(search: dict[str, Any]) -> None:
    result = CliRunner().invoke(search["main"], ["gcn-cors", "--try", "training.lr=0.1"])
    assert result.exit_code == 1 and "gcn-cors" in result.output
