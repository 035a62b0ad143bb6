"""The Hugging Face Hub: fetching and uploading a checkpoint's files, with one clear error for whatever goes wrong.

All traffic goes through huggingface_hub's own client, which is imported when it is first needed. A file that comes from
the Hub, or from its cache, is compared with the Hub's checksum: the client itself compares sizes only.
"""

import contextlib
import errno
import hashlib
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from zoo.errors import CheckpointNotFound, HubError, IntegrityError, ZooError
from zoo.registry import REPOSITORY

__all__ = ["FILES", "SCHEME", "address", "cached", "fetch", "parse", "upload"]

T = TypeVar("T")

SCHEME = "hf://"
FILES = ("config.json", "model.safetensors")
REVISION = re.compile(r"(?!/)(?!.*\.\.)[!-~]+")
COMMIT = re.compile("[0-9a-f]{40}")
BUSY = (408, 429, 500, 502, 503, 504)
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
PATIENCE = 60.0  # seconds that a call may take, or the Hub may ask to wait
SLOWEST = 50_000  # bytes in a second, with which a transfer is still waited for


def parse(source: str) -> tuple[str, str | None]:
    """Repository and revision (None if not named) of `hf://organisation/name@revision`.

    Raises:
        CheckpointNotFound: It is not of that form.
    """
    repo_id, at, revision = source.removeprefix(SCHEME).partition("@")
    if REPOSITORY.fullmatch(repo_id) is None or (at and not revision):
        raise CheckpointNotFound(f"{source!r:.200} is not of the form hf://organisation/name[@revision]")
    return repo_id, revision or None


def address(repo_id: str, revision: str) -> str:
    """`hf://organisation/name@revision`, which `zoo.load` takes."""
    return f"{SCHEME}{repo_id}@{revision}"


def fetch(
    repo_id: str,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
) -> Path:
    """The folder of a repository's two files, from the Hub's cache or the Hub, both of one commit.

    A file whose bytes are not those of the Hub's checksum is downloaded once more; if it is wrong again, it is removed.
    The checksum is kept as the name of the cache's file, so it is there offline too. Where the cache's file system has
    no symbolic links, as often on Windows, it is not kept, and a file is compared when it is fetched only.

    Args:
        repo_id: `organisation/name`.
        revision: Commit, branch or tag. Default: the main branch.
        token, cache_dir, local_files_only, force_download: As in `huggingface_hub.hf_hub_download`.

    Raises:
        CheckpointNotFound: There is no such repository, revision or file, or it is not cached and may not be fetched.
        HubError: The Hub refuses, is busy or cannot be reached, or the cache cannot be written.
        IntegrityError: What the Hub sends, or what is cached and cannot be fetched anew, is not what its checksum says.
    """
    if revision is not None and REVISION.fullmatch(str(revision)) is None:  # the client makes a path of it
        raise CheckpointNotFound(f"{revision!r:.100} cannot be a commit, branch or tag")
    _check_token(token)
    options: dict[str, Any] = {
        "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only, "force_download": force_download
    }
    config = _fetch_file(repo_id, FILES[0], revision, options)
    commit = config.parent.name  # a branch may move between two downloads
    for file in FILES[1:]:
        _fetch_file(repo_id, file, commit, options)
    return config.parent


def _fetch_file(repo_id: str, file: str, revision: str | None, options: dict[str, Any]) -> Path:
    what = f"{file} of {repo_id}@{revision or 'main'}"
    with _explained(what):
        path, checksum = _download(repo_id, file, revision, options)
        if _is_sound(path, checksum):
            return path
    remedy = _remove(path)
    with contextlib.suppress(ZooError), _explained(what):  # offline, the wrong file is all there was
        path, checksum = _download(repo_id, file, revision, options)
        if _is_sound(path, checksum):
            return path
        remedy = _remove(path)
    raise IntegrityError(f"{what} is not what its checksum on the Hub says, and could not be fetched whole; {remedy}")


def _remove(path: Path) -> str:
    """Removes a file from the cache, and says what is left to do."""
    try:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
    except OSError:
        return f"it cannot be removed from the cache: delete {path}"
    return "it was removed from the cache: try again"


def _is_sound(path: Path, checksum: str) -> bool:
    """Whether a file has the Hub's checksum, a sha256 or for small files git's sha1; True if that is not known."""
    with path.open("rb") as file:
        if re.fullmatch("[0-9a-f]{64}", checksum):
            return hashlib.file_digest(file, "sha256").hexdigest() == checksum
        if re.fullmatch("[0-9a-f]{40}", checksum):
            start = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
            return hashlib.file_digest(file, lambda: start).hexdigest() == checksum
    return True


def _download(repo_id: str, file: str, revision: str | None, options: dict[str, Any]) -> tuple[Path, str]:
    """One file and its checksum, from the cache if it is there and of a commit, or if the Hub does not answer.

    The client would look for the file by itself, but some of its versions then wait for minutes, and it takes an old
    copy of a branch without a word. The checksum is also the name of the file that the cache's link leads to.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    def from_cache() -> tuple[Path, str]:
        cache_dir = options["cache_dir"]
        path = Path(hf_hub_download(repo_id, file, revision=revision, cache_dir=cache_dir, local_files_only=True))
        return path, path.resolve().name

    def look() -> Any:
        url = hf_hub_url(repo_id, file, revision=revision)
        return get_hf_file_metadata(url, token=options["token"], timeout=constants.HF_HUB_ETAG_TIMEOUT)

    if constants.HF_HUB_OFFLINE or options["local_files_only"]:
        return from_cache()
    if revision is not None and COMMIT.fullmatch(revision) and not options["force_download"]:
        with contextlib.suppress(LocalEntryNotFoundError):
            return from_cache()
    try:
        found = _patiently(look)
    except Exception as error:
        if options["force_download"] or not _is_passing(error):
            raise
        try:
            path, checksum = from_cache()
        except LocalEntryNotFoundError:
            raise error from None
        warnings.warn(f"{repo_id}: the Hub does not answer; taken from the cache: {path}", stacklevel=6)
        return path, checksum
    # Here the client tries again by itself, but not in all cases.
    path = _patiently(
        lambda: hf_hub_download(repo_id, file, revision=revision, **options), size=found.size or 0, attempts=2
    )
    return Path(path), str(found.etag)


def cached(repo_id: str, revision: str) -> Path | None:
    """The folder in the Hub's cache that holds both files of a commit, or None."""
    from huggingface_hub import try_to_load_from_cache

    config, weights = (try_to_load_from_cache(repo_id, file, revision=revision) for file in FILES)
    return Path(config).parent if isinstance(config, str) and isinstance(weights, str) else None


def upload(
    files: Mapping[str, bytes],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Checkpoint written by dgl-zoo",
) -> str:
    """Writes files into a repository, which is created if need be, in one commit; none if they are there already.

    Args:
        files: Content by path.
        repo_id: `organisation/name`.
        private: Whether others are kept out. Default: a new repository is as the organisation has it, an old one stays.
        token: Default: that of `HF_TOKEN` or `hf auth login`.
        revision: Branch. Default: main.
        commit_message: Of the commit.

    Returns:
        The commit, 40 hex digits.

    Raises:
        CheckpointNotFound: There is no such branch.
        HubError: The Hub refuses, is busy or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    _check_token(token)
    api = HfApi(token=token)

    def create() -> None:
        try:
            api.create_repo(repo_id, private=private, exist_ok=private is None)
        except HfHubHTTPError as error:
            if error.response.status_code != 409:  # it exists, and may be as visible as is wished, or not
                raise
            api.update_repo_settings(repo_id, private=private)

    def commit() -> str:
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        return str(api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision).oid)

    with _explained(repo_id):
        _patiently(create)
        return _patiently(commit, size=sum(map(len, files.values())), attempts=2)


def _check_token(token: str | bool | None) -> None:
    """Refuses what cannot be a token; in the client's own error it would be shown."""
    if isinstance(token, str) and re.fullmatch("[!-~]+", token) is None:
        raise HubError("the token is empty, or has a space or another character that no token has")


def _patiently(call: Callable[[], T], *, size: int = 0, attempts: int = 3) -> T:
    """What a call returns, which is repeated if the Hub is busy, does not answer, or the connection breaks.

    Args:
        call: To be made.
        size: Bytes that it transfers, for which it is given more time.
        attempts: How often it is made.
    """
    for attempt in range(1, attempts):
        try:
            return _within(PATIENCE + size / SLOWEST, call)
        except Exception as error:
            if not _is_passing(error):
                raise
            time.sleep(_wait(error, attempt))
    return _within(PATIENCE + size / SLOWEST, call)


def _within(seconds: float, call: Callable[[], T]) -> T:
    """What a call returns; a TimeoutError if it takes longer.

    It is made in a thread, which is left alone then: the client sleeps for as long as the Hub asks it to, be it hours,
    and some of its versions wait for an answer for ever.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    if not wait([outcome], timeout=seconds).done:
        raise TimeoutError(f"no end after {seconds:.0f} seconds")
    return outcome.result()


def _is_passing(error: Exception) -> bool:
    """Whether it may go better the next time."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]  # its HTTP library's own

    cause = _cause(error)
    if isinstance(cause, HfHubHTTPError):
        return cause.response.status_code in BUSY
    return isinstance(cause, HTTPError | TimeoutError)


def _wait(error: Exception, attempt: int) -> float:
    """Seconds before the next attempt: as many as the Hub asks for, else 1, 2, 4…"""
    headers = getattr(getattr(_cause(error), "response", None), "headers", {})
    asked = headers.get("Retry-After", "")
    return min(PATIENCE, float(asked) if re.fullmatch(r"\d+(\.\d+)?", asked) else 2.0 ** (attempt - 1))


def _cause(error: Exception) -> Exception:
    """The reason of an error in which the client has wrapped it: of a failed upload, or where nothing is cached."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    wrapped = type(error) in (RuntimeError, ValueError, LocalEntryNotFoundError)
    return error.__cause__ if wrapped and isinstance(error.__cause__, Exception) else error


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns whatever the Hub's client raises into one error that says what is wrong and what to do."""
    try:
        yield
    except (ZooError, Warning):
        raise
    except Exception as error:  # the client lets its HTTP library's errors through, whose types change between versions
        raise _explain(what, error) from error


def _explain(what: str, error: Exception) -> ZooError:
    from huggingface_hub import constants, errors

    cause = _cause(error)
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else None
    if isinstance(cause, errors.GatedRepoError):
        return HubError(f"{what}: the repository is gated: ask for access on its page, then use that account's token")
    if isinstance(cause, errors.RepositoryNotFoundError):
        return CheckpointNotFound(
            f"{what}: there is no such repository, or it is private and your token does not open it "
            "(HF_TOKEN, or `hf auth login`)"
        )
    if isinstance(cause, errors.RevisionNotFoundError):
        return CheckpointNotFound(f"{what}: the repository has no such commit, branch or tag")
    if isinstance(cause, errors.HFValidationError):
        return CheckpointNotFound(f"{what}: not the name of a repository: {_first_line(cause)}")
    if isinstance(cause, errors.EntryNotFoundError) and not isinstance(cause, errors.LocalEntryNotFoundError):
        return CheckpointNotFound(f"{what}: the repository has no such file, so it is not one of a zoo")
    if status == 401:
        return HubError(f"{what}: the Hub wants a token, and one that it knows: HF_TOKEN, or `hf auth login`")
    if status == 403:
        return HubError(f"{what}: the Hub forbids it: your token may lack the right to write, or to see the repository")
    if status == 429:
        return HubError(f"{what}: the Hub asks for fewer requests (429): try again in some minutes")
    if status is not None and status >= 500:
        return HubError(f"{what}: the Hub is in trouble ({status}): try again later")
    if isinstance(cause, errors.HfHubHTTPError):
        return HubError(f"{what}: the Hub refuses ({status}): {cause.server_message or _first_line(cause)}")
    if isinstance(cause, errors.LocalEntryNotFoundError):
        return CheckpointNotFound(
            f"{what}: not in the cache, and may not be fetched (HF_HUB_OFFLINE, or local_files_only)"
        )
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return HubError(f"{what}: the network is switched off (HF_HUB_OFFLINE)")
    if isinstance(cause, OSError) and cause.errno in FULL:
        return HubError(f"{what}: the disk is full: make room, or use another folder with HF_HOME or cache_dir")
    if isinstance(cause, OSError) and cause.errno is not None and cause.filename is not None:
        return HubError(
            f"{what}: the cache cannot be used ({cause.strerror}: {cause.filename}): choose another folder with "
            "HF_HOME or cache_dir"
        )
    reason = f"{type(cause).__name__}: {_first_line(cause)}"
    if _is_passing(cause):
        place = urlsplit(constants.ENDPOINT)
        place = place._replace(netloc=place.netloc.rpartition("@")[2])  # before the @ can be a password
        return HubError(f"{what}: the Hub at {place.geturl()} cannot be reached, or broke off: {reason}")
    return HubError(f"{what}: the Hub's client gave up: {reason}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
