"""From results to Markdown: `zoo report` makes result pages and plots, the lists of data sets and of checkpoints."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from zoo import registry
from zoo._files import write_text
from zoo.datasets.catalog import info, list_datasets
from zoo.errors import ZooError
from zoo.formats import CHECKPOINT_HEADER, checkpoint_rows, difference, markdown_table, published, spread
from zoo.plots import LayerMeans, draw, has_plot, numeric
from zoo.registry import VERDICTS, Checkpoint
from zoo.results import LayerRow, Row, list_results, read_layers, read_results
from zoo.tables import Cell, Table, find_table, list_tables
from zoo.training.recipe import list_recipes
from zoo.verdicts import CellResult, summarise

__all__ = [
    "checkpoint_table",
    "last_layers",
    "layer_means",
    "results_page",
    "summaries",
    "table_page",
    "write_pages",
    "write_plots",
]

BEGIN, END = "<!-- checkpoints: made by `zoo report` -->", "<!-- end of checkpoints -->"

HOW_TO_READ = """\
Mean ± unbiased standard deviation over n seeds, beside the published number, and a verdict: **reproduced** (the
published value lies in our 95 % confidence interval, or Welch's test from the summaries gives p ≥ 0.05, or they differ
by at most 0.5 point), **close** (at most 2 points), **higher**, **lower**, or **not run**. While runs are missing, only
the distance counts. Where a paper does not say over how many runs its deviation is, ten are assumed. *Validation* is
the mean score by which epochs are selected. Nothing was tuned on test scores, unless a remark says so; only what is
called *best test* selects an epoch by them."""

VERDICTS_IN_GRIDS = "Behind a score: r reproduced, c close, h higher, l lower; nothing where nothing was published."

HOW_TO_COMPARE = """\
*Against {baseline}*: the mean difference from the row *{baseline}* of the same column, seed by seed on the same splits,
± half its 95 % interval (paired t-test, without a correction for the number of rows). An interval that holds 0 does not
show a difference, which is not to say that there is none."""

ABOUT_RESULTS = """\
How many cells of each table have which verdict; every page says what a verdict means, and why a cell is not reproduced
or was not run. *With runs missing* are cells that have some of their runs, but not all; they are counted under their
verdict, too. Measures other than scores, such as μ and energies, have no verdicts; remarks say what is printed.
`zoo reproduce TABLE` runs what is missing. SBP's table 6, which measures graphs and no trained model, is on [its
page](../methods/sbp.md#what-came-out)."""

ABOUT_DATASETS = """\
`zoo.datasets.load(name, split=…, seed=…)`. Files are looked for in `$ZOO_DATA`, then in the user's cache, then fetched
from their public origin; each is checked against its sha256 on every load (but those of `cora-full`, `genius`,
`ogbn-arxiv`, `arxiv-year`, `ogbn-proteins` and `ogbn-products`, which nobody has recorded). *Edges*: distinct
undirected edges without self-loops, for a directed set its arcs. One class: regression; in a multilabel set a node can
be of any number of them. Every set has `random-a-b-c` and `index-a-b-c` splits too, and those with one class an item
`class-a-b-c`, `balanced-a-b-c` (per cent of train, validation, test) and `few-k-v` (number of every class);
`zoo.datasets.splits` defines them. `align=…` puts the features in the columns of another set
(`zoo.datasets.alignment`).

`syn-cora-hH-dD` are graphs of controlled homophily and degree, drawn by the seed: a share H of the edges joins nodes of
one class, from 0.0 to 1.0 in tenths, and a node has 11.93 (d12), 36.14 (d36) or 68.75 (d69) neighbours in the mean.
Nodes attach to earlier ones by class and degree, in the manner of H2GCN's Syn-Cora, and have the features of Cora's
nodes, so Cora's files are needed. Equal seeds have equal features and labels at every H and D. For other values:
`zoo.datasets.synthetic.syn_cora(homophily, degree, generator=…)`."""


def checkpoint_table(entries: Iterable[Checkpoint]) -> str:
    """The registry as a Markdown table."""
    rows = [[f"`{name}`", *cells] for name, *cells in checkpoint_rows(entries)]
    return markdown_table(CHECKPOINT_HEADER, rows)


def table_page(table: Table, results: list[CellResult], layers: Iterable[LayerRow] = ()) -> str:
    """A page with a table's cells, their notes and diagnoses, and the command that makes them.

    A table whose columns are numbers is printed as grids; any other has a line per cell. The plot, if it has one,
    stands above, measures by layer below.

    Args:
        table: The table.
        results: A result for each of its cells.
        layers: What has been measured of its runs' layers.
    """
    layers = list(layers)
    remarks: dict[str, list[Cell]] = {}  # several cells can share a recipe's
    for result in results:
        texts = (result.cell.recipe.note, result.reason, _missing_runs(result), *_missing_values(result.cell, layers))
        for text in filter(None, texts):
            remarks.setdefault(text, []).append(result.cell)
    lines = [f"- **{_places(table, cells)}.** {text}" for text, cells in remarks.items()]
    sources = {result.cell.recipe.published.source for result in results if result.cell.recipe.published}
    means = layer_means(table, layers)
    drawable = any(result.rows for result in results) or any(means.values())
    parts = [
        f"# {table.title}",
        f"Made by `zoo reproduce {table.name}` from `results/{table.name}.csv`, where every run stands.",
        HOW_TO_READ,
        HOW_TO_COMPARE.format(baseline=table.baseline) if table.baseline is not None else "",
        f"![{table.title}]({table.name}.svg)" if has_plot(table) and drawable else "",
        _grids(table, results, means) if numeric(table.columns) else _cell_list(table, results, means),
        _by_layer(table, means) if table.by_layer else "",
        "## Remarks\n\n" + "\n".join(lines) if lines else "",
        "## Published numbers\n\n" + "\n".join(f"- {source}" for source in sorted(sources)) if sources else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _missing_runs(result: CellResult) -> str:
    """How many of its runs a cell has, where that is some but not all."""
    made, wanted = len(result.rows), result.cell.recipe.protocol.seeds
    return f"Runs so far: {made} of {wanted}." if 0 < made < wanted else ""


def _missing_values(cell: Cell, layers: Iterable[LayerRow]) -> Iterator[str]:
    """Which measures the last layer of some, but not all of a cell's runs has no value of."""
    last: dict[str, list[float]] = {}
    for row in layers:
        if row.cell == cell.name:
            last.setdefault(row.measure, []).append(row.numbers[-1])
    for measure, values in last.items():
        present = sum(not math.isnan(value) for value in values)
        if 0 < present < len(values):
            yield f"The last layer's {measure} is the mean of {present} of {len(values)} runs; the others have none."


def _places(table: Table, cells: list[Cell]) -> str:
    """The names of cells; where they are all of a table, a column or a row, its name."""
    if len(cells) == len(table.cells) > 1:
        return "All"
    left, names = [cell.name for cell in cells], []
    columns = [(column, [f"{row}/{column}" for row in table.rows]) for column in table.columns]
    rows = [(row, [f"{row}/{column}" for column in table.columns]) for row in table.rows]
    for name, line in columns + rows:
        if len(line) > 1 and set(line) <= set(left):
            names.append(name)
            left = [cell for cell in left if cell not in line]
    return "; ".join(names + left)


def _grids(table: Table, results: list[CellResult], layers: LayerMeans) -> str:
    """Grids: scores, differences, published values, measures of the last layers, times."""
    metric = results[0].cell.recipe.protocol.metric
    runs = sorted({len(result.rows) for result in results if result.rows})
    parts = [
        f"## Measured\n\nRuns of a cell: {' or '.join(map(str, runs)) or 'none'}. {VERDICTS_IN_GRIDS}",
        _grid(table, {result.cell.name: _graded(result) for result in results}),
        "## Validation",
        _grid(table, {result.cell.name: spread(metric, result.val, None) for result in results}),
    ]
    if table.baseline is not None:
        differences = {result.cell.name: difference(metric, result.difference) for result in results}
        parts += [f"## Against {table.baseline} (n)", _grid(table, differences)]
    if any(result.cell.recipe.published for result in results):
        values = {result.cell.name: published(metric, result.cell.recipe.published) for result in results}
        parts += ["## Published", _grid(table, values)]
    for measure, means in last_layers(layers).items():
        texts = {name: _measured(mean) for name, mean in means.items()}
        parts += [f"## Mean {measure} of the last hidden layer", _grid(table, texts)]
    if table.timed:
        seconds = {result.cell.name: result.seconds_per_epoch for result in results}
        times = {name: f"{value:.2g}" for name, value in seconds.items() if value is not None}
        parts += ["## Seconds per epoch", _grid(table, times)]
    return "\n\n".join(parts)


def _grid(table: Table, texts: Mapping[str, str]) -> str:
    """Rows by columns, with a text for each cell's name."""
    rows = [[row, *(texts.get(f"{row}/{column}", "–") for column in table.columns)] for row in table.rows]
    return markdown_table(["", *table.columns], rows)


def _graded(result: CellResult) -> str:
    """A cell's score with its verdict's first letter."""
    letter = result.verdict[0] if result.verdict in ("reproduced", "close", "higher", "lower") else ""
    return f"{spread(result.cell.recipe.protocol.metric, result.mean, result.std)} {letter}".rstrip()


def _by_layer(table: Table, layers: LayerMeans) -> str:
    """Rows by layers, for each measure and each column of which anything has been measured."""
    parts = []
    for measure, means in layers.items():
        for column in table.columns:
            lines = {row: means.get(f"{row}/{column}", []) for row in table.rows}
            if depth := max(map(len, lines.values())):
                rows = [
                    [row, *map(_measured, line), *["–"] * (depth - len(line))]
                    for row, line in lines.items()
                ]
                parts.append(f"## Mean {measure} by layer, {column}")
                parts.append(markdown_table(["", *map(str, range(1, depth + 1))], rows))
    return "\n\n".join(parts)


def _measured(mean: float) -> str:
    return "–" if math.isnan(mean) else f"{mean:.3g}"


def layer_means(table: Table, layers: Iterable[LayerRow]) -> dict[str, dict[str, list[float]]]:
    """By the measure and the cell's name: the mean over runs of what was measured of each hidden layer, in order.

    Runs of which a layer has no value, NaN, do not count in that layer; where none has one, the mean is NaN.
    """
    runs: dict[str, dict[str, list[tuple[float, ...]]]] = {measure: {} for measure in table.layers}
    for row in layers:
        runs[row.measure].setdefault(row.cell, []).append(row.numbers)
    return {
        measure: {name: [_mean(values) for values in zip(*numbers, strict=True)] for name, numbers in cells.items()}
        for measure, cells in runs.items()
    }


def _mean(values: Iterable[float]) -> float:
    present = [value for value in values if not math.isnan(value)]
    return statistics.fmean(present) if present else math.nan


def last_layers(means: LayerMeans) -> dict[str, dict[str, float]]:
    """By the measure and the cell's name: the last of the means by layer."""
    return {measure: {name: line[-1] for name, line in cells.items()} for measure, cells in means.items()}


def _cell_list(table: Table, results: list[CellResult], layers: LayerMeans) -> str:
    """A line for each cell."""
    header = ["row", "column", "validation", "measured (n)", "published", "verdict", "recipe"]
    rows = [
        [
            result.cell.row,
            result.cell.column,
            spread(result.cell.recipe.protocol.metric, result.val, None),
            spread(result.cell.recipe.protocol.metric, result.mean, result.std, len(result.rows)),
            published(result.cell.recipe.protocol.metric, result.cell.recipe.published),
            result.verdict,
            f"`{result.cell.recipe.name}`",
        ]
        for result in results
    ]
    if table.baseline is not None:
        header.insert(4, f"against {table.baseline} (n)")
        for row, result in zip(rows, results, strict=True):
            row.insert(4, difference(result.cell.recipe.protocol.metric, result.difference))
    for measure, means in last_layers(layers).items():
        header.insert(-1, f"{measure}, last layer")
        for row, result in zip(rows, results, strict=True):
            name = result.cell.name
            row.insert(-1, _measured(means.get(name, math.nan)))
    return markdown_table(header, rows)


def summaries(table: Table, rows: list[Row]) -> list[CellResult]:
    """A result per cell of a table, in its order, from what has been run."""
    return [summarise(cell, rows, baseline=table.baseline_of(cell)) for cell in table.cells]


def results_page(results: Sequence[tuple[Table, list[CellResult]]]) -> str:
    """The tables as a page, each with how many of its cells have which verdict.

    Args:
        results: Each table with a result for each of its cells.
    """
    lines = [[f"[{table.title}]({table.name}.md)", *_counts(cells)] for table, cells in results]
    every = [cell for _, cells in results for cell in cells]
    total = ["**all**", *(f"**{count}**" for count in _counts(every))]
    header = ["table", "cells", *VERDICTS, "with runs missing"]
    return f"# Results\n\n{ABOUT_RESULTS}\n\n{markdown_table(header, [*lines, total])}\n"


def _counts(results: list[CellResult]) -> list[str]:
    """How many cells there are, how many of each verdict, and how many have some runs, but not all."""
    verdicts = Counter(result.verdict for result in results)
    partial = sum(bool(_missing_runs(result)) for result in results)
    return [str(count) for count in (len(results), *(verdicts[verdict] for verdict in VERDICTS), partial)]


def dataset_page() -> str:
    """The catalogue of data sets as a page."""
    rows = [
        [
            f"`{about.name}`",
            about.task.replace("-", " "),
            f"{about.num_graphs:,}",
            f"{about.num_nodes:,}",
            "drawn" if about.num_edges is None else f"{about.num_edges:,}",
            f"{about.in_feats:,}",
            str(about.num_classes),
            ", ".join([about.default_split, *(split for split in about.stored_splits if split != about.default_split)]),
            about.source,
        ]
        for about in map(info, list_datasets())
    ]
    header = ["name", "task", "graphs", "nodes", "edges", "features", "classes", "splits, default first", "source"]
    return f"# Data sets\n\n{ABOUT_DATASETS}\n\n{markdown_table(header, rows)}\n"


def write_pages(results: Path, docs: Path, readme: Path) -> list[Path]:
    """Writes docs/datasets.md, docs/results/<table>.md, a list of these, and the README's list of checkpoints.

    Every table has a page, so that what it asks for and was not run is seen; so has every recipe with results of its
    own. Results of tables and recipes that are not the zoo's are passed over.

    Args:
        results: Folder of the results.
        docs: Folder of the documentation.
        readme: File with the two lines between which the list stands.

    Returns:
        The written files.

    Raises:
        ZooError: The README lacks the lines, or a file cannot be written.
    """
    listing = _with_checkpoints(readme)  # one without the lines is told before anything is written
    written = [docs / "datasets.md"]
    write_text(written[0], dataset_page())
    summarised = []
    for name in sorted({*list_tables(), *_results_of_the_zoo(results)}):
        table = find_table(name)
        cells = summaries(table, read_results(results / f"{name}.csv"))
        summarised.append((table, cells))
        written.append(docs / "results" / f"{name}.md")
        write_text(written[-1], table_page(table, cells, read_layers(results, table)))
    written.append(docs / "results" / "README.md")
    write_text(written[-1], results_page(summarised))
    write_text(readme, listing)
    return [*written, readme]


def _results_of_the_zoo(results: Path) -> list[str]:
    """The names of results without those of tables and recipes of one's own."""
    of_the_zoo = {*list_tables(), *list_recipes()}
    return [name for name in list_results(results) if name in of_the_zoo]


def _with_checkpoints(readme: Path) -> str:
    """The README's text, with the list of checkpoints as it is now."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"cannot read {readme}: {error}") from error
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ZooError(f"{readme} lacks the lines {BEGIN} and, behind it, {END}")
    return f"{head}{BEGIN}\n{checkpoint_table(registry.read().values())}\n{END}{tail}"


def write_plots(results: Path, docs: Path) -> list[Path]:
    """Writes docs/results/<table>.svg, to which the page links, for every one of the zoo's results files with a plot.

    Args:
        results: Folder of the results.
        docs: Folder of the documentation.

    Returns:
        The written files.

    Raises:
        ZooError: There is something to draw and matplotlib is missing, or a file cannot be written.
    """
    written = []
    for name in _results_of_the_zoo(results):
        table = find_table(name)
        if has_plot(table):
            written.append(docs / "results" / f"{name}.svg")
            rows = read_results(results / f"{name}.csv")
            draw(table, summaries(table, rows), layer_means(table, read_layers(results, table)), written[-1])
    return written
