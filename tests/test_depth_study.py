"""What the command behind docs/depth-study.md makes of results."""

import dataclasses
import math
import runpy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from zoo.results import LayerRow, Row
from zoo.tables import find_table

ROOT = Path(__file__).parent.parent
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "depth_study.py"))
ROW: dict[str, Any] = {"metric": "accuracy", "epoch": 5, "epochs": 10, "python": "3.11", "torch": "2", "dgl": "2"}


def write(folder: Path, kind: str, rows: Iterable[Any]) -> None:
    lines = [dataclasses.asdict(row) for row in rows]
    text = [",".join(lines[0]), *(",".join(map(str, line.values())) for line in lines)]
    (folder / f"depth-study{kind}.csv").write_text("\n".join(text) + "\n")


def printed(folder: Path, scores: Mapping[str, tuple[float, float, float]]) -> list[list[str]]:
    """What is printed for cells of one run each: its validation score, its test score, and the last layer's μ."""
    recipes = {cell.name: cell.recipe for cell in find_table("depth-study").cells}
    rows, layers = [], []
    for name, (val, test, mu) in scores.items():
        common: dict[str, Any] = {
            "cell": name, "recipe": recipes[name].name, "digest": recipes[name].digest(), "seed": 0
        }
        rows.append(Row(**common, **ROW, val=val, test=test, seconds=5.0))
        for measure, values in (("mu", f"1.0 {mu}"), ("dirichlet-energy", f"1.0 {mu**2}")):
            layers.append(LayerRow(**common, measure=measure, values=values))
    write(folder, "", rows)
    write(folder, "-layers", layers)
    result = CliRunner().invoke(SCRIPT["main"], ["--results", str(folder)])
    assert result.exit_code == 0, result.output
    return [[text.strip() for text in line.split("|")[1:-1]] for line in result.output.splitlines()]


def test_the_best_depth_is_that_of_validation(tmp_path: Path) -> None:
    lines = printed(
        tmp_path,
        {"Cora GCN/2": (80.0, 70.0, 0.1), "Cora GCN/4": (79.0, 90.0, 0.2), "Cora GCN/128": (20.0, 10.0, 0.3)},
    )
    assert lines[2] == ["Cora GCN", "2", "80.00", "70.00 (1)", "0.10", "10.00 (1)", "0.30", "0.5"]


def test_a_method_without_the_largest_depth_is_told_all_the_same(tmp_path: Path) -> None:
    lines = printed(tmp_path, {"Texas GAT/2": (60.0, 50.0, 0.5), "Texas GAT/64": (61.0, 52.0, 0.25)})
    assert lines[2] == ["Texas GAT", "64", "61.00", "52.00 (1)", "0.25", "–", "–", "–"]


def test_correlations_are_of_cells_near_the_best(tmp_path: Path) -> None:
    near = {f"Cora GCN/{depth}": (80.0 - i, 80.0 - i, 0.1 * (i + 1)) for i, depth in enumerate((2, 4, 8, 16, 32))}
    far = {"Cora GAT/64": (65.0, 30.0, 0.05), "Cora GAT/128": (20.0, 20.0, math.nan)}
    lines = printed(tmp_path, {**near, **far})
    found = {line[1]: (line[2], line[3]) for line in lines if line and line[0] == "Cora"}
    assert found["within 10 points"] == ("5", "-1.00")
    assert found["within 20 points"] == ("6", "-0.14")
    assert found["all"] == ("6", "-0.14")  # without the cell whose μ is no number


@pytest.mark.parametrize("cells", [1, 4])
def test_few_cells_have_no_correlation(tmp_path: Path, cells: int) -> None:
    depths = (2, 4, 8, 16)[:cells]
    lines = printed(tmp_path, {f"Cora GCN/{depth}": (80.0, 80.0, 0.1) for depth in depths})
    assert not any(line and line[0] == "Cora" for line in lines)


def test_the_page_has_what_the_committed_results_give() -> None:
    result = CliRunner().invoke(SCRIPT["main"], ["--results", str(ROOT / "results")])
    assert result.exit_code == 0
    page = (ROOT / "docs" / "depth-study.md").read_text(encoding="utf-8")
    assert result.output.count("\n| Cora ") >= 10
    assert result.output.strip() in page
