"""What the results of DYNAMO-GAT tell beside scores, and what its parts cost.

    python benchmarks/dynamo.py table1 [--results results]
    python benchmarks/dynamo.py operations [--results results]
    python benchmarks/dynamo.py prunings [--results results]
    python benchmarks/dynamo.py speed [--repeats 3]

`table1`: for every model and split of dynamo-fig2 of which all depths have been run the number of layers with the best
mean validation accuracy, of equals the smallest, the test accuracy there beside what the paper prints for its best
depth, with a verdict, the operations of a forward pass by `zoo.analysis.count_operations`, and accuracy in per cent per
GFLOP. Models are untrained: that DYNAMO-GAT's would be cheaper by some pruned edges is not counted.

`operations`: the last two for the paper's depths and one split a data set, beside what the paper prints; accuracy is
that of dynamo-table1. Models are untrained, but for those that are among the checkpoints: their pruned edges do not
count.

`prunings`: for every cell of DYNAMO-GAT in its tables 1, 3, 5 and 6 and in depth-study the epochs that validation has
selected, and how often edges had been weakened by then.

`speed`: seconds per epoch, with its evaluation and its share of pruning, of 128 layers on Cora, beside GAT, trained in
turn. GAT has no dropout here: DYNAMO-GAT has none between its layers. In these few epochs hardly an edge is pruned.
"""

import statistics
from pathlib import Path

import click

from zoo import datasets, models, registry, weights
from zoo._dgl import dgl
from zoo.analysis import count_operations
from zoo.formats import markdown_table, spread
from zoo.model import ZooModel
from zoo.report import summaries
from zoo.results import read_results
from zoo.tables import find_table
from zoo.training import recipe as recipes
from zoo.training.loop import train
from zoo.training.recipe import Recipe
from zoo.verdicts import CellResult, judge

EPOCHS = 20  # two of them prune
PRINTED = {  # GFLOPs, accuracy per GFLOP
    "GCN": ((0.598, 136.28), (1.789, 43.53), (0.049, 1106.12)),
    "GAT": ((2.351, 35.11), (6.754, 11.27), (0.184, 306.52)),
    "G2GAT": ((1.209, 68.88), (2.452, 33.47), (0.0879, 700.34)),
    "DYNAMO-GAT": ((0.605, 137.53), (1.675, 48.96), (0.051, 1226.67)),
}
TABLES = ("dynamo-table1", "dynamo-table3", "dynamo-table5", "dynamo-table6", "depth-study")
COLUMNS = ("Cora public", "CiteSeer public", "Cornell geom-gcn")


def finished(name: str, results: Path) -> list[CellResult]:
    """The cells of a table that have runs, in its order."""
    rows = read_results(results / f"{name}.csv")
    return [result for result in summaries(find_table(name), rows) if result.rows]


@click.group()
def main() -> None:
    """Tables and speed of DYNAMO-GAT."""


@main.command()
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
def table1(results: Path) -> None:
    """Prints the best depth of every model, the verdict on its score there, and what it costs."""
    printed = {cell.name: cell.recipe.published for cell in find_table("dynamo-table1").cells}
    rows: dict[str, list[CellResult]] = {}
    for result in finished("dynamo-fig2", results):
        rows.setdefault(result.cell.row, []).append(result)
    lines = []
    asked = len(find_table("dynamo-fig2").columns)
    for name, depths in rows.items():
        if len(depths) < asked:
            continue
        best = max(depths, key=lambda result: result.val or 0.0)
        column, _, row = name.rpartition(" ")
        paper = printed[f"{row}/{column}"]
        assert best.mean is not None and paper is not None
        gflops = count_operations(*untrained(best.cell.recipe)) / 1e9
        scores = [spread("accuracy", best.val, None), spread("accuracy", best.mean, best.std, len(best.rows))]
        verdict = judge(best.mean, best.std, len(best.rows), paper, "accuracy")
        costs = [f"{gflops:.4f}", f"{best.mean / gflops:.1f}"]
        lines.append([name, best.cell.column, *scores, f"{paper.value:.2f}", verdict, *costs])
    header = ["", "layers", "validation", "test (n)", "printed", "verdict", "GFLOPs", "accuracy per GFLOP"]
    click.echo(markdown_table(header, lines))


@main.command()
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
def operations(results: Path) -> None:
    """Prints what a forward pass costs at the paper's depths, beside what the paper prints."""
    table = find_table("dynamo-table1")
    found = {result.cell.name: result for result in summaries(table, read_results(results / "dynamo-table1.csv"))}
    lines = []
    for row, printed in PRINTED.items():
        for column, (their_gflops, their_ratio) in zip(COLUMNS, printed, strict=True):
            result = found[f"{row}/{column}"]
            gflops = count_operations(*bundled_or_untrained(result.cell.recipe)) / 1e9
            ratio = "–" if result.mean is None else f"{result.mean / gflops:.1f}"
            lines.append([row, column, f"{gflops:.4f}", f"{their_gflops:g}", ratio, f"{their_ratio:.1f}"])
    click.echo(markdown_table(["", "", "GFLOPs", "printed", "accuracy per GFLOP", "printed"], lines))


def bundled_or_untrained(recipe: Recipe) -> tuple[ZooModel, dgl.DGLGraph]:
    """The checkpoint of a recipe, or if there is none an untrained model, and its graph."""
    if recipe.name in registry.list_checkpoints():
        return weights.load(recipe.name), datasets.load(recipe.data.name, split=recipe.data.split, seed=0)
    return untrained(recipe)


def untrained(recipe: Recipe) -> tuple[ZooModel, dgl.DGLGraph]:
    """A recipe's model at its start, and its graph."""
    graph, about = datasets.load(recipe.data.name, split=recipe.data.split, seed=0), datasets.info(recipe.data.name)
    arguments = {"in_feats": about.in_feats, "num_classes": about.num_classes, **recipe.model}
    return models.create(recipe.method, {**arguments, "transforms": list(recipe.data.transforms)}), graph


@main.command()
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
def prunings(results: Path) -> None:
    """Prints how often edges had been weakened by the selected epochs."""
    lines = []
    for name in TABLES:
        for result in finished(name, results):
            options = result.cell.recipe.model
            if result.cell.recipe.method == "dynamo-gat" and options["rate"] > 0:
                epochs = sorted(run.epoch for run in result.rows)
                times = [epoch // options["prune_every"] for epoch in epochs]
                counts = [", ".join(map(str, epochs)), f"{times[0]} to {times[-1]}", str(times.count(0))]
                lines.append([name, result.cell.name, *counts])
    click.echo(markdown_table(["table", "cell", "selected epochs", "prunings", "runs without any"], lines))


@main.command()
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True)
def speed(repeats: int) -> None:
    """Prints seconds per epoch of 128 layers on Cora, and their ratio to GAT's."""
    models = {
        "GAT": ("gat-depth-study", {"num_layers": 128, "dropout": 0.0}),
        "DYNAMO-GAT": ("dynamo-gat-cora-128", {"num_layers": 129}),
    }
    times: dict[str, list[float]] = {method: [] for method in models}
    for _ in range(repeats):
        for method, (name, model) in models.items():
            settings = recipes.merge(recipes.find_settings(name), {"model": model, "training": {"epochs": EPOCHS}})
            run = train(recipes.parse(settings, name))
            times[method].append(run.seconds / run.epochs)
    medians = {method: statistics.median(own) for method, own in times.items()}
    for method, seconds in medians.items():
        click.echo(f"{method:12s} {seconds:.3f} s an epoch   {seconds / medians['GAT']:.2f}")


if __name__ == "__main__":
    main()
