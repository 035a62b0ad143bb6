"""Publishing: a checkpoint, with its card, becomes a repository on the Hub, and the registry knows the commit."""

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo import hub, registry, weights
from zoo._files import locked, resource
from zoo.cards import card
from zoo.errors import CheckpointError, CheckpointNotFound, RegistryError
from zoo.model import ZooModel
from zoo.registry import Checkpoint, Hub

__all__ = ["push", "push_all"]

REGISTRY = "checkpoints.json"
RESULT = "result.json"


def push(source: str | Path | ZooModel, to: str, **options: Any) -> str:
    """Creates or updates a repository on the Hub: weights, config and a model card.

    Args:
        source: A name of `zoo.list_checkpoints`, whose repository and commit are then written into the registry; a
            folder that training or fine-tuning has written; or a model.
        to: An organisation or user, or `organisation/name`. A checkpoint's or folder's name is the default.
        options: `private`, `token`, `revision` (a branch) and `commit_message`, see `zoo.hub.upload`.

    Returns:
        `hf://organisation/name@commit`, which `zoo.load` takes.

    Raises:
        CheckpointNotFound: No such checkpoint, folder, organisation or branch; or the name cannot be a repository's.
        CheckpointError, IntegrityError: The files are broken.
        HubError: The Hub refuses, is busy or cannot be reached. Nothing is half-pushed: all files are one commit.
        RegistryError: The registry cannot be written; nothing was uploaded then.
    """
    if isinstance(source, ZooModel):
        return _upload(_repository(to, None), source, weights.files(source), **options)
    if weights.is_path(source):
        folder = Path(source).expanduser()
        model = weights.load_folder(folder)
        repo_id = _repository(to, folder.resolve().name)
        return _upload(repo_id, model, _read(folder), result=_read_result(folder), **options)
    entry = registry.info(str(source))
    _check_writable(resource(REGISTRY))
    repo_id = _repository(to, entry.name)
    folder, expected = weights.locate(entry.name)
    pushed = _upload(repo_id, weights.load_folder(folder, expected=expected), _read(folder), entry=entry, **options)
    _, commit = hub.parse(pushed)
    with locked(resource(REGISTRY)):
        entries = registry.read()
        pinned = dataclasses.replace(entries[entry.name], hub=Hub(repo_id, commit))
        registry.write({**entries, entry.name: pinned})
    return pushed


def push_all(organisation: str, **options: Any) -> Iterator[tuple[str, str]]:
    """Pushes every checkpoint that the registry does not yet know to be there; a run that broke off is simply repeated.

    Args:
        organisation: Organisation or user.
        options: See `push`.

    Yields:
        Name and `hf://organisation/name@commit` of each checkpoint, the earlier ones too.
    """
    for name in registry.list_checkpoints():
        there = registry.info(name).hub
        done = there.repo_id == f"{organisation}/{name}" and there.revision is not None
        known = hub.address(f"{organisation}/{name}", str(there.revision))
        yield name, known if done else push(name, organisation, **options)


def _upload(
    repo_id: str,
    model: ZooModel,
    files: dict[str, bytes],
    *,
    entry: Checkpoint | None = None,
    result: dict[str, Any] | None = None,
    **options: Any,
) -> str:
    readme = card(model, repo_id, entry=entry, result=result).encode()
    return hub.address(repo_id, hub.upload({**files, "README.md": readme}, repo_id, **options))


def _repository(to: str, name: str | None) -> str:
    repo_id = to if "/" in to or name is None else f"{to}/{name}"
    if registry.REPOSITORY.fullmatch(repo_id) is None:
        raise CheckpointNotFound(f"{repo_id!r} cannot be a repository: expected organisation/name")
    return repo_id


def _read(folder: Path) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in hub.FILES}


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise RegistryError(f"{path} cannot be written, and would not know what was pushed; nothing was uploaded")


def _read_result(folder: Path) -> dict[str, Any] | None:
    """What a run wrote of itself; None for a folder that was only saved."""
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return {"metric": str(result["metric"]), "val": float(result["val"]), "test": float(result["test"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not the result of a run: mend it or delete it ({error})") from error
