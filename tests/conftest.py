"""Small graphs that the tests of the numerical core share, a fixed seed for every test, and a Hub of our own."""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fakehub import FakeHub
from torch import Tensor

from zoo._dgl import dgl

# huggingface_hub reads its environment when it is imported, which no test has done yet. From here on, no test and no
# process that one starts can reach the real Hub, and none finds the user's token or cache. The port belongs to this
# process until it ends: a socket that is bound and does not listen refuses connections, and FakeHub may share it.
HUB_PORT = socket.socket()
HUB_PORT.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
HUB_PORT.bind(("127.0.0.1", 0))
HUB_HOME = tempfile.TemporaryDirectory()
for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))]:
    del os.environ[name]
os.environ |= {
    "HF_ENDPOINT": f"http://127.0.0.1:{HUB_PORT.getsockname()[1]}",
    "HF_HOME": HUB_HOME.name,
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "no_proxy": "127.0.0.1",
}

# Name: edges (source, target), number of nodes, index type.
GRAPHS: dict[str, tuple[list[tuple[int, int]], int, torch.dtype]] = {
    # 0 → 1 is there twice, 3 has a self-loop, 4 has out-edges only, 5 is isolated.
    "directed": ([(0, 1), (0, 1), (1, 2), (2, 0), (3, 3), (2, 3), (0, 3), (4, 0)], 6, torch.int64),
    "int32": ([(2, 1), (0, 1), (1, 0), (3, 2)], 4, torch.int32),
    "self-loops": ([(0, 1), (1, 0), (1, 2), (0, 0), (1, 1), (2, 2)], 3, torch.int64),
    "parallel": ([(0, 1), (1, 0), (0, 1), (1, 1), (0, 1)], 2, torch.int64),  # more edges than pairs of nodes
    "no-edges": ([], 3, torch.int64),
    "one-node": ([(0, 0)], 1, torch.int64),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the zoo's tables."""
    monkeypatch.setattr("zoo.tables._table_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that anything in the test wanted to sleep: it does not."""
    seconds: list[float] = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, waits: list[float]) -> Iterator[FakeHub]:
    """A running, empty Hub, and an empty cache, `tmp_path / "cache"`; the client retries without waiting."""
    from huggingface_hub import constants

    assert os.environ["HF_ENDPOINT"] == constants.ENDPOINT
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with FakeHub(tmp_path / "hub", HUB_PORT.getsockname()[1]) as running:
        yield running


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
