"""Normalisations without learnable parameters."""

import torch
from torch import Tensor, nn

__all__ = ["ClusterNorm", "RowNorm"]

EPSILON = 1e-5


class ClusterNorm(nn.Module):
    """Standardises each feature over the nodes of each cluster, all clusters at once.

    y_v = (x_v - mean_c) / √(var_c + ε), with the biased variance; a node alone in its cluster becomes 0.

    Args:
        num_clusters: K.
        width: Number of features.
        running: In evaluation, take the averages of the statistics seen in training (as batch normalisation does)
            instead of those of the nodes at hand: a graph's answer then does not depend on its batch.

    Shapes:
        input x (num_nodes, width) and clusters (num_nodes,) int64; output as x.
    """

    means: Tensor
    variances: Tensor
    updates: Tensor

    def __init__(self, num_clusters: int, width: int, *, running: bool = False) -> None:
        super().__init__()
        self.num_clusters, self.running = num_clusters, running
        if running:
            self.register_buffer("means", torch.zeros(num_clusters, width))
            self.register_buffer("variances", torch.ones(num_clusters, width))
            self.register_buffer("updates", torch.zeros(num_clusters, 1))

    def forward(self, x: Tensor, clusters: Tensor) -> Tensor:
        """See the class."""
        if self.running and not self.training:
            scale = (self.variances + EPSILON).rsqrt()
            return (x - self.means.index_select(0, clusters)) * scale.index_select(0, clusters)
        counts = torch.bincount(clusters, minlength=self.num_clusters).unsqueeze(1)
        means = _means(x, clusters, counts)
        centred = x - means.index_select(0, clusters)
        variances = _means(centred * centred, clusters, counts)
        if self.running:
            self._update(means.detach(), variances.detach(), counts > 0)
        return centred * (variances + EPSILON).rsqrt().index_select(0, clusters)

    def forget(self) -> None:
        """Starts the running averages anew: the clusters are no longer the same."""
        if self.running:
            self.updates.zero_()

    def _update(self, means: Tensor, variances: Tensor, present: Tensor) -> None:
        """A plain average over the first ten batches, then an exponential one."""
        weight = present / (self.updates + 1).clamp(max=10)
        self.means.lerp_(means, weight)
        self.variances.lerp_(variances, weight)
        self.updates += present

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.num_clusters}, running={self.running}"


def _means(x: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
    """Of each cluster's rows, (num_clusters, width); 0 for an empty one."""
    return x.new_zeros(len(counts), x.shape[1]).index_add(0, clusters, x) / counts.clamp(min=1)


class RowNorm(nn.Module):
    """Standardises each node's row over its features, with the unbiased variance (the CNA authors' code).

    Shapes:
        input x (num_nodes, width), and clusters, which play no part; output as x.
    """

    def forward(self, x: Tensor, clusters: Tensor) -> Tensor:
        """See the class."""
        width = x.shape[1]
        # layer_norm divides by the biased variance plus its ε; the unbiased one is width / (width - 1) times as large.
        ratio = max(1, width - 1) / width
        scale = x.new_full((width,), ratio**0.5)
        return nn.functional.layer_norm(x, (width,), scale, eps=EPSILON * ratio)
