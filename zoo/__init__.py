"""A zoo of pretrained graph neural networks on DGL.

    import zoo

    zoo.list_checkpoints("cna-*")
    model = zoo.load("cna-gcn-cora")
    graph = zoo.datasets.load("cora")
    logits = model(model.prepare(graph))

Importing this package is light: torch and DGL are imported when something that needs them is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import analysis, datasets, models
    from zoo.api import Evaluation, Prediction, evaluate, predict
    from zoo.errors import ZooError
    from zoo.finetuning import finetune
    from zoo.publishing import push, push_all
    from zoo.registry import Checkpoint, info, list_checkpoints
    from zoo.reproduction import reproduce
    from zoo.training.folder import Run
    from zoo.training.loop import train
    from zoo.training.recipe import Recipe, list_recipes
    from zoo.weights import load, load_folder, pull, verify

__version__ = "0.1.0"

# Where each public name lives. A function and its module must not share a name: importing the module would hide it.
_HOMES = {
    "Checkpoint": "registry",
    "Evaluation": "api",
    "Prediction": "api",
    "Recipe": "training.recipe",
    "Run": "training.folder",
    "ZooError": "errors",
    "evaluate": "api",
    "finetune": "finetuning",
    "info": "registry",
    "list_checkpoints": "registry",
    "list_recipes": "training.recipe",
    "load": "weights",
    "predict": "api",
    "load_folder": "weights",
    "pull": "weights",
    "push": "publishing",
    "push_all": "publishing",
    "reproduce": "reproduction",
    "train": "training.loop",
    "verify": "weights",
}
_MODULES = ("analysis", "datasets", "models")

__all__ = [
    "Checkpoint",
    "Evaluation",
    "Prediction",
    "Recipe",
    "Run",
    "ZooError",
    "analysis",
    "datasets",
    "evaluate",
    "finetune",
    "info",
    "list_checkpoints",
    "list_recipes",
    "load",
    "load_folder",
    "models",
    "predict",
    "pull",
    "push",
    "push_all",
    "reproduce",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
