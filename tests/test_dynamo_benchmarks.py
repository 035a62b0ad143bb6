"""What the commands behind docs/methods/dynamo-gat.md make of results."""

import dataclasses
import runpy
import textwrap
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from test_datasets import needs_data

from zoo.results import Row
from zoo.tables import find_table

ROOT = Path(__file__).parent.parent
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "dynamo.py"))
PAGE = (ROOT / "docs" / "methods" / "dynamo-gat.md").read_text(encoding="utf-8")


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(SCRIPT["main"], arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def write(folder: Path, table: str, epochs: dict[str, list[int]]) -> None:
    """Runs of a table's cells, by the epochs that they have selected."""
    recipes = {cell.name: cell.recipe for cell in find_table(table).cells}
    common: dict[str, Any] = {"metric": "accuracy", "val": 70.0, "test": 70.0, "epochs": 200, "seconds": 1.0}
    common |= {"python": "3.11", "torch": "2", "dgl": "2"}
    rows = [
        Row(cell=name, recipe=recipes[name].name, digest=recipes[name].digest(), seed=seed, epoch=epoch, **common)
        for name, own in epochs.items()
        for seed, epoch in enumerate(own)
    ]
    lines = [dataclasses.asdict(row) for row in rows]
    text = [",".join(lines[0]), *(",".join(map(str, line.values())) for line in lines)]
    (folder / f"{table}.csv").write_text("\n".join(text) + "\n")


def test_prunings_are_counted_up_to_the_selected_epoch(tmp_path: Path) -> None:
    write(tmp_path, "dynamo-table1", {"DYNAMO-GAT/Cora public": [40, 9, 10, 5], "GCN/Cora public": [12]})
    write(tmp_path, "dynamo-table3", {"nothing pruned/Cora public": [30], "sign +/Cora public": [19]})
    lines = printed("prunings", "--results", str(tmp_path)).splitlines()
    assert lines[2:] == [  # neither GCN nor what prunes nothing has a line
        "| dynamo-table1 | DYNAMO-GAT/Cora public | 5, 9, 10, 40 | 0 to 4 | 2 |",
        "| dynamo-table3 | sign +/Cora public | 19 | 1 to 1 | 0 |",
    ]


@needs_data
def test_the_page_has_the_best_depths_of_the_committed_results() -> None:
    lines = printed("table1", "--results", str(ROOT / "results"))
    assert lines.count("\n| C") >= 12
    assert textwrap.indent(lines.strip(), "  ") in PAGE
