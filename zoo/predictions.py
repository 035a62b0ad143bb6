"""What a model says of nodes or graphs, and how it is written down."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

from zoo._files import replacing
from zoo.errors import ZooError

__all__ = ["ENDINGS", "Prediction", "check_ending", "write", "write_csv"]

ENDINGS = (".csv", ".npz")
_ROWS = 4096  # of a CSV, turned into text at a time


@dataclass(frozen=True)
class Prediction:
    """What a model says of each node, or of each graph.

    Attributes:
        values: Classes, (n,) int64; for regression the values, (n,) float; of several labels those with a probability
            beyond a half, (n, num_classes) int64 of 0 and 1.
        probabilities: (n, num_classes), of several labels each one's own; None for regression.
    """

    values: Tensor
    probabilities: Tensor | None


def check_ending(path: Path) -> None:
    """Raises ZooError unless `write` can tell the format from the file's ending."""
    if path.suffix not in ENDINGS:
        raise ZooError(f"{path}: the ending says which file to write: choose from {', '.join(ENDINGS)}")


def write(prediction: Prediction, path: Path, *, item: str = "node", ids: Sequence[str] | None = None) -> None:
    """Writes a prediction to a file, whole or not at all.

    Args:
        prediction: To be written.
        path: `.csv`, see `write_csv`; or `.npz`, with arrays `prediction`, `probabilities` (float32, not for
            regression), and `id` where there are ids.
        item: See `write_csv`.
        ids: What the nodes or graphs are called.

    Raises:
        ZooError: Another ending, or the file cannot be written.
    """
    check_ending(path)
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                write_csv(prediction, file, item=item, ids=ids)
        else:
            with temporary.open("wb") as archive:
                np.savez(archive, **_arrays(prediction, ids))


def write_csv(
    prediction: Prediction, file: IO[str], *, item: str = "node", ids: Sequence[str] | None = None
) -> None:
    """Writes a line of column names, and one per node or graph: id, class or value, the probability of every class.

    Of several labels each has a column `prediction0`, `prediction1` and so on.

    Args:
        prediction: To be written.
        file: Text file, open for writing.
        item: Without ids, the first column's name; it then holds the numbers from 0.
        ids: What the nodes or graphs are called; the first column is then `id`.
    """
    writer = csv.writer(file, lineterminator="\n")
    num_classes = 0 if prediction.probabilities is None else prediction.probabilities.shape[1]
    several = prediction.values.dim() == 2
    values = prediction.values if several else prediction.values.unsqueeze(1)
    predicted = [f"prediction{c}" for c in range(num_classes)] if several else ["prediction"]
    writer.writerow([item if ids is None else "id", *predicted, *(f"p{c}" for c in range(num_classes))])
    names: Sequence[object] = range(len(values)) if ids is None else ids
    for start in range(0, len(names), _ROWS):
        rows = slice(start, start + _ROWS)
        columns: list[Iterable[object]] = [names[rows], *values[rows].T.tolist()]
        if prediction.probabilities is not None:
            columns += prediction.probabilities[rows].T.tolist()
        writer.writerows(zip(*columns, strict=True))


def _arrays(prediction: Prediction, ids: Sequence[str] | None) -> dict[str, Any]:
    arrays: dict[str, Any] = {"prediction": prediction.values.cpu().numpy()}
    if prediction.probabilities is not None:
        arrays["probabilities"] = prediction.probabilities.float().cpu().numpy()
    if ids is not None:
        arrays["id"] = np.array(ids)
    return arrays
