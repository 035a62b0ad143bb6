"""Normalisations against loops over clusters, rows and pairs; running statistics against a hand-kept average."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import assert_same_bits, snapshot
from torch import Tensor

from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.nn import norms
from zoo.nn.norms import PAIRNORM_MODES, BatchNorm, ClusterNorm, ContraNorm, LayerNorm, Norms, PairNorm, RowNorm

EPSILON = 1e-5
CLUSTERS = torch.tensor([0, 2, 0, 0, 2, 3, 2, 0])  # 1 is empty, 3 holds one node


def features(rows: int = 8) -> Tensor:
    return (5 * torch.randn(rows, 3, dtype=torch.float64) + 2).requires_grad_()


def by_cluster(x: Tensor, clusters: Tensor) -> Tensor:
    result = torch.empty_like(x)
    for c in set(clusters.tolist()):
        members = x[clusters == c]
        result[clusters == c] = (members - members.mean(0)) / (members.var(0, correction=0) + EPSILON).sqrt()
    return result


def by_row(x: Tensor) -> Tensor:
    return torch.stack([(row - row.mean()) / (row.var(correction=1) + EPSILON).sqrt() for row in x])


def assert_same_with_gradients(actual: Tensor, expected: Tensor, x: Tensor) -> None:
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)
    grads = [torch.autograd.grad(result, x, upstream)[0] for result in (actual, expected)]
    torch.testing.assert_close(grads[0], grads[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("clusters", [CLUSTERS, torch.zeros(8, dtype=torch.int64), torch.full((8,), 3)])
@pytest.mark.parametrize("running", [False, True])
def test_cluster_norm_standardises_each_cluster(clusters: Tensor, running: bool) -> None:
    x = features()
    assert_same_with_gradients(ClusterNorm(4, 3, running=running).double()(x, clusters), by_cluster(x, clusters), x)


def test_row_norm_standardises_each_row() -> None:
    x = features()
    assert_same_with_gradients(RowNorm()(x, CLUSTERS), by_row(x), x)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(lambda x: ClusterNorm(4, 3)(x, CLUSTERS), (features(),))
    assert torch.autograd.gradcheck(lambda x: RowNorm()(x, CLUSTERS), (features(),))


def test_a_node_alone_becomes_zero() -> None:
    assert ClusterNorm(4, 3).double()(features(), CLUSTERS)[5].tolist() == [0, 0, 0]


def test_features_that_do_not_vary_become_zero() -> None:
    x = torch.full((8, 3), 7.0, dtype=torch.float64)
    for result in (ClusterNorm(4, 3)(x, CLUSTERS), RowNorm()(x, CLUSTERS), RowNorm()(torch.randn(8, 1), CLUSTERS)):
        assert result.abs().max() < 1e-9


def test_the_order_of_nodes_plays_no_part() -> None:
    x, order = features().detach(), torch.randperm(8)
    norm = ClusterNorm(4, 3)
    torch.testing.assert_close(norm(x[order], CLUSTERS[order]), norm(x, CLUSTERS)[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", [ClusterNorm(4, 3), ClusterNorm(4, 3, running=True).double(), RowNorm()])
@pytest.mark.parametrize("training", [True, False])
def test_the_input_is_not_written_to(norm: torch.nn.Module, training: bool) -> None:
    x = features().detach()
    before = x.clone()
    norm.train(training)(x, CLUSTERS)
    assert torch.equal(x, before)


def test_without_running_nothing_is_stored_and_evaluation_is_training() -> None:
    norm, x = ClusterNorm(4, 3), features().detach()
    assert not norm.state_dict()
    assert torch.equal(norm.eval()(x, CLUSTERS), norm.train()(x, CLUSTERS))


def test_running_statistics_are_the_mean_over_the_batches_that_have_the_cluster() -> None:
    norm, batches = ClusterNorm(2, 3, running=True).double(), [features().detach() for _ in range(4)]
    everywhere, first_only = torch.tensor([0, 1] * 4), torch.zeros(8, dtype=torch.int64)
    clusters = [everywhere, first_only, everywhere, first_only]
    for x, c in zip(batches, clusters, strict=True):
        norm(x, c)
    for cluster in range(2):
        seen = [x[c == cluster] for x, c in zip(batches, clusters, strict=True) if (c == cluster).any()]
        mean = torch.stack([members.mean(0) for members in seen]).mean(0)
        variance = torch.stack([members.var(0, correction=0) for members in seen]).mean(0)
        x = features().detach()
        expected = (x - mean) / (variance + EPSILON).sqrt()
        actual = norm.eval()(x, torch.full((8,), cluster))
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def test_running_evaluation_does_not_depend_on_the_batch_and_changes_nothing() -> None:
    norm = ClusterNorm(4, 3, running=True).double()
    norm(features(), CLUSTERS)
    x, state = features().detach(), snapshot(norm)
    together = norm.eval()(x, CLUSTERS)
    alone = torch.cat([norm(x[i : i + 1], CLUSTERS[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-12)
    assert_same_bits(norm.state_dict(), state)


def test_late_batches_keep_a_tenth_of_the_weight() -> None:
    norm, nodes = ClusterNorm(1, 1, running=True).double(), torch.zeros(2, dtype=torch.int64)
    for _ in range(50):
        norm(torch.zeros(2, 1, dtype=torch.float64), nodes)
    norm(torch.full((2, 1), 10.0, dtype=torch.float64), nodes)
    assert norm.means.item() == pytest.approx(1)


def test_forget_starts_the_averages_anew() -> None:
    norm, first, second = ClusterNorm(4, 3, running=True).double(), features(), features()
    norm(first, CLUSTERS)
    norm.forget()
    norm(second, CLUSTERS)
    fresh = ClusterNorm(4, 3, running=True).double()
    fresh(second, CLUSTERS)
    x, present = features().detach(), CLUSTERS != 1
    assert torch.equal(norm.eval()(x, CLUSTERS)[present], fresh.eval()(x, CLUSTERS)[present])


def test_forget_without_running_does_nothing() -> None:
    norm, x = ClusterNorm(4, 3), features().detach()
    before = norm(x, CLUSTERS)
    norm.forget()
    assert torch.equal(norm(x, CLUSTERS), before)


def batch_of(graph: Any) -> tuple[Any, list[slice]]:
    """A graph between others, and the slices of their nodes."""
    others = [dgl.graph(([0, 1, 1, 2, 3], [1, 0, 2, 1, 3]), num_nodes=4), dgl.graph(([0], [0]), num_nodes=1)]
    graphs = [others[0], graph.long(), others[1]]
    bounds = torch.tensor([0, *(each.num_nodes() for each in graphs)]).cumsum(0).tolist()
    return dgl.batch(graphs), [slice(*bounds[i : i + 2]) for i in range(3)]


def by_graph(formula: Callable[[Tensor, Tensor], Tensor], x: Tensor, batch: Any, parts: list[slice]) -> Tensor:
    """A formula of a graph's states and edges (True at [receiver, sender]), for each graph alone."""
    edges = torch.zeros(len(x), len(x), dtype=torch.bool)
    edges[batch.edges()[1].long(), batch.edges()[0].long()] = True
    return torch.cat([formula(x[part], edges[part, part]) for part in parts])


def pairnorm(x: Tensor, mode: str, scale: float) -> Tensor:
    mean = torch.stack(list(x)).sum(0) / len(x)
    if mode == "PN":
        distance = sum(((row - mean) ** 2).sum() for row in x) / len(x)
        return torch.stack([scale * (row - mean) / (distance + 1e-6) ** 0.5 for row in x])
    if mode == "PN-SI":
        return torch.stack([scale * (row - mean) / (((row - mean) ** 2).sum() + 1e-6) ** 0.5 for row in x])
    return torch.stack([scale * row / ((row**2).sum() + 1e-6) ** 0.5 - mean for row in x])


def contranorm(x: Tensor, edges: Tensor, scale: float, mask_edges: bool) -> Tensor:
    similarity = torch.nn.functional.cosine_similarity(x.unsqueeze(1), x.unsqueeze(0), dim=2)
    if mask_edges:
        similarity = similarity.masked_fill(edges, -torch.inf)
    rows = []
    for i in range(len(x)):
        if mask_edges and edges[i].all():
            rows.append(x[i])
        else:
            rows.append((1 + scale) * x[i] - scale * similarity[i].softmax(0) @ x)
    return torch.stack(rows)


@pytest.mark.parametrize("mode", ["PN", "PN-SI", "PN-SCS"])
def test_pairnorm_is_the_equation_of_each_graph(mode: str, graph: Any) -> None:
    batch, parts = batch_of(graph)
    x = features(batch.num_nodes())
    expected = by_graph(lambda x, edges: pairnorm(x, mode, 3.0), x, batch, parts)
    assert_same_with_gradients(PairNorm(3.0, mode=mode)(x, batch), expected, x)


def test_pairnorm_holds_the_mean_squared_distance_of_pairs() -> None:
    x, graph = features().detach(), dgl.graph(([], []), num_nodes=8)
    assert torch.cdist(y := PairNorm(3.0)(x, graph), y).square().mean().item() == pytest.approx(2 * 3**2, rel=1e-6)


@pytest.mark.parametrize("mask_edges", [True, False])
@pytest.mark.parametrize("block_rows", [1, 3, 128])
def test_contranorm_is_the_equation_of_each_graph(
    mask_edges: bool, block_rows: int, graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(norms, "BLOCK_ROWS", block_rows)
    batch, parts = batch_of(graph)
    x = features(batch.num_nodes())
    expected = by_graph(lambda x, edges: contranorm(x, edges, 0.7, mask_edges), x, batch, parts)
    assert_same_with_gradients(ContraNorm(0.7, mask_edges=mask_edges)(x, batch), expected, x)


def test_contranorm_knows_a_graph_again_only_as_it_was() -> None:
    graph, x = dgl.graph(([0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 5, 4])), features(6).detach()

    def check(parts: list[slice], mask_edges: bool) -> None:
        expected = by_graph(lambda x, edges: contranorm(x, edges, 0.7, mask_edges), x, graph, parts)
        torch.testing.assert_close(ContraNorm(0.7, mask_edges=mask_edges)(x, graph), expected)

    check([slice(0, 6)], True)
    check([slice(0, 6)], False)
    graph.set_batch_num_nodes(torch.tensor([3, 3]))
    graph.set_batch_num_edges(torch.tensor([3, 3]))
    check([slice(0, 3), slice(3, 6)], False)
    check([slice(0, 3), slice(3, 6)], True)


@pytest.mark.parametrize("mode", ["PN", "PN-SI", "PN-SCS"])
def test_pairnorm_has_the_same_bits_with_any_number_of_threads(mode: str) -> None:
    x, graph, results = torch.randn(40_000, 8, requires_grad=True), dgl.graph(([], []), num_nodes=40_000), []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            y = PairNorm(mode=mode)(x, graph)
            results.append([y, *torch.autograd.grad(y.square().sum(1).sin().sum(), x)])
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(one, same) for one, same in zip(results[0], other, strict=True))


def test_contranorm_of_nodes_that_all_others_reach_is_the_identity() -> None:
    everyone = torch.arange(4)
    graph = dgl.graph((everyone.repeat(4), everyone.repeat_interleave(4)))
    x = features(4)
    assert_same_with_gradients(ContraNorm(mask_edges=True)(x, graph), x * 1, x)


@pytest.mark.parametrize("mask_edges", [True, False])
def test_contranorm_of_a_row_of_zeros_is_no_push_and_has_a_gradient_of_its_scale(mask_edges: bool) -> None:
    x = torch.cat([features(7).detach(), torch.zeros(1, 3, dtype=torch.float64)]).requires_grad_()
    graph = dgl.graph((range(8), range(8)))
    (grad,) = torch.autograd.grad(ContraNorm(mask_edges=mask_edges)(x, graph).sum(), x)
    assert grad.abs().max() < 100


def test_contranorm_takes_a_graph_of_one_format() -> None:
    graph, x = dgl.graph(([0, 1, 2], [1, 2, 3]), num_nodes=8), features().detach()
    expected = ContraNorm(mask_edges=True)(x, graph)
    for kind in ("csc", "csr", "coo"):
        assert torch.equal(ContraNorm(mask_edges=True)(x, graph.formats([kind])), expected)


def test_batch_norm_and_layer_norm_start_as_standardisations_of_columns_and_rows() -> None:
    x = features()
    assert_same_with_gradients(BatchNorm(3).double()(x), by_cluster(x, torch.zeros(8, dtype=torch.int64)), x)
    assert_same_with_gradients(LayerNorm(3).double()(x), by_cluster(x.t(), torch.zeros(3, dtype=torch.int64)).t(), x)


def test_batch_norm_takes_a_single_row_as_in_evaluation() -> None:
    norm, x = BatchNorm(3).double(), features(1).detach()
    norm(features().detach())
    state = snapshot(norm)
    assert torch.equal(norm(x), norm.eval()(x))
    assert_same_bits(norm.state_dict(), state)


every_name = pytest.mark.parametrize("name", list(norms.NORMS))


@every_name
def test_by_name_each_takes_states_and_graph_in_any_order_of_nodes(name: str, graph: Any) -> None:
    norm = Norms([name], 3, scale=0.5).double().eval()
    x, order = features(graph.num_nodes()).detach(), torch.randperm(graph.num_nodes())
    place = torch.argsort(order).to(graph.idtype)
    shuffled = dgl.graph(tuple(place[ends.long()] for ends in graph.edges()), num_nodes=graph.num_nodes())
    torch.testing.assert_close(norm(x[order], shuffled), norm(x, graph)[order], rtol=0, atol=1e-12)


def test_several_are_applied_one_after_the_other(graph: Any) -> None:
    x = features(graph.num_nodes()).detach()
    pair, contra = PairNorm(0.5, mode="PN-SI"), ContraNorm(0.5, mask_edges=True)
    chain = Norms(["contranorm-mask-edges", "pairnorm-si"], 3, scale=0.5)
    assert torch.equal(chain(x, graph), pair(contra(x, graph), graph))
    assert Norms([], 3)(x, graph) is x


IMPOSSIBLE: list[tuple[Callable[[], Any], str]] = [
    (lambda: PairNorm(mode="SI"), r"unknown mode 'SI': choose from PN, PN-SI, PN-SCS"),
    (lambda: PairNorm(0.0), r"PairNorm's scale must be above 0 and finite, got 0\.0"),
    (lambda: PairNorm(float("nan")), r"above 0 and finite, got nan"),
    (lambda: ContraNorm(-0.1, mask_edges=True), r"ContraNorm's scale must be at least 0 and finite, got -0\.1"),
    (lambda: ContraNorm(float("inf"), mask_edges=True), r"at least 0 and finite, got inf"),
    (lambda: Norms(["batch"], 3), r"unknown normalisation 'batch': choose from batchnorm, layernorm, pairnorm"),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE)
def test_impossible_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("mode", PAIRNORM_MODES)
def test_pairnorm_of_many_half_floats_is_that_of_floats(mode: str) -> None:
    graph, x = dgl.graph(([0], [1]), num_nodes=3000), torch.randn(3000, 3, generator=torch.Generator().manual_seed(0))
    norm, half = PairNorm(mode=mode), x.bfloat16()
    torch.testing.assert_close(norm(half, graph).float(), norm(half.float(), graph), rtol=0.02, atol=0.02)
    zero = torch.zeros(4, 3, dtype=torch.float16, requires_grad=True)
    norm(zero, dgl.graph(([0], [1]), num_nodes=4)).sum().backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


def test_a_node_alone_in_its_cluster_has_a_gradient_in_half_floats() -> None:
    x = torch.randn(3, 2).half().requires_grad_()
    ClusterNorm(2, 2)(x, torch.tensor([0, 0, 1])).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
