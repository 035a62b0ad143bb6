"""ZooModel: what every model of the zoo has in common."""

import inspect
import json
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from zoo import ops
from zoo._cache import latest, per_graph, per_tensor
from zoo._checks import check_choice, check_count, check_features
from zoo._dgl import dgl
from zoo._files import user_path
from zoo.datasets import transforms as graph_transforms
from zoo.errors import CheckpointError, ConfigError, GraphError
from zoo.nn.sparse_linear import Features, compress, constant

__all__ = ["READOUTS", "LoadReport", "ZooModel", "eval_mode"]

READOUTS = ("mean", "sum", "max")
MAX_LAYERS = 100_000  # a config from a stranger must not ask for more than can be built


@dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint's tensors when it was loaded with another width or number of classes.

    Attributes:
        kept: Names of tensors taken from the checkpoint.
        new: Names of the model's tensors that the checkpoint lacks or has in another shape: they start untrained.
        dropped: Names of the checkpoint's tensors that the model lacks or has in another shape.
    """

    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"kept {len(self.kept)} tensors of the checkpoint; new and untrained: {', '.join(self.new) or 'none'}; "
            f"dropped: {', '.join(self.dropped) or 'none'}"
        )


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The model in eval mode; afterwards every module is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


class ZooModel(nn.Module, ABC):
    """Base class of every model.

    A subclass has keyword-only, JSON-able arguments after `in_feats` and `num_classes` (they are the config that
    travels with the weights), yields its hidden layers in `hidden_states`, and builds its last layer in `make_head`.
    `save_pretrained`, `from_pretrained` and `push_to_hub` are called as in other libraries on the Hugging Face Hub;
    loading is strict and opens nothing but safetensors. They are not huggingface_hub's mixin: importing that takes
    longer than loading a checkpoint, and it passes over a config that could not be fetched.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        readout: Default: None, logits per node. `"mean"`, `"sum"` or `"max"` of each graph's nodes: logits per graph.
        transforms: Names from `zoo.datasets.transforms` that `prepare` applies to a raw graph.

    Attributes:
        node_data: Class attribute: names of the ndata that the answer depends on; a prediction sees no other.
        multilabel: Whether each logit is a label of its own, of which a node has any number, and not one class of
            several. Training sets it, and the config has it where it is True.
        load_report: What `zoo.load` left new and untrained; None for a model that was not loaded.
    """

    node_data: ClassVar[tuple[str, ...]] = ("feat",)
    method: ClassVar[str]
    paper: ClassVar[str]
    citation: ClassVar[str]
    head: nn.Module
    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keeps the arguments, which are the config; refuses one that config.json cannot hold."""
        model = super().__new__(cls)
        if args or kwargs:  # copying and unpickling bring the arguments among the other attributes
            bound = inspect.signature(cls.__init__).bind(model, *args, **kwargs)
            bound.apply_defaults()
            arguments = {
                name: list(value) if isinstance(value, tuple) else value  # as config.json has it
                for name, value in bound.arguments.items()
                if name != "self"
            }
            _check_plain(arguments)
            object.__setattr__(model, "arguments", arguments)
        return model

    def __init__(
        self, in_feats: int, num_classes: int, *, readout: str | None = None, transforms: Sequence[str] = ()
    ) -> None:
        super().__init__()
        if in_feats < 1 or num_classes < 1:
            raise ConfigError(f"in_feats and num_classes must be positive, got {in_feats} and {num_classes}")
        if readout is not None:
            check_choice("readout", readout, READOUTS)
        graph_transforms.check(transforms)
        self.in_feats, self.num_classes, self.readout = in_feats, num_classes, readout
        self.transforms = tuple(transforms)
        self.multilabel = False
        self.load_report: LoadReport | None = None

    def num_hidden(self, num_layers: int, *, head_apart: bool = False) -> int:
        """How many of `num_layers` layers come before the head: with a readout all, else all but the last.

        With `head_apart` the head is a layer of its own, not counted, without a readout too.
        """
        hidden = num_layers if self.readout or head_apart else num_layers - 1
        if hidden < 1:
            raise ConfigError(f"num_layers={num_layers} leaves no hidden layer: use at least {num_layers + 1 - hidden}")
        if num_layers > MAX_LAYERS:
            raise ConfigError(f"num_layers={num_layers} is too many: use at most {MAX_LAYERS}")
        return hidden

    @property
    def config(self) -> dict[str, Any]:
        """The method's name and every argument of this model, as config.json has them."""
        return {"method": self.method, **self.arguments, **({"multilabel": True} if self.multilabel else {})}

    @abstractmethod
    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Yields each hidden layer's node representations, (num_nodes, width), first layer first."""

    @abstractmethod
    def make_head(self, num_classes: int) -> nn.Module:
        """The last layer, called with the graph and the representation before it."""

    @property
    def same_in_training(self) -> bool:
        """Whether a full graph's logits in training mode are those that eval mode gives right after: no dropout, no
        running averages. The training loop then computes them once for an evaluation and the step that follows it.
        """
        return False

    def make_room(self, state: Mapping[str, Tensor]) -> None:
        """Gives buffers whose sizes the training data decide the sizes that they have in a state about to be loaded.

        `__init__` sees no data: such buffers begin empty.
        """

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        """PyTorch's step for one module of many, before that for its parts; see `make_room`."""
        self.make_room({key.removeprefix(prefix): part for key, part in state_dict.items() if key.startswith(prefix)})
        super()._load_from_state_dict(state_dict, prefix, *others)

    def reset_head(self, num_classes: int) -> None:
        """Puts a new, untrained last layer for `num_classes` in the place of the old one.

        Raises:
            ConfigError: There is no class.
        """
        num_classes = check_count("num_classes", num_classes)
        self.head = self.make_head(num_classes).to(next(self.parameters())).train(self.training)
        self.num_classes = num_classes
        self.arguments = {**self.arguments, "num_classes": num_classes}

    def prepare(self, graph: dgl.DGLGraph) -> dgl.DGLGraph:
        """A copy of a raw graph with this model's own preprocessing (`transforms`) applied, free to make every sparse
        format. A warning tells where edges stand in one direction only, if the model `wants_reverses`, and which of its
        `node_data` are missing.

        Raises:
            GraphError: The graph is empty, has several node or edge types, or lacks what a transform needs.
        """
        prepared = self.prepare_quietly(graph)
        if missing := [name for name in self.node_data if name != "feat" and name not in graph.ndata]:
            warnings.warn(f"this model's answer depends on {' and '.join(missing)}, which ndata lacks", stacklevel=2)
        if self.wants_reverses and (looked_at := _num_one_way(prepared)):
            warnings.warn(
                f"of {looked_at} edges looked at none has its reverse: this model expects edges in both directions, as "
                "zoo.datasets.from_arrays and zoo.datasets.transforms.to_undirected make them",
                stacklevel=2,
            )
        return prepared

    def prepare_quietly(self, graph: dgl.DGLGraph) -> dgl.DGLGraph:
        """What `prepare` gives, without a look at the edges' directions: for all graphs of a set but the first."""
        _check_graph(graph)
        return graph_transforms.apply(graph, self.transforms)

    @property
    def wants_reverses(self) -> bool:
        """Whether it takes edges to stand in both directions."""
        return True

    def forward(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """Raw logits.

        Args:
            graph: A prepared graph (see `prepare`), or for a model with a readout a batch of such; a warning tells
                where self-loops that `prepare` adds are missing.
            feat: (num_nodes, in_feats). Default: `graph.ndata["feat"]`. What is derived from it is remembered until it
                changes in place as torch counts it; changes through `.data` or NumPy's view of the memory are not seen.

        Returns:
            (num_nodes, num_classes), with a readout (num_graphs, num_classes).

        Raises:
            GraphError: The graph is empty, or the features are missing, of another shape, or not finite.
        """
        return self.head(graph, self.encode(graph, feat))

    def encode(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """The representation before the head: (num_nodes, width), with a readout (num_graphs, width)."""
        (state,) = deque(self.hidden_states(graph, self._input(graph, feat)), maxlen=1)
        return state if self.readout is None else ops.readout(graph, state, self.readout)

    def encode_once(self, graph: dgl.DGLGraph, feat: Tensor | None, key: Callable[[], tuple[Any, ...]]) -> Tensor:
        """What `encode` gives, remembered for features that need no gradient: for a model with nothing learnt or drawn
        before its head. `key` gives all that it depends on but the class, the graph and the features.
        """
        owner = constant(self._input(graph, feat))
        if owner is None:
            return self.encode(graph, feat)
        sizes = tuple(ops.batch_sizes(graph, graph.device).tolist())
        return latest(owner, graph, (type(self), sizes, *key()), lambda: self.encode(graph, feat))

    def layers(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> list[Tensor]:
        """Every hidden layer's node representations, first layer first, for the oversmoothing metrics."""
        return list(self.hidden_states(graph, self._input(graph, feat)))

    def _input(self, graph: dgl.DGLGraph, feat: Tensor | None) -> Features:
        _check_graph(graph)
        if "add_self_loop" in self.transforms:
            per_graph(graph, "loops", lambda: _warn_without_loops(graph))
        if feat is None and "feat" not in graph.ndata:
            raise GraphError('the graph has no node features: set graph.ndata["feat"] or pass feat')
        given: Tensor = graph.ndata["feat"] if feat is None else feat
        if not isinstance(given, Tensor):
            raise GraphError(f"feat is a {type(given).__name__}: expected a tensor")
        if given.shape != (graph.num_nodes(), self.in_feats):
            raise GraphError(
                f"feat has shape {tuple(given.shape)}, but this model and graph need "
                f"({graph.num_nodes()}, {self.in_feats}). For another width fine-tune it, or load it with in_feats=…: "
                "its first layer then starts untrained"
            )
        per_tensor(given, "checked", lambda: check_features(given))
        parameter = next(self.parameters())
        if given.device != parameter.device:
            raise GraphError(f"feat is on {given.device}, the model on {parameter.device}: move one of them")
        dtype = parameter.dtype
        if given.dtype == dtype:
            return compress(given)
        # A cast that takes part in a gradient refers to its origin, and so cannot be remembered.
        cast = given.to(dtype) if given.requires_grad else per_tensor(given, dtype, lambda: given.to(dtype))
        per_tensor(cast, "checked", lambda: check_features(cast, as_type=dtype))  # large values have become infinite
        return compress(cast)

    def save_pretrained(
        self, save_directory: str | Path, *, push_to_hub: bool = False, repo_id: str | None = None, **options: Any
    ) -> str | None:
        """Writes config.json and model.safetensors into a folder, each whole or not at all.

        Args:
            save_directory: The folder.
            push_to_hub: Whether to push the model, too.
            repo_id: For that, see `push_to_hub`, the method.
            options: Likewise.

        Returns:
            Where it was pushed to, if it was.

        Raises:
            ConfigError: `push_to_hub` without `repo_id`, or what is for it without it; nothing is written then.
        """
        from zoo import weights

        given = [*(["repo_id"] if repo_id else []), *options]
        if push_to_hub and repo_id is None:
            raise ConfigError("push_to_hub=True needs repo_id='organisation/name'")
        if given and not push_to_hub:
            raise ConfigError(f"{', '.join(given)}: only with push_to_hub=True")
        weights.write(self, user_path(save_directory))
        return None if repo_id is None else self.push_to_hub(repo_id, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """A model of this class, in eval mode, from a folder or from a repository on the Hub.

        Args:
            pretrained_model_name_or_path: A folder, or `organisation/name`.
            options: Those of `zoo.load`: `num_classes`, `in_feats`, and for a repository `revision`, `token`,
                `cache_dir`, `local_files_only`, `force_download`.

        Raises:
            CheckpointError: The files do not describe a model of this class.
            ZooError: See `zoo.load`.
        """
        from zoo import hub, weights
        from zoo.registry import REPOSITORY

        source = pretrained_model_name_or_path
        repository = str(source).removeprefix(hub.SCHEME)
        on_hub = repository != str(source) or REPOSITORY.fullmatch(repository.partition("@")[0]) is not None
        folder = Path(source).is_dir() or not on_hub
        model = weights.load(Path(source) if folder else hub.SCHEME + repository, **options)
        if not isinstance(model, cls):
            raise CheckpointError(f"{source} is a {type(model).__name__}, not a {cls.__name__}")
        return model

    def push_to_hub(self, repo_id: str, *, branch: str | None = None, **options: Any) -> str:
        """Creates or updates a repository with this model and its card, see `zoo.push`.

        Args:
            repo_id: `organisation/name`.
            branch: Default: the main one. As `revision`, its name in `zoo.push`, it is understood, too.
            options: `license`, `private`, `token` and `commit_message`, see `zoo.push`.

        Returns:
            `hf://organisation/name@commit`, which `zoo.load` takes.
        """
        from zoo.publishing import push

        if branch is not None:
            options["revision"] = branch
        return push(self, repo_id, **options)


def _check_plain(arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        try:
            json.dumps(value)
        except TypeError:
            raise ConfigError(
                f"{name} is of type {type(value).__name__}, but config.json holds plain numbers, strings and "
                "lists: convert it first, for example with int()"
            ) from None


def _num_one_way(graph: dgl.DGLGraph) -> int:
    """How many edges were looked at, self-loops left out, if none of them has its reverse; 0 if one has."""
    src, dst = (ends.long() for ends in ops.with_coo(graph).edges())
    between = (src != dst).nonzero().flatten()
    sample = between[:: max(1, len(between) // 1000)]
    ends = torch.zeros(graph.num_nodes(), dtype=torch.bool, device=src.device).index_fill(0, dst[sample], True)
    answers = ends[src]  # edges that may be the reverse of one of the sample
    there = src[answers] * graph.num_nodes() + dst[answers]
    return 0 if torch.isin(dst[sample] * graph.num_nodes() + src[sample], there).any() else len(sample)


def _warn_without_loops(graph: dgl.DGLGraph) -> None:
    src, dst = ops.with_coo(graph).edges()
    if lacking := graph.num_nodes() - len(torch.unique(src[src == dst])):
        warnings.warn(
            f"{lacking} of {graph.num_nodes()} nodes have no self-loop, as this model's preprocessing gives them: "
            "pass it model.prepare(graph)",
            stacklevel=5,
        )


def _check_graph(graph: Any) -> None:
    if not isinstance(graph, dgl.DGLGraph):
        raise GraphError(
            f"expected a DGLGraph, got {type(graph).__name__}: zoo.datasets.from_arrays(edge_index, x) makes one, and "
            "dgl.batch one of several"
        )
    per_graph(graph, "checked", lambda: _check_structure(graph))


def _check_structure(graph: dgl.DGLGraph) -> None:
    if not graph.is_homogeneous:
        raise GraphError("the graph has several node or edge types; the zoo's models take homogeneous graphs")
    if (ops.batch_sizes(graph, graph.device) == 0).any():
        where = "the graph has no nodes" if graph.batch_size == 1 else "a graph of the batch has no nodes"
        raise GraphError(f"{where}: leave empty graphs out")
