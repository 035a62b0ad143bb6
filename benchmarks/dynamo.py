"""What the tables of DYNAMO-GAT tell beside scores, read from finished runs, and what its parts cost.

    python benchmarks/dynamo.py table1 [--results results] [--runs runs]
    python benchmarks/dynamo.py operations [--results results]
    python benchmarks/dynamo.py table5 [--results results] [--runs runs]
    python benchmarks/dynamo.py speed [--repeats 3]

`table1`: for every model and split of dynamo-fig2 the number of layers with the best mean validation accuracy, the
test accuracy there, the operations of a forward pass by `zoo.analysis.count_operations`, and accuracy in per cent per
GFLOP. A model with pruned edges is cheaper, so its own runs are counted, and their mean is told.

`operations`: the same two for the paper's depths and one split a data set, beside what the paper prints; accuracy is
that of dynamo-table1. Models are untrained, but for those that are among the checkpoints: their pruned edges do not
count.

`table5`: for every cell of dynamo-table3 the share of edges that the last layer has lost, and how alike the two ends of
the others and of the lost ones are, by `DynamoGAT.pruned_edges`; means over the runs.

For `table1` and `table5` models are taken from the folders of the runs: `zoo reproduce dynamo-fig2 --results anew` and
`zoo reproduce dynamo-table3 --results anew`, with `--cells` for a part, come first (where the results stand already,
nothing would be trained).

`speed`: seconds per epoch, with its evaluation and its share of pruning, of 128 layers on Cora, beside GAT, trained in
turn. GAT has no dropout here: DYNAMO-GAT has none between its layers. In these few epochs hardly an edge is pruned.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path

import click

from zoo import datasets, models, registry, weights
from zoo._dgl import dgl
from zoo.analysis import count_operations
from zoo.errors import CheckpointError
from zoo.formats import markdown_table, spread
from zoo.model import ZooModel
from zoo.models.dynamo_gat import DynamoGAT
from zoo.report import summaries
from zoo.reproduction import run_folder
from zoo.results import read_results
from zoo.tables import Table, find_table
from zoo.training import recipe as recipes
from zoo.training.loop import train
from zoo.training.recipe import Recipe
from zoo.verdicts import CellResult

EPOCHS = 20  # two of them prune
PRINTED = {  # GFLOPs, accuracy per GFLOP
    "GCN": ((0.598, 136.28), (1.789, 43.53), (0.049, 1106.12)),
    "GAT": ((2.351, 35.11), (6.754, 11.27), (0.184, 306.52)),
    "G2GAT": ((1.209, 68.88), (2.452, 33.47), (0.0879, 700.34)),
    "DYNAMO-GAT": ((0.605, 137.53), (1.675, 48.96), (0.051, 1226.67)),
}
COLUMNS = ("Cora public", "CiteSeer public", "Cornell geom-gcn")


def finished(table: Table, results: Path) -> list[CellResult]:
    """The cells of a table that have runs, in its order."""
    return [result for result in summaries(table, read_results(results / f"{table.name}.csv")) if result.rows]


def trained(table: Table, result: CellResult, runs: Path) -> Iterator[tuple[ZooModel, "dgl.DGLGraph"]]:
    """The models of a cell's runs, each with the graph that it was trained on."""
    data = result.cell.recipe.data
    for row in result.rows:
        try:
            model = weights.load_folder(run_folder(runs, table.trained_for(result.cell), row.seed))
        except CheckpointError as error:
            command = f'zoo reproduce {table.name} --cells "{result.cell.name}" --results anew'
            raise click.ClickException(f"{error}; first run {command}") from error
        yield model, datasets.load(data.name, split=data.split, seed=row.seed)


@click.group()
def main() -> None:
    """Tables 1 and 5 of DYNAMO-GAT, and its speed."""


@main.command()
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
@click.option("--runs", type=click.Path(path_type=Path), default="runs", show_default=True)
def table1(results: Path, runs: Path) -> None:
    """Prints the best depth of every model, and what it costs there."""
    table = find_table("dynamo-fig2")
    found, lines = finished(table, results), []
    for name in table.rows:
        if depths := [result for result in found if result.cell.row == name]:
            best = max(depths, key=lambda result: result.val or 0.0)
            gflops = statistics.fmean(count_operations(*pair) for pair in trained(table, best, runs)) / 1e9
            assert best.mean is not None
            scores = [spread("accuracy", best.val, None), spread("accuracy", best.mean, best.std, len(best.rows))]
            lines.append([name, best.cell.column, *scores, f"{gflops:.4f}", f"{best.mean / gflops:.2f}"])
    click.echo(markdown_table(["", "layers", "validation", "test accuracy (n)", "GFLOPs", "accuracy per GFLOP"], lines))


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
            gflops = count_operations(*model_of(result.cell.recipe)) / 1e9
            ratio = "–" if result.mean is None else f"{result.mean / gflops:.1f}"
            lines.append([row, column, f"{gflops:.4f}", f"{their_gflops:g}", ratio, f"{their_ratio:.1f}"])
    click.echo(markdown_table(["", "", "GFLOPs", "printed", "accuracy per GFLOP", "printed"], lines))


def model_of(recipe: Recipe) -> tuple[ZooModel, "dgl.DGLGraph"]:
    """The checkpoint of a recipe, or if there is none an untrained model, and its graph."""
    graph, about = datasets.load(recipe.data.name, split=recipe.data.split, seed=0), datasets.info(recipe.data.name)
    if recipe.name in registry.list_checkpoints():
        return weights.load(recipe.name), graph
    arguments = {"in_feats": about.in_feats, "num_classes": about.num_classes, **recipe.model}
    return models.create(recipe.method, {**arguments, "transforms": list(recipe.data.transforms)}), graph


@main.command()
@click.option("--results", type=click.Path(path_type=Path), default="results", show_default=True)
@click.option("--runs", type=click.Path(path_type=Path), default="runs", show_default=True)
def table5(results: Path, runs: Path) -> None:
    """Prints how many edges every variant has pruned, and which."""
    table = find_table("dynamo-table3")
    lines = []
    for result in finished(table, results):
        pruned = []
        for model, graph in trained(table, result, runs):
            assert isinstance(model, DynamoGAT)
            pruned.append(model.pruned_edges(model.prepare(graph)))
        share, kept, gone = (statistics.fmean(values) for values in zip(*pruned, strict=True))
        lines.append([result.cell.name, f"{100 * share:.1f} %", f"{kept:.3f}", f"{gone:.3f}", str(len(pruned))])
    click.echo(markdown_table(["", "pruned edges", "similarity, kept", "similarity, pruned", "runs"], lines))


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
