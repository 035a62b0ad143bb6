"""Where the package's own data lies, and how a file is written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import ZooError

__all__ = ["locked", "replacing", "resource", "user_path", "write_bytes", "write_text", "writing"]

PACKAGE = Path(__file__).resolve().parent
UMASK = os.umask(0)  # it can only be read by setting it, which is for the moment of the import
os.umask(UMASK)


def resource(name: str) -> Path:
    """`recipes`, `checkpoints.json` or `pretrained`: inside an installed package, else in the checkout."""
    inside = PACKAGE / name
    return inside if inside.exists() else PACKAGE.parent / name


def user_path(path: str | Path) -> Path:
    """A path as a user gives it, in which `~` may stand for a home; ZooError if it can be none."""
    if "\0" in str(path):
        raise ZooError(f"{str(path)!r} cannot be a path")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ZooError(f"{path}: {error}") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What goes wrong with a file that is written becomes a ZooError that names it."""
    try:
        yield
    except OSError as error:
        raise ZooError(f"cannot write {path}: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed into it when the block ends well, removed when it does not.

    A killed process thus leaves the old file or the new one, never half of one.

    Raises:
        ZooError: The place cannot be written: no such folder, no permission, disk full.
    """
    path = path.resolve()  # a link stays one
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~UMASK)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Keeps other processes that ask for the same lock away from `path`, which need not exist.

    Raises:
        ZooError: The place cannot be written, or without `wait` another process holds the lock.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout as error:
            raise ZooError(f"another process is at work on {path}") from error
    try:
        yield
    finally:
        lock.release()


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; into a device or pipe, straight."""
    with writing(path):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())
