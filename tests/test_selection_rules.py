"""What other rules would have selected, from the logs of finished runs."""

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from zoo.reproduction import reproduce

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "selection_rules.py"))


def log(*, val: list[float], val_loss: list[float]) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "val": score, "val_loss": loss}
        for epoch, (score, loss) in enumerate(zip(val, val_loss, strict=True), start=1)
    ]


def test_the_gat_authors_take_the_last_epoch_at_which_neither_had_been_better() -> None:
    lines = log(val=[50, 60, 60, 70, 65], val_loss=[1.0, 0.8, 0.8, 0.9, 0.7])
    assert SCRIPT["both_at_their_best"](lines)["epoch"] == 3


def test_the_gcn_authors_take_the_epoch_whose_loss_first_exceeds_the_mean_of_ten() -> None:
    falling = [2.0 - 0.1 * i for i in range(14)]
    lines = log(val=[0.0] * 16, val_loss=[*falling, 1.5, 0.1])
    assert SCRIPT["ten_epochs_mean"](lines)["epoch"] == 15
    assert SCRIPT["ten_epochs_mean"](lines[:14])["epoch"] == 14  # never: the last


def test_the_gprgnn_authors_take_the_lowest_loss_until_it_exceeds_the_mean_of_200() -> None:
    losses = [3.0 - 0.01 * i for i in range(201)]
    lines = log(val=[0.0] * 203, val_loss=[*losses, 2.9, 0.1])
    assert SCRIPT["best_loss_until_stopped"](lines)["epoch"] == 201


def test_runs_that_are_not_finished_are_told(tmp_path: Path) -> None:
    arguments = ["gcn-csbm", "--runs", str(tmp_path)]
    result = CliRunner().invoke(SCRIPT["main"], arguments)
    assert result.exit_code == 1
    assert "has no finished run" in result.output
    assert "zoo reproduce TABLE --cells CELL --results anew" in result.output
    result = CliRunner().invoke(SCRIPT["main"], ["no-such-recipe"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: no recipe 'no-such-recipe'")
    assert "reproduce TABLE" not in result.output


def test_every_rule_has_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = SCRIPT["main"].callback.__globals__["find"]

    def with_two_seeds(name: str) -> Any:
        recipe = find(name)
        return dataclasses.replace(recipe, protocol=dataclasses.replace(recipe.protocol, seeds=2))

    (measured,) = reproduce("gcn-csbm", seeds=2, results=tmp_path, runs=tmp_path)
    monkeypatch.setitem(SCRIPT["main"].callback.__globals__, "find", with_two_seeds)
    result = CliRunner().invoke(SCRIPT["main"], ["gcn-csbm", "--runs", str(tmp_path)])
    assert result.exit_code == 0, result.output
    lines = {line[:22].strip(): line for line in result.output.splitlines()}
    assert lines.keys() == {"best-val", "best-val-loss", "best-test", "last", *SCRIPT["AUTHORS_RULES"]}
    assert f"{measured.mean:.2f} ± {measured.std:.2f}" in lines["best-val"]
