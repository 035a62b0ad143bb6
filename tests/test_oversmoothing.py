"""Oversmoothing metrics against loops over pairs of nodes, on random graphs and on odd ones."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo import datasets, models
from zoo._dgl import dgl
from zoo.analysis import oversmoothing
from zoo.analysis.oversmoothing import PAIRS, attractor_rank, dirichlet_energy, mad, mad_gap, mu, per_layer, sid
from zoo.errors import ConfigError, GraphError

Metric = Callable[[Any, Tensor], Tensor]

SMOOTH: dict[str, Metric] = {
    "energy, degrees": dirichlet_energy,
    "energy, nodes": partial(dirichlet_energy, normalize="nodes"),
    "mad, all": mad,
    "mad, neighbors": partial(mad, pairs="neighbors"),
    "mad, remote": partial(mad, pairs="remote"),
    "mad_gap": mad_gap,
    "mu": mu,
}
METRICS = {**SMOOTH, "rank": attractor_rank}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
every_smooth_metric = pytest.mark.parametrize("metric", SMOOTH.values(), ids=SMOOTH)


def random_graph(seed: int, num_nodes: int = 12) -> Any:
    """Directed, with repeated edges and self-loops; the last two nodes have no edges but one self-loop."""
    src, dst = torch.randint(num_nodes - 2, (2, 3 * num_nodes), generator=torch.Generator().manual_seed(seed))
    last = torch.tensor([num_nodes - 1])
    return dgl.graph((torch.cat([src, last, src[:3]]), torch.cat([dst, last, dst[:3]])), num_nodes=num_nodes)


def undirected(graph: Any) -> Any:
    src, dst = graph.edges()
    return dgl.graph((torch.cat([src, dst]), torch.cat([dst, src])), num_nodes=graph.num_nodes())


def complete(num_nodes: int) -> Any:
    src, dst = (~torch.eye(num_nodes, dtype=torch.bool)).nonzero(as_tuple=True)
    return dgl.graph((src, dst), num_nodes=num_nodes)


GRAPHS: dict[str, Callable[[], Any]] = {
    "random": lambda: random_graph(0),
    "other": lambda: random_graph(1),
    "undirected": lambda: undirected(random_graph(2)),
    "int32": lambda: random_graph(3).int(),
    "no-edges": lambda: dgl.graph(([], []), num_nodes=4),
    "complete": lambda: complete(4),
    "one-node": lambda: dgl.graph(([0], [0]), num_nodes=1),
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> Any:
    return GRAPHS[request.param]()


@pytest.fixture
def feat(graph: Any) -> Tensor:
    return rand(graph.num_nodes())


def rand(num_nodes: int, width: int = 5) -> Tensor:
    return torch.randn(num_nodes, width, dtype=torch.float64)


def assert_equal(actual: Tensor, expected: Tensor | float) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


# Dirichlet energy


def test_energy_by_degrees_is_a_trace(graph: Any, adjacency: Tensor, feat: Tensor) -> None:
    degrees = adjacency.sum(1)
    scale = torch.diag(torch.tensor([d**-0.5 if d else 0.0 for d in degrees.tolist()], dtype=torch.float64))
    laplacian = scale @ (torch.diag(degrees) - adjacency) @ scale
    assert_equal(dirichlet_energy(graph, feat), torch.trace(feat.t() @ laplacian @ feat))


def test_energy_by_nodes_is_a_sum_over_edges(graph: Any, edges: list[tuple[int, int]], feat: Tensor) -> None:
    total = sum(float((feat[i] - feat[j]).square().sum()) for j, i in edges)
    assert_equal(dirichlet_energy(graph, feat, normalize="nodes"), total / len(feat))


def test_energy_by_degrees_compares_neighbours_over_the_root_of_their_degrees() -> None:
    graph = undirected(random_graph(4))
    degrees, feat = graph.in_degrees().double().unsqueeze(1), rand(12)
    scaled, (src, dst) = feat / degrees.clamp(min=1).sqrt(), graph.edges()
    assert_equal(dirichlet_energy(graph, feat), (scaled[src] - scaled[dst]).square().sum() / 2)
    assert_equal(dirichlet_energy(graph, degrees.sqrt() * rand(1)), 0.0)
    assert dirichlet_energy(graph, torch.ones(12, 2)) > 0.01


# MAD


def partners(adjacency: Tensor, i: int, pairs: str) -> list[int]:
    others = [j for j in range(len(adjacency)) if j != i]
    near = [j for j in others if adjacency[i, j]]
    return {"all": others, "neighbors": near, "remote": [j for j in others if j not in near]}[pairs]


def brute_mad(adjacency: Tensor, feat: Tensor, pairs: str) -> float:
    """NaN where there are no pairs."""
    means = []
    for i in range(len(feat)):
        cosines = [torch.cosine_similarity(feat[i], feat[j], dim=0).item() for j in partners(adjacency, i, pairs)]
        if cosines:
            means.append(1 - sum(cosines) / len(cosines))
    return sum(means) / len(means) if means else math.nan


@pytest.mark.parametrize("pairs", PAIRS)
def test_mad_is_a_mean_over_pairs(graph: Any, adjacency: Tensor, feat: Tensor, pairs: str) -> None:
    expected = brute_mad(adjacency, feat, pairs)
    if math.isnan(expected):
        with pytest.raises(GraphError, match=f"MAD over '{pairs}' pairs is undefined"):
            mad(graph, feat, pairs=pairs)
    else:
        assert_equal(mad(graph, feat, pairs=pairs), expected)


def test_mad_of_all_pairs_is_the_default() -> None:
    graph, feat = random_graph(0), rand(12)
    assert torch.equal(mad(graph, feat), mad(graph, feat, pairs="all"))


def test_mad_gap_is_remote_less_near() -> None:
    # Two far apart directions, each of them that of a connected pair.
    graph = undirected(dgl.graph(([0, 2], [1, 3])))
    feat = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    assert_equal(mad_gap(graph, feat), 1.0)
    assert_equal(mad_gap(graph, feat[[0, 2, 1, 3]]), 0.5 - 1.0)


def test_a_zero_representation_is_at_cosine_distance_one() -> None:
    feat = rand(12)
    feat[3] = 0
    assert_equal(mad(random_graph(0), feat), brute_mad(torch.zeros(12, 12), feat, "all"))
    assert_equal(mad(random_graph(0), torch.zeros(12, 5)), 1.0)


# μ


def brute_mu(feat: Tensor) -> float:
    total = 0.0
    for i, x in enumerate(feat):
        for j, y in enumerate(feat):
            if i != j and (x.any() or y.any()):
                total += float((x - y).norm() / (x.norm() + y.norm()))
    return total / (len(feat) * (len(feat) - 1))


@pytest.mark.parametrize("tile", [1, 30, 60, 1000])
def test_mu_is_a_mean_over_pairs_however_it_is_tiled(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oversmoothing, "_TILE", tile)
    feat = rand(12)
    feat[[2, 5]] = 0
    feat[7] = feat[8]
    assert_equal(mu(random_graph(0), feat), brute_mu(feat))


def test_mu_is_one_for_opposite_representations() -> None:
    assert_equal(mu(dgl.graph(([], []), num_nodes=2), torch.tensor([[1.0, 2.0], [-2.0, -4.0]])), 1.0)


def test_mu_of_one_node_is_undefined() -> None:
    with pytest.raises(GraphError, match="one node"):
        mu(dgl.graph(([0], [0])), torch.ones(1, 3))


# Attractor rank


def with_spread(*values: float, num_nodes: int = 30, width: int = 6) -> Tensor:
    """Rows with mean 0 and these singular values."""
    left = rand(num_nodes, len(values))
    left, right = torch.linalg.qr(left - left.mean(0)).Q, torch.linalg.qr(rand(width, len(values))).Q
    return left * torch.tensor(values, dtype=torch.float64) @ right.t()


def rank(feat: Tensor, **options: Any) -> float:
    return attractor_rank(dgl.graph(([], []), num_nodes=len(feat)), feat, **options).item()


@pytest.mark.parametrize("num_directions", [1, 2, 5])
def test_rank_is_that_of_the_covariance(num_directions: int) -> None:
    feat = rand(1, 6) + with_spread(*[1.0] * num_directions)
    assert rank(feat) == num_directions == torch.linalg.matrix_rank(torch.cov(feat.t()), hermitian=True)


def test_rank_counts_singular_values_above_a_share_of_the_largest() -> None:
    feat = rand(1, 6) + with_spread(5.0, 0.1, 0.006, 0.004, 1e-7)
    assert rank(feat) == 3
    assert rank(feat, tolerance=0.1) == 1
    assert rank(feat, tolerance=1e-6) == 4
    assert rank(feat, tolerance=0) == 5
    assert rank(1e-200 * feat) == 3


def test_rank_is_at_most_the_width_and_the_nodes_less_one() -> None:
    assert rank(rand(12, 5)) == 5
    assert rank(rand(4, 5)) == 3
    assert rank(rand(1, 5)) == 0


def test_rank_does_not_take_rounding_for_spread() -> None:
    offset, spread = 1 + torch.rand(1, 6, dtype=torch.float64), 1e-9 * with_spread(1.0, 0.5)
    assert rank(offset + spread) == 2
    assert rank(spread.float()) == 2
    assert rank((offset + spread).float()) == 0
    assert rank((offset * (1 + 1e-7 * rand(30, 6))).float()) == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rank_of_what_is_not_finite_is_no_number(value: float) -> None:
    feat = rand(12)
    feat[3, 2] = value
    assert math.isnan(rank(feat))


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, math.nan])
def test_an_impossible_tolerance_is_refused(tolerance: float) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        rank(rand(12), tolerance=tolerance)


# What the metrics of representations have in common


@pytest.mark.parametrize("name", [name for name in METRICS if name != "energy, degrees"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_representations_give_zero(name: str, dtype: torch.dtype) -> None:
    feat = torch.tensor([[0.1, -3.3, 1e4]], dtype=dtype).expand(12, 3)
    assert abs(METRICS[name](random_graph(0), feat).item()) < 1e-12


def test_constant_representations_of_a_regular_graph_have_no_energy() -> None:
    assert abs(dirichlet_energy(complete(4), torch.full((4, 3), 0.7)).item()) < 1e-12


def test_near_collapse_the_energy_by_degrees_is_that_of_what_is_left() -> None:
    graph, noise = undirected(random_graph(2)), rand(12)
    collapsed = 1000 * graph.in_degrees().double().sqrt().unsqueeze(1)
    assert dirichlet_energy(graph, collapsed).abs() < 1e-20
    found = dirichlet_energy(graph, collapsed + 1e-6 * noise)
    torch.testing.assert_close(found, 1e-12 * dirichlet_energy(graph, noise), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["energy, nodes", "mu"])
def test_nearly_collapsed_representations_are_told_apart(name: str) -> None:
    noise, offset = rand(12), 1000.0
    feat = offset + 1e-6 * noise
    # With so small a spread all norms are those of the offset.
    scale = 1e-6**2 if name == "energy, nodes" else 1e-6 / (2 * offset * math.sqrt(5))
    expected = (
        dirichlet_energy(random_graph(0), noise, normalize="nodes") if name == "energy, nodes"
        else torch.cdist(noise, noise).sum() / (12 * 11)
    )
    torch.testing.assert_close(METRICS[name](random_graph(0), feat), scale * expected, rtol=1e-6, atol=0)


@every_metric
def test_the_order_of_nodes_plays_no_part(metric: Metric) -> None:
    graph, feat, order = random_graph(0), rand(12), torch.randperm(12)
    place = torch.argsort(order)
    src, dst = graph.edges()
    permuted = dgl.graph((place[src], place[dst]), num_nodes=12)
    torch.testing.assert_close(metric(permuted, feat[order]), metric(graph, feat), rtol=1e-10, atol=1e-12)


@every_metric
def test_float32_is_computed_in_float64_and_nothing_is_written(metric: Metric) -> None:
    graph, feat = random_graph(0), rand(12).float()
    before = feat.clone()
    assert torch.equal(metric(graph, feat), metric(graph, feat.double()))
    assert metric(graph, feat).dtype == torch.float64
    assert metric(graph, feat).shape == ()
    assert torch.equal(feat, before)
    assert not graph.ndata
    assert not graph.edata


@every_smooth_metric
def test_gradients_pass_through(metric: Metric) -> None:
    assert torch.autograd.gradcheck(partial(metric, random_graph(0)), (rand(12).requires_grad_(),))


@every_smooth_metric
@pytest.mark.parametrize("kind", ["zero", "constant", "equal rows"])
def test_gradients_of_collapsed_representations_are_finite(metric: Metric, kind: str) -> None:
    feat = {"zero": torch.zeros(12, 5), "constant": torch.ones(12, 5), "equal rows": rand(3).repeat(4, 1)}[kind]
    feat.requires_grad_()
    (grad,) = torch.autograd.grad(metric(random_graph(0), feat), feat)
    assert grad.isfinite().all()


@every_metric
@pytest.mark.parametrize("shape", [(11, 5), (12,), (12, 5, 1)])
def test_representations_of_another_shape_are_refused(metric: Metric, shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match=r"expected \(12, width\)"):
        metric(random_graph(0), torch.ones(shape))


@every_metric
def test_a_graph_without_nodes_is_refused(metric: Metric) -> None:
    with pytest.raises(GraphError, match="no nodes"):
        metric(dgl.graph(([], [])), torch.ones(0, 3))


def test_rank_of_whole_numbers_and_of_no_features() -> None:
    whole = torch.arange(24).reshape(12, 2)
    assert attractor_rank(random_graph(0), whole) == attractor_rank(random_graph(0), whole.double()) == 1
    assert attractor_rank(random_graph(0), torch.ones(12, 0)) == 0


@pytest.mark.parametrize(
    ("call", "choices"),
    [(partial(dirichlet_energy, normalize="sum"), "degrees, nodes"), (partial(mad, pairs="near"), "all, neighbors")],
)
def test_unknown_options_are_refused(call: Metric, choices: str) -> None:
    with pytest.raises(ConfigError, match=choices):
        call(random_graph(0), rand(12))


# SID


def has_edge(graph: Any | None, i: int, j: int) -> bool:
    return graph is not None and graph.has_edges_between(j, i)


def brute_sid(graph: Any, label: Tensor, negative: Any | None, known: Tensor | None) -> float:
    count, num_nodes = 0, graph.num_nodes()
    for i in range(num_nodes):
        for j in set(range(num_nodes)) - {i}:
            same = bool(label[i] == label[j])
            sign = has_edge(graph, i, j) - has_edge(negative, i, j)
            if known is not None and known[i] and known[j]:
                sign = 1 if same else -1
            count += sign <= 0 if same else sign >= 0
    return count / (2 * num_nodes)


@pytest.mark.parametrize("with_negative", [False, True])
@pytest.mark.parametrize("with_known", [False, True])
def test_sid_counts_pairs_of_the_wrong_sign(graph: Any, with_negative: bool, with_known: bool) -> None:
    num_nodes = graph.num_nodes()
    label, known = torch.randint(3, (num_nodes,)), torch.rand(num_nodes) < 0.6
    negative = random_graph(7, num_nodes) if num_nodes > 2 else dgl.graph(([], []), num_nodes=num_nodes)
    options = {"negative": negative if with_negative else None, "known": known if with_known else None}
    assert_equal(sid(graph, label, **options), brute_sid(graph, label, **options))


def test_sid_does_not_see_the_order_of_nodes() -> None:
    graph, order = random_graph(0), torch.randperm(12)
    label, known, place = torch.randint(3, (12,)), torch.rand(12) < 0.5, torch.argsort(order)
    src, dst = graph.edges()
    permuted = dgl.graph((place[src], place[dst]), num_nodes=12)
    assert torch.equal(sid(permuted, label[order], known=known[order]), sid(graph, label, known=known))


def test_sid_of_a_balanced_graph_is_zero() -> None:
    label = torch.tensor([0, 0, 1, 1, 2])
    same = label[:, None] == label
    inside, between = (dgl.graph(mask.nonzero(as_tuple=True), num_nodes=5) for mask in (same, ~same))
    assert sid(inside, label, negative=between) == 0
    assert sid(between, label, negative=inside) == (5 - 1) / 2  # the largest
    assert sid(between, label, known=torch.ones(5, dtype=torch.bool)) == 0  # Theorem H.4


def block_graph(size: int, seed: int) -> tuple[Any, Tensor]:
    """The SBP paper's stochastic block model: two blocks, p = 2 log(100)/100 and q = log(100)/100."""
    label = torch.arange(2 * size) // size
    probability = math.log(100) / 100 * (1.0 + (label[:, None] == label))
    upper = (torch.rand(2 * size, 2 * size, generator=torch.Generator().manual_seed(seed)) < probability).triu(1)
    return dgl.graph((upper | upper.t()).nonzero(as_tuple=True), num_nodes=2 * size), label


def test_sid_gives_the_papers_table_6() -> None:
    values = []
    for seed in range(10):
        graph, label = block_graph(100, seed)
        known = torch.arange(200) % 5 > 0  # 80 % of each block: the share is not printed, this one fits
        values.append([sid(graph, label).item(), sid(graph, label, known=known).item()])
    gcn, label_sbp = torch.tensor(values).mean(0).tolist()
    assert gcn == pytest.approx(94.94, abs=0.15)
    assert label_sbp == pytest.approx(34.31, abs=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": torch.zeros(11, dtype=torch.int64)}, "label has shape"),
        ({"label": torch.zeros(12)}, "integers"),
        ({"known": torch.ones(3, dtype=torch.bool)}, "known has shape"),
        ({"known": torch.arange(12)}, "known bool"),
        ({"negative": dgl.graph(([0], [1]))}, "negative has 2 nodes"),
    ],
)
def test_sid_refuses_what_does_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        sid(random_graph(0), **{"label": torch.zeros(12, dtype=torch.int64), **arguments})


def test_sid_refuses_a_graph_without_nodes() -> None:
    with pytest.raises(GraphError, match="no nodes"):
        sid(dgl.graph(([], [])), torch.zeros(0, dtype=torch.int64))


# Layers of a model


def model_and_graph(method: str, **arguments: Any) -> tuple[Any, Any]:
    graph = undirected(random_graph(0))
    graph.ndata["feat"] = torch.randn(12, 6)
    return models.create(method, {"in_feats": 6, "num_classes": 3, "num_layers": 4, **arguments}), graph


@every_metric
@pytest.mark.parametrize("method", models.list_models())
def test_every_hidden_layer_of_every_model_has_one_finite_number(method: str, metric: Metric) -> None:
    model, graph = model_and_graph(method)
    values = per_layer(model, graph, metric)
    assert len(values) == 3
    assert all(isinstance(value, float) and math.isfinite(value) for value in values)


def test_layers_are_those_of_the_prepared_graph_and_the_metric_sees_the_given_one() -> None:
    model, graph = model_and_graph("gcn", transforms=["add_self_loop", "row_normalize"])
    values = per_layer(model, graph)
    model.eval()
    assert values == [dirichlet_energy(graph, feat).item() for feat in model.layers(model.prepare(graph))]


def test_a_checkpoint_is_measured_by_its_name() -> None:
    graph = datasets.load("csbm")
    assert per_layer("gcn-csbm", graph) == per_layer(zoo.load("gcn-csbm"), graph)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_measured_in_evaluation_mode_and_left_as_it_was(training: bool) -> None:
    model, graph = model_and_graph("gcn")
    expected = per_layer(model.eval(), graph, mu)
    assert per_layer(model.train(training), graph, mu) == expected
    assert model.training == training


@every_metric
def test_what_is_no_graph_or_no_tensor_of_numbers_is_told(metric: Callable[..., Tensor]) -> None:
    graph, feat = random_graph(0), rand(12)
    several = dgl.heterograph({("a", "of", "b"): ([0, 1], [1, 0]), ("b", "of", "a"): ([0, 1], [1, 0])})
    for wrong in (None, several):
        with pytest.raises(GraphError, match="expected a DGLGraph with one type of nodes and edges"):
            metric(wrong, feat)
    for wrong in (feat.numpy(), feat.to(torch.complex128)):
        with pytest.raises(GraphError, match="feat is no tensor of real numbers"):
            metric(graph, wrong)


@pytest.mark.parametrize("formats", ["csr", "csc"])
def test_pairs_of_a_graph_restricted_to_a_format_are_the_same(formats: str) -> None:
    graph, feat = random_graph(0), rand(12)
    assert mad(graph.formats(formats), feat, pairs="neighbors") == mad(graph, feat, pairs="neighbors")
