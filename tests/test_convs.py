"""Every convolution against its formula on dense float64 matrices, on graphs with every oddity of GRAPHS."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import mean_over_rows, normalised, randomised
from torch import Tensor, nn

from zoo import ops
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.nn.convs import CONVS, ChebConv, DirGCNConv, DirSAGEConv, GATConv, make_conv
from zoo.nn.sparse_linear import SparseFeatures

Oracle = Callable[[Any, Tensor, Tensor], Tensor]


def attention(adjacency: Tensor, scores: Tensor) -> Tensor:
    """Softmax over the in-neighbours; two edges between the same nodes count twice. Row of zeros without any."""
    weights = adjacency * (scores - scores.max()).exp()
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-300)


def linear(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    return x @ conv.linear.weight.t() + conv.linear.bias


def gcn(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    return normalised(adjacency) @ x @ conv.linear.weight.t() + conv.bias


def sage(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    return mean_over_rows(adjacency) @ x @ conv.neighbours.weight.t() + x @ conv.root.weight.t() + conv.root.bias


def gat(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    heads = []
    for head in range(conv.heads):
        rows = slice(head * conv.out_feats, (head + 1) * conv.out_feats)
        values = x @ conv.linear.weight[rows].t()
        scores = (values @ conv.attention_dst[head])[:, None] + (values @ conv.attention_src[head])[None, :]
        scores = torch.where(scores > 0, scores, conv.negative_slope * scores)
        heads.append(attention(adjacency, scores) @ values)
    merged = torch.stack(heads).mean(0) if conv.merge == "mean" else torch.cat(heads, 1)
    return merged + conv.bias


def transformer(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    query, key, value, root = (
        x @ layer.weight.t() + layer.bias for layer in (conv.query, conv.key, conv.value, conv.root)
    )
    return attention(adjacency, query @ key.t() / key.shape[1] ** 0.5) @ value + root


def cheb(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    laplacian = -normalised(adjacency)
    polynomials = [torch.eye(len(x), dtype=x.dtype), laplacian]
    while len(polynomials) < len(conv.terms):
        polynomials.append(2 * laplacian @ polynomials[-1] - polynomials[-2])
    terms = [t @ x @ term.weight.t() for t, term in zip(polynomials, conv.terms, strict=False)]
    return torch.stack(terms).sum(0) + conv.bias


def dir_gcn(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    points_at = adjacency.t()  # row: source, as in the paper
    degrees_out, degrees_in = points_at.sum(1, keepdim=True), points_at.sum(0, keepdim=True)
    s = points_at / (degrees_out.clamp(min=1) * degrees_in.clamp(min=1)).sqrt()
    zero = x.new_zeros(len(x), len(conv.bias))
    outwards = zero if conv.alpha == 0 else conv.alpha * (s @ x @ conv.outwards.weight.t())
    inwards = zero if conv.alpha == 1 else (1 - conv.alpha) * (s.t() @ x @ conv.inwards.weight.t())
    return outwards + inwards + conv.bias


def dir_sage(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    outwards = mean_over_rows(adjacency.t()) @ x @ conv.outwards.weight.t()
    inwards = mean_over_rows(adjacency) @ x @ conv.inwards.weight.t()
    return x @ conv.root.weight.t() + conv.root.bias + conv.alpha * outwards + (1 - conv.alpha) * inwards


def gin(conv: Any, adjacency: Tensor, x: Tensor) -> Tensor:
    inner = ((1 + conv.epsilon) * x + adjacency @ x) @ conv.first.weight.t() + conv.first_bias
    return inner.relu() @ conv.second.weight.t() + conv.second.bias


ORACLES: dict[str, Oracle] = {
    "gcn": gcn,
    "gat": gat,
    "sage": sage,
    "transformer": transformer,
    "cheb": cheb,
    "dir-gcn": dir_gcn,
    "dir-sage": dir_sage,
    "gin": gin,
    "linear": linear,
}

OPTIONS: list[tuple[nn.Module, Oracle]] = [
    (GATConv(5, 3, heads=2), gat),
    (GATConv(5, 3, heads=4, merge="mean", negative_slope=0.5), gat),
    (ChebConv(5, 3, num_terms=1), cheb),
    (ChebConv(5, 3, num_terms=2), cheb),
    (ChebConv(5, 3, num_terms=6), cheb),
    (DirGCNConv(5, 3, alpha=0.0), dir_gcn),
    (DirGCNConv(5, 3, alpha=0.3), dir_gcn),
    (DirSAGEConv(5, 3, alpha=0.0), dir_sage),
    (DirSAGEConv(5, 3, alpha=0.9), dir_sage),
]


def assert_same(conv: nn.Module, oracle: Oracle, graph: Any, adjacency: Tensor) -> None:
    x = torch.randn(graph.num_nodes(), 5, dtype=torch.float64, requires_grad=True)
    actual, expected = conv(graph, x), oracle(conv, adjacency, x)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    inputs, upstream = [x, *conv.parameters()], torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(actual, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_every_convolution_has_a_formula_here() -> None:
    assert ORACLES.keys() == CONVS.keys()


@pytest.mark.parametrize("name", CONVS)
def test_values_and_gradients_are_the_formulas(name: str, graph: Any, adjacency: Tensor) -> None:
    assert_same(randomised(make_conv(name, 5, 3)), ORACLES[name], graph, adjacency)


@pytest.mark.parametrize(("conv", "oracle"), OPTIONS)
def test_options_are_in_the_formulas(conv: nn.Module, oracle: Oracle, graph: Any, adjacency: Tensor) -> None:
    assert_same(randomised(conv), oracle, graph, adjacency)


@pytest.mark.parametrize("name", CONVS)
def test_sparse_features_give_what_dense_ones_give(name: str, graph: Any) -> None:
    conv = randomised(make_conv(name, 5, 3))
    x = torch.randn(graph.num_nodes(), 5, dtype=torch.float64) * (torch.rand(graph.num_nodes(), 5) < 0.5)
    results = []
    for kind in (x, SparseFeatures.from_dense(x)):
        output = conv(graph, kind)
        results.append([output, *torch.autograd.grad(output.square().sum(), list(conv.parameters()))])
    for dense, sparse in zip(*results, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("block_size", [1, 3])
def test_blocks_give_what_the_whole_graph_gives(name: str, block_size: int, graph: Any) -> None:
    conv, x = randomised(make_conv(name, 5, 3)), torch.randn(graph.num_nodes(), 5, dtype=torch.float64)
    with ops.in_blocks(block_size):
        in_blocks = conv(graph, x)
    assert torch.equal(in_blocks, conv(graph, x))


@pytest.mark.parametrize("name", CONVS)
def test_the_order_of_edges_plays_no_part(name: str) -> None:
    src, dst, order = torch.randint(7, (20,)), torch.randint(7, (20,)), torch.randperm(20)
    conv, x = randomised(make_conv(name, 5, 3)), torch.randn(7, 5, dtype=torch.float64)
    results = [conv(dgl.graph(edges, num_nodes=7), x) for edges in ((src, dst), (src[order], dst[order]))]
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CONVS)
def test_the_input_is_not_written_to(name: str, graph: Any) -> None:
    x = torch.randn(graph.num_nodes(), 5)
    before = x.clone()
    make_conv(name, 5, 3)(graph, x).sum().backward()
    assert torch.equal(x, before)


def test_attention_dropout_is_in_training_only() -> None:
    graph, x = dgl.graph(([0, 1, 2], [1, 2, 0])), torch.randn(3, 5)
    conv = GATConv(5, 3, attention_dropout=0.5)
    draws = torch.stack([conv(graph, x) for _ in range(20)])
    assert len(torch.unique(draws, dim=0)) > 1
    conv.eval()
    assert torch.equal(conv(graph, x), conv(graph, x))


def test_an_unknown_convolution_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown convolution 'gnc': choose from gcn, gat"):
        make_conv("gnc", 2, 2)


def test_an_unknown_merge_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown merge 'sum': choose from concat, mean"):
        GATConv(2, 2, merge="sum")


@pytest.mark.parametrize("name", CONVS)
@pytest.mark.parametrize("widths", [(0, 3), (3, 0)])
def test_impossible_widths_are_refused(name: str, widths: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="positive"):
        make_conv(name, *widths)


class Doubled(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return 2 * values


def test_value_dropout_leaves_the_attention_as_it_is() -> None:
    graph, x = dgl.graph(([0, 1, 2, 2], [1, 2, 0, 1])), torch.randn(3, 5, dtype=torch.float64)
    conv = GATConv(5, 3, heads=2, value_dropout=0.5).double()
    kept = conv.eval()(graph, x)
    conv.train()
    assert len(torch.unique(torch.stack([conv(graph, x) for _ in range(20)]), dim=0)) > 1
    conv.value_dropout = Doubled()  # type: ignore[assignment]
    torch.testing.assert_close(conv(graph, x) - conv.bias, 2 * (kept - conv.bias))
