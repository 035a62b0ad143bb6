r"""SBP: structural balance propagation (Wang, Wu, Cheng, Wang, 2025, arXiv:2502.11394).

A signed graph pulls a node towards its neighbours in A⁺ and pushes it away from those in A⁻. One step is

.. math:: X^{(k+1)} = \mathrm{LN}\bigl[(1 - \lambda)\, X^{(k)}
          + \lambda\, (\alpha \hat A^+ X^{(k)} - \beta \hat A^- X^{(k)})\bigr], \qquad
          \hat A^- = \mathrm{softmax}(A^-)

with Â⁺ the normalised adjacency, the softmax over each row, and LN a layer normalisation without parameters, which
bounds the states. Where A⁻ keeps groups apart and A⁺ holds their members together, depth does not make all alike.

- `LabelSBP`: A⁻ of two nodes is 1 where their training labels differ, -1 where they agree, 0 where one is unknown.
- `FeatureSBP`: A⁻ = -X⁽⁰⁾ X⁽⁰⁾ᵀ, X⁽⁰⁾ the features.

The display formulas of the paper were not at hand, nor its code: the step is read from its prose. What the prose leaves
open is an option: Â⁺ (`adjacency`; the prose has the row-stochastic one), where LN stands (`norm_after`), λ (`lam`),
α (`alpha`), β (`beta`), and on a GCN what W acts on (`skip_weights`). Three backbones, in none of which the head is
signed:

- `"sgc"`: steps on the features, and a linear layer behind them;
- `"gcn"`: H ← ReLU(LN[(1 - λ) H + λ (α Â⁺ - β Â⁻) H W]), and a graph convolution by Â⁺ behind them, as behind the
  normalisations of the comparison. In the first layer, whose H has another width, the update (α Â⁺ - β Â⁻) H W stands
  alone, without λ. Without `skip_weights`, W and the dropout before it act on what is kept, too: H ← ReLU(step(H W)).
  H W has a bias, which a step propagates with it; with `skip_weights`, the row-stochastic Â⁺ and α = β it cancels out;
- `"gcnii"`: GCNII (`zoo.models.gcnii`), where a step takes the place of ÂH.

A row of softmax(A⁻) has three values for `LabelSBP`, so that sums over classes are all it takes, O(n · d), and nothing
of size n × n. For `FeatureSBP` the product is attention. For graphs with at most `KEPT` pairs of nodes softmax(A⁻), the
same in all layers, is kept as a matrix, and for larger ones it is made in tiles, anew in every layer: O(n · d), too.

For large graphs (`scalable`) the paper changes A⁻: `LabelSBP` takes out the edges between different training labels and
repels nothing; `FeatureSBP` repels by X softmax(-XᵀX), with a (d, d) matrix. X is here what the step propagates, on a
GCN H W: the features have another width.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo import ops
from zoo._cache import latest, per_tensor
from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.errors import ConfigError, GraphError
from zoo.model import ZooModel
from zoo.models import register
from zoo.nn.convs import GCNConv, LinearConv, propagation
from zoo.nn.residual_mixing import ResidualMixing
from zoo.nn.sparse_linear import Dropout, Features, Linear, constant, dense

__all__ = ["FeatureSBP", "LabelSBP"]

BACKBONES = ("sgc", "gcn", "gcnii")
NORMS = ("each", "last", "none")
KEPT = 1 << 24  # up to so many entries of softmax(A⁻) are kept: 64 MB, 4096 nodes
TILE = 1 << 22  # entries of a tile: 16 MB

Product = Callable[[Tensor], Tensor]  # takes the nodes' states to a matrix times them
Step = Callable[[Tensor | None, Tensor], Tensor]  # of X as (1 - λ) weighs it, None for the update alone, and as moved


class SBP(ZooModel):
    """What both readings of A⁻ share; their arguments."""

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        backbone: str = "gcn",
        num_layers: int = 2,
        hidden: int = 32,
        dropout: float = 0.5,
        lam: float = 0.5,
        alpha: float = 1.0,
        beta: float = 1.0,
        adjacency: str = "row",
        norm_after: str = "each",
        scalable: bool = False,
        skip_weights: bool = True,
        residual: float = 0.1,
        mapping: float = 0.5,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        super().__init__(in_feats, num_classes, readout=readout, transforms=transforms)
        check_choice("backbone", backbone, BACKBONES)
        propagation(adjacency)  # an unknown one is told here
        check_choice("norm_after", norm_after, NORMS)
        if not 0 < lam <= 1:
            raise ConfigError(f"lam must be above 0 and at most 1, got {lam}")
        if not (0 <= alpha < math.inf and 0 <= beta < math.inf):
            raise ConfigError(f"alpha and beta must not be negative, got {alpha} and {beta}")
        if not (0 <= residual <= 1 and 0 <= mapping < math.inf):
            raise ConfigError(f"residual is from 0 to 1, mapping not negative: got {residual} and {mapping}")
        self.backbone, self.adjacency, self.norm_after, self.scalable = backbone, adjacency, norm_after, scalable
        self.lam, self.alpha, self.beta, self.skip_weights = float(lam), float(alpha), float(beta), skip_weights
        self.num_steps = self.num_hidden(num_layers)
        self.width = in_feats if backbone == "sgc" else hidden
        self.dropout = Dropout(dropout)
        if backbone == "gcn":
            widths = [in_feats] + [hidden] * self.num_steps
            self.linears = nn.ModuleList(Linear(before, after, init="glorot") for before, after in pairwise(widths))
        if backbone == "gcnii":
            self.embed = Linear(in_feats, hidden)
            betas = [math.log(mapping / depth + 1) for depth in range(1, self.num_steps + 1)]
            self.convs = nn.ModuleList(
                ResidualMixing(hidden, alpha=residual, beta=beta_l, variant=False) for beta_l in betas
            )
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """A linear layer, or without a readout a GCN's last convolution, by Â⁺."""
        if self.backbone == "gcn" and self.readout is None:
            return GCNConv(self.width, num_classes, adjacency=self.adjacency)
        return LinearConv(self.width, num_classes)

    def forward(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """See `ZooModel`. Steps on the features are taken once."""
        if self.backbone != "sgc" or self.readout is not None:
            return super().forward(graph, feat)
        return self.head(graph, self.encode_once(graph, feat, lambda: (*self._options(), self.signs(graph))))

    def _options(self) -> tuple[Any, ...]:
        return self.num_steps, self.lam, self.alpha, self.beta, self.adjacency, self.norm_after, self.scalable

    @abstractmethod
    def signs(self, graph: dgl.DGLGraph) -> bytes:
        """What A⁻ depends on beside the features."""

    @property
    def same_in_training(self) -> bool:
        """See `ZooModel`."""
        return self.backbone == "sgc" or self.dropout.p == 0

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """The states after each step; but for `"sgc"` after a ReLU, and the dropout before the next layer."""
        layers = {"sgc": self._sgc, "gcn": self._gcn, "gcnii": self._gcnii}[self.backbone]
        return layers(feat, self._steps(graph, feat))

    def _sgc(self, feat: Features, steps: Sequence[Step]) -> Iterator[Tensor]:
        state = dense(feat)
        for step in steps:
            state = step(state, state)
            yield state

    def _gcn(self, feat: Features, steps: Sequence[Step]) -> Iterator[Tensor]:
        state, kept = self.dropout(feat), None
        for step, linear in zip(steps, self.linears, strict=True):
            weighted = linear(state)
            kept = nn.functional.relu(step(kept if self.skip_weights else weighted, weighted))
            state = self.dropout(kept)
            yield state

    def _gcnii(self, feat: Features, steps: Sequence[Step]) -> Iterator[Tensor]:
        first = nn.functional.relu(self.embed(self.dropout(feat)))
        state = self.dropout(first)
        for step, conv in zip(steps, self.convs, strict=True):
            state = self.dropout(nn.functional.relu(conv(step(state, state), first)))
            yield state

    def _steps(self, graph: dgl.DGLGraph, feat: Features) -> Sequence[Step]:
        attracted, repelled = self.attraction(graph), self.repulsion(graph, feat)

        def step(kept: Tensor | None, state: Tensor) -> Tensor:
            update = self.alpha * attracted(state)
            if repelled is not None:
                update = torch.add(update, repelled(state), alpha=-self.beta)
            return update if kept is None else ops.lerp(kept, update, self.lam)

        def normalised_step(kept: Tensor | None, state: Tensor) -> Tensor:
            return nn.functional.layer_norm(step(kept, state), state.shape[1:])

        last = step if self.norm_after == "none" else normalised_step
        others = normalised_step if self.norm_after == "each" else step
        return [others] * (self.num_steps - 1) + [last]

    def attraction(self, graph: dgl.DGLGraph) -> Product:
        """The product with Â⁺."""
        propagate = propagation(self.adjacency)
        return lambda state: propagate(graph, state)

    @abstractmethod
    def repulsion(self, graph: dgl.DGLGraph, feat: Features) -> Product | None:
        """The product with Â⁻, None if it is 0."""


@register(
    "label-sbp",
    paper="arXiv:2502.11394",
    title="A Signed Graph Approach to Understanding and Mitigating Oversmoothing in GNNs",
    authors="Jiaqi Wang and Xinyi Wu and James Cheng and Yifei Wang",
    venue="NeurIPS 2025",
)
class LabelSBP(SBP):
    """Nodes of different training labels repel one another.

    A graph brings its labels as ndata `label` (class numbers) and `train_mask` (bool). A label outside the mask never
    enters; where either is missing no label is known, and every node repels every other alike.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; of regression and of several labels there are no classes to repel by.
        backbone: `"gcn"`, `"sgc"` or `"gcnii"`, see the module.
        num_layers: Number of signed steps, and without a readout one more, for the head.
        hidden: Width of the hidden layers; `"sgc"` has none.
        dropout: Before every layer; `"sgc"` has none.
        lam: λ, above 0 and at most 1; without effect in the first layer of a `"gcn"` with `skip_weights`.
        alpha: α.
        beta: β; without effect if `scalable`.
        adjacency: Â⁺: `"row"`, D⁻¹A, or `"symmetric"`, D^(-1/2) A D^(-1/2); self-loops are a transform of the data.
        norm_after: LN after `"each"` step, the `"last"` only, or `"none"`.
        scalable: The paper's variant for large graphs, see the module.
        skip_weights: For `"gcn"`: whether the (1 - λ) H that a step keeps skips the layer's weights and dropout.
        residual: α of GCNII.
        mapping: λ of GCNII.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    node_data = ("feat", "label", "train_mask")

    def signs(self, graph: dgl.DGLGraph) -> bytes:
        """See `SBP`: the known labels."""
        return self._known_classes(graph).cpu().numpy().tobytes()

    def attraction(self, graph: dgl.DGLGraph) -> Product:
        """See `SBP`; if `scalable`, without the edges between different known labels."""
        return super().attraction(self._without_disagreement(graph) if self.scalable else graph)

    def _without_disagreement(self, graph: dgl.DGLGraph) -> dgl.DGLGraph:
        """A graph of the edges whose ends do not have known and different labels, made once for each labelling."""
        if "label" not in graph.ndata:  # no label is known
            return graph

        def compute() -> dgl.DGLGraph:
            classes = self._known_classes(graph)
            senders, receivers = ops.with_coo(graph).edges()
            first, second = classes[senders.long()], classes[receivers.long()]
            kept = (first == second) | (torch.maximum(first, second) == self.num_classes)
            return dgl.graph((senders[kept], receivers[kept]), num_nodes=graph.num_nodes())

        return latest(graph.ndata["label"], graph, (self.num_classes, self.signs(graph)), compute)

    def repulsion(self, graph: dgl.DGLGraph, feat: Features) -> Product | None:
        """See `SBP`. Rows of softmax(A⁻) are alike for all nodes of a class, and so are their columns."""
        if self.scalable:
            return None
        classes = self._known_classes(graph)
        groups = self.num_classes + 1  # the last one holds the nodes whose label is unknown
        parameter = next(self.parameters())
        sizes = ops.batch_sizes(graph, parameter.device)
        rows = classes.to(parameter.device) + groups * torch.repeat_interleave(sizes)

        def sums(state: Tensor) -> Tensor:
            """For each group exp(A⁻) times the states: (num_graphs, groups, width)."""
            of_groups = state.new_zeros(len(sizes) * groups, state.shape[1]).index_add(0, rows, state)
            own, unknown = of_groups.view(len(sizes), groups, -1).split([self.num_classes, 1], dim=1)
            known = own.sum(1, keepdim=True)
            return torch.cat([math.e * (known - own) + own / math.e + unknown, known + unknown], dim=1)

        totals = sums(parameter.new_ones(len(rows), 1))
        return lambda state: (sums(state) / totals).flatten(0, 1).index_select(0, rows)

    def _known_classes(self, graph: dgl.DGLGraph) -> Tensor:
        """The class of every node in the train mask, `num_classes` for the others; (num_nodes,)."""
        label, mask = graph.ndata.get("label"), graph.ndata.get("train_mask")
        if label is None or mask is None:
            return torch.full((graph.num_nodes(),), self.num_classes, device=graph.device)
        if mask.dtype != torch.bool or label.shape != mask.shape or label.dim() != 1 or label.is_floating_point():
            raise GraphError(
                f"label is {label.dtype} of shape {tuple(label.shape)}, train_mask {mask.dtype} of shape "
                f"{tuple(mask.shape)}: expected a class number and a bool for each node"
            )
        known = label[mask]
        if len(known) and not 0 <= int(known.min()) <= int(known.max()) < self.num_classes:
            raise GraphError(f"a training label is not from 0 to {self.num_classes - 1}, the classes of this model")
        return torch.where(mask, label.long(), self.num_classes)


@register(
    "feature-sbp",
    paper="arXiv:2502.11394",
    title="A Signed Graph Approach to Understanding and Mitigating Oversmoothing in GNNs",
    authors="Jiaqi Wang and Xinyi Wu and James Cheng and Yifei Wang",
    venue="NeurIPS 2025",
)
class FeatureSBP(SBP):
    """Nodes repel one another by how little their features agree; the test nodes' features take part.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        backbone: `"gcn"`, `"sgc"` or `"gcnii"`, see the module.
        num_layers: Number of signed steps, and without a readout one more, for the head.
        hidden: Width of the hidden layers; `"sgc"` has none.
        dropout: Before every layer; `"sgc"` has none.
        lam: λ, above 0 and at most 1; without effect in the first layer of a `"gcn"` with `skip_weights`.
        alpha: α.
        beta: β.
        adjacency: Â⁺: `"row"`, D⁻¹A, or `"symmetric"`, D^(-1/2) A D^(-1/2); self-loops are a transform of the data.
        norm_after: LN after `"each"` step, the `"last"` only, or `"none"`.
        scalable: The paper's variant for large graphs, see the module.
        skip_weights: For `"gcn"`: whether the (1 - λ) H that a step keeps skips the layer's weights and dropout.
        residual: α of GCNII.
        mapping: λ of GCNII.
        readout: See `ZooModel`.
        transforms: See `ZooModel`.
    """

    def signs(self, graph: dgl.DGLGraph) -> bytes:
        """See `SBP`: nothing."""
        return b""

    def repulsion(self, graph: dgl.DGLGraph, feat: Features) -> Product:
        """See `SBP`; of each graph of a batch apart."""
        sizes = ops.batch_sizes(graph, graph.device).tolist()
        if self.scalable:
            return lambda state: torch.cat([part @ _softmax_of_products(part) for part in state.split(sizes)])
        if sum(size**2 for size in sizes) <= KEPT:
            matrices = _repelling(feat, sizes)
            return lambda state: torch.cat(
                [matrix @ part for matrix, part in zip(matrices, state.split(sizes), strict=True)]
            )
        starts = dense(feat).split(sizes)
        return lambda state: torch.cat(
            [_repelled_in_tiles(*parts) for parts in zip(starts, state.split(sizes), strict=True)]
        )


def _softmax_of_products(state: Tensor) -> Tensor:
    """softmax(-stateᵀ state)."""
    return (-state.t() @ state).softmax(1)


def _repelling(feat: Features, sizes: list[int]) -> list[Tensor]:
    """softmax(-X⁽⁰⁾ X⁽⁰⁾ᵀ) of each graph of a batch; that of a single graph is remembered as long as its features."""

    def compute() -> list[Tensor]:
        return [_softmax_of_products(start.t()) for start in dense(feat).split(sizes)]

    owner = constant(feat) if len(sizes) == 1 else None
    return compute() if owner is None else per_tensor(owner, _repelling, compute)


def _repelled_in_tiles(start: Tensor, state: Tensor) -> Tensor:
    """softmax(-start startᵀ) state; under autocast the two come in different precisions."""
    result: Tensor = _Repelled.apply(start.to(state.dtype), state)
    return result


class _Repelled(torch.autograd.Function):
    """softmax(-start startᵀ) state, in tiles of rows, which the backward pass makes again."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, state: Tensor) -> Tensor:
        result = torch.empty_like(state)
        for rows, weights in _tiles(start):
            torch.mm(weights, state, out=result[rows])
        ctx.save_for_backward(start, state, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor]:
        (grad,) = grads
        start, state, result = ctx.saved_tensors
        grad_start = torch.zeros_like(start) if ctx.needs_input_grad[0] else None
        grad_state = torch.zeros_like(state)
        offset = torch.linalg.vecdot(grad, result).unsqueeze(1)
        for rows, weights in _tiles(start):
            grad_state.addmm_(weights.t(), grad[rows])
            if grad_start is not None:
                grad_scores = weights * (offset[rows] - grad[rows] @ state.t())  # of start startᵀ
                grad_start[rows].addmm_(grad_scores, start)
                grad_start.addmm_(grad_scores.t(), start[rows])
        return grad_start, grad_state


def _tiles(start: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows, and softmax(-start startᵀ) of them, which the next tile overwrites.

    Were each tile a tensor of its own, an allocator that puts smaller ones between them could need room for them all.
    """
    height = max(1, TILE // len(start))
    scores, weights = (start.new_empty(min(height, len(start)), len(start)) for _ in range(2))
    for first in range(0, len(start), height):
        rows = slice(first, min(first + height, len(start)))
        tile = slice(rows.stop - first)
        torch.mm(-start[rows], start.t(), out=scores[tile])
        yield rows, torch.softmax(scores[tile], 1, out=weights[tile])
