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

from zoo import models
from zoo._files import replacing, write_text
from zoo.errors import CheckpointError, ConfigError, IntegrityError
from zoo.model import LoadReport, ZooModel

__all__ = ["CONFIG", "WEIGHTS", "fill", "load_folder", "sha256", "write"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def sha256(content: bytes) -> str:
    """The hex digest by which a weights file is known."""
    return hashlib.sha256(content).hexdigest()


def write(model: ZooModel, folder: Path) -> None:
    """Writes a model's weights and config, each file whole or not at all."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        safetensors.torch.save_file(tensors, temporary, metadata={"format": "pt"})
    write_text(folder / CONFIG, json.dumps(model.config, indent=2) + "\n")


def load_folder(folder: Path, *, expected_sha256: str | None = None, **overrides: Any) -> ZooModel:
    """The model in a folder, in eval mode.

    Args:
        folder: With config.json and model.safetensors.
        expected_sha256: Of the weights file. Default: not checked.
        overrides: `in_feats` and `num_classes` that differ from the checkpoint's: the layers whose shapes change
            start untrained, which a warning reports; everything else is strict.

    Raises:
        CheckpointError: A file is missing, broken, or not a checkpoint of this zoo.
        ConfigError: An override is impossible.
        IntegrityError: The weights are not the expected bytes.
    """
    content = _read_bytes(folder / WEIGHTS)
    if expected_sha256 is not None and sha256(content) != expected_sha256:
        raise IntegrityError(
            f"{folder / WEIGHTS} was changed: its sha256 is {sha256(content)}, the registry has {expected_sha256}. "
            "Install the package again or delete the cached file"
        )
    config = _read_config(folder / CONFIG)
    method = config.pop("method", None)
    try:
        with torch.device("meta"):  # neither memory nor time for parameters that the file replaces
            model = models.create(method, config)
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    _fill(model, _parse(content, folder / WEIGHTS), folder / WEIGHTS)
    if overrides:
        model = _transfer(model, models.create(method, {**config, **overrides}))
    return model.eval()


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
    except ValueError as error:
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
