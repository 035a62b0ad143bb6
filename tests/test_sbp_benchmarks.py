"""The commands that the page of SBP quotes."""

import runpy
from pathlib import Path
from typing import Any

import click
import pytest
import torch

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def table6() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "sbp_table6.py"))


def test_imbalance_counts_what_the_paper_defines(table6: dict[str, Any]) -> None:
    signed = torch.tensor([[1, 1, 0, -1], [1, 1, 1, 0], [0, 1, 1, -1], [-1, 0, -1, 1]])
    label = torch.tensor([0, 0, 1, 1])
    # P: only nodes 2 and 3, who repel each other. N: 0 has 2, 1 has 2 and 3, 2 has 0 and 1, 3 has 1.
    assert table6["imbalance"](signed, label) == (0.5, 1.5, 1.0)


def test_sid_of_every_method_is_near_the_printed_one(table6: dict[str, Any]) -> None:
    sample = table6["Sample"](0)
    for name, method in table6["METHODS"].items():
        _, _, sid = table6["imbalance"](method(sample), sample.label)
        assert sid == pytest.approx(table6["PUBLISHED"][name][2], abs=1.0), name


@pytest.fixture(scope="module")
def search() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "search.py"))


def test_search_covers_the_grid(search: dict[str, Any]) -> None:
    cells = search["cells"]
    assert len({str(cell) for cell in cells("label-sbp", ())}) == 72
    assert list(cells("label-sbp", ("training.lr=0.1,1",))) == [{"training.lr": 0.1}, {"training.lr": 1}]
    assert len(list(cells("gcn", ("model.norm='pairnorm','none'", "training.lr=0.1,1.0")))) == 4


@pytest.mark.parametrize(
    ("tried", "message"),
    [((), "gcn has no grid"), (("training.lr",), "has no values"), (("training.lr=fast",), "--try training.lr=fast: ")],
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
