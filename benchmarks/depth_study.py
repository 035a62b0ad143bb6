"""What docs/depth-study.md says of the depth study, from the committed results: no run is needed.

    python benchmarks/depth_study.py [--table depth-study] [--results results]

For every method and graph that has been run at all depths: the depth of the best mean validation score, the test scores
there and at the largest depth, the last hidden layer's μ at both, and seconds per epoch at the largest depth.

For every graph: Spearman's rank correlation, over methods and depths, of the mean test score with the last hidden
layer's μ and Dirichlet energy; of all cells, and of those that validate within 20 and within 10 points of the best.
"""

import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

import click
from scipy import stats

from zoo.report import last_layers, markdown_table, number, spread, summaries
from zoo.reproduction import CellResult, Table, find_table, read_layers, read_results

WITHIN = (100, 20, 10)  # points of validation score below the graph's best cell
FEWEST = 5  # cells that a correlation is computed from

Measures = Mapping[str, Mapping[str, float]]


def validation(result: CellResult) -> float:
    """The mean validation score of a cell's runs."""
    return statistics.fmean(row.val for row in result.rows)


def by_row(table: Table, results: Iterable[CellResult], measures: Measures) -> dict[str, list[CellResult]]:
    """The cells of every row that has runs, measured, in all its columns."""
    rows: dict[str, list[CellResult]] = {name: [] for name in table.rows}
    for result in results:
        if result.rows and all(result.cell.name in means for means in measures.values()):
            rows[result.cell.row].append(result)
    return {name: cells for name, cells in rows.items() if len(cells) == len(table.columns)}


def depth_line(name: str, cells: list[CellResult], mu: Mapping[str, float]) -> list[str]:
    """A row of the table of depths."""
    best, last = max(cells, key=validation), cells[-1]
    metric = best.cell.recipe.protocol.metric
    seconds = statistics.fmean(row.seconds / row.epochs for row in last.rows)
    return [
        name,
        best.cell.column,
        number(validation(best), metric),
        spread(metric, best.mean, best.std),
        spread(metric, last.mean, last.std),
        f"{mu[best.cell.name]:.2f}",
        f"{mu[last.cell.name]:.2f}",
        f"{seconds:.2g}",
    ]


def correlation_lines(graph: str, cells: list[CellResult], measures: Measures) -> list[list[str]]:
    """Rows of the table of correlations: one for each limit of `WITHIN`, with as many cells as it lets in."""
    best, lines = max(map(validation, cells)), []
    for limit in WITHIN:
        near = [result for result in cells if validation(result) >= best - limit]
        if len(near) >= FEWEST:
            tests = [result.mean for result in near]
            ranks = [
                stats.spearmanr([means[result.cell.name] for result in near], tests).statistic
                for means in measures.values()
            ]
            which = "all" if limit == max(WITHIN) else f"within {limit} points"
            lines.append([graph, which, str(len(near)), *(f"{rank:+.2f}" for rank in ranks)])
    return lines


@click.command()
@click.option("--table", "name", default="depth-study", show_default=True, help="A table that measures μ.")
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
def main(name: str, results: Path) -> None:
    """Prints the best and the largest depth of every method, and what μ and Dirichlet energy tell of the score."""
    table = find_table(name)
    measures = last_layers(table, read_layers(results, table))
    rows = by_row(table, summaries(table, read_results(results / f"{name}.csv")), measures)
    deepest = table.columns[-1]
    header = ["", "best", "validation", "test", f"test at {deepest}", "μ", f"μ at {deepest}", f"s/epoch at {deepest}"]
    click.echo(markdown_table(header, [depth_line(row, cells, measures["mu"]) for row, cells in rows.items()]))
    by_graph: dict[str, list[CellResult]] = {}
    for row, cells in rows.items():
        by_graph.setdefault(row.split()[0], []).extend(cells)
    lines = [line for graph, cells in by_graph.items() for line in correlation_lines(graph, cells, measures)]
    click.echo()
    click.echo(markdown_table(["", "cells", "number", *(f"test and {measure}" for measure in measures)], lines))


if __name__ == "__main__":
    main()
