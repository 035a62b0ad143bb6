"""What a recipe's runs would have scored, had another rule selected the epoch.

    python benchmarks/selection_rules.py RECIPE [--runs runs]

Reads the logs of finished runs, made by `zoo reproduce TABLE --cells … --results anew`, and prints, rule by rule, mean
and unbiased standard deviation of the test score over the seeds, the mean epoch selected, and the verdict that this
would be. For metrics of which more is better, and for diagnoses only: nothing is selected by what it prints. A
best-test recipe that a table reads from the runs of another has none of its own: name that one.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from zoo.errors import ZooError
from zoo.reproduction import run_folder
from zoo.training.folder import RESULT, read_log
from zoo.training.loop import select
from zoo.training.recipe import SELECTIONS, Recipe, find
from zoo.verdicts import judge

Log = list[dict[str, Any]]


def both_at_their_best(log: Log) -> dict[str, Any]:
    """The last epoch at which neither validation accuracy nor validation loss had been better (the GAT authors')."""
    best_val, best_loss = -1.0, float("inf")
    selected = log[0]
    for line in log:
        if line["val"] >= best_val and line["val_loss"] <= best_loss:
            selected = line
        best_val, best_loss = max(best_val, line["val"]), min(best_loss, line["val_loss"])
    return selected


def ten_epochs_mean(log: Log) -> dict[str, Any]:
    """The epoch at which the validation loss first exceeds its mean over the ten before (the GCN authors' code)."""
    return log[first_above_mean(log, 10)]


def best_loss_until_stopped(log: Log) -> dict[str, Any]:
    """The lowest validation loss until it first exceeds its mean over the 200 epochs before (the GPR-GNN authors')."""
    return min(log[: first_above_mean(log, 200) + 1], key=lambda line: line["val_loss"])


def first_above_mean(log: Log, window: int) -> int:
    """Where the validation loss first exceeds its mean over the `window` epochs before; else the end of the log.

    Both authors look from the second epoch on that has so many before it.
    """
    losses = [line["val_loss"] for line in log]
    stops = (i for i in range(window + 1, len(log)) if losses[i] > statistics.fmean(losses[i - window : i]))
    return next(stops, len(log) - 1)


AUTHORS_RULES: dict[str, Callable[[Log], dict[str, Any]]] = {
    "both at their best": both_at_their_best,
    "loss above mean of 10": ten_epochs_mean,
    "best loss, mean of 200": best_loss_until_stopped,
}


def all_rules(recipe: Recipe) -> dict[str, Callable[[Log], dict[str, Any]]]:
    """Those that a recipe can ask for, and the authors'."""
    protocols = [replace(recipe.protocol, select=rule) for rule in SELECTIONS]
    return {protocol.select: partial(select, protocol=protocol) for protocol in protocols} | AUTHORS_RULES


def finished_log(folder: Path) -> Log:
    """The log of a run; ZooError if it has not come to its end."""
    try:
        epochs = json.loads((folder / RESULT).read_text(encoding="utf-8"))["epochs"]
    except (OSError, ValueError, KeyError) as error:
        raise ZooError(f"{folder} has no finished run ({error})") from error
    return read_log(folder, epochs)


@click.command()
@click.argument("name")
@click.option("--runs", type=click.Path(path_type=Path), default="runs", show_default=True)
def main(name: str, runs: Path) -> None:
    """Prints a line per rule."""
    try:
        recipe = find(name)
    except ZooError as error:
        raise click.ClickException(str(error)) from error
    try:
        logs = [finished_log(run_folder(runs, recipe, seed)) for seed in range(recipe.protocol.seeds)]
    except ZooError as error:
        hint = f"run a table that has {name}, as in zoo reproduce TABLE --cells CELL --results anew"
        raise click.ClickException(f"{error}; {hint}") from error
    for rule, selected_by in all_rules(recipe).items():
        lines = [selected_by(log) for log in logs]
        scores, epochs = [line["test"] for line in lines], [line["epoch"] for line in lines]
        mean, std = statistics.fmean(scores), statistics.stdev(scores)
        verdict = judge(mean, std, len(scores), recipe.published, recipe.protocol.metric)
        epoch = f"at epoch {statistics.fmean(epochs):.0f}"
        print(f"{rule:22s} {mean:6.2f} ± {std:.2f}   {epoch:13s}   ({len(lines)} seeds)   {verdict}")


if __name__ == "__main__":
    main()
