"""What several tests share: comparisons, and what computes a model's equations anew, on dense float64 matrices."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

IN_FEATS, NUM_CLASSES = 5, 3

M = TypeVar("M", bound=nn.Module)


def randomised(model: M) -> M:
    """In float64 and eval mode, every parameter away from its start."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def features(graph: Any) -> Tensor:
    return torch.randn(graph.num_nodes(), IN_FEATS, dtype=torch.float64)


def normalised(adjacency: Tensor) -> Tensor:
    """D^(-1/2) A D^(-1/2); 0 for a node without in-edges."""
    scale = torch.tensor([d**-0.5 if d > 0 else 0.0 for d in adjacency.sum(1).tolist()], dtype=torch.float64)
    return scale[:, None] * adjacency * scale[None, :]


def mean_over_rows(adjacency: Tensor) -> Tensor:
    """D^(-1) A; 0 for a node without in-edges."""
    return adjacency / adjacency.sum(1, keepdim=True).clamp(min=1)


def linear(layer: Any, x: Tensor) -> Tensor:
    return x @ layer.linear.weight.t() + layer.linear.bias


def relus(layers: Iterable[Any], x: Tensor) -> Tensor:
    """Linear layers with a ReLU behind each."""
    for layer in layers:
        x = linear(layer, x).clamp(min=0)
    return x


def assert_same_with_gradients(actual: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    upstream = torch.randn_like(expected)
    ours = torch.autograd.grad(actual, inputs, upstream)
    theirs = torch.autograd.grad(expected, inputs, upstream)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def assert_same_bits(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    """Of two states, as `state_dict` has them."""
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Its state, which what happens to the module leaves as it is."""
    return {name: value.clone() for name, value in module.state_dict().items()}
