"""Cluster-Normalize-Activate against a loop over clusters; its refits, its state, its options."""

from typing import Any

import pytest
import torch
from oracles import assert_same_bits, snapshot
from torch import Tensor

from zoo._dgl import dgl
from zoo.errors import ConfigError
from zoo.models import cna, create
from zoo.models.cna import CNA, ClusterNormalizeActivate
from zoo.nn.kmeans import DISTANCES
from zoo.nn.rational import VERSIONS, Rational

EPSILON = 1e-5
WIDTH, CLUSTERS = 4, 3


def nodes(count: int = 40) -> Tensor:
    return 3 * torch.randn(count, WIDTH, dtype=torch.float64) + 1


def make_layer(**options: Any) -> ClusterNormalizeActivate:
    layer = ClusterNormalizeActivate(WIDTH, options.pop("num_clusters", CLUSTERS), **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


def nearest(x: Tensor, centroids: Tensor, distance: str) -> list[int]:
    if distance == "cosine":
        x, centroids = (rows / rows.norm(dim=1, keepdim=True) for rows in (x, centroids))
    return [min(range(len(centroids)), key=lambda c: float((row - centroids[c]).norm())) for row in x]


def rational(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    above = torch.stack([a[j] * x**j for j in range(len(a))]).sum(0)
    return above / (1 + torch.stack([(b[k] * x ** (k + 1)).abs() for k in range(len(b))]).sum(0))


def by_loop(layer: ClusterNormalizeActivate, x: Tensor, norm: str, activation: str) -> Tensor:
    """Cluster by cluster, from the three steps in words."""
    if layer.num_clusters == 1:
        clusters = torch.zeros(len(x), dtype=torch.int64)
    else:
        clusters = torch.tensor(nearest(x.detach(), layer.centroids, layer.distance))
    result = torch.empty_like(x)
    for c in set(clusters.tolist()):
        members = x[clusters == c]
        if norm == "cluster":
            members = (members - members.mean(0)) / (members.var(0, correction=0) + EPSILON).sqrt()
        elif norm == "row":
            mean, variance = members.mean(1, keepdim=True), members.var(1, keepdim=True, correction=1)
            members = (members - mean) / (variance + EPSILON).sqrt()
        if activation == "rational":
            assert isinstance(layer.activate, Rational)
            members = rational(members, layer.activate.numerator[c], layer.activate.denominator[c])
        elif activation == "relu":
            members = members.clamp(min=0)
        result[clusters == c] = members
    return result


@pytest.mark.parametrize("norm", cna.NORMS)
@pytest.mark.parametrize("activation", cna.ACTIVATIONS)
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("num_clusters", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_the_layer_is_the_three_steps(
    norm: str, activation: str, distance: str, num_clusters: int, training: bool
) -> None:
    layer = make_layer(norm=norm, activation=activation, distance=distance, num_clusters=num_clusters)
    layer(nodes())
    layer.train(training)
    x = nodes().requires_grad_()
    actual, expected = layer(x), by_loop(layer, x, norm, activation)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    inputs, upstream = [x, *layer.parameters()], torch.randn_like(x)
    for one, other in zip(
        torch.autograd.grad(actual, inputs, upstream), torch.autograd.grad(expected, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_clusters_are_found_and_each_has_its_own_function() -> None:
    centres = torch.tensor([[0.0] * WIDTH, [50.0] * WIDTH, [-50.0] * WIDTH], dtype=torch.float64)
    x = centres.repeat_interleave(10, 0) + torch.randn(30, WIDTH, dtype=torch.float64)
    layer = make_layer(norm="none", activation="rational", refit_every=1)
    for _ in range(20):  # k-means finds the three in most draws; all need not
        layer(x)
        clusters = layer.eval().cluster(x)
        if len(clusters.unique()) == 3 and all(len(part.unique()) == 1 for part in clusters.split(10)):
            break
        layer.train()
    else:
        pytest.fail("three far clusters were never found")
    assert isinstance(layer.activate, Rational)
    x.requires_grad_(False)
    layer(x)[:10].sum().backward()
    grad = layer.activate.numerator.grad
    assert grad is not None
    assert [bool(row.any()) for row in grad] == [c == int(clusters[0]) for c in range(3)]


@pytest.mark.parametrize("refit_every", [1, 2, 5])
def test_refits_are_counted_in_training_calls(refit_every: int) -> None:
    layer, refits = make_layer(refit_every=refit_every), []
    for call in range(11):
        before = layer.centroids.clone()
        layer(nodes())
        layer.eval()(nodes())
        layer.train()
        if not torch.equal(layer.centroids, before):
            refits.append(call)
    assert refits == list(range(0, 11, refit_every))
    assert layer.calls == 11


def test_without_a_rule_only_the_first_call_fits() -> None:
    layer = make_layer(refit_every=0)
    layer(nodes())
    centroids = layer.centroids.clone()
    assert centroids.any()
    for _ in range(30):
        layer(100 * nodes())
    assert torch.equal(layer.centroids, centroids)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_threshold_refits_once_the_clusters_have_loosened(distance: str) -> None:
    layer = make_layer(refit_every=0, refit_threshold=0.5, distance=distance)
    x = 5 * torch.eye(WIDTH, dtype=torch.float64)[:CLUSTERS].repeat(20, 1) + 0.1 * nodes(60)
    layer(x)
    centroids = layer.centroids.clone()
    layer(x)
    assert torch.equal(layer.centroids, centroids)
    layer(-x)
    assert not torch.equal(layer.centroids, centroids)


@pytest.mark.parametrize(("growth", "refits"), [(1.4, False), (1.6, True)])
def test_the_threshold_is_the_share_of_the_mean_squared_distance(growth: float, refits: bool) -> None:
    ends = torch.tensor([[-100.0] * WIDTH, [100.0] * WIDTH], dtype=torch.float64)
    sides = torch.ones(1, WIDTH, dtype=torch.float64)

    def pairs(size: float) -> Tensor:
        return torch.cat([ends - size * sides, ends + size * sides])

    layer = make_layer(num_clusters=2, refit_every=0, refit_threshold=0.5)
    layer(pairs(1))
    layer.centroids += 1e-9  # a refit takes it away again
    moved = layer.centroids.clone()
    layer(pairs(growth**0.5))
    assert torch.equal(layer.centroids, moved) != refits


def test_one_cluster_is_never_fitted() -> None:
    layer = make_layer(num_clusters=1)
    layer(nodes())
    assert not layer.centroids.any()


def test_a_refit_makes_the_running_statistics_start_anew() -> None:
    layer, first, second = make_layer(num_clusters=2, running_norm=True, refit_every=2), nodes(), 100 + 9 * nodes()
    for x in (first, first, second):
        layer(x)
    clusters, answer = layer.eval().cluster(second), layer(second)
    expected = by_loop(layer, second, "cluster", "rational")
    assert len(clusters.unique()) == 2
    torch.testing.assert_close(answer, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("running_norm", [True, False])
def test_evaluation_is_a_pure_function(running_norm: bool) -> None:
    layer, x = make_layer(version="D", running_norm=running_norm, refit_every=1), nodes()
    for _ in range(2):
        layer(nodes())
    layer.eval()
    before, state = x.clone(), snapshot(layer)
    random_state = torch.get_rng_state()
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(x, before)
    assert_same_bits(layer.state_dict(), state)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_training_does_not_write_to_its_input_either() -> None:
    x = nodes()
    before = x.clone()
    make_layer()(x).sum().backward()
    assert torch.equal(x, before)


@pytest.mark.parametrize("norm", cna.NORMS)
@pytest.mark.parametrize("running_norm", [True, False])
def test_the_state_restores_the_answers_to_the_bit(norm: str, running_norm: bool) -> None:
    trained = make_layer(norm=norm, running_norm=running_norm)
    for _ in range(3):
        trained(nodes())
    restored = make_layer(norm=norm, running_norm=running_norm)
    restored.load_state_dict(trained.state_dict())
    for x in (nodes(), nodes(7)):
        assert torch.equal(restored.eval()(x), trained.eval()(x))
    x, centroids = nodes(), trained.centroids.clone()
    assert torch.equal(restored.train()(x), trained.train()(x))
    assert torch.equal(restored.centroids, centroids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "batch"}, "unknown norm 'batch': choose from cluster, row, none"),
        ({"activation": "elu"}, "unknown activation 'elu': choose from rational, relu, none"),
        ({"distance": "dot"}, "unknown distance 'dot': choose from euclidean, cosine"),
        ({"version": "N"}, "unknown rational version 'N'"),
        ({"degrees": (5,)}, "two positive numbers"),
        ({"degrees": (5, 4, 3)}, "two positive numbers"),
        ({"degrees": (5, 0)}, "two positive numbers"),
        ({"num_clusters": 0}, "num_clusters must be at least 1, got 0"),
        ({"refit_every": -1}, "refit_every must not be negative, got -1"),
        ({"refit_threshold": -0.5}, "refit_threshold must not be negative"),
        ({"conv": "gnc"}, "unknown convolution 'gnc'"),
        ({"num_layers": 1}, "num_layers=1 leaves no hidden layer: use at least 2"),
        ({"num_layers": 0, "linear_ends": True}, "num_layers=0 leaves no hidden layer: use at least 1"),
        ({"num_layers": 0, "linear_ends": True, "readout": "sum"}, "num_layers=0 leaves no hidden layer"),
        ({"hidden": 0}, "positive"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create("cna", {"in_feats": 4, "num_classes": 2, **options})


def ring(num_nodes: int = 30) -> Any:
    """A ring with chords and self-loops."""
    node = torch.arange(num_nodes)
    edges = torch.cat([node, node, node]), torch.cat([(node + 1) % num_nodes, (7 * node + 3) % num_nodes, node])
    graph = dgl.graph(edges, num_nodes=num_nodes)
    graph.ndata["feat"] = torch.randn(num_nodes, 6, dtype=torch.float64)
    return graph


OPTIONS: list[dict[str, Any]] = [
    {},
    *({"norm": norm} for norm in cna.NORMS),
    *({"activation": activation} for activation in cna.ACTIVATIONS),
    *({"distance": distance} for distance in DISTANCES),
    *({"version": version} for version in VERSIONS),
    {"share_activation": True},
    {"linear_ends": True},
    {"linear_ends": True, "num_layers": 1},
    {"linear_ends": True, "readout": "mean"},
    {"refit_every": 1},
    {"refit_every": 0, "refit_threshold": 0.1},
    {"degrees": [3, 2]},
    {"num_clusters": 1},
    {"num_clusters": 100},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_trains_and_its_state_restores_the_answers(options: dict[str, Any]) -> None:
    arguments = {"num_layers": 3, "hidden": 8, "num_clusters": 4, **options}
    graph, other = ring(), ring(13)
    model, restored = (CNA(6, 3, **arguments).double() for _ in range(2))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for _ in range(3):
        optimizer.zero_grad()
        model(graph).square().mean().backward()
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    restored.load_state_dict(model.state_dict())
    model.eval()
    restored.eval()
    for each in (graph, other):
        assert torch.equal(restored(each), model(each))


@pytest.mark.parametrize("share", [True, False])
def test_a_shared_activation_is_one_module_called_by_every_layer(share: bool) -> None:
    graph = ring()
    model: Any = CNA(6, 3, num_layers=4, share_activation=share).double()
    model(graph)
    assert [int(layer.calls) for layer in model.activations] == ([3] if share else [1, 1, 1])


def test_the_model_is_convolutions_with_the_layer_between_them() -> None:
    graph = ring()
    model: Any = CNA(6, 3, conv="linear", num_layers=3, hidden=WIDTH, num_clusters=CLUSTERS).double()
    model(graph)
    state = graph.ndata["feat"]
    for conv, layer in zip(model.convs, model.activations, strict=True):
        state = by_loop(layer, state @ conv.linear.weight.t() + conv.linear.bias, "cluster", "rational")
    expected = state @ model.head.linear.weight.t() + model.head.linear.bias
    torch.testing.assert_close(model.eval()(graph), expected, rtol=1e-9, atol=1e-9)


def test_linear_ends_stand_before_and_after_the_convolutions() -> None:
    graph = ring()
    model = CNA(6, 3, num_layers=2, linear_ends=True, activation="none", norm="none", num_clusters=1).double().eval()
    assert model.encoder is not None
    state = model.encoder(graph.ndata["feat"])
    for conv in model.convs:
        state = conv(graph, state)
    assert len(model.convs) == 2
    torch.testing.assert_close(model(graph), model.head(graph, state), rtol=0, atol=0)
