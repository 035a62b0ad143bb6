"""Which settings, and which reading of a paper, validation prefers: a grid over a recipe, told without test scores.

    python benchmarks/search.py sgc-texas label-sbp-cora feature-sbp-cora --seeds 1
    python benchmarks/search.py gcn-depth-study n2-depth-study --try training.lr=0.001,0.005,0.02

For SGC the grid is over learning rate and weight decay, for SBP over the readings of its step and over λ and β; with
`--try` it is over what is named there alone. Cells are trained as `zoo train` would train the recipe with these values,
seeds 0 … n-1, one process with one thread. Printed is the mean validation score, the best cells first, and the best
cell of every reading of SBP; of DYNAMO-GAT also the mean share of edges that its last layer has lost. A cell that
cannot be trained is told as such, and the others go on.
"""

import itertools
import statistics
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

import click
from tqdm import tqdm

from zoo import datasets
from zoo.errors import ZooError
from zoo.models.dynamo_gat import DynamoGAT
from zoo.training import recipe as recipes
from zoo.training.loop import train
from zoo.training.tasks import METRICS

SBP: dict[str, list[Any]] = {
    "model.adjacency": ["row", "symmetric"],
    "model.norm_after": ["each", "last", "none"],
    "model.lam": [0.1, 0.5, 0.9],
    "model.beta": [0.1, 0.5, 0.9, 1.0],
}
GRIDS: dict[str, dict[str, list[Any]]] = {
    "sgc": {"training.lr": [0.01, 0.1, 1.0], "training.weight_decay": [0.0, 5e-5, 5e-4]},
    "label-sbp": SBP,
    "feature-sbp": SBP,
}
READING = ("model.adjacency", "model.norm_after")

Cell = dict[str, Any]


class Outcome(NamedTuple):
    """What validation says of a cell, and how many of its edges DYNAMO-GAT has pruned."""

    cell: Cell
    validation: float
    pruned: float | None

    def told(self) -> str:
        """A line of text."""
        settings = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in self.cell.items())
        pruned = "" if self.pruned is None else f"; {100 * self.pruned:.1f} % of the edges pruned"
        return f"  {self.validation:6.2f}  {settings}{pruned}"


def cells(method: str, tried: tuple[str, ...]) -> Iterator[Cell]:
    """All combinations of what is tried, such as `training.lr=0.01,0.1`, or else of a method's grid."""
    grid = dict(map(_values, tried)) or GRIDS.get(method)
    if grid is None:
        raise click.ClickException(f"{method} has no grid: say what to --try")
    if len(grid) < len(tried):
        raise click.ClickException("a setting is tried twice: it is KEY=VALUE,… with all values")
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))


def _values(tried: str) -> tuple[str, list[Any]]:
    key, _, values = tried.partition("=")
    try:
        found = tomllib.loads(f"values = [{values}]")["values"]
    except tomllib.TOMLDecodeError as error:
        raise click.ClickException(f"--try {tried}: {error}") from error
    if not found or "." not in key:
        raise click.ClickException(f"--try {tried} is not TABLE.KEY=VALUE,…, such as training.lr=0.01,0.1")
    return key, found


def outcome(name: str, cell: Cell, seeds: int) -> Outcome:
    """Trains a recipe with a cell's values."""
    settings = recipes.find_settings(name)
    for key, value in cell.items():
        table, _, entry = key.partition(".")
        settings = recipes.merge(settings, {table: {entry: value}})
    recipe = recipes.parse(settings, name)
    scores, shares = [], []
    for seed in range(seeds):
        run = train(recipe, seed)
        scores.append(run.val)
        if isinstance(run.model, DynamoGAT):
            graph = datasets.load(recipe.data.name, split=recipe.data.split, seed=seed, align=recipe.data.align)
            shares.append(run.model.pruned_edges(run.model.prepare(graph))[-1].pruned_share)
    return Outcome(cell, statistics.fmean(scores), statistics.fmean(shares) if shares else None)


def search(name: str, seeds: int, tried: tuple[str, ...], best: int) -> None:
    """Trains a recipe's grid and prints what validation says."""
    recipe = recipes.find(name)
    method, sign = recipe.method, 1 if METRICS[recipe.protocol.metric].higher_is_better else -1
    found = []
    for cell in tqdm([*cells(method, tried)], desc=name, leave=False):
        try:
            found.append(outcome(name, cell, seeds))
        except ZooError as error:
            click.echo(f"{name}, {cell}: {error}")
    found.sort(key=lambda one: -sign * one.validation)
    click.echo(f"\n{name}: mean validation score over {seeds} seeds, best {min(best, len(found))} of {len(found)}")
    for one in found[:best]:
        click.echo(one.told())
    if method in ("label-sbp", "feature-sbp") and not tried:
        click.echo("  best of each reading")
        seen: set[tuple[Any, ...]] = set()
        for one in found:
            reading = tuple(one.cell[key] for key in READING)
            if reading not in seen:
                click.echo(one.told())
            seen.add(reading)


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--try", "tried", multiple=True, metavar="TABLE.KEY=VALUE,…", help="Values of a setting, as in TOML.")
@click.option("--best", type=click.IntRange(min=1), default=5, show_default=True, help="How many cells are printed.")
def main(names: tuple[str, ...], seeds: int, tried: tuple[str, ...], best: int) -> None:
    """Searches the grids of recipes."""
    for name in names:
        try:
            search(name, seeds, tried, best)
        except ZooError as error:
            raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
