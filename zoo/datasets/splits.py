"""Splits: which nodes (or graphs) train, which validate, which test. A split is a name.

| name | what it is | varies with the seed |
| --- | --- | --- |
| `public` | Planetoid's: 20 nodes of every class, the next 500, 1000 test nodes | no |
| `public-rest` | the same, but all other nodes test | no |
| `geom-gcn` | Geom-GCN's ten files, 60/20/20; `seed % 10` picks. Some leave out nodes off the largest component | yes |
| `given` | the ten in the file of a heterophilous set; `seed % 10` picks | yes |
| `polynormer` | the one 60/20/20 split that Polynormer's authors published | no |
| `official` | Open Graph Benchmark's: ogbn-arxiv by year, ogbn-proteins by species, ogbn-products by sales rank | no |
| `tu-10fold` | ten stratified folds drawn once (seed 42): fold `seed % 10` tests, the next one validates | yes |
| `tu-10fold-whole` | its folds: `seed % 10` validates, nine train, **all graphs test, training ones too** | yes |
| `gin-10fold` | the ten test folds published for GIN; a stratified tenth of the rest, drawn anew, validates | yes |
| `fair-10fold` | ten folds, each with an inner validation set, of "A fair comparison of GNNs" | yes |
| `random-a-b-c` | a/b/c percent drawn from all alike | yes |
| `class-a-b-c` | a/b/c percent drawn inside every class | yes |
| `index-a-b-c` | the first a, the last c percent by index; those between validate | no |
| `balanced-a-b-c` | a percent train, equally many of every class; of the rest, b percent of all validate | yes |
| `few-k-v` | k of every class train, v validate, all others test; `few-20-30` is that of Shchur et al. 2018 | yes |

Shares are rounded down for training and validation (for `index-a-b-c`: training and test), and the remaining part
takes the rest. All draws come from `torch.Generator().manual_seed(seed)`.

`tu-10fold-whole` is the rule of the N² authors' code, for its numbers only: nine tenths of what it tests have been
trained on. In all other splits no item is in two parts.

`balanced-a-b-c` is the rule of the GPR-GNN authors' code: of n items in C classes (C - 1 is the largest label),
round(a·n / (100·C)) of every class train, or all of a class that has fewer, and round(b·n / 100) validate; halves are
rounded to even. It changes what is tested: of a small class nothing may be left.
"""

import importlib
import re
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.datasets.catalog import DatasetInfo
from zoo.errors import GraphError

__all__ = ["Masks", "draw", "masks", "tests_on_all", "varies_with_seed"]

_FIXED = {"public", "public-rest", "polynormer", "official"}
# Which module reads a published split. `given` lies in the data set's own file.
_READERS = {
    "public": "planetoid",
    "public-rest": "planetoid",
    "geom-gcn": "geom_gcn",
    "given": "yandex",
    "polynormer": "gnn_benchmark",
    "official": "ogbn",
    "gin-10fold": "folds",
    "fair-10fold": "folds",
    "tu-10fold": "folds",
    "tu-10fold-whole": "folds",
}
_SHARES = re.compile(r"(random|class|index|balanced)-(\d{1,3})-(\d{1,3})-(\d{1,3})")
_FEW = re.compile(r"few-(\d{1,9})-(\d{1,9})")


class Masks(NamedTuple):
    """Three bool tensors of shape (num_nodes,) or (num_graphs,), disjoint unless `tests_on_all`."""

    train: Tensor
    val: Tensor
    test: Tensor


def varies_with_seed(name: str) -> bool:
    """Whether two seeds give two different splits of this name."""
    return name not in _FIXED and not name.startswith("index-")


def tests_on_all(name: str | None) -> bool:
    """Whether a split of this name, None for a data set's own, tests on all items, those too that were trained on."""
    return name == "tu-10fold-whole"


def masks(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> Masks:
    """The masks of a data set's split.

    Args:
        info: The data set.
        name: One of `info.splits`, numbers filled in.
        seed: Picks or draws the split, where `varies_with_seed(name)`.
        labels: Labels of all nodes or graphs, shape (n,).

    Raises:
        GraphError: The data set has no such split; the message names those that it has. Or it has too few items.
    """
    check(info, name)
    if name not in info.splits:
        drawn = draw(name, labels, seed)
        if empty := [part for part, mask in drawn._asdict().items() if not mask.any()]:
            raise GraphError(f"split {name!r} of {info.name!r} leaves no item for {', '.join(empty)}")
        return drawn
    reader = importlib.import_module(f"zoo.datasets.{_READERS[name]}")
    split: Masks = reader.split(info, name, seed, labels)
    return split


def check(info: DatasetInfo, name: str) -> None:
    """Raises GraphError, with those that there are, if a data set has no split of this name."""
    family = _family(name) if isinstance(name, str) else None
    if family not in info.splits or (family == name and name not in info.stored_splits):
        raise GraphError(f"data set {info.name!r} has no split {name!r}; it has {', '.join(info.splits)}")
    if family != name and 0 in (_few(name) if family == "few-k-v" else _shares(name)):
        raise GraphError(f"split {name!r} leaves a part empty: train, validation and test each need a share")


def _family(name: str) -> str:
    """What a data set's `splits` call a drawn split; a published one is its own family."""
    if _FEW.fullmatch(name):
        return "few-k-v"
    return f"{name.partition('-')[0]}-a-b-c" if _SHARES.fullmatch(name) else name


def _few(name: str) -> tuple[int, int]:
    """Items per class that train and that validate, of a split of the family `few-k-v`."""
    match = _FEW.fullmatch(name)
    assert match is not None
    return int(match[1]), int(match[2])


def _shares(name: str) -> tuple[str, int, int, int]:
    """Family and percentages of a drawn split; GraphError if it is none, or they cannot be."""
    match = _SHARES.fullmatch(name)
    shares = [int(share) for share in match.groups()[1:]] if match else []
    if match is None or sum(shares) != 100 or shares[0] == 0:
        raise GraphError(
            f"{name!r} is not a split: expected random-a-b-c, class-a-b-c, index-a-b-c or balanced-a-b-c, "
            f"percentages of train, validation and test that add up to 100, such as random-60-20-20, or few-k-v, "
            f"numbers per class"
        )
    return match[1], shares[0], shares[1], shares[2]


def draw(name: str, labels: Tensor, seed: int) -> Masks:
    """Draws `random-a-b-c`, `class-a-b-c`, `index-a-b-c`, `balanced-a-b-c` or `few-k-v`.

    Args:
        name: Family and numbers: percentages that add up to 100, or items per class.
        labels: Labels of shape (n,); `random-a-b-c` and `index-a-b-c` do not look at their values.
        seed: Seed of the draw.

    Raises:
        GraphError: The name is none of these, its percentages do not add up to 100, a class has too few items, or
            labels whose values are looked at are not classes, counted from 0.
    """
    n = len(labels)
    generator = torch.Generator().manual_seed(seed)
    if _family(name) == "few-k-v":
        return _draw_few(name, labels, generator)
    family, train, val, test = _shares(name)
    if family == "index":
        return _as_masks(torch.arange(n), torch.arange(n), n * train // 100, n - n * test // 100)
    if family == "random":
        order = torch.randperm(n, generator=generator)
        return _as_masks(order, torch.arange(n), n * train // 100, n * train // 100 + n * val // 100)
    if family == "balanced":
        return _draw_balanced(train, val, labels, generator)
    order, rank, size = _shuffled_classes(labels, generator)
    first = size * train // 100
    return _as_masks(order, rank, first, first + size * val // 100)


def _draw_few(name: str, labels: Tensor, generator: torch.Generator) -> Masks:
    train, val = _few(name)
    order, rank, size = _shuffled_classes(labels, generator)
    short = labels[order[size < train + val]]
    if len(short):
        count = int((labels == short[0]).sum())
        raise GraphError(f"split {name!r} needs {train + val} items of every class, but class {short[0]} has {count}")
    return _as_masks(order, rank, train, train + val)


def _draw_balanced(train: int, val: int, labels: Tensor, generator: torch.Generator) -> Masks:
    n = len(labels)
    order, rank, _ = _shuffled_classes(labels, generator)
    trains = rank < round(n * train / (100 * (int(labels.max()) + 1)))
    rest = order[~trains]
    rest = rest[torch.randperm(len(rest), generator=generator)]
    validating = round(n * val / 100)
    return from_indices(n, order[trains], rest[:validating], rest[validating:])


def _shuffled_classes(labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """All items class by class, inside a class in random order; each one's rank in its class, and the class's size."""
    if labels.dim() != 1 or labels.is_floating_point() or (labels < 0).any():
        raise GraphError("this split needs a class for each item, counted from 0; random-a-b-c and index-a-b-c do not")
    labels = labels.long()
    order = torch.randperm(len(labels), generator=generator)
    # Sorting a permutation by class, stably, permutes inside every class: no loop over classes.
    order = order[torch.argsort(labels[order], stable=True)]
    sizes = torch.bincount(labels)
    start = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    return order, torch.arange(len(labels)) - start, torch.repeat_interleave(sizes, sizes)


def from_indices(n: int, train: Tensor, val: Tensor, test: Tensor) -> Masks:
    """Masks of length `n` from the indices of each part."""

    def mask(indices: Tensor) -> Tensor:
        return torch.zeros(n, dtype=torch.bool).index_fill_(0, indices, True)

    return Masks(mask(train), mask(val), mask(test))


def _as_masks(order: Tensor, rank: Tensor, first: Tensor | int, second: Tensor | int) -> Masks:
    """The nodes `order` whose `rank` lies below `first` train, below `second` validate, the others test."""
    train, test = rank < first, rank >= second
    return from_indices(len(order), order[train], order[~train & ~test], order[test])
