"""Rational activations against the printed formula, written out term by term."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from zoo.errors import ConfigError
from zoo.nn import rational
from zoo.nn.rational import VERSIONS, Rational, relu_coefficients

DEGREES = [(5, 4), (1, 1), (2, 3), (3, 2), (6, 5), (5, 7)]

# Facts of the paper's code and of the library that it uses.
PUBLISHED = {
    "A": (
        [0.029963801610813613, 0.6168978366891341, 2.37534759733888, 3.0659900472408443, 1.5246831881677423,
         0.2528070864040542],
        [-1.191550121923625, 4.4080487697236626, 0.9110357113686055, 0.34884977946384615],
    ),
    "B": (
        [0.033897129202224346, 0.4999985439606278, 1.6701363611130988, 1.9901021632350815, 0.9413089613384323,
         0.1509133373584318],
        [-2.1040152094202414e-05, 3.980247851167207, -3.166344237241501e-05, 0.30183382300945066],
    ),
    "C": (
        [0.7865035431863266, 11.601593145754968, 38.7535199511595, 46.17884158100411, 21.842701976543186,
         3.501924367528041],
        [23.103140929589287, 0.0004299501319296557, 92.356987965797, 0.000308676388304253, 7.003817416523842],
    ),
}
PUBLISHED["D"] = PUBLISHED["B"]


def formula(x: Tensor, a: Tensor, b: Tensor, version: str) -> Tensor:
    """R(x) for one function: the sums as they are printed."""
    above = torch.stack([a[j] * x**j for j in range(len(a))]).sum(0)
    first = 0 if version == "C" else 1
    terms = torch.stack([b[k - first] * x**k for k in range(first, len(b) + first)])
    if version == "A":
        return above / (1 + terms.abs().sum(0))
    return above / ((0.1 if version == "C" else 1.0) + terms.sum(0).abs())


def random_module(version: str, degrees: tuple[int, int], num_functions: int = 3) -> Rational:
    module = Rational(num_functions, degrees=degrees, version=version).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def by_loop(module: Rational, x: Tensor, clusters: Tensor) -> Tensor:
    a, b, version = module.numerator, module.denominator, module.version
    return torch.stack([formula(x[v], a[c], b[c], version) for v, c in enumerate(clusters.tolist())])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("degrees", DEGREES)
def test_values_and_gradients_are_the_formulas(version: str, degrees: tuple[int, int]) -> None:
    module = random_module(version, degrees)
    x = (2 * torch.randn(8, 5, dtype=torch.float64)).requires_grad_()
    clusters, upstream = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1]), torch.randn(8, 5, dtype=torch.float64)
    inputs = [x, module.numerator, module.denominator]
    actual, expected = module(x, clusters), by_loop(module, x, clusters)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    for one, other in zip(
        torch.autograd.grad(actual, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("degrees", [(5, 4), (2, 3)])
def test_gradcheck(version: str, degrees: tuple[int, int]) -> None:
    module = random_module(version, degrees)
    clusters = torch.tensor([2, 0, 2, 0])

    def function(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        parameters = {"numerator": numerator, "denominator": denominator}
        return torch.func.functional_call(module, parameters, (x, clusters))

    assert gradcheck(function, (torch.randn(4, 3, dtype=torch.float64).requires_grad_(), *module.parameters()))


def test_a_function_without_nodes_gets_no_gradient() -> None:
    module = random_module("A", (5, 4))
    module(torch.randn(4, 3, dtype=torch.float64), torch.tensor([2, 0, 2, 0])).sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[1].any()
        assert parameter.grad[0].any()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_initial_coefficients_are_the_published(version: str) -> None:
    numerator, denominator = relu_coefficients(version=version)
    assert (numerator.tolist(), denominator.tolist()) == PUBLISHED[version]
    module = Rational(4, version=version)
    assert torch.equal(module.numerator, numerator.float().repeat(4, 1))
    assert torch.equal(module.denominator, denominator.float().repeat(4, 1))


@pytest.mark.parametrize("degrees", [(5, 4), (2, 2), (8, 8)])
def test_a_checkpoint_is_built_without_memory_for_it(degrees: tuple[int, int]) -> None:
    with torch.device("meta"):
        module = Rational(10**12, degrees=degrees)
    assert all(parameter.is_meta for parameter in module.parameters())


def distance_from_relu(degrees: tuple[int, int], version: str) -> Tensor:
    x = torch.linspace(-3, 3, 2001, dtype=torch.float64)
    return (formula(x, *relu_coefficients(degrees, version), version) - x.relu()).abs()


@pytest.mark.parametrize("version", VERSIONS)
def test_it_starts_as_relu(version: str) -> None:
    assert distance_from_relu((5, 4), version).max() < 0.035


@pytest.mark.parametrize(
    ("degrees", "bound"),
    [((2, 2), 0.3), ((3, 2), 0.13), ((3, 3), 0.13), ((4, 4), 0.06), ((4, 6), 0.06), ((6, 3), 0.07)],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_lower_degrees_are_fitted_to_relu(version: str, degrees: tuple[int, int], bound: float) -> None:
    assert distance_from_relu(degrees, version).max() < bound


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("degrees", "same"),
    [((5, 6), (5, 4)), ((7, 4), (5, 4)), ((8, 8), (5, 4)), ((100, 100), (5, 4)), ((2, 9), (2, 4)), ((9, 1), (5, 1))],
)
def test_higher_degrees_start_as_the_same_function(
    version: str, degrees: tuple[int, int], same: tuple[int, int]
) -> None:
    x, clusters = torch.randn(50, 4, dtype=torch.float64), torch.zeros(50, dtype=torch.int64)
    higher, lower = (Rational(degrees=d, version=version).double().eval() for d in (degrees, same))
    assert higher.numerator.shape[1] == degrees[0] + 1
    assert higher.denominator.shape[1] == degrees[1] + (version == "C")
    assert torch.equal(higher(x, clusters), lower(x, clusters))


@pytest.mark.parametrize("degrees", [(5, 4), (2, 3)])
@pytest.mark.parametrize("version", VERSIONS)
def test_blocks_of_rows_give_what_one_pass_gives(
    version: str, degrees: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, clusters = random_module(version, degrees), torch.randint(3, (23,))
    x = torch.randn(23, 4, dtype=torch.float64, requires_grad=True)
    inputs, results = [x, *module.parameters()], []
    for block in (1 << 15, 20, 1):
        monkeypatch.setattr(rational, "_BLOCK", block)
        output = module(x, clusters)
        results.append([output, *torch.autograd.grad(output.square().sum(), inputs)])
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            torch.testing.assert_close(same, one, rtol=1e-12, atol=1e-12)


def test_more_rows_than_a_block_holds() -> None:
    module, clusters = random_module("A", (5, 4), 2), torch.randint(2, (17000,))
    x = torch.randn(17000, 16, dtype=torch.float64)
    assert x.numel() > rational._BLOCK
    result = module(x, clusters)
    for c in range(2):
        expected = formula(x[clusters == c], module.numerator[c], module.denominator[c], "A")
        torch.testing.assert_close(result[clusters == c], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_compiled_gradients_are_those_for_any_degrees(
    version: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, clusters = random_module(version, (5, 4)).to(dtype), torch.randint(3, (500,))
    x, upstream = torch.randn(500, 9, dtype=dtype), torch.randn(9, 500, dtype=dtype).T  # rows are not contiguous
    x[0] = 0
    x.requires_grad_()
    inputs = [x, *module.parameters()]
    compiled = torch.autograd.grad(module(x, clusters), inputs, upstream)
    monkeypatch.setattr(rational, "_has_kernel", lambda *arguments: False)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    for one, other in zip(compiled, torch.autograd.grad(module(x, clusters), inputs, upstream), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_compiled_gradients_are_not_finite_where_the_others_are_not(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, clusters = random_module(version, (5, 4), 5).float(), torch.arange(5)
    x = torch.randn(5, 40)
    x[1, 2], x[2, 3], x[3, 4] = float("nan"), float("inf"), -float("inf")
    x.requires_grad_()
    inputs = [x, *module.parameters()]
    compiled = torch.autograd.grad(module(x, clusters).sum(), inputs)
    monkeypatch.setattr(rational, "_has_kernel", lambda *arguments: False)
    for one, other in zip(compiled, torch.autograd.grad(module(x, clusters).sum(), inputs), strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())
        assert not one.isfinite().all()


def test_no_nodes_give_no_gradients() -> None:
    module, x = random_module("A", (5, 4)), torch.zeros(0, 4, dtype=torch.float64, requires_grad=True)
    grads = torch.autograd.grad(module(x, torch.zeros(0, dtype=torch.int64)).sum(), [x, *module.parameters()])
    assert [grad.shape for grad in grads] == [x.shape, module.numerator.shape, module.denominator.shape]
    assert not any(grad.any() for grad in grads)


def test_version_d_is_noisy_in_training_only() -> None:
    x, clusters = torch.randn(50, 4), torch.zeros(50, dtype=torch.int64)
    module = Rational(version="D")
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(module(x, clusters))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    state = torch.get_rng_state()
    assert torch.equal(module.eval()(x, clusters), Rational(version="B")(x, clusters))
    assert torch.equal(torch.get_rng_state(), state)


def test_version_d_changes_each_coefficient_by_a_tenth_at_most() -> None:
    module, one = Rational(degrees=(1, 1), version="D"), torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        module.numerator.copy_(torch.tensor([[1.0, 0.0]]))
        module.denominator.zero_()
    draws = torch.cat([module(torch.zeros(1, 1), one) for _ in range(300)]).squeeze(1)
    assert 0.9 <= draws.min() < 0.92
    assert 1.08 < draws.max() <= 1.1


@pytest.mark.parametrize("version", ["A", "B", "C"])
def test_training_needs_no_random_number_but_in_version_d(version: str) -> None:
    state = torch.get_rng_state()
    Rational(version=version)(torch.randn(3, 2, generator=torch.Generator()), torch.zeros(3, dtype=torch.int64))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_pole_and_no_overflow_far_out(version: str) -> None:
    x = torch.from_numpy(np.linspace(-1e4, 1e4, 2001)).unsqueeze(1).requires_grad_()
    result = random_module(version, (5, 4), 1)(x, torch.zeros(2001, dtype=torch.int64))
    (grad,) = torch.autograd.grad(result.sum(), x)
    assert result.isfinite().all()
    assert grad.isfinite().all()


def test_the_input_is_not_written_to() -> None:
    x = torch.randn(5, 3)
    before = x.clone()
    Rational(2)(x, torch.tensor([0, 1, 0, 1, 1])).sum().backward()
    assert torch.equal(x, before)


@pytest.mark.parametrize("clusters", [torch.tensor([1]), torch.zeros(4, 1, dtype=torch.int64), torch.tensor(0)])
def test_a_cluster_for_each_row_is_asked_for(clusters: Tensor) -> None:
    with pytest.raises(ConfigError, match="rows and clusters differ"):
        Rational(3)(torch.randn(4, 5), clusters)


def test_parameters_of_another_precision_than_the_input() -> None:
    module, clusters = random_module("A", (5, 4)).float(), torch.tensor([0, 1, 2])
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    gradients = torch.autograd.grad(module(x, clusters).sum(), [x, *module.parameters()])
    same = module.double()
    expected = torch.autograd.grad(same(x, clusters).sum(), [x, *same.parameters()])
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("degrees", [(5, 4), (5, 6)])  # with and without the kernel
def test_coefficients_that_start_at_zero_are_learnt(degrees: tuple[int, int]) -> None:
    module = Rational(version="A", degrees=degrees)
    with torch.no_grad():
        module.denominator[:, -1] = 0
    module(torch.rand(6, 3), torch.zeros(6, dtype=torch.int64)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.all() for parameter in module.parameters())


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown rational version 'N': choose from A, B, C, D"):
        Rational(version="N")


@pytest.mark.parametrize("degrees", [(0, 4), (5, 0), (5,), (5, 4, 3), (), (101, 4), (5, 10**9)])
def test_impossible_degrees_are_refused(degrees: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="two positive numbers up to 100"):
        Rational(degrees=degrees)


@pytest.mark.parametrize("version", VERSIONS)
def test_large_half_floats_do_not_overflow(version: str) -> None:
    module, x = Rational(2, version=version).eval(), torch.tensor([[-40.0, 12.0, 40.0], [6.0, 0.5, -12.0]])
    clusters = torch.tensor([0, 1])
    half = x.half().requires_grad_()
    found = module(half, clusters)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), module(x, clusters), rtol=1e-3, atol=1e-3)
    found.float().sum().backward()
    gradients = [part.grad for part in (half, module.numerator, module.denominator)]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
