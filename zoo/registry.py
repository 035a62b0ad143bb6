"""checkpoints.json: what the zoo holds. Reading it needs neither torch nor DGL."""

import dataclasses
import difflib
import fnmatch
import functools
import json
import math
import os
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo._files import resource, write_text
from zoo._types import fits, type_hints
from zoo.datasets.catalog import Task
from zoo.errors import CheckpointNotFound, RegistryError

__all__ = [
    "METRIC_NAMES",
    "PER_CENT",
    "TASK_NAMES",
    "VERDICTS",
    "Checkpoint",
    "Hub",
    "Published",
    "Runs",
    "Score",
    "Weights",
    "info",
    "list_checkpoints",
    "read",
    "validate",
    "write",
]

SCHEMA = 1
NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")
MAX_NAME = 96  # a repository's on the Hub, too
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
METRIC_NAMES = ("accuracy", "roc-auc", "mse", "nmse")
PER_CENT = ("accuracy", "roc-auc")
TASK_NAMES: tuple[str, ...] = typing.get_args(Task)
VERDICTS = ("reproduced", "close", "higher", "lower", "not run", "no published value")


@dataclass(frozen=True)
class Weights:
    """The weights file.

    Attributes:
        sha256: 64 hex digits.
        bytes: Its size.
    """

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Hub:
    """Where on the Hugging Face Hub the files are; both None until pushed.

    Attributes:
        repo_id: `organisation/name`.
        revision: A commit, 40 hex digits.
    """

    repo_id: str | None
    revision: str | None


@dataclass(frozen=True)
class Score:
    """The score of this very file on its test set.

    Attributes:
        metric: `accuracy` and `roc-auc` in per cent, `mse`, `nmse`.
        value: The score.
        seed: Of the run that made the file; where the split varies, it also draws the split.
    """

    metric: str
    value: float
    seed: int


@dataclass(frozen=True)
class Runs:
    """All runs of the recipe.

    Attributes:
        n: Number of seeds.
        mean: Of the test scores.
        std: Unbiased; None for one run.
    """

    n: int
    mean: float
    std: float | None


@dataclass(frozen=True, kw_only=True)
class Published:
    """A paper's number, on the metric's scale.

    Attributes:
        value: Mean.
        std: Standard deviation over the paper's runs, if printed.
        runs: How many those were, if known.
        source: Where it stands.
    """

    value: float
    std: float | None = None
    runs: int | None = None
    source: str


@dataclass(frozen=True)
class Checkpoint:
    """One entry of the registry.

    Attributes:
        name: By which it is loaded.
        model: Class name.
        method: Name in `zoo.models`.
        recipe: Name of the recipe that made it.
        dataset: Name in `zoo.datasets`.
        split: Name of the split.
        task: One of `TASK_NAMES`.
        params: Number of trained parameters.
        weights: The weights file.
        hub: Where it can be fetched.
        score: Of this very file.
        runs: Of the recipe over its seeds.
        published: The paper's number, or None.
        verdict: One of `VERDICTS`.
        environment: Versions of python, torch and dgl that made the file.
        license: SPDX identifier.
    """

    name: str
    model: str
    method: str
    recipe: str
    dataset: str
    split: str
    task: str
    params: int
    weights: Weights
    hub: Hub
    score: Score
    runs: Runs
    published: Published | None
    verdict: str
    environment: dict[str, str]
    license: str


_PARTS: dict[str, Any] = {"weights": Weights, "hub": Hub, "score": Score, "runs": Runs, "published": Published}


def read(path: Path | None = None) -> dict[str, Checkpoint]:
    """All entries by name.

    Args:
        path: Default: the zoo's own checkpoints.json.

    Raises:
        RegistryError: The file cannot be read or an entry is wrong.
    """
    if path is not None:
        return _read(path)
    path = resource("checkpoints.json")
    return dict(_read_cached(path, path.stat().st_mtime_ns if path.exists() else 0))


@functools.lru_cache(maxsize=1)
def _read_cached(path: Path, _modified: int) -> dict[str, Checkpoint]:
    return _read(path)


def _read(path: Path) -> dict[str, Checkpoint]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RegistryError(f"cannot read the registry {path}: {error}") from error
    return validate(content, str(path))


def validate(content: Any, where: str) -> dict[str, Checkpoint]:
    """The entries of a parsed registry.

    Args:
        content: As parsed from JSON.
        where: The file, for messages.

    Raises:
        RegistryError: A key is missing, unknown, or has an impossible value.
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise RegistryError(f'{where}: needs "schema": {SCHEMA}; install the version of dgl-zoo that wrote it')
    entries = content.get("checkpoints")
    if not isinstance(entries, dict):
        raise RegistryError(f'{where}: "checkpoints" must be an object')
    return {name: _entry(name, settings, where) for name, settings in entries.items()}


def _entry(name: str, settings: Any, where: str) -> Checkpoint:
    where = f"{where}: {_plain(name)}"
    sound = NAME.fullmatch(name) is not None and len(name) <= MAX_NAME
    _require(sound, where, f"a name is lower-case letters and digits, joined by - or ., at most {MAX_NAME} characters")
    _require(isinstance(settings, dict) and "name" not in settings, where, 'must be an object, without a "name"')
    parts = {
        key: value if value is None and key == "published" else _construct(_PARTS[key], value, f"{where}.{key}")
        for key, value in settings.items()
        if key in _PARTS
    }
    entry: Checkpoint = _construct(Checkpoint, {"name": name, **settings, **parts}, where)
    _require(re.fullmatch("[0-9a-f]{64}", entry.weights.sha256) is not None, where, "weights.sha256: 64 hex digits")
    _require(entry.weights.bytes > 0 and entry.params > 0, where, "weights.bytes and params must be positive")
    repo_id, revision = entry.hub.repo_id, entry.hub.revision
    pinned = revision is not None and re.fullmatch("[0-9a-f]{40}", revision) is not None
    _require(revision is None or pinned, where, "hub.revision must be 40 hex digits")
    _require((repo_id is None) == (revision is None), where, "hub.repo_id and hub.revision go together")
    _require(entry.verdict in VERDICTS, where, f"verdict: choose from {', '.join(VERDICTS)}")
    unpublished = entry.verdict == "no published value"
    _require((entry.published is None) == unpublished, where, "verdict and published disagree")
    _require(entry.runs.n >= 1, where, "runs.n must be at least 1")
    _require(entry.score.metric in METRIC_NAMES, where, f"score.metric: choose from {', '.join(METRIC_NAMES)}")
    _require(entry.task in TASK_NAMES, where, f"task: choose from {', '.join(TASK_NAMES)}")
    published = [entry.published] if entry.published else []
    values = [entry.score.value, entry.runs.mean, *(part.value for part in published)]
    deviations = [entry.runs.std or 0.0, *(part.std or 0.0 for part in published)]
    sound = all(map(math.isfinite, values + deviations)) and min(deviations) >= 0
    _require(sound, where, "score, runs and published must be finite numbers, and no deviation negative")
    named = repo_id is None or REPOSITORY.fullmatch(repo_id) is not None
    _require(named, where, "hub.repo_id must be organisation/name")
    versions = {"python", "torch", "dgl"}
    _require(versions <= entry.environment.keys(), where, "environment needs python, torch and dgl")
    return entry


def _construct(cls: Any, settings: Any, where: str) -> Any:
    """A dataclass from an object with exactly its keys, each of its type."""
    _require(isinstance(settings, dict), where, "must be an object")
    expected = type_hints(cls)
    if wrong := sorted(expected.keys() ^ settings.keys()):
        raise RegistryError(f"{where}: keys missing or unknown: {_plain(', '.join(wrong))}")
    for key, kind in expected.items():
        _require(fits(settings[key], kind), where, f"{key} has a wrong type")
    return cls(**settings)


def _plain(text: str) -> str:
    """Text from a file for a message: short and printable."""
    return ascii(text)[1:-1][:100]


def _require(condition: bool, where: str, message: str) -> None:
    if not condition:
        raise RegistryError(f"{where}: {message}")


def write(entries: dict[str, Checkpoint], path: Path | None = None) -> None:
    """Writes a registry, sorted by name.

    Args:
        entries: All entries by name.
        path: Default: the zoo's own checkpoints.json.

    Raises:
        RegistryError: An entry is wrong; nothing is written then.
        ZooError: The file cannot be written.
    """
    checkpoints = {name: dataclasses.asdict(entries[name]) for name in sorted(entries)}
    for settings in checkpoints.values():
        settings.pop("name")
    content = {"schema": SCHEMA, "checkpoints": checkpoints}
    path = path or resource("checkpoints.json")
    validate(content, str(path))
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def list_checkpoints(
    pattern: str = "*", *, dataset: str | None = None, method: str | None = None, task: str | None = None
) -> list[str]:
    """Names of the checkpoints that fit, sorted.

    Args:
        pattern: Shell pattern for the name, e.g. `"cna-*"`.
        dataset: Only those trained on this data set.
        method: Only those of this method.
        task: Only those for this task.
    """
    asked = {"dataset": dataset, "method": method, "task": task}
    wanted = {key: value for key, value in asked.items() if value is not None}
    return sorted(
        name
        for name, entry in read().items()
        if fnmatch.fnmatchcase(name, pattern) and all(getattr(entry, key) == wanted[key] for key in wanted)
    )


def info(name: str) -> Checkpoint:
    """The entry of a checkpoint.

    Raises:
        CheckpointNotFound: No such name; the message has the nearest ones.
    """
    entries = read()
    if isinstance(name, str) and name in entries:
        return entries[name]
    if isinstance(name, str) and "/" in name:
        raise CheckpointNotFound(f"{name!r:.200} is not a checkpoint's name; folders and addresses are not taken here")
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), entries, n=3, cutoff=0.5)
    if not isinstance(name, str) or (NAME.fullmatch(name) is None and not near):
        raise CheckpointNotFound(
            f"{name!r} is not a checkpoint's name: those are lower-case letters and digits, joined by - or . "
            "(a folder is ./folder, a repository on the Hub hf://organisation/name)"
        )
    hint = f"did you mean {', '.join(near)}?" if near else "`zoo list` names them all"
    if os.path.isdir(name):  # noqa: PTH112, Path's raises for some names
        hint = f"the folder of that name is ./{name}; {hint}"
    raise CheckpointNotFound(f"no checkpoint {name!r}: {hint}")
