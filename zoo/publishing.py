"""Publishing: a checkpoint, with its card, becomes a repository on the Hub, and the registry knows the commit."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo import hub, registry, weights
from zoo._files import locked, resource
from zoo.cards import card
from zoo.errors import CheckpointNotFound, RegistryError
from zoo.model import ZooModel
from zoo.registry import Checkpoint, Hub
from zoo.training.folder import read_result

__all__ = ["push", "push_all"]

REGISTRY = "checkpoints.json"


def push(source: str | Path | ZooModel, to: str, *, license: str | None = None, **options: Any) -> str:
    """Creates or updates a repository on the Hub: weights, config and a model card.

    Args:
        source: A name of `zoo.list_checkpoints`, whose repository and commit are then written into the registry; a
            folder that training or fine-tuning has written; or a model.
        to: An organisation or user, or `organisation/name`. A checkpoint's or folder's name is the default.
        license: For the card of a folder or model, an identifier as the Hub has it, such as `"mit"`. Default: none is
            named. The zoo's own checkpoints have theirs.
        options: `private`, `token`, `revision` (a branch) and `commit_message`, see `zoo.hub.upload`.

    Returns:
        `hf://organisation/name@commit`, which `zoo.load` takes.

    Raises:
        CheckpointNotFound: No such checkpoint, folder or branch; or the name cannot be a repository's.
        CheckpointError, IntegrityError, ConfigError: What is to be pushed could not be loaded.
        HubError: The Hub refuses, is busy or cannot be reached. Nothing is half-pushed: all files are one commit.
        RegistryError: The registry cannot be written, and nothing was uploaded; or it has changed meanwhile.
    """
    if isinstance(source, ZooModel):
        repo_id = _repository(to, None)
        return _upload(repo_id, weights.files(source), card(source, repo_id, license=license), **options)
    if weights.is_path(source):
        folder = weights.local_folder(source)
        model = weights.load_folder(folder)
        repo_id = _repository(to, folder.resolve().name)
        readme = card(model, repo_id, result=read_result(folder), license=license)
        return _upload(repo_id, _read(folder), readme, **options)
    entry = registry.info(str(source))
    _check_writable(resource(REGISTRY))
    repo_id = _repository(to, entry.name)
    folder, expected = weights.locate(entry.name, token=options.get("token"))
    model = weights.load_folder(folder, expected=expected)
    pushed = _upload(repo_id, _read(folder), card(model, repo_id, entry=entry), **options)
    _pin(entry, Hub(*hub.parse(pushed)))
    return pushed


def _pin(pushed: Checkpoint, there: Hub) -> None:
    """Writes into the registry where a checkpoint's files are, unless it has other files by now."""
    path = resource(REGISTRY)
    with locked(path):
        entries = registry.read(path)
        entry = entries.get(pushed.name)
        if entry is None or entry.weights != pushed.weights:
            raise RegistryError(f"{path}: {pushed.name} has changed while it was pushed: push it again")
        registry.write({**entries, pushed.name: dataclasses.replace(entry, hub=there)}, path)


def push_all(organisation: str, **options: Any) -> Iterator[tuple[str, str]]:
    """Pushes every checkpoint that the registry does not yet know to be there; a run that broke off is simply repeated.

    Args:
        organisation: Organisation or user.
        options: See `push`.

    Yields:
        Name and `hf://organisation/name@commit` of each checkpoint, the earlier ones too.

    Raises:
        ZooError: See `push`. What is pushed by then stays, and the registry knows it.
    """
    if "/" in organisation:
        raise CheckpointNotFound(f"{organisation!r} is one repository, but each checkpoint needs its own: name no more")
    for name in registry.list_checkpoints():
        there = registry.info(name).hub
        done = there.repo_id == f"{organisation}/{name}" and there.revision is not None
        known = hub.address(f"{organisation}/{name}", str(there.revision))
        yield name, known if done else push(name, organisation, **options)


def _upload(repo_id: str, files: dict[str, bytes], readme: str, **options: Any) -> str:
    return hub.address(repo_id, hub.upload({**files, "README.md": readme.encode()}, repo_id, **options))


def _repository(to: str, name: str | None) -> str:
    repo_id = to if "/" in str(to) or name is None else f"{to}/{name}"
    if not isinstance(to, str) or registry.REPOSITORY.fullmatch(repo_id) is None:
        raise CheckpointNotFound(
            f"{repo_id!r} cannot be a repository: expected organisation/name, of letters, digits, -, _ and ."
        )
    return repo_id


def _read(folder: Path) -> dict[str, bytes]:
    return {file: (folder / file).read_bytes() for file in hub.FILES}


def _check_writable(path: Path) -> None:
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):  # a new file takes the place of the old one
        raise RegistryError(f"{path} cannot be written, and would not know what was pushed; nothing was uploaded")
