"""Starting from a checkpoint, which fine-tuning and recipes with a [pretrained] table share."""

import dataclasses
import json
from typing import Any

import torch

from zoo import models, weights
from zoo.errors import RecipeError
from zoo.model import LoadReport, ZooModel
from zoo.training.recipe import ParameterGroup, Recipe, TrainingSpec

__all__ = ["check_agreement", "start"]

REPLACED = ("in_feats", "num_classes")


def start(
    source: ZooModel,
    in_feats: int,
    num_classes: int,
    training: TrainingSpec,
    *,
    new_head: bool = False,
    freeze: bool = False,
    layer_decay: float = 1.0,
) -> tuple[ZooModel, TrainingSpec]:
    """A model that begins with another's tensors as far as they fit, and the training with each layer's learning rate.

    Args:
        source: Stays as it is.
        in_feats: Width of the features: where it differs, the first layer starts untrained.
        num_classes: Likewise for the head.
        training: How what starts untrained is trained, and the head.
        new_head: Whether the head starts untrained though the number of classes is the same.
        freeze: Only these are trained; the parameters taken over need no gradient.
        layer_decay: The parameters taken over learn with `training.lr` times this per layer of distance from the head.
            A parameter's layer is the number in its name; one without a number counts as of the first layer.
    """
    target = models.create(source.method, {**source.arguments, "in_feats": in_feats, "num_classes": num_classes})
    model = weights.adapt(source, target.to(next(source.parameters()))).eval()
    if new_head:
        _renew_head(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = not (freeze and _taken_over(model, name))
    if layer_decay == 1.0:
        return model, training
    return model, dataclasses.replace(training, groups=_layer_groups(model, training.lr, layer_decay))


def _renew_head(model: ZooModel) -> None:
    """Puts an untrained head in the place of the one taken over, and says so in the report."""
    model.reset_head(model.num_classes)
    report = model.load_report
    assert report is not None
    heads = tuple(name for name in report.kept if name.startswith("head."))
    kept = tuple(name for name in report.kept if name not in heads)
    model.load_report = LoadReport(kept, (*report.new, *heads), (*report.dropped, *heads))


def _taken_over(model: ZooModel, name: str) -> bool:
    """Whether a parameter is a checkpoint's and not the head's."""
    assert model.load_report is not None
    return not name.startswith("head.") and name not in model.load_report.new


def _layer_groups(model: ZooModel, lr: float, decay: float) -> tuple[ParameterGroup, ...]:
    """A group for each trained parameter that was taken over, with the learning rate of its layer."""
    layers = {name: _layer(name) for name, _ in model.named_parameters() if not name.startswith("head.")}
    depth = max(layers.values(), default=0) + 1  # a method may have nothing but its head
    return tuple(
        ParameterGroup(parameters=name, lr=lr * decay ** (depth - layers[name]))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and _taken_over(model, name)
    )


def _layer(name: str) -> int:
    """The number in a parameter's name, 0 without one."""
    return next((int(part) for part in name.split(".") if part.isdigit()), 0)


def check_agreement(recipe: Recipe, arguments: dict[str, Any], source: ZooModel) -> None:
    """Raises RecipeError if a recipe describes another model than the checkpoint that it starts from.

    Args:
        recipe: With a [pretrained] table.
        arguments: Of the model that it describes.
        source: The checkpoint's model.
    """
    assert recipe.pretrained is not None
    with torch.device("meta"):  # neither memory nor random numbers
        described = models.create(recipe.method, arguments)
    wanted, there = (json.loads(json.dumps(model.config)) for model in (described, source))
    for key in wanted:
        if key not in REPLACED and wanted.get(key) != there.get(key):
            place = {"method": "method", "transforms": "data.transforms"}.get(key, f"model.{key}")
            raise RecipeError(
                f"{recipe.name}: {place}: is {wanted.get(key)!r}, but checkpoint {recipe.pretrained.checkpoint!r} was "
                f"made with {there.get(key)!r}: a recipe that starts from it needs the same"
            )
