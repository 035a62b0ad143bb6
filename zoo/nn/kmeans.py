"""k-means in plain torch: seeded, without gradients, all clusters at once (Lloyd 1982; Arthur & Vassilvitskii 2007)."""

import torch
from torch import Tensor

from zoo.errors import ConfigError, GraphError

__all__ = ["DISTANCES", "assign", "kmeans"]

DISTANCES = ("euclidean", "cosine")


def _scores(points: Tensor, centroids: Tensor, distance: str) -> Tensor:
    """(num_points, num_clusters), larger is nearer; the point's own norm, equal for all clusters, is left out."""
    if distance == "cosine":
        return points @ torch.nn.functional.normalize(centroids, dim=1).t()
    if distance == "euclidean":
        origin = centroids[0]  # far from the points, the squares below would cancel in float32
        points, centroids = points - origin, centroids - origin
        return torch.addmm(centroids.square().sum(1), points, centroids.t(), alpha=2, beta=-1)
    raise ConfigError(f"unknown distance {distance!r}: choose from {', '.join(DISTANCES)}")


@torch.no_grad()
def assign(points: Tensor, centroids: Tensor, distance: str = "euclidean") -> Tensor:
    """The nearest centroid of each point.

    Args:
        points: (num_points, width).
        centroids: (num_clusters, width).
        distance: `"euclidean"` or `"cosine"`.

    Returns:
        (num_points,) int64; ties go to the first.
    """
    return _scores(points, centroids, distance).argmax(1)


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
    if not torch.isfinite(points).all():
        raise GraphError("k-means met features that are NaN or infinite: if this is a hidden layer, use a lower lr")
    if distance == "cosine":
        points = torch.nn.functional.normalize(points, dim=1)
    centroids = _plus_plus(points, num_clusters, generator)
    threshold = tol * points.var(0, correction=0).mean()
    for _ in range(max_iter):
        members = points.new_zeros(num_clusters, len(points))
        members.scatter_(0, assign(points, centroids, distance).unsqueeze(0), 1)
        counts = members.sum(1, keepdim=True)
        means = torch.where(counts > 0, (members @ points) / counts.clamp(min=1), centroids)
        shift = (means - centroids).square().sum()
        centroids = means
        if shift <= threshold:
            break
    return centroids


def _plus_plus(points: Tensor, num_clusters: int, generator: torch.Generator | None) -> Tensor:
    """Seeds drawn one after another with probability proportional to the squared distance from those before."""
    nearest = torch.ones(len(points), dtype=points.dtype, device=points.device)
    seeds: list[Tensor] = []
    for _ in range(num_clusters):
        if not nearest.sum() > 0:  # fewer distinct points than clusters
            nearest = torch.ones_like(nearest)
        seed = points[torch.multinomial(nearest, 1, generator=generator)]
        distances = (points - seed).square().sum(1)
        nearest = torch.minimum(nearest, distances) if seeds else distances
        seeds.append(seed)
    return torch.cat(seeds)
