"""A paper's table or figure as a grid of recipes: recipes/tables/<name>.toml."""

import dataclasses
import difflib
import fnmatch
import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo._files import resource, user_path
from zoo.datasets.catalog import info
from zoo.errors import RecipeError, RecipeNotFound
from zoo.training import recipe as recipes
from zoo.training.recipe import Recipe

__all__ = ["MEASURES", "OF_PRUNING", "Cell", "Table", "find_table", "list_tables"]

# Named as functions of `zoo.analysis`, and as what `DynamoGAT.pruned_edges` tells.
OF_STATES = ("dirichlet-energy", "mad", "mad-gap", "mu", "attractor-rank")
OF_PRUNING = ("pruned-share", "kept-similarity", "pruned-similarity")
MEASURES = (*OF_STATES, *OF_PRUNING)


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a recipe at a place, and why it has no runs, should it have none."""

    row: str
    column: str
    recipe: Recipe
    not_run: str = "no run yet"

    @property
    def name(self) -> str:
        """Row and column, by which results name the cell."""
        return f"{self.row}/{self.column}" if self.column else self.row

    @property
    def from_log(self) -> bool:
        """Whether its scores are read from the log of another rule's run, so that it has no model: `best-test`."""
        return self.recipe.protocol.select == "best-test"


@dataclass(frozen=True)
class Table:
    """A paper's table or figure, or a single recipe.

    Attributes:
        name: File name of the table, also of its results.
        title: What it shows.
        cells: Row by row.
        baseline: The row that the others are compared with, seed by seed. Default: none.
        layers: Of `MEASURES`, taken of every hidden layer of each run's model. Default: none.
        panel: Which words of a row's name, counted from 1, name the part of the plot in which it is a line, named by
            the other words. Default: all rows are in one.
        by_layer: Whether page and plot show what `layers` asks for layer by layer, the plot each row's divided by its
            maximum. Default: of the last hidden layer only.
        timed: Whether its page tells how long an epoch takes.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    baseline: str | None = None
    layers: tuple[str, ...] = ()
    panel: tuple[int, ...] = ()
    by_layer: bool = False
    timed: bool = False

    @property
    def rows(self) -> list[str]:
        """The names of its rows, from top to bottom."""
        return list(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def columns(self) -> list[str]:
        """The names of its columns, from left to right."""
        return list(dict.fromkeys(cell.column for cell in self.cells))

    @functools.cached_property
    def _first_of_digest(self) -> dict[str, Recipe]:
        return {cell.recipe.digest(): cell.recipe for cell in reversed(self.cells)}

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The cell that another one is compared with."""
        if cell.row == self.baseline:
            return None
        return next((other for other in self.cells if (other.row, other.column) == (self.baseline, cell.column)), None)

    def trained_for(self, cell: Cell) -> Recipe:
        """The recipe whose runs give a cell its rows: one for all cells that differ in nothing that is trained.

        `best-test` is read from the log of the same recipe under `best-val`, so that no model is made by the weak rule.
        Of cells with the same digest the first lends its name to the runs' folders.
        """
        recipe = cell.recipe
        if cell.from_log:
            recipe = dataclasses.replace(recipe, protocol=dataclasses.replace(recipe.protocol, select="best-val"))
        return self._first_of_digest.get(recipe.digest(), recipe)


def list_tables() -> list[str]:
    """The names of all tables that come with the zoo, sorted."""
    return sorted(path.stem for path in _table_folder().glob("*.toml"))


def _table_folder() -> Path:
    return resource("recipes") / "tables"


def find_table(name: str | Path) -> Table:
    """A table by its name or the path of its TOML file, or a recipe, likewise, as a table of one cell.

    A table's TOML has `title`, `base` (a recipe's name, or the path of one of your own, from the table's folder on;
    {row} and {column} are filled in), `rows` and `columns` (names), and overrides of the base recipe's keys, or of
    `base` itself: `[row.NAME]`, `[column.NAME]`, `[cell."ROW/COLUMN"]`, the later ones winning. Their names can be
    shell patterns: `[row."Cora *"]`. `published` takes the place of the whole of the base recipe's; where the last
    override that names it is `{}`, there is none. `not_run`, for all or some cells, says why they have no runs. `Table`
    explains `baseline`, `layers`, `panel`, `by_layer` and `timed`, which it may have; one measure can stand in `layers`
    without a list.

    Raises:
        RecipeNotFound: No such table or recipe.
        RecipeError: The file is wrong, or the zoo has another table or recipe of that name, with whose results its own
            would mix.
    """
    name = str(name)
    if name in list_tables():
        path = _table_folder() / f"{name}.toml"
        return _parse_table(recipes.read_toml(path), path)
    path = user_path(name)
    if name.endswith(".toml") and "rows" in (settings := recipes.read_toml(path)):
        table = _parse_table(settings, path)
    else:
        recipe = _find_recipe(name)
        table = Table(recipe.name, recipe.name, (Cell(recipe.name, "", recipe),))
    zoos = [*list_tables(), *recipes.list_recipes()]
    if name.endswith(".toml") and table.name in zoos and not _is_the_same(table, find_table(table.name)):
        raise RecipeError(f"{name}: the zoo has a table or recipe called {table.name}: rename yours")
    return table


def _is_the_same(table: Table, other: Table) -> bool:
    return {(cell.name, cell.recipe.digest()) for cell in table.cells} == {
        (cell.name, cell.recipe.digest()) for cell in other.cells
    }


def _find_recipe(name: str) -> Recipe:
    """A recipe; RecipeNotFound with the nearest tables and recipes."""
    try:
        return recipes.find(name)
    except RecipeNotFound as error:
        near = difflib.get_close_matches(name, [*list_tables(), *recipes.list_recipes()], n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"tables: {', '.join(list_tables())}"
        raise RecipeNotFound(f"no table or recipe {name!r}: {hint}") from error


def _parse_table(settings: dict[str, Any], path: Path) -> Table:
    _check_keys(settings, path)
    rows, columns = settings["rows"], settings["columns"]
    layers = _measures(settings)

    @functools.cache  # cells share their bases
    def find_settings(base: str) -> dict[str, Any]:
        return recipes.find_settings(base, path.parent)

    cells = tuple(_make_cell(settings, path, row, column, find_settings) for row in rows for column in columns)
    for cell in cells:
        if layers and info(cell.recipe.data.name).task.startswith("graph-"):
            raise RecipeError(f"{path}: {cell.name}: layers are measured on one graph, which its data is not")
    return Table(
        path.stem,
        settings["title"],
        cells,
        baseline=settings.get("baseline"),
        layers=layers,
        panel=tuple(settings.get("panel", ())),
        by_layer=settings.get("by_layer", False),
        timed=settings.get("timed", False),
    )


def _check_keys(settings: dict[str, Any], path: Path) -> None:
    """Raises RecipeError for keys that are unknown, missing, of a wrong type, or name what there is not."""
    known: dict[str, Any] = {"title": str, "base": str, "rows": list, "columns": list, "baseline": str, "not_run": str}
    known |= {"layers": (str, list), "panel": list, "by_layer": bool, "timed": bool}
    known |= {"row": dict, "column": dict, "cell": dict}
    for key, value in settings.items():
        if key not in known or not isinstance(value, known[key]):
            raise RecipeError(f"{path}: {key!r} is unknown or of a wrong type; a table has {', '.join(known)}")
    if missing := [key for key in ("title", "base", "rows", "columns") if key not in settings]:
        raise RecipeError(f"{path}: {', '.join(missing)} missing")
    rows, columns, baseline = settings["rows"], settings["columns"], settings.get("baseline")
    for kind, names in (("rows", rows), ("columns", columns)):
        if not names or not all(isinstance(name, str) for name in names):
            raise RecipeError(f"{path}: {kind} = {names}: a list of names, at least one, each in quotation marks")
    if baseline is not None and baseline not in rows:
        raise RecipeError(f"{path}: baseline {baseline!r} is none of the rows {', '.join(rows)}")
    if unknown := [measure for measure in _measures(settings) if measure not in MEASURES]:
        raise RecipeError(f"{path}: layers = {unknown[0]!r}: choose from {', '.join(MEASURES)}")
    if len(set(_measures(settings))) < len(_measures(settings)):
        raise RecipeError(f"{path}: layers = {settings['layers']}: a measure is named twice")
    if settings.get("by_layer") and not _measures(settings):
        raise RecipeError(f"{path}: by_layer without layers: name a measure, of {', '.join(MEASURES)}")
    if not all(word in range(1, 1 + len(row.split())) for word in settings.get("panel", []) for row in rows):
        raise RecipeError(f"{path}: panel = {settings['panel']}: a row has no such word; count them from 1")
    cells = [f"{row}/{column}" for row in rows for column in columns]
    if twice := [name for name, count in Counter(cells).items() if count > 1]:
        raise RecipeError(f"{path}: more than one cell is called {twice[0]}")
    for kind, names in {"row": rows, "column": columns, "cell": cells}.items():
        for pattern, override in settings.get(kind, {}).items():
            _check_override(path, kind, names, pattern, override)


def _check_override(path: Path, kind: str, names: list[str], pattern: str, override: Any) -> None:
    if not any(_matches(name, pattern) for name in names):
        raise RecipeError(f"{path}: overrides for {kind} {pattern}, which the table lacks")
    if not isinstance(override, dict):
        raise RecipeError(f"{path}: {kind} {pattern} = {override!r}: expected keys of a recipe with their values")
    for key in ("base", "not_run"):
        if not isinstance(override.get(key, ""), str):
            raise RecipeError(f"{path}: {kind} {pattern}: {key} = {override[key]!r}: expected a string")


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _measures(settings: dict[str, Any]) -> tuple[str, ...]:
    layers = settings.get("layers", [])
    return (layers,) if isinstance(layers, str) else tuple(layers)


def _make_cell(
    settings: dict[str, Any], path: Path, row: str, column: str, find_settings: Callable[[str], dict[str, Any]]
) -> Cell:
    """The base's recipe, with what the table says of the row, the column and the cell put over it."""
    places = (("row", row), ("column", column), ("cell", f"{row}/{column}"))
    levels = [
        override
        for kind, place in places
        for pattern, override in settings.get(kind, {}).items()
        if _matches(place, pattern)
    ]
    overrides = recipes.merge({}, *levels)
    base = overrides.pop("base", settings["base"]).replace("{row}", row).replace("{column}", column)
    not_run = overrides.pop("not_run", settings.get("not_run", Cell.not_run))
    settings_of_base = dict(find_settings(base))
    stated = [level["published"] for level in levels if "published" in level]
    if stated:
        settings_of_base.pop("published", None)
    merged = recipes.merge(settings_of_base, overrides)
    if stated and stated[-1] == {}:
        del merged["published"]
    return Cell(row, column, recipes.parse(merged, f"{path}: {row}/{column}"), not_run)
