"""Pages are made from results, and those that are committed are the ones that would be made now."""

import dataclasses
import math
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from zoo import registry
from zoo.errors import ZooError
from zoo.formats import difference, markdown_table, spread
from zoo.plots import STYLES, Axis, draw, has_plot, numeric
from zoo.registry import Published
from zoo.report import (
    BEGIN,
    END,
    checkpoint_table,
    last_layers,
    layer_means,
    results_page,
    summaries,
    table_page,
    write_pages,
    write_plots,
)
from zoo.reproduction import reproduce
from zoo.results import LayerRow, Row, add_rows, list_results, read_layers, read_results
from zoo.tables import Cell, Table, find_table, list_tables
from zoo.verdicts import CellResult, Difference

ROOT = Path(__file__).parent.parent


def test_committed_pages_are_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    written = write_pages(ROOT / "results", tmp_path / "docs", tmp_path / "README.md")
    assert len(written) >= 4
    for path in written:
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), f"{committed}: `zoo report`"


def test_results_of_ones_own_table_are_passed_over(tmp_path: Path) -> None:
    results = tmp_path / "results"
    reproduce("gcn-csbm", seeds=1, results=results, runs=tmp_path)
    (results / "mine.csv").write_text((results / "gcn-csbm.csv").read_text())
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    names = {path.stem for path in (*write_pages(results, tmp_path, readme), *write_plots(results, tmp_path))}
    assert "gcn-csbm" in names
    assert "mine" not in names


def test_the_guide_to_fine_tuning_quotes_the_generated_numbers() -> None:
    pages = ("fine-tuning.md", "results/transfer.md")
    guide, page = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in pages)
    quoted = re.findall(r"[+−]?[\d.]+ ± [\d.]+ \(\d+\)", guide)
    assert len(quoted) == 18
    for number in quoted:
        assert f"| {number} |" in page


def test_the_page_on_cna_quotes_the_results() -> None:
    text = " ".join((ROOT / "docs" / "methods" / "cna.md").read_text(encoding="utf-8").split())
    table = find_table("cna-table1")
    results = {result.cell.name: result for result in summaries(table, read_results(ROOT / "results/cna-table1.csv"))}
    usual = {row: f"{results[f'{row}/standard split, best validation'].mean or 0:.0f}" for row in table.rows}
    cora = sorted(mean for row, mean in usual.items() if row.startswith("Cora, "))
    rows = ("CiteSeer", "Computers", "Chameleon", "Photo", "Squirrel", "Wisconsin")
    others = ", ".join(f"{usual[row]} on {row}" for row in rows)
    assert f"{cora[0]} to {cora[-1]} on Cora, {others}." in text
    weak = {row: results[f"{row}/authors' split, best test"].verdict for row in table.rows}
    missed = [row for row, verdict in weak.items() if verdict in ("close", "higher", "lower")]
    assert f"every published value is reproduced but that of {' and '.join(missed)} (" in text


def test_the_page_on_cna_has_the_published_energies_of_the_tables_cells() -> None:
    page = (ROOT / "docs" / "methods" / "cna.md").read_text(encoding="utf-8")
    table = find_table("cna-fig4")
    _, _, section = page.partition("## Dirichlet energies of figure 4")
    grid = [line.strip("| ").split(" | ") for line in section.partition("\n## ")[0].splitlines() if line[:1] == "|"]
    assert grid[0] == table.columns and [row for row, *_ in grid[2:]] == table.rows
    ours = last_layers(layer_means(table, read_layers(ROOT / "results", table)))["dirichlet-energy"]
    (factor,) = map(float, re.findall(r"ours of CNA are within a\s+factor\s+of (\d\.\d)", section))
    for row, *values in grid[2:]:
        for depth, value in zip(("2", "4"), values, strict=False):
            if " CNA " in row:
                assert 1 / factor < ours[f"{row}/{depth}"] / float(value) < factor, (row, depth)


def test_no_page_is_left_over() -> None:
    made = {path.stem for path in (ROOT / "docs" / "results").glob("*.md")}
    assert made == {"README", *list_tables(), *list_results(ROOT / "results")}


def test_the_list_of_results_counts_verdicts(tables: Path) -> None:
    table = deep(tables)
    published = dataclasses.replace(table.cells[0].recipe, published=Published(value=86.0, source="a paper"))
    cells = (dataclasses.replace(table.cells[0], recipe=published), *table.cells[1:])
    table = dataclasses.replace(table, cells=cells)
    rows = [row(cells[0], 0, 85.0), *(row(cells[1], seed, 85.0) for seed in range(cells[1].recipe.protocol.seeds))]
    line, total = results_page([(table, summaries(table, rows))]).splitlines()[-2:]
    assert line == "| [Depth](deep.md) | 12 | 0 | 1 | 0 | 0 | 10 | 1 | 1 |"  # of all cells, two have runs, one has all
    assert total == "| **all** | **12** | **0** | **1** | **0** | **0** | **10** | **1** | **1** |"


@pytest.mark.parametrize("name", list_results(ROOT / "results"))
def test_what_is_not_reproduced_has_a_diagnosis(name: str) -> None:
    for result in summaries(find_table(name), read_results(ROOT / "results" / f"{name}.csv")):
        assert result.verdict in ("reproduced", "no published value") or result.reason, result.cell.name


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "methods").glob("*.md")), ids=lambda page: page.stem)
def test_scores_with_a_deviation_on_a_methods_page_stand_on_a_page_of_results(page: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "results").glob("*.md")]
    scores = re.compile(r"\d+\.\d\d ± \d+\.\d\d")
    known = {score for text in texts for score in scores.findall(text)}
    told = set(scores.findall(" ".join(page.read_text(encoding="utf-8").split())))
    assert told <= known, told - known


def test_the_page_on_cna_counts_the_runs_that_were_cut_short() -> None:
    page = " ".join((ROOT / "docs" / "methods" / "cna.md").read_text(encoding="utf-8").split())
    deep = [run for run in read_results(ROOT / "results" / "cna-depth.csv") if " CNA " in run.cell]
    for depths, sentence in {
        ("32", "64"): "of the {runs} runs with CNA at 32 and 64 layers {whole} have all 200 epochs, and {late} select",
        ("4", "8", "16"): "at 4 to 16 layers it is {whole} and {late} of {runs}",
    }.items():
        runs = [run for run in deep if run.cell.split("/")[1] in depths]
        counts = {"whole": sum(run.epochs == 200 for run in runs), "late": sum(run.epoch >= 180 for run in runs)}
        assert sentence.format(runs=len(runs), **counts) in page
    enzymes = [run for run in read_results(ROOT / "results" / "cna-graphs.csv") if "ENZYMES" in run.cell]
    relu, cna = ([run for run in enzymes if run.cell.startswith(row)] for row in ("ReLU", "CNA"))
    whole = [sum(run.epochs == 100 for run in runs) for runs in (relu, cna)]
    late = [sum(run.epoch >= 90 for run in runs) for runs in (relu, cna)]
    told = f"{whole[0]} of {len(relu)} runs with ReLU and {whole[1]} of {len(cna)} with CNA have all 100 epochs"
    assert f"{told}, and {late[0]} and {late[1]} select one of the last eleven" in page


def test_what_diagnoses_say_of_ten_splits_is_so() -> None:
    table = find_table("sbp-table2")
    told = []
    for result in summaries(table, read_results(ROOT / "results" / "sbp-table2.csv")):
        if found := re.search(r"Our ten splits have ([\d.]+) to ([\d.]+);", result.reason):
            scores, printed = [f"{run.test:.2f}" for run in result.rows], result.cell.recipe.published
            assert found.groups() == (min(scores), max(scores)), result.cell.name
            assert printed is not None
            has = f"{printed.value:.2f}" in scores
            assert ("none of ours has what is printed" in result.reason) is not has, result.cell.name
            told.append(has)
    assert set(told) == {True, False}


def test_every_table_says_what_was_not_run() -> None:
    table = find_table("sbp-table15")
    page = table_page(table, summaries(table, []))
    published = table.cells[0].recipe.published
    assert published is not None and f"{published.value:.2f}" in page
    assert "not at hand" in page
    assert "Runs so far" not in page


def test_a_page_tells_how_many_runs_are_missing(tables: Path) -> None:
    table = deep(tables)
    first = table.cells[0]
    page = table_page(table, summaries(table, [row(first, seed, 85.0) for seed in range(3)]))
    assert f"- **{first.name}.** Runs so far: 3 of {first.recipe.protocol.seeds}." in page


def test_every_checkpoint_has_a_line() -> None:
    lines = checkpoint_table(registry.read().values()).splitlines()[2:]
    assert [line.split("`")[1] for line in lines] == registry.list_checkpoints()


@pytest.mark.parametrize("text", [f"{BEGIN}\n".encode(), f"{END}\n{BEGIN}\n".encode(), b"\xff"])
def test_a_readme_without_the_marks_is_told_before_anything_is_written(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(text)
    with pytest.raises(ZooError, match=r"lacks the lines|cannot read"):
        write_pages(tmp_path, tmp_path, tmp_path / "README.md")
    assert (tmp_path / "README.md").read_bytes() == text
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"], "nor is anything else written"


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


def deep(tables: Path, **options: Any) -> Table:
    """A table of two data sets' two activations over three depths."""
    text = """
title = "Depth"
base = "gcn-csbm"
rows = ["A new gcn", "A old gcn", "B new gcn", "B old gcn"]
columns = ["2", "4", "8"]
[column]
2.model.num_layers = 2
4.model.num_layers = 4
8.model.num_layers = 8
[row."B old gcn"]
note = "B is old."
"""
    (tables / "deep.toml").write_text("".join(f"{key} = {value}\n" for key, value in options.items()) + text)
    return find_table("deep")


def row(cell: Cell, seed: int, test: float) -> Row:
    common: Any = {"metric": "accuracy", "val": test - 1, "epoch": 1, "epochs": 2, "seconds": 1.0}
    common |= {"python": "", "torch": "", "dgl": ""}
    digest = cell.recipe.digest()
    return Row(cell=cell.name, recipe=cell.recipe.name, digest=digest, seed=seed, test=test, **common)


def layers(cell: Cell, seed: int, values: str, measure: str = "dirichlet-energy") -> LayerRow:
    digest = cell.recipe.digest()
    return LayerRow(
        cell=cell.name, recipe=cell.recipe.name, digest=digest, seed=seed, measure=measure, values=values
    )


def test_numbers_in_columns_give_grids_and_a_plot(tables: Path) -> None:
    table = deep(tables, layers='"dirichlet-energy"', not_run='"too deep"', baseline='"A old gcn"')
    cells = {cell.name: cell for cell in table.cells}
    published = Published(value=90.0, source="a paper")
    recipe = cells["A new gcn/2"].recipe
    protocol = dataclasses.replace(recipe.protocol, seeds=2)
    cell = dataclasses.replace(
        cells["A new gcn/2"], recipe=dataclasses.replace(recipe, published=published, protocol=protocol)
    )
    table = dataclasses.replace(table, cells=(cell, *table.cells[1:]))
    rows = [row(cell, 0, 85.0), row(cell, 1, 87.0)]
    rows += [row(cells["A old gcn/2"], seed, 80.0 + seed) for seed in range(2)]
    page = table_page(table, summaries(table, rows), [layers(cell, 0, "7 1"), layers(cell, 1, "8 3")])
    assert "![Depth](deep.svg)" in page
    assert "| A new gcn | 86.00 ± 1.41 r | – | – |" in page
    (alone,) = (result for result in summaries(table, rows[1:]) if result.cell is cell)
    assert alone.verdict == "lower", "of two seeds one is missing: the distance alone counts"
    assert "| A new gcn | 85.00 | – | – |" in page, "validation"
    assert "| A new gcn | 90.00 | – | – |" in page, "published"
    assert "| A new gcn | +5.50 ± 6.35 (2) | – | – |" in page
    assert "| A new gcn | 2 | – | – |" in page, "the mean of the last layers"
    assert "- **B old gcn.** B is old." in page
    assert "Runs of a cell: 2." in page
    assert "too deep" in page
    assert "Seconds per epoch" not in page


def test_a_page_tells_every_measure_and_on_request_the_time(tables: Path) -> None:
    table = deep(tables, layers='["dirichlet-energy", "mu"]', timed="true")
    first, second, *_ = table.cells
    rows = [row(first, 0, 85.0), row(second, 0, 85.0)]
    measured = [layers(first, 0, "7 1", "mu"), layers(first, 1, "7 2", "mu"), layers(second, 0, "8 3")]
    grids = table_page(table, summaries(table, rows), measured)
    for title, line in {"Mean dirichlet-energy of the last hidden layer": "| – | 3 | – |",
                        "Mean mu of the last hidden layer": "| 1.5 | – | – |",
                        "Seconds per epoch": "| 0.5 | 0.5 | – |"}.items():
        (part,) = (part for part in grids.split("## ") if part.startswith(title))
        assert f"| A new gcn {line}" in part
    cells = [dataclasses.replace(cell, column=f"depth {cell.column} of it") for cell in table.cells]
    table = dataclasses.replace(table, cells=tuple(cells))
    measured = [dataclasses.replace(line, cell=line.cell + " of it") for line in measured]
    measured = [dataclasses.replace(line, cell=line.cell.replace("/", "/depth ")) for line in measured]
    page = table_page(table, summaries(table, []), measured)
    assert "| verdict | dirichlet-energy, last layer | mu, last layer | recipe |" in page
    assert "| not run | – | 1.5 | `gcn-csbm` |" in page and "| not run | 3 | – | `gcn-csbm` |" in page


def profiled(tables: Path) -> Table:
    """A table of two rows on three data sets that shows a measure by layer."""
    (tables / "profiled.toml").write_text("""
title = "Energy"
base = "gcn-csbm"
rows = ["ours", "theirs"]
columns = ["here", "there", "nowhere"]
layers = "dirichlet-energy"
by_layer = true
[row.theirs]
model.hidden = 4
""")
    return find_table("profiled")


def test_a_run_without_a_value_does_not_count_in_that_layer(tables: Path) -> None:
    table = deep(tables, layers='"pruned-similarity"')
    first, second = table.cells[:2]
    rows = [
        layers(first, 0, "0.5 nan 3", "pruned-similarity"),
        layers(first, 1, "0.7 0.2 5", "pruned-similarity"),
        layers(second, 0, "nan", "pruned-similarity"),
    ]
    means = layer_means(table, rows)["pruned-similarity"]
    assert means[first.name] == pytest.approx([0.6, 0.2, 4])
    assert math.isnan(means[second.name][0])
    page = table_page(table, summaries(table, [row(first, 0, 85.0), row(second, 0, 85.0)]), rows)
    assert "The last layer's" not in page  # no cell has runs with a value and runs without
    more = [*rows, layers(second, 1, "0.1", "pruned-similarity")]
    told = f"- **{second.name}.** The last layer's pruned-similarity is the mean of 1 of 2 runs; the others have none."
    assert told in table_page(table, summaries(table, []), more)
    assert "| A new gcn | 4 | – | – |" in page


def test_a_page_shows_measures_by_layer(tables: Path) -> None:
    table = profiled(tables)
    cells = {cell.name: cell for cell in table.cells}
    measured = [layers(cells["ours/here"], seed, values) for seed, values in enumerate(("8 4 2", "4 2 1"))]
    page = table_page(table, [], [*measured, layers(cells["theirs/there"], 0, "5 0.25")])
    here = """\
## Mean dirichlet-energy by layer, here

|  | 1 | 2 | 3 |
| --- | --- | --- | --- |
| ours | 6 | 3 | 1.5 |
| theirs | – | – | – |
"""
    assert here in page
    assert "by layer, there\n\n|  | 1 | 2 |\n| --- | --- | --- |\n| ours | – | – |\n| theirs | 5 | 0.25 |\n" in page
    assert "by layer, nowhere" not in page
    assert "![Energy](profiled.svg)" in page
    assert "by layer" not in table_page(dataclasses.replace(table, by_layer=False), [], measured)


@pytest.mark.parametrize(
    ("names", "axis"),
    [
        (["2", "4", "8"], Axis("", (2.0, 4.0, 8.0))),
        (["hidden 20", "hidden 40", "hidden 0.5"], Axis("hidden", (20.0, 40.0, 0.5))),
        (["2", "4"], None),
        (["2", "4", "deep"], None),
        (["K 1", "K 2", "L 3"], None),
        (["nci1", "nci109", "nci1000"], None),
    ],
)
def test_numeric(names: list[str], axis: Axis | None) -> None:
    assert numeric(names) == axis


def drawn(table: Table, folder: Path) -> str:
    rows = [row(cell, seed, 80.0 + seed) for cell in table.cells[:-1] for seed in range(2)]
    add_rows(folder / f"{table.name}.csv", Row, rows, table)
    if table.layers:
        measured = [layers(cell, 0, "1 100", measure) for measure in table.layers for cell in table.cells[1:]]
        add_rows(folder / f"{table.name}-layers.csv", LayerRow, measured, table)
    (picture,) = write_plots(folder, folder)
    content = picture.read_bytes()
    write_plots(folder, folder)
    assert picture.read_bytes() == content, "the same bytes each time"
    return content.decode()


def texts(picture: str) -> list[str]:
    """Words in an SVG, also of numbers that are set as formulas."""
    root = ElementTree.fromstring(picture)
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_plot_has_a_panel_for_each_choice_of_words(tables: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot`")
    words = texts(drawn(deep(tables, layers='["dirichlet-energy", "mu"]', panel="[1, 3]"), tmp_path))
    assert [words.count(word) for word in ("A gcn", "B gcn", "new", "old")] == [1, 1, 1, 1]
    measures = ("test accuracy", "dirichlet-energy, last layer", "mu, last layer")
    assert [words.count(word) for word in measures] == [2, 2, 2]


def test_a_panel_without_runs_is_not_drawn(tables: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot`")
    table, path = deep(tables, panel="[1, 3]"), tmp_path / "plot.svg"
    results = [CellResult(c, (), 80.0 if c.row.startswith("A") else None, None, "") for c in table.cells]
    draw(table, results, {}, path)
    words = texts(path.read_text())
    assert [words.count(word) for word in ("A gcn", "B gcn")] == [1, 0]


def test_measures_by_layer_are_drawn_with_a_maximum_of_1(tables: Path, tmp_path: Path) -> None:
    figures = pytest.importorskip("matplotlib.figure", reason="the extra `plot`")
    table, path, figure = profiled(tables), tmp_path / "plot.svg", figures.Figure(layout="constrained")
    means = {"ours/here": [math.nan, 8.0, 4.0], "theirs/here": [0.0, 0.0], "theirs/there": [5.0]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure", lambda **_: figure)
        draw(table, [], {"dirichlet-energy": means}, path)
    lines = {
        axes.get_title(): [(list(line.get_xdata()), list(map(str, line.get_ydata()))) for line in axes.lines]
        for axes in figure.axes
    }
    assert lines == {
        "here": [([1, 2, 3], ["nan", "1.0", "0.5"]), ([1, 2], ["0.0", "0.0"])],
        "there": [([], []), ([1], ["1.0"])],
    }
    words = texts(path.read_text())
    assert [words.count(word) for word in ("layer", "dirichlet-energy, maximum 1", "ours", "theirs")] == [2, 2, 1, 1]


def test_measures_by_layer_are_drawn_from_results(tables: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot`")
    assert {"here", "there", "nowhere", "ours", "theirs"} <= set(texts(drawn(profiled(tables), tmp_path)))


def test_many_lines_differ_in_more_than_color() -> None:
    assert len(set(STYLES)) == len(STYLES) >= 13


def test_a_plot_without_panels_has_a_line_for_each_row(tables: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot`")
    words = texts(drawn(deep(tables), tmp_path))
    assert [words.count(word) for word in ("A new gcn", "B old gcn", "test accuracy")] == [1, 1, 1]


def test_numbers_in_rows_and_columns_give_a_map(tables: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot`")
    table = deep(tables)
    names = {row: f"hidden {i}" for i, row in enumerate(table.rows)}
    cells = tuple(dataclasses.replace(cell, row=names[cell.row]) for cell in table.cells)
    path = tmp_path / "map.svg"
    draw(dataclasses.replace(table, cells=cells), [CellResult(c, (), 80.0, None, "") for c in cells], {}, path)
    assert {"hidden", "0", "3", "2", "8", "test accuracy"} <= set(texts(path.read_text()))


def test_drawing_without_matplotlib_is_one_clear_error(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ZooError, match=r"deep\.svg takes matplotlib: pip install 'dgl-zoo\[plot\]'"):
        drawn(deep(tables), tmp_path)


def test_every_plot_is_there_and_none_is_left_over() -> None:
    tables = [find_table(name) for name in list_results(ROOT / "results")]
    made = {path.stem for path in (ROOT / "docs" / "results").glob("*.svg")}
    assert made == {table.name for table in tables if has_plot(table)}


def test_remarks_name_whole_rows_and_columns(tables: Path) -> None:
    deep(tables, not_run='"none"')
    text = (tables / "deep.toml").read_text()
    (tables / "deep.toml").write_text(text.replace("4.model", '4.diagnosis = "Four."\n4.note = "Four?"\n4.model'))
    table = find_table("deep")
    page = table_page(table, summaries(table, []))
    assert "- **All.** none" in page
    assert "- **4.** Four?" in page
    assert "- **B old gcn.** B is old." not in page, "the column overrides the row"
    assert "- **B old gcn/2; B old gcn/8.** B is old." in page


def test_a_missing_readme_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"cannot read .*nope\.md"):
        write_pages(tmp_path, tmp_path, tmp_path / "nope.md")


def test_a_bar_does_not_break_a_table() -> None:
    assert markdown_table(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"
