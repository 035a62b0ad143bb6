"""Ten thousand broken checkpoints: each is one clear ZooError, or a model that answers.

`python tests/test_fuzz.py 1234` repeats one of them alone, `python tests/test_fuzz.py` counts the outcomes of all.
"""

import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import safetensors.torch
import torch
from broken import FAMILIES, Files, Mutation, mutation, originals

import zoo
from zoo import registry, weights
from zoo._dgl import dgl
from zoo.errors import CheckpointError, CheckpointNotFound, RegistryError, ZooError

limits = pytest.importorskip("resource", reason="Windows has neither alarms nor a process's peak of memory")

MUTATIONS, CHUNK = 10_000, 500
SECONDS = 120  # each takes milliseconds: what is still at it then, hangs
MEGABYTES = 200  # by which the process may grow in one chunk, PyTorch's own imports included
LONGEST = 1000  # characters of a message
NUM_NODES, NUM_GRAPHS = 6, 2


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the originals, which is where the zoo's own files are looked for."""
    with zoo_in(tmp_path):
        yield tmp_path


@contextlib.contextmanager
def zoo_in(folder: Path) -> Iterator[None]:
    """See `folder`."""
    for name, files in originals().items():
        write(folder, name, files)
    with contextlib.ExitStack() as stack:
        for module in ("weights", "registry"):
            stack.enter_context(mock.patch(f"zoo.{module}.resource", lambda name: folder / name))
        yield


def write(folder: Path, name: str, files: Files) -> None:
    """Puts a checkpoint's files and its registry in their places."""
    place = folder / "pretrained" / name
    place.mkdir(parents=True, exist_ok=True)
    contents = {
        place / weights.WEIGHTS: files.weights,
        place / weights.CONFIG: files.config,
        folder / "checkpoints.json": files.registry,
    }
    for path, content in contents.items():
        if not path.exists() or path.read_bytes() != content:
            path.unlink(missing_ok=True)  # a new file is faster than one that is written anew
            path.write_bytes(content)
    registry._read_cached.cache_clear()


@pytest.mark.parametrize("start", range(0, MUTATIONS, CHUNK))
def test_a_broken_checkpoint_is_one_clear_error_or_answers(start: int, folder: Path) -> None:
    files, before = sorted(folder.rglob("*")), peak()
    for number in range(start, start + CHUNK):
        outcome(number, folder)
    assert sorted(folder.rglob("*")) == files
    assert peak() - before < MEGABYTES


def outcome(number: int, folder: Path) -> str:
    """What becomes of a mutation: the name of its ZooError, or `loads`. Whatever must not be is raised."""
    mutant = mutation(number)
    write(folder, mutant.name, mutant.files)
    try:
        with at_most(SECONDS):
            result = attempt(mutant, folder)
        if mutant.way == "name":
            check_integrity(mutant, result)
    except BaseException as error:
        error.add_note(f"mutation {number}: {mutant.family} of {mutant.name}, way {mutant.way}")
        raise
    write(folder, mutant.name, originals()[mutant.name])
    return result


@torch.no_grad()
def attempt(mutant: Mutation, folder: Path) -> str:
    """What a user meets who loads it and asks it."""
    try:
        model = zoo.load(folder / "pretrained" / mutant.name if mutant.way == "folder" else mutant.name)
        logits = model(model.prepare(graphs(model.in_feats)))
    except ZooError as error:
        assert str(error).isprintable()
        assert len(str(error)) <= LONGEST
        return type(error).__name__
    assert logits.shape == (NUM_GRAPHS if model.readout else NUM_GRAPHS * NUM_NODES, model.num_classes)
    return "loads"


def check_integrity(mutant: Mutation, result: str) -> None:
    """What loads under a name in the registry is what the registry has."""
    original = originals()[mutant.name]
    if mutant.files.weights != original.weights:
        assert result == "IntegrityError"
    elif result == "loads":
        assert json.loads(mutant.files.config) == json.loads(original.config)


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fails when the block takes longer."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"still at it after {seconds} s"))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@functools.lru_cache(maxsize=16)
def graphs(in_feats: int) -> Any:
    """Two small graphs as one, which a model with a readout takes and one without."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(NUM_NODES, (2, 12), generator=generator)
    feat = torch.rand(NUM_NODES, in_feats, generator=generator)
    return dgl.batch([zoo.datasets.from_arrays(edges, feat)] * NUM_GRAPHS)


def peak() -> int:
    """The most memory that this process has had so far, in MB."""
    return limits.getrusage(limits.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)


def test_what_is_not_broken_loads(folder: Path) -> None:
    for name, files in originals().items():
        write(folder, name, files)
        for source in (name, folder / "pretrained" / name):
            model = zoo.load(source)
            assert model(model.prepare(graphs(model.in_feats))).isfinite().all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\0b/c", r"'a\\x00b/c': there is no such folder"),
        ("\ud800/c", "there is no such folder"),
        (f"./{'x' * 5000}", "there is no such folder"),
        ("~nobody-has-this-name/c", "there is no such folder"),
        ("gcn-csbm\n", "did you mean gcn-csbm"),
        ("hf://../x/y", "is not of the form hf://"),
        ("hf://ü/x", "is not of the form hf://"),
        (None, "'None' is not a checkpoint's name|no checkpoint"),
        (5, "no checkpoint '5'"),
        (b"gcn-csbm", "did you mean gcn-csbm"),
    ],
)
def test_a_source_that_is_none_is_one_clear_error(source: Any, message: str) -> None:
    with pytest.raises(CheckpointNotFound, match=message) as raised:
        zoo.load(source)
    assert len(str(raised.value)) < LONGEST


@pytest.fixture
def checkpoint(folder: Path) -> Path:
    """A small checkpoint's own folder."""
    return folder / "pretrained" / "gcn-csbm"


@pytest.mark.parametrize("file", [weights.CONFIG, weights.WEIGHTS])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_only_files_are_read(checkpoint: Path, file: str, make: Callable[[Path], None]) -> None:
    (checkpoint / file).unlink()
    make(checkpoint / file)
    with pytest.raises(CheckpointError, match=f"cannot read .*{file}: it is not a file"), at_most(SECONDS):
        zoo.load(checkpoint)


def test_a_config_that_is_no_config_by_its_size_is_not_parsed(checkpoint: Path) -> None:
    with (checkpoint / weights.CONFIG).open("a") as config:
        config.write(" " * weights.MAX_CONFIG)
    with pytest.raises(CheckpointError, match=r"does not describe a model: it has \d+ bytes"):
        zoo.load(checkpoint)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_a_type_that_dgl_does_not_compute_in_is_refused(checkpoint: Path, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in zoo.load(checkpoint).state_dict().items()}
    safetensors.torch.save_file(tensors, checkpoint / weights.WEIGHTS)
    with pytest.raises(CheckpointError, match=rf"does not fit GCN: .* is {dtype}"):
        zoo.load(checkpoint)


def test_the_same_transform_ten_thousand_times_is_refused(checkpoint: Path) -> None:
    config = json.loads((checkpoint / weights.CONFIG).read_text())
    (checkpoint / weights.CONFIG).write_text(json.dumps({**config, "transforms": ["to_undirected"] * 5000}))
    with pytest.raises(CheckpointError, match="transforms names one twice"):
        zoo.load(checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../../elsewhere"}, 'without a "name"'),
        ({"params": 10**400, "runs": {"n": 10, "mean": 10**400, "std": 1}}, "mean has a wrong type"),
        ({"published": {"value": float("inf"), "std": 1, "runs": None, "source": ""}}, "must be finite numbers"),
        ({"published": {"value": 1, "std": -1, "runs": None, "source": ""}}, "no deviation negative"),
        ({"\x1b[31m": 1}, r"keys missing or unknown: \\x1b"),
    ],
)
def test_an_odd_entry_in_the_registry_is_refused(checkpoint: Path, changes: dict[str, Any], message: str) -> None:
    registry_file = checkpoint.parent.parent / "checkpoints.json"
    content = json.loads(originals()["gcn-csbm"].registry)
    content["checkpoints"]["gcn-csbm"] |= changes
    registry_file.write_text(json.dumps(content))
    with pytest.raises(RegistryError, match=message):
        registry.read(registry_file)


def test_a_name_longer_than_a_files_is_refused() -> None:
    with pytest.raises(RegistryError, match="at most 96 characters"):
        registry.validate({"schema": 1, "checkpoints": {"x" * 97: {}}}, "checkpoints.json")


def test_every_family_breaks_and_repeats() -> None:
    for number in range(10 * len(FAMILIES)):
        assert mutation(number) == mutation(number)
    changed = {mutation(n).family for n in range(len(FAMILIES)) if mutation(n).files != originals()[mutation(n).name]}
    assert changed == set(FAMILIES)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place, zoo_in(Path(place)):
        chosen = [int(number) for number in sys.argv[1:]] or range(MUTATIONS)
        counted = Counter((mutation(number).family, outcome(number, Path(place))) for number in chosen)
    for (family, result), count in sorted(counted.items()):
        print(f"{family:16} {result:20} {count:6}")
