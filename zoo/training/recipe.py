"""A recipe: data, model, training, protocol, and the published number it is after. Written in TOML, read strictly."""

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from zoo import registry
from zoo._files import resource, user_path
from zoo._types import fits, type_hints, type_name
from zoo.datasets.catalog import info
from zoo.errors import CheckpointNotFound, ConfigError, DatasetNotFound, GraphError, RecipeError, RecipeNotFound
from zoo.registry import METRIC_NAMES, Published

__all__ = [
    "SELECTIONS",
    "DataSpec",
    "ParameterGroup",
    "Pretrained",
    "Protocol",
    "Recipe",
    "TrainingSpec",
    "check_layer_decay",
    "check_training",
    "find",
    "find_settings",
    "list_recipes",
    "merge",
    "parse",
    "read",
    "read_toml",
]

MAX_LR = 1e6  # beyond it float32 overflows inside the optimiser
TABLES = ("data", "model", "training", "pretrained", "protocol")  # of a recipe, those that make a run
SELECTIONS = ("best-val", "best-val-loss", "last", "best-test")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What is trained on.

    Attributes:
        name: A name from `zoo.datasets`.
        split: A split's name. Default: the data set's own.
        transforms: Names from `zoo.datasets.transforms`; they become the model's `prepare`.
        align: A data set in whose columns the features are put, see `zoo.datasets.alignment`. Default: as they are.
    """

    name: str
    split: str | None = None
    transforms: tuple[str, ...] = ()
    align: str | None = None


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Settings for the parameters whose names match a pattern; what is not given is as for all.

    Attributes:
        parameters: A shell pattern for names in `model.named_parameters()`, e.g. `activations.*`.
        lr: Learning rate.
        weight_decay: L2 penalty, added to the gradient.
        clip_norm: Largest norm of this group's gradient.
    """

    parameters: str
    lr: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """How it is trained, with Adam.

    Attributes:
        epochs: Most epochs.
        lr: Learning rate.
        weight_decay: L2 penalty, added to the gradient (not decoupled).
        clip_norm: Largest norm of each group's gradient. Default: no clipping.
        patience: Stops after so many epochs in a row in which both the validation metric and the validation loss were
            worse than their best so far. Default: never.
        batch_size: Graphs per step; for graph-level sets only, where the default is all at once.
        groups: Exceptions for some parameters; the first pattern that matches counts.
    """

    epochs: int
    lr: float
    weight_decay: float = 0.0
    clip_norm: float | None = None
    patience: int | None = None
    batch_size: int | None = None
    groups: tuple[ParameterGroup, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Where the parameters come from, instead of from a random draw; see `zoo.training.transfer`.

    Attributes:
        checkpoint: A name in the registry. The method, the model's arguments and the transforms must be the same.
        freeze: Train only the head and what starts untrained.
        layer_decay: Factor of the learning rate per layer of distance from the head, for what the checkpoint has given.
    """

    checkpoint: str
    freeze: bool = False
    layer_decay: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How it is scored.

    Attributes:
        metric: `accuracy` and `roc-auc` in per cent, `mse`, `nmse` (mean squared error over the targets' mean).
        select: Which epoch is scored. `best-val`: best validation metric, ties by validation loss. `best-val-loss`.
            `last`. `best-test`: best test metric, the weak rule of some papers, for labelled recipes only.
        seeds: Seeds 0 … seeds-1 are run.
    """

    metric: str
    select: str = "best-val"
    seeds: int = 10


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that makes a checkpoint, but the seed.

    Attributes:
        name: The checkpoint that it makes.
        method: A name from `zoo.models`.
        paper: Where the method is from.
        data, training, pretrained, protocol, published: See their classes.
        model: Keyword arguments of the model class, without in_feats, num_classes and transforms.
        note: What a reader of the result must know: a rule that is weak, a difference from the paper.
        diagnosis: Why the published number is not reproduced, where it is not.
    """

    name: str
    method: str
    paper: str
    data: DataSpec
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    training: TrainingSpec
    pretrained: Pretrained | None = None
    protocol: Protocol
    published: Published | None = None
    note: str = ""
    diagnosis: str = ""

    def digest(self) -> str:
        """Hash of all that decides a run's bits but the seed: a result belongs to exactly one.

        Keys at their defaults are left out, so that a key that recipes gain later changes no old digest.
        """
        what = [self.method, _stated(self.data), self.model, _stated(self.training)]
        what += [self.protocol.metric, self.protocol.select]
        if self.pretrained is not None:
            checkpoint = registry.info(self.pretrained.checkpoint).weights.sha256
            what.append(_stated(self.pretrained) | {"checkpoint": checkpoint})
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]

    def settings(self) -> dict[str, Any]:
        """The tables that make a run, as in the TOML file; keys at their defaults are left out."""
        return {table: _stated(getattr(self, table)) for table in TABLES if getattr(self, table) is not None}


def _stated(spec: Any) -> Any:
    """A dataclass as a dict of the fields that are not at their defaults; tuples of them likewise."""
    if isinstance(spec, tuple):
        return [_stated(item) for item in spec]
    if not dataclasses.is_dataclass(spec):
        return spec
    values = {field.name: (getattr(spec, field.name), field.default) for field in dataclasses.fields(spec)}
    return {name: _stated(value) for name, (value, default) in values.items() if value != default}


S = TypeVar("S")


def parse(settings: dict[str, Any], where: str) -> Recipe:
    """A recipe from its TOML tables.

    Args:
        settings: As read from the file.
        where: The file, for messages.

    Raises:
        RecipeError: An unknown or missing key, a wrong type, an impossible value.
    """
    _require("rows" not in settings, where, "rows", "is a key of a table, which zoo reproduce runs")
    recipe = _build(Recipe, settings, where, "")
    check_training(recipe.training, where)
    if recipe.pretrained is not None:
        check_layer_decay(recipe.pretrained.layer_decay, where, "pretrained.layer_decay")
        either = recipe.pretrained.layer_decay == 1.0 or not recipe.training.groups
        _require(either, where, "pretrained.layer_decay", "sets the groups' learning rates: leave out training.groups")
    protocol = recipe.protocol
    _require(protocol.seeds >= 1, where, "protocol.seeds", "must be at least 1")
    _require(protocol.metric in METRIC_NAMES, where, "protocol.metric", f"choose from {', '.join(METRIC_NAMES)}")
    _require(protocol.select in SELECTIONS, where, "protocol.select", f"choose from {', '.join(SELECTIONS)}")
    if recipe.published is not None:
        _check_published(recipe.published, where)
    for key in ("in_feats", "num_classes", "transforms"):
        _require(key not in recipe.model, where, f"model.{key}", "comes from [data]: leave it out")
    _check_references(recipe, where)
    return recipe


def _check_published(published: Published, where: str) -> None:
    value, std, runs = published.value, published.std, published.runs
    _require(math.isfinite(value), where, "published.value", "must be finite")
    _require(std is None or 0 <= std < math.inf, where, "published.std", "must be 0 or more, and finite")
    _require(runs is None or runs >= 1, where, "published.runs", "must be at least 1")


def check_training(training: TrainingSpec, where: str) -> None:
    """Raises RecipeError if a number of the training is impossible."""
    for key, hint in type_hints(TrainingSpec).items():
        value = getattr(training, key)
        fitting = key == "groups" or fits(value, hint)
        _require(fitting, where, f"training.{key}", f"must be {type_name(hint)}, got {value!r}")
    for key in ("epochs", "patience", "batch_size"):
        value = getattr(training, key)
        _require(value is None or value >= 1, where, f"training.{key}", "must be at least 1")
    groups: dict[str, TrainingSpec | ParameterGroup] = {"training": training}
    groups |= {f"training.groups.{group.parameters}": group for group in training.groups}
    for place, group in groups.items():
        _require(group.lr is None or 0 < group.lr <= MAX_LR, where, f"{place}.lr", f"must be above 0, at most {MAX_LR}")
        decay, clip = group.weight_decay, group.clip_norm
        _require(decay is None or 0 <= decay < math.inf, where, f"{place}.weight_decay", "must be 0 or more")
        _require(clip is None or 0 < clip < math.inf, where, f"{place}.clip_norm", "must be positive")


def check_layer_decay(value: Any, where: str, key: str) -> None:
    """Raises RecipeError if a factor of the learning rate per layer is impossible."""
    _require(fits(value, float) and 0 < value <= 1, where, key, f"must be a number above 0, at most 1, got {value!r}")


def _check_references(recipe: Recipe, where: str) -> None:
    """That the method, its arguments, the data, the split, the transforms and the metric exist and go together."""
    from zoo import models
    from zoo.datasets import splits, transforms
    from zoo.training.tasks import TASKS

    with _told_as(where, "method"):
        models.get(recipe.method)
    with _told_as(where, "model"):
        models.check_arguments(recipe.method, recipe.model)
    with _told_as(where, "data.name"):
        data = info(recipe.data.name)
    with _told_as(where, "data.split"):
        splits.check(data, recipe.data.split or data.default_split)
    with _told_as(where, "data.transforms"):
        transforms.check(recipe.data.transforms)
    if recipe.data.align is not None:
        with _told_as(where, "data.align"):
            info(recipe.data.align)
    if recipe.pretrained is not None:
        with _told_as(where, "pretrained.checkpoint"):
            registry.info(recipe.pretrained.checkpoint)
    metrics = TASKS[data.task].metrics
    fitting = recipe.protocol.metric in metrics
    _require(fitting, where, "protocol.metric", f"{data.name} is for {data.task}: choose from {', '.join(metrics)}")
    two = recipe.protocol.metric != "roc-auc" or data.task == "node-multilabel" or data.num_classes == 2
    _require(two, where, "protocol.metric", f"roc-auc is of two classes, but {data.name} has {data.num_classes}")
    whole = data.task.startswith("graph-")
    fitting = (recipe.model.get("readout") is not None) == whole
    remedy = "it needs one" if whole else "leave it out"
    _require(fitting, where, "model.readout", f"{data.name} is for {data.task}: {remedy}")
    batched = recipe.training.batch_size is None or whole
    _require(batched, where, "training.batch_size", f"{data.name} is one graph, which every step sees whole")


@contextmanager
def _told_as(where: str, key: str) -> Iterator[None]:
    """What is wrong with a key's value becomes a RecipeError that names the key."""
    try:
        yield
    except (CheckpointNotFound, ConfigError, DatasetNotFound, GraphError) as error:
        raise RecipeError(f"{where}: {key}: {error}") from error


def _require(condition: bool, where: str, key: str, message: str) -> None:
    if not condition:
        raise RecipeError(f"{where}: {key}: {message}")


def _build(cls: type[S], settings: Any, where: str, prefix: str) -> S:
    """An instance of a dataclass from a table, recursively, with every key and type checked."""
    _require(isinstance(settings, dict), where, prefix.rstrip(".") or "file", "must be a table")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in settings:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(fields)}"
            raise RecipeError(f"{where}: unknown key {prefix + key!r}: {hint}")
    for key, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        _require(key in settings or optional, where, prefix + key, "is missing")
    types_by_key = type_hints(cls)
    return cls(**{key: _convert(value, types_by_key[key], where, prefix + key) for key, value in settings.items()})


def _convert(value: Any, expected: Any, where: str, key: str) -> Any:
    if typing.get_origin(expected) is types.UnionType:  # "X | None": TOML has no null, so it is X
        expected = next(option for option in typing.get_args(expected) if option is not type(None))
    if typing.get_origin(expected) is tuple:
        _require(isinstance(value, list), where, key, "must be a list")
        inner = typing.get_args(expected)[0]
        return tuple(_convert(item, inner, where, f"{key}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(expected):
        return _build(typing.cast("type[Any]", expected), value, where, f"{key}.")
    _require(fits(value, expected), where, key, f"must be of type {type_name(expected)}, not {type(value).__name__}")
    return float(value) if expected is float else value


def read(path: Path) -> Recipe:
    """The recipe in a TOML file; RecipeError if it cannot be read or is wrong, also if its name is not the file's."""
    recipe = parse(read_toml(path), str(path))
    _require(recipe.name == path.stem, str(path), "name", f"must be the file's name, {path.stem!r}")
    _check_model(recipe, str(path))
    return recipe


def _check_model(recipe: Recipe, where: str) -> None:
    """That the method takes these values, by a model without memory."""
    import torch

    from zoo import models

    data, features = info(recipe.data.name), info(recipe.data.align or recipe.data.name)
    try:
        with torch.device("meta"):
            models.create(
                recipe.method, {"in_feats": features.in_feats, "num_classes": data.num_classes, **recipe.model}
            )
    except ConfigError as error:
        raise RecipeError(f"{where}: model: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's tables; RecipeError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as TOML: {error}") from error


def list_recipes() -> list[str]:
    """The names of all recipes that come with the zoo, sorted."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    return {path.stem: path for path in resource("recipes").glob("*/*.toml") if path.parent.name != "tables"}


def find(name: str) -> Recipe:
    """A recipe by its name, or by the path of a TOML file of your own; RecipeNotFound with the nearest names."""
    return read(_path(name))


def find_settings(name: str, folder: Path = Path()) -> dict[str, Any]:
    """The same as its TOML tables, to lay overrides over; a path starts at the folder."""
    return read_toml(folder / _path(name))


def _path(name: str) -> Path:
    files = _files()
    if name in files:
        return files[name]
    if name.endswith(".toml"):
        return user_path(name)
    near = difflib.get_close_matches(name, files, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "zoo.list_recipes() names them all"
    raise RecipeNotFound(f"no recipe {name!r}: {hint}")


def merge(base: dict[str, Any], *overrides: dict[str, Any]) -> dict[str, Any]:
    """Nested tables laid over one another; what comes later wins."""
    merged = dict(base)
    for override in overrides:
        for key, value in override.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merge(merged[key], value) if both else value
    return merged
