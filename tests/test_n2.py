"""N² against its equations with the n × n_p weights written out, in float64; its ablations, clipping and memory.

The equations are those of `benchmarks/n2_direct.py`.
"""

import math
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo import models, weights
from zoo._dgl import dgl
from zoo.errors import ConfigError, GraphError
from zoo.models import n2
from zoo.models.n2 import N2, NonLinear

DIRECT = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "n2_direct.py"))
IN_FEATS, NUM_CLASSES, HIDDEN, WIDTH, NUM_PSEUDO, PIECES = 5, 3, 6, 4, 7, 3

OPTIONS: list[dict[str, Any]] = [
    {},
    {"form": "paper"},
    {"form": "paper", "scale": False, "layer_norm": False},
    {"scale": False},
    {"layer_norm": False},
    {"pathways": "attention"},
    {"pathways": "attention", "form": "paper"},
    {"pathways": "uniform"},
    {"adaptation": False},
    {"adaptation": False, "form": "paper"},
    {"local_passing": False},
    {"local_passing": False, "form": "paper"},
    {"global_passing": False},
    {"adaptation": False, "global_passing": False},
    {"message_update": False},
    {"share_layers": False},
    {"share_layers": False, "form": "paper"},
    {"num_pseudo_nodes": WIDTH - 1},  # weights multiplied out: no more of them than numbers in a state
    {"num_pseudo_nodes": PIECES * WIDTH + 1, "form": "paper"},  # weights left as products
]


def make(**options: Any) -> N2:
    sizes = {"hidden": HIDDEN, "state_width": WIDTH, "num_pseudo_nodes": NUM_PSEUDO, "num_pieces": PIECES}
    return N2(IN_FEATS, NUM_CLASSES, **{**sizes, **options})


def randomised(model: N2, deviation: float = 0.5) -> N2:
    """In float64 and eval mode, every parameter away from its start; small ones where nothing holds back growth."""
    model = model.double().eval()
    if not model.arguments["layer_norm"]:
        deviation = 0.25
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=deviation)
    return model


def features(graph: Any) -> Tensor:
    return torch.randn(graph.num_nodes(), IN_FEATS, dtype=torch.float64, requires_grad=True)


def assert_same_with_gradients(
    actual: Tensor, expected: Tensor, inputs: list[Tensor], *, tolerance: float = 1e-9
) -> None:
    assert expected.isfinite().all()
    assert expected.detach().abs().max() > 1e-6
    assert_close(actual, expected, tolerance)
    upstream = torch.randn_like(expected)
    ours, theirs = (
        torch.autograd.grad(value, inputs, upstream, allow_unused=True, materialize_grads=True)
        for value in (actual, expected)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, other, tolerance)


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Relative to the largest value; a gradient that is 0 but for rounding has none."""
    size = max(1e-4, float(expected.detach().abs().max()))
    torch.testing.assert_close(actual / size, expected / size, rtol=0, atol=tolerance)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_logits_and_gradients_of_nodes_are_the_equations(options: dict[str, Any], graph: Any) -> None:
    model, x = randomised(make(**options)), features(graph)
    direct = DIRECT["DirectN2"](model, graph)
    assert_same_with_gradients(model(graph, x), direct(x), [x, *model.parameters()])
    for layer, q in zip(model.layers(graph, x), direct.run(x)[0], strict=True):
        assert_close(layer, q)


def random_graph(num_nodes: int) -> Any:
    """Directed, no edge twice."""
    return dgl.graph((torch.rand(num_nodes, num_nodes) < 3 / num_nodes).nonzero(as_tuple=True), num_nodes=num_nodes)


SIZES = [1, 70, 32, 5, 33]  # less than a block, several, and exactly one


@pytest.mark.parametrize(
    "options", [o for o in OPTIONS if o.get("adaptation", True) or o.get("global_passing", True)], ids=str
)
def test_logits_and_gradients_of_graphs_are_the_equations_of_each_alone(options: dict[str, Any]) -> None:
    graphs = [random_graph(size) for size in SIZES]
    batch = dgl.batch(graphs)
    model, x = randomised(make(**options, readout="pseudo-nodes", num_layers=3), 0.3), features(batch)
    own = zip(graphs, x.split(SIZES), strict=True)
    expected = torch.cat([DIRECT["DirectN2"](model, graph)(rows) for graph, rows in own])
    assert_same_with_gradients(model(batch, x), expected, [x, *model.parameters()])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_nodes_of_a_batch_get_what_they_get_in_their_own_graph(options: dict[str, Any]) -> None:
    graphs = [random_graph(size) for size in SIZES]
    model, batch = randomised(make(**options), 0.3), dgl.batch(graphs)
    x = features(batch).detach()
    alone = torch.cat([model(graph, rows) for graph, rows in zip(graphs, x.split(SIZES), strict=True)])
    assert_close(model(batch, x), alone)


@pytest.mark.parametrize("options", [*OPTIONS[:2], *OPTIONS[-2:]], ids=str)
@pytest.mark.parametrize("sizes", [[40], [40, 3]], ids=str)
def test_rows_of_weights_are_scaled_down_where_their_sum_is_too_large(
    options: dict[str, Any], sizes: list[int]
) -> None:
    graphs = [random_graph(size) for size in sizes]
    model, x = randomised(make(**options), 1.0), features(dgl.batch(graphs))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "proximity.weight" in name:
                parameter.mul_(3e3)
    direct = [DIRECT["DirectN2"](model, graph) for graph in graphs]
    clipped = [watch_clipping(one) for one in direct]
    expected = torch.cat([one(rows) for one, rows in zip(direct, x.split(sizes), strict=True)])
    for rows in clipped:
        assert any(rows) and not all(rows)
    inputs = [x, *model.parameters()]
    assert_same_with_gradients(model(dgl.batch(graphs), x), expected, inputs, tolerance=1e-7)  # weights of 10⁴


def watch_clipping(direct: Any) -> list[bool]:
    """Fills up as it is called: whether it had to scale a row of weights down, for every row."""
    clipped: list[bool] = []
    clip = direct.clip

    def watched(weights: Tensor) -> Tensor:
        result: Tensor = clip(weights)
        clipped.extend((result != weights).any(1).tolist())
        return result

    direct.clip = watched
    return clipped


class Made(TorchDispatchMode):
    """Remembers the shapes of all tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.shapes.add(tuple(tensor.shape))
        return result


@pytest.mark.parametrize(("pathways", "expected"), [("proximity", False), ("uniform", False), ("attention", True)])
@pytest.mark.parametrize("readout", [None, "pseudo-nodes"])
def test_no_tensor_joins_all_nodes_to_all_pseudo_nodes(pathways: str, expected: bool, readout: str | None) -> None:
    num_nodes, num_pseudo = 211, 101
    graph = random_graph(num_nodes)
    model = make(num_pseudo_nodes=num_pseudo, pathways=pathways, readout=readout)
    x = features(graph).detach().float()
    with Made() as made:
        model(graph, x).sum().backward()
    assert (max(map(math.prod, made.shapes)) >= num_nodes * num_pseudo) is expected


@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_steps_that_are_recomputed_have_the_same_gradients(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = random_graph(40)
    model, x = randomised(make(**options)).train(), features(graph)
    found, steps, advance = [], [], N2._advance
    monkeypatch.setattr(N2, "_advance", lambda *arguments: steps.append(0) or advance(*arguments))  # type: ignore[func-returns-value]
    counts = []
    for limit in (n2.RECOMPUTE_FROM, 0):
        monkeypatch.setattr(n2, "RECOMPUTE_FROM", limit)
        torch.manual_seed(1)  # dropout
        logits = model(graph, x)
        found.append([logits, *torch.autograd.grad(logits.square().sum(), [x, *model.parameters()])])
        counts.append(len(steps))
    assert all(torch.equal(kept, anew) for kept, anew in zip(*found, strict=True))
    assert counts[1] - counts[0] == 2 * counts[0]


def test_the_names_of_the_nodes_play_no_part_in_the_answer_for_a_graph() -> None:
    graph = random_graph(40)
    model, x, order = randomised(make(readout="pseudo-nodes")), features(graph), torch.randperm(40)
    source, target = (order.argsort()[ends] for ends in graph.edges())
    assert_close(model(dgl.graph((source, target), num_nodes=40), x[order]), model(graph, x))


PAIR = {"edges": ([0, 1, 2, 3], [1, 0, 3, 2]), "others": ([0, 1, 2, 3], [1, 0, 2, 3])}  # nodes 2 and 3, joined or not


@pytest.mark.parametrize(
    ("left_out", "edges_count", "strangers_count"),
    [
        ([], True, True),
        (["local_passing"], False, True),
        (["adaptation"], True, True),
        (["global_passing"], True, True),
        (["adaptation", "global_passing"], True, False),
        (["adaptation", "global_passing", "local_passing"], False, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["code", "paper"])
def test_what_reaches_a_node(form: str, left_out: list[str], edges_count: bool, strangers_count: bool) -> None:
    model = randomised(make(form=form, **dict.fromkeys(left_out, False)))
    joined, apart = (dgl.graph(edges) for edges in PAIR.values())
    x = features(joined).detach()
    answer = model(joined, x)
    assert differs(model(apart, x)[2:], answer[2:]) is edges_count
    moved = x.clone()
    moved[2:] += 1
    assert differs(model(joined, moved)[:2], answer[:2]) is strangers_count


def differs(one: Tensor, other: Tensor) -> bool:
    return float((one - other).detach().abs().max()) > 1e-12 * float(other.detach().abs().max())


def test_without_message_update_there_are_no_parameters_for_it() -> None:
    model = make(num_layers=6, share_layers=False, message_update=False)
    assert not [name for name in model.state_dict() if name.startswith("message_updates")]


@pytest.mark.parametrize(("share_layers", "sets"), [(True, 1), (False, 4)])
def test_shared_layers_have_the_parameters_of_one(share_layers: bool, sets: int) -> None:
    def size(**options: Any) -> int:
        return sum(parameter.numel() for parameter in make(share_layers=share_layers, **options).steps.parameters())

    assert size(num_layers=5) == sets * size(num_layers=2)


def test_the_sizes_are_those_of_the_authors_code() -> None:
    """Which has 548,280 parameters on Amazon Photo, an unused edge-wise layer and time embedding among them."""
    model = N2(745, 8, num_layers=6, hidden=128, state_width=64, num_pseudo_nodes=256, num_pieces=8)
    unused = 128 * 128 + 128 + 6 * 128
    assert sum(parameter.numel() for parameter in model.parameters()) == 548_280 - unused


def test_dropout_scales_what_it_keeps_and_has_its_gradient() -> None:
    layer, x = NonLinear(5, 40, 0.75).double().train(), torch.randn(30, 5, dtype=torch.float64, requires_grad=True)
    output = layer(x)
    kept = (output != 0).double()
    assert 0.15 < float(kept.mean()) < 0.35
    expected = 4 * kept * nn.functional.leaky_relu(nn.functional.linear(x, layer.linear.weight, layer.linear.bias))
    assert_same_with_gradients(output, expected, [x, *layer.parameters()])


@pytest.mark.parametrize("options", [*OPTIONS[:2], *OPTIONS[-2:]], ids=str)
def test_gradients_in_training_are_the_slope_of_the_loss(options: dict[str, Any]) -> None:
    batch = dgl.batch([random_graph(size) for size in SIZES])
    model, x = randomised(make(**options, readout="pseudo-nodes"), 0.3).train(), features(batch)
    inputs = [x, *model.parameters()]
    direction = [torch.randn_like(value) for value in inputs]

    def loss(step: float) -> Tensor:
        with torch.no_grad():
            for value, change in zip(inputs, direction, strict=True):
                value.add_(step * change)
        torch.manual_seed(1)  # dropout
        return model(batch, x).square().sum()

    gradients = torch.autograd.grad(loss(0), inputs)
    slope = sum((own * change).sum() for own, change in zip(gradients, direction, strict=True))
    step = 1e-7
    measured = (loss(step).detach() - loss(-2 * step).detach()) / (2 * step)
    torch.testing.assert_close(measured, slope, rtol=1e-4, atol=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_dropout_acts_in_training_only(options: dict[str, Any]) -> None:
    graph = random_graph(20)
    model, x = randomised(make(**options)), features(graph)
    expected = model(graph, x)
    assert not torch.allclose(model.train()(graph, x), expected)
    torch.testing.assert_close(model.eval()(graph, x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_saved_and_loaded_a_model_of_graphs_is_the_same(options: dict[str, Any], tmp_path: Path) -> None:
    graphs = [random_graph(size) for size in SIZES]
    batch = dgl.batch(graphs)
    model = randomised(make(**options, readout="pseudo-nodes", share_layers=False)).float()
    x = torch.randn(sum(SIZES), IN_FEATS)
    weights.write(model, tmp_path)
    loaded = weights.load_folder(tmp_path)
    assert loaded.readout == "pseudo-nodes"
    assert torch.equal(loaded(batch, x), model(batch, x))
    for graph, rows in zip(graphs, x.split(SIZES), strict=True):
        graph.ndata["feat"] = rows
    expected = model(batch, x).softmax(1)
    for block_size in (1, 10**6):  # each alone, all together
        predicted = zoo.predict(tmp_path, graphs, block_size=block_size).probabilities
        torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("graph", "feat", "message"),
    [
        (dgl.graph(([], [])), torch.zeros(0, IN_FEATS), "the graph has no nodes"),
        (dgl.batch([dgl.graph(([0], [1])), dgl.graph(([], []))]), torch.zeros(2, IN_FEATS), "a graph of the batch has"),
        (dgl.graph(([0], [1])), torch.zeros(2, IN_FEATS + 1), r"feat has shape \(2, 6\), but this model"),
    ],
    ids=["empty", "empty-in-batch", "width"],
)
def test_graphs_that_cannot_be_used_are_refused(graph: Any, feat: Tensor, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        make(readout="pseudo-nodes")(graph, feat)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (torch.zeros(0, IN_FEATS), "the graph has no nodes"),
        (torch.zeros(2, IN_FEATS + 1), r"the graphs have features of different widths: \[5, 6\]"),
    ],
    ids=["empty", "width"],
)
def test_lists_of_graphs_that_cannot_be_used_are_refused(odd: Tensor, message: str) -> None:
    graphs = [dgl.graph(([], []), num_nodes=len(feat)) for feat in (torch.zeros(3, IN_FEATS), odd)]
    for graph, feat in zip(graphs, (torch.zeros(3, IN_FEATS), odd), strict=True):
        graph.ndata["feat"] = feat
    with pytest.raises(GraphError, match=message):
        zoo.predict(make(readout="pseudo-nodes"), graphs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "printed"}, "unknown form 'printed': choose from code, paper"),
        ({"pathways": "dense"}, "unknown pathways 'dense': choose from proximity, attention, uniform"),
        ({"readout": "pseudo"}, "unknown readout 'pseudo': choose from mean, sum, max, pseudo-nodes"),
        ({"num_pseudo_nodes": 0}, "num_pseudo_nodes must be positive, got 0"),
        ({"num_pieces": -1}, "num_pieces must be positive, got -1"),
        ({"state_width": 0}, "state_width must be positive, got 0"),
        (
            {"readout": "pseudo-nodes", "adaptation": False, "global_passing": False},
            "needs adaptation or global_passing: else all graphs are alike",
        ),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        models.create("n2", {"in_feats": IN_FEATS, "num_classes": NUM_CLASSES, **arguments})
