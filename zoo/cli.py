"""The command line: each command calls one function of the API."""

import contextlib
import errno
import io
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from zoo import __version__, registry
from zoo.errors import CheckpointNotFound, DGLImportError, RecipeNotFound, ZooError
from zoo.formats import CHECKPOINT_HEADER, checkpoint_rows, difference, number, published, spread

__all__ = ["main"]

T = TypeVar("T")

directed_option = click.option(
    "--directed", is_flag=True, help="Take the file's edges as they are, as of a .bin always; else in both directions."
)


class _Commands(click.Group):
    """Prints a ZooError on one line and exits with 2, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors != "backslashreplace":
            sys.stdout.reconfigure(errors="replace")  # where a locale lacks –, say, ? stands for it
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: click.echo(f"zoo: {message}", err=True)
                return super().invoke(context)
        except DGLImportError as error:  # a screen of its own, with the command that mends it
            click.echo(str(error), err=True)
        except ZooError as error:
            _echo_error(error)
        except OSError as error:  # standard output is a full disk, or a reader that has gone, which click takes calmly
            if error.errno == errno.EPIPE:
                raise
            click.echo(f"zoo: {error}", err=True)
        sys.exit(2)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Pretrained graph neural networks, each with its recipe, its measured score and the published number."""


def _table(header: list[str], rows: list[list[str]]) -> None:
    """Prints left-aligned columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, ["-" * width for width in widths], *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_utf8() -> None:
    """For programs to read: names and ids can have letters that the locale lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


@main.command("list")
@click.argument("pattern", default="*")
@click.option("--dataset", help="Only those trained on this data set.")
@click.option("--method", help="Only those of this method.")
@click.option("--task", type=click.Choice(registry.TASK_NAMES), help="Only those for this task.")
def list_(pattern: str, **filters: str | None) -> None:
    """Lists checkpoints whose name fits a PATTERN such as 'cna-*'."""
    entries = [registry.info(name) for name in registry.list_checkpoints(pattern, **filters)]
    if not entries:
        raise CheckpointNotFound("no checkpoint fits; `zoo list` names them all")
    _table(CHECKPOINT_HEADER, checkpoint_rows(entries))


@main.command(short_help="What is known of a checkpoint, as JSON.")
@click.argument("name")
def show(name: str) -> None:
    """Shows what is known of a checkpoint, and as `settings` how its recipe trains it."""
    import dataclasses
    import json

    from zoo.training import recipe as recipes

    entry = dataclasses.asdict(registry.info(name))
    with contextlib.suppress(RecipeNotFound):  # then an installation of other recipes
        settings = recipes.find_settings(entry["recipe"])
        entry["settings"] = {table: settings[table] for table in recipes.TABLES if table in settings}
    _print_utf8()
    click.echo(json.dumps(entry, indent=2, ensure_ascii=False))


@main.command("eval", short_help="Scores checkpoints.")
@click.argument("sources", nargs=-1, required=True)
@click.option("--graph", type=click.Path(path_type=Path), help="Score on its test mask; a file as for `predict`.")
@directed_option
@click.option(
    "--metric",
    type=click.Choice(registry.METRIC_NAMES),
    help="Default: that of the recorded score; on a graph accuracy, for regression mse, for several labels roc-auc.",
)
def evaluate(sources: tuple[str, ...], graph: Path | None, directed: bool, metric: str | None) -> None:
    """Scores checkpoints on their own test sets, or on a graph of yours; exits with 1 if a recorded score differs."""
    from zoo import datasets
    from zoo.api import evaluate

    if directed and graph is None:
        raise click.UsageError("--directed is about the file of --graph")
    data = None if graph is None else datasets.read_graph(graph, undirected=not directed)
    score = partial(evaluate, data=data, metric=metric)
    results = [result for source in sources if (result := _reported(score, source))]
    if results:
        _table(
            ["name", "metric", "measured", "recorded", "same"],
            [[result.name, result.metric, f"{result.value:.4f}", *_recorded(result)] for result in results],
        )
    if len(results) < len(sources):
        sys.exit(2)
    if any(result.matches is False for result in results):
        sys.exit(1)


def _recorded(result: Any) -> list[str]:
    if result.recorded is None:
        return ["–", "–"]
    return [f"{result.recorded:.4f}", "yes" if result.matches else "NO"]


def _reported(call: Callable[[str], T], name: str) -> T | None:
    """What a call returns for a name; where it fails, the error is printed and the others still have their turn."""
    try:
        return call(name)
    except ZooError as error:
        _echo_error(error)
        return None


def _echo_error(error: ZooError) -> None:
    click.echo(f"zoo: {' '.join(str(error).split())}", err=True)


@main.command(short_help="Classes for your graph, or graphs.")
@click.argument("source")
@click.argument("graph", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="A .csv or .npz. Default: CSV (UTF-8) on standard output.")
@click.option(
    "--block-size",
    type=click.IntRange(1),
    default=1 << 18,
    show_default=True,
    help="Most edges whose messages are in memory at a time; the answer does not depend on it.",
)
@directed_option
def predict(source: str, graph: Path, out: Path | None, block_size: int, directed: bool) -> None:
    """Classes and probabilities for a GRAPH of your own: .npz, DGL .bin, or a folder of CSVs.

    SOURCE is a checkpoint's name, a ./folder, or hf://organisation/name.
    """
    from zoo import predictions
    from zoo.api import predict
    from zoo.datasets.reading import read_named_graph
    from zoo.weights import load

    if out is not None:
        predictions.check_ending(out)
    model = load(source)
    data, names = read_named_graph(graph, undirected=not directed)
    item, ids = ("node", names) if model.readout is None else ("graph", None)
    prediction = predict(model, data, block_size=block_size)
    if out is None:
        _print_utf8()
        predictions.write_csv(prediction, sys.stdout, item=item, ids=ids)
    else:
        predictions.write(prediction, out, item=item, ids=ids)


@main.command(short_help="Trains a recipe.")
@click.argument("recipe")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the model, its result, log and state.")
def train(recipe: str, seed: int, out: Path | None) -> None:
    """Trains a RECIPE (a name, or a TOML file of your own) with one seed.

    With --out the model is kept, and an interrupted run goes on; without, only the scores are printed.
    """
    from zoo.training.loop import train

    run = train(recipe, seed, out, progress=True)
    click.echo(f"epoch {run.epoch} of {run.epochs}: {_scores(run)}")


def _scores(run: Any) -> str:
    """`accuracy 98.89 on validation, 98.33 on test`."""
    return f"{run.metric} {number(run.val, run.metric)} on validation, {number(run.test, run.metric)} on test"


@main.command(short_help="Trains a checkpoint further, on your graph.")
@click.argument("source")
@click.argument("graph", type=click.Path(path_type=Path))
@click.option("--out", "folder", type=click.Path(path_type=Path), required=True, help="Folder for the new checkpoint.")
@click.option("--epochs", type=click.IntRange(1), default=100, show_default=True, help="Most epochs.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=5e-3, show_default=True, help="Learning rate.")
@click.option("--weight-decay", type=click.FloatRange(0), default=5e-4, show_default=True, help="L2 penalty.")
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=50,
    show_default=True,
    help="Stop after so many epochs without progress; 0: never.",
)
@click.option(
    "--layer-decay",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="What is not new learns with --lr times this per layer of distance from the head; 1: all alike.",
)
@click.option("--new-head", is_flag=True, help="Start with an untrained head: as many classes, but others.")
@click.option("--freeze", is_flag=True, help="Train only the head and what starts untrained.")
@click.option("--num-classes", type=click.IntRange(1), help="Default: as many as the largest label asks for.")
@click.option("--batch-size", type=click.IntRange(1), help="Graphs per step, for sets of graphs. Default: all at once.")
@click.option(
    "--metric",
    type=click.Choice(registry.METRIC_NAMES),
    help="Default: accuracy, for regression mse, for several labels roc-auc.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@directed_option
def finetune(source: str, graph: Path, patience: int, directed: bool, **options: Any) -> None:
    """Trains a checkpoint further on a GRAPH of your own, which needs labels and masks.

    SOURCE is a name of `zoo list`, hf://organisation/name, or a folder such as ./mine.
    """
    from zoo import datasets
    from zoo.finetuning import finetune

    data = datasets.read_graph(graph, undirected=not directed)
    run = finetune(source, data, patience=patience or None, progress=True, **options)
    click.echo(run.model.load_report)
    click.echo(f"{_scores(run)}; written to {options['folder']}")


_results = click.option(
    "--results", type=click.Path(path_type=Path), default="results", show_default=True, help="Folder of the CSV files."
)
_runs = click.option(
    "--runs", type=click.Path(path_type=Path), default="runs", show_default=True, help="Folder of logs and models."
)


@main.command(short_help="Runs what is missing of a table, and compares.")
@click.argument("name", required=False)
@click.option("--cells", help="Only the cell ROW/COLUMN, or all whose name contains this or is like 'Cora */64'.")
@click.option("--seeds", type=click.IntRange(1), help="How many seeds, from 0 on. Default: as the recipe says.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes of one thread each.")
@_results
@_runs
def reproduce(name: str | None, **options: Any) -> None:
    """Runs a TABLE or RECIPE, as far as its runs are missing, and compares; without a name, lists them."""
    from zoo import reproduction
    from zoo.tables import list_tables
    from zoo.training.recipe import list_recipes

    if name is None:
        for line in [*(f"table   {t}" for t in list_tables()), *(f"recipe  {r}" for r in list_recipes())]:
            click.echo(line)
        return
    rows = []
    results = reproduction.reproduce(name, progress=True, **options)
    compared = any(result.difference for result in results)
    for result in results:
        metric = result.cell.recipe.protocol.metric
        rows.append([
            result.cell.name,
            spread(metric, result.mean, result.std, len(result.rows)),
            *([difference(metric, result.difference)] if compared else []),
            published(metric, result.cell.recipe.published),
            result.verdict,
            result.reason,
        ])
    against = ["against baseline (n)"] if compared else []
    _table(["cell", "measured (n)", *against, "published", "verdict", ""], rows)
    failures = [failure for result in results for failure in result.failures]
    for failure in failures:
        click.echo(f"zoo: {failure}", err=True)
    if failures:
        sys.exit(1)


@main.command(short_help="Checks the files of checkpoints.")
@click.argument("names", nargs=-1)
@click.option("--remote", is_flag=True, help="Ask the Hub too.")
def verify(names: tuple[str, ...], remote: bool) -> None:
    """Checks the files of checkpoints (default: all), bundled, cached and on the Hub, against the registry's sha256."""
    from zoo.weights import verify

    names = names or tuple(registry.list_checkpoints())
    rows, problems = [], []
    for name in names:
        places = _reported(lambda name: verify(name, remote=remote), name)
        if places is None:
            continue
        wrong = {place: state for place, state in places.items() if state not in ("ok", "-")}
        rows.append([name, *("BROKEN" if place in wrong else state for place, state in places.items())])
        problems += [f"{name}, {place}: {state}" for place, state in wrong.items()]
        if set(places.values()) == {"-"}:
            problems.append(f"{name} is neither bundled, nor cached, nor on the Hub")
    if rows:
        _table(["name", "bundled", "cached", *(["remote"] if remote else [])], rows)
    for problem in problems:
        click.echo(f"zoo: {problem}", err=True)
    if problems or len(rows) < len(names):
        sys.exit(2)


@main.command(short_help="Fetches checkpoints into the cache.")
@click.argument("sources", nargs=-1, required=True)
def pull(sources: tuple[str, ...]) -> None:
    """Fetches checkpoints (names, or hf://organisation/name@revision) into the cache, and checks them."""
    from zoo.weights import pull

    folders = {source: folder for source in sources if (folder := _reported(pull, source))}
    for source, folder in folders.items():
        click.echo(f"{source}  {folder}")
    if len(folders) < len(sources):
        sys.exit(2)


@main.command(short_help="Publishes checkpoints on the Hub.")
@click.argument("sources", nargs=-1)
@click.argument("to")
@click.option("--all", "everything", is_flag=True, help="Every checkpoint of the registry that is not there yet.")
@click.option("--private/--public", default=None, help="Default: as the organisation has it.")
@click.option("--revision", help="A branch. Default: main.")
@click.option("--message", "commit_message", help="Of the commit.")
@click.option("--license", help="For the card of a folder of your own, such as mit.")
def push(sources: tuple[str, ...], to: str, everything: bool, **options: Any) -> None:
    """Publishes checkpoints (names, or folders of your own) on the Hub: TO an organisation, or organisation/name."""
    from zoo.publishing import push, push_all

    if everything == bool(sources):
        raise click.UsageError("name what to push, or say --all")
    if len(sources) > 1 and "/" in to:
        raise click.UsageError(f"{len(sources)} checkpoints cannot all be {to}: give an organisation")
    options = {key: value for key, value in options.items() if value is not None}
    pushed = push_all(to, **options) if everything else ((source, push(source, to, **options)) for source in sources)
    for source, address in pushed:
        click.echo(f"{source}  {address}")


@main.command(short_help="For maintainers: ships recipes' best runs.")
@click.argument("names", nargs=-1, required=True)
@click.option("--table", help="Whose results. Default: the recipe's own.")
@_results
@_runs
def bundle(names: tuple[str, ...], **options: Any) -> None:
    """For maintainers: puts recipes' best runs into the package and the registry."""
    from zoo.bundling import bundle

    for name in names:
        entry = bundle(name, **options)
        click.echo(f"{name}: seed {entry.score.seed}, {entry.score.metric} {entry.score.value:.2f}, {entry.verdict}")


@main.command(short_help="For maintainers: makes the pages of results.")
@_results
@click.option(
    "--docs", type=click.Path(path_type=Path), default="docs", show_default=True, help="Folder of the documentation."
)
@click.option(
    "--readme", type=click.Path(path_type=Path), default="README.md", show_default=True, help="Lists the checkpoints."
)
def report(results: Path, docs: Path, readme: Path) -> None:
    """For maintainers: makes the result pages, a list of them, their plots and the README's list of checkpoints."""
    from zoo.report import write_pages, write_plots

    for path in [*write_pages(results, docs, readme), *write_plots(results, docs)]:
        click.echo(path)


@main.command(short_help="A tour of the zoo.")
def demo() -> None:
    """Lists the zoo, scores checkpoints whose data is at hand, fine-tunes one, and reproduces a part of a table."""
    from zoo.demo import demo

    demo()
