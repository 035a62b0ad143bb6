"""How much of the table `transfer` is memory: NCI109 holds molecules of NCI1, the set that its checkpoint has seen.

    python benchmarks/shared_molecules.py [--runs runs]

Two molecules are the same if six rounds of Weisfeiler-Lehman refinement, begun with the atoms in NCI1's columns, cannot
tell them apart. Reads the models of finished runs, made by `zoo reproduce transfer --cells nci109`, and prints row by
row the test accuracy on the shared molecules and on the others: mean ± unbiased standard deviation over the seeds. The
checkpoint as it is, which has seen no label of NCI109 by that name, is scored first.
"""

import statistics
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo import datasets
from zoo._dgl import dgl
from zoo.api import predict
from zoo.model import ZooModel
from zoo.reproduction import find_table, run_folder
from zoo.weights import load

ROUNDS = 6


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
    nci1, nci109 = hashes(["nci1", "nci109"])
    shared = torch.from_numpy(np.isin(nci109, nci1))
    print(f"{int(shared.sum())} of {len(shared)} molecules of NCI109 are in NCI1")
    data = datasets.load("nci109", align="nci1")
    print(f"the checkpoint as it is, on all: {_spread([_accuracies(load('sage-nci1'), data, shared)])}")
    for cell in find_table("transfer").cells:
        if cell.column == "nci109":
            accuracies = []
            for seed in range(cell.recipe.protocol.seeds):
                data = datasets.load("nci109", split=cell.recipe.data.split, seed=seed, align=cell.recipe.data.align)
                model = load(run_folder(runs, cell.recipe, seed))
                accuracies.append(_accuracies(model, data, shared, data.test_mask))
            print(f"{cell.row}: {_spread(accuracies)}")


def _accuracies(
    model: ZooModel, data: datasets.GraphDataset, shared: Tensor, mask: Tensor | None = None
) -> tuple[float, float]:
    """Per cent of right classes on the shared molecules and on the others, of those in a mask or of all."""
    mask = torch.ones_like(shared) if mask is None else mask
    right = (predict(model, data).values == data.labels).float()
    return 100 * float(right[mask & shared].mean()), 100 * float(right[mask & ~shared].mean())


def _spread(accuracies: list[tuple[float, float]]) -> str:
    texts = []
    for part, values in zip(("shared", "others"), zip(*accuracies, strict=True), strict=True):
        deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        texts.append(f"{part} {statistics.fmean(values):.2f}{deviation}")
    return ", ".join(texts)


if __name__ == "__main__":
    main()
