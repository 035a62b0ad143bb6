r"""N²: dynamic message passing through pseudo-nodes (Sun et al., NeurIPS 2024, arXiv:2410.23686).

Every node v has a state q_v and a message m_v, the rows of Q and M. Beside a graph's n nodes stand n_p pseudo-nodes,
whose states R start as parameters. How strongly a pair is tied is the proximity of its states,

.. math:: \psi(a, b) = \sum_{i=1}^{k} \lambda_i\, a_i^T b_i

with k learnt weights λ and k pieces of a state. As the states move, so do the ties, and messages take other ways:

.. math:: \mathrm{GlobMP}(Q, M, R): \quad G = \psi(R, Q) M, \quad \hat G = \psi(R, R) G, \quad
          \Delta R = \mathrm{NL}(\hat G), \quad M_p = \mathrm{NL}(\hat G), \quad M_{glob} = \psi(Q, R + \Delta R) M_p

NL is a linear layer, LeakyReLU and dropout. One step is (the paper's numbers)

- (8), pseudo-node adaptation: M̂, ΔR = GlobMP(Q, M, R); R ← R + ΔR
- (9), local message passing: m_local,v = (m_v + Σ_{u ∈ N(v)} NL(m_u)) / (|N(v)| + 1) for m_v the rows of [M ‖ M̂ ‖ Q];
  Q ← Q + NL(M_local)
- (10), global message passing: M_glob, ΔR = GlobMP(Q, M_local, R); R ← R + ΔR; Q ← Q + NL(M_glob); M ← M + M_glob

It begins with Q = NL(X) and M = NL(X), and is repeated with the same parameters. The logits are ψ(Q, C), where C are
learnt states of the classes; for whole graphs one state stands for Q, made of the pseudo-nodes' by an NL over them.

Where the authors' code differs from the paper:

| option | its default: the code, which made the published numbers | as printed |
| --- | --- | --- |
| `form` | `"code"` | `"paper"` |
| – pieces of a state | a node's are all its state; a pseudo-node's its start plus k displacements | k NLs make them |
| – λ | own ones for each use of ψ | one ψ for each GlobMP |
| – local messages | D^(-1/2) (A + I) D^(-1/2) [M ‖ M̂ ‖ Q]; the loops are the recipe's | eq. (9); no loops needed |
| – the second Ĝ | made of G beside the first GlobMP's M_p | of G |
| – end of (10) | M_glob is as wide as Q: Q ← Q + M_glob; M ← M + NL(M_glob) | eq. (10) |
| `scale` | True: ψ is divided by k times its width, G by n; see below | False |
| `layer_norm` | True: behind each of the five sums, and the readout; False for regression | False |

With `scale`, a row of weights whose sum is beyond ±10⁴ is scaled down to that, without gradient (|Σ|, as the code has
it, not Σ|·|). As printed, without `scale` and `layer_norm`, the values grow with n and n_p at every step and soon leave
float32. What the code never uses is not here (an edge-wise layer and a time embedding), nor are attributes of edges,
which no data set of the zoo has. On a directed graph the code's local messages run against the edges; here, as
everywhere in the zoo, they run along them. Paper and code leave open how attention replaces ψ in the ablation, and what
stays of a step without one of its parts: `N2` says what is done here. The NLs inside ψ have no dropout.

Nothing of size n × n_p is made where the factors of the weights hold less, n × q (in the printed form n × kq): no
softmax stands between the weights and what they multiply, so (R Qᵀ) M = R (Qᵀ M). With n_p ≤ q, as for whole graphs,
the weights themselves are the smaller. Nor do messages go along edges in their full width: R Qᵀ (Â M) = R (Âᵀ Q)ᵀ M,
and a linear layer goes before Â. The sum of a row of weights, too, is a product: of the row's state and the sum of the
columns'. On a large graph the backward pass computes each step anew instead of keeping it.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from zoo import ops
from zoo._cache import per_graph
from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.model import READOUTS, ZooModel
from zoo.models import register
from zoo.nn.sparse_linear import Dropout, Features, Linear

__all__ = ["N2"]

FORMS = ("code", "paper")
PSEUDO_NODES = "pseudo-nodes"
MAX_ROW_SUM = 1e4
RECOMPUTE_FROM = 1_000_000  # nodes times steps; with the paper's widths each holds some 5 kB for the way back
BLOCK = 32  # nodes; larger blocks fill up more rows in vain, smaller ones hold more matrices


@dataclass(frozen=True)
class Design:
    """The options of `N2` that its parts share."""

    hidden: int
    state_width: int
    num_pseudo_nodes: int
    num_pieces: int
    dropout: float
    form: str
    pathways: str
    scale: bool
    layer_norm: bool
    adaptation: bool
    local_passing: bool
    global_passing: bool

    def __post_init__(self) -> None:
        check_choice("form", self.form, FORMS)
        check_choice("pathways", self.pathways, PATHWAYS)
        for name in ("hidden", "state_width", "num_pseudo_nodes", "num_pieces"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")

    @property
    def is_code(self) -> bool:
        """Whether the form is that of the authors' code."""
        return self.form == "code"

    def norm(self, width: int) -> nn.Module:
        """What stands behind a sum."""
        return nn.LayerNorm(width) if self.layer_norm else nn.Identity()


class _Blocks(NamedTuple):
    """A batch's nodes, each graph's apart, in blocks of `BLOCK` rows, of which a graph's last is filled up."""

    places: Tensor  # (num_nodes,): the row of each node
    graphs: Tensor  # (num_blocks,): the graph of each block


def _sizes(graph: dgl.DGLGraph, device: torch.device) -> Tensor:
    """Number of nodes of each graph, (num_graphs,)."""
    return per_graph(graph, ("sizes", device), lambda: ops.batch_sizes(graph, device))


def _owners(graph: dgl.DGLGraph, device: torch.device) -> Tensor:
    """The graph of each node, (num_nodes,)."""
    return per_graph(graph, ("owners", device), lambda: torch.repeat_interleave(_sizes(graph, device)))


def _blocks(graph: dgl.DGLGraph, device: torch.device) -> _Blocks:
    def compute() -> _Blocks:
        sizes = _sizes(graph, device)
        counts = (sizes + BLOCK - 1) // BLOCK
        shift = BLOCK * (counts.cumsum(0) - counts) - (sizes.cumsum(0) - sizes)
        places = torch.arange(graph.num_nodes(), device=device) + shift[_owners(graph, device)]
        return _Blocks(places, torch.repeat_interleave(counts))

    return per_graph(graph, ("blocks", device), compute)


def _cut(rows: Tensor, blocks: _Blocks) -> Tensor:
    """(num_nodes, width) to (num_blocks, BLOCK, width), zeros where there is no node."""
    filled = rows.new_zeros(BLOCK * len(blocks.graphs), rows.shape[1]).index_copy(0, blocks.places, rows)
    return filled.view(-1, BLOCK, rows.shape[1])


def _moments(graph: dgl.DGLGraph, left: Tensor, right: Tensor) -> Tensor:
    """leftᵀ right over the nodes of each graph: (num_nodes, a) and (num_nodes, b) to (num_graphs, a, b)."""
    num_graphs = len(_sizes(graph, left.device))
    if num_graphs == 1:
        return (left.t() @ right).unsqueeze(0)
    blocks = _blocks(graph, left.device)
    products = _cut(left, blocks).transpose(1, 2) @ _cut(right, blocks)
    return products.new_zeros(num_graphs, *products.shape[1:]).index_add(0, blocks.graphs, products)


def _times(graph: dgl.DGLGraph, rows: Tensor, matrices: Tensor) -> Tensor:
    """Every node's row times its graph's matrix: (num_nodes, a) and (num_graphs or 1, a, b) to (num_nodes, b)."""
    if len(matrices) == 1:
        return rows @ matrices[0]
    blocks = _blocks(graph, rows.device)
    products = _cut(rows, blocks) @ matrices.index_select(0, blocks.graphs)
    return products.flatten(0, 1).index_select(0, blocks.places)


class _Activation(torch.autograd.Function):
    """LeakyReLU and dropout, in place; the output alone tells the way back, where 0 counts as dropped."""

    @staticmethod
    def forward(ctx: Any, product: Tensor, dropout: float) -> Tensor:
        ctx.mark_dirty(product)
        ctx.scale = 1 / (1 - dropout)
        nn.functional.leaky_relu_(product)
        if dropout:
            product.mul_(torch.rand_like(product).ge_(dropout).mul_(ctx.scale))
        ctx.save_for_backward(product)
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (output,) = ctx.saved_tensors
        grad = torch.ops.aten.leaky_relu_backward(grads[0], output, 0.01, True)
        return (grad if ctx.scale == 1 else grad.mul_(output.ne(0)).mul_(ctx.scale)), None


def _normal(*shape: int) -> nn.Parameter:
    """Drawn from N(0, 1); undrawn on the meta device, where drawing would import torch's compiler on every load."""
    values = torch.empty(shape)
    return nn.Parameter(values if values.is_meta else values.normal_())


class NonLinear(nn.Module):
    """NL: a linear layer, LeakyReLU, dropout."""

    def __init__(self, in_feats: int, out_feats: int, dropout: float) -> None:
        super().__init__()
        self.linear = Linear(in_feats, out_feats)
        self.dropout = Dropout(dropout)

    def forward(self, feat: Features) -> Tensor:
        """Of rows, (..., in_feats), to (..., out_feats)."""
        rows = feat.flatten(0, -2) if isinstance(feat, Tensor) else feat
        return self._activate(self.linear(rows)).unflatten(0, feat.shape[:-1])

    def of(self, message: "Message | Propagated") -> Tensor:
        """Of messages, to (num_nodes, out_feats)."""
        bias = cast(Tensor, self.linear.bias)
        return self._activate(message.times(self.linear.weight) + bias)

    def _activate(self, product: Tensor) -> Tensor:  # no view: in place, that would cost copies on the way back
        return _Activation.apply(product, self.dropout.p if self.training else 0.0)


class CodeProximity(nn.Module):
    """ψ as in the code: a node's pieces are all its state, those of a pseudo-node are given.

    Shapes:
        states of nodes (num_nodes, width), of pseudo-nodes (num_graphs or 1, num_pseudo_nodes, k or 1, width); one
        piece stands for k equal ones.
    """

    def __init__(self, width: int, num_pieces: int, divisor: float) -> None:
        super().__init__()
        self.divisor = divisor
        self.weight = _normal(num_pieces)

    def of_nodes(self, states: Tensor) -> Tensor:
        """Factors whose inner products with those of pseudo-nodes are ψ, (num_nodes, rank)."""
        return states

    def of_pseudo(self, states: Tensor) -> Tensor:
        """The factors of pseudo-nodes, (num_graphs or 1, num_pseudo_nodes, rank)."""
        pieces = self._pieces(states).flatten(0, 1)
        weights = (self.weight / self.divisor).expand(len(pieces), 1, -1)
        return (weights @ pieces).view(*states.shape[:2], -1)

    def between(self, states: Tensor) -> Tensor:
        """ψ of each two pseudo-nodes of a graph, (num_graphs or 1, num_pseudo_nodes, num_pseudo_nodes)."""
        pieces = self._pieces(states)
        weighted = pieces * (self.weight / self.divisor).unsqueeze(1)
        return weighted.flatten(2) @ pieces.flatten(2).transpose(1, 2)

    def _pieces(self, states: Tensor) -> Tensor:
        return states.expand(-1, -1, len(self.weight), -1)


class PaperProximity(nn.Module):
    """ψ as printed in eq. (1), where k NLs make the pieces of either side's state. Methods as in `CodeProximity`."""

    def __init__(self, width: int, num_pieces: int, divisor: float) -> None:
        super().__init__()
        self.divisor = divisor
        self.weight = _normal(num_pieces)
        self.pieces = NonLinear(width, num_pieces * width, dropout=0)

    def of_nodes(self, states: Tensor) -> Tensor:
        """See `CodeProximity`."""
        return self.pieces(states)

    def of_pseudo(self, states: Tensor) -> Tensor:
        """See `CodeProximity`."""
        pieces = self.pieces(states.squeeze(2))
        return (pieces.unflatten(-1, (len(self.weight), -1)) * (self.weight / self.divisor).unsqueeze(1)).flatten(-2)

    def between(self, states: Tensor) -> Tensor:
        """See `CodeProximity`."""
        return self.of_pseudo(states) @ self.of_nodes(states.squeeze(2)).transpose(1, 2)


def make_proximity(design: Design, divisor: float) -> CodeProximity | PaperProximity:
    """ψ / divisor in the form of a design."""
    cls = CodeProximity if design.is_code else PaperProximity
    return cls(design.state_width, design.num_pieces, divisor)


def _clipped(rows: Tensor, sums: Tensor) -> Tensor:
    """Rows times what brings their sums of weights back to `MAX_ROW_SUM`; a copy only where a sum is beyond it."""
    excess = sums.detach().abs() / MAX_ROW_SUM
    return rows if (excess <= 1).all() else rows / excess.clamp(min=1)


class Weights(NamedTuple):
    """The weights of the pathways between every node v and every pseudo-node u of its graph: nodes_v · pseudo_u.

    Without pseudo they are nodes_vu.
    """

    nodes: Tensor  # (num_nodes, rank)
    pseudo: Tensor | None = None  # (num_graphs or 1, num_pseudo_nodes, rank)

    def multiplied(self, graph: dgl.DGLGraph) -> "Weights":
        """The same without pseudo, where it takes no more than their rank to hold them."""
        if self.pseudo is None or self.pseudo.shape[1] > self.pseudo.shape[2]:
            return self
        return Weights(_times(graph, self.nodes, self.pseudo.transpose(1, 2)))

    def of_each_node(self, graph: dgl.DGLGraph) -> Tensor:
        """Their sum, (num_nodes, 1)."""
        if self.pseudo is None:
            return self.nodes.sum(1, keepdim=True)
        return _times(graph, self.nodes, self.pseudo.sum(1).unsqueeze(2))

    def gather(self, message: "Message | Propagated") -> Tensor:
        """Each pseudo-node's sum of messages, (num_graphs, num_pseudo_nodes, width)."""
        moments = message.moments(self.nodes)
        return moments if self.pseudo is None else self.pseudo @ moments

    def spread(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Each node's sum of its graph's values, (num_graphs, num_pseudo_nodes, width), as `Message` takes a part."""
        return self.nodes, values if self.pseudo is None else self.pseudo.transpose(1, 2) @ values


class Pathways(nn.Module, ABC):
    """The weights of the three sums of a GlobMP."""

    @abstractmethod
    def diffuse(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """Weights of the nodes in a sum at each pseudo-node."""

    @abstractmethod
    def refine(self, pseudo: Tensor) -> Tensor:
        """Weights of the pseudo-nodes, columns, in a sum at each pseudo-node of the same graph, rows."""

    @abstractmethod
    def collect(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """Weights of the pseudo-nodes in a sum at each node."""


class ProximityPathways(Pathways):
    """ψ as the weights of pathways."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.scale = design.scale
        self.proximity = make_proximity(design, design.num_pieces * design.state_width if design.scale else 1)

    def diffuse(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """See `Pathways`; with `scale` the sum is a mean."""
        nodes, factors = self.proximity.of_nodes(states), self.proximity.of_pseudo(pseudo)
        if self.scale:
            with torch.no_grad():
                sums = factors @ _moments(graph, nodes, torch.ones_like(nodes[:, :1]))
            factors = _clipped(factors, sums) / _sizes(graph, states.device).view(-1, 1, 1)
        return Weights(nodes, factors).multiplied(graph)

    def collect(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """See `Pathways`."""
        weights = Weights(self.proximity.of_nodes(states), self.proximity.of_pseudo(pseudo)).multiplied(graph)
        if not self.scale:
            return weights
        with torch.no_grad():
            sums = weights.of_each_node(graph)
        return weights._replace(nodes=_clipped(weights.nodes, sums))

    def refine(self, pseudo: Tensor) -> Tensor:
        """See `Pathways`."""
        weights = self.proximity.between(pseudo)
        return _clipped(weights, weights.sum(2, keepdim=True)) if self.scale else weights


class AttentionPathways(Pathways):
    """The softmax of ψ, divided by the root of its number of terms, over whatever is summed."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.proximity = make_proximity(design, (design.num_pieces * design.state_width) ** 0.5)

    def diffuse(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """See `Pathways`."""
        scores = self._scores(graph, pseudo, states)
        owners = _owners(graph, scores.device)
        largest = ops.readout(graph, scores.detach(), "max")
        exponentials = (scores - largest.index_select(0, owners)).exp()
        totals = exponentials.new_zeros(largest.shape).index_add(0, owners, exponentials)
        return Weights(exponentials / totals.index_select(0, owners))

    def collect(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """See `Pathways`."""
        return Weights(self._scores(graph, pseudo, states).softmax(1))

    def refine(self, pseudo: Tensor) -> Tensor:
        """See `Pathways`."""
        return self.proximity.between(pseudo).softmax(2)

    def _scores(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Tensor:
        return _times(graph, self.proximity.of_nodes(states), self.proximity.of_pseudo(pseudo).transpose(1, 2))


class UniformPathways(Pathways):
    """The same weight for all that is summed, which makes every sum a mean."""

    def __init__(self, design: Design) -> None:
        super().__init__()

    def diffuse(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """See `Pathways`."""
        equal = torch.ones_like(pseudo[:, :, 0, :1]) / _sizes(graph, states.device).view(-1, 1, 1)
        return Weights(torch.ones_like(states[:, :1]), equal)

    def collect(self, graph: dgl.DGLGraph, pseudo: Tensor, states: Tensor) -> Weights:
        """See `Pathways`."""
        return Weights(torch.ones_like(states[:, :1]), torch.full_like(pseudo[:, :, 0, :1], 1 / pseudo.shape[1]))

    def refine(self, pseudo: Tensor) -> Tensor:
        """See `Pathways`."""
        num_graphs, num_pseudo = pseudo.shape[:2]
        return pseudo.new_full((num_graphs, num_pseudo, num_pseudo), 1 / num_pseudo)


PATHWAYS: dict[str, Callable[[Design], Pathways]] = {
    "proximity": ProximityPathways,
    "attention": AttentionPathways,
    "uniform": UniformPathways,
}


class Message:
    """Messages of several parts side by side, of which a part may stay a product of a tall and a small matrix.

    Args:
        graph: With num_nodes nodes.
        parts: Rows (num_nodes, a), and None or what they are to be multiplied by, for each graph an (a, b).
    """

    def __init__(self, graph: dgl.DGLGraph, *parts: tuple[Tensor, Tensor | None]) -> None:
        self.graph, self.parts = graph, parts

    def times(self, weight: Tensor) -> Tensor:
        """The messages times weightᵀ: (out_feats, width) to (num_nodes, out_feats)."""
        widths = [rows.shape[1] if matrices is None else matrices.shape[2] for rows, matrices in self.parts]
        factors: dict[Tensor, Tensor] = {}  # rows that come twice are multiplied once
        for (rows, matrices), own in zip(self.parts, weight.split(widths, 1), strict=True):
            factor = own.t().unsqueeze(0) if matrices is None else matrices @ own.t()
            factors[rows] = factors[rows] + factor if rows in factors else factor
        return reduce(torch.add, (_times(self.graph, rows, factor) for rows, factor in factors.items()))

    def moments(self, left: Tensor) -> Tensor:
        """leftᵀ times the messages, over the nodes of each graph: (num_nodes, a) to (num_graphs, a, width)."""
        products = {rows: _moments(self.graph, left, rows) for rows, _ in self.parts}
        moments = [products[rows] if matrices is None else products[rows] @ matrices for rows, matrices in self.parts]
        return torch.cat(moments, dim=2)

    def dense(self) -> Tensor:
        """The messages, (num_nodes, width)."""
        whole = [rows if matrices is None else _times(self.graph, rows, matrices) for rows, matrices in self.parts]
        return torch.cat(whole, dim=1)


class Propagated:
    """Â times messages, with Â = D^(-1/2) A D^(-1/2). Methods as in `Message`."""

    def __init__(self, graph: dgl.DGLGraph, message: Message) -> None:
        self.graph, self.message = graph, message

    def times(self, weight: Tensor) -> Tensor:
        """See `Message`."""
        return ops.propagate_gcn(self.graph, self.message.times(weight))

    def moments(self, left: Tensor) -> Tensor:
        """See `Message`."""
        scale = ops.degree_scale(self.graph, left)  # Âᵀ has D's in-degrees too
        return self.message.moments(ops.propagate(ops.reverse(self.graph), left * scale) * scale)


class MeanOfNonLinear(nn.Module):
    """Eq. (7), without attributes of edges."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.transform = NonLinear(width, width, dropout)

    def forward(self, graph: dgl.DGLGraph, message: Message) -> Message:
        """The messages after they have met their in-neighbours'."""
        own = message.dense()
        total = own + ops.propagate(graph, self.transform(own))
        return Message(graph, (total / (ops.in_degrees(graph, own) + 1), None))


class GlobalPassing(nn.Module):
    """GlobMP, eqs. (4) to (6).

    Args:
        design: See `Design`.
        in_feats: Width of the messages.
        out_feats: Width of M_p and M_glob.
        extra_feats: Width of what refinement takes in besides.
    """

    def __init__(self, design: Design, in_feats: int, out_feats: int, *, extra_feats: int = 0) -> None:
        super().__init__()
        pieces = design.num_pieces if design.is_code else 1
        make_pathways = PATHWAYS[design.pathways]
        self.pathways = nn.ModuleList(make_pathways(design) for _ in range(3 if design.is_code else 1))
        self.displacement = NonLinear(in_feats + extra_feats, pieces * design.state_width, design.dropout)
        self.value = NonLinear(in_feats + extra_feats, out_feats, design.dropout)
        self.norm = design.norm(design.state_width)

    def forward(
        self,
        graph: dgl.DGLGraph,
        states: Tensor,
        message: Message | Propagated,
        pseudo: Tensor,
        extra: Tensor | None = None,
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
        """M_glob, the new states of the pseudo-nodes, and their values M_p.

        M_glob comes as its factors: (num_nodes, rank), and (num_graphs, rank, out_feats).
        """
        uses = [self.pathways[i % len(self.pathways)] for i in range(3)]
        diffusion, refinement, collection = cast(list[Pathways], uses)
        weights = diffusion.diffuse(graph, pseudo, states)
        gathered = weights.gather(message)
        if extra is not None:
            gathered = torch.cat([gathered, extra], dim=2)
        refined = refinement.refine(pseudo) @ gathered
        displacement = self.displacement(refined).unflatten(2, (-1, pseudo.shape[3]))
        pseudo, value = self.norm(pseudo + displacement), self.value(refined)
        weights = collection.collect(graph, pseudo, states)
        return weights.spread(value), pseudo, value


class LocalPassing(nn.Module):
    """LocalMP, and Q ← Q + NL(M_local): eq. (9)."""

    def __init__(self, design: Design, in_feats: int) -> None:
        super().__init__()
        self.propagate = Propagated if design.is_code else MeanOfNonLinear(in_feats, design.dropout)
        self.update = NonLinear(in_feats, design.state_width, design.dropout)
        self.norm = design.norm(design.state_width)

    def forward(self, graph: dgl.DGLGraph, states: Tensor, message: Message) -> tuple[Tensor, Message | Propagated]:
        """The nodes' new states, and M_local."""
        local = self.propagate(graph, message)
        return self.norm(states + self.update.of(local)), local


class Step(nn.Module):
    """Eqs. (8) to (10), but for what becomes of the messages: `MessageUpdate`."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        hidden, width = design.hidden, design.state_width
        adapted = hidden if design.adaptation else 0
        message = hidden + adapted + width
        self.is_code = design.is_code
        self.adaptation = GlobalPassing(design, hidden, hidden) if design.adaptation else None
        self.local_passing = LocalPassing(design, message) if design.local_passing else None
        self.global_passing: GlobalPassing | None = None
        if design.global_passing:
            out_feats, extra_feats = (width, adapted) if design.is_code else (hidden, 0)
            self.global_passing = GlobalPassing(design, message, out_feats, extra_feats=extra_feats)
            self.update = nn.Identity() if design.is_code else NonLinear(hidden, width, design.dropout)
            self.norm = design.norm(width)

    def forward(
        self, graph: dgl.DGLGraph, states: Tensor, messages: Tensor, pseudo: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The new states of the nodes and of the pseudo-nodes, and eq. (10)'s M_glob if there is one."""
        parts: list[tuple[Tensor, Tensor | None]] = [(messages, None), (states, None)]
        value = None
        if self.adaptation is not None:
            adapted, pseudo, value = self.adaptation(graph, states, Message(graph, (messages, None)), pseudo)
            parts.insert(1, adapted)
        message: Message | Propagated = Message(graph, *parts)
        if self.local_passing is not None:
            states, message = self.local_passing(graph, states, message)
        if self.global_passing is None:
            return states, pseudo, None
        extra = value if self.is_code else None
        factors, pseudo, _ = self.global_passing(graph, states, message, pseudo, extra)
        received = _times(graph, *factors)
        return self.norm(states + self.update(received)), pseudo, received


class MessageUpdate(nn.Module):
    """The end of eq. (10): M ← M + M_glob, in the code M + NL(M_glob)."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.update: nn.Module = nn.Identity()
        if design.is_code:
            self.update = NonLinear(design.state_width, design.hidden, design.dropout)
        self.norm = design.norm(design.hidden)

    def forward(self, messages: Tensor, received: Tensor) -> Tensor:
        """Both have num_nodes rows; the new messages, (num_nodes, hidden)."""
        return self.norm(messages + self.update(received))


class PseudoNodeReadout(nn.Module):
    """One state for each graph: an NL over all pieces of all its pseudo-nodes."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        pieces = design.num_pieces if design.is_code else 1
        self.combine = NonLinear(pieces * design.num_pseudo_nodes, 1, design.dropout)
        self.norm = design.norm(design.state_width)

    def forward(self, pseudo: Tensor) -> Tensor:
        """(num_graphs, num_pseudo_nodes, pieces, width) to (num_graphs, width)."""
        return self.norm(self.combine(pseudo.permute(0, 3, 2, 1).flatten(2)).squeeze(2))


class ClassNodes(nn.Module):
    """The head: ψ of a state and the states of the classes, which are learnt."""

    def __init__(self, design: Design, num_classes: int) -> None:
        super().__init__()
        self.scale = design.scale
        self.proximity = make_proximity(design, design.num_pieces * design.state_width if design.scale else 1)
        self.states = _normal(num_classes, design.state_width)

    def forward(self, graph: dgl.DGLGraph, states: Tensor) -> Tensor:
        """Of nodes or graphs, (rows, state_width), to (rows, num_classes)."""
        (classes,) = self.proximity.of_pseudo(self.states[None, :, None])
        logits = self.proximity.of_nodes(states) @ classes.t()
        return _clipped(logits, logits.sum(1, keepdim=True)) if self.scale else logits


@register(
    "n2",
    paper="arXiv:2410.23686",
    title="Towards Dynamic Message Passing on Graphs",
    authors="Junshu Sun and Chenxue Yang and Xiangyang Ji and Qingming Huang and Shuhui Wang",
    venue="NeurIPS 2024",
)
class N2(ZooModel):
    """One layer, applied again and again, that passes messages along edges and through pseudo-nodes.

    Its hidden layers are the nodes' states Q after each step; the last is what the head reads, or with the readout
    `"pseudo-nodes"` the pseudo-nodes' states of that moment are.

    Args:
        in_feats: Width of the node features.
        num_classes: Number of classes; 1 for regression.
        num_layers: Number of steps L, and without a readout one more, for the head.
        hidden: Width d of the messages.
        state_width: Width q of the states.
        num_pseudo_nodes: n_p.
        num_pieces: k.
        dropout: In every NL.
        form: `"code"` or `"paper"`, see the module.
        scale: Divide and clip weights as the code does, see the module.
        layer_norm: Layer normalisation behind every sum, as in the code.
        pathways: What weighs the sums of both GlobMPs: `"proximity"`, ψ, or for the ablations `"attention"`, a softmax
            of ψ / √(kq), which builds the n × n_p weights, and `"uniform"`, means. `scale` has no part in these two;
            in `"uniform"` R has none but in a readout by pseudo-nodes: without that its parameters get no gradient.
        adaptation: False leaves out eq. (8): no M̂, and R as it is.
        local_passing: False leaves out eq. (9): Q as it is, and [M ‖ M̂ ‖ Q] for M_local.
        global_passing: False leaves out eq. (10): Q, M and R as they are.
        message_update: False leaves M as it begins.
        share_layers: One set of parameters for all steps, instead of one for each.
        readout: See `ZooModel`; or `"pseudo-nodes"`, which is the paper's.
        transforms: See `ZooModel`.
    """

    def __init__(
        self,
        in_feats: int,
        num_classes: int,
        *,
        num_layers: int = 4,
        hidden: int = 64,
        state_width: int = 64,
        num_pseudo_nodes: int = 32,
        num_pieces: int = 8,
        dropout: float = 0.4,
        form: str = "code",
        scale: bool = True,
        layer_norm: bool = True,
        pathways: str = "proximity",
        adaptation: bool = True,
        local_passing: bool = True,
        global_passing: bool = True,
        message_update: bool = True,
        share_layers: bool = True,
        readout: str | None = None,
        transforms: Sequence[str] = (),
    ) -> None:
        by_pseudo_nodes = readout == PSEUDO_NODES
        if readout is not None:
            check_choice("readout", readout, (*READOUTS, PSEUDO_NODES))
        if by_pseudo_nodes and not (adaptation or global_passing):
            raise ConfigError("readout='pseudo-nodes' needs adaptation or global_passing: else all graphs are alike")
        super().__init__(in_feats, num_classes, readout=None if by_pseudo_nodes else readout, transforms=transforms)
        self.readout = readout
        self.design = Design(
            hidden=hidden,
            state_width=state_width,
            num_pseudo_nodes=num_pseudo_nodes,
            num_pieces=num_pieces,
            dropout=dropout,
            form=form,
            pathways=pathways,
            scale=scale,
            layer_norm=layer_norm,
            adaptation=adaptation,
            local_passing=local_passing,
            global_passing=global_passing,
        )
        self.num_steps = self.num_hidden(num_layers)
        num_updates = self.num_steps - 1 if message_update and global_passing else 0
        self.embed = NonLinear(in_feats, state_width + hidden, dropout)
        self.pseudo_states = _normal(num_pseudo_nodes, state_width)
        num_sets = 1 if share_layers else self.num_steps
        self.steps = nn.ModuleList(Step(self.design) for _ in range(num_sets))
        self.message_updates = nn.ModuleList(MessageUpdate(self.design) for _ in range(min(num_updates, num_sets)))
        self.pool = PseudoNodeReadout(self.design) if by_pseudo_nodes else None
        self.head = self.make_head(num_classes)

    def make_head(self, num_classes: int) -> nn.Module:
        """The states of the classes."""
        return ClassNodes(self.design, num_classes)

    def hidden_states(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[Tensor]:
        """The nodes' states after each step."""
        for states, _ in self._run(graph, feat):
            yield states

    def encode(self, graph: dgl.DGLGraph, feat: Tensor | None = None) -> Tensor:
        """The states that the head reads: (num_nodes, state_width), with a readout (num_graphs, state_width)."""
        if self.pool is None:
            return super().encode(graph, feat)
        ((_, pseudo),) = deque(self._run(graph, self._input(graph, feat)), maxlen=1)
        return self.pool(pseudo)

    def _run(self, graph: dgl.DGLGraph, feat: Features) -> Iterator[tuple[Tensor, Tensor]]:
        """The states of nodes and of pseudo-nodes after each step."""
        states, messages = self.embed(feat).split([self.design.state_width, self.design.hidden], dim=1)
        pseudo, received = self.pseudo_states[None, :, None], None
        recompute = torch.is_grad_enabled() and self.num_steps * graph.num_nodes() >= RECOMPUTE_FROM
        for i in range(self.num_steps):
            values = (i, graph, states, messages, pseudo, received)
            new = checkpoint(self._advance, *values, use_reentrant=False) if recompute else self._advance(*values)
            states, messages, pseudo, received = new
            yield states, pseudo

    def _advance(
        self, i: int, graph: dgl.DGLGraph, states: Tensor, messages: Tensor, pseudo: Tensor, received: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Step i, begun by the update of the messages with which the step before it ends: the last one needs none."""
        if i > 0 and self.message_updates:
            messages = self.message_updates[(i - 1) % len(self.message_updates)](messages, received)
        states, pseudo, received = self.steps[i % len(self.steps)](graph, states, messages, pseudo)
        return states, messages, pseudo, received
