"""Checkpoints on the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import CheckpointNotFound, ZooError
from zoo.registry import Checkpoint

if TYPE_CHECKING:
    from zoo.model import ZooModel

__all__ = ["download", "fetch", "upload"]

FILES = ("config.json", "model.safetensors")


def download(entry: Checkpoint) -> Path:
    """The folder of a checkpoint's files at its pinned commit, from the Hub's cache or the Hub.

    Raises:
        CheckpointNotFound: It was never pushed, or the Hub cannot be reached and the cache does not have it.
    """
    if entry.hub.repo_id is None:
        raise CheckpointNotFound(f"{entry.name} is neither bundled with this installation nor on the Hub")
    return fetch(entry.hub.repo_id, revision=entry.hub.revision)


def fetch(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """The folder of a repository's two files, from the Hub's cache or the Hub.

    Args:
        repo_id: `organisation/name`.
        revision: Commit, branch or tag. Default: the main branch.
        token, cache_dir, local_files_only, force_download: As in `huggingface_hub.hf_hub_download`.

    Raises:
        CheckpointNotFound: The files are neither cached nor to be fetched, or there is no such repository.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        paths = [
            Path(
                hf_hub_download(
                    repo_id,
                    file,
                    revision=revision,
                    token=token,
                    cache_dir=cache_dir,
                    local_files_only=local_files_only,
                    force_download=force_download,
                )
            )
            for file in FILES
        ]
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointNotFound(
            f"{repo_id}@{revision or 'main'} is neither a folder, nor cached, nor could it be fetched from the Hub: "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        ) from error
    return paths[0].parent


def upload(
    model: ZooModel,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Weights and config, written by dgl-zoo",
) -> str:
    """Writes a model's two files into a repository, which is created if need be, in one commit.

    Args:
        model: The model.
        repo_id: `organisation/name`.
        private: Of a new repository. Default: the organisation's.
        token: Default: that of `HF_TOKEN` or `hf auth login`.
        revision: Branch. Default: main.
        commit_message: Of the commit.

    Returns:
        The commit, 40 hex digits.

    Raises:
        ZooError: The Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token)
    try:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message
            )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise ZooError(f"cannot push to {repo_id}: {reason}") from error
    return str(commit.oid)
