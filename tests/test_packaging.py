"""What an installed zoo consists of, and that it finds its own files outside a checkout."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the build backend: pip install hatchling")

ROOT = Path(__file__).parents[1]


def build(source: Path, target: str, folder: Path) -> Path:
    """Builds an "sdist" or a "wheel" in a folder, without the network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    (built,) = folder.iterdir()
    return built


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    archive, unpacked = tmp_path_factory.mktemp("sdist"), tmp_path_factory.mktemp("source")
    with tarfile.open(build(ROOT, "sdist", archive)) as tar:
        # As Python's documentation advises: the first releases of 3.11 have no filters yet.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        tar.extractall(unpacked)
    (folder,) = unpacked.iterdir()
    return folder


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `pip install` leaves it, from a wheel that was built from the source distribution."""
    archive, unpacked = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(build(source, "wheel", archive)) as wheel:
        wheel.extractall(unpacked)
    return unpacked


def run(code: str, site_packages: Path, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site_packages)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def test_source_distribution_is_complete(source: Path) -> None:
    everything = {"LICENSE", "Makefile", "README.md", "checkpoints.json", "pyproject.toml", "recipes", "tests", "zoo"}
    assert everything <= {path.name for path in source.iterdir()}


def test_wheel_carries_the_data_and_no_tests(installed: Path) -> None:
    zoo, info = sorted(path for path in installed.iterdir() if path.suffix == ".dist-info" or path.name == "zoo")[::-1]
    assert {path.name for path in installed.iterdir()} == {zoo.name, info.name}
    assert files(zoo / "recipes") == files(ROOT / "recipes") != set()
    assert files(zoo / "pretrained") == files(ROOT / "zoo" / "pretrained") != set()
    assert (zoo / "checkpoints.json").read_bytes() == (ROOT / "checkpoints.json").read_bytes()
    assert (zoo / "py.typed").is_file()
    assert (info / "licenses" / "LICENSE").is_file()


def test_installed_zoo_finds_its_files(installed: Path, tmp_path: Path) -> None:
    code = "import json, zoo; print(json.dumps([zoo.__file__, zoo.list_checkpoints(), zoo.list_recipes()]))"
    place, checkpoints, recipes = json.loads(run(code, installed, tmp_path))
    assert Path(place) == installed / "zoo" / "__init__.py"
    assert sorted(checkpoints) == sorted(json.loads((ROOT / "checkpoints.json").read_text())["checkpoints"])
    assert sorted(recipes) == sorted(
        path.stem for path in (ROOT / "recipes").glob("*/*.toml") if "tables" not in path.parts
    )


def test_import_is_light(installed: Path, tmp_path: Path) -> None:
    code = "import sys, zoo; print(sorted({'torch', 'dgl', 'numpy', 'pandas'} & set(sys.modules)))"
    assert run(code, installed, tmp_path).strip() == "[]"
