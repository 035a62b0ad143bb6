"""Predicting and scoring: in blocks and batches as at once, from files into files, and on data of one's own."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from zoo import models, ops, registry
from zoo._dgl import dgl
from zoo.cli import main
from zoo.datasets import GraphDataset
from zoo.errors import CheckpointNotFound, ConfigError, GraphError, RecipeError
from zoo.model import ZooModel
from zoo.nn.convs import CONVS
from zoo.predictions import Prediction, write_csv

NUM_NODES, NUM_EDGES, IN_FEATS = 60, 500, 7
MODELS: list[tuple[str, dict[str, Any]]] = [
    *((method, {}) for method in models.list_models()),
    *(("cna", {"conv": conv, "distance": "cosine"}) for conv in CONVS),
    ("cna", {"norm": "row", "linear_ends": True}),
    ("gat", {"heads": 3, "output_heads": 4, "transforms": ["add_self_loop"]}),
]


def make_model(method: str, arguments: dict[str, Any]) -> ZooModel:
    """In float64 and eval mode, with every parameter and centroid away from its start."""
    model = models.create(method, {"in_feats": IN_FEATS, "num_classes": 3, **arguments}).double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("weight", "bias", "centroids", "attention_src", "attention_dst")):
                tensor.normal_()
    return model


def directed_graph(seed: int = 0, num_nodes: int = NUM_NODES, num_edges: int = NUM_EDGES) -> Any:
    """Some edges twice; the last nodes have out-edges only, or none at all."""
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(num_nodes - 2, (num_edges,), generator=generator)
    dst = torch.randint(max(1, num_nodes - 8), (num_edges,), generator=generator)
    graph = dgl.graph((src, dst), num_nodes=num_nodes)
    graph.ndata["feat"] = torch.randn(num_nodes, IN_FEATS, generator=generator).double()
    return graph


def whole(model: ZooModel, graph: Any) -> Tensor:
    with torch.no_grad():
        return model(model.prepare(graph)).softmax(1)


def probabilities(model: ZooModel, data: Any, block_size: int) -> Tensor:
    prediction = zoo.predict(model, data, block_size=block_size)
    assert prediction.probabilities is not None
    assert torch.equal(prediction.values, prediction.probabilities.argmax(1))
    return prediction.probabilities


@pytest.mark.parametrize(("method", "arguments"), MODELS)
@pytest.mark.parametrize("block_size", [1, 64])
@pytest.mark.parametrize("density", [1.0, 0.1])
def test_blocks_give_what_the_whole_graph_gives(
    method: str, arguments: dict[str, Any], block_size: int, density: float
) -> None:
    model, graph = make_model(method, arguments), directed_graph()
    graph.ndata["feat"] *= torch.rand(NUM_NODES, IN_FEATS) < density
    assert torch.equal(probabilities(model, graph, block_size), whole(model, graph))


class Made(TorchDispatchMode):
    """Remembers the shapes of the floating-point tensors that are made."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {tensor.data_ptr() for tensor in args if is_dense(tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if is_dense(tensor) and tensor.dim() and tensor.data_ptr() not in given:  # else it is a view
                self.shapes.add(tuple(tensor.shape))
        return result


def is_dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided


@pytest.mark.parametrize(("method", "arguments"), MODELS)
def test_nothing_is_made_for_every_edge_but_gcns_number(
    method: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, graph = make_model(method, arguments), directed_graph(num_nodes=300, num_edges=3000)
    called: list[str] = []
    propagate_gcn = ops.propagate_gcn

    def noted(*arguments: Any) -> Tensor:
        called.append("propagate_gcn")
        return propagate_gcn(*arguments)

    monkeypatch.setattr(ops, "propagate_gcn", noted)
    with Made() as made:
        zoo.predict(model, graph, block_size=300)
    # At most a row for each of eight heads of every node; and the number by which GCN multiplies each edge.
    assert max(shape[0] for shape in made.shapes if len(shape) > 1) <= 8 * 300
    most = 3000 if "propagate_gcn" in called else 8 * 300
    assert max(shape[0] for shape in made.shapes) <= most


@pytest.mark.parametrize(("method", "arguments"), MODELS)
def test_features_are_not_copied(method: str, arguments: dict[str, Any]) -> None:
    model, graph = make_model(method, arguments), directed_graph()
    zoo.predict(model, graph)  # which checks them once
    with Made() as made:
        zoo.predict(model, graph)
    assert (NUM_NODES, IN_FEATS) not in made.shapes


def test_a_node_of_more_edges_than_a_block_may_have_is_a_block_of_its_own() -> None:
    star = dgl.graph((torch.arange(50), torch.zeros(50, dtype=torch.int64)))
    star.ndata["feat"] = torch.randn(50, IN_FEATS).double()
    model = make_model("gat", {})
    assert torch.equal(probabilities(model, star, block_size=10), whole(model, star))


@pytest.mark.parametrize("block_size", [0, -1, 2.5, "many", None, True, np.float64(5), np.int64(0)])
def test_an_impossible_block_size_is_refused(block_size: Any) -> None:
    with pytest.raises(ConfigError, match="block_size is a whole number from 1, got "):
        zoo.predict("gcn-csbm", directed_graph(), block_size=block_size)


def test_a_block_size_may_be_numpys() -> None:
    model, graph = make_model("gat", {}), directed_graph()
    assert torch.equal(probabilities(model, graph, np.int64(5)), probabilities(model, graph, 5))  # type: ignore[arg-type]


def small_graphs(number: int) -> list[Any]:
    return [directed_graph(seed, num_nodes=3 + seed % 5, num_edges=seed % 7) for seed in range(number)]


def as_dataset(graphs: list[Any], num_classes: int = 3) -> GraphDataset:
    labels = torch.arange(len(graphs)) % num_classes
    train, val, test = (torch.arange(len(graphs)) % 3 == part for part in range(3))
    return GraphDataset("mine", graphs, labels, num_classes, train, val, test)


def test_a_set_of_graphs_is_of_graphs() -> None:
    graphs = [dgl.rand_graph(3, 4) for _ in range(2)]
    labels, mask = torch.arange(2), torch.ones(2, dtype=torch.bool)
    with pytest.raises(GraphError, match=r"one is a tuple: of pairs take \[graph for graph, _ in data\]"):
        GraphDataset("pairs", list(zip(graphs, labels, strict=True)), labels, 2, mask, mask, mask)
    with pytest.raises(GraphError, match="one is a str"):
        GraphDataset("names", ["a", "b"], labels, 2, mask, mask, mask)


def test_a_set_of_graphs_takes_arrays_and_lists() -> None:
    whole = as_dataset(small_graphs(9))
    masks = [[True] * 3 + [False] * 6, np.arange(9) // 3 == 1, (np.arange(9) // 3 == 2).tolist()]
    other = GraphDataset("mine", tuple(whole.graphs), whole.labels.numpy(), np.int64(3), *masks)  # type: ignore[arg-type]
    assert other.graphs == whole.graphs
    assert torch.equal(other.labels, whole.labels)
    assert other.test_mask.tolist() == masks[2]
    assert other.num_classes == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"graphs": []}, "needs a list of them"),
        ({"graphs": None}, "needs a list of them"),
        ({"labels": ["cat", "dog"]}, "labels is not an array of a value for each graph"),
        ({"test_mask": None}, "test_mask is not an array of a value for each graph"),
        ({"num_classes": None}, "num_classes is a whole number from 1, got None"),
    ],
)
def test_what_is_wrong_with_a_set_of_graphs_is_told(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        replace(as_dataset(small_graphs(9)), **changed)


@pytest.mark.parametrize("method", models.list_models())
@pytest.mark.parametrize("kind", [list, tuple, as_dataset])
def test_many_graphs_get_the_answers_of_each_alone_in_their_order(method: str, kind: Callable[[Any], Any]) -> None:
    model, graphs = make_model(method, {"readout": "mean"}), small_graphs(40)
    met: list[int] = []
    model.register_forward_pre_hook(lambda _, args: met.append(args[0].num_nodes() + args[0].num_edges()))
    together = probabilities(model, kind(graphs), block_size=30)
    assert len(met) > 2 and max(met) <= 30
    alone = torch.cat([whole(model, graph) for graph in graphs])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_a_graph_larger_than_a_block_goes_alone() -> None:
    model, graphs = make_model("gcn", {"readout": "sum"}), [*small_graphs(3), directed_graph(), *small_graphs(3)]
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(args[0].batch_size))
    zoo.predict(model, graphs, block_size=100)
    assert sizes == [3, 1, 3]


def test_graphs_with_other_edge_data_go_together_but_not_of_two_index_types() -> None:
    model, graphs = make_model("gcn", {"readout": "sum"}), small_graphs(2)
    graphs[1].edata["weight"] = torch.ones(graphs[1].num_edges())
    assert len(zoo.predict(model, graphs).values) == 2
    with pytest.raises(GraphError, match="some graphs have int32 and some int64 indices"):
        zoo.predict(model, [graphs[0], graphs[1].int()])
    graphs[1].ndata["feat"] = graphs[1].ndata["feat"].float()
    with pytest.raises(GraphError, match=r"features of different types: torch\.float32, torch\.float64"):
        zoo.predict(model, graphs)


@pytest.mark.parametrize("method", models.list_models())
@pytest.mark.parametrize("formats", [["coo"], ["csr"], ["csc"], ["csr", "csc"]])
def test_a_graph_restricted_to_some_sparse_formats_gets_the_same_answers(method: str, formats: list[str]) -> None:
    model, graph = make_model(method, {}), directed_graph()
    restricted = graph.formats(formats)
    expected = probabilities(model, graph, ops.BLOCK_SIZE)
    for block_size in (ops.BLOCK_SIZE, 40):
        torch.testing.assert_close(probabilities(model, restricted, block_size), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("formats", ["csr", "csc"])
def test_a_prepared_graph_restricted_to_a_format_is_taken_too(formats: str) -> None:
    graph = zoo.datasets.load("csbm")
    for name in ("gcn-csbm", "label-sbp-csbm"):
        model = zoo.load(name)
        prepared = model.prepare(graph)
        torch.testing.assert_close(model(prepared.formats(formats)), model(prepared), rtol=0, atol=1e-5)


@pytest.mark.parametrize("transforms", [(), ("add_self_loop",)])
def test_graphs_whose_indices_were_cast_after_a_first_look_get_the_same_answers(transforms: tuple[str, ...]) -> None:
    model, graphs = make_model("gcn", {"readout": "mean", "transforms": transforms}), small_graphs(5)
    expected = probabilities(model, graphs, 1000)
    assert torch.equal(probabilities(model, [graph.int() for graph in graphs], 1000), expected)
    batch = dgl.batch(graphs)
    assert torch.equal(probabilities(model, batch.int(), 1000), expected)
    short = [graph.int() for graph in small_graphs(5)]
    zoo.predict(model, short)
    assert torch.equal(probabilities(model, [graph.long() for graph in short], 1000), expected)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def graph() -> Any:
    """The csbm graph with the split of gcn-csbm's recorded score."""
    return zoo.datasets.load("csbm", seed=registry.info("gcn-csbm").score.seed)


@pytest.fixture
def npz(graph: Any, tmp_path: Path) -> Path:
    """It as a user's .npz."""
    path = tmp_path / "graph.npz"
    arrays = {name: data.numpy() for name, data in graph.ndata.items()}
    np.savez(path, edges=torch.stack(graph.edges()).numpy(), **arrays)
    return path


@pytest.fixture
def folder(graph: Any, tmp_path: Path) -> Path:
    """It as a user's CSVs, with names of nodes that need quotes."""
    path = tmp_path / "csv"
    path.mkdir()
    nodes = [[f'"{node}", α', *row] for node, row in enumerate(graph.ndata["feat"].tolist())]
    edges = [[f'"{node}", α' for node in edge] for edge in torch.stack(graph.edges(), dim=1).tolist()]
    for name, header, lines in (("nodes", ["id", *range(8)], nodes), ("edges", ["src", "dst"], edges)):
        with (path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *lines])
    return path


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(text.splitlines()))


def test_the_command_writes_what_predict_says(graph: Any, npz: Path, tmp_path: Path) -> None:
    expected = zoo.predict("gcn-csbm", graph)
    assert expected.probabilities is not None
    printed = run("predict", "gcn-csbm", npz)
    header, *lines = rows(printed.stdout)
    assert header == ["node", "prediction", "p0", "p1"]
    assert [int(line[0]) for line in lines] == list(range(100))
    assert [int(line[1]) for line in lines] == expected.values.tolist()
    assert [[float(cell) for cell in line[2:]] for line in lines] == expected.probabilities.tolist()
    assert run("predict", "gcn-csbm", npz, "--out", tmp_path / "out.csv", "--block-size", 7).output == ""
    assert (tmp_path / "out.csv").read_text() == printed.stdout
    assert run("predict", "gcn-csbm", npz, "--out", tmp_path / "out.npz").output == ""
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["prediction", "probabilities"]
        assert archive["probabilities"].dtype == np.float32
        assert np.array_equal(archive["prediction"], expected.values.numpy())
        assert np.array_equal(archive["probabilities"], expected.probabilities.numpy())


def test_nodes_with_names_are_called_by_them(folder: Path, graph: Any, tmp_path: Path) -> None:
    names = [f'"{node}", α' for node in range(100)]
    header, *lines = rows(run("predict", "gcn-csbm", folder).stdout)
    assert header == ["id", "prediction", "p0", "p1"]
    assert [line[0] for line in lines] == names
    assert [int(line[1]) for line in lines] == zoo.predict("gcn-csbm", graph).values.tolist()
    run("predict", "gcn-csbm", folder, "--out", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as archive:
        assert archive["id"].tolist() == names


def test_graphs_have_numbers_also_where_nodes_have_names(folder: Path, tmp_path: Path) -> None:
    graphs = small_graphs(4)
    dgl.save_graphs(str(tmp_path / "graphs.bin"), graphs, {"label": torch.zeros(4, dtype=torch.int64)})
    for file, width, number in ((folder, 8, 1), (tmp_path / "graphs.bin", IN_FEATS, 4)):
        model = models.create("gcn", {"in_feats": width, "num_classes": 2, "readout": "mean"})
        model.save_pretrained(tmp_path / "model")
        header, *lines = rows(run("predict", tmp_path / "model", file).stdout)
        assert (header[0], [line[0] for line in lines]) == ("graph", [str(graph) for graph in range(number)])


def test_graphs_without_labels_are_predicted_but_neither_scored_nor_trained_on(tmp_path: Path) -> None:
    graphs, model = small_graphs(3), models.create("gcn", {"in_feats": IN_FEATS, "num_classes": 2, "readout": "mean"})
    model.save_pretrained(tmp_path / "model")
    dgl.save_graphs(str(tmp_path / "graphs.bin"), graphs)
    _, *lines = rows(run("predict", tmp_path / "model", tmp_path / "graphs.bin").stdout)
    expected = zoo.predict(model, graphs).values
    assert [int(line[1]) for line in lines] == expected.tolist()
    finetune = ("finetune", tmp_path / "model", tmp_path / "graphs.bin", "--out", tmp_path / "out")
    for command in (("eval", tmp_path / "model", "--graph", tmp_path / "graphs.bin"), finetune):
        result = run(*command)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert "GraphDataset, got list" in result.stderr


def test_targets_of_graphs_are_scored(tmp_path: Path) -> None:
    graphs, target, half = small_graphs(4), torch.tensor([0.5, 1, 2, 3]), torch.tensor([True, False, True, False])
    dgl.save_graphs(str(tmp_path / "graphs.bin"), graphs, {"label": target, "test_mask": half})
    model = models.create("gcn", {"in_feats": IN_FEATS, "num_classes": 1, "readout": "mean"})
    dataset = zoo.datasets.read_graph(tmp_path / "graphs.bin")
    error = (zoo.predict(model, dataset).values - target)[half].square().mean() / target[half].mean()
    assert zoo.evaluate(model, dataset, metric="nmse").value == pytest.approx(float(error))


def test_a_directed_graph_stays_so_only_if_it_is_said(tmp_path: Path) -> None:
    edges, feat = np.array([[0, 1], [1, 2], [2, 3]]), np.random.default_rng(0).random((4, 8))
    np.savez(tmp_path / "graph.npz", edges=edges, feat=feat)
    (tmp_path / "nodes.csv").write_text("\n".join(",".join(map(str, row)) for row in ["abcdefgh", *feat]))
    (tmp_path / "edges.csv").write_text("src,dst\n0,1\n1,2\n2,3\n")
    both, directed = (
        probabilities(zoo.load("gcn-csbm"), zoo.datasets.from_arrays(edges, feat, undirected=undirected), 100).tolist()
        for undirected in (True, False)
    )
    assert both != directed
    for source in (tmp_path / "graph.npz", tmp_path):
        for options, answer in (((), both), (("--directed",), directed)):
            _, *lines = rows(run("predict", "gcn-csbm", source, *options).stdout)
            assert [[float(cell) for cell in line[2:]] for line in lines] == answer


def test_a_directed_graph_is_scored_so_only_if_it_is_said(tmp_path: Path) -> None:
    edges, feat, label = np.array([[0, 1], [1, 2], [2, 3]]), np.random.default_rng(0).random((4, 8)), np.arange(4) % 2
    np.savez(tmp_path / "graph.npz", edges=edges, feat=feat, label=label, test_mask=np.ones(4, dtype=bool))
    scores = set()
    for directed in (False, True):
        data = zoo.datasets.read_graph(tmp_path / "graph.npz", undirected=not directed)
        options = ["--directed"] if directed else []
        printed = run("eval", "gcn-csbm", "--graph", tmp_path / "graph.npz", "--metric", "roc-auc", *options).stdout
        value = zoo.evaluate("gcn-csbm", data, metric="roc-auc").value
        assert f" {value:.4f} " in printed
        scores.add(value)
    assert len(scores) == 2
    assert "--directed is about" in run("eval", "gcn-csbm", "--directed").output


def test_a_regression_has_values_and_no_probabilities(npz: Path, tmp_path: Path) -> None:
    model = models.create("gcn", {"in_feats": 8, "num_classes": 1}).eval()
    model.save_pretrained(tmp_path / "model")
    header, *lines = rows(run("predict", tmp_path / "model", npz).stdout)
    assert header == ["node", "prediction"]
    expected = zoo.predict(model, zoo.datasets.read_graph(npz)).values
    assert [float(line[1]) for line in lines] == expected.tolist()
    run("predict", tmp_path / "model", npz, "--out", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as archive:
        assert archive.files == ["prediction"]


def test_a_long_csv_is_whole() -> None:
    values, file = torch.arange(10_000).flip(0), io.StringIO()
    write_csv(Prediction(values, values.double().unsqueeze(1)), file, ids=[f"n{number}" for number in range(10_000)])
    header, *lines = rows(file.getvalue())
    assert header == ["id", "prediction", "p0"]
    assert lines == [[f"n{number}", str(value), f"{value}.0"] for number, value in enumerate(values.tolist())]


def test_an_unknown_ending_is_told_before_any_work(tmp_path: Path) -> None:
    result = run("predict", "no-such", "/no/such.npz", "--out", tmp_path / "out.parquet")
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "out.parquet: the ending says which file to write: choose from .csv, .npz" in result.stderr


def broken(**changes: Any) -> dict[str, Any]:
    return {"edges": np.array([[0, 1], [1, 2], [2, 0]]), "feat": np.ones((3, 8), np.float32), **changes}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (broken(edges=np.array([[0, 1], [1, 2], [2, 3]])), "an edge names node 3, but the nodes are 0 to 2"),
        (broken(edges=np.array([[0, 1], [1, 2], [2, -1]])), "an edge names node -1"),
        (broken(feat=np.ones((3, 5), np.float32)), "feat has shape (3, 5), but this model and graph need (3, 8)"),
        (broken(feat=np.full((3, 8), np.nan)), "feat has 24 values that are NaN or infinite, the first at node 0, "),
        (broken(feat=np.ones((0, 8))), "the graph has no nodes"),
        (broken(feat=np.array([["a"] * 8] * 3)), "expected numbers"),
        ({"x": np.ones(3)}, "it holds x; expected edges and feat"),
        ({"edges": np.array([[0, 1], [1, 2], [2, 0]])}, "it holds edges; expected edges and feat"),
    ],
)
def test_what_is_wrong_with_an_npz_is_one_line(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", **arrays)
    result = run("predict", "gcn-csbm", tmp_path / "graph.npz", "--out", tmp_path / "out.csv")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("name", ["graph.npz", "graph.bin", "nodes.csv", "graph.txt"])
def test_an_empty_file_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "edges.csv").write_text("src,dst\n")
    result = run("predict", "gcn-csbm", tmp_path if name == "nodes.csv" else tmp_path / name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert str(tmp_path) in result.stderr


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("id,x\na,1\n", "src,to\na,a\n", "edges.csv has no column dst"),
        ("id,label\na,1\n", "src,dst\na,a\n", "nodes.csv has no feature columns"),
        ("id,x\na,1\n", "src,dst\na,b\n", "edges.csv names node 'b', which nodes.csv does not have"),
        ("id,x\na,1\na,2\n", "src,dst\na,a\n", "nodes.csv names a node twice"),
        ("x\n", "src,dst\n", "the graph has no nodes"),
        ("x,y\n1,\n", "src,dst\n", "nodes.csv, line 2, column y: expected a finite number of float32, got ''"),
        ("x\n1\n", "", "edges.csv cannot be read as CSV (it is empty)"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line(nodes: str, edges: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text(nodes)
    (tmp_path / "edges.csv").write_text(edges)
    result = run("predict", "gcn-csbm", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert message in result.stderr


def test_data_of_ones_own_gives_the_recorded_score_where_it_is_the_same(graph: Any) -> None:
    recorded = registry.info("gcn-csbm").score.value
    del graph.ndata["train_mask"], graph.ndata["val_mask"]
    for source in ("gcn-csbm", zoo.load("gcn-csbm")):
        evaluation = zoo.evaluate(source, graph)
        assert (evaluation.metric, evaluation.value) == ("accuracy", recorded)
        assert (evaluation.recorded, evaluation.matches) == (None, None)
    assert zoo.evaluate("gcn-csbm").matches is True


def test_a_folder_is_scored_on_data(graph: Any, tmp_path: Path) -> None:
    zoo.load("gcn-csbm").save_pretrained(tmp_path)
    assert zoo.evaluate(tmp_path, graph).value == registry.info("gcn-csbm").score.value
    for source in (tmp_path, str(tmp_path), "hf://someone/model", zoo.load("gcn-csbm")):
        with pytest.raises(ConfigError, match=r"has no recorded test set, .*: give data"):
            zoo.evaluate(source)
    with pytest.raises(CheckpointNotFound, match="gcn-csbm"):
        zoo.evaluate("gcn-csmb")
    with pytest.raises(CheckpointNotFound, match="there is no such folder"):
        zoo.evaluate("./nowhere")


def test_node_data_that_the_answer_depends_on_are_missed(graph: Any) -> None:
    assert {"label", "train_mask"} <= set(zoo.load("label-sbp-csbm").node_data)
    bare = dgl.graph(graph.edges())
    bare.ndata["feat"] = graph.ndata["feat"]
    with pytest.warns(UserWarning, match="this model's answer depends on label and train_mask, which ndata lacks"):
        zoo.predict("label-sbp-csbm", bare)
    bare.ndata["x"] = bare.ndata.pop("feat")
    with pytest.raises(GraphError, match=r"the graph has no ndata\[\"feat\"\]; its ndata holds \['x'\]"):
        zoo.predict("gcn-csbm", bare)


def test_counts_are_predicted_on_where_the_model_normalises_them() -> None:
    graph = directed_graph()
    graph.ndata["feat"] = graph.ndata["feat"].abs().mul(10).round()
    model = make_model("gcn", {"transforms": ["row_normalize"]}).float()
    expected = zoo.predict(model, graph).values
    graph.ndata["feat"] = graph.ndata["feat"].to(torch.uint8)
    assert torch.equal(zoo.predict(model, graph).values, expected)
    with pytest.raises(GraphError, match=r"feat is torch.uint8; convert it with feat.float\(\)"):
        zoo.predict(make_model("gcn", {}).float(), graph)


def test_an_answer_that_is_no_number_is_refused() -> None:
    graph = directed_graph()
    graph.ndata["feat"] *= 1e300
    graph.ndata["label"] = torch.arange(graph.num_nodes()) % 2
    graph.ndata["test_mask"] = torch.ones(graph.num_nodes(), dtype=torch.bool)
    for answer in (zoo.predict, zoo.evaluate):
        with pytest.raises(GraphError, match="not all logits are finite"):
            answer(make_model("n2", {}), graph)


def test_another_metric_has_no_recorded_score(graph: Any) -> None:
    evaluation = zoo.evaluate("gcn-csbm", metric="roc-auc")
    assert evaluation.recorded is None
    assert evaluation.value == zoo.evaluate("gcn-csbm", graph, metric="roc-auc").value
    with pytest.raises(RecipeError, match="'nmse' is not for node-classification: choose from accuracy, roc-auc"):
        zoo.evaluate("gcn-csbm", graph, metric="nmse")


def test_the_test_graphs_of_a_set_are_scored() -> None:
    model, dataset = make_model("sage", {"readout": "max"}), as_dataset(small_graphs(30))
    right = zoo.predict(model, dataset).values == dataset.labels
    assert zoo.evaluate(model, dataset).value == pytest.approx(100 * float(right[dataset.test_mask].double().mean()))


def test_a_regression_is_scored_in_the_units_of_prepare(graph: Any) -> None:
    model = models.create("gcn", {"in_feats": 8, "num_classes": 1, "transforms": ["max_normalize_label"]})
    target = graph.ndata["label"] = torch.rand(100) * 7
    evaluation = zoo.evaluate(model, graph)
    test, target = graph.ndata["test_mask"], target / target.max()
    error = (zoo.predict(model, graph).values - target)[test].square().mean()
    assert evaluation.metric == "mse"
    assert evaluation.value == pytest.approx(float(error))
    assert zoo.evaluate(model, graph, metric="nmse").value == pytest.approx(float(error / target[test].mean()))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"label": None}, GraphError, "the graph lacks ndata label: a score needs labels and a test mask"),
        ({"test_mask": None}, GraphError, "the graph lacks ndata test_mask"),
        ({"test_mask": torch.zeros(100, dtype=torch.bool)}, GraphError, "the test mask is empty"),
        ({"test_mask": torch.ones(100)}, GraphError, "test_mask is torch.float32"),
        ({"label": torch.zeros(100, 1)}, GraphError, r"label has shape \(100, 1\)"),
        ({"label": torch.zeros(100, 2)}, ConfigError, "the data has 2 labels of each node, the model is for one"),
        ({"label": torch.full((100,), -1)}, GraphError, "a class in the test mask is negative"),
        ({"label": torch.full((100,), 4)}, ConfigError, "the labels need 5 classes, but the model has 2: fine-tune it"),
        ({"label": torch.rand(100)}, ConfigError, "targets of a regression, but the model has 2 classes"),
    ],
)
def test_data_that_cannot_be_scored_is_told(
    graph: Any, changes: dict[str, Tensor | None], error: type[Exception], message: str
) -> None:
    for name, value in changes.items():
        graph.ndata.pop(name)
        if value is not None:
            graph.ndata[name] = value
    with pytest.raises(error, match=message):
        zoo.evaluate("gcn-csbm", graph)


def test_a_regression_does_not_take_classes(graph: Any) -> None:
    model = models.create("gcn", {"in_feats": 8, "num_classes": 1})
    with pytest.raises(ConfigError, match="the labels are classes, but the model is a regression"):
        zoo.evaluate(model, graph)
    graph.ndata["label"] = torch.full((100,), torch.nan)
    with pytest.raises(GraphError, match="a target in the test mask is NaN or infinite"):
        zoo.evaluate(model, graph)


def test_nodes_and_graphs_are_not_mixed_up(graph: Any) -> None:
    dataset = as_dataset(small_graphs(6))
    with pytest.raises(ConfigError, match="has a readout, so it classifies whole graphs, but the data is one graph"):
        zoo.evaluate(make_model("gcn", {"readout": "mean"}), graph)
    with pytest.raises(ConfigError, match="has no readout, so it classifies nodes, but the data is a set of graphs"):
        zoo.evaluate(make_model("gcn", {}), dataset)
    with pytest.raises(GraphError, match=r"expected a DGLGraph or a zoo\.datasets\.GraphDataset, got list"):
        zoo.evaluate("gcn-csbm", [graph])
    with pytest.raises(GraphError, match="the test mask is empty"):
        none = replace(dataset, test_mask=torch.zeros(6, dtype=torch.bool))
        zoo.evaluate(make_model("gcn", {"readout": "mean"}), none)


def test_the_command_scores_sources_on_a_graph(npz: Path, tmp_path: Path) -> None:
    zoo.load("gcn-csbm").save_pretrained(tmp_path / "model")
    result = run("eval", "gcn-csbm", tmp_path / "model", "--graph", npz)
    assert result.exit_code == 0, result.output
    expected = f"{registry.info('gcn-csbm').score.value:.4f}"
    assert [line.split()[1:] for line in result.stdout.splitlines()[2:]] == [["accuracy", expected, "–", "–"]] * 2
    result = run("eval", "gat-cora", "gcn-csbm", "--graph", npz, "--metric", "roc-auc")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "feat has shape (100, 8)" in result.stderr and "roc-auc" in result.stdout
