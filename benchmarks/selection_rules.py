"""What a recipe's runs would have scored, had another rule selected the epoch.

    python benchmarks/selection_rules.py RECIPE [--runs runs]

Reads the logs of finished runs (`zoo reproduce RECIPE` makes them) and prints the test score's mean and unbiased
standard deviation over the seeds, rule by rule. For diagnoses: nothing is selected by what it prints.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from zoo.errors import ZooError
from zoo.reproduction import run_folder
from zoo.training.loop import LOG
from zoo.training.recipe import find

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


RULES: dict[str, Callable[[Log], dict[str, Any]]] = {
    "best-val": lambda log: max(log, key=lambda line: (line["val"], -line["val_loss"])),
    "best-val-loss": lambda log: min(log, key=lambda line: line["val_loss"]),
    "both at their best": both_at_their_best,
    "last": lambda log: log[-1],
    "best-test (weak)": lambda log: max(log, key=lambda line: line["test"]),
}


@click.command()
@click.argument("name")
@click.option("--runs", type=click.Path(path_type=Path), default="runs", show_default=True)
def main(name: str, runs: Path) -> None:
    """Prints a line per rule."""
    recipe = find(name)
    paths = [run_folder(runs, recipe, seed) / LOG for seed in range(recipe.protocol.seeds)]
    try:
        logs = [[json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in paths]
    except OSError as error:
        raise ZooError(f"{error}: run `zoo reproduce {name}` first") from error
    for rule, select in RULES.items():
        scores = [select(log)["test"] for log in logs]
        print(f"{rule:20s} {statistics.fmean(scores):6.2f} ± {statistics.stdev(scores):.2f} ({len(scores)})")


if __name__ == "__main__":
    main()
