r"""Oversmoothing metrics: how far apart the nodes' representations still are.

| function | metric | source | constant representations give |
| --- | --- | --- | --- |
| `dirichlet_energy` | difference between neighbours | CNA, SBP, N² | 0 (with `"degrees"`: on regular graphs) |
| `mad`, `mad_gap` | mean cosine distance of pairs | Chen et al. 2020, CNA | 0 |
| `mu` | mean normalised distance of all pairs | DYNAMO-GAT | 0 |
| `attractor_rank` | dimensions that the nodes still span | DYNAMO-GAT | 0 |
| `sid` | pairs whose sign contradicts their labels | SBP | no representations, only graph and labels |

`per_layer` applies a metric to every hidden layer of a model.

Throughout, n is the number of nodes, d the width, x_i the representation of node i, and N(i) the sources of i's
in-edges: on undirected graphs its neighbours. The metrics are pure functions for one graph; those that look at all
pairs would in a batch also pair nodes of different graphs. They compute in float64 whatever the representations' type
is, since collapsed representations leave only differences of nearly equal numbers, and give a float64 scalar that
gradients pass through, but for the rank, which has none. No n × n matrix is ever stored.

The papers: CNA, arXiv:2412.04064, of which only the authors' code is known here; SBP, arXiv:2502.11394, of which the
prose is known and not the displayed formulas; DYNAMO-GAT, arXiv:2412.07243; N², arXiv:2410.23686; MAD: Chen et al.,
AAAI 2020, arXiv:1909.03211.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from zoo import ops
from zoo._cache import per_graph
from zoo._checks import check_choice
from zoo._dgl import dgl
from zoo.errors import ConfigError, GraphError
from zoo.model import ZooModel, eval_mode
from zoo.weights import as_model

__all__ = ["NORMALIZATIONS", "PAIRS", "attractor_rank", "dirichlet_energy", "mad", "mad_gap", "mu", "per_layer", "sid"]

NORMALIZATIONS = ("degrees", "nodes")
PAIRS = ("all", "neighbors", "remote")

_TILE = 2**22  # pairs whose distances are in memory at a time
_ROUNDINGS = 10  # errors of rounding, in each element, that many layers may have left


def dirichlet_energy(graph: dgl.DGLGraph, feat: Tensor, *, normalize: str = "degrees") -> Tensor:
    r"""Squared differences between neighbours.

    `"degrees"` (CNA, authors' code, `compute_dirichlet_energy`):

    .. math:: \mathrm{tr}(X^\top L_{sym} X), \qquad L_{sym} = D^{-1/2} (D - A) D^{-1/2},

    on an undirected graph :math:`\frac12 \sum_i \sum_{j \in N(i)} \| x_i / \sqrt{d_i} - x_j / \sqrt{d_j} \|^2`. It is
    not divided by anything, so it grows with the graph, and it vanishes where x_i is proportional to √d_i in each
    component, not where the representations are constant. D are here the in-degrees. On directed graphs the authors
    take out-degrees (give the reversed graph for those), and the result can be negative either way. Where a node has
    no edges their code divides by zero; here it adds nothing.

    `"nodes"` (SBP, App. F, a formula reconstructed from the prose):

    .. math:: \frac1n \sum_i \sum_{j \in N(i)} \| x_i - x_j \|^2.

    Each undirected edge counts twice, as the double sum has it.

    An edge that is there several times counts as often. In `"nodes"` a self-loop adds nothing; in `"degrees"` it
    still raises its node's degree. N² plots a Dirichlet energy divided by its largest value among the layers and does
    not say which energy: divide what `per_layer` gives by its maximum.

    Args:
        graph: Homogeneous graph of n nodes.
        feat: (n, d).
        normalize: `"degrees"`: each representation by the root of its degree; `"nodes"`: the sum by the number of
            nodes.

    Returns:
        Scalar; 0 for a graph without edges.

    Raises:
        GraphError: `feat` does not fit the graph.
        ConfigError: Unknown `normalize`.
    """
    check_choice("normalize", normalize, NORMALIZATIONS)
    feat = _as_double(graph, feat)
    degrees = ops.in_degrees(graph, feat)
    if normalize == "degrees":
        return _laplacian_trace(graph, feat * ops.degree_scale(graph, feat), degrees)
    feat = feat - feat.mean(0)  # changes no difference, and keeps squares small that are subtracted from each other
    squares = feat.square().sum(1, keepdim=True)
    ends = degrees * squares + ops.propagate(graph, squares)
    products = (feat * ops.propagate(graph, feat)).sum()
    return (ends.sum() - 2 * products).clamp(min=0) / graph.num_nodes()


def _laplacian_trace(graph: dgl.DGLGraph, x: Tensor, degrees: Tensor) -> Tensor:
    """tr(Xᵀ (D - A) X), from what is left of X without its mean row: near collapse X itself would cancel out."""
    mean = (degrees * x).sum(0) / degrees.sum().clamp(min=1)
    y = x - mean
    one_way = degrees - ops.in_degrees(ops.reverse(graph), x)  # 0 on an undirected graph
    return (y * (degrees * y - ops.propagate(graph, y))).sum() + mean @ (one_way * y).sum(0)


def mad(graph: dgl.DGLGraph, feat: Tensor, *, pairs: str = "all") -> Tensor:
    r"""Mean average distance: the mean over nodes of their mean cosine distance to other nodes.

    .. math:: \mathrm{MAD} = \frac{1}{|V'|} \sum_{i \in V'} \frac{1}{|T(i)|} \sum_{j \in T(i)}
              \Big( 1 - \frac{x_i^\top x_j}{\|x_i\| \|x_j\|} \Big),
              \qquad V' = \{ i : T(i) \ne \emptyset \}

    (Chen et al. 2020, and `compute_mad` in CNA's code). T(i) are the nodes paired with i, never i itself and none
    twice. The sums over all j are products with sums of unit vectors, so time and memory are O((n + edges) · d).

    What differs elsewhere:

    - Chen et al. and CNA's code average over distances that are not 0, which leaves nodes with parallel
      representations out, or not, as rounding decides; here every pair of T counts.
    - CNA's code also prints "GMAD", `pairs="all"` with each node's distance 0 to itself in the mean: (n − 1)/n times
      this value.
    - A node whose representation is zero is at distance 1 from every node, as in scikit-learn, which those codes use.

    Args:
        graph: Homogeneous graph of n nodes.
        feat: (n, d).
        pairs: `"all"`: T(i) are all other nodes; `"neighbors"`: N(i) without i; `"remote"`: the rest, as in CNA's code;
            Chen et al. count hops instead, and leave out nodes that are neither near nor far.

    Returns:
        Scalar in [0, 2].

    Raises:
        GraphError: `feat` does not fit the graph, or there is no such pair.
        ConfigError: Unknown `pairs`.
    """
    check_choice("pairs", pairs, PAIRS)
    feat = _as_double(graph, feat)
    unit = feat / _one_for_zero(torch.linalg.vector_norm(feat, dim=1, keepdim=True))
    counts, partners = feat.new_full((len(feat), 1), len(feat) - 1), unit.sum(0) - unit
    if pairs != "all":
        simple = _simple(graph)
        near_counts, near = ops.in_degrees(simple, feat), ops.propagate(simple, unit)
        counts, partners = (near_counts, near) if pairs == "neighbors" else (counts - near_counts, partners - near)
    paired = counts > 0
    if not paired.any():
        raise GraphError(f"MAD over {pairs!r} pairs is undefined: this graph of {graph.num_nodes()} nodes has none")
    distances = counts - (unit * partners).sum(1, keepdim=True)
    return (distances[paired] / counts[paired]).mean().clamp(min=0)


def mad_gap(graph: dgl.DGLGraph, feat: Tensor) -> Tensor:
    r"""MADGap = MAD(remote) − MAD(neighbours) (Chen et al. 2020; `compute_mad_gap` in CNA's code).

    Near 0 or below, representations tell a node's neighbours no better than any other nodes. Which nodes are remote
    differs between the two, see `mad`; here, as in CNA's code, all that are not neighbours.

    Args:
        graph: Homogeneous graph of n nodes.
        feat: (n, d).

    Returns:
        Scalar in [−2, 2].

    Raises:
        GraphError: `feat` does not fit the graph, or it has no edges or no remote pairs.
    """
    return mad(graph, feat, pairs="remote") - mad(graph, feat, pairs="neighbors")


def mu(graph: dgl.DGLGraph, feat: Tensor) -> Tensor:
    r"""Oversmoothing coefficient of DYNAMO-GAT (Lemma 3 and Table 4).

    .. math:: \mu(X) = \frac{1}{n (n - 1)} \sum_{i \ne j} \frac{\|x_i - x_j\|_2}{\|x_i\|_2 + \|x_j\|_2}

    over all ordered pairs; 0 is total collapse, 1 the largest value. A pair of zero vectors, where the formula is 0/0,
    counts as 0. The paper takes the name from Wu et al. 2023 but prints this formula; edges play no part.

    Square roots and denominators forbid a closed form: time is O(n² d), about a minute for n = 50 000 and d = 64 on one
    core. Distances are computed in tiles, so that memory is O(n d); with gradients all tiles are kept. They are taken
    from differences, not from inner products: faster, those would lose half the digits of small distances.

    Args:
        graph: Homogeneous graph of n ≥ 2 nodes.
        feat: (n, d).

    Returns:
        Scalar in [0, 1].

    Raises:
        GraphError: `feat` does not fit the graph, or there is a single node.
    """
    feat = _as_double(graph, feat)
    num_nodes = graph.num_nodes()
    if num_nodes < 2:
        raise GraphError("μ is undefined for a graph of one node: it averages over pairs")
    norms = torch.linalg.vector_norm(feat, dim=1)
    rows = max(1, _TILE // num_nodes)
    total = feat.new_zeros(())
    for start in range(0, num_nodes, rows):
        tile = slice(start, start + rows)
        distances = torch.cdist(feat[tile], feat[start:], compute_mode="donot_use_mm_for_euclid_dist")
        terms = distances / _one_for_zero(norms[tile, None] + norms[start:])
        total = total + 2 * terms.sum() - terms[:, :rows].sum()  # the tile's own block has both orders already
    return total / (num_nodes * (num_nodes - 1))


def attractor_rank(graph: dgl.DGLGraph, feat: Tensor, *, tolerance: float = 1e-3) -> Tensor:
    r"""Numerical rank of the covariance of the nodes' representations, DYNAMO-GAT's bound on the attractor (Lemma 3).

    .. math:: k \le \mathrm{rank}\, \mathrm{Cov}(X), \qquad \mathrm{Cov}(X) = \tfrac1n X_c^\top X_c, \quad
              X_c = X - \tfrac1n 1 1^\top X

    k is the dimension of what the nodes converge to; 0 is total collapse, min(d, n − 1) the largest rank. Lemma 3 also
    bounds k by 1/(1 − γ), γ the spectral gap of the attention, which representations do not tell; edges play no part.

    The paper says nothing of tolerances, and in floating point no rank is exact. Counted are the singular values σ of
    X_c, the roots of the covariance's eigenvalues but for 1/√n, for which

    .. math:: \sigma > \max(\mathrm{tolerance} \cdot \sigma_{max}, \; 10 \, \epsilon \, \|X\|_F),

    with ε the rounding of the type in which the representations were computed: below that a spread around the mean is
    noise, which has any rank. So pass them in that type.

    Args:
        graph: Homogeneous graph of n nodes.
        feat: (n, d).
        tolerance: Share of the largest singular value up to which one counts as 0, at least 0 and below 1.

    Returns:
        Scalar, a whole number without a gradient; NaN for representations that are not finite.

    Raises:
        GraphError: `feat` does not fit the graph.
        ConfigError: Impossible `tolerance`.
    """
    if not 0 <= tolerance < 1:
        raise ConfigError(f"tolerance must be at least 0 and below 1, got {tolerance}")
    exact = _as_double(graph, feat).detach()
    rounding = _ROUNDINGS * torch.finfo(feat.dtype).eps if feat.is_floating_point() else 0.0
    if not exact.isfinite().all():
        return exact.new_tensor(torch.nan)
    spread = torch.linalg.svdvals(exact - exact.mean(0))
    if not len(spread):  # no features
        return exact.new_zeros(())
    least = torch.maximum(tolerance * spread.max(), rounding * torch.linalg.vector_norm(exact))
    return (spread > least).sum().double()


def sid(
    graph: dgl.DGLGraph, label: Tensor, *, negative: dgl.DGLGraph | None = None, known: Tensor | None = None
) -> Tensor:
    r"""Structural imbalance degree of a signed graph (SBP, section 4): 0 if it is perfectly balanced.

    .. math:: \mathrm{SID} = \frac{1}{2n} \sum_v \big( |P(v)| + |N(v)| \big)

    P(v): nodes of v's label that no positive edge joins to v (a negative one or none does). N(v): nodes of another
    label that no negative edge joins to v. So a pair adds nothing only if it is positive and of one label, or negative
    and of two: SID counts all n(n − 1) ordered pairs less those, which takes one pass over the edges.

    The signs: an edge of `graph` is positive and one of `negative` negative; a pair in both has none (DropEdge, whose
    dropped edges are its negative ones). `known` adds Label-SBP's rule, which overrides edges: two nodes of known
    labels attract if these are equal and repel otherwise.

    What the paper leaves open is read thus: v is no member of P(v), as if every node had a positive self-loop. With
    that, Table 6 (GCN, Label-SBP) comes out for stochastic blocks of 100 nodes each; its "N = 100" nodes in total could
    not have |N| = 100. Methods whose A⁻ is dense and weighted (BatchNorm, ContraNorm, Feature-SBP) need the sign of a
    difference of weights at every pair and are not covered.

    Args:
        graph: Homogeneous graph of n nodes: the positive edges. Self-loops and repetitions play no part.
        label: (n,), integers: all nodes' labels.
        negative: Graph of the same nodes: the negative edges. Default: none.
        known: (n,), bool: nodes whose labels Label-SBP sees. Default: none.

    Returns:
        Scalar in [0, (n − 1)/2].

    Raises:
        GraphError: The graph has no nodes, or `label`, `negative` or `known` does not fit it.
    """
    num_nodes = _num_nodes(graph)
    if negative is not None and negative.num_nodes() != num_nodes:
        raise GraphError(f"negative has {negative.num_nodes()} nodes and graph {num_nodes}: give both the same nodes")
    label = _per_node(graph, "label", label)
    known = torch.zeros_like(label, dtype=torch.bool) if known is None else _per_node(graph, "known", known)
    if label.is_floating_point() or known.dtype != torch.bool:
        raise GraphError(f"label must hold integers and known bool; they are {label.dtype} and {known.dtype}")
    attracting = _ordered_pairs(graph)
    repelling = attracting[:0] if negative is None else _ordered_pairs(negative)

    def count(pairs: Tensor, others: Tensor, *, same: bool) -> Tensor:
        i, j = _ends(pairs[~torch.isin(pairs, others)], num_nodes)
        return (((label[i] == label[j]) == same) & ~(known[i] & known[j])).sum()

    by_edges = count(attracting, repelling, same=True) + count(repelling, attracting, same=False)
    by_rule = known.sum() * (known.sum() - 1)
    return (num_nodes * (num_nodes - 1) - by_edges - by_rule).double() / (2 * num_nodes)


def per_layer(
    model: str | Path | ZooModel,
    graph: dgl.DGLGraph,
    metric: Callable[[dgl.DGLGraph, Tensor], Tensor] = dirichlet_energy,
) -> list[float]:
    """A metric of every hidden layer's representations, first layer first.

    The model works in evaluation mode and on its prepared graph. The metric gets the graph as it is given, so that
    models which add self-loops or edges of their own are compared on the same one.

    Args:
        model: Any model of the zoo, or whatever `zoo.load` takes.
        graph: A raw graph, as for `model.prepare`, and not what that returns.
        metric: Called with the graph and representations. For other options of a metric:
            `functools.partial(mad, pairs="neighbors")`.

    Returns:
        One number per hidden layer.

    Raises:
        GraphError: The graph does not suit the model or the metric.
    """
    model = as_model(model)
    with eval_mode(model), torch.no_grad():
        return [float(metric(graph, feat)) for feat in model.layers(model.prepare(graph))]


def _num_nodes(graph: dgl.DGLGraph) -> int:
    if not isinstance(graph, dgl.DGLGraph) or not graph.is_homogeneous:
        raise GraphError(f"expected a DGLGraph with one type of nodes and edges, got {graph!r:.100}")
    if graph.num_nodes() == 0:
        raise GraphError("the graph has no nodes")
    return int(graph.num_nodes())


def _as_double(graph: dgl.DGLGraph, feat: Tensor) -> Tensor:
    num_nodes = _num_nodes(graph)
    if not isinstance(feat, Tensor) or feat.is_complex():
        raise GraphError("feat is no tensor of real numbers")
    if feat.dim() != 2 or len(feat) != num_nodes:
        raise GraphError(f"feat has shape {tuple(feat.shape)}: expected ({num_nodes}, width), one row per node")
    return feat.double()


def _per_node(graph: dgl.DGLGraph, name: str, values: Tensor) -> Tensor:
    if not isinstance(values, Tensor):
        raise GraphError(f"{name} is a {type(values).__name__}: expected a tensor")
    if values.shape != (graph.num_nodes(),):
        raise GraphError(f"{name} has shape {tuple(values.shape)}: expected ({graph.num_nodes()},), one per node")
    return values.to(graph.device)


def _one_for_zero(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 1)


def _ordered_pairs(graph: dgl.DGLGraph) -> Tensor:
    """The pairs of different nodes that an edge joins, each once: source · n + destination, sorted."""
    src, dst = ops.with_coo(graph).edges()
    keep = src != dst
    return torch.unique(src[keep].long() * graph.num_nodes() + dst[keep])


def _ends(pairs: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    return pairs // num_nodes, pairs % num_nodes


def _simple(graph: dgl.DGLGraph) -> dgl.DGLGraph:
    """The graph without self-loops and with no edge twice."""

    def compute() -> dgl.DGLGraph:
        return dgl.graph(_ends(_ordered_pairs(graph), graph.num_nodes()), num_nodes=graph.num_nodes())

    return per_graph(graph, "simple", compute)
