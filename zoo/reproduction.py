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
from typing import Any

from tqdm import tqdm

from zoo._files import locked, resource, write_text
from zoo.errors import DatasetNotFound, RecipeError, RecipeNotFound, ZooError
from zoo.registry import PER_CENT
from zoo.training import recipe as recipes
from zoo.training.recipe import Published, Recipe

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
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    baseline: str | None = None

    def baseline_of(self, cell: Cell) -> Cell | None:
        """The cell that another one is compared with."""
        if cell.row == self.baseline:
            return None
        return next((other for other in self.cells if (other.row, other.column) == (self.baseline, cell.column)), None)


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
    `[cell."ROW/COLUMN"]`, the later ones winning. It may have a `baseline`: the row that the others are compared with.

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
    known = {"title": str, "base": str, "rows": list, "columns": list, "baseline": str}
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
    return Table(path.stem, settings["title"], cells, baseline)


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


def _add_result(path: Path, row: Row, table: Table) -> list[Row]:
    """Adds a run to a results file, to which other processes may be adding too; returns what is then in it."""
    with locked(path):
        rows = _in_order([*read_results(path), row], table)
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
    recipe, is not repeated, and one that was interrupted goes on.

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
    pending = [
        (cell, seed)
        for cell in chosen
        for seed in range(seeds or cell.recipe.protocol.seeds)
        if (cell.name, cell.recipe.digest(), seed) not in done
    ]
    absent: dict[str, str] = {}
    failures: dict[str, list[str]] = {cell.name: [] for cell in chosen}
    bar = tqdm(total=len(pending), desc=table.name, unit="run", disable=not progress)
    with bar:
        for cell, outcome in _run_all(pending, Path(runs), jobs):
            if isinstance(outcome, Row):
                rows = _add_result(path, outcome, table)
            elif isinstance(outcome, DatasetNotFound):
                absent[cell.name] = str(outcome)
            else:
                failures[cell.name].append(str(outcome))
            bar.update()
    summaries = [summarise(cell, rows, absent.get(cell.name, ""), table.baseline_of(cell)) for cell in chosen]
    return [dataclasses.replace(summary, failures=tuple(failures[summary.cell.name])) for summary in summaries]


def _in_order(rows: list[Row], table: Table) -> list[Row]:
    """Sorted by cell and seed; runs of a recipe that has changed since are dropped."""
    order = {(cell.name, cell.recipe.digest()): i for i, cell in enumerate(table.cells)}
    current = {(order[row.cell, row.digest], row.seed): row for row in rows if (row.cell, row.digest) in order}
    return [current[place] for place in sorted(current)]


def _run_all(pending: Sequence[tuple[Cell, int]], runs: Path, jobs: int) -> Iterator[tuple[Cell, Row | ZooError]]:
    if jobs == 1:
        for cell, seed in pending:
            yield cell, _run(cell, seed, runs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(_run, cell, seed, runs): cell for cell, seed in pending}
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


def _run(cell: Cell, seed: int, runs: Path) -> Row | ZooError:
    """One run's row, or what kept it from ending."""
    from zoo.training.loop import train

    recipe = cell.recipe
    try:
        run = train(recipe, seed, run_folder(runs, recipe, seed))
    except DatasetNotFound as error:
        return error
    except ZooError as error:
        return ZooError(f"{recipe.name}, seed {seed}: {error}")
    return Row(
        cell=cell.name,
        recipe=recipe.name,
        digest=recipe.digest(),
        seed=seed,
        metric=run.metric,
        val=run.val,
        test=run.test,
        epoch=run.epoch,
        epochs=run.epochs,
        seconds=run.seconds,
        **run.environment,
    )


def summarise(cell: Cell, rows: Sequence[Row], reason: str = "", baseline: Cell | None = None) -> CellResult:
    """Mean, deviation, verdict and difference from the baseline of a cell's runs among all of a table's."""
    own = _runs_of(cell, rows)
    if not own:
        return CellResult(cell, own, None, None, "not run", reason or "no run yet")
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
