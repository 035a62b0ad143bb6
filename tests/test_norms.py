"""Normalisations against loops over clusters and rows; running statistics against a hand-kept average."""

import pytest
import torch
from torch import Tensor

from zoo.nn.norms import ClusterNorm, RowNorm

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
    x, state = features().detach(), {name: value.clone() for name, value in norm.state_dict().items()}
    together = norm.eval()(x, CLUSTERS)
    alone = torch.cat([norm(x[i : i + 1], CLUSTERS[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-12)
    assert all(torch.equal(value, state[name]) for name, value in norm.state_dict().items())


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
