"""What docs/depth-study.md says of the depth study, from the committed results: no run is needed.

    python benchmarks/depth_study.py [--results results]

For every method and graph: the depth of the best mean validation score, the test scores there and at the largest depth,
the last hidden layer's μ at both, and seconds per epoch at the largest depth.

For every graph: Spearman's rank correlation, over methods and depths, of the mean test score with the last hidden
layer's μ and Dirichlet energy; of all cells that have been run, and of those that validate within 20 and within 10
points of the best; without those whose measure is not finite.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import click
from scipy import stats

from zoo.formats import markdown_table, number, spread
from zoo.report import last_layers, layer_means, summaries
from zoo.results import read_layers, read_results
from zoo.tables import find_table
from zoo.verdicts import CellResult

WITHIN = {"all": math.inf, "within 20 points": 20.0, "within 10 points": 10.0}  # of the graph's best validation score
FEWEST = 5  # cells that a correlation is computed from

Measures = Mapping[str, Mapping[str, float]]


def validation(result: CellResult) -> float:
    """The mean validation score of a cell that has been run."""
    assert result.val is not None
    return result.val


def depth_line(row: str, cells: list[CellResult], deepest: str, mu: Mapping[str, float]) -> list[str]:
    """A row of the table of depths, from the row's cells that have been run."""
    best, last = max(cells, key=validation), cells[-1]
    metric = best.cell.recipe.protocol.metric
    line = [
        row,
        best.cell.column,
        number(validation(best), metric),
        spread(metric, best.mean, best.std, len(best.rows)),
        f"{mu[best.cell.name]:.2f}",
    ]
    if last.cell.column != deepest:
        return [*line, "–", "–", "–"]
    there = spread(metric, last.mean, last.std, len(last.rows))
    return [*line, there, f"{mu[last.cell.name]:.2f}", f"{last.seconds_per_epoch:.2g}"]


def correlation_lines(graph: str, cells: list[CellResult], measures: Measures) -> list[list[str]]:
    """Rows of the table of correlations: one for each limit of `WITHIN` that lets in enough cells."""
    best, lines = max(map(validation, cells)), []
    finite = [result for result in cells if all(math.isfinite(means[result.cell.name]) for means in measures.values())]
    for which, limit in WITHIN.items():
        near = [result for result in finite if validation(result) >= best - limit]
        if len(near) >= FEWEST:
            tests = [result.mean for result in near]
            ranks = [
                stats.spearmanr([means[result.cell.name] for result in near], tests).statistic
                for means in measures.values()
            ]
            lines.append([graph, which, str(len(near)), *(f"{rank:+.2f}" for rank in ranks)])
    return lines


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
def main(results: Path) -> None:
    """Prints the best and the largest depth of every method, and what μ and Dirichlet energy tell of the score."""
    table = find_table("depth-study")
    measures = last_layers(layer_means(table, read_layers(results, table)))
    by_row: dict[str, list[CellResult]] = {}
    by_graph: dict[str, list[CellResult]] = {}
    for result in summaries(table, read_results(results / f"{table.name}.csv")):
        if all(result.cell.name in means for means in measures.values()):
            by_row.setdefault(result.cell.row, []).append(result)
            by_graph.setdefault(result.cell.row.split()[0], []).append(result)
    deepest = table.columns[-1]
    header = ["", "best", "validation", "test (n)", "μ", f"test at {deepest} (n)", f"μ at {deepest}", "s/epoch there"]
    click.echo(markdown_table(header, [depth_line(row, own, deepest, measures["mu"]) for row, own in by_row.items()]))
    lines = [line for graph, own in by_graph.items() for line in correlation_lines(graph, own, measures)]
    click.echo()
    click.echo(markdown_table(["", "cells", "number", *(f"test and {measure}" for measure in measures)], lines))


if __name__ == "__main__":
    main()
