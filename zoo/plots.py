"""Pictures of tables whose columns are numbers or that show measures by layer.

To draw takes matplotlib: `pip install 'dgl-zoo[plot]'`.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from zoo._files import write_bytes
from zoo.errors import ZooError
from zoo.tables import Table
from zoo.verdicts import CellResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["Axis", "LayerMeans", "draw", "has_plot", "numeric"]

# The same bytes each time, and text as text. The keys' type differs among versions of matplotlib.
STYLE: dict[Any, Any] = {"svg.hashsalt": "dgl-zoo", "svg.fonttype": "none", "font.size": 9}
MOST_ACROSS = 4
STYLES = [f"C{color}{dashes}" for dashes in ("o-", "s--", "^:") for color in range(10)]
LEGEND_PER_PANEL = 3  # entries in a line of the legend
WIDTH, HEIGHT = 3.4, 2.6  # inches of one panel's axes
MAP_SIZE = (6.4, 4.8)


LayerMeans: TypeAlias = Mapping[str, Mapping[str, Sequence[float]]]


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


def has_plot(table: Table) -> bool:
    """Whether there is something to draw: columns are `numeric`, or the table shows measures by layer."""
    return table.by_layer or numeric(table.columns) is not None


def draw(table: Table, results: Sequence[CellResult], layers: LayerMeans, path: Path) -> None:
    """Draws a table that has a plot, as SVG.

    `Table.by_layer` gives a panel for each column and measure: a line per row over the numbers of the layers, the
    measure's mean divided by its maximum. Otherwise rows that are numeric too give a map of mean test scores. Others
    are lines, in the panels that `Table.panel` asks for: the mean test score with a band of one standard deviation to
    each side, and below it what `Table.layers` asks for, of the last hidden layer. Panels of which nothing has been
    run are left out.

    Args:
        table: The table.
        results: A result for each of its cells.
        layers: By the measure and the cell's name: the mean over runs of each hidden layer's, first layer first.
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
        if table.by_layer:
            _draw_layers(figure, table, layers)
        elif numeric(table.rows):
            _draw_map(figure, table, results)
        else:
            _draw_panels(figure, table, results, layers)
        figure.savefig(picture, format="svg", metadata={"Date": None})
    write_bytes(path, picture.getvalue())


def _draw_layers(figure: "Figure", table: Table, layers: LayerMeans) -> None:
    measured = {name for means in layers.values() for name in means}
    columns = [column for column in table.columns if any(f"{row}/{column}" in measured for row in table.rows)]
    columns = columns or table.columns
    figure.set_size_inches(WIDTH * len(columns), HEIGHT * len(table.layers))
    panels = [(measure, column) for measure in table.layers for column in columns]
    lines: list[Line2D] = []
    for place, (measure, column) in enumerate(panels, start=1):
        axes = figure.add_subplot(len(table.layers), len(columns), place, title=column)
        axes.set(xlabel="layer", ylabel=f"{measure}, maximum 1")
        axes.locator_params(axis="x", integer=True)
        lines = [
            _draw_profile(axes, layers[measure].get(f"{row}/{column}", ()), STYLES[i % len(STYLES)])
            for i, row in enumerate(table.rows)
        ]
    _add_legend(figure, dict(zip(table.rows, lines, strict=True)), len(columns))


def _draw_profile(axes: "Axes", values: Sequence[float], style: str) -> "Line2D":
    """A line over the numbers of the layers, its maximum at 1 if it is not 0 throughout."""
    top = max((value for value in values if not math.isnan(value)), default=1.0) or 1.0
    (line,) = axes.plot(range(1, len(values) + 1), [value / top for value in values], style, markersize=3, linewidth=1)
    return line


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


def _draw_panels(figure: "Figure", table: Table, results: Sequence[CellResult], layers: LayerMeans) -> None:
    by_name = {result.cell.name: result for result in results}
    panels = _panels(table)
    panels = {title: rows for title, rows in panels.items() if _has_scores(table, rows, by_name)} or panels
    lines = list(dict.fromkeys(line for members in panels.values() for line in members))
    across, kinds = min(len(panels), MOST_ACROSS), 1 + len(table.layers)
    down = kinds * math.ceil(len(panels) / across)
    figure.set_size_inches(WIDTH * across, HEIGHT * down)
    handles: dict[str, Line2D] = {}
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
                _draw_line(axes, table, [layers[measure].get(name, [math.nan])[-1] for name in names], style)
    _add_legend(figure, handles, across)


def _add_legend(figure: "Figure", lines: Mapping[str, "Line2D"], across: int) -> None:
    """Below all panels, of which so many are side by side."""
    ncols = min(len(lines), LEGEND_PER_PANEL * across)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=ncols)


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
