"""The numbers of every run, as they lie in results/<table>.csv and results/<table>-layers.csv."""

import csv
import dataclasses
import io
import math
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from zoo._files import locked, write_text
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
    return _in_order(_read(layers_path(results, table), LayerRow), table)


def layers_path(results: Path, table: Table) -> Path:
    """Where a folder of results has what is measured of a table's layers."""
    return results / f"{table.name}{LAYERS}.csv"


def _read(path: Path, kind: type[AnyRow]) -> list[AnyRow]:
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"cannot read results from {path}: {error}") from error
    types = typing.get_type_hints(kind)
    rows = {}
    for number, line in enumerate(csv.DictReader(text.splitlines()), start=2):
        try:
            row = kind(**{key: types[key](value) for key, value in line.items() if value is not None})
            rows[row.cell, row.digest, row.seed, getattr(row, "measure", None)] = row  # a merge may double a line
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{path}, line {number} is not a run ({error}): mend or delete it") from error
    return list(rows.values())


def add_rows(path: Path, kind: type[AnyRow], new: Sequence[AnyRow], table: Table) -> list[AnyRow]:
    """Adds rows to a results file, to which other processes may be adding too; returns what is then in it."""
    with locked(path):
        rows = _in_order(_read(path, kind) + list(new), table)
        _write(path, kind, rows)
    return rows


def _write(path: Path, kind: type[AnyRow], rows: Iterable[AnyRow]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    write_text(path, text.getvalue())


def _in_order(rows: list[AnyRow], table: Table) -> list[AnyRow]:
    """Sorted by cell, seed and measure; those of a recipe or of measures that have changed since are dropped."""
    order = {(cell.name, cell.recipe.digest()): i for i, cell in enumerate(table.cells)}
    measures = {measure: i for i, measure in enumerate(table.layers)}
    current = {}
    for row in rows:
        measure = measures.get(row.measure) if isinstance(row, LayerRow) else 0
        if (row.cell, row.digest) in order and measure is not None:
            current[order[row.cell, row.digest], row.seed, measure] = row
    return [current[place] for place in sorted(current)]
