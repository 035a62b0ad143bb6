"""A tour: `zoo demo`. It needs no network; data that is neither at hand nor to be fetched is passed over."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from zoo import datasets, registry
from zoo.api import evaluate
from zoo.errors import DatasetNotFound, ZooError
from zoo.finetuning import finetune
from zoo.formats import published, spread
from zoo.reproduction import reproduce

__all__ = ["demo"]


TABLE, CELLS = "sbp-table10", "blocks-of-100"


@dataclass(frozen=True)
class Line:
    """One checkpoint in the closing table.

    Attributes:
        name: The checkpoint.
        recorded: Its score in the registry.
        measured: Measured now; None where there is no data.
        broken: Whether its files, or those of its data, are not what they should be.
    """

    name: str
    recorded: float
    measured: float | None = None
    broken: bool = False

    @property
    def shown(self) -> str:
        """The last cell of the line."""
        return "BROKEN" if self.measured is None else f"{self.measured:.2f}"


def demo() -> None:
    """Lists the zoo, scores checkpoints whose data is at hand, fine-tunes one, reproduces a table, and compares scores.

    Raises:
        SystemExit: With 1, if a checkpoint is broken or a measured score is not the recorded one.
    """
    names = registry.list_checkpoints()
    click.echo(f"The zoo holds {len(names)} checkpoints; `zoo list` names them.\n")
    click.echo("Each is loaded, its sha256 checked, and scored where its data is at hand or can be fetched.")
    lines = [_score(name) for name in names]
    if absent := {registry.info(line.name).dataset for line in lines if line.measured is None and not line.broken}:
        click.echo(f"  Neither at hand nor to be fetched: {', '.join(sorted(absent))}.")
    click.echo("\nA checkpoint trained on csbm (8 features, 2 classes) learns digits (64 features, 10 classes):")
    _finetune()
    click.echo("\nTable 10 of the SBP paper, which needs no download: accuracy by number of propagations, ten seeds,")
    click.echo("on graphs of two blocks of 100 nodes (docs/methods/sbp.md says how they were found, and what differs):")
    _reproduce()
    told = [line for line in lines if line.measured is not None or line.broken]
    width = max((len(line.name) for line in told), default=0)
    click.echo(f"\n{'checkpoint':<{width}}{'recorded':>10}{'measured':>10}")
    for line in told:
        click.echo(f"{line.name:<{width}}{line.recorded:>10.2f}{line.shown:>10}")
    scored = [line for line in lines if line.measured is not None]
    same = sum(line.measured == line.recorded for line in scored)
    click.echo(f"\n{same} of {len(scored)} scores are the recorded ones to the last bit.")
    if absent:
        click.echo(f"The data of {len(lines) - len(told)} others is missing: set ZOO_DATA to its folder, or connect.")
    if len(told) > len(scored) or same < len(scored):
        raise SystemExit(1)


def _score(name: str) -> Line:
    entry = registry.info(name)
    try:
        measured = evaluate(name).value
    except DatasetNotFound:
        return Line(name, entry.score.value)
    except ZooError as error:  # its files or those of its data are damaged
        click.echo(f"  {name}: {error}")
        return Line(name, entry.score.value, broken=True)
    click.echo(f"  {name}: {entry.score.metric} {measured:.2f} on {entry.dataset}")
    return Line(name, entry.score.value, measured)


def _finetune() -> None:
    run = finetune("gcn-csbm", datasets.load("digits"), lr=0.01, progress=True)
    click.echo(f"Fine-tuned for {run.epochs} epochs: {run.metric} {run.test:.2f} on test.")


def _reproduce() -> None:
    click.echo(f"  {'cell':<30}{'measured':>16}{'published':>16}  verdict")
    with tempfile.TemporaryDirectory() as folder:
        results, runs = Path(folder, "results"), Path(folder, "runs")
        for cell in reproduce(TABLE, cells=CELLS, results=results, runs=runs, progress=True):
            recipe = cell.cell.recipe
            measured = spread(recipe.protocol.metric, cell.mean, cell.std)
            claimed = published(recipe.protocol.metric, recipe.published)
            click.echo(f"  {cell.cell.name:<30}{measured:>16}{claimed:>16}  {cell.verdict}")
