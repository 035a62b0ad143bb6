"""Data sets: every count, where files come from, and what happens when they are absent, altered or hostile."""

import contextlib
import gzip
import hashlib
import http.server
import io
import math
import os
import pickle
import re
import subprocess
import sys
import threading
import urllib.error
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

from zoo import datasets
from zoo._dgl import dgl
from zoo.datasets import graphs, ogbn, pickles, planetoid, sources, synthetic, tu_text
from zoo.errors import DatasetNotFound, GraphError, IntegrityError, RecipeError, ZooError
from zoo.training.tasks import measure

DATA = os.environ.get("ZOO_DATA", "")
needs_data = pytest.mark.skipif(not DATA, reason="ZOO_DATA does not name a folder of raw files")

# Too large for the usual folder of raw files, or not published any more.
ABSENT = {
    "roman-empire": "heterophilous/roman_empire.npz",
    "amazon-ratings": "heterophilous/amazon_ratings.npz",
    "questions": "heterophilous/questions.npz",
    "cora-full": "gnn_benchmark/cora_full.npz",
    "genius": "linkx/genius.mat",
    "ogbn-arxiv": "ogb/ogbn_arxiv/raw/edge.csv.gz",
    "arxiv-year": "ogb/ogbn_arxiv/raw/edge.csv.gz",
    "ogbn-proteins": "ogb/ogbn_proteins/raw/edge.csv.gz",
    "ogbn-products": "ogb/ogbn_products/raw/edge.csv.gz",
}
NODE_SETS = [name for name in datasets.list_datasets() if datasets.info(name).num_graphs == 1]
GRAPH_SETS = [name for name in datasets.list_datasets() if datasets.info(name).num_graphs > 1]
CLASS_SIZES = {
    "texas": [33, 1, 18, 101, 30],
    "wisconsin": [10, 70, 118, 32, 21],
    "cornell": [38, 16, 30, 82, 17],
    "cora": [351, 217, 418, 818, 426, 298, 180],
}


def load_graph(name: str, split: str | None = None, seed: int = 0) -> dgl.DGLGraph:
    graph = datasets.load(name, split=split, seed=seed)
    assert not isinstance(graph, datasets.GraphDataset)
    return graph


def read_graph(path: Path | str, undirected: bool = True) -> dgl.DGLGraph:
    graph = datasets.read_graph(path, undirected=undirected)
    assert not isinstance(graph, datasets.GraphDataset)
    return graph


def edge_keys(graph: dgl.DGLGraph) -> torch.Tensor:
    src, dst = graph.edges()
    return src * graph.num_nodes() + dst


# ---------------------------------------------------------------- names


def test_names() -> None:
    names = datasets.list_datasets()
    assert names == sorted(names)
    assert {"cora", "texas-directed", "roman-empire", "imdb-binary", "chameleon-traffic", "digits", "csbm"} <= {*names}
    assert datasets.list_datasets("cora*") == ["cora", "cora-full", "cora-ml"]


def test_info() -> None:
    about = datasets.info("pubmed")
    assert (about.task, about.num_nodes, about.num_classes) == ("node-classification", 19717, 3)
    drawn = ("random-a-b-c", "class-a-b-c", "index-a-b-c", "balanced-a-b-c", "few-k-v")
    assert about.splits == ("public", "public-rest", "geom-gcn", *drawn)
    assert datasets.info("chameleon-traffic").task == "node-regression"
    assert datasets.info("mutag").task == "graph-classification"


@pytest.mark.parametrize("ask", [datasets.info, datasets.load])
def test_unknown_name_is_told_the_nearest(ask: Callable[[str], Any]) -> None:
    with pytest.raises(DatasetNotFound, match=r"no data set 'Coraa': did you mean cora or "):
        ask("Coraa")
    with pytest.raises(DatasetNotFound, match=r"no data set 'xyzzy': `zoo.datasets.list_datasets\(\)` names them all"):
        ask("xyzzy")


def test_names_come_without_heavy_imports() -> None:
    code = (
        "import sys, zoo.datasets as d; d.list_datasets(); d.info('cora').splits; "
        "print({'torch', 'dgl', 'numpy', 'scipy', 'sklearn', 'pooch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", datasets.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(datasets, name) is not None
    assert name in dir(datasets)


def test_no_other_names_are_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        datasets.lod  # noqa: B018


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize("name", NODE_SETS)
def test_node_level_set(name: str) -> None:
    about = datasets.info(name)
    if about.reader != "synthetic" or name.startswith("syn-cora"):
        if not DATA:
            pytest.skip("ZOO_DATA does not name a folder of raw files")
        if name in ABSENT and not Path(DATA, ABSENT[name]).exists():
            pytest.skip(f"{ABSENT[name]} is not in ZOO_DATA")
    graph = load_graph(name)
    feat, label = graph.ndata["feat"], graph.ndata["label"]
    assert feat.dtype == torch.float32
    assert feat.shape == (about.num_nodes, about.in_feats)
    assert torch.isfinite(feat).all()
    several = (about.num_classes,) if about.task == "node-multilabel" else ()
    assert label.shape == (about.num_nodes, *several)
    if about.task == "node-regression":
        assert label.dtype == torch.float32
    elif about.task == "node-multilabel":
        assert label.dtype == torch.bool
    else:
        assert label.dtype == torch.int64
        assert label.unique().tolist() == list(range(about.num_classes))
    if name in CLASS_SIZES:
        assert torch.bincount(label).tolist() == CLASS_SIZES[name]

    keys = edge_keys(graph)
    assert (keys.diff() > 0).all(), "sorted by source and destination, none twice"
    src, dst = graph.edges()
    if not about.directed:
        assert (src != dst).all()
        assert torch.equal(torch.sort(dst * about.num_nodes + src).values, keys), "both directions"
    if about.num_edges is not None:
        assert len(keys) == about.num_edges * (1 if about.directed else 2)

    masks = [graph.ndata[f"{part}_mask"] for part in ("train", "val", "test")]
    assert all(mask.dtype == torch.bool and mask.shape == (about.num_nodes,) and mask.any() for mask in masks)
    assert torch.stack(masks).sum(dim=0).max() == 1
    graphs.check_graph(graph)


@needs_data
@pytest.mark.parametrize("name", GRAPH_SETS)
def test_graph_level_set(name: str) -> None:
    about = datasets.info(name)
    dataset = datasets.load(name, seed=3)
    assert isinstance(dataset, datasets.GraphDataset)
    assert (dataset.name, dataset.num_classes) == (name, about.num_classes)
    assert len(dataset) == len(dataset.graphs) == about.num_graphs
    assert dataset.labels.dtype == torch.int64
    assert dataset.labels.unique().tolist() == list(range(about.num_classes))
    assert sum(graph.num_nodes() for graph in dataset.graphs) == about.num_nodes
    assert sum(graph.num_edges() for graph in dataset.graphs) == 2 * (about.num_edges or 0)
    assert {graph.ndata["feat"].shape[1] for graph in dataset.graphs} == {about.in_feats}
    assert all(len(graph.ndata["feat"]) == graph.num_nodes() > 0 for graph in dataset.graphs)
    for graph in dataset.graphs[:20]:
        src, dst = graph.edges()
        keys = edge_keys(graph)
        assert (keys.diff() > 0).all()
        assert (src != dst).all()
        assert torch.equal(torch.sort(dst * graph.num_nodes() + src).values, keys)
    assert torch.stack([dataset.train_mask, dataset.val_mask, dataset.test_mask]).sum(dim=0).eq(1).all()
    graph, label = dataset[5]
    assert graph is dataset.graphs[5]
    assert label == dataset.labels[5]


@needs_data
def test_features_of_graph_level_sets() -> None:
    proteins, imdb = datasets.load("proteins"), datasets.load("imdb-binary")
    assert isinstance(proteins, datasets.GraphDataset) and isinstance(imdb, datasets.GraphDataset)
    feat = torch.cat([graph.ndata["feat"] for graph in proteins.graphs])
    assert feat[:, :3].sum(dim=1).eq(1).all(), "labels one-hot"
    assert feat[:, 3].unique().numel() > 3, "then the attribute"
    degrees = torch.cat([graph.in_degrees() for graph in imdb.graphs])
    columns = torch.cat([graph.ndata["feat"] for graph in imdb.graphs]).argmax(dim=1)
    assert torch.equal(degrees.unique()[columns], degrees)


@needs_data
def test_citeseer_has_fifteen_test_numbers_without_a_row() -> None:
    graph = load_graph("citeseer")
    rowless = graph.ndata["feat"].sum(dim=1) == 0
    assert rowless.sum() == 15
    assert graph.ndata["label"][rowless].eq(0).all()
    assert graph.in_degrees()[rowless].min() == 1
    assert (graph.in_degrees() == 0).sum() == 48, "others: their only edges are self-loops"
    for part in ("train", "val", "test"):
        assert not (graph.ndata[f"{part}_mask"] & rowless).any()


@needs_data
def test_traffic_is_raw() -> None:
    assert load_graph("chameleon-traffic").ndata["label"].max() == 508957
    assert load_graph("squirrel-traffic").ndata["label"].max() == 849131


@needs_data
@pytest.mark.parametrize("name", ["texas", "wisconsin", "cornell", "chameleon", "squirrel", "actor"])
def test_geom_gcn_agrees_with_the_heterophilous_graphs(name: str) -> None:
    """Two origins, two formats, one graph. For Cornell only the corrected files pass."""
    graph = load_graph(name, seed=3)
    with np.load(Path(DATA, f"heterophilous/{name}.npz")) as other:
        src, dst = other["edges"].T
        theirs = graphs.node_graph(src, dst, other["node_features"], other["node_labels"])
        masks = {f"{part}_mask": other[f"{part}_masks"][3] for part in ("train", "val", "test")}
    assert torch.equal(edge_keys(graph), edge_keys(theirs))
    assert torch.equal(graph.ndata["feat"], theirs.ndata["feat"])
    assert torch.equal(graph.ndata["label"], theirs.ndata["label"])
    assert all(np.array_equal(graph.ndata[mask].numpy(), given) for mask, given in masks.items())


@needs_data
@pytest.mark.parametrize("name", ["texas", "wisconsin", "cornell", "chameleon", "actor", "chameleon-filtered"])
def test_directed_variants_are_the_same_graph_before_it_was_made_symmetric(name: str) -> None:
    graph, directed = load_graph(name), load_graph(f"{name}-directed")
    symmetric = datasets.transforms.apply(directed, ["to_undirected", "remove_self_loop"])
    assert torch.equal(edge_keys(symmetric), edge_keys(graph))
    assert torch.equal(directed.ndata["feat"], graph.ndata["feat"])


# ---------------------------------------------------------------- embedded sets


def digest(*tensors: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in tensors)).hexdigest()[:16]


def test_digits_are_the_same_on_every_machine() -> None:
    graph = load_graph("digits")
    assert digest(*graph.edges()) == "6ee48920e7ec45ac"
    assert digest(graph.ndata["feat"]) == "9f578524b6cec1fc"
    assert digest(graph.ndata["train_mask"]) == "95a803e0d102e32d"
    assert int(graph.in_degrees().min()) == 8
    assert float(graph.ndata["feat"].min()) == 0
    assert float(graph.ndata["feat"].max()) == 1


def test_csbm_varies_with_the_seed() -> None:
    first, again, other = (load_graph("csbm", seed=seed) for seed in (0, 0, 1))
    assert digest(*first.edges()) == "3d16a07e2c7870fe"
    assert torch.equal(first.ndata["feat"], again.ndata["feat"])
    assert torch.equal(edge_keys(first), edge_keys(again))
    assert not torch.equal(first.ndata["feat"], other.ndata["feat"])
    assert not torch.equal(edge_keys(first), edge_keys(other))


def test_csbm_follows_its_model() -> None:
    graph = synthetic.csbm(1000, p=0.05, q=0.01, mean=2.0, in_feats=3, generator=torch.Generator().manual_seed(0))
    label, feat = graph.ndata["label"], graph.ndata["feat"]
    src, dst = graph.edges()
    inside = float((label[src] == label[dst]).sum()) / (2 * 500 * 499)
    between = float((label[src] != label[dst]).sum()) / (2 * 500 * 500)
    assert inside == pytest.approx(0.05, rel=0.05)
    assert between == pytest.approx(0.01, rel=0.1)
    assert torch.allclose(feat[label == 0].mean(dim=0), torch.full((3,), -2.0), atol=0.15)
    assert torch.allclose(feat[label == 1].std(dim=0), torch.ones(3), atol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"p": 1.5}, "p is 1.5"), ({"q": -0.1}, "q is -0.1"), ({"num_nodes": 1}, "at least two nodes")],
)
def test_csbm_refuses_the_impossible(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        synthetic.csbm(**arguments, generator=torch.Generator())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def numbered_cora(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """The labels of a Cora whose nodes have their number as their only feature."""
    label = torch.repeat_interleave(torch.arange(7), torch.tensor(CLASS_SIZES["cora"]))
    label = label[torch.randperm(len(label))]
    empty = np.empty(0, dtype=np.int64)
    cora = graphs.node_graph(empty, empty, np.arange(len(label))[:, None], label.numpy())
    monkeypatch.setattr(planetoid, "read", lambda about: cora)
    return label


def mixing(graph: dgl.DGLGraph) -> torch.Tensor:
    """For each class the shares of its edges that lead to each class."""
    src, dst = graph.edges()
    label = graph.ndata["label"]
    counts = torch.bincount(label[src] * 5 + label[dst], minlength=25).view(5, 5).double()
    return counts / counts.sum(1, keepdim=True)


@pytest.mark.usefixtures("numbered_cora")
@pytest.mark.parametrize("homophily", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize(("degree", "tolerance"), [(11.93, 0.025), (68.75, 0.01)])  # four deviations at least
def test_syn_cora_has_the_homophily_and_the_degree_asked_for(homophily: float, degree: float, tolerance: float) -> None:
    graph = synthetic.syn_cora(homophily, degree, generator=generator())
    src, dst = graph.edges()
    same = graph.ndata["label"][src] == graph.ndata["label"][dst]
    assert same.double().mean().item() == pytest.approx(homophily, abs=0 if homophily in (0, 1) else tolerance)
    assert len(src) / 2 == round(degree * 1490 / 2)
    expected = torch.full((5, 5), (1 - homophily) / 4, dtype=torch.float64).fill_diagonal_(homophily)
    assert (mixing(graph) - expected).abs().max() < 2 * tolerance
    assert torch.bincount(graph.ndata["label"]).tolist() == [298] * 5

    keys = edge_keys(graph)
    assert (src != dst).all() and (keys.diff() > 0).all(), "a simple graph"
    assert torch.equal(torch.sort(dst * 1490 + src).values, keys), "both directions"
    assert graph.in_degrees().min() > 0


@pytest.mark.usefixtures("numbered_cora")
def test_syn_cora_prefers_nodes_that_have_many_edges() -> None:
    degrees = synthetic.syn_cora(0.5, 11.93, generator=generator()).in_degrees().double()
    assert degrees[:149].mean() > 3 * degrees[-149:].mean()
    assert degrees.max() > 60


def test_syn_cora_has_features_of_different_nodes_of_the_same_class(numbered_cora: torch.Tensor) -> None:
    graph = synthetic.syn_cora(0.5, 11.93, generator=generator())
    origin = graph.ndata["feat"].long().squeeze(1)
    assert len(origin.unique()) == 1490
    assert torch.equal(numbered_cora[origin], torch.tensor([0, 2, 3, 4, 5])[graph.ndata["label"]])


@pytest.mark.usefixtures("numbered_cora")
def test_syn_cora_varies_with_the_seed_only() -> None:
    first, again, other = (load_graph("syn-cora-h0.4-d12", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(edge_keys(first), edge_keys(again))
    assert torch.equal(first.ndata["feat"], again.ndata["feat"])
    assert not torch.equal(edge_keys(first), edge_keys(other))
    assert not torch.equal(first.ndata["feat"], other.ndata["feat"])
    for name in ("syn-cora-h0.5-d12", "syn-cora-h0.4-d69"):
        graph = load_graph(name)
        assert torch.equal(first.ndata["feat"], graph.ndata["feat"])
        assert torch.equal(first.ndata["label"], graph.ndata["label"])
        assert torch.equal(first.ndata["train_mask"], graph.ndata["train_mask"])
        assert not torch.equal(edge_keys(first), edge_keys(graph))


def test_syn_cora_comes_in_tenths() -> None:
    names = datasets.list_datasets("syn-cora-*-d12")
    assert names == [f"syn-cora-h{tenths / 10}-d12" for tenths in range(11)]
    edges = {datasets.info(name).num_edges for name in datasets.list_datasets("syn-cora-*-d69")}
    assert edges == {round(68.75 * 1490 / 2)}


@needs_data
def test_syn_cora_has_rows_of_cora() -> None:
    graph, cora = load_graph("syn-cora-h1.0-d12"), load_graph("cora")
    for own, theirs in enumerate([0, 2, 3, 4, 5]):
        rows = {row.numpy().tobytes() for row in cora.ndata["feat"][cora.ndata["label"] == theirs]}
        assert {row.numpy().tobytes() for row in graph.ndata["feat"][graph.ndata["label"] == own]} <= rows


@pytest.mark.usefixtures("numbered_cora")
@pytest.mark.parametrize(
    ("homophily", "degree", "message"),
    [
        (1.1, 12, "homophily is 1.1"),
        (math.nan, 12, "homophily is nan"),
        (0.5, 0, "degree is 0"),
        (0.5, 1490, "degree is 1490"),
        (0.5, math.nan, "degree is nan"),
        (1.0, 298, "no room for 222010 edges between 1490 nodes at homophily 1.0: 745 are left over"),
    ],
)
def test_syn_cora_refuses_the_impossible(homophily: float, degree: float, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        synthetic.syn_cora(homophily, degree, generator=generator())


# ---------------------------------------------------------------- where files come from


def declare(monkeypatch: pytest.MonkeyPatch, path: str, url: str, sha256: str | None) -> None:
    monkeypatch.setattr(sources, "raw_files", lambda: {path: sources.RawFile(path, url, sha256)})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of a local web server for a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_every_declared_file_has_an_origin() -> None:
    files = sources.raw_files()
    assert all(file.url.startswith("https://") for file in files.values())
    unknown = [path for path, file in files.items() if file.sha256 is None]
    assert unknown == ["linkx/genius.mat", "gnn_benchmark/cora_full.npz"]
    assert all(len(file.sha256) == 64 for file in files.values() if file.sha256)


@needs_data
def test_every_declared_file_is_right() -> None:
    for path, file in sources.raw_files().items():
        if path not in ABSENT.values():
            assert hashlib.sha256(Path(DATA, path).read_bytes()).hexdigest() == file.sha256, path


def test_absent_and_offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "heterophilous/minesweeper.npz", "http://127.0.0.1:9/minesweeper.npz", "0" * 64)
    with pytest.raises(DatasetNotFound) as raised:
        datasets.load("minesweeper")
    for part in ("'minesweeper'", "heterophilous/minesweeper.npz", "http://127.0.0.1:9/minesweeper.npz", "ZOO_DATA"):
        assert part in str(raised.value)
    assert not list(cache.rglob("*.npz"))


@pytest.mark.usefixtures("cache")
def test_syn_cora_needs_coras_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_unreachable", {"raw.githubusercontent.com"})
    with pytest.raises(DatasetNotFound, match=r"'cora' is not at hand.* missing planetoid/ind\.cora\.allx"):
        datasets.load("syn-cora-h0.4-d12")


def test_fetched_once_then_offline(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw.txt").write_bytes(b"bytes")
    with served(tmp_path) as url:
        declare(monkeypatch, "a/b.txt", f"{url}/raw.txt", hashlib.sha256(b"bytes").hexdigest())
        assert sources.read("toy", ["a/b.txt"]) == [b"bytes"]
    assert (cache / "a/b.txt").read_bytes() == b"bytes"
    assert sources.read("toy", ["a/b.txt"]) == [b"bytes"]


def test_fetched_bytes_are_checked_and_not_kept(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw.txt").write_bytes(b"other bytes")
    with served(tmp_path) as url:
        declare(monkeypatch, "a/b.txt", f"{url}/raw.txt", hashlib.sha256(b"bytes").hexdigest())
        with pytest.raises(IntegrityError, match=r"raw\.txt does not serve the bytes that it once published"):
            sources.read("toy", ["a/b.txt"])
        with pytest.raises(DatasetNotFound, match="HTTPError"):
            declare(monkeypatch, "a/c.txt", f"{url}/absent.txt", None)
            sources.read("toy", ["a/c.txt"])
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("place", ["ZOO_DATA", "ZOO_CACHE"])
def test_an_altered_byte(place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hashlib.sha256(b"bytes").hexdigest()
    declare(monkeypatch, "a.txt", "http://127.0.0.1:9/a.txt", expected)
    (tmp_path / "a.txt").write_bytes(b"bytez")
    monkeypatch.setenv(place, str(tmp_path))
    with pytest.raises(IntegrityError) as raised:
        sources.read("toy", ["a.txt"])
    for part in (str(tmp_path / "a.txt"), expected, hashlib.sha256(b"bytez").hexdigest()):
        assert part in str(raised.value)


@pytest.mark.parametrize("place", ["ZOO_DATA", "ZOO_CACHE"])
def test_a_tilde_is_the_users_home(place: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "a.txt", "http://127.0.0.1:9/a.txt", hashlib.sha256(b"bytes").hexdigest())
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_bytes(b"bytes")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(place, "~/raw")
    assert sources.read("toy", ["a.txt"]) == [b"bytes"]


def test_what_zoo_data_lacks_is_taken_from_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(monkeypatch, "a.txt", "http://127.0.0.1:9/a.txt", hashlib.sha256(b"bytes").hexdigest())
    cache.mkdir()
    (cache / "a.txt").write_bytes(b"bytes")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    assert sources.read("toy", ["a.txt"]) == [b"bytes"]


# ---------------------------------------------------------------- sets whose files are rarely at hand


def place_file(path: str, arrays: dict[str, Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = root / path
    target.parent.mkdir(parents=True)
    np.savez(target, **arrays)
    monkeypatch.setenv("ZOO_DATA", str(root))
    declare(monkeypatch, path, "http://127.0.0.1:9/file.npz", hashlib.sha256(target.read_bytes()).hexdigest())


def yandex_arrays(num_nodes: int = 6) -> dict[str, Any]:
    rank = np.arange(10)[:, None] + np.arange(num_nodes)
    return {
        "node_features": np.eye(num_nodes, 4),
        "node_labels": np.arange(num_nodes) % 3,
        "edges": np.array([[0, 1], [1, 2], [5, 3]]),
        "train_masks": rank % 3 == 0,
        "val_masks": rank % 3 == 1,
        "test_masks": rank % 3 == 2,
    }


@pytest.mark.parametrize("name", ["roman-empire", "amazon-ratings", "questions"])
def test_heterophilous_form(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_file(ABSENT[name], yandex_arrays(), tmp_path, monkeypatch)
    graph = load_graph(name, seed=11)
    assert edge_keys(graph).tolist() == [1, 6, 8, 13, 23, 33]
    assert graph.ndata["label"].tolist() == [0, 1, 2, 0, 1, 2]
    assert graph.ndata["val_mask"].tolist() == [True, False, False] * 2


def test_cora_full_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[str, Any] = {"labels": np.array([0, 1, 1, 0]), "idx_to_class": np.array({0: Bomb()}, dtype=object)}
    for name, matrix in (("adj", scipy.sparse.eye(4, k=1)), ("attr", scipy.sparse.eye(4))):
        csr = matrix.tocsr()
        pieces = zip(
            ("data", "indices", "indptr", "shape"), (csr.data, csr.indices, csr.indptr, csr.shape), strict=True
        )
        parts |= {f"{name}_{piece}": value for piece, value in pieces}
    place_file(ABSENT["cora-full"], parts, tmp_path, monkeypatch)
    graph = load_graph("cora-full", split="random-50-25-25")
    assert graph.num_edges() == 6
    assert torch.equal(graph.ndata["feat"], torch.eye(4))

    for number, (name, wrong) in enumerate((("labels", [0, 1, 1]), ("labels", ["a"] * 4), ("attr_shape", [3, 4]))):
        (tmp_path / str(number)).mkdir()
        place_file(ABSENT["cora-full"], parts | {name: np.array(wrong)}, tmp_path / str(number), monkeypatch)
        with pytest.raises(IntegrityError, match=r"gnn_benchmark/cora_full\.npz does not hold a graph in plain arrays"):
            load_graph("cora-full", split="random-50-25-25")

    parts["labels"] = parts.pop("idx_to_class")
    (tmp_path / "again").mkdir()
    place_file(ABSENT["cora-full"], parts, tmp_path / "again", monkeypatch)
    with pytest.raises(IntegrityError, match=r"gnn_benchmark/cora_full\.npz does not hold a graph in plain arrays"):
        load_graph("cora-full")


def mat(**arrays: Any) -> bytes:
    """The bytes of a `.mat` file."""
    stream = io.BytesIO()
    scipy.io.savemat(stream, arrays)
    return stream.getvalue()


GENIUS: dict[str, Any] = {
    "edge_index": np.array([[0, 2, 1, 3], [1, 1, 0, 3]]),
    "node_feat": np.arange(12.0).reshape(4, 3),
    "label": np.array([[1], [0], [0], [1]]),
}


def place_genius(content: bytes, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "linkx").mkdir()
    (root / ABSENT["genius"]).write_bytes(content)
    monkeypatch.setenv("ZOO_DATA", str(root))


def test_genius_keeps_the_direction_of_its_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_genius(mat(**GENIUS), tmp_path, monkeypatch)
    graph = load_graph("genius", seed=1)
    assert [end.tolist() for end in graph.edges()] == [[0, 1, 2, 3], [1, 0, 1, 3]]
    assert graph.ndata["feat"].tolist() == GENIUS["node_feat"].tolist()
    assert graph.ndata["label"].tolist() == [1, 0, 0, 1]
    assert [int(graph.ndata[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [2, 1, 1]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no mat" * 100,
        mat(**GENIUS)[:-60],
        mat(node_feat=GENIUS["node_feat"]),
        mat(**GENIUS | {"label": [0, 1]}),
        mat(**GENIUS | {"edge_index": [[0, 4], [1, 1]]}),
    ],
    ids=["empty", "no mat", "cut off", "a part missing", "fewer labels", "an edge from nowhere"],
)
def test_a_broken_genius_is_named(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_genius(content, tmp_path, monkeypatch)
    with pytest.raises(IntegrityError, match=r"linkx/genius\.mat does not hold a graph in plain arrays"):
        load_graph("genius")


# ---------------------------------------------------------------- Open Graph Benchmark


OGB_TABLES: dict[str, list[list[float]]] = {
    "raw/edge": [[0, 1], [2, 1], [1, 0], [3, 3]],
    "raw/node-feat": [[0.5, -1.0], [1.0, 0.0], [0.25, 2.0], [0.0, 0.0]],
    "raw/node-label": [[3], [0], [39], [3]],
    "raw/node_year": [[2019], [2008], [2013], [2020]],
    "raw/num-node-list": [[4]],
    "raw/num-edge-list": [[4]],
    "split/time/train": [[2], [0]],
    "split/time/valid": [[1]],
    "split/time/test": [[3]],
}


PROTEIN_TABLES: dict[str, list[list[float]]] = {
    "raw/edge": [[0, 1], [2, 1], [3, 0], [3, 4]],
    "raw/edge-feat": [[0.5, 1.0], [1.0, 0.0], [0.25, 2.0], [0.0, 0.5]],
    "raw/node-label": [[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]],
    "raw/num-node-list": [[6]],
    "raw/num-edge-list": [[4]],
    "split/species/train": [[1], [5]],
    "split/species/valid": [[0], [2]],
    "split/species/test": [[3], [4]],
}


PRODUCT_TABLES: dict[str, list[list[float]]] = {
    "raw/edge": [[0, 1], [2, 1], [1, 0], [3, 3]],
    "raw/node-feat": [[0.5, -1.0], [1.0, 0.0], [0.25, 2.0], [0.0, 0.0]],
    "raw/node-label": [[3], [0], [46], [3]],
    "raw/num-node-list": [[4]],
    "raw/num-edge-list": [[4]],
    "split/sales_ranking/train": [[3], [0]],
    "split/sales_ranking/valid": [[2]],
    "split/sales_ranking/test": [[1]],
}


def write_tables(folder: Path, tables: dict[str, list[list[float]]]) -> None:
    for name, rows in tables.items():
        target = folder / f"{name}.csv.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress("".join(",".join(map(str, row)) + "\n" for row in rows).encode()))


@pytest.fixture
def ogb_folder(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small graph as ogb stores one."""
    folder = tmp_path / "ogb" / "ogbn_arxiv"
    write_tables(folder, OGB_TABLES)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    return folder


@pytest.fixture
def proteins_folder(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small graph as ogb stores ogbn-proteins."""
    folder = tmp_path / "ogb" / "ogbn_proteins"
    write_tables(folder, PROTEIN_TABLES)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    return folder


def test_ogb_form(ogb_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = load_graph("ogbn-arxiv")
    assert [end.tolist() for end in graph.edges()] == [[0, 1, 2, 3], [1, 0, 1, 3]]
    assert torch.equal(graph.ndata["feat"], torch.tensor(OGB_TABLES["raw/node-feat"]))
    assert graph.ndata["label"].tolist() == [3, 0, 39, 3]
    masks = [graph.ndata[f"{part}_mask"].tolist() for part in ("train", "val", "test")]
    assert masks == [[True, False, True, False], [False, True, False, False], [False, False, False, True]]
    undirected = datasets.transforms.to_undirected(graph)
    assert [end.tolist() for end in undirected.edges()] == [[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]]
    assert capsys.readouterr() == ("", "")


def test_arxiv_year_is_ogbn_arxiv_with_the_year_as_class(ogb_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, arxiv = load_graph("arxiv-year"), load_graph("ogbn-arxiv")
    assert torch.equal(edge_keys(graph), edge_keys(arxiv))
    assert torch.equal(graph.ndata["feat"], arxiv.ndata["feat"])
    assert graph.ndata["label"].tolist() == [3, 0, 1, 4]
    assert graph.ndata["train_mask"].sum() == 2
    (ogb_folder / "raw/node_year.csv.gz").unlink()
    monkeypatch.setattr("ogb.nodeproppred.dataset.download_url", no_network)
    with pytest.raises(DatasetNotFound, match=r"'arxiv-year'.*ogb/ogbn_arxiv has .*raw/node_year\.csv\.gz"):
        load_graph("arxiv-year")
    assert load_graph("ogbn-arxiv").num_nodes() == 4


@needs_data
def test_classes_of_arxiv_year_are_runs_of_years_of_about_equal_size() -> None:
    path = Path(DATA, "ogbn_arxiv_partial/raw/node_year.csv.gz")
    if not path.exists():
        pytest.skip(f"no {path}")
    text = gzip.decompress(path.read_bytes())
    years = np.array(text.split(), dtype=np.int64)
    classes = ogbn.quantile_classes(years, 5)
    assert [int(years[classes == c].min()) for c in range(5)] == [1971, 2014, 2016, 2018, 2019]
    assert [int(years[classes == c].max()) for c in range(5)] == [2013, 2015, 2017, 2018, 2020]
    assert np.bincount(classes).tolist() == [31971, 21189, 37781, 29799, 48603]


def test_ogbn_proteins_has_the_mean_of_a_proteins_edges_as_features(proteins_folder: Path) -> None:
    graph = load_graph("ogbn-proteins")
    assert [end.tolist() for end in graph.edges()] == [[0, 0, 1, 1, 2, 3, 3, 4], [1, 3, 0, 2, 1, 0, 4, 3]]
    feat = [[0.375, 1.5], [0.75, 0.5], [1.0, 0.0], [0.125, 1.25], [0.0, 0.5], [0.0, 0.0]]
    assert graph.ndata["feat"].tolist() == feat
    assert graph.ndata["label"].tolist() == PROTEIN_TABLES["raw/node-label"]
    assert graph.ndata["label"].dtype == torch.bool
    parts = [graph.ndata[f"{part}_mask"].nonzero().flatten().tolist() for part in ("train", "val", "test")]
    assert parts == [[1, 5], [0, 2], [3, 4]]


def test_ogbn_products_is_undirected_and_split_by_sales_rank(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tables(tmp_path / "ogb" / "ogbn_products", PRODUCT_TABLES)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    graph = load_graph("ogbn-products")
    assert [end.tolist() for end in graph.edges()] == [[0, 1, 1, 2], [1, 0, 2, 1]], "none twice, no self-loop"
    assert torch.equal(graph.ndata["feat"], torch.tensor(PRODUCT_TABLES["raw/node-feat"]))
    assert graph.ndata["label"].tolist() == [3, 0, 46, 3]
    parts = [graph.ndata[f"{part}_mask"].nonzero().flatten().tolist() for part in ("train", "val", "test")]
    assert parts == [[0, 3], [2], [1]]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("raw/node-label", [[0, 1], [2, 0], [0, 0], [1, 1], [0, 1], [1, 0]]),
        ("raw/node-label", [[0, 1]] * 4),
        ("raw/edge-feat", [[0.5, 1.0]]),
        ("raw/edge", [[0, 1], [2, 6], [3, 0], [3, 4]]),
    ],
    ids=["a label of 2", "fewer labels", "fewer features", "an edge to nowhere"],
)
def test_broken_tables_of_ogbn_proteins_are_named(name: str, rows: list[list[float]], proteins_folder: Path) -> None:
    write_tables(proteins_folder, {name: rows})
    with pytest.raises(IntegrityError, match=f"{proteins_folder / 'raw'} does not hold what ogb stores there"):
        load_graph("ogbn-proteins")


def test_ogb_folder_in_the_cache(ogb_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(ogb_folder.parent.parent))
    monkeypatch.delenv("ZOO_DATA")
    assert load_graph("ogbn-arxiv").num_nodes() == 4


@pytest.mark.parametrize("name", ["raw/edge", "raw/node-feat", "raw/node-label", "split/time/test"])
@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"0\n" * 500)[:-9], gzip.compress(b"7\n" * 3), gzip.compress(b"a,b\n")],
    ids=["empty", "no gzip", "cut off", "other numbers", "words"],
)
def test_a_broken_table_of_ogb_is_named(name: str, content: bytes, ogb_folder: Path) -> None:
    (ogb_folder / f"{name}.csv.gz").write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{(ogb_folder / name).parent} does not hold what ogb stores there"):
        load_graph("ogbn-arxiv")


def no_network(url: str, folder: str) -> None:
    raise urllib.error.URLError("no network")


@pytest.mark.parametrize(
    ("name", "folder", "table"),
    [
        ("ogbn-arxiv", "ogbn_arxiv", "raw/node-feat"),
        ("ogbn-proteins", "ogbn_proteins", "split/species/train"),
        ("ogbn-products", "ogbn_products", "split/sales_ranking/test"),
    ],
)
def test_ogb_absent_and_offline(
    name: str, folder: str, table: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ogb.nodeproppred.dataset.download_url", no_network)
    with pytest.raises(DatasetNotFound) as raised:
        load_graph(name)
    for part in (f"'{name}'", str(cache / "ogb"), "no network", "ZOO_DATA", f"ogb/{folder}", f"{table}.csv.gz"):
        assert part in str(raised.value)


def test_a_large_download_of_ogb_is_not_asked_about_and_can_be_broken_off(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asking(url: str) -> bool:
        pytest.fail("it asks at the terminal")

    def broken_off(url: str, folder: str) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise RuntimeError("Stopped downloading due to interruption.")  # noqa: B904, as ogb does

    from ogb.nodeproppred import dataset

    monkeypatch.setattr(dataset, "decide_download", asking)
    monkeypatch.setattr(dataset, "download_url", broken_off)
    with pytest.raises(KeyboardInterrupt):
        load_graph("ogbn-products")
    assert dataset.decide_download is asking, "left as it was"


def test_half_a_folder_in_the_cache_is_not_asked_about_at_the_terminal(cache: Path) -> None:
    (cache / "ogb" / "ogbn_arxiv").mkdir(parents=True)
    with pytest.raises(DatasetNotFound, match=r"not whole in .*ogbn_arxiv: delete that"):
        load_graph("ogbn-arxiv")


def test_ogbs_evaluator_computes_our_accuracy() -> None:
    from ogb.nodeproppred import Evaluator

    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(500, 40, generator=generator), torch.randint(40, (500,), generator=generator)
    labels[:200] = logits[:200].argmax(dim=1)
    theirs = Evaluator("ogbn-arxiv").eval({"y_true": labels[:, None], "y_pred": logits.argmax(dim=1, keepdim=True)})
    assert measure("accuracy", logits, labels) == pytest.approx(100 * theirs["acc"], rel=1e-12)


def test_ogbs_evaluator_computes_our_area_under_the_curve_of_several_labels() -> None:
    from ogb.nodeproppred import Evaluator

    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (200, 112), generator=generator)
    logits = (torch.randn(200, 112, generator=generator) + labels).round(decimals=1)  # some of them equal
    labels[:, 3], labels[:, 7] = 0, 1
    theirs = Evaluator("ogbn-proteins").eval({"y_true": labels, "y_pred": logits})
    assert measure("roc-auc", logits, labels.float()) == pytest.approx(100 * theirs["rocauc"], rel=1e-12)


# ---------------------------------------------------------------- pickles


class Bomb:
    """Its pickle asks to run a command when it is opened."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("echo the bomb went off >&2; exit 1",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_arrays_open(protocol: int) -> None:
    content = {
        "matrix": scipy.sparse.eye(3).tocsr(),
        "array": np.arange(3),
        "scalar": np.float32(2),
        "many": [(1, {2})],
    }
    opened = pickles.loads(pickle.dumps(content, protocol))
    assert (opened["matrix"] != content["matrix"]).nnz == 0
    assert opened["array"].tolist() == [0, 1, 2]
    assert opened["scalar"] == 2
    assert opened["many"] == [(1, {2})]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_not_run(protocol: int, capfd: pytest.CaptureFixture[str]) -> None:
    for content in (Bomb(), [np.arange(3), {"deep": Bomb()}], np.array([Bomb()], dtype=object)):
        with pytest.raises(IntegrityError, match=r"asks for (posix|nt)\.system"):
            pickles.loads(pickle.dumps(content, protocol))
    assert "bomb" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "name", ["builtins\neval", "builtins\ngetattr", "numpy\nload", "numpy.f2py\ncompile", "scipy.sparse\nload_npz"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(IntegrityError, match="which no array needs"):
        pickles.loads(f"c{name}\n.".encode())


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(np.arange(100))[:-20]])
def test_a_broken_pickle(content: bytes) -> None:
    with pytest.raises(IntegrityError, match="is broken"):
        pickles.loads(content)


def test_npz_with_pickled_members(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.BytesIO()
    matrix = scipy.sparse.eye(3).tocsr()
    np.savez(
        stream, plain=np.arange(3), matrix=np.array(matrix, dtype=object), names=np.array(["a", None], dtype=object)
    )
    opened = pickles.load_npz(stream.getvalue())
    assert opened["plain"].tolist() == [0, 1, 2]
    assert (opened["matrix"] != matrix).nnz == 0
    assert opened["names"].tolist() == ["a", None]

    stream = io.BytesIO()
    np.savez(stream, member=np.array(Bomb(), dtype=object))
    with pytest.raises(IntegrityError, match="system"):
        pickles.load_npz(stream.getvalue())
    assert "bomb" not in capfd.readouterr().err


def test_text_form() -> None:
    text = b"2\n3 7\n0 2 1 2\n4 1 0\n0 1 0\n2 5\n4 1 1\n0 1 0\n"
    labels, sizes, tags, src, dst = tu_text.parse(text)
    assert (labels.tolist(), sizes.tolist(), tags.tolist()) == ([7, 5], [3, 2], [0, 4, 0, 4, 0])
    assert list(zip(src.tolist(), dst.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (2, 0), (3, 4), (4, 3)]
    for variant in (text.strip(), text.replace(b"\n", b"\r\n"), text.replace(b"\n", b" \n")):
        assert all(np.array_equal(*pair) for pair in zip(tu_text.parse(variant), tu_text.parse(text), strict=True))


# ---------------------------------------------------------------- graphs of the user's own

EDGES = [[0, 1, 1, 2], [1, 2, 2, 2]]
FEAT = [[1.0, 2.0], [0.5, 0.0], [0.0, 1.0]]
MASK = [True, False, False]


@pytest.mark.parametrize(
    "edges",
    [
        EDGES,
        np.array(EDGES),
        np.array(EDGES).T,
        torch.tensor(EDGES, dtype=torch.int32),
        (np.array(EDGES[0]), torch.tensor(EDGES[1])),
        scipy.sparse.coo_matrix(([1, 1, 1, 1], EDGES), shape=(3, 3)),
    ],
)
def test_from_arrays_takes_edges_in_any_form(edges: Any) -> None:
    assert edge_keys(datasets.from_arrays(edges, FEAT)).tolist() == [1, 3, 5, 7, 8]
    assert edge_keys(datasets.from_arrays(edges, FEAT, undirected=False)).tolist() == [1, 5, 8]


def test_two_tuples_that_could_be_two_edges_are_told() -> None:
    with pytest.warns(UserWarning, match=r"read as \(sources, destinations\)"):
        graph = datasets.from_arrays([(0, 2), (1, 0)], FEAT, undirected=False)
    for edges in ([[0, 2], [1, 0]], ((0, 2), (1, 0)), np.array([(0, 1), (2, 0)]).T):
        assert edge_keys(datasets.from_arrays(edges, FEAT, undirected=False)).tolist() == [1, 6]
    assert edge_keys(graph).tolist() == [1, 6]


def test_that_weights_of_edges_are_not_taken_is_told() -> None:
    weighted = scipy.sparse.coo_matrix(([0.5, 0, 3], ([0, 1, 2], [1, 0, 2])), shape=(3, 3))
    with pytest.warns(UserWarning, match="the zoo's edges have no weights: each entry of the matrix but 0 is 1"):
        graph = datasets.from_arrays(weighted, FEAT, undirected=False)
    assert edge_keys(graph).tolist() == [1, 8]
    assert not graph.edata


@pytest.mark.parametrize("feat", [FEAT, np.array(FEAT), torch.tensor(FEAT), scipy.sparse.csr_matrix(np.array(FEAT))])
def test_from_arrays_takes_features_in_any_form(feat: Any) -> None:
    graph = datasets.from_arrays(EDGES, feat, [0, 1, 1], MASK, [False, True, False], num_nodes=3)
    assert graph.ndata["feat"].tolist() == FEAT
    assert graph.ndata["feat"].dtype == torch.float32
    assert graph.ndata["label"].tolist() == [0, 1, 1]
    assert graph.ndata.keys() == {"feat", "label", "train_mask", "val_mask"}
    graphs.check_graph(graph)


def test_from_arrays_copies() -> None:
    feat, mask = np.array(FEAT, dtype=np.float32), np.array(MASK)
    graph = datasets.from_arrays(EDGES, feat, train_mask=mask)
    feat[:], mask[:] = 0, False
    assert graph.ndata["feat"].tolist() == FEAT
    assert graph.ndata["train_mask"].tolist() == MASK


@pytest.mark.parametrize("label", [[[0, 1], [1, 1], [0, 0]], [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]])
def test_from_arrays_takes_several_labels_of_each_node(label: Any) -> None:
    graph = datasets.from_arrays(EDGES, FEAT, label)
    assert graph.ndata["label"].tolist() == [[False, True], [True, True], [False, False]]


def test_from_arrays_without_edges_and_with_targets() -> None:
    graph = datasets.from_arrays([], FEAT, [0.5, 1.5, 2.5])
    assert graph.num_edges() == 0
    assert graph.ndata["label"].dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"edges": [[0, 3], [1, 1]]}, "an edge names node 3, but the nodes are 0 to 2"),
        ({"edges": [[0, -1], [1, 1]]}, "an edge names node -1"),
        ({"edges": [[0.0, 1.0], [1.0, 2.0]]}, "edges have dtype float64: expected integer"),
        ({"edges": [0, 1, 2]}, r"edges have shape \(3,\): expected \(2, num_edges\)"),
        ({"edges": np.zeros((3, 3), int)}, r"edges have shape \(3, 3\)"),
        ({"edges": [[0, 1], [1]]}, "edges is not an array"),
        ({"edges": scipy.sparse.eye(4)}, r"adjacency matrix has shape \(4, 4\) for 3 nodes"),
        ({"feat": [1.0, 2.0, 3.0]}, r"feat has shape \(3,\): expected \(num_nodes, in_feats\)"),
        ({"feat": [["a"], ["b"], ["c"]]}, "feat has dtype <U1: expected numbers"),
        ({"feat": [[1.0], [float("nan")], [2.0]]}, "feat has 1 values that are NaN or infinite, the first at node 1"),
        ({"feat": [[1.0], [2.0], [float("inf")]]}, "the first at node 2, feature 0"),
        ({"feat": np.empty((0, 4)), "edges": []}, "the graph has no nodes"),
        ({"num_nodes": 4}, "feat has 3 rows for 4 nodes"),
        ({"feat": np.ma.masked_equal(FEAT, FEAT[0][0])}, "feat is an array with masked values: fill them first"),
        ({"label": [0, 1]}, r"label has shape \(2,\): expected \(3,\)"),
        ({"label": [[0], [1], [1]]}, r"label has shape \(3, 1\): expected \(3,\)"),
        ({"label": [[0, 1], [1, 2], [0, 0]]}, "label has several columns, so each entry is 0 or 1, but some are"),
        ({"label": [0, -1, 1]}, "label holds -1: classes count from 0"),
        ({"label": np.array([0, 1, 2**63], np.uint64)}, "label holds 9223372036854775808: classes count from 0 to at"),
        ({"label": [0, 1, 10**30]}, "label has dtype object: expected integer classes"),
        ({"label": [0.0, 1.0, 1e39]}, "label has NaN or infinite values, as float32"),
        ({"label": ["a", "b", "c"]}, "label has dtype <U1"),
        ({"label": [0.0, float("nan"), 1.0]}, "label has NaN or infinite values"),
        ({"train_mask": [True, False]}, r"train_mask is bool of shape \(2,\): expected bool of shape \(3,\)"),
        ({"val_mask": [0, 1, 2]}, "val_mask is int64"),
        ({"train_mask": MASK, "test_mask": MASK}, "1 nodes are in more than one of train_mask, test_mask"),
    ],
)
def test_from_arrays_says_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        datasets.from_arrays(**{"edges": EDGES, "feat": FEAT, **arguments})


def test_check_graph() -> None:
    hetero = dgl.heterograph({("a", "to", "b"): ([0], [0])})
    with pytest.raises(GraphError, match=r"node types \['a', 'b'\]"):
        graphs.check_graph(hetero)
    graph = dgl.graph(([0], [1]), num_nodes=2)
    with pytest.raises(GraphError, match=r'no ndata\["feat"\]; its ndata holds nothing'):
        graphs.check_graph(graph)
    graph.ndata["feat"] = torch.ones(2, 1, dtype=torch.int64)
    with pytest.raises(GraphError, match=r"feat is torch\.int64; convert it with feat\.float\(\)"):
        graphs.check_graph(graph)
    graph.ndata["feat"] = torch.ones(2, 1)
    graph.ndata["test_mask"] = torch.ones(2)
    with pytest.raises(GraphError, match=r"test_mask is torch\.float32"):
        graphs.check_graph(graph)
    with pytest.raises(GraphError, match="the graph has no nodes"):
        graphs.check_graph(dgl.graph(([], [])))


# ---------------------------------------------------------------- files of the user's own


def test_read_npz_of_our_own_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", edges=EDGES, feat=FEAT, label=[0, 1, 1], test_mask=MASK)
    graph = read_graph(tmp_path / "graph.npz")
    assert edge_keys(graph).tolist() == [1, 3, 5, 7, 8]
    assert graph.ndata.keys() == {"feat", "label", "test_mask"}
    assert read_graph(str(tmp_path / "graph.npz"), undirected=False).num_edges() == 3


def test_read_npz_leaves_other_members_closed(tmp_path: Path) -> None:
    names = np.array(["a", None], dtype=object)
    np.savez(tmp_path / "graph.npz", edges=np.array([[0, 1], [1, 2]]), feat=np.ones((3, 2)), class_names=names)
    assert read_graph(tmp_path / "graph.npz").num_edges() == 4


def test_an_npy_called_npz_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "graph.npy", np.ones(3))
    (tmp_path / "graph.npy").rename(tmp_path / "graph.npz")
    with pytest.raises(GraphError, match=r"graph\.npz: not an \.npz of plain arrays"):
        datasets.read_graph(tmp_path / "graph.npz")


@pytest.mark.parametrize("name", ["csbm", "digits"])
@pytest.mark.parametrize("seed", [1.5, "0", -1, 2**64])
def test_an_impossible_seed_is_refused(name: str, seed: Any) -> None:
    with pytest.raises(RecipeError, match="a seed is"):
        datasets.load(name, seed=seed)


def test_a_split_that_is_no_name_is_refused() -> None:
    with pytest.raises(GraphError, match="has no split 5"):
        datasets.load("csbm", split=5)  # type: ignore[arg-type]


def test_read_npz_of_the_heterophilous_form(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", **yandex_arrays())
    graph = read_graph(tmp_path / "graph.npz")
    assert graph.num_edges() == 6
    assert graph.ndata["train_mask"].tolist() == [True, False, False] * 2


@needs_data
def test_read_npz_of_csr_parts() -> None:
    graph = read_graph(Path(DATA, "gnn_benchmark/amazon_electronics_photo.npz"))
    assert graph.num_nodes() == 7650
    assert datasets.transforms.remove_self_loop(graph).num_edges() == 2 * 119081


def test_read_bin(tmp_path: Path) -> None:
    graph = datasets.from_arrays(EDGES, FEAT, [0, 1, 1], train_mask=MASK)
    graph.ndata["feat"] = graph.ndata["feat"].double()
    dgl.save_graphs(str(tmp_path / "one.bin"), [graph])
    one = read_graph(tmp_path / "one.bin")
    assert edge_keys(one).tolist() == edge_keys(graph).tolist()
    assert one.ndata["feat"].dtype == torch.float32

    labels = {"label": torch.tensor([0, 2]), "test_mask": torch.tensor([False, True])}
    dgl.save_graphs(str(tmp_path / "two.bin"), [graph, graph], labels)
    two = datasets.read_graph(tmp_path / "two.bin")
    assert isinstance(two, datasets.GraphDataset)
    assert (two.name, len(two), two.num_classes) == ("two", 2, 3)
    assert two.test_mask.tolist() == [False, True]
    assert not two.train_mask.any()

    dgl.save_graphs(str(tmp_path / "two.bin"), [graph, graph], {"label": torch.tensor([0.5, 2]).double()})
    two = datasets.read_graph(tmp_path / "two.bin")
    assert isinstance(two, datasets.GraphDataset)
    assert (two.num_classes, two.labels.tolist(), two.labels.dtype) == (1, [0.5, 2], torch.float32)

    dgl.save_graphs(str(tmp_path / "two.bin"), [graph, graph], {"mass": torch.ones(2)})
    two = datasets.read_graph(tmp_path / "two.bin")
    assert isinstance(two, list)
    assert [edge_keys(one).tolist() for one in two] == [edge_keys(graph).tolist()] * 2

    dgl.save_graphs(str(tmp_path / "two.bin"), [graph, graph], {"label": torch.ones(2, 1)})
    with pytest.raises(GraphError, match=r"two\.bin: label has shape \(2, 1\): expected \(2,\), one per graph"):
        datasets.read_graph(tmp_path / "two.bin")


def test_a_bin_that_is_none_is_told_without_a_stack_trace(tmp_path: Path) -> None:
    path = tmp_path / "graphs.bin"
    dgl.save_graphs(str(path), [datasets.from_arrays(EDGES, FEAT)] * 2)
    whole = path.read_bytes()
    for content in (b"", b"garbage" * 10, whole[:10], whole[:60], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(GraphError, match=r"graphs\.bin: not a file of dgl\.save_graphs, or cut short") as raised:
            datasets.read_graph(path)
        assert not re.search(r"\[bt\]|\n|libdgl|\.cc", str(raised.value))


def write_csv(folder: Path, nodes: str, edges: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "nodes.csv").write_text(nodes)
    (folder / "edges.csv").write_text(edges)
    return folder


def test_read_folder(tmp_path: Path) -> None:
    nodes = "id,width,label,height,split\nann,1,0,2,train\nbob,3,1,4,val\ncleo,5,1,6,\n"
    graph = read_graph(write_csv(tmp_path, nodes, "src,dst\nann,bob\ncleo, ann\n"))
    assert graph.ndata["feat"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert graph.ndata["label"].tolist() == [0, 1, 1]
    assert graph.ndata["train_mask"].tolist() == [True, False, False]
    assert graph.ndata["val_mask"].tolist() == [False, True, False]
    assert edge_keys(graph).tolist() == [1, 2, 3, 6]

    with pytest.warns(UserWarning, match=r"edges\.csv: weight is not read: the zoo's edges have no weights"):
        graph = read_graph(write_csv(tmp_path, "x,label\n1,0.5\n2,1\n", "src,dst,weight\n1,0,9\n"), undirected=False)
    assert edge_keys(graph).tolist() == [2]
    assert graph.ndata["label"].dtype == torch.float32
    assert graph.ndata.keys() == {"feat", "label"}


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ("x\n1\n2\n", "src,dst\n0,7\n", "edges.csv names node '7', which nodes.csv does not have"),
        ("x\n1\n2\n", "src,to\n0,1\n", "edges.csv has no column dst"),
        ("x\n1\nfoo\n", "src,dst\n0,1\n", "nodes.csv, line 3, column x: expected a finite number of float32, got"),
        ("x,y\n1,2\n2\n", "src,dst\n0,1\n", "nodes.csv, line 3: 1 cells for 2 columns"),
        ("id\na\nb\n", "src,dst\na,b\n", "nodes.csv has no feature columns"),
        ("id,x\na,1\na,2\n", "src,dst\na,a\n", "names a node twice"),
        ("x\n1\n\nnan\n", "src,dst\n0,1\n", "nodes.csv, line 4, column x: expected a finite number of float32, got"),
        ('id,x,y\n"a\nb",1,2\nc,3,-inf\n', "src,dst\n", r"nodes.csv, line 4 \(id c\), column y: .* got '-inf'"),
        ("x,id\n1e39,a\n", "src,dst\n", r"nodes.csv, line 2 \(id a\), column x: .* got '1e39'"),
        ("x,label\n1,0.5\n2,inf\n", "src,dst\n", "nodes.csv, line 3, column label: expected a finite number"),
        ("x,Label\n1,0\n", "src,dst\n", "nodes.csv has a column Label: write label, or another name"),
        (",x\n0,1\n", "src,dst\n", "nodes.csv has a column without a name"),
        ("x,train_mask\n0,1\n", "src,dst\n", "nodes.csv has a column train_mask: write one column split"),
        ("x,label\n0,cat\n", "src,dst\n", "column label: .* got 'cat'; classes are written as whole numbers from 0"),
        ("ID,x\na,0\n", "src,dst\n", "nodes.csv has a column ID: write id, or another name"),
        ("id,x,id,SPLIT\na,0,a,\n", "src,dst\n", "nodes.csv names a column twice"),
        ("split,x,SPLIT\n,0,train\n", "src,dst\n", "nodes.csv has a column SPLIT: write split, or another name"),
        (f"x,label\n1,0\n2,{2**63}\n", "src,dst\n", "line 3, column label: 9223372036854775808 is no class"),
        (f"x,label\n1,0\n2,{'9' * 5000}\n", "src,dst\n", "line 3, column label: expected a finite number"),
        ("x,label\n1,0\n2,-1\n", "src,dst\n", "line 3, column label: -1 is no class, they count from 0"),
        ("x,split\n1,trian\n", "src,dst\n", "line 2, column split: 'trian' is none of train, val, test or empty"),
        ("x\n", "src,dst\n", "the graph has no nodes"),
        ("", "src,dst\n", "nodes.csv cannot be read as CSV"),
    ],
)
def test_read_folder_says_what_is_wrong(nodes: str, edges: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=message) as raised:
        datasets.read_graph(write_csv(tmp_path / "mine", nodes, edges))
    assert str(tmp_path / "mine") in str(raised.value)


def broken_files() -> dict[str, bytes]:
    stream = io.BytesIO()
    np.savez(stream, edges=EDGES, feat=np.array([Bomb()], dtype=object))
    other = io.BytesIO()
    np.savez(other, x=FEAT)
    parts = io.BytesIO()
    np.savez(parts, adj_data=[1.0], attr_data=[1.0])
    outside = io.BytesIO()
    csr = {"data": np.ones(1), "indices": np.array([10**6]), "indptr": np.array([0, 1, 1]), "shape": np.array([2, 2])}
    np.savez(outside, **{f"{part}_{piece}": value for part in ("adj", "attr") for piece, value in csr.items()})  # type: ignore[arg-type]
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("edges.npy", "not an array")
    compressed = io.BytesIO()
    np.savez_compressed(compressed, edges=EDGES, feat=np.random.default_rng(0).random((3, 500)))
    damaged = bytearray(compressed.getvalue())
    damaged[len(damaged) // 2 :: 7] = bytes(len(damaged[len(damaged) // 2 :: 7]))
    mask = io.BytesIO()
    np.savez(mask, edges=np.array(EDGES).T, node_features=FEAT, node_labels=[0, 1, 1], train_masks=True)
    return {
        "damaged.npz": bytes(damaged),
        "mask.npz": mask.getvalue(),
        "empty.npz": b"",
        "garbage.npz": b"garbage",
        "cut.npz": other.getvalue()[:-30],
        "pickled.npz": stream.getvalue(),
        "other.npz": other.getvalue(),
        "parts.npz": parts.getvalue(),
        "outside.npz": outside.getvalue(),
        "text.npz": text.getvalue(),
        "empty.bin": b"",
        "garbage.bin": b"garbage" * 10,
        "graph.txt": b"0 1",
    }


@pytest.mark.parametrize("name", [*broken_files(), "absent.npz", "absent.bin", "absent"])
def test_read_graph_names_the_broken_file(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if name in broken_files():
        (tmp_path / name).write_bytes(broken_files()[name])
    with pytest.raises(GraphError) as raised:
        datasets.read_graph(tmp_path / name)
    assert str(raised.value).startswith(f"{tmp_path / name}: ")
    assert isinstance(raised.value, ZooError)
    assert "bomb" not in capfd.readouterr().err


def test_read_folder_without_its_files(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"nodes\.csv cannot be read"):
        datasets.read_graph(tmp_path)


def csv_folder(folder: Path, nodes: str, edges: str = "src,dst\na,b\n", encoding: str = "utf-8") -> Path:
    (folder / "nodes.csv").write_text(nodes, encoding=encoding)
    (folder / "edges.csv").write_text(edges, encoding=encoding)
    return folder


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (["10.0", "849131.0"], torch.float32),
        (["1", "+0"], torch.int64),
        (["1", "0.5"], torch.float32),
        (["1", "1e30"], torch.float32),
    ],
)
def test_labels_of_a_csv_are_classes_only_if_written_as_whole_numbers(
    tmp_path: Path, labels: list[str], dtype: torch.dtype
) -> None:
    graph = datasets.read_graph(csv_folder(tmp_path, f"id,x,label\na,1,{labels[0]}\nb,2,{labels[1]}\n"))
    assert graph.ndata["label"].dtype == dtype


def test_a_csv_of_a_spreadsheet_with_unlabelled_nodes_is_read(tmp_path: Path) -> None:
    graph = datasets.read_graph(csv_folder(tmp_path, "id,x,label,split\na,1,3,train\nb,2,,\n", encoding="utf-8-sig"))
    assert graph.ndata["label"].tolist() == [3, 0]
    assert graph.ndata["train_mask"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("id,x,x\na,1,2\nb,1,2\n", "names a column twice"),
        ("id,x,label,split\na,1,,train\nb,2,0,\n", r"line 2 \(id a\), column label: it is empty, but its node is in"),
    ],
)
def test_a_csv_that_is_ambiguous_is_refused(tmp_path: Path, nodes: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        datasets.read_graph(csv_folder(tmp_path, nodes))


def test_collabs_quoted_count_takes_in_its_self_loops() -> None:
    if not DATA:
        pytest.skip("ZOO_DATA does not name a folder of raw files")
    *_, src, dst = tu_text.parse(tu_text.read_file(datasets.info("collab"), "COLLAB.txt"))
    loops = int((src == dst).sum())
    assert (len(src), loops) == (24574995, 2837)
    assert len(src) // 2 == 12287497
    assert datasets.info("collab").num_edges == (len(src) - loops) // 2


@pytest.mark.parametrize("transpose", [False, True])
def test_edges_of_the_yandex_form_are_read_either_way_round(tmp_path: Path, transpose: bool) -> None:
    edges = np.array([[0, 1], [0, 2], [0, 3], [0, 4]])
    np.savez(tmp_path / "g.npz", edges=edges.T if transpose else edges, node_features=np.ones((5, 2), np.float32))
    graph = datasets.read_graph(tmp_path / "g.npz", undirected=False)
    assert torch.stack(graph.edges(), 1).tolist() == edges.tolist()


def test_a_bin_of_several_types_is_refused(tmp_path: Path) -> None:
    graph = dgl.heterograph({("a", "to", "b"): ([0], [0])})
    graph.nodes["a"].data["feat"] = torch.ones(1, 2)
    dgl.save_graphs(str(tmp_path / "g.bin"), [graph])
    with pytest.raises(GraphError, match="several node or edge types"):
        datasets.read_graph(tmp_path / "g.bin")


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "below"))
    before = set(sources._unreachable)
    with pytest.raises(DatasetNotFound, match=r"the cache .*below.* cannot be written .*Set ZOO_CACHE"):
        datasets.load("cora")
    assert sources._unreachable == before, "the host is not to blame"


def test_a_full_cache_is_not_the_hosts_fault(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooch, "retrieve", full)
    before = set(sources._unreachable)
    with pytest.raises(DatasetNotFound, match=rf"the cache {cache}.* cannot be written \(No space left on device\)"):
        datasets.load("minesweeper")
    assert sources._unreachable == before


@pytest.mark.usefixtures("cache")
def test_what_lies_in_zoo_data_goes_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, cached = tmp_path / "own", sources.cache()
    for folder, content in ((own, b"own"), (cached, b"cached")):
        (folder / "linkx").mkdir(parents=True)
        (folder / ABSENT["genius"]).write_bytes(content)
    assert sources.read("genius", [ABSENT["genius"]]) == [b"cached"]
    monkeypatch.setenv("ZOO_DATA", str(own))
    assert sources.read("genius", [ABSENT["genius"]]) == [b"own"]


@pytest.mark.parametrize("name", ["csbm-200", "csbm-200-unit"])
def test_larger_csbm_has_blocks_of_100_nodes_as_dense_as_one_of_100(name: str) -> None:
    distances, inside, across = [], 0.0, 0.0
    for seed in range(20):
        graph = load_graph(name, seed=seed)
        label, feat = graph.ndata["label"], graph.ndata["feat"]
        assert torch.bincount(label).tolist() == [100, 100]
        distances.append((feat[label == 1].mean(0) - feat[label == 0].mean(0)).norm() / 2)
        src, dst = graph.edges()
        same = label[src] == label[dst]
        inside, across = inside + float(same.sum()) / 20, across + float((~same).sum()) / 20
    assert float(torch.stack(distances).mean()) == pytest.approx(8**0.5 if name == "csbm-200" else 1, rel=0.03)
    assert inside == pytest.approx(2 * 100 * 99 * 2 * math.log(100) / 100, rel=0.03)
    assert across == pytest.approx(2 * 100 * 100 * math.log(100) / 100, rel=0.05)


def test_larger_csbms_differ_in_their_means_only() -> None:
    far, near = (load_graph(name, seed=3) for name in ("csbm-200", "csbm-200-unit"))
    assert [ends.tolist() for ends in far.edges()] == [ends.tolist() for ends in near.edges()]
    moved = far.ndata["feat"] - near.ndata["feat"]
    assert torch.allclose(moved, (1 - 8**-0.5) * (2 * far.ndata["label"] - 1).unsqueeze(1).float(), atol=1e-5)
