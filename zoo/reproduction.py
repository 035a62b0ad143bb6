"""A table is recipes times seeds: run them, keep every run's numbers, compare with the published ones."""

import csv
import dataclasses
import difflib
import io
import math
import multiprocessing
import multiprocessing.connection
import os
import statistics
import threading
import typing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from zoo._files import locked, resource, write_text
from zoo.errors import DatasetNotFound, RecipeError, RecipeNotFound, ZooError
from zoo.registry import PER_CENT
from zoo.training import recipe as recipes
from zoo.training.recipe import Published, Recipe

if TYPE_CHECKING:
    from zoo.training.loop import Run

__all__ = [
    "Cell",
    "CellResult",
    "Difference",
    "Row",
    "Table",
    "find_table",
    "list_tables",
    "read_results",
    "reproduce",
    "summarise",
]

SEEDS_ASSUMED = 10  # where a paper prints a deviation but not its number of runs


@dataclass(frozen=True)
class Cell:
    """One cell of a table: a recipe at a place."""

    row: str
    column: str
    recipe: Recipe

    @property
    def name(self) -> str:
        """Row and column, by which results name the cell."""
        return f"{self.row}/{self.column}" if self.column else self.row


@dataclass(frozen=True)
class Table:
    """A paper's table or figure, or a single recipe.

    Attributes:
        name: File name of the table, also of its results.
        title: What it shows.
        cells: Row by row.
        baseline: The row that the others are compared with, seed by seed. Default: none.
        not_run: Why cells without runs have none.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    baseline: str | None = None
    not_run: str = "no run yet"

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
        if recipe.protocol.select == "best-test":
            recipe = dataclasses.replace(recipe, protocol=dataclasses.replace(recipe.protocol, select="best-val"))
        digest = recipe.digest()
        return next((other.recipe for other in self.cells if other.recipe.digest() == digest), recipe)


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


@dataclass(frozen=True)
class _Training:
    """A run to make, and the cells whose rows it gives."""

    recipe: Recipe
    seed: int
    cells: tuple[Cell, ...]


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


def list_tables() -> list[str]:
    """The names of all tables that come with the zoo, sorted."""
    return sorted(path.stem for path in _table_folder().glob("*.toml"))


def _table_folder() -> Path:
    return resource("recipes") / "tables"


def find_table(name: str) -> Table:
    """A table by its name, or a recipe (name or path) as a table of one cell.

    A table's TOML has `title`, `base` (a recipe's name, in which {row} and {column} are filled in), `rows` and
    `columns` (names), and overrides of the base recipe's keys, or of `base` itself: `[row.NAME]`, `[column.NAME]`,
    `[cell."ROW/COLUMN"]`, the later ones winning. It may have a `baseline`: the row that the others are compared with,
    and `not_run`: why cells without runs have none.

    Raises:
        RecipeNotFound: No such table or recipe.
        RecipeError: The file is wrong.
    """
    path = _table_folder() / f"{name}.toml"
    if name in list_tables():
        return _parse_table(recipes.read_toml(path), path)
    try:
        recipe = recipes.find(name)
    except RecipeNotFound as error:
        near = difflib.get_close_matches(name, [*list_tables(), *recipes.list_recipes()], n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"tables: {', '.join(list_tables())}"
        raise RecipeNotFound(f"no table or recipe {name!r}: {hint}") from error
    return Table(recipe.name, recipe.name, (Cell(recipe.name, "", recipe),))


def _parse_table(settings: dict[str, Any], path: Path) -> Table:
    known = {"title": str, "base": str, "rows": list, "columns": list, "baseline": str, "not_run": str}
    known |= {"row": dict, "column": dict, "cell": dict}
    for key, value in settings.items():
        if key not in known or not isinstance(value, known[key]):
            raise RecipeError(f"{path}: {key!r} is unknown or of a wrong type; a table has {', '.join(known)}")
    if missing := [key for key in ("title", "base", "rows", "columns") if key not in settings]:
        raise RecipeError(f"{path}: {', '.join(missing)} missing")
    rows, columns, baseline = settings["rows"], settings["columns"], settings.get("baseline")
    if baseline is not None and baseline not in rows:
        raise RecipeError(f"{path}: baseline {baseline!r} is none of the rows {', '.join(rows)}")
    places = {"row": rows, "column": columns, "cell": [f"{row}/{column}" for row in rows for column in columns]}
    for kind, names in places.items():
        if unknown := settings.get(kind, {}).keys() - set(names):
            raise RecipeError(f"{path}: overrides for {kind} {', '.join(sorted(unknown))}, which the table lacks")

    def cell(row: str, column: str) -> Cell:
        overrides = recipes.merge(
            *(settings.get(kind, {}).get(place, {}) for kind, place in
              (("row", row), ("column", column), ("cell", f"{row}/{column}")))
        )
        base = overrides.pop("base", settings["base"]).replace("{row}", row).replace("{column}", column)
        merged = recipes.merge(recipes.find_settings(base), overrides)
        return Cell(row, column, recipes.parse(merged, f"{path}: {row}/{column}"))

    cells = tuple(cell(row, column) for row in rows for column in columns)
    options = {key: settings[key] for key in ("baseline", "not_run") if key in settings}
    return Table(path.stem, settings["title"], cells, **options)


def read_results(path: Path) -> list[Row]:
    """The runs in a results file; none if it does not exist, ZooError if it is broken."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"cannot read results from {path}: {error}") from error
    types = typing.get_type_hints(Row)
    rows = []
    for number, line in enumerate(csv.DictReader(text.splitlines()), start=2):
        try:
            rows.append(Row(**{key: types[key](value) for key, value in line.items()}))
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{path}, line {number} is not a run ({error}): mend or delete it") from error
    return rows


def _add_results(path: Path, new: Sequence[Row], table: Table) -> list[Row]:
    """Adds runs to a results file, to which other processes may be adding too; returns what is then in it."""
    with locked(path):
        rows = _in_order([*read_results(path), *new], table)
        _write_results(path, rows)
    return rows


def _write_results(path: Path, rows: Iterable[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    write_text(path, text.getvalue())


def reproduce(
    name: str,
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
    recipe, is not repeated, and one that was interrupted goes on. Seed 0 of all cells comes first, then seed 1, and so
    on; cells that differ in nothing that is trained share their runs, see `Table.trained_for`.

    Args:
        name: A table, or a recipe.
        cells: Only cells whose name contains this.
        seeds: Seeds 0 … seeds-1. Default: as many as each recipe says.
        jobs: Processes, each with one thread. A script that asks for more than one needs the usual
            `if __name__ == "__main__":` round its work.
        results: Folder of the results.
        runs: Folder of the runs' logs, states and models.
        progress: Show a progress bar.

    Returns:
        A result per cell. A cell whose data is out of reach is "not run", with the reason; a run that fails is told in
        its cell's `failures`, and the others go on.
    """
    if jobs < 1:
        raise RecipeError(f"jobs must be at least 1, got {jobs}")
    table = find_table(name)
    chosen = [cell for cell in table.cells if cells is None or cells in cell.name]
    if not chosen:
        raise RecipeNotFound(f"table {name!r} has no cell like {cells!r}: {', '.join(c.name for c in table.cells)}")
    path = Path(results) / f"{table.name}.csv"
    with locked(path):  # a place that cannot be written is told before anything is trained
        rows = read_results(path)
    done = {(row.cell, row.digest, row.seed) for row in rows}
    pending = _trainings(
        table,
        [
            (cell, seed)
            for cell in chosen
            for seed in range(seeds or cell.recipe.protocol.seeds)
            if (cell.name, cell.recipe.digest(), seed) not in done
        ],
    )
    absent: dict[str, str] = {}
    failures: dict[str, list[str]] = {cell.name: [] for cell in chosen}
    bar = tqdm(total=len(pending), desc=table.name, unit="run", disable=not progress)
    with bar:
        for training, outcomes in _run_all(pending, Path(runs), jobs):
            if new := [outcome for outcome in outcomes if isinstance(outcome, Row)]:
                rows = _add_results(path, new, table)
            for cell, outcome in zip(training.cells, outcomes, strict=True):
                if isinstance(outcome, DatasetNotFound):
                    absent[cell.name] = str(outcome)
                elif isinstance(outcome, ZooError):
                    failures[cell.name].append(str(outcome))
            bar.update()
    summaries = [
        summarise(cell, rows, absent.get(cell.name, table.not_run), table.baseline_of(cell)) for cell in chosen
    ]
    return [dataclasses.replace(summary, failures=tuple(failures[summary.cell.name])) for summary in summaries]


def _in_order(rows: list[Row], table: Table) -> list[Row]:
    """Sorted by cell and seed; runs of a recipe that has changed since are dropped."""
    order = {(cell.name, cell.recipe.digest()): i for i, cell in enumerate(table.cells)}
    current = {(order[row.cell, row.digest], row.seed): row for row in rows if (row.cell, row.digest) in order}
    return [current[place] for place in sorted(current)]


def _trainings(table: Table, wanted: Iterable[tuple[Cell, int]]) -> list[_Training]:
    """What has to be trained for cells and seeds, the lowest seeds first."""
    served: dict[tuple[str, int], tuple[Recipe, list[Cell]]] = {}
    for cell, seed in sorted(wanted, key=lambda pair: pair[1]):
        recipe = table.trained_for(cell)
        served.setdefault((recipe.digest(), seed), (recipe, []))[1].append(cell)
    return [_Training(recipe, seed, tuple(cells)) for (_, seed), (recipe, cells) in served.items()]


def _run_all(
    pending: Sequence[_Training], runs: Path, jobs: int
) -> Iterator[tuple[_Training, list[Row | ZooError]]]:
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


def _run(training: _Training, runs: Path) -> list[Row | ZooError]:
    """A row for each cell that a training serves, or what kept it from one."""
    from zoo.training.loop import train

    folder = run_folder(runs, training.recipe, training.seed)
    try:
        run = train(training.recipe, training.seed, folder)
    except DatasetNotFound as error:
        return [error] * len(training.cells)
    except ZooError as error:
        return [_failed(cell, training.seed, error) for cell in training.cells]
    return [_row(cell, training, run, folder) for cell in training.cells]


def _failed(cell: Cell, seed: int, error: ZooError) -> ZooError:
    return ZooError(f"{cell.recipe.name}, seed {seed}: {error}")


def _row(cell: Cell, training: _Training, run: "Run", folder: Path) -> Row | ZooError:
    """A finished run as a cell's rule scores it."""
    from zoo.training.loop import read_log, select

    protocol = cell.recipe.protocol
    scores = vars(run)
    if protocol.select != training.recipe.protocol.select:
        try:
            scores = select(read_log(folder, run.epochs), protocol)
        except ZooError as error:
            return _failed(cell, training.seed, error)
    return Row(
        cell=cell.name,
        recipe=cell.recipe.name,
        digest=cell.recipe.digest(),
        seed=training.seed,
        metric=run.metric,
        val=scores["val"],
        test=scores["test"],
        epoch=scores["epoch"],
        epochs=run.epochs,
        seconds=run.seconds,
        **run.environment,
    )


def summarise(
    cell: Cell, rows: Sequence[Row], reason: str = "no run yet", baseline: Cell | None = None
) -> CellResult:
    """Mean, deviation, verdict and difference from the baseline of a cell's runs among all of a table's."""
    own = _runs_of(cell, rows)
    if not own:
        return CellResult(cell, own, None, None, "not run", reason)
    scores = [row.test for row in own]
    mean = statistics.fmean(scores)
    std = statistics.stdev(scores) if len(scores) > 1 else None
    verdict = judge(mean, std, len(scores), cell.recipe.published, own[0].metric)
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
    of accuracy or of area under the curve, and for NMSE one per cent of the published value.
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
