"""What the commands behind docs/methods/dynamo-gat.md make of results."""

import dataclasses
import runpy
import statistics
import textwrap
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from test_datasets import needs_data

import zoo
from zoo.results import Row, read_layers
from zoo.tables import find_table

ROOT = Path(__file__).parent.parent
SCRIPT = runpy.run_path(str(ROOT / "benchmarks" / "dynamo.py"))
TEXT = (ROOT / "docs" / "methods" / "dynamo-gat.md").read_text(encoding="utf-8")
PAGE = " ".join(TEXT.split())


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
    assert textwrap.indent(lines.strip(), "  ") in TEXT


def test_the_page_tells_how_many_runs_have_not_been_pruned() -> None:
    words = {4: "four", 15: "fifteen"}
    told: dict[str, tuple[int, int]] = {}
    for line in printed("prunings", "--results", str(ROOT / "results")).splitlines()[2:]:
        table, _, epochs, _, without = line.strip("| ").split(" | ")
        runs, none = told.get(table, (0, 0))
        told[table] = runs + len(epochs.split(", ")), none + int(without)
    (first, of_first), (study, of_study) = told["dynamo-table1"], told["depth-study"]
    assert f"Of {first} runs of table 1 {words[of_first]}, and of {study} of the depth study {words[of_study]}," in PAGE


def test_the_page_tells_what_table_5_measures() -> None:
    table = find_table("dynamo-table5")
    last: dict[str, list[dict[str, float]]] = {}
    runs: dict[tuple[str, int], dict[str, float]] = {}
    for row in read_layers(ROOT / "results", table):
        runs.setdefault((row.cell, row.seed), {})[row.measure] = row.numbers[-1]
    for (cell, _), measures in runs.items():
        last.setdefault(cell.removesuffix("/Cora public"), []).append(measures)
    pruned = {name: [run for run in own if run["pruned-share"] > 0] for name, own in last.items()}

    def mean(name: str, measure: str) -> float:
        return statistics.fmean(run[measure] for run in pruned[name])

    for name, share in {"r₀ = 0.3": "{:.1f} % in the mean", "every epoch": "it is {:.1f} %"}.items():
        assert share.format(100 * mean(name, "pruned-share")) in PAGE
    for name, similarities in {
        "r₀ = 0.3": "{:.2f}, of pruned ones {:.2f}", "every epoch": "{:.2f} and {:.2f}", "r₀ = 1": "{:.2f} and {:.2f}"
    }.items():
        assert similarities.format(mean(name, "kept-similarity"), mean(name, "pruned-similarity")) in PAGE
    shares = {name: sorted(round(100 * run["pruned-share"], 1) for run in own) for name, own in pruned.items()}
    assert "({} to {})".format(shares["every epoch"][0], shares["every epoch"][-1]) in PAGE
    assert "{} to {} % in four runs".format(shares["r₀ = 1"][0], shares["r₀ = 1"][-1]) in PAGE
    assert (len(shares["r₀ = 1"]), len(last["r₀ = 1"]), len(last["full"])) == (4, 5, 5)
    assert f"the fifth {shares['full'][0]} % of its last" in PAGE and len(shares["full"]) == 1
    assert "one of five models has lost {} % and the others 0 to {} %".format(*shares["sign +"][:1:-1]) in PAGE
    minus = [run for name in ("full", "r₀ = 0.3", "every epoch", "r₀ = 1", "not gradual") for run in pruned[name]]
    everywhere = [run for name, own in pruned.items() if not name.startswith("sign +") for run in own]
    assert all(run["kept-similarity"] > run["pruned-similarity"] for run in everywhere)
    assert f"in each of the {len(minus)} runs on Cora's `public` that have lost any" in PAGE


@needs_data
def test_the_page_tells_what_the_checkpoints_have_lost() -> None:
    lost = {}
    for name in ("dynamo-gat-cora", "dynamo-gat-cora-128", "dynamo-gat-cornell", "dynamo-gat-cornell-128"):
        model: Any = zoo.load(name)
        about = zoo.info(name)
        graph = zoo.datasets.load(about.dataset, split=about.split, seed=about.score.seed)
        edges = model.pruned_edges(model.prepare(graph))
        lost[name] = max(layer.pruned_share for layer in edges), edges[-1].pruned_share, int(model.pruning.passes)
    (shallow, _, first), (deep, _, second) = lost["dynamo-gat-cornell"], lost["dynamo-gat-cornell-128"]
    assert (shallow, deep) == (0, 0)
    assert f"`dynamo-gat-cornell` is selected at epoch {first}, `dynamo-gat-cornell-128` at epoch {second}." in PAGE
    assert lost["dynamo-gat-cora"][0] == 0 and "`dynamo-gat-cora` has lost no edge" in PAGE
    assert f"`dynamo-gat-cora-128` {100 * lost['dynamo-gat-cora-128'][1]:.1f} % of its last layer's" in PAGE
