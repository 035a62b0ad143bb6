"""What a forward pass costs, in floating-point operations.

The rule: products are counted, a multiplication with its addition as two operations. That is

- 2 · rows · inner width · columns for a product of dense matrices, of each of a batch of such;
- 2 · non-zeros · width for a product of a sparse matrix and a dense one: a sum over the in-neighbours, with weights or
  without (2 · edges · width), and the first layer where `zoo.nn.sparse_linear` keeps the features sparse;
- 2 · edges · width for inner products of the ends of edges, but not those of half floats or of a graph with more edges
  than pairs of nodes, which run as plain multiplications;
- 2 · rows · width for a sum of rows by an index: over edges in G²'s gate, over the nodes of classes or clusters.

Left out is what takes a few operations for each element of a matrix, or for each edge and head: biases, activations,
normalisations, softmax, scores such as GAT's aᵀ W x_i, pooling, and whatever is done to indices.

Counted is what runs, not what a formula would take: W is multiplied before or after the sum as the model does it, and
an edge that a model has pruned from its graph costs nothing (DYNAMO-GAT without recalibration leaves it there).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from zoo._dgl import dgl
from zoo.model import ZooModel, eval_mode
from zoo.weights import as_model

__all__ = ["count_operations"]


def count_operations(model: str | Path | ZooModel, graph: dgl.DGLGraph) -> int:
    """Floating-point operations of one forward pass in evaluation mode, by the rule of this module; / 1e9 for GFLOPs.

    The graph's preparation is not counted. What a model remembers of earlier passes (SGC's propagated features) is:
    the pass is one on features that it has not seen.

    Args:
        model: Any model of the zoo, or whatever `zoo.load` takes.
        graph: A raw graph, as for `model.prepare`; for a model with a readout also a batch of such.

    Raises:
        GraphError: The graph does not suit the model.
    """
    model = as_model(model)
    prepared = model.prepare(graph)
    unseen = prepared.ndata["feat"].clone() if "feat" in prepared.ndata else None  # the model says what is missing
    unfused = torch.backends.cudnn.flags(enabled=False)  # its LSTM is one call, with all products inside
    with eval_mode(model), torch.no_grad(), unfused, _Counter() as counter:
        model(prepared, unseen)
    return counter.total


class _Counter(TorchDispatchMode):
    """Sees every call of one of PyTorch's kernels, those inside autograd functions too."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if rule := _RULES.get(func.overloadpacket.__name__.removesuffix("_")):  # in place or not
            self.total += rule(result, *args)
        return result


def _product(result: Tensor, left: Tensor, *_: Any) -> int:
    return 2 * result.numel() * left.shape[-1]


def _added_product(result: Tensor, summand: Tensor, left: Tensor, *_: Any) -> int:
    return _product(result, left)


def _sums_of_rows(result: Any, rows: Tensor, indices: Tensor, *_: Any) -> int:
    return 2 * len(indices) * rows.shape[1]


def _sampled_product(result: Tensor, pattern: Tensor, left: Tensor, *_: Any) -> int:
    return 2 * pattern.values().numel() * left.shape[1]


def _recurrent_layer(result: Any, sequences: Tensor, from_input: Tensor, from_state: Tensor, *_: Any) -> int:
    """oneDNN's LSTM, one layer in one direction: two products at every step of every sequence."""
    steps = sequences.numel() // sequences.shape[-1]
    return 2 * steps * (from_input.numel() + from_state.numel())


def _indexed_sums(result: Tensor, target: Tensor, dim: int, indices: Tensor, source: Tensor, *_: Any) -> int:
    return 2 * source.numel()


_RULES: dict[str, Callable[..., int]] = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot"), _product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _added_product),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _sums_of_rows),
    "index_add": _indexed_sums,
    "sparse_sampled_addmm": _sampled_product,
    "mkldnn_rnn_layer": _recurrent_layer,
}
