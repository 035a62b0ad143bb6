"""k-means in plain torch: seeded, without gradients, all clusters at once (Lloyd 1982; Arthur & Vassilvitskii 2007)."""

import torch
from torch import Tensor

from zoo._checks import check_choice
from zoo.errors import GraphError

__all__ = ["DISTANCES", "all_finite", "assign", "kmeans"]

DISTANCES = ("euclidean", "cosine")


def _scores(points: Tensor, centroids: Tensor, distance: str) -> Tensor:
    """(num_clusters, num_points), larger is nearer; the point's own norm, equal for all clusters, is left out."""
    check_choice("distance", distance, DISTANCES)
    if distance == "cosine":
        return torch.nn.functional.normalize(centroids, dim=1) @ points.t()
    origin = points.mean(0)  # far from the points, the squares below would cancel in float32
    points, centroids = points - origin, centroids - origin
    return torch.addmm(_squares(centroids).unsqueeze(1), centroids, points.t(), alpha=2, beta=-1)


def all_finite(points: Tensor) -> bool:
    """Whether all features are finite, and so is their sum in float32, which half floats would overflow."""
    return bool(torch.isfinite(points.sum(dtype=torch.promote_types(points.dtype, torch.float32))))


def _squares(points: Tensor) -> Tensor:
    """Squared norms, (num_points,)."""
    return torch.linalg.vecdot(points, points)


@torch.no_grad()
def assign(points: Tensor, centroids: Tensor, distance: str = "euclidean") -> Tensor:
    """The nearest centroid of each point.

    Args:
        points: (num_points, width).
        centroids: (num_clusters, width).
        distance: `"euclidean"` or `"cosine"`.

    Returns:
        (num_points,) int64; of centroids that are equally near but for rounding, any.
    """
    return _scores(points, centroids, distance).max(0).indices  # argmax(0) is much slower


@torch.no_grad()
def kmeans(
    points: Tensor,
    num_clusters: int,
    *,
    distance: str = "euclidean",
    max_iter: int = 100,
    tol: float = 1e-4,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Lloyd's algorithm from k-means++ seeds.

    With the cosine distance, points and centroids are compared by direction, and a centroid is the mean of its
    points. A cluster that loses all its points keeps its centroid.

    Args:
        points: (num_points, width).
        num_clusters: May exceed the number of distinct points: then some centroids coincide.
        distance: `"euclidean"` or `"cosine"`.
        max_iter: Most rounds.
        tol: Stops once the centroids' squared shift is at most `tol` times the features' mean variance.
        generator: Draws the seeds. Default: torch's own.

    Returns:
        Centroids, (num_clusters, width).

    Raises:
        GraphError: A point is not finite.
    """
    if not all_finite(points):
        raise GraphError("k-means met features that are NaN or infinite: if this is a hidden layer, use a lower lr")
    if distance == "cosine":
        points = torch.nn.functional.normalize(points, dim=1)
    # Far from the origin, the squares below would cancel in float32. A single point may lie far from all others, too,
    # but not if all have length 1.
    offsets = points - (points[0] if distance == "cosine" else points.mean(0))
    squares = _squares(offsets)
    centroids = points[_plus_plus(offsets, squares, num_clusters, generator)]
    threshold = tol * _mean_variance(offsets, squares)
    for _ in range(max_iter):
        nearest = assign(points, centroids, distance)
        counts = torch.bincount(nearest, minlength=num_clusters).unsqueeze(1)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, points)
        means = torch.where(counts > 0, sums / counts.clamp(min=1), centroids)
        shift = (means - centroids).square().sum()
        centroids = means
        if shift <= threshold:
            break
    return centroids


def _mean_variance(points: Tensor, squares: Tensor) -> Tensor:
    """Of the features: their mean square less their squared mean, for `Tensor.var` along rows is slow."""
    mean = points.mean(0)
    return (squares.mean() - mean @ mean) / len(mean)


def _plus_plus(points: Tensor, squares: Tensor, num_clusters: int, generator: torch.Generator | None) -> Tensor:
    """Indices of seeds, drawn one by one with probability proportional to the squared distance from those before."""
    nearest = torch.ones_like(squares)
    seeds: list[Tensor] = []
    for _ in range(num_clusters):
        if not nearest.sum() > 0:  # fewer distinct points than clusters
            nearest = torch.ones_like(nearest)
        seed = torch.multinomial(nearest, 1, generator=generator)
        distances = (squares + squares[seed] - 2 * (points @ points[seed[0]])).clamp_(min=0)
        distances[seed] = 0
        nearest = torch.minimum(nearest, distances) if seeds else distances
        seeds.append(seed)
    return torch.cat(seeds)
