"""From finished runs to a checkpoint that ships: the seed with the best validation score, scored once more."""

import dataclasses
from pathlib import Path

from zoo import datasets, registry, weights
from zoo._files import locked, resource
from zoo.api import score
from zoo.datasets import splits
from zoo.errors import CheckpointError
from zoo.registry import Checkpoint, Hub, Runs, Score, Weights
from zoo.reproduction import run_folder
from zoo.results import Row, read_results
from zoo.tables import find_table
from zoo.training.recipe import find
from zoo.training.tasks import METRICS
from zoo.verdicts import summarise

__all__ = ["bundle"]


def bundle(
    name: str, *, table: str | None = None, results: Path = Path("results"), runs: Path = Path("runs")
) -> Checkpoint:
    """Puts a recipe's best run into the package and the registry.

    The seed is chosen by validation score, the lowest of equals. The registry's score is that of the bundled file,
    measured here; it must be the one that the run recorded.

    Args:
        name: A recipe whose runs are in the results.
        table: Whose results. Default: the recipe's own.
        results: Folder of the results.
        runs: Folder of the runs.

    Raises:
        CheckpointError: The recipe selects on test scores, tests on training graphs or aligns its features; the table
            has no cell of these settings and this published number; there are no runs; or the file does not score what
            its run recorded. Nothing is changed then.
        RegistryError: The registry cannot be read; likewise.
    """
    recipe = find(name)
    if recipe.protocol.select == "best-test":
        raise CheckpointError(f"{name} selects on test scores: a label for a paper's number, not a model to ship")
    if splits.tests_on_all(recipe.data.split):
        raise CheckpointError(f"{name} tests on training graphs too: a label for a paper's number, not a model to ship")
    if recipe.data.align is not None:
        raise CheckpointError(f"{name} reads features in the columns of {recipe.data.align}, which no checkpoint tells")
    found = find_table(table or recipe.name)
    as_stated = recipe.digest(), recipe.published
    cell = next((cell for cell in found.cells if (cell.recipe.digest(), cell.recipe.published) == as_stated), None)
    if cell is None:
        what = f"recipe {name!r} as it stands, with its published number"
        raise CheckpointError(f"table {found.name!r} has no cell that is {what}")
    judged = dataclasses.replace(cell, recipe=recipe)  # with as many seeds as that asks for: a table may ask for fewer
    summary = summarise(judged, read_results(results / f"{found.name}.csv"))
    if summary.mean is None:
        raise CheckpointError(f"{name} has no runs in {results / found.name}.csv: reproduce it first")
    best = _best(summary.rows)
    model = weights.load_folder(run_folder(runs, found.trained_for(cell), best.seed))
    info = datasets.info(recipe.data.name)
    split = recipe.data.split or info.default_split
    value = score(model, recipe.data.name, split, best.seed, best.metric)
    if value != best.test:
        raise CheckpointError(f"{name}: the file scores {value}, its run recorded {best.test}")
    with locked(resource("checkpoints.json")):
        entries = registry.read()  # one that cannot be read is told before anything is written
        target = resource("pretrained") / recipe.name
        weights.write(model, target)
        content = (target / weights.WEIGHTS).read_bytes()
        entry = Checkpoint(
            name=recipe.name,
            model=type(model).__name__,
            method=recipe.method,
            recipe=recipe.name,
            dataset=recipe.data.name,
            split=split,
            task=info.task,
            params=sum(parameter.numel() for parameter in model.parameters()),
            weights=Weights(weights.sha256(content), len(content)),
            hub=Hub(None, None),
            score=Score(best.metric, value, best.seed),
            runs=Runs(len(summary.rows), summary.mean, summary.std),
            published=recipe.published,
            verdict=summary.verdict,
            environment={key: getattr(best, key) for key in ("python", "torch", "dgl")},
            license="Apache-2.0",
        )
        registry.write({**entries, recipe.name: entry})
    return entry


def _best(rows: tuple[Row, ...]) -> Row:
    """The row with the best validation score, the lowest seed of equals."""
    sign = 1 if METRICS[rows[0].metric].higher_is_better else -1
    return max(rows, key=lambda row: (sign * row.val, -row.seed))
