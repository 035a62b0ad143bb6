"""A table is recipes times seeds: run them, keep every run's numbers, compare with the published ones."""

import contextlib
import csv
import dataclasses
import difflib
import fnmatch
import functools
import io
import math
import multiprocessing
import multiprocessing.connection
import os
import statistics
import threading
import typing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from zoo._checks import check_count
from zoo._files import locked, resource, user_path, write_text
from zoo.datasets.catalog import info
from zoo.errors import DatasetNotFound, RecipeError, RecipeNotFound, ZooError, memory_as_zoo_error
from zoo.registry import PER_CENT
from zoo.training import recipe as recipes
from zoo.training.recipe import Published, Recipe

if TYPE_CHECKING:
    from zoo.training.loop import Run

__all__ = [
    "MEASURES",
    "Cell",
    "CellResult",
    "Difference",
    "LayerRow",
    "Row",
    "Table",
    "find_table",
    "list_results",
    "list_tables",
    "read_layers",
    "read_results",
    "reproduce",
    "run_folder",
    "summarise",
]

MEASURES = ("dirichlet-energy", "mad", "mad-gap", "mu", "attractor-rank")  # functions of `zoo.analysis`, named as there
LAYERS = "-layers"  # what a table's file of these has behind its name
SEEDS_ASSUMED = 10  # where a paper prints a deviation but not its number of runs


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
        measure: One of `MEASURES`.
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


@dataclass(frozen=True)
class _Training:
    """A run to make, the cells whose rows it gives, and what is measured of its layers."""

    recipe: Recipe
    seed: int
    cells: tuple[Cell, ...]
    measures: tuple[str, ...]


@dataclass(frozen=True)
class _Outcome:
    """What a training gave one of its cells."""

    cell: Cell
    row: Row | None = None
    layers: tuple[LayerRow, ...] = ()
    error: ZooError | None = None


@dataclass(frozen=True)
class Difference:
    """By how much the test scores of a cell differ from those of the baseline in its column, seed by seed.

    Attributes:
        mean: Of the differences; above 0 where the cell's scores are the larger ones.
        margin: Half the width of the 95 % interval of a paired t-test: it is mean ± margin.
        n: Number of seeds that both have, at least two.
    """

    mean: float
    margin: float
    n: int


@dataclass(frozen=True)
class CellResult:
    """All runs of a cell, beside what was published.

    Attributes:
        cell: The cell.
        rows: Its runs.
        mean: Of the test scores; None without runs.
        std: Unbiased; None with fewer than two runs.
        verdict: One of `zoo.registry.VERDICTS`.
        reason: Why it was not run, or the recipe's diagnosis.
        failures: What went wrong in runs that were tried now.
        difference: From the table's baseline, where it has one and both have runs.
    """

    cell: Cell
    rows: tuple[Row, ...]
    mean: float | None
    std: float | None
    verdict: str
    reason: str = ""
    failures: tuple[str, ...] = ()
    difference: Difference | None = None

    @property
    def val(self) -> float | None:
        """The mean validation score of the runs, each at its selected epoch; None without runs."""
        return statistics.fmean(row.val for row in self.rows) if self.rows else None

    @property
    def seconds_per_epoch(self) -> float | None:
        """The mean over runs, evaluations included; None without runs."""
        return statistics.fmean(row.seconds / row.epochs for row in self.rows) if self.rows else None


def list_tables() -> list[str]:
    """The names of all tables that come with the zoo, sorted."""
    return sorted(path.stem for path in _table_folder().glob("*.toml"))


def _table_folder() -> Path:
    return resource("recipes") / "tables"


def find_table(name: str | Path) -> Table:
    """A table by its name or the path of its TOML file, or a recipe, likewise, as a table of one cell.

    A table's TOML has `title`, `base` (a recipe's name, in which {row} and {column} are filled in), `rows` and
    `columns` (names), and overrides of the base recipe's keys, or of `base` itself: `[row.NAME]`, `[column.NAME]`,
    `[cell."ROW/COLUMN"]`, the later ones winning. Their names can be shell patterns: `[row."Cora *"]`. `published`
    takes the place of the whole of the base recipe's; where the last override that names it is `{}`, there is none.
    `not_run`, for all or some cells, says why they have no runs. `Table` explains `baseline`, `layers`, `panel`,
    `by_layer` and `timed`, which it may have; one measure can stand in `layers` without a list.

    Raises:
        RecipeNotFound: No such table or recipe.
        RecipeError: The file is wrong, or results of the zoo have the name of what is in it, which would overwrite
            them.
    """
    name = str(name)
    if name in list_tables():
        path = _table_folder() / f"{name}.toml"
        return _parse_table(recipes.read_toml(path), path)
    path = Path(name)
    if name.endswith(".toml") and "rows" in (settings := recipes.read_toml(path)):
        table, taken = _parse_table(settings, path), [*list_tables(), *recipes.list_recipes()]
    else:
        recipe, taken = _find_recipe(name), list_tables()
        table = Table(recipe.name, recipe.name, (Cell(recipe.name, "", recipe),))
    if table.name in taken and path.resolve() != (_table_folder() / f"{table.name}.toml").resolve():
        raise RecipeError(f"{name}: the zoo has results called {table.name}, which would be overwritten: rename yours")
    return table


def _find_recipe(name: str) -> Recipe:
    """A recipe; RecipeNotFound with the nearest tables and recipes."""
    try:
        return recipes.find(name)
    except RecipeNotFound as error:
        near = difflib.get_close_matches(name, [*list_tables(), *recipes.list_recipes()], n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"tables: {', '.join(list_tables())}"
        raise RecipeNotFound(f"no table or recipe {name!r}: {hint}") from error


def _parse_table(settings: dict[str, Any], path: Path) -> Table:
    known: dict[str, Any] = {"title": str, "base": str, "rows": list, "columns": list, "baseline": str, "not_run": str}
    known |= {"layers": (str, list), "panel": list, "by_layer": bool, "timed": bool}
    known |= {"row": dict, "column": dict, "cell": dict}
    for key, value in settings.items():
        if key not in known or not isinstance(value, known[key]):
            raise RecipeError(f"{path}: {key!r} is unknown or of a wrong type; a table has {', '.join(known)}")
    if missing := [key for key in ("title", "base", "rows", "columns") if key not in settings]:
        raise RecipeError(f"{path}: {', '.join(missing)} missing")
    rows, columns, baseline = settings["rows"], settings["columns"], settings.get("baseline")
    if baseline is not None and baseline not in rows:
        raise RecipeError(f"{path}: baseline {baseline!r} is none of the rows {', '.join(rows)}")
    layers = settings.get("layers", [])
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    if unknown := [measure for measure in layers if measure not in MEASURES]:
        raise RecipeError(f"{path}: layers = {unknown[0]!r}: choose from {', '.join(MEASURES)}")
    by_layer = settings.get("by_layer", False)
    if by_layer and not layers:
        raise RecipeError(f"{path}: by_layer without layers: name a measure, of {', '.join(MEASURES)}")
    if not all(word in range(1, 1 + len(row.split())) for word in settings.get("panel", []) for row in rows):
        raise RecipeError(f"{path}: panel = {settings['panel']}: a row has no such word; count them from 1")
    places = {"row": rows, "column": columns, "cell": [f"{row}/{column}" for row in rows for column in columns]}
    for kind, names in places.items():
        if unknown := [key for key in settings.get(kind, {}) if not fnmatch.filter(names, key)]:
            raise RecipeError(f"{path}: overrides for {kind} {', '.join(unknown)}, which the table lacks")

    find_settings = functools.cache(recipes.find_settings)  # cells share their bases

    def make_cell(row: str, column: str) -> Cell:
        places = (("row", row), ("column", column), ("cell", f"{row}/{column}"))
        levels = [
            override
            for kind, place in places
            for pattern, override in settings.get(kind, {}).items()
            if fnmatch.fnmatchcase(place, pattern)
        ]
        overrides = recipes.merge({}, *levels)
        base = overrides.pop("base", settings["base"]).replace("{row}", row).replace("{column}", column)
        not_run = overrides.pop("not_run", settings.get("not_run", Cell.not_run))
        settings_of_base = dict(find_settings(base))
        if "published" in overrides:
            settings_of_base.pop("published", None)
        merged = recipes.merge(settings_of_base, overrides)
        if [level["published"] for level in levels if "published" in level][-1:] == [{}]:
            del merged["published"]
        return Cell(row, column, recipes.parse(merged, f"{path}: {row}/{column}"), not_run)

    cells = tuple(make_cell(row, column) for row in rows for column in columns)
    for cell in cells:
        if layers and info(cell.recipe.data.name).task.startswith("graph-"):
            raise RecipeError(f"{path}: {cell.name}: layers are measured on one graph, which its data is not")
    panel, timed = tuple(settings.get("panel", ())), settings.get("timed", False)
    return Table(path.stem, settings["title"], cells, baseline, layers, panel, by_layer, timed)


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
    return _in_order(_read(_layers_path(results, table), LayerRow), table)


def _layers_path(results: Path, table: Table) -> Path:
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


def _add(path: Path, kind: type[AnyRow], new: Sequence[AnyRow], table: Table) -> list[AnyRow]:
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


def reproduce(
    name: str | Path,
    *,
    cells: str | None = None,
    seeds: int | None = None,
    jobs: int = 1,
    results: Path | str = Path("results"),
    runs: Path | str = Path("runs"),
    progress: bool = False,
) -> list[CellResult]:
    """Runs what is missing of a table, and compares it with the published numbers.

    Every finished run is appended to `results/<table>.csv` at once; a run that is there already, made by the same
    recipe, is not repeated, and one that was interrupted goes on. Nor is one repeated that another table's results
    beside these have: it is taken over, unless layers are to be measured, for which its model would be needed; where
    its model is wanted, another folder of results has it trained. Seed 0 of all cells comes first, then seed 1, and so
    on; cells that differ in nothing that is trained share their runs, see `Table.trained_for`. What a table measures of
    the layers is appended to `results/<table>-layers.csv`; where it is missing there, the run's folder has the model;
    without that the run is made again.

    Args:
        name: A table or a recipe, or the path of the TOML file of one of your own.
        cells: Only the cell of this name, or if there is none those whose name contains this.
        seeds: Seeds 0 … seeds-1. Default: as many as each recipe says.
        jobs: Processes, each with one thread. A script that asks for more than one needs the usual
            `if __name__ == "__main__":` round its work.
        results: Folder of the results.
        runs: Folder of the runs' logs, states and models.
        progress: Show a progress bar.

    Returns:
        A result per cell. A cell whose data is out of reach is "not run", with the reason; a run that fails is told in
        its cell's `failures`, and the others go on.

    Raises:
        RecipeNotFound: There is no such table or recipe, or no such cell in it.
        RecipeError: The TOML file is no table or recipe, or `jobs` or `seeds` is not a whole number from 1.
        ZooError: The results are broken or cannot be written, or a process has died.
    """
    jobs = check_count("jobs", jobs, RecipeError)
    seeds = None if seeds is None else check_count("seeds", seeds, RecipeError)
    table = find_table(name)
    chosen = _choose(table, cells)
    if not chosen:
        names = ", ".join(cell.name for cell in table.cells)
        raise RecipeNotFound(f"table {table.name!r} has no cell like {cells!r}: {names}")
    results, runs = user_path(results), user_path(runs)
    path = results / f"{table.name}.csv"
    with locked(path):  # a place that cannot be written is told before anything is trained
        rows = read_results(path)
    done = {(row.cell, row.digest, row.seed) for row in rows}
    measured = Counter((row.cell, row.digest, row.seed) for row in read_layers(results, table))
    complete = {run for run in done if measured[run] == len(table.layers)}
    wanted = [
        (cell, seed)
        for cell in chosen
        for seed in range(seeds or cell.recipe.protocol.seeds)
        if (cell.name, cell.recipe.digest(), seed) not in (done if cell.from_log else complete)
    ]
    taken = [] if table.layers else _runs_elsewhere(wanted, path)
    if taken:
        rows = _add(path, Row, taken, table)
        had = {(row.cell, row.seed) for row in taken}
        wanted = [(cell, seed) for cell, seed in wanted if (cell.name, seed) not in had]
    pending = _trainings(table, wanted)
    absent: dict[str, str] = {}
    failures: dict[str, list[str]] = {cell.name: [] for cell in chosen}
    bar = tqdm(total=len(pending), desc=table.name, unit="run", disable=not progress)
    with bar:
        for training, outcomes in _run_all(pending, runs, jobs):
            if layers := [row for outcome in outcomes for row in outcome.layers]:
                _add(_layers_path(results, table), LayerRow, layers, table)
            if new := [outcome.row for outcome in outcomes if outcome.row]:
                rows = _add(path, Row, new, table)
            for outcome in outcomes:
                if isinstance(outcome.error, DatasetNotFound):
                    absent[outcome.cell.name] = str(outcome.error)
                elif outcome.error:
                    failures[outcome.cell.name].append(
                        f"{outcome.cell.recipe.name}, seed {training.seed}: {outcome.error}"
                    )
            bar.update()
    summaries = [
        summarise(cell, rows, absent.get(cell.name), table.baseline_of(cell)) for cell in chosen
    ]
    return [dataclasses.replace(summary, failures=tuple(failures[summary.cell.name])) for summary in summaries]


def _runs_elsewhere(wanted: Sequence[tuple[Cell, int]], path: Path) -> list[Row]:
    """Of the wanted runs those that other results in the folder have by the same recipe, as rows of this table."""
    known: dict[tuple[str, int], Row] = {}
    for name in list_results(path.parent) if wanted else ():
        with contextlib.suppress(ZooError):  # not results, or broken: for this table no matter
            known |= {(row.digest, row.seed): row for row in read_results(path.with_name(f"{name}.csv"))}
    found = [(cell, known.get((cell.recipe.digest(), seed))) for cell, seed in wanted]
    return [dataclasses.replace(row, cell=cell.name, recipe=cell.recipe.name) for cell, row in found if row]


def _choose(table: Table, cells: str | None) -> list[Cell]:
    """All cells if `cells` is None. A whole name goes first, for "GAT/Cora public" is a part of "G2GAT/Cora public"."""
    if cells is None:
        return list(table.cells)
    return [cell for cell in table.cells if cell.name == cells] or [cell for cell in table.cells if cells in cell.name]


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


def _trainings(table: Table, wanted: Iterable[tuple[Cell, int]]) -> list[_Training]:
    """What has to be trained for cells and seeds, the lowest seeds first."""
    served: dict[tuple[str, int], tuple[Recipe, list[Cell]]] = {}
    for cell, seed in sorted(wanted, key=lambda pair: pair[1]):
        recipe = table.trained_for(cell)
        served.setdefault((recipe.digest(), seed), (recipe, []))[1].append(cell)
    return [_Training(recipe, seed, tuple(cells), table.layers) for (_, seed), (recipe, cells) in served.items()]


def _run_all(pending: Sequence[_Training], runs: Path, jobs: int) -> Iterator[tuple[_Training, list[_Outcome]]]:
    if jobs == 1:
        for training in pending:
            yield training, _run(training, runs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(_run, training, runs): training for training in pending}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise ZooError(
                "a process of --jobs ended early: killed from outside (out of memory?), or the calling script lacks "
                '`if __name__ == "__main__":`. Called again, the runs go on'
            ) from error
        except BaseException:  # interrupted: the processes would train all that they have been handed
            for process in list(pool._processes.values()):
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """In a process of the pool: ends it when its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_folder(runs: Path, recipe: Recipe, seed: int) -> Path:
    """Where a run's files lie. Recipes that a table derives from one base differ in their digest."""
    return runs / f"{recipe.name}-{recipe.digest()}" / f"seed-{seed}"


def _run(training: _Training, runs: Path) -> list[_Outcome]:
    """What a training gives each of its cells; one that has ended before is read back."""
    from zoo.training.loop import train

    folder = run_folder(runs, training.recipe, training.seed)
    try:
        run = train(training.recipe, training.seed, folder)
    except ZooError as error:
        return [_Outcome(cell, error=error) for cell in training.cells]
    return [_outcome(cell, training, run, folder) for cell in training.cells]


def _measure_layers(run: "Run", training: _Training, measure: str) -> str:
    """The values of a `LayerRow`, computed with one thread as in training."""
    from zoo import analysis, datasets
    from zoo.training.loop import seeded

    data = training.recipe.data
    metric = getattr(analysis, measure.replace("-", "_"))
    with memory_as_zoo_error(), seeded(training.seed):
        graph = datasets.load(data.name, split=data.split, seed=training.seed, align=data.align)
        return " ".join(f"{value:.6g}" for value in analysis.per_layer(run.model, graph, metric))


def _outcome(cell: Cell, training: _Training, run: "Run", folder: Path) -> _Outcome:
    row = None
    try:
        row = _row(cell, training.seed, run, folder)
        layers = () if cell.from_log else _layer_rows(row, training, run)
    except ZooError as error:  # a run whose layers cannot be measured is a run all the same
        return _Outcome(cell, row, error=error)
    return _Outcome(cell, row, layers)


def _layer_rows(row: Row, training: _Training, run: "Run") -> tuple[LayerRow, ...]:
    return tuple(
        LayerRow(
            cell=row.cell,
            recipe=row.recipe,
            digest=row.digest,
            seed=row.seed,
            measure=measure,
            values=_measure_layers(run, training, measure),
        )
        for measure in training.measures
    )


def _row(cell: Cell, seed: int, run: "Run", folder: Path) -> Row:
    """A finished run as a cell's rule scores it."""
    from zoo.training.loop import read_log, select

    scores = select(read_log(folder, run.epochs), cell.recipe.protocol) if cell.from_log else vars(run)
    if not math.isfinite(scores["val"] + scores["test"]):
        raise ZooError(f"its scores are not finite: validation {scores['val']}, test {scores['test']}")
    return Row(
        cell=cell.name,
        recipe=cell.recipe.name,
        digest=cell.recipe.digest(),
        seed=seed,
        metric=run.metric,
        val=scores["val"],
        test=scores["test"],
        epoch=scores["epoch"],
        epochs=run.epochs,
        seconds=run.seconds,
        **run.environment,
    )


def summarise(
    cell: Cell, rows: Sequence[Row], reason: str | None = None, baseline: Cell | None = None
) -> CellResult:
    """Mean, deviation, verdict and difference from the baseline of a cell's runs among all of a table's.

    While runs are missing, only the distance counts for the verdict.
    """
    own = _runs_of(cell, rows)
    if not own:
        return CellResult(cell, own, None, None, "not run", reason or cell.not_run)
    scores = [row.test for row in own]
    mean = statistics.fmean(scores)
    std = statistics.stdev(scores) if len(scores) > 1 else None
    complete = len(scores) >= cell.recipe.protocol.seeds  # the fewer runs, the more would be compatible with them
    verdict = judge(mean, std if complete else None, len(scores), cell.recipe.published, own[0].metric)
    difference = _difference(own, _runs_of(baseline, rows)) if baseline is not None else None
    return CellResult(cell, own, mean, std, verdict, cell.recipe.diagnosis, difference=difference)


def _runs_of(cell: Cell, rows: Iterable[Row]) -> tuple[Row, ...]:
    digest = cell.recipe.digest()
    return tuple(row for row in rows if (row.cell, row.digest) == (cell.name, digest))


def _difference(rows: Iterable[Row], baseline: Iterable[Row]) -> Difference | None:
    """Paired over the seeds that both have; None with fewer than two."""
    from scipy import stats

    scores = {row.seed: row.test for row in baseline}
    differences = [row.test - scores[row.seed] for row in rows if row.seed in scores]
    n = len(differences)
    if n < 2:
        return None
    margin = float(stats.t.ppf(0.975, n - 1)) * statistics.stdev(differences) / math.sqrt(n)
    return Difference(statistics.fmean(differences), margin, n)


def judge(mean: float, std: float | None, n: int, published: Published | None, metric: str) -> str:
    """The verdict on a mean of n runs.

    Reproduced: the published value lies in the 95 % confidence interval of our mean, or Welch's test from the two
    summaries gives p ≥ 0.05, or they differ by at most 0.5 point. Close: by at most 2 points. A point is one per cent
    of accuracy or of area under the curve, and for NMSE and MSE one per cent of the published value.
    """
    if published is None:
        return "no published value"
    point = 1.0 if metric in PER_CENT else abs(published.value) / 100
    difference = mean - published.value
    if abs(difference) <= 0.5 * point or _compatible(mean, std, n, published):
        return "reproduced"
    if abs(difference) <= 2 * point:
        return "close"
    return "higher" if difference > 0 else "lower"


def _compatible(mean: float, std: float | None, n: int, published: Published) -> bool:
    """Whether a statistical test finds no difference."""
    from scipy import stats

    if std is None:
        return False
    if abs(mean - published.value) <= stats.t.ppf(0.975, n - 1) * std / math.sqrt(n):
        return True
    if not published.std:
        return False
    others = published.runs or SEEDS_ASSUMED
    test = stats.ttest_ind_from_stats(mean, std, n, published.value, published.std, others, equal_var=False)
    return bool(test.pvalue >= 0.05)
