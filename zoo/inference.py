"""How a model goes through data in parts, so that memory does not grow with what is computed on the way."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo import ops
from zoo._dgl import dgl
from zoo.datasets import GraphDataset
from zoo.datasets.graphs import check_graph, check_input
from zoo.errors import GraphError
from zoo.model import ZooModel, eval_mode

__all__ = ["check_alike", "forward", "predict_logits", "without_others"]


def predict_logits(model: ZooModel, data: Any, block_size: int = ops.BLOCK_SIZE) -> Tensor:
    """Logits of raw data, (num_nodes or num_graphs, num_classes).

    Args:
        model: Goes back to the mode that it was in.
        data: A graph; for a model with a readout also a list of graphs or a `GraphDataset`.
        block_size: Most edges of a block; most nodes and edges of the graphs that go through the model together.

    Raises:
        GraphError: The data is none of these, or does not fit the model.
    """
    if isinstance(data, dgl.DGLGraph):
        check_input(data)
        return forward(model, [model.prepare(without_others(data, model))], block_size)
    return forward(model, map(model.prepare, _batches(_graphs(data, model), model, block_size)), block_size)


def forward(model: ZooModel, prepared: Iterable[dgl.DGLGraph], block_size: int = ops.BLOCK_SIZE) -> Tensor:
    """Logits of prepared graphs, one after another, from the model in eval mode."""
    with eval_mode(model), ops.in_blocks(block_size):
        return torch.cat([model(graph) for graph in prepared])


def without_others(graph: dgl.DGLGraph, model: ZooModel) -> dgl.DGLGraph:
    """The graph with only the node data that the model looks at, for most no labels, and with sizes of its index type.

    DGL's `int()` and `long()` leave the sizes that a graph remembers as they were, which `dgl.batch` refuses.
    """
    graph = graph.local_var()
    for key in list(graph.ndata):
        if key not in model.node_data:
            del graph.ndata[key]
    graph.set_batch_num_nodes({kind: graph.batch_num_nodes(kind).to(graph.idtype) for kind in graph.ntypes})
    graph.set_batch_num_edges({kind: graph.batch_num_edges(kind).to(graph.idtype) for kind in graph.canonical_etypes})
    return graph


def _graphs(data: Any, model: ZooModel) -> Sequence[dgl.DGLGraph]:
    graphs = data.graphs if isinstance(data, GraphDataset) else data
    if not isinstance(graphs, Sequence) or not all(isinstance(graph, dgl.DGLGraph) for graph in graphs):
        raise GraphError(f"expected a DGLGraph, a list of them or a GraphDataset, got {type(data).__name__}")
    if model.readout is None:
        raise GraphError(f"this model predicts nodes, one graph at a time; it was given {len(graphs)} graphs")
    if not graphs:
        raise GraphError("there are no graphs to predict")
    for graph in graphs:
        check_graph(graph)
    check_alike(graphs, model)
    return graphs


def check_alike(graphs: Sequence[dgl.DGLGraph], model: ZooModel) -> None:
    """Raises GraphError unless graphs, of which there is at least one, are alike in form, so that they make a batch."""
    widths = {graph.ndata["feat"].shape[1] for graph in graphs}
    if len(widths) > 1:
        raise GraphError(f"the graphs have features of different widths: {sorted(widths)}")
    types = {str(graph.ndata["feat"].dtype) for graph in graphs}
    if len(types) > 1:
        raise GraphError(f"the graphs have features of different types: {', '.join(sorted(types))}")
    if len({frozenset(graph.ndata) & frozenset(model.node_data) for graph in graphs}) > 1:
        raise GraphError(f"some graphs lack what others have of {', '.join(model.node_data)}")
    if len({graph.idtype for graph in graphs}) > 1:
        raise GraphError("some graphs have int32 and some int64 indices: make them alike with graph.long()")


def _batches(graphs: Sequence[dgl.DGLGraph], model: ZooModel, block_size: int) -> Iterator[dgl.DGLGraph]:
    """The graphs in their order, as many in a batch as have at most `block_size` nodes and edges together."""
    members: list[dgl.DGLGraph] = []
    size = 0
    for graph in graphs:
        own = graph.num_nodes() + graph.num_edges()
        if members and size + own > block_size:
            yield dgl.batch(members, edata=None)
            members, size = [], 0
        members.append(without_others(graph, model))
        size += own
    yield dgl.batch(members, edata=None)
