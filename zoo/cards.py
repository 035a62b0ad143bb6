"""The model card: what the reader of a checkpoint's page on the Hub is told, all of it from elsewhere in the zoo."""

import inspect
import json
import re
from collections.abc import Mapping
from typing import Any

from zoo import formats, registry
from zoo.datasets.catalog import info
from zoo.errors import RecipeNotFound
from zoo.model import ZooModel
from zoo.registry import Checkpoint
from zoo.training import recipe as recipes

__all__ = ["card"]


def card(
    model: ZooModel,
    repo_id: str,
    *,
    entry: Checkpoint | None = None,
    result: Mapping[str, Any] | None = None,
    license: str | None = None,
) -> str:
    """README.md of a repository: metadata that the Hub reads, and the text.

    Args:
        model: The model.
        repo_id: `organisation/name`.
        entry: For a checkpoint of the registry: its score, verdict and published number are told.
        result: For a model of one's own: `metric`, `val`, `test` and `settings` of its run's result.json.
        license: For a model of one's own: an identifier as the Hub has it.
    """
    from huggingface_hub import ModelCard, ModelCardData

    name = repo_id.rpartition("/")[2]
    license = entry.license.lower() if entry else license
    data = ModelCardData(
        model_name=name,
        license=license,
        library_name="dgl-zoo",
        pipeline_tag="graph-ml",
        tags=["dgl", "graph-neural-networks", model.method, *([entry.task] if entry else [])],
        eval_results=_eval_results(entry) if entry else None,
    )
    parts = [
        f"# {name}",
        _summary(model),
        f"## Use\n\n{_usage(model, repo_id)}",
        f"## Score\n\n{_score(entry) if entry else _own_score(result)}",
        *([f"## Training\n\n{_json(settings)}"] if (settings := _settings(entry, result)) else []),
        f"## Model\n\n{_json(model.config)}",
        f"## Method\n\n{_as_markdown(_docstring(model).partition(chr(10))[2].strip())}",
        f"## Citation\n\n```bibtex\n{model.citation}\n```",
        f"Licence of the weights: {license or 'none is named'}.",
    ]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"))


def _eval_results(entry: Checkpoint) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=entry.task,
            dataset_type=entry.dataset,
            dataset_name=f"{entry.dataset}, split {entry.split}",
            dataset_split="test",
            metric_type=entry.score.metric,
            metric_name=f"{entry.score.metric} of this file",
            metric_value=entry.score.value,
        )
    ]


def _summary(model: ZooModel) -> str:
    title = _docstring(model).partition("\n")[0]
    size = sum(parameter.numel() for parameter in model.parameters())
    return f"{title}\n\nA checkpoint of dgl-zoo, a model zoo of graph neural networks on DGL; {size:,} parameters."


def _usage(model: ZooModel, repo_id: str) -> str:
    items = "num_graphs" if model.readout else "num_nodes"
    answer = f"probabilities  # ({items}, {model.num_classes})" if model.num_classes > 1 else f"values  # ({items},)"
    return f"""\
```python
import zoo

model = zoo.load("hf://{repo_id}")  # hf://{repo_id}@<commit> stays the same for ever
zoo.predict(model, graph).{answer}
model(model.prepare(graph))  # logits, ({items}, {model.num_classes})
```

`graph` is a DGLGraph with `ndata["feat"]`, (num_nodes, {model.in_feats}). `prepare`, which `zoo.predict` calls,
applies the preprocessing of the training to it: {", ".join(model.transforms) or "none"}."""


def _score(entry: Checkpoint) -> str:
    metric = entry.score.metric
    rows = [
        ["data set", f"{entry.dataset}, split `{entry.split}`"],
        ["task, metric", f"{entry.task}, {metric}{' in per cent' if metric in registry.PER_CENT else ''}"],
        ["this file, on test", f"{formats.number(entry.score.value, metric)} (seed {entry.score.seed})"],
        ["all runs: mean ± unbiased std (n)", formats.spread(metric, entry.runs.mean, entry.runs.std, entry.runs.n)],
        ["published", formats.published(metric, entry.published)],
        ["source", entry.published.source if entry.published else "–"],
        ["verdict", entry.verdict],
        ["recipe", f"`zoo train {entry.recipe} --seed {entry.score.seed}` makes it again"],
        ["trained with", ", ".join(f"{key} {version}" for key, version in entry.environment.items())],
        ["weights' sha256", f"`{entry.weights.sha256}`"],
    ]
    remarks = _remarks(entry)
    return formats.markdown_table(["", ""], rows) + (f"\n\n{remarks}" if remarks else "")


def _remarks(entry: Checkpoint) -> str:
    """The recipe's note and diagnosis, where the recipe is at hand."""
    try:
        recipe = recipes.find(entry.recipe)
    except RecipeNotFound:
        return ""
    source = f"Data: {info(entry.dataset).source}."
    return " ".join(text for text in (source, recipe.note, recipe.diagnosis) if text)


def _settings(entry: Checkpoint | None, result: Mapping[str, Any] | None) -> Any:
    """How the model was trained: as its recipe says, where that is at hand, or as its run wrote down."""
    if entry is None:
        return result and result["settings"]
    try:
        return recipes.find(entry.recipe).settings()
    except RecipeNotFound:
        return None


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2)}\n```"


def _own_score(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "None was recorded."
    metric = result["metric"]
    return (
        f"Measured by the run that made it, on the nodes or graphs that its own data sets apart: {metric} "
        f"{formats.number(result['test'], metric)} on test, {formats.number(result['val'], metric)} on validation."
    )


def _docstring(model: ZooModel) -> str:
    """Of the method's file: paper, equation, symbols, and where paper and authors' code differ."""
    return inspect.getdoc(inspect.getmodule(type(model))) or ""


def _as_markdown(text: str) -> str:
    """The little reStructuredText that the docstrings hold: formulas in a block, and in a line."""
    text = re.sub(
        r"^\.\. math::((?:.+\n|\n(?=[ \t]))+)", lambda found: f"$$\n{_joined(found[1])}\n$$\n", text, flags=re.MULTILINE
    )
    return re.sub(r":math:`([^`]*)`", lambda found: f"${_joined(found[1])}$", text)


def _joined(formula: str) -> str:
    return " ".join(formula.split())
