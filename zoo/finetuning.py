"""Fine-tuning: a checkpoint goes on learning on a graph of your own."""

import hashlib
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from zoo import ops
from zoo._checks import check_count, check_seed, plain_number
from zoo._dgl import dgl
from zoo._files import user_path
from zoo.errors import ConfigError, memory_as_zoo_error
from zoo.model import ZooModel
from zoo.training.folder import Run, RunFolder
from zoo.training.loaders import describe, make_loader
from zoo.training.loop import fit, seeded
from zoo.training.recipe import Protocol, TrainingSpec, check_layer_decay, check_training
from zoo.training.transfer import start
from zoo.weights import as_model, digest, is_path

__all__ = ["finetune"]


def finetune(
    source: str | Path | ZooModel,
    data: Any,
    *,
    epochs: int = 100,
    lr: float = 5e-3,
    weight_decay: float = 5e-4,
    patience: int | None = 50,
    batch_size: int | None = None,
    num_classes: int | None = None,
    new_head: bool = False,
    freeze: bool = False,
    layer_decay: float = 1.0,
    metric: str | None = None,
    seed: int = 0,
    folder: Path | str | None = None,
    progress: bool = False,
    save_every: float = 5.0,
) -> Run:
    """Trains a checkpoint further on data of your own.

    The head is replaced where the number of classes differs, the first layer where the feature width does; a warning
    and `run.model.load_report` tell which tensors start untrained. The epoch with the best validation score is kept.

    Args:
        source: Whatever `zoo.load` takes: a name, a folder, an address on the Hub; or a model, which stays as it is.
        data: A raw DGLGraph with ndata `feat`, `label`, `train_mask`, `val_mask`, `test_mask`, or a
            `zoo.datasets.GraphDataset`; the model's `prepare` is applied.
        epochs: Most epochs.
        lr: Learning rate of Adam.
        weight_decay: L2 penalty.
        patience: Stop after so many epochs without progress on validation. None: never.
        batch_size: For sets of graphs. Default: all at once.
        num_classes: Default: as many as the largest label asks for.
        new_head: Start with an untrained head though the checkpoint's has as many classes, for they are others.
        freeze: Train only the head and what starts untrained; what is frozen keeps its buffers too.
        layer_decay: What the checkpoint has given learns with `lr` times this per layer of distance from the head, as
            in ULMFiT (arXiv:1801.06146); the head and what starts untrained learn with `lr`.
        metric: Default: `accuracy`, for regression `mse`, for several labels `roc-auc`.
        seed: Draws new parameters, dropout and the order of batches.
        folder: Where the log and the fine-tuned checkpoint are written; an interrupted run goes on from there.
        progress: Show a progress bar.
        save_every: Seconds between the states from which an interrupted run goes on.

    Raises:
        RecipeError: An impossible number, a metric that is not for the task, or the folder holds a run of other
            settings or data.
        GraphError: The data lacks labels or masks, see `zoo.training.loaders.describe`.
        ConfigError: `num_classes` does not go with the labels, or the model is for the other level, nodes or graphs.
        ZooError: The source cannot be loaded, see `zoo.load`; the loss is not finite from the first epoch on; or the
            folder holds a model that no run has written, a state of other versions, or a result of other weights than
            those beside it.

    Returns:
        The run; `run.model` is the fine-tuned model in eval mode, `zoo.load_folder(folder)` reads it back.
    """
    numbers = {"epochs": epochs, "lr": lr, "weight_decay": weight_decay, "patience": patience, "batch_size": batch_size}
    training = TrainingSpec(**{name: plain_number(value) for name, value in numbers.items()})
    check_training(training, "fine-tuning")
    seed, layer_decay = check_seed(seed), plain_number(layer_decay)
    num_classes = None if num_classes is None else check_count("num_classes", num_classes)
    check_layer_decay(layer_decay, "fine-tuning", "layer_decay")
    task, in_feats, classes_used = describe(data)
    if num_classes is not None and num_classes < classes_used:
        raise ConfigError(f"num_classes={num_classes}, but the labels need {classes_used}")
    if num_classes not in (None, 1) and task.name == "node-regression":
        raise ConfigError(f"num_classes={num_classes}, but the labels are targets of a regression")
    original = as_model(source)
    title = original.method if isinstance(source, ZooModel) else str(source)
    with memory_as_zoo_error(), seeded(seed):
        model, training = start(
            original,
            in_feats,
            num_classes or classes_used,
            training,
            new_head=new_head,
            freeze=freeze,
            layer_decay=layer_decay,
        )
        if model.load_report and model.load_report.new:
            warnings.warn(f"{title}: {model.load_report}", stacklevel=2)
        settings = {
            **{key: value for key, value in asdict(training).items() if key != "groups"},
            "layer_decay": layer_decay,
            "num_classes": model.num_classes,
            "new_head": new_head,
            "freeze": freeze,
            "metric": metric or task.metrics[0],
            "seed": seed,
        }
        run = fit(
            model,
            make_loader(data, model, training.batch_size),
            task,
            training,
            Protocol(metric=metric or task.metrics[0]),
            folder=None if folder is None else RunFolder(user_path(folder), _identity(original, data, settings)),
            settings={"source": Path(title).name if is_path(title) else title, **settings},
            progress=f"fine-tune {title}" if progress else None,
            save_every=save_every,
        )
    run.model.load_report = model.load_report
    run.model.requires_grad_(True)
    return run


def _identity(original: ZooModel, data: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What decides the bits of a run."""
    return {"sha256": digest(original), "data": _fingerprint(data), **settings}


def _fingerprint(data: Any) -> str:
    """Hash of all that training sees of the data."""
    seen = hashlib.sha256()
    graphs = [data] if isinstance(data, dgl.DGLGraph) else data.graphs
    tensors = [tensor for graph in graphs for tensor in (*ops.with_coo(graph).edges(), graph.ndata["feat"])]
    holder = data.ndata if isinstance(data, dgl.DGLGraph) else vars(data)
    names = ("train_mask", "val_mask", "test_mask", "label" if "label" in holder else "labels")
    for tensor in (*tensors, *(holder[name] for name in names)):
        seen.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        values = tensor.detach().cpu().flatten().contiguous()
        seen.update(values.view(torch.uint8).numpy().tobytes())  # as bytes, for NumPy has no bfloat16
    return seen.hexdigest()
