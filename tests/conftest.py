"""Small graphs that the tests of the numerical core share, and a fixed seed for every test."""

from typing import Any

import pytest
import torch
from torch import Tensor

from zoo._dgl import dgl

# Name: edges (source, target), number of nodes, index type.
GRAPHS: dict[str, tuple[list[tuple[int, int]], int, torch.dtype]] = {
    # 0 → 1 is there twice, 3 has a self-loop, 4 has out-edges only, 5 is isolated.
    "directed": ([(0, 1), (0, 1), (1, 2), (2, 0), (3, 3), (2, 3), (0, 3), (4, 0)], 6, torch.int64),
    "int32": ([(2, 1), (0, 1), (1, 0), (3, 2)], 4, torch.int32),
    "self-loops": ([(0, 1), (1, 0), (1, 2), (0, 0), (1, 1), (2, 2)], 3, torch.int64),
    "no-edges": ([], 3, torch.int64),
    "one-node": ([(0, 0)], 1, torch.int64),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> Any:
    """Each of `GRAPHS` in turn."""
    edges, num_nodes, idtype = GRAPHS[request.param]
    src, dst = (torch.tensor([edge[end] for edge in edges], dtype=idtype) for end in (0, 1))
    return dgl.graph((src, dst), num_nodes=num_nodes, idtype=idtype)


@pytest.fixture
def edges(graph: Any) -> list[tuple[int, int]]:
    """The edges of `graph` as (source, target), in the order of their numbers."""
    src, dst = graph.edges(order="eid")
    return list(zip(src.tolist(), dst.tolist(), strict=True))


@pytest.fixture
def adjacency(graph: Any, edges: list[tuple[int, int]]) -> Tensor:
    """A[i, j] = number of edges j → i, float64."""
    matrix = torch.zeros(graph.num_nodes(), graph.num_nodes(), dtype=torch.float64)
    for source, target in edges:
        matrix[target, source] += 1
    return matrix
