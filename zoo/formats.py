"""How scores and tables are printed. Imports neither torch nor the recipes: `zoo list` must be instant."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from zoo.registry import PER_CENT, Checkpoint, Published

if TYPE_CHECKING:
    from zoo.verdicts import Difference

__all__ = [
    "CHECKPOINT_HEADER",
    "checkpoint_rows",
    "difference",
    "markdown_table",
    "number",
    "published",
    "spread",
]


def number(value: float, metric: str) -> str:
    """A score as it is printed: per cent with two decimals, errors with four."""
    return f"{value:.2f}" if metric in PER_CENT else f"{value:.4f}"


def spread(metric: str, mean: float | None, std: float | None, n: int | None = None) -> str:
    """`93.66 ± 0.48 (10)`, as far as known."""
    if mean is None:
        return "–"
    text = number(mean, metric) if std is None else f"{number(mean, metric)} ± {number(std, metric)}"
    return text if n is None else f"{text} ({n})"


def difference(metric: str, value: "Difference | None") -> str:
    """`+1.23 ± 0.83 (10)`: mean, half the width of its 95 % interval, and number of seeds, as far as known."""
    if value is None:
        return "–"
    sign = "−" if value.mean < 0 else "+"
    return f"{sign}{number(abs(value.mean), metric)} ± {number(value.margin, metric)} ({value.n})"


def published(metric: str, value: Published | None) -> str:
    """The published number, as far as there is one."""
    return spread(metric, None, None) if value is None else spread(metric, value.value, value.std)


def markdown_table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


CHECKPOINT_HEADER = [
    "checkpoint", "data set, split", "parameters", "this file", "all seeds (n)", "published", "verdict"
]


def checkpoint_rows(entries: Iterable[Checkpoint]) -> list[list[str]]:
    """A row of cells per entry, as `CHECKPOINT_HEADER` names them."""
    return [
        [
            entry.name,
            f"{entry.dataset}, {entry.split}",
            f"{entry.params:,}",
            number(entry.score.value, entry.score.metric),
            spread(entry.score.metric, entry.runs.mean, entry.runs.std, entry.runs.n),
            published(entry.score.metric, entry.published),
            entry.verdict,
        ]
        for entry in entries
    ]
