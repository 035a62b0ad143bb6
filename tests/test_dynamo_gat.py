"""DYNAMO-GAT: its steps edge by edge in float64, with every option; what pruning leaves, and where it is kept."""

import copy
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import (
    IN_FEATS,
    NUM_CLASSES,
    assert_same_bits,
    assert_same_with_gradients,
    features,
    linear,
    randomised,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo import ops, weights
from zoo._dgl import dgl
from zoo.analysis import count_operations
from zoo.errors import CheckpointError, ConfigError, GraphError
from zoo.models.dynamo_gat import FULL, DynamoGAT, Rule
from zoo.training import loop
from zoo.training.recipe import Recipe, find_settings, merge, parse

HIDDEN, HEADS, LAYERS = 3, 2, 3
RATE, GROWTH, BETA, EPSILON, RESIDUAL = 0.4, 0.5, 0.7, 0.4, 0.2

Edges = list[tuple[int, int]]


def make(**options: Any) -> Any:
    defaults = {
        "num_layers": LAYERS + 1,
        "hidden": HIDDEN,
        "heads": HEADS,
        "noise": 0.0,
        "rate": RATE,
        "rate_growth": GROWTH,
        "beta": BETA,
        "epsilon": EPSILON,
        "initial_residual": RESIDUAL,
        "dropout": 0.0,
        "prune_every": 1,
    }
    return DynamoGAT(IN_FEATS, NUM_CLASSES, **{**defaults, **options})


def some_graph(num_nodes: int = 30, seed: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(num_nodes**2, generator=generator)[: 4 * num_nodes]
    graph = dgl.graph((places // num_nodes, places % num_nodes), num_nodes=num_nodes).remove_self_loop().add_self_loop()
    graph.ndata["feat"] = torch.randn(num_nodes, IN_FEATS, generator=generator).double()
    return graph


def pruned(graph: Any, passes: int = 3, **options: Any) -> Any:
    """A model in eval mode after some training passes on a graph."""
    model = randomised(make(**options)).train()
    for _ in range(passes):
        model(graph)
    return model.eval()


def edges_of(graph: Any) -> Edges:
    src, dst = graph.edges(order="eid")
    return list(zip(src.tolist(), dst.tolist(), strict=True))


# The equations, edge by edge; w is (num_edges,).


def attend(conv: Any, edges: Edges, h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """α, (num_edges, heads), and Σ_j α_ij W h_j, (num_nodes, heads · hidden)."""
    values = (h @ conv.linear.weight.t()).view(len(h), HEADS, HIDDEN)
    sums, alphas = [h.new_zeros(HEADS, HIDDEN) for _ in h], [h.new_zeros(HEADS) for _ in edges]
    for node in range(len(h)):
        incoming = [number for number, edge in enumerate(edges) if edge[1] == node]
        exponentials = {}
        for number in incoming:
            score = (values[edges[number][0]] * conv.attention_src + values[node] * conv.attention_dst).sum(1)
            exponentials[number] = torch.where(score > 0, score, 0.2 * score).exp()
        shares = [w[k] * e if conv.recalibrate else e for k, e in exponentials.items()]
        for number in incoming:
            if w[number] > 0:
                alphas[number] = w[number] * exponentials[number] / torch.stack(shares).sum(0)
                sums[node] = sums[node] + alphas[number][:, None] * values[edges[number][0]]
    return torch.stack(alphas) if edges else h.new_zeros(0, HEADS), torch.stack(sums).flatten(1) + conv.bias


def first_state(model: Any, x: Tensor) -> Tensor:
    h = torch.nn.functional.elu(x @ model.embed.weight.t() + model.embed.bias)
    if not model.normalize_first:
        return h
    return (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, correction=0) + 1e-5).sqrt()


def states_of(model: Any, edges: Edges, x: Tensor, w: Tensor, noise: list[Tensor] | None = None) -> list[Tensor]:
    """h(0), h(1), …; the weights are (num_layers, num_edges)."""
    unused = sum(0 * parameter.sum() for parameter in model.parameters())  # what a graph without edges leaves
    states = [first_state(model, x) + unused]
    for t, conv in enumerate(model.convs):
        h = states[-1] if noise is None else states[-1] + noise[t]
        new = torch.nn.functional.elu(attend(conv, edges, h, w[t])[1])
        states.append((1 - model.initial_residual) * new + model.initial_residual * states[0])
    return states


def spread(rule: Rule, h: Tensor, i: int, j: int) -> Tensor | float:
    """C_ii + C_jj ∓ 2 C_ij, from the whole covariance matrix."""
    if rule.covariance == "none":
        return 1.0
    centred = h - h.mean(0)
    matrix = {
        "features": lambda: torch.cov(h, correction=0),
        "nodes": lambda: centred @ centred.t() / h.shape[1],
        "correlation": lambda: torch.corrcoef(h),
    }[rule.covariance]()
    matrix = matrix.view(len(h), len(h))
    return matrix[i, i] + matrix[j, j] + (-2 if rule.sign == "-" else 2) * matrix[i, j]


def weakened(model: Any, edges: Edges, h: Tensor, w: Tensor, t: int, chance: float) -> Tensor:
    """Steps 2 to 6 for one layer; every random number is `chance`."""
    rule = model.pruning.rule
    alpha = attend(model.convs[t], edges, h, w)[0].mean(1)
    counted = [number for number, (i, j) in enumerate(edges) if i != j and w[number] > 0]
    if not counted:
        return w
    compared = (alpha if rule.threshold_of == "attention" else w)[counted]
    tau = rule.fixed_threshold or compared.mean() + BETA * (compared - compared.mean()).square().mean().sqrt()
    new = w.clone()
    for number in counted:
        product = RATE * (1 + GROWTH * t) * alpha[number] / tau * spread(rule, h, *edges[number])
        p = min(1.0, max(0.0, float(product)))
        if not rule.gradual:
            new[number] = w[number] if chance >= p else 0.0
            continue
        level = round(float(w[number]) * FULL)
        level -= int(level * p + chance)
        new[number] = max(level, 0) / FULL if level >= EPSILON * FULL else 0.0
    return new


def trained_weights(model: Any, edges: Edges, x: Tensor, passes: int, chance: float) -> Tensor:
    w = torch.ones(len(model.convs), len(edges), dtype=x.dtype)
    for _ in range(passes):
        states = [first_state(model, x)]
        for t, conv in enumerate(model.convs):
            w[t] = weakened(model, edges, states[-1], w[t], t, chance)
            if model.pruning.cumulative and t > 0:
                w[t] = torch.minimum(w[t], w[t - 1])
            new = torch.nn.functional.elu(attend(conv, edges, states[-1], w[t])[1])
            states.append((1 - RESIDUAL) * new + RESIDUAL * states[0])
    return w


OPTIONS: list[dict[str, Any]] = [
    {},
    {"sign": "+"},
    {"covariance": "nodes", "threshold_of": "weights"},
    {"covariance": "correlation", "sign": "+", "normalize_first": False},
    {"covariance": "none", "cumulative": False},
    {"fixed_threshold": 0.3},
    {"gradual": False},
    {"recalibrate": False},
    {"recalibrate": False, "gradual": False, "cumulative": False, "threshold_of": "weights"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_leaves_what_the_equations_leave_and_evaluation_takes_it(
    options: dict[str, Any], graph: Any, edges: Edges, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = randomised(make(**options)), features(graph)
    monkeypatch.setattr(torch, "rand", lambda size, dtype: torch.full((size,), 0.3, dtype=dtype))
    for _ in range(3):
        model.train()(graph, x)
    with torch.no_grad():
        expected = trained_weights(model, edges, x, 3, 0.3)
    torch.testing.assert_close(model.edge_weights(graph).double(), expected, rtol=0, atol=1e-6)
    model.eval()
    x.requires_grad_()
    states = states_of(model, edges, x, expected)
    assert_same_with_gradients(model(graph, x), linear(model.head, states[-1]), [x, *model.parameters()])
    for layer, state in zip(model.layers(graph, x), states[1:], strict=True):
        torch.testing.assert_close(layer, state)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_options_are_seen_on_a_graph_where_some_edges_are_removed_and_some_weakened(
    options: dict[str, Any],
) -> None:
    graph = some_graph()
    found = pruned(graph, **options).edge_weights(graph)
    assert 0 < (found == 0).double().mean() < 1
    assert bool(((found > 0) & (found < 1)).any()) == options.get("gradual", True)
    if options:
        torch.manual_seed(0)
        assert not torch.equal(found, pruned(graph).edge_weights(graph))


@pytest.mark.parametrize(
    "options",
    [{}, {"initial_residual": 0.0, "normalize_first": False}, {"attention_dropout": 0.5, "dropout": 0.5, "noise": 1.0}],
    ids=str,
)
def test_without_pruning_it_is_graph_attention(options: dict[str, Any], graph: Any, edges: Edges) -> None:
    model, x = randomised(make(**options)), features(graph).requires_grad_()
    states = states_of(model, edges, x, torch.ones(LAYERS, len(edges), dtype=torch.float64))
    assert_same_with_gradients(model(graph, x), linear(model.head, states[-1]), [x, *model.parameters()])


def test_noise_is_added_before_every_layer_in_training_only() -> None:
    graph, x = some_graph(), some_graph().ndata["feat"]
    model = randomised(make(noise=0.3, rate=0.0, prune_every=1000)).train()
    torch.manual_seed(5)
    noisy = model(graph)
    torch.manual_seed(5)
    noise = [0.3 * torch.randn(30, HEADS * HIDDEN, dtype=torch.float64) for _ in range(LAYERS)]
    ones = torch.ones(LAYERS, graph.num_edges(), dtype=torch.float64)
    torch.testing.assert_close(noisy, linear(model.head, states_of(model, edges_of(graph), x, ones, noise)[-1]))
    torch.testing.assert_close(model.eval()(graph), linear(model.head, states_of(model, edges_of(graph), x, ones)[-1]))


def test_pruning_sees_the_noise() -> None:
    graph = some_graph()
    model = randomised(make(noise=5.0)).train()
    model(graph)
    noisy = model.edge_weights(graph)
    torch.manual_seed(0)
    assert (pruned(graph, passes=1).edge_weights(graph) - noisy).abs().max() > 0.1


@pytest.mark.parametrize(
    "options", [{}, {"gradual": False}, {"noise": 0.1, "heads": 1}, {"recalibrate": False}], ids=str
)
def test_removed_edges_are_left_out_of_the_computation_but_without_recalibration(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, scored, summed = some_graph(), [], []
    model = pruned(graph, **options)
    edge_softmax, propagate = ops.edge_softmax, ops.propagate

    def noted_softmax(graph: Any, values: Tensor) -> Tensor:
        scored.append(graph.num_edges())
        return edge_softmax(graph, values)

    def noted_sums(graph: Any, *arguments: Any) -> Tensor:
        summed.append(graph.num_edges())
        return propagate(graph, *arguments)

    monkeypatch.setattr(ops, "edge_softmax", noted_softmax)
    monkeypatch.setattr(ops, "propagate", noted_sums)
    model(graph)
    left = (model.edge_weights(graph) > 0).sum(1).tolist()
    assert max(left) < graph.num_edges()
    assert scored == summed == (left if options.get("recalibrate", True) else [graph.num_edges()] * LAYERS)


def test_a_pruned_layer_is_one_on_a_graph_without_the_removed_edges() -> None:
    graph = some_graph()
    model = pruned(graph, num_layers=2, gradual=False)
    (gone,) = model.edge_weights(graph) == 0
    smaller = dgl.remove_edges(graph, gone.nonzero().squeeze(1))
    torch.testing.assert_close(model(graph), model(smaller))
    assert not torch.allclose(model(graph), randomised(copy.deepcopy(model))(graph))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_self_loops_stay_and_a_removed_edge_does_not_come_back(options: dict[str, Any]) -> None:
    graph = some_graph()
    src, dst = graph.edges(order="eid")
    model = randomised(make(**options)).train()
    before = torch.ones(LAYERS, graph.num_edges())
    for _ in range(6):
        model(graph)
        after = model.edge_weights(graph)
        assert (after <= before).all()
        assert (after[:, src == dst] == 1).all()
        if options.get("cumulative", True):
            assert (after.diff(dim=0) <= 0).all()
        before = after


@pytest.mark.parametrize("p", [0.0, 1e-3, 0.3, 1.0])
@pytest.mark.parametrize("gradual", [False, True])
def test_weights_fall_by_p_on_average(p: float, gradual: bool) -> None:
    rule = make(gradual=gradual, epsilon=0.0).pruning.rule
    levels = torch.full((200_000,), FULL, dtype=torch.uint8)
    after = rule.weakened(levels, torch.full((200_000,), p))
    assert after.dtype == torch.uint8
    lost = 1 - after.double() / FULL
    deviation = (p * (1 - p) / 200_000) ** 0.5
    assert abs(float(lost.mean()) - p) <= 4 * deviation
    if gradual:
        assert float((lost - p).abs().max()) < 1 / FULL + 1e-9


def test_only_every_so_many_th_training_pass_prunes() -> None:
    graph = some_graph()
    model, pruned_at = randomised(make(prune_every=3)), []
    before = model.edge_weights(graph)
    for number in range(1, 8):
        model.train()(graph)
        model.eval()(graph)
        after = model.edge_weights(graph)
        if not torch.equal(after, before):
            pruned_at.append(number)
        before = after
    assert pruned_at == [3, 6]


def test_the_order_of_edges_plays_no_part() -> None:
    graph = some_graph()
    model = pruned(graph)
    order = torch.randperm(graph.num_edges())
    src, dst = graph.edges(order="eid")
    shuffled = dgl.graph((src[order], dst[order]), num_nodes=30)
    torch.testing.assert_close(model(shuffled, graph.ndata["feat"]), model(graph), rtol=1e-9, atol=1e-9)
    assert torch.equal(model.edge_weights(shuffled), model.edge_weights(graph)[:, order])
    assert torch.equal(model(graph.int(), graph.ndata["feat"]), model(graph))


def test_another_graph_is_not_pruned_and_training_on_it_starts_anew() -> None:
    graph, other = some_graph(), some_graph(seed=2)
    model = pruned(graph)
    plain = randomised(make(prune_every=1000))
    plain.load_state_dict({**plain.state_dict(), **dict(model.named_parameters())})
    assert torch.equal(model(other), plain(other))
    assert (model.edge_weights(other) == 1).all()
    assert not torch.allclose(model(graph), plain(graph))
    same_edges_more_nodes = dgl.graph(graph.edges(), num_nodes=31)
    assert (model.edge_weights(same_edges_more_nodes) == 1).all()
    model.train()(other)
    assert (model.edge_weights(graph) == 1).all()
    assert (model.edge_weights(other) < 1).any()


@pytest.mark.parametrize("block_size", [1, 20])
@pytest.mark.parametrize("options", [{}, {"recalibrate": False}], ids=str)
def test_a_pruned_graph_is_predicted_in_blocks(options: dict[str, Any], block_size: int) -> None:
    graph = some_graph()
    model = pruned(graph, **options)
    found = zoo.predict(model, graph, block_size=block_size).probabilities
    assert found is not None
    assert torch.equal(found, model(graph).detach().softmax(1))


@pytest.mark.parametrize("options", [{}, {"recalibrate": False}], ids=str)
def test_a_pruned_model_is_saved_loaded_and_copied(options: dict[str, Any], tmp_path: Path) -> None:
    graph, other = some_graph(), some_graph(seed=2)
    model = pruned(graph, **options)
    model.save_pretrained(tmp_path)
    loaded = weights.load_folder(tmp_path)
    copied = make(**options).double().eval()
    copied.load_state_dict(model.state_dict())
    for twin in (loaded, copied, copy.deepcopy(model)):
        assert twin.state_dict().keys() == model.state_dict().keys()
        assert torch.equal(twin.edge_weights(graph), model.edge_weights(graph))  # type: ignore[operator]
        for each in (graph, other):
            assert torch.equal(twin(each), model(each))
    copied.load_state_dict(make().double().state_dict())
    assert (copied.edge_weights(graph) == 1).all()


def test_a_byte_for_each_layer_and_edge_is_kept() -> None:
    graph = some_graph()
    before, after = (sum(v.nbytes for v in model.state_dict().values()) for model in (make().double(), pruned(graph)))
    assert after - before == LAYERS * graph.num_edges()


def test_loaded_for_other_classes_it_keeps_what_was_pruned(tmp_path: Path) -> None:
    graph = some_graph()
    model = pruned(graph)
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"new and untrained: head\.linear\.weight, head\.linear\.bias; dropped: head"):
        other: Any = weights.load_folder(tmp_path, num_classes=NUM_CLASSES + 1)
    assert torch.equal(other.edge_weights(graph), model.edge_weights(graph))
    assert torch.equal(other.encode(graph), model.encode(graph))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pruning.layers.1.levels", torch.zeros(3).byte(), r"levels is torch\.uint8 \(3,\), not torch\.uint8"),
        ("pruning.layers.0.levels", torch.zeros(2, 2).byte(), r"levels is torch\.uint8 \(2, 2\), not"),
        ("pruning.layers.0.levels", None, r"pruning\.layers\.0\.levels is missing"),
        ("pruning.fingerprint", torch.zeros(5).byte(), r"fingerprint is torch\.uint8 \(5,\), not"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    name: str, value: Tensor | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pruned(some_graph())
    state = {**model.state_dict(), **({} if value is None else {name: value})}
    if value is None:
        del state[name]
    model.save_pretrained(tmp_path)
    monkeypatch.setattr(model, "state_dict", lambda: state)
    (tmp_path / weights.WEIGHTS).write_bytes(weights.serialize(model))
    with pytest.raises(CheckpointError, match=message):
        weights.load_folder(tmp_path)


def small(**options: Any) -> Recipe:
    model = {"num_layers": 4, "hidden": 8, "heads": 2, "noise": 0.1, "rate": 0.5, "prune_every": 3, "dropout": 0.2}
    settings = merge(find_settings("gcn-csbm"), {"training": {"epochs": 20}})
    return parse({**settings, "method": "dynamo-gat", "model": {**model, **options}}, "small")


@pytest.mark.parametrize("stop", [2, 8, 14])
def test_a_run_that_was_broken_off_ends_with_the_same_bits(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, step, epochs = zoo.train(small(), 1), loop._step, itertools.count(1)

    def stopping(*arguments: Any) -> float:
        if next(epochs) > stop:
            raise KeyboardInterrupt
        return step(*arguments)

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(loop, "_step", stopping)
        zoo.train(small(), 1, tmp_path, save_every=0)
    resumed = zoo.train(small(), 1, tmp_path)
    assert_same_bits(resumed.model.state_dict(), whole.model.state_dict())
    assert (resumed.val, resumed.test, resumed.epoch) == (whole.val, whole.test, whole.epoch)


@pytest.mark.filterwarnings("ignore:.*new and untrained:UserWarning")
def test_what_is_frozen_keeps_its_edges() -> None:
    source: Any = zoo.train(small(), 1).model
    graph = source.prepare(zoo.datasets.load("csbm", seed=1))
    assert (source.edge_weights(graph) < 1).any()
    other = zoo.datasets.load("csbm", seed=2)
    frozen = zoo.finetune(source, other, epochs=5, freeze=True, new_head=True).model
    assert torch.equal(frozen.edge_weights(graph), source.edge_weights(graph))  # type: ignore[operator]
    tuned: Any = zoo.finetune(source, other, epochs=5, patience=None, metric="accuracy", new_head=True).model
    assert tuned.load_report.new == ("head.linear.weight", "head.linear.bias")
    assert (tuned.edge_weights(graph) == 1).all()  # whose weights are now of the other graph's edges


@pytest.mark.parametrize("readout", ["mean", "max"])
def test_with_a_readout_there_is_noise_and_no_pruning(readout: str) -> None:
    batch = dgl.batch([some_graph(5), some_graph(8)])
    model = pruned(batch, noise=0.1, readout=readout)
    assert not dict(model.named_buffers())
    assert (model.edge_weights(batch) == 1).all()
    assert not torch.equal(model.train()(batch), model(batch))


@pytest.mark.parametrize("recalibrate", [False, True])
def test_removed_edges_cost_nothing_but_without_recalibration(recalibrate: bool) -> None:
    graph = some_graph()
    model, whole = pruned(graph, recalibrate=recalibrate), make(recalibrate=recalibrate).double()
    assert (model.edge_weights(graph) == 0).any()
    assert (count_operations(model, graph) < count_operations(whole, graph)) is recalibrate


def test_weights_of_fewer_edges_than_the_graph_has_are_told() -> None:
    graph = some_graph()
    model = pruned(graph)
    for layer in model.pruning.layers:
        layer.levels = layer.levels[:-7].clone()
    count = graph.num_edges()
    with pytest.raises(CheckpointError, match=f"the model has weights of {count - 7} edges for a graph of {count}"):
        model(graph)


def test_what_was_pruned_is_told_of_no_other_graph() -> None:
    model = pruned(some_graph())
    with pytest.raises(GraphError, match="not the graph whose edges were pruned: pass that one, prepared by"):
        model.pruned_edges(some_graph(seed=2))
    nothing = make().double().pruned_edges(some_graph())
    assert [layer.pruned_share for layer in nothing] == [0] * LAYERS


@pytest.mark.parametrize("options", [{}, {"recalibrate": False}, {"covariance": "correlation", "sign": "+"}], ids=str)
@pytest.mark.parametrize("way", ["autocast", "bfloat16"])
def test_half_floats_prune_too(way: str, options: dict[str, Any]) -> None:
    graph = some_graph()
    graph.ndata["feat"] = graph.ndata["feat"].float()
    model = make(**options).train()
    if way == "bfloat16":
        model, graph.ndata["feat"] = model.bfloat16(), graph.ndata["feat"].bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        for _ in range(3):
            logits = model(graph)
    logits.float().sum().backward()
    assert (model.edge_weights(graph) < 1).any()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_what_was_pruned_is_told_as_in_table_5(depth: int) -> None:
    graph, x = some_graph(), some_graph().ndata["feat"]
    model = pruned(graph, num_layers=4, noise=0.2)
    told = model.train().pruned_edges(graph)[depth]
    assert model.training
    model.pruning.eval()  # as training leaves what is frozen
    model.pruned_edges(graph)
    assert not model.pruning.training
    model.eval()
    state = [first_state(model, x), *model.layers(graph)][depth].detach()
    kept: list[float] = []
    gone: list[float] = []
    for (i, j), weight in zip(edges_of(graph), model.edge_weights(graph)[depth].tolist(), strict=True):
        if i != j:
            cosine = float(torch.cosine_similarity(state[i], state[j], dim=0))
            (gone if weight == 0 else kept).append(cosine)
    assert told.pruned_share == pytest.approx(len(gone) / (len(kept) + len(gone)))
    assert told.kept_similarity == pytest.approx(sum(kept) / len(kept))
    assert told.pruned_similarity == pytest.approx(sum(gone) / len(gone))
    assert 0 < told.pruned_share < 1


def test_the_sign_decides_whether_unlike_or_like_ends_part() -> None:
    graph = some_graph(200)
    for sign in ("-", "+"):
        told = pruned(graph, sign=sign, rate=0.1).pruned_edges(graph)[-1]
        assert (told.pruned_similarity > told.kept_similarity) == (sign == "+")


class Largest(TorchDispatchMode):
    """The most entries that a tensor had, but for sparse ones."""

    entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.layout == torch.strided:
            self.entries = max(self.entries, result.numel())
        return result


def test_no_tensor_joins_all_nodes_to_all_and_pruning_has_no_gradient() -> None:
    graph = some_graph(500)
    model = make().double().train()
    with Largest() as largest:
        model(graph).sum().backward()
    assert largest.entries < 500 * 500 / 10
    assert all(not buffer.requires_grad for buffer in model.buffers())


def test_a_training_that_diverges_prunes_nothing() -> None:
    graph, model = some_graph(), make().double().train()
    torch.nn.init.constant_(model.embed.bias, float("nan"))
    model(graph)
    assert (model.edge_weights(graph) == 1).all()


def test_whole_numbers_are_numbers() -> None:
    graph, large = some_graph(), 2**1000
    model = make(noise=large, rate=large, rate_growth=large, beta=large, prune_every=1).double()
    make(fixed_threshold=large, prune_every=large).double().train()(graph)
    assert model.train()(graph).isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": -0.1}, "noise must be at least 0 and finite, got -0.1"),
        ({"rate": float("inf")}, "rate must be at least 0 and finite, got inf"),
        ({"rate_growth": -1.0}, "rate_growth must be at least 0"),
        ({"beta": float("nan")}, "beta must be at least 0 and finite, got nan"),
        ({"epsilon": 1.0}, "epsilon must be at least 0 and below 1, got 1.0"),
        ({"fixed_threshold": 0.0}, "fixed_threshold must be above 0 and finite, got 0.0"),
        ({"covariance": "noise"}, "unknown covariance 'noise': choose from features, nodes, correlation, none"),
        ({"sign": "∓"}, r"unknown sign '∓': choose from -, \+"),
        ({"threshold_of": "edges"}, "unknown threshold_of 'edges': choose from attention, weights"),
        ({"prune_every": 0}, "prune_every must be positive, got 0"),
        ({"initial_residual": 1.5}, "initial_residual must be from 0 to 1, got 1.5"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**arguments)
