"""Ten-fold splits of graph-level sets; `seed % 10` picks the fold that tests, of `tu-10fold-whole` that validates."""

import json

import torch
from torch import Tensor

from zoo.datasets import sources, splits
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.tu_text import read_file

_NUM_FOLDS = 10
# The seed with which N²'s authors draw their folds.
_TU_SEED = 42


def split(info: DatasetInfo, name: str, seed: int, labels: Tensor) -> splits.Masks:
    """The fold `seed % 10` of `tu-10fold`, `tu-10fold-whole`, `gin-10fold` or `fair-10fold`."""
    fold = seed % _NUM_FOLDS
    if name == "tu-10fold":
        return _tu(labels, fold)
    if name == "tu-10fold-whole":
        return _tu_whole(labels, fold)
    if name == "fair-10fold":
        return _fair(info, len(labels), fold)
    return _gin(info, labels, fold, seed)


def _tu(labels: Tensor, fold: int) -> splits.Masks:
    """Fold `fold` tests, the next one validates, the other eight train."""
    parts = _stratified_folds(labels)
    test, val = parts[fold], parts[(fold + 1) % _NUM_FOLDS]
    held_out = torch.cat([test, val])
    return splits.from_indices(len(labels), _others(len(labels), held_out), val, test)


def _tu_whole(labels: Tensor, fold: int) -> splits.Masks:
    """The weak rule of N²'s code: fold `fold` validates, the other nine train, and all graphs test, these nine too."""
    val = _stratified_folds(labels)[fold]
    return splits.from_indices(len(labels), _others(len(labels), val), val, torch.arange(len(labels)))


def _stratified_folds(labels: Tensor) -> list[Tensor]:
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(_NUM_FOLDS, shuffle=True, random_state=_TU_SEED).split(labels, labels)
    return [torch.from_numpy(part) for _, part in folds]


def _gin(info: DatasetInfo, labels: Tensor, fold: int, seed: int) -> splits.Masks:
    """A published test fold. GIN has no validation set; here a stratified tenth of the other graphs is one."""
    test = torch.tensor([int(number) for number in read_file(info, f"10fold_idx/test_idx-{fold + 1}.txt").split()])
    rest = _others(len(labels), test)
    drawn = splits.draw("class-90-0-10", labels[rest], seed)
    return splits.from_indices(len(labels), rest[drawn.train], rest[drawn.test], test)


def _fair(info: DatasetInfo, num_graphs: int, fold: int) -> splits.Masks:
    raw = "PROTEINS_full" if info.raw == "PROTEINS" else info.raw
    (content,) = sources.read(info.name, [f"tudataset/splits/{raw}_splits.json"])
    stored = json.loads(content)[fold]
    inner = stored["model_selection"][0]
    parts = (inner["train"], inner["validation"], stored["test"])
    return splits.from_indices(num_graphs, *map(torch.tensor, parts))


def _others(n: int, indices: Tensor) -> Tensor:
    return torch.ones(n, dtype=torch.bool).index_fill_(0, indices, False).nonzero().flatten()
