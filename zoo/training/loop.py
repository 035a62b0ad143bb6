"""The loop that trains every model: Adam, selection on validation, and a folder from which a killed run goes on."""

import fnmatch
import functools
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from zoo import datasets, models, weights
from zoo._checks import check_seed
from zoo._files import user_path
from zoo.environment import environment
from zoo.errors import ConfigError, RecipeError, ZooError, memory_as_zoo_error
from zoo.model import ZooModel
from zoo.training import transfer
from zoo.training.folder import Run, RunFolder, Selected, State
from zoo.training.loaders import FullGraph, Loader, describe, make_loader
from zoo.training.recipe import ParameterGroup, Protocol, Recipe, TrainingSpec, find
from zoo.training.tasks import METRICS, Task, measure

__all__ = ["fit", "seeded", "select", "train"]


def train(
    recipe: Recipe | str | Path,
    seed: int = 0,
    folder: Path | str | None = None,
    *,
    progress: bool = False,
    save_every: float = 5.0,
) -> Run:
    """Trains a recipe with one seed.

    Args:
        recipe: A recipe, the name of one, or the path of a TOML file.
        seed: Draws the split (where it varies), the parameters, dropout and the order of batches.
        folder: Where the log, the state and in the end the model and `result.json` are written. A run that was
            killed goes on from its state, under the same versions, and ends with the same bits; one that has ended is
            read back. Default: none.
        progress: Show a progress bar.
        save_every: Seconds between states.

    Raises:
        RecipeNotFound: There is no recipe of this name.
        DatasetNotFound: The data is neither at hand nor to be fetched.
        RecipeError: The recipe does not fit the data, or the checkpoint that it starts from, or the folder holds a run
            of another recipe or seed.
        ZooError: The data's files are broken; a checkpoint to start from cannot be loaded, see `zoo.load`; the loss is
            not finite from the first epoch on; or the folder holds a model that no run has written, a state of other
            versions, or a result of other weights than those beside it.
    """
    recipe = recipe if isinstance(recipe, Recipe) else find(str(recipe))
    seed = check_seed(seed)
    identity = {"recipe": recipe.name, "digest": recipe.digest(), "seed": seed}
    kept = None if folder is None else RunFolder(user_path(folder), identity)
    with memory_as_zoo_error(), seeded(seed):
        data = datasets.load(recipe.data.name, split=recipe.data.split, seed=seed, align=recipe.data.align)
        tests_on_all = datasets.splits.tests_on_all(recipe.data.split)
        task, in_feats, num_classes = describe(data, tests_on_all=tests_on_all)
        model, training = _begin(recipe, in_feats, num_classes)
        run = fit(
            model,
            make_loader(data, model, training.batch_size),
            task,
            training,
            recipe.protocol,
            folder=kept,
            settings={"recipe": recipe.name, "seed": seed, **recipe.settings()},
            progress=f"{recipe.name} seed {seed}" if progress else None,
            save_every=save_every,
        )
    run.model.requires_grad_(True)
    return run


def _begin(recipe: Recipe, in_feats: int, num_classes: int) -> tuple[ZooModel, TrainingSpec]:
    """The model that a recipe trains, at its start, and how: drawn at random, or from a checkpoint."""
    arguments = {"in_feats": in_feats, "num_classes": num_classes, **recipe.model}
    arguments["transforms"] = list(recipe.data.transforms)
    if recipe.pretrained is None:
        try:
            return models.create(recipe.method, arguments), recipe.training
        except ConfigError as error:
            raise RecipeError(f"recipe {recipe.name}, model: {error}") from error
    source = weights.load(recipe.pretrained.checkpoint)
    transfer.check_agreement(recipe, arguments, source)
    return transfer.start(
        source,
        in_feats,
        num_classes,
        recipe.training,
        freeze=recipe.pretrained.freeze,
        layer_decay=recipe.pretrained.layer_decay,
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """One thread, torch's generator at a seed, and modes and types as by default; afterwards all are as they were.

    With one thread the bits do not depend on the number of cores. Generator, number of threads and default type are the
    process's: what other Python threads draw meanwhile disturbs and is disturbed.
    """
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
    ):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)


def fit(
    model: ZooModel,
    loader: Loader,
    task: Task,
    training: TrainingSpec,
    protocol: Protocol,
    *,
    folder: RunFolder | None = None,
    settings: dict[str, Any] | None = None,
    progress: str | None = None,
    save_every: float = 5.0,
) -> Run:
    """Trains a model in place, to the epoch that the protocol selects; a finished folder is read back instead.

    Args:
        model: Its parameters that need a gradient are trained.
        loader: Batches to train on, and the items to score.
        task: Objective; the model keeps whether it is that of several labels.
        training: Optimiser and length.
        protocol: Metric and selection rule.
        folder: Where it is kept. Default: nowhere.
        settings: How it was made, for the readers of its result.
        progress: Title of a progress bar. Default: none is shown.
        save_every: Seconds between states.

    Raises:
        RecipeError: The metric is not for the task, or the folder holds another run.
        ZooError: As of `train`.
    """
    task.check_metric(protocol.metric)
    model.multilabel = task.name == "node-multilabel"
    with folder.locked() if folder else nullcontext():
        if folder and (finished := folder.finished()):
            return finished
        run = _fit(model, loader, task, training, protocol, folder, progress, save_every)
        if folder:
            folder.finish(run, settings)
        return run


def _fit(
    model: ZooModel,
    loader: Loader,
    task: Task,
    training: TrainingSpec,
    protocol: Protocol,
    folder: RunFolder | None,
    progress: str | None,
    save_every: float,
) -> Run:
    """What `fit` does once the folder is its own."""
    groups = _parameter_groups(model, training)
    arguments = [{key: group[key] for key in ("params", "lr", "weight_decay")} for group in groups]
    optimizer = torch.optim.Adam(arguments, fused=True)
    state = folder.read_state(model, optimizer) if folder else State()
    if isinstance(loader, FullGraph):
        loader.begin(model, resumed=state.epoch > 0)
    saved = time.perf_counter()
    log = folder.log(state.epoch) if folder else None
    bar = tqdm(total=training.epochs, initial=state.epoch, desc=progress, disable=progress is None, unit="epoch")
    with bar:
        while state.epoch < training.epochs and (training.patience is None or state.stalled < training.patience):
            started = time.perf_counter()
            loss = _step(model, loader, task, groups, optimizer)
            scores = _evaluate(model, loader, task, protocol.metric)
            if not math.isfinite(loss + scores["val_loss"]):
                warnings.warn(f"diverged: the loss at epoch {state.epoch + 1} is not finite", stacklevel=2)
                break
            state.epoch += 1
            _update(state, model, scores, protocol)
            state.seconds += time.perf_counter() - started
            if log:
                log({"epoch": state.epoch, "loss": loss, **scores})
            bar.update()
            bar.set_postfix(loss=f"{loss:.4g}", val=f"{scores['val']:.4g}", refresh=False)
            if folder and time.perf_counter() - saved >= save_every:
                folder.write_state(state, model, optimizer)
                saved = time.perf_counter()
    selected = state.selected
    if selected is None:
        raise ZooError("the loss is not finite from the first epoch on: use a lower lr, and look at the features")
    model.load_state_dict(selected.parameters)
    model.eval()
    seconds = round(state.seconds, 3)
    best = (selected.val, selected.test, selected.epoch)
    return Run(model, protocol.metric, *best, state.epoch, seconds, environment())


def _parameter_groups(model: ZooModel, training: TrainingSpec) -> list[dict[str, Any]]:
    """The trained parameters, sorted into the recipe's groups and a last one for the rest."""
    patterns = [*training.groups, ParameterGroup(parameters="*")]
    members: list[list[Tensor]] = [[] for _ in patterns]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            match = next(i for i, group in enumerate(patterns) if fnmatch.fnmatchcase(name, group.parameters))
            members[match].append(parameter)
    for group, found in zip(training.groups, members, strict=False):
        if not found:
            names = ", ".join(name for name, _ in model.named_parameters())
            raise RecipeError(f"training.groups: no trained parameter matches {group.parameters!r}; there are {names}")
    return [
        {
            "params": found,
            "lr": training.lr if group.lr is None else group.lr,
            "weight_decay": training.weight_decay if group.weight_decay is None else group.weight_decay,
            "clip_norm": training.clip_norm if group.clip_norm is None else group.clip_norm,
        }
        for group, found in zip(patterns, members, strict=True)
        if found
    ]


def _step(
    model: ZooModel, loader: Loader, task: Task, groups: list[dict[str, Any]], optimizer: torch.optim.Optimizer
) -> float:
    """One epoch; the mean loss of its items."""
    _train_mode(model)
    total, count = 0.0, 0
    for logits, labels in loader.train_batches(model):
        optimizer.zero_grad()
        loss = task.loss(logits, labels)
        loss.backward()
        for group in groups:
            if group["clip_norm"] is not None:
                torch.nn.utils.clip_grad_norm_(group["params"], group["clip_norm"])
        optimizer.step()
        total += float(loss.detach()) * len(labels)
        count += len(labels)
    return total / count


def _train_mode(model: ZooModel) -> None:
    """Training mode, but eval mode for those modules of a partly frozen model that have tensors and train none of them.

    So the buffers of the frozen part, such as centroids, do not move either.
    """
    model.train()
    if all(parameter.requires_grad for parameter in model.parameters()):
        return
    for module in model.modules():
        tensors = [*module.parameters(), *module.buffers()]
        if tensors and not any(tensor.requires_grad for tensor in tensors):
            module.eval()


@torch.no_grad()
def _evaluate(model: ZooModel, loader: Loader, task: Task, metric: str) -> dict[str, float]:
    """Metric on validation and test, and the loss on validation, from one pass; without that loss no metric."""
    model.eval()
    parts = loader.predict(model)
    val_loss = float(task.loss(*parts["val"]))
    if not math.isfinite(val_loss):
        return {"val": math.nan, "test": math.nan, "val_loss": val_loss}
    scores = {part: measure(metric, logits, labels) for part, (logits, labels) in parts.items()}
    return {**scores, "val_loss": val_loss}


def _update(state: State, model: ZooModel, scores: dict[str, float], protocol: Protocol) -> None:
    """Counts the epochs without progress, and keeps the parameters if the rule prefers this epoch."""
    metric = METRICS[protocol.metric]
    val, val_loss = scores["val"], scores["val_loss"]
    worse_val = state.best_val is not None and metric.better(state.best_val, val)
    worse_loss = state.best_val_loss is not None and state.best_val_loss < val_loss
    state.stalled = state.stalled + 1 if worse_val and worse_loss else 0
    state.best_val = state.best_val if worse_val else val
    state.best_val_loss = state.best_val_loss if worse_loss else val_loss
    if state.selected is None or _preferred(scores, vars(state.selected), protocol):
        parameters = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state.selected = Selected(state.epoch, val, scores["test"], val_loss, parameters)


def _preferred(scores: Mapping[str, Any], than: Mapping[str, Any], protocol: Protocol) -> bool:
    better = METRICS[protocol.metric].better
    lower_loss = scores["val_loss"] < than["val_loss"]
    if protocol.select == "last":
        return True
    if protocol.select == "best-val-loss":
        return lower_loss
    if protocol.select == "best-test":
        return better(scores["test"], than["test"])
    return better(scores["val"], than["val"]) or (scores["val"] == than["val"] and lower_loss)


def select(log: Sequence[dict[str, Any]], protocol: Protocol) -> dict[str, Any]:
    """The line of a run's log, of one epoch or more, that a protocol selects: no rule changes how a run is trained."""
    return functools.reduce(lambda best, line: line if _preferred(line, best, protocol) else best, log)
