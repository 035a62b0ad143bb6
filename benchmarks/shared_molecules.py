"""What the column nci109 of the table `transfer` owes to molecules that NCI1, the checkpoint's set, holds too.

    python benchmarks/shared_molecules.py [--runs runs]

Two molecules are the same if six rounds of Weisfeiler-Lehman refinement, begun with the atoms in NCI1's columns, cannot
tell them apart. Reads the models of finished runs, made by `zoo reproduce transfer --cells nci109 --results anew`, and
prints row by row the test accuracy in per cent, on all molecules, on the shared ones and on the others: mean ± unbiased
standard deviation over the seeds. First comes the checkpoint as it is, which no label of NCI109 has changed, on the
same test molecules. The last column is the mean difference from it, seed by seed, ± half its 95 % interval (paired
t-test).
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from zoo import datasets
from zoo._dgl import dgl
from zoo.api import predict
from zoo.reproduction import run_folder
from zoo.tables import find_table
from zoo.training.recipe import Recipe
from zoo.weights import WEIGHTS, load

ROUNDS = 6
CHECKPOINT = "sage-nci1"


def hashes(names: list[str]) -> list[NDArray[np.int64]]:
    """For each data set a number per graph, equal for equal molecules; atoms are those of the first set's columns."""
    sets = [datasets.load(name, align=names[0]).graphs for name in names]
    batch = dgl.batch([graph for graphs in sets for graph in graphs])
    feat = batch.ndata["feat"].numpy()
    colour = np.where(feat.any(axis=1), feat.argmax(axis=1), feat.shape[1])
    src, dst = (end.numpy() for end in batch.edges())
    owner = np.repeat(np.arange(batch.batch_size), batch.batch_num_nodes().numpy())
    generator = np.random.default_rng(0)

    def sums(place: NDArray[np.int64], colours: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """The multiset of colours at every place, as the sum of a random number for each colour."""
        total = np.zeros(size, dtype=np.int64)
        np.add.at(total, place, generator.integers(0, 2**63, size=colours.max() + 1)[colours])
        return total

    for _ in range(ROUNDS):
        pairs = np.stack([colour, sums(dst, colour[src], batch.num_nodes())], axis=1)
        colour = np.unique(pairs, axis=0, return_inverse=True)[1].ravel()
    return np.split(sums(owner, colour, batch.batch_size), np.cumsum([len(graphs) for graphs in sets])[:-1])


@click.command()
@click.option("--runs", type=click.Path(path_type=Path), default="runs", show_default=True)
def main(runs: Path) -> None:
    """Prints the accuracies."""
    recipes = {cell.row: cell.recipe for cell in find_table("transfer").cells if cell.column == "nci109"}
    folders = {
        row: [run_folder(runs, recipe, seed) for seed in range(recipe.protocol.seeds)]
        for row, recipe in recipes.items()
    }
    if missing := [path for paths in folders.values() for path in paths if not (path / WEIGHTS).exists()]:
        hint = "first run zoo reproduce transfer --cells nci109 --results anew"
        raise click.ClickException(f"there is no finished run in {missing[0]}; {hint}")
    nci1, nci109 = hashes(["nci1", "nci109"])
    shared = np.isin(nci109, nci1)
    # A molecule's number and its label make one number, equal where both are.
    alike = np.isin(nci109 + _labels("nci109"), nci1 + _labels("nci1"))
    print(f"{shared.sum()} of {len(shared)} molecules of NCI109 are in NCI1, {alike.sum()} with the same label there")
    as_it_is = accuracies(recipes["fine-tune"], [CHECKPOINT] * recipes["fine-tune"].protocol.seeds, shared)
    print(f"{'':24}{'all':>15}{'shared':>15}{'others':>15}{'all, against it':>18}")
    print(_line("checkpoint as it is", as_it_is))
    for row, recipe in recipes.items():
        scores = accuracies(recipe, folders[row], shared)
        print(_line(row, scores) + _difference(scores[:, 0], as_it_is[:, 0]))


def accuracies(recipe: Recipe, sources: Sequence[str | Path], shared: NDArray[np.bool_]) -> NDArray[np.float64]:
    """For each seed's model the per cent of right classes among the test molecules: all, shared ones, others."""
    rows = []
    for seed, source in enumerate(sources):
        data = datasets.load(recipe.data.name, split=recipe.data.split, seed=seed, align=recipe.data.align)
        right = (predict(load(source), data).values == data.labels).numpy()
        test = data.test_mask.numpy()
        rows.append([100 * right[part].mean() for part in (test, test & shared, test & ~shared)])
    return np.array(rows)


def _labels(name: str) -> NDArray[np.int64]:
    return datasets.load(name).labels.numpy()


def _line(row: str, scores: NDArray[np.float64]) -> str:
    means, deviations = scores.mean(axis=0), scores.std(axis=0, ddof=1)
    spreads = (f"{mean:.2f} ± {std:.2f}" for mean, std in zip(means, deviations, strict=True))
    return f"{row:24}" + "".join(f"{spread:>15}" for spread in spreads)


def _difference(scores: NDArray[np.float64], baseline: NDArray[np.float64]) -> str:
    interval = stats.ttest_rel(scores, baseline).confidence_interval(0.95)
    middle, margin = (interval.high + interval.low) / 2, (interval.high - interval.low) / 2
    return f"{f'{middle:+.2f} ± {margin:.2f}':>18}"


if __name__ == "__main__":
    main()
