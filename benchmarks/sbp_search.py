"""Which reading of SBP, and which settings, validation prefers: a grid over a recipe, told without test scores.

    python benchmarks/sbp_search.py sgc-texas label-sbp-cora feature-sbp-cora --seeds 1

For SGC the grid is over learning rate and weight decay, for SBP over the readings of its step and over λ and β; with
`--lr` it is over learning rates alone, all else as the recipe has it. Cells are trained as `zoo train` would train the
recipe with these values, seeds 0 … n-1, one process with one thread. Printed is the mean validation accuracy, the best
cells first, and the best cell of every reading of SBP.
"""

import itertools
import statistics
from collections.abc import Iterator
from typing import Any

import click
from tqdm import tqdm

from zoo.training import recipe as recipes
from zoo.training.loop import train

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


def cells(method: str, rates: tuple[float, ...]) -> Iterator[Cell]:
    """All combinations of a method's grid, or the learning rates, if any."""
    grid = {"training.lr": list(rates)} if rates else GRIDS[method]
    return (dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values()))


def validation(name: str, cell: Cell, seeds: int) -> float:
    """Mean validation accuracy of a recipe with a cell's values."""
    settings = recipes.find_settings(name)
    for key, value in cell.items():
        table, _, entry = key.partition(".")
        settings = recipes.merge(settings, {table: {entry: value}})
    recipe = recipes.parse(settings, name)
    return statistics.fmean(train(recipe, seed).val for seed in range(seeds))


def search(name: str, seeds: int, rates: tuple[float, ...]) -> None:
    """Trains a recipe's grid and prints what validation says."""
    method = recipes.find(name).method
    scores = [
        (validation(name, cell, seeds), cell) for cell in tqdm(list(cells(method, rates)), desc=name, leave=False)
    ]
    scores.sort(key=lambda pair: -pair[0])
    click.echo(f"\n{name}: mean validation accuracy over {seeds} seeds, best five of {len(scores)}")
    for score, cell in scores[:5]:
        click.echo(f"  {score:6.2f}  {_told(cell)}")
    if method != "sgc" and not rates:
        click.echo("  best of each reading")
        seen: set[tuple[Any, ...]] = set()
        for score, cell in scores:
            reading = tuple(cell[key] for key in READING)
            if reading not in seen:
                click.echo(f"  {score:6.2f}  {_told(cell)}")
            seen.add(reading)


def _told(cell: Cell) -> str:
    return ", ".join(f"{key.partition('.')[2]} {value}" for key, value in cell.items())


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--lr", "rates", type=float, multiple=True, help="A learning rate to try. Default: the recipe's.")
def main(names: tuple[str, ...], seeds: int, rates: tuple[float, ...]) -> None:
    """Searches the grids of recipes."""
    for name in names:
        search(name, seeds, rates)


if __name__ == "__main__":
    main()
