"""The folder of a run: its log, the state from which it goes on, and in the end its model and what came out."""

import io
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import weights
from zoo._files import locked, write_bytes, write_text, writing
from zoo.environment import environment
from zoo.errors import CheckpointError, RecipeError, ZooError
from zoo.model import ZooModel

__all__ = ["LOG", "RESULT", "Run", "RunFolder", "Selected", "State", "read_log", "read_result"]

STATE, LOG, RESULT = "state.pt", "log.jsonl", "result.json"


@dataclass(frozen=True)
class Run:
    """One finished training.

    Attributes:
        model: At the selected epoch, in eval mode.
        metric: Name of the metric.
        val: Its value on validation, at the selected epoch.
        test: The same on test.
        epoch: The selected epoch, counted from 1.
        epochs: Epochs trained.
        seconds: Time spent in them.
        environment: Versions of python, torch and dgl that trained it.
    """

    model: ZooModel
    metric: str
    val: float
    test: float
    epoch: int
    epochs: int
    seconds: float
    environment: dict[str, str]


@dataclass
class Selected:
    """The epoch that the selection rule holds to be best so far."""

    epoch: int
    val: float
    test: float
    val_loss: float
    parameters: dict[str, Tensor]


@dataclass
class State:
    """All that the rest of a run depends on, but the random number generator and what the model and Adam hold."""

    epoch: int = 0
    seconds: float = 0.0
    stalled: int = 0
    best_val: float | None = None
    best_val_loss: float | None = None
    selected: Selected | None = None


_RESULTS = tuple(field.name for field in fields(Run) if field.name != "model")


class RunFolder:
    """Where one run is kept. What another one has left there is refused.

    Args:
        path: The folder, which need not exist.
        identity: What the run is, to be written as JSON.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path, self.identity = path, dict(identity)

    def locked(self) -> AbstractContextManager[None]:
        """Keeps other processes away; ZooError if one is at work in it."""
        return locked(self.path / RESULT, wait=False)

    def finished(self) -> Run | None:
        """The run, if it has ended.

        Raises:
            RecipeError: Another run is kept here.
            ZooError: What is kept is broken, or a model that no run has written.
        """
        result = read_result(self.path)
        if result is None:
            if (self.path / weights.WEIGHTS).exists() and not (self.path / LOG).exists():  # a run's log comes first
                raise ZooError(f"{self.path} holds a model that no run has written: use another folder, or delete it")
            return None
        self._check_identity(RESULT, result["identity"])
        return Run(weights.load_folder(self.path), **{key: result[key] for key in _RESULTS})

    def finish(self, run: Run, settings: Mapping[str, Any] | None) -> None:
        """Keeps the run's model, what came out, and for readers the settings that made it."""
        weights.write(run.model, self.path)
        results = {key: getattr(run, key) for key in _RESULTS}
        made = {"identity": self.identity, "settings": settings, "weights": weights.digest(run.model), **results}
        write_text(self.path / RESULT, json.dumps(made, indent=2) + "\n")
        (self.path / STATE).unlink(missing_ok=True)

    def read_state(self, model: ZooModel, optimizer: torch.optim.Optimizer) -> State:
        """The state from which the run goes on, also of model, optimiser and torch's generator; at first a new one."""
        path = self.path / STATE
        if not path.exists():
            return State()
        try:
            content = torch.load(path, weights_only=True)
            self._check_identity(STATE, content["identity"])
            _check_versions(path, content["environment"])
            model.load_state_dict(content["model"])
            optimizer.load_state_dict(content["optimizer"])
            torch.set_rng_state(content["generator"])
            selected = content["state"].pop("selected")
            return State(**content["state"], selected=selected and Selected(**selected))
        except ZooError:
            raise
        except Exception as error:  # whatever torch.load finds wrong with a foreign file
            raise ZooError(f"{path} is not a state of this run: delete it to start anew ({error})") from error

    def write_state(self, state: State, model: ZooModel, optimizer: torch.optim.Optimizer) -> None:
        """Keeps what `read_state` reads."""
        content = {
            "identity": self.identity,
            "environment": environment(),
            "state": {**vars(state), "selected": state.selected and vars(state.selected)},
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": torch.get_rng_state(),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_bytes(self.path / STATE, buffer.getvalue())

    def log(self, epoch: int) -> Callable[[Mapping[str, float]], None]:
        """A function that appends a line to the log, whose lines after `epoch` are dropped first."""
        path = self.path / LOG
        for name in (STATE, LOG, RESULT, weights.CONFIG, weights.WEIGHTS):
            for leftover in self.path.glob(f".{name}.????????"):  # what a kill in the middle of a write has left
                leftover.unlink()
        old = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        write_bytes(path, b"".join(old[:epoch]))

        def append(line: Mapping[str, float]) -> None:
            with writing(path), path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

        return append

    def _check_identity(self, file: str, found: dict[str, Any]) -> None:
        if there := _differing(found, self.identity):
            raise RecipeError(f"{self.path / file} belongs to another run ({there}): delete the folder or use another")


def _check_versions(path: Path, found: dict[str, str]) -> None:
    """Other versions would go on with other bits, and the result would name them alone."""
    if there := _differing(found, environment()):
        raise ZooError(f"{path} was made by other versions ({there}): go on with those, or delete it to start anew")


def _differing(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    keys = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
    return ", ".join(f"{key}: {found.get(key)} there, {expected.get(key)} here" for key in keys)


def read_result(folder: Path) -> dict[str, Any] | None:
    """What a finished run wrote of itself: `identity`, `settings`, and all of a `Run` but its model; None without one.

    Raises:
        CheckpointError: The file is broken, or other weights than the run's are beside it.
    """
    path = folder / RESULT
    if not path.exists():
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        made = result["weights"]
        numbers = {key: float(result[key]) for key in ("val", "test", "seconds")}
        result = {key: result[key] for key in ("identity", "settings", *_RESULTS)} | numbers
        result["identity"] = dict(result["identity"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not the result of a run: mend it or delete it ({error})") from error
    try:
        found = weights.sha256((folder / weights.WEIGHTS).read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} is the result of weights that cannot be read ({error})") from error
    if made != found:
        raise CheckpointError(f"{path} is the result of other weights than those beside it: use another folder")
    return result


def read_log(folder: Path, epochs: int) -> list[dict[str, Any]]:
    """A finished run's log: `epoch`, `loss`, `val`, `test` and `val_loss` of each of its epochs.

    Raises:
        ZooError: The log is missing, broken, or not of so many epochs.
    """
    path = folder / LOG
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        complete = [line["epoch"] for line in lines] == list(range(1, epochs + 1))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"cannot read the log {path}: delete its folder to train anew ({error})") from error
    if not complete:
        raise ZooError(f"{path} does not have the {epochs} epochs of its run: delete its folder to train anew")
    return lines
