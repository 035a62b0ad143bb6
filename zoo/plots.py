"""Pictures of tables whose columns are numbers. To draw takes matplotlib: `pip install 'dgl-zoo[plot]'`."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo._files import write_bytes
from zoo.errors import ZooError
from zoo.reproduction import CellResult, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["Axis", "draw", "numeric"]

# The same bytes each time, and text as text. The keys' type differs among versions of matplotlib.
STYLE: dict[Any, Any] = {"svg.hashsalt": "dgl-zoo", "svg.fonttype": "none", "font.size": 9}
MOST_ACROSS = 4
STYLES = [f"C{color}{dashes}" for dashes in ("o-", "s--", "^:") for color in range(10)]
LEGEND_PER_PANEL = 3  # entries in a line of the legend
WIDTH, HEIGHT = 3.4, 2.6  # inches of one panel's axes
MAP_SIZE = (6.4, 4.8)


@dataclass(frozen=True)
class Axis:
    """The words that names of rows or columns have in common, which may be none, and the number behind them in each."""

    label: str
    values: tuple[float, ...]


def numeric(names: Sequence[str]) -> Axis | None:
    """Three names or more that are numbers, each behind the same words if any: `2`, `4`, `8`; `K 1`, `K 2`, `K 3`."""
    matches = [match for name in names if (match := re.fullmatch(r"(?:(.*\S) )?(\d+(?:\.\d+)?)", name))]
    labels = {match[1] or "" for match in matches}
    if len(matches) < max(3, len(names)) or len(labels) > 1:
        return None
    return Axis(labels.pop(), tuple(float(match[2]) for match in matches))


def draw(
    table: Table, results: Sequence[CellResult], last_layers: Mapping[str, Mapping[str, float]], path: Path
) -> None:
    """Draws a table whose columns are `numeric`, as SVG.

    Rows that are numeric too give a map of mean test scores. Others are lines, in the panels that `Table.panel` asks
    for: the mean test score with a band of one standard deviation to each side, and below it what `Table.layers` asks
    for. Panels of which nothing has been run are left out.

    Args:
        table: The table.
        results: A result for each of its cells.
        last_layers: By the measure and the cell's name: the mean over runs of the last hidden layer's.
        path: The file.

    Raises:
        ZooError: matplotlib is missing, or the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ZooError(f"drawing {path} takes matplotlib: pip install 'dgl-zoo[plot]'") from error
    picture = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(layout="constrained")
        if numeric(table.rows):
            _draw_map(figure, table, results)
        else:
            _draw_panels(figure, table, results, last_layers)
        figure.savefig(picture, format="svg", metadata={"Date": None})
    write_bytes(path, picture.getvalue())


def _draw_map(figure: "Figure", table: Table, results: Sequence[CellResult]) -> None:
    columns, rows = numeric(table.columns), numeric(table.rows)
    assert columns and rows
    means, width = [_or_nan(result.mean) for result in results], len(columns.values)
    figure.set_size_inches(*MAP_SIZE)
    axes = figure.add_subplot(xlabel=columns.label, ylabel=rows.label)
    mesh = axes.pcolormesh([means[start : start + width] for start in range(0, len(means), width)])
    axes.set_xticks([i + 0.5 for i in range(width)], _labels(columns))
    axes.set_yticks([i + 0.5 for i in range(len(rows.values))], _labels(rows))
    figure.colorbar(mesh, label=_score_label(results))


def _draw_panels(
    figure: "Figure", table: Table, results: Sequence[CellResult], last_layers: Mapping[str, Mapping[str, float]]
) -> None:
    by_name = {result.cell.name: result for result in results}
    panels = _panels(table)
    panels = {title: rows for title, rows in panels.items() if _has_scores(table, rows, by_name)} or panels
    lines = list(dict.fromkeys(line for members in panels.values() for line in members))
    across, kinds = min(len(panels), MOST_ACROSS), 1 + len(table.layers)
    down = kinds * math.ceil(len(panels) / across)
    figure.set_size_inches(WIDTH * across, HEIGHT * down)
    handles = {}
    for i, (title, members) in enumerate(panels.items()):
        top = kinds * (i // across) * across + i % across + 1
        shown = [by_name[f"{row}/{column}"] for row in members.values() for column in table.columns]
        scores = figure.add_subplot(down, across, top, title=title, ylabel=_score_label(shown))
        measures = {
            measure: figure.add_subplot(down, across, top + k * across, yscale="log", ylabel=f"{measure}, last layer")
            for k, measure in enumerate(table.layers, start=1)
        }
        for line, row in members.items():
            names, style = [f"{row}/{column}" for column in table.columns], STYLES[lines.index(line) % len(STYLES)]
            handles[line] = _draw_scores(scores, table, [by_name[name] for name in names], style)
            for measure, axes in measures.items():
                _draw_line(axes, table, [last_layers[measure].get(name, math.nan) for name in names], style)
    ncols = min(len(handles), LEGEND_PER_PANEL * across)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)


def _has_scores(table: Table, rows: Mapping[str, str], results: Mapping[str, CellResult]) -> bool:
    """Whether any cell of a panel has been run."""
    return any(results[f"{row}/{column}"].mean is not None for row in rows.values() for column in table.columns)


def _panels(table: Table) -> dict[str, dict[str, str]]:
    """By panel and line: the row."""
    panels: dict[str, dict[str, str]] = {}
    for row in table.rows:
        words = dict(enumerate(row.split(), start=1))
        panel = " ".join(words[place] for place in table.panel)
        line = " ".join(word for place, word in words.items() if place not in table.panel)
        panels.setdefault(panel, {})[line] = row
    return panels


def _draw_scores(axes: "Axes", table: Table, results: Sequence[CellResult], style: str) -> "Line2D":
    means, stds = [_or_nan(result.mean) for result in results], [result.std or 0.0 for result in results]
    low, high = ([mean + sign * std for mean, std in zip(means, stds, strict=True)] for sign in (-1, 1))
    line = _draw_line(axes, table, means, style)
    axes.fill_between(line.get_xdata(), low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    return line


def _draw_line(axes: "Axes", table: Table, values: Sequence[float], style: str) -> "Line2D":
    """A line over the columns, on a logarithmic axis if none is 0."""
    columns = numeric(table.columns)
    assert columns
    (line,) = axes.plot(columns.values, values, style, markersize=3, linewidth=1)
    if min(columns.values) > 0:
        axes.set_xscale("log", base=2)
    axes.set_xticks(columns.values, _labels(columns))
    axes.minorticks_off()
    axes.set_xlabel(columns.label)
    return line


def _labels(axis: Axis) -> list[str]:
    return [f"{value:g}" for value in axis.values]


def _score_label(results: Sequence[CellResult]) -> str:
    return f"test {results[0].cell.recipe.protocol.metric}"


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
