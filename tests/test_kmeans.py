"""k-means: as good as scikit-learn's, seeded, and sound where the points leave little to cluster."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from zoo.errors import ConfigError, GraphError
from zoo.nn.kmeans import DISTANCES, assign, kmeans


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(num_blobs: int = 5, size: int = 30, width: int = 4) -> Tensor:
    centres = 100 * torch.randn(num_blobs, width, dtype=torch.float64)
    return centres.repeat_interleave(size, 0) + torch.randn(num_blobs * size, width, dtype=torch.float64)


def distances(points: Tensor, centroids: Tensor) -> Tensor:
    return (points.unsqueeze(1) - centroids).norm(dim=2)


def inertia(points: Tensor, centroids: Tensor) -> float:
    return float(distances(points, centroids).square().min(1).values.sum())


def best_of(points: Tensor, num_clusters: int, seeds: int) -> float:
    return min(inertia(points, kmeans(points, num_clusters, generator=seeded(seed))) for seed in range(seeds))


def sklearn_inertia(points: Tensor, num_clusters: int) -> float:
    return float(KMeans(num_clusters, n_init=10, random_state=0).fit(points.numpy()).inertia_)


def test_separate_blobs_are_found_as_scikit_learn_finds_them() -> None:
    points = blobs()
    assert best_of(points, 5, 5) == pytest.approx(sklearn_inertia(points, 5), rel=1e-6)


@pytest.mark.parametrize("num_clusters", [2, 7, 14])
def test_random_points_are_clustered_as_well_as_by_scikit_learn(num_clusters: int) -> None:
    points = torch.randn(300, 5, dtype=torch.float64)
    assert best_of(points, num_clusters, 10) <= 1.05 * sklearn_inertia(points, num_clusters)


def test_each_centroid_is_the_mean_of_its_points() -> None:
    points = torch.randn(100, 3, dtype=torch.float64)
    centroids = kmeans(points, 4, tol=0)
    clusters = assign(points, centroids)
    for c in range(4):
        torch.testing.assert_close(centroids[c], points[clusters == c].mean(0), rtol=0, atol=1e-12)


def test_more_rounds_never_loosen_the_clusters() -> None:
    points = torch.randn(200, 4, dtype=torch.float64)
    rounds = [inertia(points, kmeans(points, 6, max_iter=n, tol=0, generator=seeded(3))) for n in (0, 1, 2, 5, 50)]
    assert rounds == sorted(rounds, reverse=True)
    assert rounds[-1] < rounds[0]


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_generator_alone_decides(distance: str) -> None:
    points = torch.randn(80, 4)
    state = torch.get_rng_state()
    one, same, other = (kmeans(points, 5, distance=distance, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_the_global_seed_decides() -> None:
    points = torch.randn(80, 4)
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(kmeans(points, 5))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_point_far_from_all_others_does_not_blur_them() -> None:
    points = 0.01 * torch.randn(1000, 8)
    points[::2] += 1
    points[0] = 1e6
    centroids = kmeans(points, 3, generator=seeded(0))
    assert inertia(points, centroids) < 1.05 * sklearn_inertia(points, 3)
    assert len(set(assign(points, centroids).tolist())) == 3


def test_a_sum_beyond_half_floats_is_no_infinite_feature() -> None:
    points = torch.rand(1000, 200).half()
    assert torch.isinf(points.sum())
    assert torch.isfinite(kmeans(points, 3)).all()
    points[3, 5] = torch.inf
    with pytest.raises(GraphError, match="NaN or infinite"):
        kmeans(points, 3)


def test_seeds_are_points_and_spread_out() -> None:
    points = blobs(num_blobs=4, size=50)
    for seed in range(20):
        seeds = kmeans(points, 4, max_iter=0, generator=seeded(seed))
        nearest = distances(seeds, points).min(1)
        assert nearest.values.max() == 0
        assert len({int(index) // 50 for index in nearest.indices}) == 4


def test_cosine_compares_directions_only() -> None:
    angles = torch.tensor([0.0, 0.1, 1.5, 1.6], dtype=torch.float64)
    directions = torch.stack([angles.cos(), angles.sin()], 1).repeat(10, 1)
    lengths = torch.rand(40, 1, dtype=torch.float64) * 100 + 0.01
    plain, scaled = (kmeans(x, 2, distance="cosine", generator=seeded(0)) for x in (directions, directions * lengths))
    torch.testing.assert_close(plain, scaled, rtol=0, atol=1e-12)
    clusters = assign(directions * lengths, scaled * torch.tensor([[1e-3], [1e3]]), "cosine")
    assert torch.equal(clusters == clusters[0], torch.tensor([True, True, False, False]).repeat(10))


@pytest.mark.parametrize("distance", DISTANCES)
def test_assign_picks_the_nearest(distance: str) -> None:
    points, centroids = torch.randn(50, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    expected = []
    for point in points:
        if distance == "cosine":
            away = [1 - torch.dot(point, c) / (point.norm() * c.norm()) for c in centroids]
        else:
            away = [(point - c).norm() for c in centroids]
        expected.append(int(np.argmin([float(a) for a in away])))
    assert assign(points, centroids, distance).tolist() == expected


@pytest.mark.parametrize("distance", DISTANCES)
def test_ties_go_to_the_first(distance: str) -> None:
    centroids = torch.tensor([[0.0, 2.0], [2.0, 0.0], [0.0, 2.0]])
    points = torch.tensor([[1.0, 1.0], [0.0, 3.0], [0.0, 0.0], [3.0, 0.0]])  # their mean has no rounding error
    assert assign(points, centroids, distance).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("distance", DISTANCES)
def test_fewer_distinct_points_than_clusters(distance: str) -> None:
    points = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(3, 1)
    centroids = kmeans(points, 5, distance=distance)
    assert centroids.shape == (5, 2)
    assert {tuple(row) for row in centroids.tolist()} == {(1.0, 0.0), (0.0, 1.0)}
    assert torch.equal(centroids[assign(points, centroids, distance)], points)


@pytest.mark.parametrize("points", [torch.ones(4, 2), torch.zeros(4, 2), torch.ones(1, 2)])
@pytest.mark.parametrize("distance", DISTANCES)
def test_points_that_are_all_the_same(points: Tensor, distance: str) -> None:
    centroids = kmeans(points, 3, distance=distance)
    expected = torch.nn.functional.normalize(points, dim=1) if distance == "cosine" else points
    torch.testing.assert_close(centroids, expected[:1].repeat(3, 1))


def test_one_cluster_is_the_mean() -> None:
    points = torch.randn(30, 4, dtype=torch.float64)
    torch.testing.assert_close(kmeans(points, 1), points.mean(0, keepdim=True), rtol=0, atol=1e-12)


def test_no_gradient_and_no_write_to_the_points() -> None:
    points = torch.randn(20, 3, requires_grad=True)
    before = points.detach().clone()
    assert not kmeans(points, 3, distance="cosine").requires_grad
    assert torch.equal(points.detach(), before)


@pytest.mark.parametrize("function", [assign, kmeans])
def test_an_unknown_distance_is_refused(function: object) -> None:
    points = torch.randn(4, 2)
    with pytest.raises(ConfigError, match="unknown distance 'manhattan': choose from euclidean, cosine"):
        if function is assign:
            assign(points, points, "manhattan")
        else:
            kmeans(points, 2, distance="manhattan")
