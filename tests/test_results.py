"""The lines of results: what is told of a broken one, and that those of the zoo are whole."""

import dataclasses
from pathlib import Path

import pytest
from test_tables import LAYERED, TABLE

from zoo.errors import ZooError
from zoo.reproduction import reproduce
from zoo.results import LayerRow, Row, _read, add_rows, layers_path, list_results, read_layers, read_results
from zoo.tables import Cell, find_table, list_tables


@pytest.mark.parametrize(
    "line",
    [
        "half,a,line",
        "a,b,c,0,accuracy,1,1,1,1,1",
        "a,b,c,x,accuracy,1,1,1,1,1,1,1,1",
        "a,b,c,-1,accuracy,1,1,1,1,1,1,1,1",
        "a,b,c,0,accuracy,one,1,1,1,1,1,1,1",
        "a,b,c,0,accuracy,1,nan,1,1,1,1,1,1",
    ],
)
def test_a_broken_line_of_results_is_named(tmp_path: Path, line: str) -> None:
    reproduce("gcn-csbm", seeds=1, results=tmp_path, runs=tmp_path)
    path = tmp_path / "gcn-csbm.csv"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ZooError, match=r"gcn-csbm\.csv, line 3 is not a run"):
        read_results(path)


def test_a_line_that_stands_there_twice_is_one_run(tmp_path: Path) -> None:
    (alone,) = reproduce("gcn-csbm", seeds=2, results=tmp_path, runs=tmp_path)
    path = tmp_path / "gcn-csbm.csv"
    path.write_text(path.read_text() + path.read_text().split("\n", 1)[1])
    assert reproduce("gcn-csbm", seeds=2, results=tmp_path, runs=tmp_path) == [alone]


def test_a_broken_line_of_layers_is_named(tables: Path, tmp_path: Path) -> None:
    (tables / "layered.toml").write_text(LAYERED)
    for values in ("1.0 two", ""):
        text = f"cell,recipe,digest,seed,measure,values\ngcn/2,gcn-csbm,0,0,mad,{values}\n"
        (tmp_path / "layered-layers.csv").write_text(text)
        with pytest.raises(ZooError, match=r"layered-layers\.csv, line 2 is not a run"):
            read_layers(tmp_path, find_table("layered"))


def test_rows_that_another_process_adds_stay(tables: Path, tmp_path: Path) -> None:
    """Also where it has read another state of the table's file."""
    (tables / "depth.toml").write_text(TABLE)
    reproduce("depth", seeds=1, results=tmp_path, runs=tmp_path)
    before, path = find_table("depth"), tmp_path / "depth.csv"
    (tables / "depth.toml").write_text(TABLE.replace('"deep"]', '"deep", "wide"]'))
    reproduce("depth", cells="gcn/wide", seeds=2, results=tmp_path, runs=tmp_path)
    rows = read_results(path)
    assert [row.cell for row in rows] == ["gcn/shallow", "gcn/deep", "gcn/wide", "gcn/wide"]
    shallow = dataclasses.replace(rows[0], seed=1)
    assert add_rows(path, Row, [shallow], before) == [rows[0], shallow, *rows[1:]]
    changed = dataclasses.replace(shallow, digest="another")
    assert add_rows(path, Row, [changed], before) == [changed, *rows[1:]]


def test_results_are_made_by_the_recipes_as_they_are() -> None:
    results = Path(__file__).parent.parent / "results"
    for name in list_results(results):
        digests = {(cell.name, cell.recipe.digest()) for cell in find_table(name).cells}
        rows = read_results(results / f"{name}.csv")
        assert rows, name
        assert {(row.cell, row.digest) for row in rows} <= digests, name
        assert len({(row.cell, row.seed) for row in rows}) == len(rows), name
        layers = read_layers(results, find_table(name))
        assert layers == _read(layers_path(results, find_table(name)), LayerRow), name


def test_a_cell_has_its_first_seeds_or_tells_why_it_has_none() -> None:
    results = Path(__file__).parent.parent / "results"
    for name in list_tables():
        rows = read_results(results / f"{name}.csv")
        for cell in find_table(name).cells:
            seeds = [row.seed for row in rows if row.cell == cell.name]
            assert seeds or cell.not_run != Cell.not_run, f"{name}: {cell.name}"
            assert seeds == list(range(min(len(seeds), cell.recipe.protocol.seeds))), f"{name}: {cell.name}"
