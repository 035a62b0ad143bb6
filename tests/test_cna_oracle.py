"""CNA against the plain formulation of `benchmarks/cna_loop.py`: answers and every gradient, in float64."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from zoo._dgl import dgl
from zoo.models.cna import CNA, NORMS
from zoo.nn.kmeans import DISTANCES

LOOP = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "cna_loop.py"))
NODES, WORDS, CLASSES = 60, 30, 4


@pytest.fixture
def words() -> Any:
    """A directed graph with self-loops, multiple edges and an isolated node; its features are mostly zeros."""
    graph: Any = dgl.graph(tuple(torch.randint(NODES - 1, (2, 4 * NODES))), num_nodes=NODES)
    graph.ndata["feat"] = (torch.rand(NODES, WORDS, dtype=torch.float64) < 0.1).double()
    return graph


def trained(graph: Any, **options: Any) -> CNA:
    """A model whose centroids are fitted, and whose parameters are nowhere at their start."""
    model = CNA(WORDS, CLASSES, **{"num_layers": 3, "hidden": 8, "num_clusters": 3, **options}).double()
    model(graph)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def answer_and_gradients(model: nn.Module, graph: Any) -> dict[str, Tensor]:
    logits = model(graph)
    (logits * torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype).view_as(logits)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"answer": logits.detach(), **gradients}


@pytest.mark.parametrize("conv", LOOP["CONVS"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(("version", "training"), [("A", True), ("A", False), ("B", True), ("C", True), ("D", False)])
@pytest.mark.parametrize("share", [True, False])
def test_the_model_agrees_with_the_plain_formulation(
    words: Any, conv: str, norm: str, distance: str, version: str, training: bool, share: bool
) -> None:
    model = trained(words, conv=conv, norm=norm, distance=distance, version=version, share_activation=share)
    loop = LOOP["LoopCNA"](model)
    actual, expected = (answer_and_gradients(each.train(training), words) for each in (model, loop))
    assert len(actual) == 1 + len(list(model.parameters()))
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_the_plain_formulation_refits_when_the_model_does(words: Any) -> None:
    model: Any = trained(words, refit_every=2)
    for each in (model, LOOP["LoopCNA"](model)):
        refits = []
        for _ in range(4):  # calls 1 to 4
            before = torch.stack([layer.centroids for layer in each.activations])
            each(words)
            after = torch.stack([layer.centroids for layer in each.activations])
            refits += (before != after).any(2).any(1).tolist()
        assert refits == [False, False, True, True] * 2


@pytest.mark.parametrize("distance", DISTANCES)
def test_its_k_means_finds_what_there_is(distance: str) -> None:
    groups = torch.eye(5, dtype=torch.float64)
    centroids = LOOP["kmeans"](groups.repeat(6, 1), 5, distance)
    order = centroids.argmax(1).argsort()
    torch.testing.assert_close(centroids[order], groups)
