"""Pages are made from results, and those that are committed are the ones that would be made now."""

import re
from pathlib import Path
from typing import Any

import pytest

from zoo import registry
from zoo.errors import ZooError
from zoo.report import (
    BEGIN,
    END,
    checkpoint_table,
    difference,
    markdown_table,
    spread,
    table_page,
    write_pages,
)
from zoo.reproduction import Cell, CellResult, Difference, Table, find_table

ROOT = Path(__file__).parent.parent


def test_committed_pages_are_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    written = write_pages(ROOT / "results", tmp_path / "docs", tmp_path / "README.md")
    assert len(written) >= 4
    for path in written:
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), f"{committed}: `zoo report`"


def test_the_guide_to_fine_tuning_quotes_the_generated_numbers() -> None:
    pages = ("fine-tuning.md", "results/transfer.md")
    guide, page = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in pages)
    quoted = re.findall(r"[+−]?[\d.]+ ± [\d.]+ \(\d+\)", guide)
    assert len(quoted) == 18
    for number in quoted:
        assert f"| {number} |" in page


def test_no_page_is_left_over() -> None:
    made = {path.stem for path in (ROOT / "docs" / "results").glob("*.md")}
    assert made == {path.stem for path in (ROOT / "results").glob("*.csv")}


def test_every_checkpoint_has_a_line() -> None:
    lines = checkpoint_table(registry.read().values()).splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == registry.list_checkpoints()


def test_a_readme_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"{BEGIN}\n")
    with pytest.raises(ZooError, match="lacks the lines"):
        write_pages(tmp_path, tmp_path, tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == f"{BEGIN}\n"
    assert END not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("accuracy", None, None), "–"),
        (("accuracy", 80.0, None), "80.00"),
        (("accuracy", 80.004, 0.126), "80.00 ± 0.13"),
        (("accuracy", 80.0, 1.0, 10), "80.00 ± 1.00 (10)"),
        (("nmse", 0.51234, 0.01), "0.5123 ± 0.0100"),
    ],
)
def test_spread(arguments: tuple[Any, ...], text: str) -> None:
    assert spread(*arguments) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (Difference(1.234, 0.5, 10), "+1.23 ± 0.50 (10)"),
        (Difference(-0.04, 0.011, 3), "−0.04 ± 0.01 (3)"),
    ],
)
def test_difference(value: Difference | None, text: str) -> None:
    assert difference("accuracy", value) == text


def test_a_page_of_a_table_with_a_baseline_has_the_differences() -> None:
    recipe = find_table("gcn-csbm").cells[0].recipe
    cells = tuple(Cell(row, "csbm", recipe) for row in ("old", "new"))
    results = [
        CellResult(cell, (), 80.0, 1.0, "no published value", difference=change)
        for cell, change in zip(cells, (None, Difference(1.0, 0.5, 10)), strict=True)
    ]
    page = table_page(Table("mine", "Mine", cells, "old"), results)
    assert "against old (n)" in page and "+1.00 ± 0.50 (10)" in page and "paired t-test" in page
    assert "against" not in table_page(Table("mine", "Mine", cells), results)


def test_a_missing_readme_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"cannot read .*nope\.md"):
        write_pages(tmp_path, tmp_path, tmp_path / "nope.md")


def test_a_bar_does_not_break_a_table() -> None:
    assert markdown_table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"
