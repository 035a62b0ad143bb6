"""Fine-tuning: a checkpoint goes on learning on a graph of your own."""

from pathlib import Path
from typing import Any

from zoo.api import load
from zoo.errors import ConfigError
from zoo.training.loaders import describe, make_loader
from zoo.training.loop import Run, fit, seeded
from zoo.training.recipe import Protocol, TrainingSpec

__all__ = ["finetune"]


def finetune(
    name: str,
    data: Any,
    *,
    epochs: int = 100,
    lr: float = 5e-3,
    weight_decay: float = 5e-4,
    patience: int | None = 50,
    batch_size: int | None = None,
    freeze: bool = False,
    metric: str | None = None,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = False,
    save_every: float = 5.0,
) -> Run:
    """Trains a checkpoint further on data of your own.

    The head is replaced where the number of classes differs, the first layer where the feature width does; a warning
    and `run.model.load_report` tell which tensors start untrained. The epoch with the best validation score is kept.

    Args:
        name: See `zoo.list_checkpoints`.
        data: A raw DGLGraph with ndata `feat`, `label`, `train_mask`, `val_mask`, `test_mask`, or a
            `zoo.datasets.GraphDataset`; the model's `prepare` is applied.
        epochs: Most epochs.
        lr: Learning rate of Adam.
        weight_decay: L2 penalty.
        patience: Stop after so many epochs without progress on validation. None: never.
        batch_size: For sets of graphs. Default: all at once.
        freeze: Train only the head and what starts untrained.
        metric: Default: `accuracy`, for regression `nmse`.
        seed: Draws new parameters, dropout and the order of batches.
        folder: Where the log and the fine-tuned checkpoint are written; an interrupted run goes on from there.
        progress: Show a progress bar.
        save_every: Seconds between the states from which an interrupted run goes on.

    Returns:
        The run; `run.model` is the fine-tuned model in eval mode, `zoo.load_folder(folder)` reads it back.
    """
    if epochs < 1 or lr <= 0:
        raise ConfigError(f"fine-tuning needs epochs ≥ 1 and lr > 0, got {epochs} and {lr}")
    task, in_feats, num_classes = describe(data)
    with seeded(seed):
        model = load(name, in_feats=in_feats, num_classes=num_classes)
        if freeze:
            untrained = set(model.load_report.new) if model.load_report else set()
            for parameter_name, parameter in model.named_parameters():
                parameter.requires_grad = parameter_name.startswith("head.") or parameter_name in untrained
        return fit(
            model,
            make_loader(data, model, batch_size),
            task,
            TrainingSpec(epochs=epochs, lr=lr, weight_decay=weight_decay, patience=patience),
            Protocol(metric=metric or task.metrics[0]),
            folder=folder,
            identity={"finetuned": name, "seed": seed},
            progress=f"fine-tune {name}" if progress else None,
            save_every=save_every,
        )
