"""The numbers of every run, as they lie in results/<table>.csv and results/<table>-layers.csv."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zoo._files import locked, write_text
from zoo._types import type_hints
from zoo.errors import ZooError
from zoo.tables import Table

__all__ = ["LayerRow", "Row", "add_rows", "layers_path", "list_results", "read_layers", "read_results"]

LAYERS = "-layers"  # what the file of layers' measures has behind the table's name


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run, as a line of results/<table>.csv."""

    cell: str
    recipe: str
    digest: str
    seed: int
    metric: str
    val: float
    test: float
    epoch: int
    epochs: int
    seconds: float
    python: str
    torch: str
    dgl: str

    def __post_init__(self) -> None:
        if self.seed < 0 or not math.isfinite(self.val + self.test):
            raise ValueError(f"seed {self.seed}, val {self.val}, test {self.test}")


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A measure of every hidden layer of one run's model, as a line of results/<table>-layers.csv.

    Attributes:
        cell, recipe, digest, seed: Whose model.
        measure: One of `zoo.tables.MEASURES`.
        values: First layer first, with spaces between them, six significant digits.
    """

    cell: str
    recipe: str
    digest: str
    seed: int
    measure: str
    values: str

    def __post_init__(self) -> None:
        if not self.numbers:
            raise ValueError("no values")

    @property
    def numbers(self) -> tuple[float, ...]:
        """The values as numbers."""
        return tuple(map(float, self.values.split()))


AnyRow = TypeVar("AnyRow", Row, LayerRow)


def list_results(folder: Path) -> list[str]:
    """The names of all tables and recipes of which a folder holds results, sorted."""
    names = {path.stem for path in folder.glob("*.csv")}
    return sorted(name for name in names if not (name.endswith(LAYERS) and name.removesuffix(LAYERS) in names))


def read_results(path: Path) -> list[Row]:
    """The runs in a results file; none if it does not exist, ZooError if it is broken."""
    return _read(path, Row)


def read_layers(results: Path, table: Table) -> list[LayerRow]:
    """What has been measured of the layers in a table's runs, made by its recipes as they are.

    Args:
        results: Folder of the results.
        table: The table.

    Raises:
        ZooError: The file is broken.
    """
    rows = _read(layers_path(results, table), LayerRow)
    current = {(cell.name, cell.recipe.digest()) for cell in table.cells}
    return [row for row in rows if (row.cell, row.digest) in current and row.measure in table.layers]


def layers_path(results: Path, table: Table) -> Path:
    """Where a folder of results has what is measured of a table's layers."""
    return results / f"{table.name}{LAYERS}.csv"


def _read(path: Path, kind: type[AnyRow]) -> list[AnyRow]:
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"cannot read results from {path}: {error}") from error
    types = type_hints(kind)
    rows = {}
    for number, line in enumerate(csv.DictReader(text.splitlines()), start=2):
        try:
            row = kind(**{key: types[key](value) for key, value in line.items() if value is not None})
            rows[row.cell, row.digest, row.seed, getattr(row, "measure", None)] = row  # a merge may double a line
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{path}, line {number} is not a run ({error}): mend or delete it") from error
    return list(rows.values())


def add_rows(path: Path, kind: type[AnyRow], new: Sequence[AnyRow], table: Table) -> list[AnyRow]:
    """Adds rows to a results file, to which other processes may be adding too; returns what is then in it.

    Those that the same cell has of a recipe that has changed since are dropped. Rows of other cells stay, also where
    the table has no such cell: another process may know another state of its file.
    """
    with locked(path):
        rows = _in_order(_not_replaced(_read(path, kind), new) + list(new), table)
        _write(path, kind, rows)
    return rows


def _not_replaced(rows: list[AnyRow], new: Sequence[AnyRow]) -> list[AnyRow]:
    digests = {row.cell: row.digest for row in new}
    return [row for row in rows if digests.get(row.cell, row.digest) == row.digest]


def _write(path: Path, kind: type[AnyRow], rows: Iterable[AnyRow]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    write_text(path, text.getvalue())


def _in_order(rows: Iterable[AnyRow], table: Table) -> list[AnyRow]:
    """In the table's order of cells and measures, rows that it does not have last; of doubled rows the later one."""
    cells = {cell.name: i for i, cell in enumerate(table.cells)}
    measures = {measure: i for i, measure in enumerate(table.layers)}

    def place(row: AnyRow) -> tuple[Any, ...]:
        measure = row.measure if isinstance(row, LayerRow) else ""
        number = measures.get(measure, len(measures))
        return cells.get(row.cell, len(cells)), row.cell, row.digest, row.seed, number, measure

    last = {place(row): row for row in rows}
    return [last[key] for key in sorted(last)]
