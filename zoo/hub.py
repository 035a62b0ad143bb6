"""Checkpoints on the Hugging Face Hub."""

from pathlib import Path

from zoo.errors import CheckpointNotFound
from zoo.registry import Checkpoint

__all__ = ["download"]

FILES = ("config.json", "model.safetensors")


def download(entry: Checkpoint) -> Path:
    """The folder of a checkpoint's files at its pinned commit, from the Hub's cache or the Hub.

    Raises:
        CheckpointNotFound: It was never pushed, or the Hub cannot be reached and the cache does not have it.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repo_id, revision = entry.hub.repo_id, entry.hub.revision
    if repo_id is None or revision is None:
        raise CheckpointNotFound(f"{entry.name} is neither bundled with this installation nor on the Hub")
    try:
        paths = [Path(hf_hub_download(repo_id, file, revision=revision)) for file in FILES]
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointNotFound(
            f"{entry.name} is not bundled, and {repo_id}@{revision} is neither cached nor could it be fetched: "
            f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        ) from error
    return paths[0].parent
