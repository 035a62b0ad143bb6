"""What data sets there are, and what each one holds. Imports neither torch nor DGL: listing names must be instant."""

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from zoo.errors import DatasetNotFound

__all__ = ["DatasetInfo", "Task", "info", "list_datasets"]

Task = Literal["node-classification", "node-regression", "graph-classification"]

# The families of splits that are drawn, not read from a file: percentages of train, validation and test.
DRAWN_SPLITS = {
    "node-classification": ("random-a-b-c", "class-a-b-c", "index-a-b-c"),
    "node-regression": ("random-a-b-c", "index-a-b-c"),
    "graph-classification": ("random-a-b-c", "class-a-b-c", "index-a-b-c"),
}


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """Everything about a data set that is known without opening its files.

    Attributes:
        name: What `zoo.datasets.load` calls it.
        task: What its labels ask for.
        num_graphs: 1 for a node-level set.
        num_nodes: Nodes of all graphs together.
        num_edges: Distinct undirected edges without self-loops; for a directed set its arcs, self-loops included.
            The loaded graph stores an undirected edge in both directions, so it has twice as many. None if the edges
            are drawn anew for every seed.
        in_feats: Width of `ndata["feat"]`.
        num_classes: Classes; 1 for regression, which is the width of its output.
        directed: Whether the direction of edges is kept.
        stored_splits: Splits that are published with the data, or have a protocol of their own.
        default_split: The split when none is named.
        source: Paper or collection that the data come from.
        reader: Module of this package that reads the raw files.
        raw: What the raw files call this set.
    """

    name: str
    task: Task = "node-classification"
    num_graphs: int = 1
    num_nodes: int
    num_edges: int | None
    in_feats: int
    num_classes: int
    directed: bool = False
    stored_splits: tuple[str, ...] = ()
    default_split: str
    source: str
    reader: str
    raw: str

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split that this set has; `random-a-b-c` stands for any percentages that add up to 100."""
        return self.stored_splits + DRAWN_SPLITS[self.task]


def info(name: str) -> DatasetInfo:
    """Describes a data set without opening it.

    Args:
        name: One of `list_datasets()`.

    Raises:
        DatasetNotFound: There is no such data set; the message names the nearest ones.
    """
    try:
        return _CATALOG[name]
    except KeyError:
        nearest = difflib.get_close_matches(str(name).lower(), _CATALOG, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`zoo.datasets.list_datasets()` names them all"
        raise DatasetNotFound(f"there is no data set {name!r}: {hint}") from None


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of all data sets that match a shell pattern such as `"chameleon*"`, sorted."""
    return sorted(name for name in _CATALOG if fnmatchcase(name, pattern))


def _planetoid(name: str, nodes: int, edges: int, feats: int, classes: int) -> DatasetInfo:
    return DatasetInfo(
        name=name, num_nodes=nodes, num_edges=edges, in_feats=feats, num_classes=classes,
        stored_splits=("public", "geom-gcn"), default_split="public",
        source="Yang et al. 2016, Planetoid", reader="planetoid", raw=name,
    )


def _geom_gcn(name: str, raw: str, nodes: int, edges: int, arcs: int, feats: int) -> list[DatasetInfo]:
    def variant(name: str, num_edges: int, directed: bool) -> DatasetInfo:
        return DatasetInfo(
            name=name, num_nodes=nodes, num_edges=num_edges, in_feats=feats, num_classes=5, directed=directed,
            stored_splits=("geom-gcn",), default_split="geom-gcn",
            source="Pei et al. 2020, Geom-GCN", reader="geom_gcn", raw=raw,
        )

    return [variant(name, edges, False), variant(f"{name}-directed", arcs, True)]


def _yandex(
    name: str, nodes: int, edges: int, feats: int, classes: int, directed: bool = False
) -> DatasetInfo:
    return DatasetInfo(
        name=name, num_nodes=nodes, num_edges=edges, in_feats=feats, num_classes=classes, directed=directed,
        stored_splits=("given",), default_split="given",
        source="Platonov et al. 2023, heterophilous graphs", reader="yandex", raw=name.replace("-", "_"),
    )


def _gnn_benchmark(
    name: str, raw: str, nodes: int, edges: int, feats: int, classes: int, stored_splits: tuple[str, ...] = ()
) -> DatasetInfo:
    return DatasetInfo(
        name=name, num_nodes=nodes, num_edges=edges, in_feats=feats, num_classes=classes,
        stored_splits=stored_splits, default_split="random-60-20-20",
        source="Shchur et al. 2018, Pitfalls of GNN evaluation", reader="gnn_benchmark", raw=raw,
    )


def _citation_full(name: str, raw: str, nodes: int, edges: int, feats: int, classes: int) -> DatasetInfo:
    return DatasetInfo(
        name=name, num_nodes=nodes, num_edges=edges, in_feats=feats, num_classes=classes,
        default_split="class-80-10-10",
        source="Bojchevski and Günnemann 2018, graph2gauss", reader="graphdata", raw=raw,
    )


def _musae(name: str, nodes: int, edges: int, feats: int) -> DatasetInfo:
    return DatasetInfo(
        name=f"{name}-traffic", task="node-regression", num_nodes=nodes, num_edges=edges, in_feats=feats, num_classes=1,
        stored_splits=("geom-gcn",), default_split="geom-gcn",
        source="Rozemberczki et al. 2021, MUSAE", reader="musae", raw=name,
    )


def _tu(
    name: str, raw: str, graphs: int, nodes: int, edges: int, feats: int, classes: int,
    folds: tuple[str, ...] = (), reader: str = "tu",
) -> DatasetInfo:
    return DatasetInfo(
        name=name, task="graph-classification", num_graphs=graphs, num_nodes=nodes, num_edges=edges,
        in_feats=feats, num_classes=classes, stored_splits=("tu-10fold", *folds), default_split="tu-10fold",
        source="Morris et al. 2020, TUDataset", reader=reader, raw=raw,
    )


_GIN, _FAIR = "gin-10fold", "fair-10fold"

_ENTRIES = [
    _planetoid("cora", 2708, 5278, 1433, 7),
    _planetoid("citeseer", 3327, 4552, 3703, 6),
    _planetoid("pubmed", 19717, 44324, 500, 3),
    *_geom_gcn("texas", "texas", 183, 279, 325, 1703),
    *_geom_gcn("wisconsin", "wisconsin", 251, 450, 515, 1703),
    *_geom_gcn("cornell", "cornell", 183, 277, 298, 1703),
    *_geom_gcn("chameleon", "chameleon", 2277, 31371, 36101, 2325),
    *_geom_gcn("squirrel", "squirrel", 5201, 198353, 217073, 2089),
    *_geom_gcn("actor", "film", 7600, 26659, 30019, 932),
    _yandex("roman-empire", 22662, 32927, 300, 18),
    _yandex("amazon-ratings", 24492, 93050, 300, 5),
    _yandex("minesweeper", 10000, 39402, 7, 2),
    _yandex("tolokers", 11758, 519000, 10, 2),
    _yandex("questions", 48921, 153540, 301, 2),
    _yandex("chameleon-filtered", 890, 8854, 2325, 5),
    _yandex("chameleon-filtered-directed", 890, 13584, 2325, 5, directed=True),
    _yandex("squirrel-filtered", 2223, 46998, 2089, 5),
    _yandex("squirrel-filtered-directed", 2223, 65718, 2089, 5, directed=True),
    _gnn_benchmark("amazon-photo", "amazon_electronics_photo", 7650, 119081, 745, 8, ("polynormer",)),
    _gnn_benchmark("amazon-computers", "amazon_electronics_computers", 13752, 245861, 767, 10, ("polynormer",)),
    _gnn_benchmark("coauthor-cs", "ms_academic_cs", 18333, 81894, 6805, 15, ("polynormer",)),
    _gnn_benchmark("coauthor-physics", "ms_academic_phy", 34493, 247962, 8415, 5, ("polynormer",)),
    _gnn_benchmark("cora-full", "cora_full", 19793, 63421, 8710, 70),
    _citation_full("cora-ml", "cora_ml", 2995, 8158, 2879, 7),
    _citation_full("citeseer-full", "citeseer_full", 4230, 5337, 602, 6),
    _citation_full("dblp", "dblp", 17716, 52867, 1639, 4),
    _musae("chameleon", 2277, 31371, 3132),
    _musae("squirrel", 5201, 198353, 3148),
    _tu("mutag", "MUTAG", 188, 3371, 3721, 7, 2, (_GIN,), reader="tu_text"),
    _tu("ptc", "PTC_MR", 344, 4915, 5054, 18, 2),
    _tu("nci1", "NCI1", 4110, 122747, 132753, 37, 2, (_GIN, _FAIR)),
    _tu("nci109", "NCI109", 4127, 122494, 132604, 38, 2, (_GIN,)),
    _tu("proteins", "PROTEINS", 1113, 43471, 81044, 4, 2, (_GIN, _FAIR)),
    _tu("enzymes", "ENZYMES", 600, 19580, 37282, 21, 6, (_GIN, _FAIR)),
    _tu("imdb-binary", "IMDB-BINARY", 1000, 19773, 96531, 65, 2, (_GIN, _FAIR)),
    _tu("imdb-multi", "IMDB-MULTI", 1500, 19502, 98903, 59, 3, (_GIN, _FAIR)),
    _tu("collab", "COLLAB", 5000, 372474, 12286079, 369, 3, (_GIN, _FAIR), reader="tu_text"),
    DatasetInfo(
        name="digits", num_nodes=1797, num_edges=9927, in_feats=64, num_classes=10, default_split="random-60-20-20",
        source="scikit-learn's handwritten digits, eight nearest neighbours", reader="synthetic", raw="digits",
    ),
    DatasetInfo(
        name="csbm", num_nodes=100, num_edges=None, in_feats=8, num_classes=2, default_split="random-60-20-20",
        source="Contextual stochastic block model of two classes", reader="synthetic", raw="csbm",
    ),
]

_CATALOG = {entry.name: entry for entry in _ENTRIES}
