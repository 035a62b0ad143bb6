"""The raw files: where each comes from, which bytes it must have, and how it is found.

`sources.json` maps an origin to its files: path below `$ZOO_DATA`, path in the origin, sha256. Digests of files that
are too large to be kept here (`roman_empire`, `amazon_ratings`, `questions`) are those that a public audit of the
pinned commit recorded; `cora_full` and `genius` have none, so their bytes are taken on trust and only ever read as
plain arrays.
"""

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from zoo._files import user_path
from zoo.errors import DatasetNotFound, IntegrityError

__all__ = ["RawFile", "cache", "data", "raw_files", "read"]

TIMEOUT = 10  # seconds without a byte
_unreachable: set[str] = set()  # hosts that did not answer this process: they are not asked again


@dataclass(frozen=True)
class RawFile:
    """One raw file.

    Attributes:
        path: Where it lies below `$ZOO_DATA` and below the cache.
        url: Its public origin.
        sha256: Digest of its bytes, or None if nobody has recorded it.
    """

    path: str
    url: str
    sha256: str | None


@functools.cache
def raw_files() -> dict[str, RawFile]:
    """All raw files by their path below `$ZOO_DATA`."""
    origins = json.loads(Path(__file__).with_name("sources.json").read_text(encoding="utf-8"))
    return {
        path: RawFile(path, origin + quote(path_there), sha256)
        for origin, files in origins.items()
        for path, (path_there, sha256) in files.items()
    }


def read(dataset: str, paths: Sequence[str]) -> list[bytes]:
    """Reads raw files, each checked against its sha256, from `$ZOO_DATA`, the cache or their origin.

    Args:
        dataset: Name of the data set, for messages.
        paths: Files below `$ZOO_DATA`; all are declared in `sources.json`.

    Returns:
        Their bytes, in the order of `paths`. Bytes rather than paths: what was checked is what is parsed.

    Raises:
        DatasetNotFound: A file is neither at hand nor to be fetched.
        IntegrityError: A file's bytes are not those that its sha256 names.
    """
    files = [raw_files()[path] for path in paths]
    missing = [file for file in files if _find(file) is None]
    return [_checked(file, _find(file) or _fetch(dataset, file, missing)) for file in files]


def cache() -> Path:
    """Folder of the raw files that have been fetched: `$ZOO_CACHE`, else the user's."""
    if override := os.environ.get("ZOO_CACHE"):
        return user_path(override)
    import pooch

    return Path(pooch.os_cache("dgl-zoo"))


def data() -> Path | None:
    """Folder of raw files that are at hand, `$ZOO_DATA`."""
    given = os.environ.get("ZOO_DATA")
    return user_path(given) if given else None


def _find(file: RawFile) -> Path | None:
    places = [folder / file.path for folder in (data(), cache()) if folder]
    try:
        return next((place for place in places if place.is_file()), None)
    except OSError as error:
        raise DatasetNotFound(f"{file.path} cannot be looked for: {error}") from error


def _fetch(dataset: str, file: RawFile, missing: Sequence[RawFile]) -> Path:
    import pooch

    target = cache() / file.path
    host = urlsplit(file.url).netloc
    absent = (
        f"missing {', '.join(other.path for other in missing)}, origin {file.url}. "
        f"Set ZOO_DATA to a folder that holds these files, or connect to the network."
    )
    if host in _unreachable:
        raise DatasetNotFound(f"data set {dataset!r} is not at hand, and {host} did not answer before: {absent}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        downloader = pooch.HTTPDownloader(timeout=TIMEOUT)
        pooch.retrieve(file.url, known_hash=file.sha256, fname=target.name, path=target.parent, downloader=downloader)
    except OSError as error:
        if error.errno is not None:  # the disk's; those of the network have none
            raise DatasetNotFound(
                f"data set {dataset!r} cannot be fetched: the cache {target.parent} cannot be written "
                f"({error.strerror or error}). "
                f"Set ZOO_CACHE to a folder that can, or ZOO_DATA to one that holds {file.path}"
            ) from error
        if getattr(error, "response", error) is None:  # nobody answered
            _unreachable.add(host)
        raise DatasetNotFound(
            f"data set {dataset!r} is not at hand and cannot be fetched ({type(error).__name__}): {absent}"
        ) from error
    except ValueError as error:  # pooch has compared the digests and kept nothing
        raise IntegrityError(f"{file.url} does not serve the bytes that it once published: {error}") from error
    return target


def _checked(file: RawFile, place: Path) -> bytes:
    try:
        content = place.read_bytes()
    except OSError as error:
        raise DatasetNotFound(f"{place} cannot be read: {error.strerror or error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if file.sha256 not in (None, digest):
        raise IntegrityError(
            f"{place} is not the file that {file.url} once published: expected sha256 {file.sha256}, "
            f"found {digest}. Delete or replace it."
        )
    return content
