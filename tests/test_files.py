"""A file is written whole or not at all."""

import sys
from pathlib import Path

import pytest

from zoo._files import replacing, write_text
from zoo.errors import ZooError


def test_text_is_written_and_no_temporary_file_stays(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "file.txt", "content ± 1\n")
    assert (tmp_path / "new" / "file.txt").read_text(encoding="utf-8") == "content ± 1\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.txt"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    full = pytest.raises(ZooError, match=r"cannot write .*file: No space left")
    with full, replacing(tmp_path / "file") as temporary:
        temporary.unlink()
        temporary.symlink_to("/dev/full")
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "old"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match=r"cannot write .*file/below"):
        write_text(tmp_path / "file" / "below", "x")


def test_the_new_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    (tmp_path / "other").write_text("x")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/null")
def test_a_device_is_written_into() -> None:
    write_text(Path("/dev/null"), "x")
    assert not Path("/dev/null").is_file()
