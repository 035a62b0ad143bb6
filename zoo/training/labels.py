"""What labels must be like, to train on and to score with."""

import torch
from torch import Tensor

from zoo.errors import GraphError

__all__ = ["check_shape", "check_values", "plain"]


def plain(labels: Tensor) -> Tensor:
    """Classes as int64; targets, and labels of which each node has several, as float32."""
    return labels.float() if labels.is_floating_point() or labels.dim() == 2 else labels.long()


def check_shape(labels: Tensor, name: str, size: int) -> None:
    """Raises GraphError unless each item has a label; nodes, whose labels are called `label`, may have several each.

    A single column is refused: it could be classes, too.
    """
    several = name == "label" and labels.dim() == 2 and labels.shape[1] > 1
    if labels.shape[:1] != (size,) or not (several or labels.dim() == 1):
        hint = "; several labels of each node are columns of 0 and 1" if name == "label" else ""
        hint = f"; of a single column take {name}.squeeze(1)" if labels.shape[1:] == (1,) else hint
        raise GraphError(f"{name} has shape {tuple(labels.shape)}: expected ({size},){hint}")


def check_values(labels: Tensor, masks: str) -> None:
    """Raises GraphError unless labels in some masks are finite targets, classes from 0 on, or several of 0 and 1."""
    if labels.dim() == 2:
        if not ((labels == 0) | (labels == 1)).all():
            raise GraphError(f"each of several labels is 0 or 1, but one in {masks} is neither: leave its node out")
    elif labels.is_floating_point():
        if not torch.isfinite(labels).all():
            raise GraphError(f"a target in {masks} is NaN or infinite: leave it out of {masks}")
    elif labels.min() < 0:
        raise GraphError(f"a class in {masks} is negative: leave its node or graph out of {masks}")
