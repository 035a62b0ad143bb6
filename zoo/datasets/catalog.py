"""What data sets there are, and what each one holds. Imports neither torch nor DGL: listing names must be instant.

To add one: an entry below and its files in `sources.json`. A format that is new is a module with `read(info)`, which
returns the graph (or graphs and labels) without masks, and `split(info, name, seed, labels)` if it publishes splits,
whose names `splits.py` has in `_READERS`.
"""

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from zoo.errors import DatasetNotFound

__all__ = ["DatasetInfo", "Task", "info", "list_datasets"]

Task = Literal["node-classification", "node-multilabel", "node-regression", "graph-classification"]

# The families of splits that are drawn, not read from a file; `zoo.datasets.splits` says what their numbers mean.
DRAWN_SPLITS = {
    "node-classification": ("random-a-b-c", "class-a-b-c", "index-a-b-c", "balanced-a-b-c", "few-k-v"),
    "node-multilabel": ("random-a-b-c", "index-a-b-c"),
    "node-regression": ("random-a-b-c", "index-a-b-c"),
    "graph-classification": ("random-a-b-c", "class-a-b-c", "index-a-b-c", "balanced-a-b-c", "few-k-v"),
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
            The loaded graph stores an undirected edge in both directions, so it has twice as many. None if their number
            is drawn anew for every seed.
        in_feats: Width of `ndata["feat"]`.
        num_classes: Classes, or labels of which each node has several; 1 for regression, the width of its output.
        directed: Whether the direction of edges is kept.
        stored_splits: Splits that are published with the data, or have a protocol of their own.
        default_split: The split when none is named.
        source: Paper or collection that the data come from.
        reader: Module of this package that reads the raw files.
        raw: What the raw files call this set; of a Syn-Cora its homophily.
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
        """Every split that this set has; letters stand for numbers, see `zoo.datasets.splits`."""
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
        if str(name).endswith((".npz", ".bin")):
            hint = "zoo.datasets.read_graph reads a file, and zoo.finetune trains on what it gives"
        raise DatasetNotFound(f"there is no data set {name!r}: {hint}") from None


def list_datasets(pattern: str = "*") -> list[str]:
    """Names of all data sets that match a shell pattern such as `"chameleon*"`, sorted."""
    return sorted(name for name in _CATALOG if fnmatchcase(name, pattern))


def _sets(*rows: tuple[str, str, int, int | None, int, int], **shared: Any) -> list[DatasetInfo]:
    """One entry per row (name, raw, nodes, edges, features, classes); they share all else."""
    return [
        DatasetInfo(
            name=name, raw=raw, num_nodes=nodes, num_edges=edges, in_feats=in_feats, num_classes=classes, **shared
        )
        for name, raw, nodes, edges, in_feats, classes in rows
    ]


def _tu(*rows: tuple[str, str, int, int, int, int, int], folds: tuple[str, ...], reader: str) -> list[DatasetInfo]:
    """One entry per row (name, raw, graphs, nodes, edges, features, classes)."""
    return [
        DatasetInfo(
            name=name,
            raw=raw,
            task="graph-classification",
            num_graphs=graphs,
            num_nodes=nodes,
            num_edges=edges,
            in_feats=in_feats,
            num_classes=classes,
            stored_splits=("tu-10fold", "tu-10fold-whole", *folds),
            default_split="tu-10fold",
            source="Morris et al. 2020, TUDataset",
            reader=reader,
        )
        for name, raw, graphs, nodes, edges, in_feats, classes in rows
    ]


_GEOM_GCN = {
    "stored_splits": ("geom-gcn",),
    "default_split": "geom-gcn",
    "source": "Pei et al. 2020, Geom-GCN",
    "reader": "geom_gcn",
}
_YANDEX = {
    "stored_splits": ("given",),
    "default_split": "given",
    "source": "Platonov et al. 2023, heterophilous graphs",
    "reader": "yandex",
}
_SHCHUR = {
    "default_split": "random-60-20-20",
    "source": "Shchur et al. 2018, Pitfalls of GNN evaluation",
    "reader": "gnn_benchmark",
}
_GRAPH2GAUSS = {"default_split": "class-80-10-10", "source": "Bojchevski and Günnemann 2018, graph2gauss"}
_LINKX = {"default_split": "random-50-25-25", "source": "Lim et al. 2021, LINKX"}
_SYNTHETIC = {"default_split": "random-60-20-20", "reader": "synthetic"}
_SYN_CORA_EDGES = {12: 8888, 36: 26924, 69: 51219}  # mean degrees 11.93, 36.14 and 68.75, as DYNAMO-GAT's drawn graphs

# Counts of cora-full, roman-empire, amazon-ratings, questions, genius and what `ogbn` reads are the published ones; all
# others were read out of the files.
_CATALOG = {
    entry.name: entry
    for entry in [
        *_sets(
            ("cora", "cora", 2708, 5278, 1433, 7),
            ("citeseer", "citeseer", 3327, 4552, 3703, 6),
            ("pubmed", "pubmed", 19717, 44324, 500, 3),
            stored_splits=("public", "public-rest", "geom-gcn"),
            default_split="public",
            source="Yang et al. 2016, Planetoid",
            reader="planetoid",
        ),
        *_sets(
            ("texas", "texas", 183, 279, 1703, 5),
            ("wisconsin", "wisconsin", 251, 450, 1703, 5),
            ("cornell", "cornell", 183, 277, 1703, 5),
            ("chameleon", "chameleon", 2277, 31371, 2325, 5),
            ("squirrel", "squirrel", 5201, 198353, 2089, 5),
            ("actor", "film", 7600, 26659, 932, 5),
            **_GEOM_GCN,
        ),
        *_sets(
            ("texas-directed", "texas", 183, 325, 1703, 5),
            ("wisconsin-directed", "wisconsin", 251, 515, 1703, 5),
            ("cornell-directed", "cornell", 183, 298, 1703, 5),
            ("chameleon-directed", "chameleon", 2277, 36101, 2325, 5),
            ("squirrel-directed", "squirrel", 5201, 217073, 2089, 5),
            ("actor-directed", "film", 7600, 30019, 932, 5),
            directed=True,
            **_GEOM_GCN,
        ),
        *_sets(
            ("roman-empire", "roman_empire", 22662, 32927, 300, 18),
            ("amazon-ratings", "amazon_ratings", 24492, 93050, 300, 5),
            ("minesweeper", "minesweeper", 10000, 39402, 7, 2),
            ("tolokers", "tolokers", 11758, 519000, 10, 2),
            ("questions", "questions", 48921, 153540, 301, 2),
            ("chameleon-filtered", "chameleon_filtered", 890, 8854, 2325, 5),
            ("squirrel-filtered", "squirrel_filtered", 2223, 46998, 2089, 5),
            **_YANDEX,
        ),
        *_sets(
            ("chameleon-filtered-directed", "chameleon_filtered_directed", 890, 13584, 2325, 5),
            ("squirrel-filtered-directed", "squirrel_filtered_directed", 2223, 65718, 2089, 5),
            directed=True,
            **_YANDEX,
        ),
        *_sets(
            ("amazon-photo", "amazon_electronics_photo", 7650, 119081, 745, 8),
            ("amazon-computers", "amazon_electronics_computers", 13752, 245861, 767, 10),
            ("coauthor-cs", "ms_academic_cs", 18333, 81894, 6805, 15),
            ("coauthor-physics", "ms_academic_phy", 34493, 247962, 8415, 5),
            stored_splits=("polynormer",),
            **_SHCHUR,
        ),
        *_sets(("cora-full", "cora_full", 19793, 63421, 8710, 70), reader="gnn_benchmark", **_GRAPH2GAUSS),
        *_sets(
            ("cora-ml", "cora_ml", 2995, 8158, 2879, 7),
            ("citeseer-full", "citeseer_full", 4230, 5337, 602, 6),
            ("dblp", "dblp", 17716, 52867, 1639, 4),
            reader="graphdata",
            **_GRAPH2GAUSS,
        ),
        *_sets(
            ("ogbn-arxiv", "ogbn-arxiv", 169343, 1166243, 128, 40),
            directed=True,
            stored_splits=("official",),
            default_split="official",
            source="Hu et al. 2020, Open Graph Benchmark",
            reader="ogbn",
        ),
        *_sets(
            ("arxiv-year", "ogbn-arxiv", 169343, 1166243, 128, 5),
            directed=True,
            reader="ogbn",
            **_LINKX,
        ),
        *_sets(("genius", "genius", 421961, 984979, 12, 2), directed=True, reader="linkx", **_LINKX),
        *_sets(
            ("ogbn-proteins", "ogbn-proteins", 132534, 39561252, 8, 112),
            task="node-multilabel",
            stored_splits=("official",),
            default_split="official",
            source="Hu et al. 2020, Open Graph Benchmark",
            reader="ogbn",
        ),
        # 61,859,140 edges are published; 128 of them are, as others count, self-loops or double.
        *_sets(
            ("ogbn-products", "ogbn-products", 2449029, 61859012, 100, 47),
            stored_splits=("official",),
            default_split="official",
            source="Hu et al. 2020, Open Graph Benchmark",
            reader="ogbn",
        ),
        *_sets(
            ("chameleon-traffic", "chameleon", 2277, 31371, 3132, 1),
            ("squirrel-traffic", "squirrel", 5201, 198353, 3148, 1),
            task="node-regression",
            stored_splits=("geom-gcn",),
            default_split="geom-gcn",
            source="Rozemberczki et al. 2021, MUSAE",
            reader="musae",
        ),
        *_tu(
            ("nci1", "NCI1", 4110, 122747, 132753, 37, 2),
            ("proteins", "PROTEINS", 1113, 43471, 81044, 4, 2),
            ("enzymes", "ENZYMES", 600, 19580, 37282, 21, 6),
            ("imdb-binary", "IMDB-BINARY", 1000, 19773, 96531, 65, 2),
            ("imdb-multi", "IMDB-MULTI", 1500, 19502, 98903, 59, 3),
            folds=("gin-10fold", "fair-10fold"),
            reader="tu",
        ),
        # Half of COLLAB's 24,574,995 neighbour entries is 12,287,497, an edge count often quoted; 2,837 are self-loops.
        *_tu(
            ("collab", "COLLAB", 5000, 372474, 12286079, 369, 3), folds=("gin-10fold", "fair-10fold"), reader="tu_text"
        ),
        *_tu(("nci109", "NCI109", 4127, 122494, 132604, 38, 2), folds=("gin-10fold",), reader="tu"),
        *_tu(("mutag", "MUTAG", 188, 3371, 3721, 7, 2), folds=("gin-10fold",), reader="tu_text"),
        *_tu(("ptc", "PTC_MR", 344, 4915, 5054, 18, 2), folds=(), reader="tu"),
        *_sets(
            ("digits", "digits", 1797, 9929, 64, 10),
            source="scikit-learn's handwritten digits, joined to their nearest neighbours",
            **_SYNTHETIC,
        ),
        *_sets(
            ("csbm", "csbm", 100, None, 8, 2),
            ("csbm-200", "csbm-200", 200, None, 8, 2),
            ("csbm-200-unit", "csbm-200-unit", 200, None, 8, 2),
            source="contextual stochastic block model, as in Wang et al. 2025 (SBP)",
            **_SYNTHETIC,
        ),
        *_sets(
            *(
                (f"syn-cora-h{tenths / 10}-d{degree}", str(tenths / 10), 1490, edges, 1433, 5)
                for degree, edges in _SYN_CORA_EDGES.items()
                for tenths in range(11)
            ),
            source="Cora's features on a drawn graph, in the manner of Zhu et al. 2020 (H2GCN)",
            **_SYNTHETIC,
        ),
    ]
}
