"""Runs what is missing of a table, its recipes times their seeds, and compares it with the published numbers."""

import contextlib
import dataclasses
import difflib
import fnmatch
import math
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from zoo._checks import check_count
from zoo._files import locked, user_path
from zoo.errors import DatasetNotFound, RecipeError, RecipeNotFound, ZooError, memory_as_zoo_error
from zoo.results import LayerRow, Row, add_rows, layers_path, list_results, read_layers, read_results
from zoo.tables import OF_PRUNING, Cell, Table, find_table
from zoo.training.recipe import Recipe
from zoo.verdicts import CellResult, summarise

if TYPE_CHECKING:
    from zoo._dgl import dgl
    from zoo.model import ZooModel
    from zoo.training.folder import Run

__all__ = ["reproduce", "run_folder"]


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
        cells: Only the cell of this name, or if there is none those whose name contains this or is like this pattern,
            as in "Cora */64".
        seeds: Seeds 0 … seeds-1. Default: as many as each recipe says.
        jobs: Processes, each with one thread. A script that asks for more than one needs the usual
            `if __name__ == "__main__":` round its work.
        results: Folder of the results.
        runs: Folder of the runs' logs, states and models.
        progress: Show a progress bar.

    Returns:
        A result per cell. A cell without runs whose data is out of reach is "not run", with the reason. If it has some
        and its data is out of reach for the others, or if a run fails, its `failures` say so, and the rest goes on.

    Raises:
        RecipeNotFound: There is no such table or recipe, or no such cell in it.
        RecipeError: The TOML file is no table or recipe, or `jobs` or `seeds` is not a whole number from 1.
        ZooError: The results are broken or cannot be written, or a process has died.
    """
    jobs = check_count("jobs", jobs, RecipeError)
    seeds = None if seeds is None else check_count("seeds", seeds, RecipeError)
    table = find_table(name)
    chosen = _choose(table, cells)
    results, runs = user_path(results), user_path(runs)
    path = results / f"{table.name}.csv"
    with locked(path):  # a place that cannot be written is told before anything is trained
        rows = read_results(path)
    wanted = _missing(table, chosen, seeds, rows, results)
    taken = [] if table.layers else _runs_elsewhere(wanted, path)  # where layers are measured, rows are not enough
    if taken:
        rows = add_rows(path, Row, taken, table)
        wanted = _missing(table, chosen, seeds, rows, results)
    pending = _trainings(table, wanted)
    absent: dict[str, str] = {}
    failures: dict[str, list[str]] = {cell.name: [] for cell in chosen}
    if progress and not pending:
        tqdm.write(f"{table.name}: no run is missing in {path}", file=sys.stderr)
    bar = tqdm(total=len(pending), desc=table.name, unit="run", disable=not (progress and pending))
    with bar:
        for training, outcomes in _run_all(pending, runs, jobs):
            if layers := [row for outcome in outcomes for row in outcome.layers]:
                add_rows(layers_path(results, table), LayerRow, layers, table)
            if new := [outcome.row for outcome in outcomes if outcome.row]:
                rows = add_rows(path, Row, new, table)
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
    for summary in summaries:
        if summary.rows and (reason := absent.get(summary.cell.name)):  # else it is why there is none
            failures[summary.cell.name].append(f"{summary.cell.recipe.name}: {reason}")
    return [dataclasses.replace(summary, failures=tuple(failures[summary.cell.name])) for summary in summaries]


def _missing(
    table: Table, chosen: Sequence[Cell], seeds: int | None, rows: Sequence[Row], results: Path
) -> list[tuple[Cell, int]]:
    """The runs of chosen cells that have no row, or lack what the table measures of their layers."""
    done = {(row.cell, row.digest, row.seed) for row in rows}
    measured = Counter((row.cell, row.digest, row.seed) for row in read_layers(results, table))
    complete = {run for run in done if measured[run] == len(table.layers)}
    return [
        (cell, seed)
        for cell in chosen
        for seed in range(seeds or cell.recipe.protocol.seeds)
        if (cell.name, cell.recipe.digest(), seed) not in (done if cell.from_log else complete)
    ]


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
    by_name = {cell.name: cell for cell in table.cells}
    if cells in by_name:
        return [by_name[cells]]
    chosen = [cell for name, cell in by_name.items() if cells in name or fnmatch.fnmatchcase(name, cells)]
    if not chosen:
        near = ", ".join(difflib.get_close_matches(cells, by_name, n=5, cutoff=0))
        problem = f"table {table.name!r} has no cell like {cells!r}"
        raise RecipeNotFound(f"{problem}; the nearest of its {len(by_name)}: {near}")
    return chosen


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


def _measure_layers(model: "ZooModel", training: _Training) -> dict[str, str]:
    """By measure the values of a `LayerRow`, computed with one thread as in training."""
    from zoo import analysis, datasets
    from zoo.training.loop import seeded

    data, values = training.recipe.data, {}
    pruned_edges: list[NamedTuple] = []
    with memory_as_zoo_error():
        graph = datasets.load(data.name, split=data.split, seed=training.seed, align=data.align)
        for measure in training.measures:
            name = measure.replace("-", "_")
            with seeded(training.seed):
                if measure in OF_PRUNING:
                    pruned_edges = pruned_edges or _pruned_edges(model, graph)
                    values[measure] = [getattr(edges, name) for edges in pruned_edges]
                else:
                    values[measure] = analysis.per_layer(model, graph, getattr(analysis, name))
    return {measure: " ".join(f"{value:.6g}" for value in own) for measure, own in values.items()}


def _pruned_edges(model: Any, graph: "dgl.DGLGraph") -> "list[NamedTuple]":
    if not hasattr(model, "pruned_edges"):
        raise ZooError(f"a {type(model).__name__} prunes no edges, so that it has no {', '.join(OF_PRUNING)}")
    edges: list[NamedTuple] = model.pruned_edges(model.prepare(graph))
    return edges


def _outcome(cell: Cell, training: _Training, run: "Run", folder: Path) -> _Outcome:
    row = None
    try:
        row = _row(cell, training.seed, run, folder)
        layers = () if cell.from_log else _layer_rows(row, training, run)
    except ZooError as error:  # a run whose layers cannot be measured is a run all the same
        return _Outcome(cell, row, error=error)
    return _Outcome(cell, row, layers)


def _layer_rows(row: Row, training: _Training, run: "Run") -> tuple[LayerRow, ...]:
    measured = _measure_layers(run.model, training) if training.measures else {}
    return tuple(
        LayerRow(
            cell=row.cell, recipe=row.recipe, digest=row.digest, seed=row.seed, measure=measure, values=values
        )
        for measure, values in measured.items()
    )


def _row(cell: Cell, seed: int, run: "Run", folder: Path) -> Row:
    """A finished run as a cell's rule scores it."""
    from zoo.training.folder import read_log
    from zoo.training.loop import select

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
