"""A checkpoint's files: config.json and model.safetensors in one folder, laid out as a Hub repository."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zoo import hub, models, registry
from zoo._files import resource, write_bytes, write_text
from zoo.errors import CheckpointError, ConfigError, IntegrityError
from zoo.model import LoadReport, ZooModel
from zoo.registry import Weights

__all__ = ["CONFIG", "WEIGHTS", "fill", "load", "load_folder", "sha256", "write"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def sha256(content: bytes) -> str:
    """The hex digest by which a weights file is known."""
    return hashlib.sha256(content).hexdigest()


def write(model: ZooModel, folder: Path) -> None:
    """Writes a model's weights and config, each file whole or not at all.

    The config stands in the weights file too, where the sha256 covers it.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"config": json.dumps(model.config, sort_keys=True)}  # a second key would make the bytes' order random
    write_bytes(folder / WEIGHTS, safetensors.torch.save(tensors, metadata))
    write_text(folder / CONFIG, json.dumps(model.config, indent=2) + "\n")


def load(name: str, *, num_classes: int | None = None, in_feats: int | None = None) -> ZooModel:
    """A pretrained model, in eval mode.

    The weights are looked for in the package, then in the Hub's cache, then on the Hub at the pinned commit; their
    sha256 is checked every time.

    Args:
        name: See `zoo.list_checkpoints`.
        num_classes: Another number of classes: the head starts untrained.
        in_feats: Another feature width: the first layer starts untrained. What is kept and what is new is told by a
            warning, and by `model.load_report`.

    Raises:
        CheckpointNotFound: No such checkpoint, or its files are out of reach.
        IntegrityError: The files are not those that the registry names.
        CheckpointError: The files do not describe a model.
    """
    entry = registry.info(name)
    bundled = resource("pretrained") / name
    folder = bundled if (bundled / WEIGHTS).exists() else hub.download(entry)
    return load_folder(folder, expected=entry.weights, num_classes=num_classes, in_feats=in_feats)


def load_folder(
    folder: Path | str,
    *,
    expected: Weights | None = None,
    num_classes: int | None = None,
    in_feats: int | None = None,
) -> ZooModel:
    """The model in a folder, in eval mode.

    Args:
        folder: With config.json and model.safetensors.
        expected: The registry's word on the weights file, which also holds the config. Default: not checked.
        num_classes: See `load`.
        in_feats: See `load`. Everything but what these two change is strict.

    Raises:
        CheckpointError: A file is missing, broken, or not a checkpoint of this zoo.
        IntegrityError: The weights are not the expected bytes, or config.json is not what they were written with.
        ConfigError: An override is impossible.
    """
    folder = Path(folder)
    content = _read_bytes(folder / WEIGHTS)
    if expected is not None:
        _check_bytes(folder / WEIGHTS, content, expected)
    config = _read_config(folder / CONFIG)
    if expected is not None and config != _own_config(content):
        raise IntegrityError(f"{folder / CONFIG} was changed: the weights were written with another config")
    arguments = {key: value for key, value in config.items() if key != "method"}
    try:
        with torch.device("meta"):  # neither memory nor time for parameters that the file replaces
            model = models.create(config["method"], arguments)
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    _fill(model, _parse(content, folder / WEIGHTS), folder / WEIGHTS)
    overrides = {"num_classes": num_classes, "in_feats": in_feats}
    given = {key: value for key, value in overrides.items() if value is not None}
    if given:
        dtype = next(model.parameters()).dtype
        model = _transfer(model, models.create(config["method"], {**arguments, **given}).to(dtype))
    return model.eval()


def _check_bytes(file: Path, content: bytes, expected: Weights) -> None:
    remedy = "install the package again or delete the cached file"
    if len(content) < expected.bytes:
        raise IntegrityError(f"{file} is cut short: {len(content)} of {expected.bytes} bytes; {remedy}")
    if sha256(content) != expected.sha256:
        raise IntegrityError(
            f"{file} was changed: its sha256 is {sha256(content)}, the registry has {expected.sha256}; {remedy}"
        )


def _own_config(content: bytes) -> Any:
    """The config that a weights file of this zoo was written with; None if there is none."""
    try:
        length = int.from_bytes(content[:8], "little")
        return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["config"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def fill(model: ZooModel, file: Path) -> None:
    """Puts a weights file into a model: every tensor, no other, all of the right shape and type."""
    _fill(model, _parse(_read_bytes(file), file), file)


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror}") from error


def _read_config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(_read_bytes(file))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("method"), str):
        raise CheckpointError(f'{file} does not describe a model: it needs an object with a "method"')
    return config


def _parse(content: bytes, file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{file} is not a safetensors file: {error}") from error


def _fill(model: ZooModel, tensors: dict[str, Tensor], file: Path) -> None:
    floating = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(floating) == 1:  # a model saved in float64 comes back in it
        model.to(floating.pop())
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in own]
    problems += [
        f"{name} is {tensor.dtype} {tuple(tensor.shape)}, not {own[name].dtype} {tuple(own[name].shape)}"
        for name, tensor in tensors.items()
        if name in own and (own[name].shape, own[name].dtype) != (tensor.shape, tensor.dtype)
    ]
    if problems:
        raise CheckpointError(f"{file} does not fit {type(model).__name__}: {'; '.join(problems[:5])}")
    model.load_state_dict(tensors, assign=True)


def _transfer(source: ZooModel, target: ZooModel) -> ZooModel:
    """Copies every tensor of the same name and shape, and warns of those that start untrained."""
    tensors, own = source.state_dict(), target.state_dict()
    kept = {name: tensor for name, tensor in tensors.items() if own[name].shape == tensor.shape}
    target.load_state_dict({**own, **kept})
    new = tuple(name for name in own if name not in kept)
    target.load_report = LoadReport(tuple(kept), new)
    if new:
        warnings.warn(f"{target.method}: {target.load_report}", stacklevel=4)
    return target
