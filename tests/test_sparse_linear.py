"""Sparse features: the same products, gradients and dropout as dense ones, for what is not zero."""

import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.nn.sparse_linear import DROPOUT_BLOCK, MAX_DENSITY, Dropout, Linear, SparseFeatures, compress


def bag_of_words(num_nodes: int = 20, in_feats: int = 30, density: float = 0.1) -> Tensor:
    """Random values at random places; the first row and the last column are empty."""
    feat = torch.randn(num_nodes, in_feats, dtype=torch.float64)
    feat *= torch.rand(num_nodes, in_feats) < density
    feat[0], feat[:, -1] = 0, 0
    return feat


@pytest.mark.parametrize("feat", [bag_of_words(), torch.zeros(3, 4).double(), torch.ones(1, 1).double()])
def test_both_orders_hold_the_dense_matrix(feat: Tensor) -> None:
    sparse = SparseFeatures.from_dense(feat)
    assert torch.equal(sparse.csr.to_dense(), feat)
    assert torch.equal(sparse.transpose.to_dense(), feat.t())
    assert sparse.shape == feat.shape


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("init", ["torch", "glorot"])
def test_linear_gives_the_same_for_sparse_and_dense(bias: bool, init: str) -> None:
    feat, layer = bag_of_words(), Linear(30, 5, bias=bias, init=init).double()
    upstream = torch.randn(20, 5, dtype=torch.float64)
    results = []
    for kind in (feat, SparseFeatures.from_dense(feat)):
        output = layer(kind)
        results.append([output, *torch.autograd.grad(output, list(layer.parameters()), upstream)])
    expected = feat @ layer.weight.t() + (0 if layer.bias is None else layer.bias)
    torch.testing.assert_close(results[0][0], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(results[0][1], upstream.t() @ feat, rtol=0, atol=1e-12)
    for dense, sparse in zip(*results, strict=True):
        torch.testing.assert_close(sparse, dense, rtol=0, atol=1e-12)


def test_the_sparse_product_passes_gradcheck() -> None:
    sparse = SparseFeatures.from_dense(bag_of_words(5, 6, 0.4))
    layer = Linear(6, 2).double()

    def product(weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (sparse,))

    assert torch.autograd.gradcheck(product, tuple(layer.parameters()))


def test_new_values_reach_the_transpose() -> None:
    sparse = SparseFeatures.from_dense(bag_of_words())
    changed = sparse.with_values(torch.arange(1.0, len(sparse.csr.values()) + 1))
    assert torch.equal(changed.transpose.to_dense(), changed.csr.to_dense().t())
    assert torch.equal(changed.csr.to_dense() != 0, sparse.csr.to_dense() != 0)


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_dropout_draws_for_the_non_zeros_and_scales_the_rest(p: float) -> None:
    feat = bag_of_words(200, 100)
    dropped = Dropout(p)(SparseFeatures.from_dense(feat))
    values = dropped.csr.to_dense()
    kept = values != 0
    assert not kept[feat == 0].any()
    torch.testing.assert_close(values[kept], feat[kept] / (1 - p))
    share, count = kept.sum() / (feat != 0).sum(), (feat != 0).sum()
    assert abs(share - (1 - p)) < 5 * (p * (1 - p) / count).sqrt()
    assert torch.equal(dropped.transpose.to_dense(), values.t())


def test_dropout_follows_the_seed() -> None:
    sparse, dropout = SparseFeatures.from_dense(bag_of_words()), Dropout(0.5)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(dropout(sparse).csr.values())
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("shape", [(0, 3), (7, 3), (DROPOUT_BLOCK // 8 + 1, 2, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_keeps_where_one_stream_of_float64_draws_says(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    feat = torch.randn(shape, dtype=dtype, requires_grad=True)
    torch.manual_seed(1)
    output = Dropout(0.3)(feat)
    torch.manual_seed(1)
    scale = (torch.rand(shape, dtype=torch.float64) < 0.7).to(dtype) / 0.7
    assert torch.equal(output, feat * scale)
    assert torch.equal(torch.autograd.grad(output, feat, torch.ones_like(feat))[0], scale)


def test_gradients_after_dropout_are_those_of_the_dropped_features() -> None:
    dropped, layer = Dropout(0.5)(SparseFeatures.from_dense(bag_of_words())), Linear(30, 4).double()
    upstream = torch.randn(20, 4, dtype=torch.float64)
    (grad,) = torch.autograd.grad(layer(dropped), layer.weight, upstream)
    torch.testing.assert_close(grad, upstream.t() @ dropped.csr.to_dense(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_dropout_does_nothing_in_evaluation_or_at_zero(kind: str) -> None:
    feat = bag_of_words() if kind == "dense" else SparseFeatures.from_dense(bag_of_words())
    assert Dropout(0.9).eval()(feat) is feat
    assert Dropout(0.0)(feat) is feat


def test_dropout_leaves_its_input_as_it_is() -> None:
    sparse = SparseFeatures.from_dense(bag_of_words())
    before = sparse.csr.values().clone()
    Dropout(0.5)(sparse)
    assert torch.equal(sparse.csr.values(), before)


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_an_impossible_dropout_is_refused(p: float) -> None:
    with pytest.raises(ConfigError, match=f"got {p}"):
        Dropout(p)


def test_compress_decides_by_density() -> None:
    feat = torch.zeros(10, 20)
    feat.view(-1)[: int(200 * MAX_DENSITY)] = 1
    assert isinstance(compress(feat), SparseFeatures)
    denser = feat.clone()
    denser.view(-1)[int(200 * MAX_DENSITY)] = 1
    assert compress(denser) is denser


def test_compress_works_once_per_content() -> None:
    feat = bag_of_words()
    first = compress(feat)
    assert compress(feat) is first
    feat[3, 3] = 7
    second = compress(feat)
    assert isinstance(second, SparseFeatures)
    assert torch.equal(second.csr.to_dense(), feat)


def test_what_needs_a_gradient_stays_dense() -> None:
    feat = bag_of_words().requires_grad_()
    assert compress(feat) is feat


def test_features_met_in_inference_mode_can_be_trained_on() -> None:
    feat, layer, dropout = bag_of_words().float(), Linear(30, 2), Dropout(0.5)
    with torch.inference_mode():
        layer(compress(feat))
    layer(dropout(compress(feat))).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.any()


@pytest.mark.parametrize(("init", "bound"), [("torch", 400**-0.5), ("glorot", (6 / 500) ** 0.5)])
def test_weights_start_uniform_within_the_bound_of_their_init(init: str, bound: float) -> None:
    layer = Linear(400, 100, init=init)
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert layer.bias is not None
    assert (init == "torch") == bool(layer.bias.any())


@pytest.mark.parametrize("arguments", [(0, 3), (3, 0), (-1, 2)])
def test_impossible_widths_are_refused(arguments: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"positive, got {arguments[0]} and {arguments[1]}"):
        Linear(*arguments)


def test_an_unknown_init_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown init 'xavier': choose from torch, glorot"):
        Linear(2, 2, init="xavier")
