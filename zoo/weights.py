"""A checkpoint's files: config.json and model.safetensors in one folder, laid out as a Hub repository."""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.nn.modules.module import register_module_parameter_registration_hook

from zoo import hub, models, registry
from zoo._checks import check_count
from zoo._files import resource, user_path, write_bytes
from zoo.errors import CheckpointError, CheckpointNotFound, ConfigError, IntegrityError, ZooError
from zoo.model import LoadReport, ZooModel
from zoo.registry import Weights

__all__ = [
    "CONFIG",
    "WEIGHTS",
    "adapt",
    "as_model",
    "digest",
    "files",
    "is_path",
    "load",
    "load_folder",
    "local_folder",
    "locate",
    "pull",
    "serialize",
    "sha256",
    "verify",
    "write",
]

CONFIG, WEIGHTS = hub.FILES
MAX_CONFIG = 100_000  # bytes; those of the zoo have some hundred
DTYPES = (torch.float32, torch.float64)  # a score in half floats would hold on one kind of machine only


def sha256(content: bytes) -> str:
    """The hex digest by which a weights file is known."""
    return hashlib.sha256(content).hexdigest()


def serialize(model: ZooModel) -> bytes:
    """A model as a weights file: every tensor, and the config too, so that the sha256 covers it.

    Raises:
        ConfigError: The model is in another type than float32 or float64, or tensors of it share memory or have none.
    """
    if others := {str(tensor.dtype) for tensor in model.parameters()} - {str(dtype) for dtype in DTYPES}:
        types = ", ".join(sorted(others))
        raise ConfigError(f"a model in {types} is not saved, only float32 and float64 are: use .float()")
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"config": json.dumps(model.config, sort_keys=True)}  # a second key would make the bytes' order random
    try:
        return safetensors.torch.save(tensors, metadata)
    except RuntimeError as error:  # tensors that share memory, or have none
        raise ConfigError(f"the model's tensors cannot be saved: {' '.join(str(error).split())}") from error


def digest(model: ZooModel) -> str:
    """The sha256 that a model's weights file has; ConfigError as from `serialize`."""
    return sha256(serialize(model))


def files(model: ZooModel) -> dict[str, bytes]:
    """A model's two files, content by name.

    Raises:
        ConfigError: They could not be loaded again: the model is in another type than float32 or float64, or a part of
            it is no longer what its arguments say.
    """
    content = {WEIGHTS: serialize(model), CONFIG: (json.dumps(model.config, indent=2) + "\n").encode()}
    try:
        _build(json.loads(content[CONFIG]), _parse(content[WEIGHTS], Path(WEIGHTS)), Path())
    except CheckpointError as error:
        raise ConfigError(f"a model that could not be loaded again is not saved: {error}") from error
    return content


def write(model: ZooModel, folder: Path) -> None:
    """Writes a model's files into a folder, each whole or not at all.

    Raises:
        ConfigError: See `files`.
        ZooError: A file cannot be written.
    """
    for name, content in files(model).items():
        write_bytes(folder / name, content)


def load(
    source: str | Path,
    *,
    num_classes: int | None = None,
    in_feats: int | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> ZooModel:
    """A pretrained model, in eval mode. Its files are checked every time, see `locate`.

    Args:
        source: What to load:

            - a name of `zoo.list_checkpoints`: the weights are looked for in the package, then in the Hub's cache, then
              on the Hub at the pinned commit;
            - `hf://organisation/name`, or with a commit, branch or tag `hf://organisation/name@revision`: any
              repository that a zoo has written;
            - a folder with config.json and model.safetensors: a Path, or a string with a separator, such as `./mine`.
        num_classes: Another number of classes: the head starts untrained.
        in_feats: Another feature width: the first layer starts untrained. What is kept, new and dropped is told by a
            warning, and by `model.load_report`.
        revision: Commit, branch or tag to take from the Hub. Default: for a name the registry's commit, else the main
            branch.
        token, cache_dir, local_files_only, force_download: As in `huggingface_hub.hf_hub_download`; as everywhere,
            `HF_TOKEN`, `HF_HOME`, `HF_HUB_OFFLINE` and `HF_ENDPOINT` are heeded.

    Raises:
        CheckpointNotFound: No such checkpoint, or its files are out of reach.
        HubError: The Hub refuses them or does not answer, or the cache cannot be written.
        IntegrityError: The files are not those that the registry, or the Hub, names.
        CheckpointError: The files do not describe a model.
        ConfigError: An override is impossible.
    """
    folder, expected = locate(
        source,
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        force_download=force_download,
    )
    return load_folder(folder, expected=expected, num_classes=num_classes, in_feats=in_feats)


def locate(
    source: str | Path, *, revision: str | None = None, **options: Any
) -> tuple[Path, Weights | None]:
    """The folder of a checkpoint's files, fetched if need be, and what the registry says of the weights.

    Files from the Hub are checked against the Hub's own checksums, also in the cache; see `zoo.hub.fetch`.

    Args:
        source: See `load`.
        revision: See `load`.
        options: The others that `load` hands on to the Hub.
    """
    if is_path(source):
        return local_folder(source), None
    if str(source).startswith(hub.SCHEME):
        repo_id, named = hub.parse(str(source))
        if revision is not None and named is not None:
            raise CheckpointNotFound(f"{source:.200} names a revision already, and so does {revision=}: give one")
        return hub.fetch(repo_id, revision=revision or named, **options), None
    entry = registry.info(str(source))
    bundled = resource("pretrained") / entry.name
    if revision is None and not options.get("force_download") and (bundled / WEIGHTS).exists():
        return bundled, entry.weights
    if entry.hub.repo_id is None:
        where = "is bundled, but not" if bundled.exists() else "is neither bundled with this installation nor"
        raise CheckpointNotFound(f"{entry.name} {where} on the Hub")
    pinned = revision in (None, entry.hub.revision)
    folder = hub.fetch(entry.hub.repo_id, revision=revision or entry.hub.revision, **options)
    return folder, entry.weights if pinned else None


def local_folder(source: str | Path) -> Path:
    """The folder that a path means.

    Raises:
        CheckpointNotFound: There is none.
    """
    with contextlib.suppress(RuntimeError, OSError, ValueError):  # no such user; a name too long, or with a NUL
        path = Path(source).expanduser()
        if path.is_dir():
            return path
    hint = ""
    if registry.REPOSITORY.fullmatch(str(source)):
        hint = f": did you mean {hub.SCHEME}{source}?"
    elif str(source) in registry.list_checkpoints():
        hint = f": zoo.load({str(source)!r}) loads the zoo's checkpoint"
    raise CheckpointNotFound(f"{str(source)!r:.200}: there is no such folder{hint}")


def as_model(source: str | Path | ZooModel) -> ZooModel:
    """A model as it is, all else as `load` takes it."""
    return source if isinstance(source, ZooModel) else load(source)


def pull(source: str | Path, **options: Any) -> Path:
    """Makes sure that a checkpoint's files are on this machine, and sound.

    Args:
        source: See `load`; so do the options, from `revision` on.

    Returns:
        Their folder, for `load` or for reading.

    Raises:
        ZooError: See `load`.
    """
    folder, expected = locate(source, **options)
    load_folder(folder, expected=expected)
    return folder


def verify(name: str, *, remote: bool = False) -> dict[str, str]:
    """Checks each place where a checkpoint's files can lie.

    Args:
        name: A name of `zoo.list_checkpoints`.
        remote: Whether to fetch them from the Hub too, past the cache.

    Returns:
        For `bundled`, `cached` and, if asked for, `remote`: `ok`, `-` where there is none, or what is wrong.

    Raises:
        CheckpointNotFound: The registry has no such name.
    """
    entry = registry.info(name)
    repo_id, revision = entry.hub.repo_id, entry.hub.revision
    bundled = resource("pretrained") / name
    cached = hub.cached(repo_id, revision) if repo_id and revision else None
    found = {
        "bundled": _state(bundled, entry.weights) if bundled.exists() else "-",
        "cached": _state(cached, entry.weights) if cached else "-",
    }
    if remote:
        found["remote"] = _remote_state(repo_id, revision, entry.weights) if repo_id else "-"
    return found


def _state(folder: Path, expected: Weights) -> str:
    try:
        load_folder(folder, expected=expected)
    except ZooError as error:
        return str(error)
    return "ok"


def _remote_state(repo_id: str, revision: str | None, expected: Weights) -> str:
    with tempfile.TemporaryDirectory() as cache:
        try:
            return _state(hub.fetch(repo_id, revision=revision, cache_dir=cache), expected)
        except ZooError as error:
            return str(error)


def is_path(source: str | Path) -> bool:
    """Whether a source means a folder: a Path, or a string with a separator that is no address on the Hub."""
    if not isinstance(source, str):
        return isinstance(source, Path)
    return not source.startswith(hub.SCHEME) and (os.sep in source or "/" in source or source in (".", ".."))


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
    folder = user_path(folder)
    content = _read_bytes(folder / WEIGHTS)
    if expected is not None:
        _check_bytes(folder / WEIGHTS, content, expected)
    config = _read_config(folder / CONFIG)
    own = _own_config(content)
    changed = IntegrityError(f"{folder / CONFIG} was changed: the weights were written with another config")
    if expected is not None and config != own:
        raise changed
    model = _build(config, _parse(content, folder / WEIGHTS), folder)
    if own is not None and config != own:  # after all that can be said more exactly
        raise changed
    overrides = {"num_classes": num_classes, "in_feats": in_feats}
    given = {key: check_count(key, value) for key, value in overrides.items() if value is not None}
    if given:
        dtype = next(model.parameters()).dtype
        model = adapt(model, models.create(config["method"], {**_arguments(config), **given}).to(dtype))
        if model.load_report and model.load_report.new:
            warnings.warn(f"{model.method}: {model.load_report}", stacklevel=3)
    return model.eval()


def _build(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> ZooModel:
    """The model that a config describes, with these tensors."""
    try:
        # Neither memory nor time for parameters that the file replaces, and not many more of them than it holds.
        with torch.device("meta"), _at_most_parameters(2 * len(tensors) + 100):
            model = models.create(config["method"], _arguments(config))
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG}: {_shortened(error)}") from error
    model.multilabel = "multilabel" in config
    _fill(model, tensors, folder / WEIGHTS)
    return model


def _arguments(config: dict[str, Any]) -> dict[str, Any]:
    """What a config says to the model's class; a `multilabel` that is not True is left in, to be refused."""
    return {key: value for key, value in config.items() if key != "method" and (key, value) != ("multilabel", True)}


_parameters_left: ContextVar[int | None] = ContextVar("parameters left", default=None)


@contextlib.contextmanager
def _at_most_parameters(number: int) -> Iterator[None]:
    """Stops the building of a model, in this thread, that asks for more parameters."""
    token = _parameters_left.set(number)
    try:
        yield
    finally:
        _parameters_left.reset(token)


def _count_parameter(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> None:
    left = _parameters_left.get()
    if left is None or parameter is None:
        return
    if left == 0:
        raise ConfigError("many more parameters than the weights file beside it holds")
    _parameters_left.set(left - 1)


# Once, and for whatever is built: to add and remove it on each load would disturb what other threads are building.
register_module_parameter_registration_hook(_count_parameter)


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


def _read_bytes(file: Path) -> bytes:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe or a device may never end
            raise OSError("it is not a file")
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error.strerror or error}") from error
    except ValueError as error:  # a path with a NUL
        raise CheckpointError(f"cannot read {str(file)!r}: {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"cannot read {file}: it is larger than the memory") from error


def _read_config(file: Path) -> dict[str, Any]:
    content = _read_bytes(file)
    if len(content) > MAX_CONFIG:
        raise CheckpointError(f"{file} does not describe a model: it has {len(content)} bytes, {MAX_CONFIG} at most")
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("method"), str):
        raise CheckpointError(f'{file} does not describe a model: it needs an object with a "method"')
    return config


def _parse(content: bytes, file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:  # of types and shapes
        raise CheckpointError(f"{file} is not a safetensors file: {_shortened(error)}") from error


def _shortened(error: Exception) -> str:
    """An error's message without the length, the lines and the control characters that a file can bring into it."""
    line = "".join(filter(str.isprintable, str(error).partition("\n")[0]))
    return line if len(line) <= 500 else f"{line[:300]} … {line[-200:]}"


def _fill(model: ZooModel, tensors: dict[str, Tensor], file: Path) -> None:
    floating = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(floating) == 1 and floating <= set(DTYPES):  # a model saved in float64 comes back in it
        model.to(floating.pop())
    model.make_room(tensors)
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name!r:.100} is unknown" for name in tensors if name not in own]
    problems += [
        f"{name} is {tensor.dtype} {tuple(tensor.shape)}, not {own[name].dtype} {tuple(own[name].shape)}"
        for name, tensor in tensors.items()
        if name in own and (own[name].shape, own[name].dtype) != (tensor.shape, tensor.dtype)
    ]
    if problems:
        raise CheckpointError(f"{file} does not fit {type(model).__name__}: {'; '.join(problems[:5])}")
    model.load_state_dict(tensors, assign=True)


def adapt(source: ZooModel, target: ZooModel) -> ZooModel:
    """Copies every tensor of the same name and shape into `target`, whose `load_report` then tells of the others."""
    tensors = source.state_dict()
    target.make_room(tensors)
    own = target.state_dict()
    kept = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    target.load_state_dict({**own, **kept})
    target.multilabel = source.multilabel
    new, dropped = (tuple(name for name in names if name not in kept) for names in (own, tensors))
    target.load_report = LoadReport(tuple(kept), new, dropped)
    return target
