"""What users call: load, evaluate, predict."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo import datasets, registry, weights
from zoo._files import resource
from zoo.hub import download
from zoo.model import ZooModel
from zoo.training.loaders import make_loader
from zoo.training.tasks import measure

__all__ = ["Evaluation", "Prediction", "evaluate", "load", "predict"]


@dataclass(frozen=True)
class Evaluation:
    """A checkpoint's score, measured now.

    Attributes:
        name: The checkpoint.
        metric: Name of the metric.
        value: Measured.
        recorded: In the registry.
    """

    name: str
    metric: str
    value: float
    recorded: float

    @property
    def matches(self) -> bool:
        """Whether the measured score is the recorded one, to the last bit."""
        return self.value == self.recorded


@dataclass(frozen=True)
class Prediction:
    """What a model says of each node, or of each graph.

    Attributes:
        values: Classes, (n,) int64; for regression the values, (n,) float.
        probabilities: (n, num_classes); None for regression.
    """

    values: Tensor
    probabilities: Tensor | None


def load(name: str, *, num_classes: int | None = None, in_feats: int | None = None) -> ZooModel:
    """A pretrained model, in eval mode.

    The weights are looked for in the package, then in the Hub's cache, then on the Hub at the pinned commit; their
    sha256 is checked every time.

    Args:
        name: See `zoo.list_checkpoints`.
        num_classes: Another number of classes: the head starts untrained.
        in_feats: Another feature width: the first layer starts untrained. What is kept and what is new is told by a
            warning, and by `model.load_report`.

    Raises:
        CheckpointNotFound: No such checkpoint, or its files are out of reach.
        IntegrityError: The weights are not the bytes that the registry names.
        CheckpointError: The files do not describe a model.
    """
    entry = registry.info(name)
    bundled = resource("pretrained") / name
    folder = bundled if (bundled / weights.WEIGHTS).exists() else download(entry)
    overrides = {"num_classes": num_classes, "in_feats": in_feats}
    given = {key: value for key, value in overrides.items() if value is not None}
    return weights.load_folder(folder, expected_sha256=entry.weights.sha256, **given)


def evaluate(name: str) -> Evaluation:
    """Scores a checkpoint's file on its own test set.

    Raises:
        DatasetNotFound: The data is neither at hand nor to be fetched.
        ZooError: See `load`.
    """
    entry = registry.info(name)
    value = score(load(name), entry.dataset, entry.split, entry.score.seed, entry.score.metric)
    return Evaluation(name, entry.score.metric, value, entry.score.value)


@torch.no_grad()
def score(model: ZooModel, dataset: str, split: str, seed: int, metric: str) -> float:
    """A model's metric on a data set's test split."""
    loader = make_loader(datasets.load(dataset, split=split, seed=seed), model, batch_size=None)
    return measure(metric, *loader.predict(model)["test"])


@torch.no_grad()
def predict(model: ZooModel | str, graph: Any) -> Prediction:
    """Classes and probabilities for a graph of your own.

    Args:
        model: A model, or a checkpoint's name.
        graph: A raw DGLGraph with ndata `feat`; the model's `prepare` is applied.

    Raises:
        GraphError: The graph does not fit, see `ZooModel.forward`.
    """
    model = load(model) if isinstance(model, str) else model
    model.eval()
    logits = model(model.prepare(graph))
    if logits.shape[1] == 1:
        return Prediction(logits.squeeze(1), None)
    return Prediction(logits.argmax(1), logits.softmax(1))
