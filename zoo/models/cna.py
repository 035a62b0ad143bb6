r"""CNA: Cluster, Normalize, Activate (Skryagin et al., NeurIPS 2024, arXiv:2412.04064).

A message-passing layer's activation function is replaced by three steps on the hidden features x of the nodes:

1. Cluster: k-means puts every node v into one of K clusters c(v), by its features alone.
2. Normalize: :math:`\hat x_v = (x_v - \mu_{c}) / \sqrt{\sigma_{c}^2 + \epsilon}`, with mean and variance per feature
   over the nodes of the cluster c = c(v).
3. Activate: :math:`y_v = R_{c}(\hat x_v)`, a learnable rational function P/Q of the cluster (`zoo.nn.rational`).

Nodes of different clusters pass through different functions, which keeps them apart in depth.

Where the authors' code differs from the paper, both can be had, but for k-means:

- `norm="cluster"` is the formula above, over the nodes of the graph at hand, in evaluation too (with a readout:
  averages from training, so that a graph's answer does not depend on its batch); `norm="row"` standardises each node's
  row over its features (unbiased variance), which is what the code does, whatever the clusters.
- `share_activation=True`: one module (one set of centroids, one set of K rationals) serves all layers, as in the code.
- The code refits the centroids every 20th call, evaluations included. Here `refit_every` counts training calls only,
  so that evaluation is a pure function; `refit_every=1` refits at each, `refit_threshold` when the clusters have
  loosened.
- The code's k-means is that of the package fast_pytorch_kmeans: with the cosine distance its centroids are means of the
  rows as they are, so that long rows count for more, and a cluster that loses its nodes gets the centroid 0. Here
  (`zoo.nn.kmeans`) they are means of rows of length 1, and such a cluster keeps its centroid. There is no option.
- The published numbers come from `distance="cosine"`, degrees (5, 4) and version A.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import LinearConv, make_conv
from zoo.nn.kmeans import DISTANCES, all_finite, assign, kmeans
from zoo.nn.norms import ClusterNorm, RowNorm
from zoo.nn.rational import Rational
from zoo.nn.sparse_linear import Features, Linear

__all__ = ["CNA", "ClusterNormalizeActivate"]

NORMS = ("cluster", "row", "none")
ACTIVATIONS = ("rational", "relu", "none")


class ClusterNormalizeActivate(nn.Module):
    """The three steps behind one convolution; also each of them alone, for ablations.

    Args:
        width: Number of features.
        num_clusters: K. With 1 nothing is clustered.
        norm: `"cluster"`, `"row"` or `"none"`, see the module.
        running_norm: `"cluster"` takes averages from training in evaluation, see `zoo.nn.norms.ClusterNorm`.
        activation: `"rational"`, `"relu"` or `"none"`.
        refit_every: Refit the centroids at every so many-th training call, the first included. 0: only at the first,
            and by `refit_threshold`.
        refit_threshold: Refit once the points' mean squared distance to their centroids has grown by this share since
            the last fit. Default: None, never for that reason.
        distance: `"euclidean"` or `"cosine"`.
        degrees: Of the rationals' numerator and denominator.
        version: Of the rationals, A to D.

    Shapes:
        input and output (num_nodes, width).
    """

    centroids: Tensor
    calls: Tensor
    spread: Tensor

    def __init__(
        self,
        width: int,
        num_clusters: int,
        *,
        norm: str = "cluster",
        running_norm: bool = False,
        activation: str = "rational",
        refit_every: int = 20,
        refit_threshold: float | None = None,
        distance: str = "euclidean",
        degrees: Sequence[int] = (5, 4),
        version: str = "A",
    ) -> None:
        super().__init__()
        check_choice("norm", norm, NORMS)
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("distance", distance, DISTANCES)
        if num_clusters < 1:
            raise ConfigError(f"num_clusters must be at least 1, got {num_clusters}")
        if refit_every < 0:
            raise ConfigError(f"refit_every must not be negative, got {refit_every}")
        if refit_threshold is not None and not refit_threshold >= 0:  # NaN is neither
            raise ConfigError(f"refit_threshold must not be negative, got {refit_threshold}")
        self.num_clusters, self.distance = num_clusters, distance
        self.refit_every, self.refit_threshold = refit_every, refit_threshold
        self.register_buffer("centroids", torch.zeros(num_clusters, width))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("spread", torch.zeros(()))
        self.norm: ClusterNorm | RowNorm | None = None
        if norm != "none":
            self.norm = RowNorm() if norm == "row" else ClusterNorm(num_clusters, width, running=running_norm)
        if activation == "rational":
            self.activate: nn.Module | None = Rational(num_clusters, degrees=degrees, version=version)
        else:
            self.activate = nn.ReLU() if activation == "relu" else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        clusters = self.cluster(x.detach())
        if self.norm is not None:
            x = self.norm(x, clusters)
        if isinstance(self.activate, Rational):
            return self.activate(x, clusters)
        return x if self.activate is None else self.activate(x)

    @torch.no_grad()
    def cluster(self, x: Tensor) -> Tensor:
        """The cluster of each node, (num_nodes,); in training mode the centroids are refitted when that is due."""
        if self.num_clusters == 1:
            return torch.zeros(len(x), dtype=torch.int64, device=x.device)
        if self.training:
            if self._refit_due(x) and all_finite(x):  # else training diverges, as the loss will tell
                self.centroids.copy_(kmeans(x, self.num_clusters, distance=self.distance))
                if self.refit_threshold is not None:
                    self.spread.copy_(self._spread(x))
                if isinstance(self.norm, ClusterNorm):
                    self.norm.forget()
            self.calls += 1
        return assign(x, self.centroids, self.distance)

    def _refit_due(self, x: Tensor) -> bool:
        if self.calls == 0 or (self.refit_every > 0 and self.calls % self.refit_every == 0):
            return True
        return self.refit_threshold is not None and bool(self._spread(x) > (1 + self.refit_threshold) * self.spread)

    def _spread(self, x: Tensor) -> Tensor:
        """Mean squared distance of the points to their centroids."""
        if self.distance == "cosine":
            x = nn.functional.normalize(x, dim=1)
        return (x - self.centroids[assign(x, self.centroids, self.distance)]).square().sum(1).mean()


@register(
    "cna",
    paper="arXiv:2412.04064",
    title="Graph Neural Networks Need Cluster-Normalize-Activate Modules",
    authors="Arseny Skryagin and Felix Divo and Mohammad Amin Ali and Devendra Singh Dhami and Kristian Kersting",
    venue="NeurIPS 2024",
)
class CNA(ZooModel):
    """A stack of convolutions with Cluster-Normalize-Activate behind each but the last.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        conv: A name from `zoo.nn.convs.CONVS`.
        num_layers: Number of convolutions in total.
        hidden: Width of the hidden layers.
        num_clusters: K.
        norm: `"cluster"` (paper), `"row"` (authors' code) or `"none"`.
        activation: `"rational"`, `"relu"` or `"none"`.
        share_activation: One module for all layers (authors' code) instead of one per layer.
        refit_every: Refit the centroids at every so many-th training call; 0: only at the first.
        refit_threshold: Refit when the clusters have loosened by this share.
        distance: Of the k-means: `"euclidean"` or `"cosine"`.
        degrees: Of the rationals' numerator and denominator.
        version: Of the rationals, A to D.
        linear_ends: A linear layer before and after the convolutions, as the authors have for regression and for
            whole graphs; CNA then stands behind every convolution. A readout implies it.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        conv: str = "gcn",
        num_layers: int = 2,
        hidden: int = 64,
        num_clusters: int = 10,
        norm: str = "cluster",
        activation: str = "rational",
        share_activation: bool = False,
        refit_every: int = 20,
        refit_threshold: float | None = None,
        distance: str = "euclidean",
        degrees: Sequence[int] = (5, 4),
        version: str = "A",
        linear_ends: bool = False,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        linear_ends = linear_ends or readout is not None  # the last convolution could not see pooled graphs
        self.conv, self.hidden, self.linear_ends = conv, hidden, linear_ends
        self.num_clusters, self.version = num_clusters, version
        self.encoder = Linear(in_feats, hidden) if linear_ends else None
        num_hidden = self.num_hidden(num_layers, head_apart=linear_ends)
        widths = [hidden if linear_ends else in_feats] + [hidden] * num_hidden
        self.convs = nn.ModuleList(make_conv(conv, widths[i], widths[i + 1]) for i in range(num_hidden))
        self.activations = nn.ModuleList(
            ClusterNormalizeActivate(
                hidden,
                num_clusters,
                norm=norm,
                running_norm=readout is not None,
                activation=activation,
                refit_every=refit_every,
                refit_threshold=refit_threshold,
                distance=distance,
                degrees=degrees,
                version=version,
            )
            for _ in range(1 if share_activation else num_hidden)
        )
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The last convolution, or the linear layer behind it."""
        if self.linear_ends:
            return LinearConv(self.hidden, num_classes)
        return make_conv(self.conv, self.hidden, num_classes)

    @property
    def wants_reverses(self) -> bool:
        """See `ZooModel`."""
        return self.conv != "linear" and not self.conv.startswith("dir-")

    @property
    def same_in_training(self) -> bool:
        """See `ZooModel`; version D draws noise in training.

        A module that serves several layers may refit its centroids in the middle of a pass: the first layers have then
        seen others than eval mode will.
        """
        fits_in_between = self.num_clusters > 1 and len(self.activations) < len(self.convs)
        return self.version != "D" and not fits_in_between

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """Each convolution's output after its Cluster-Normalize-Activate."""
        state = feat if self.encoder is None else self.encoder(feat)
        for i, conv in enumerate(self.convs):
            state = self.activations[i % len(self.activations)](conv(graph, state))
            yield state
