"""The `.npz` files of GraphData, which hold graph2gauss's citation graphs as pickled SciPy matrices."""

from zoo._dgl import dgl
from zoo.datasets import pickles, sources
from zoo.datasets.catalog import DatasetInfo
from zoo.datasets.graphs import node_graph


def read(info: DatasetInfo) -> dgl.DGLGraph:
    """Cora ML, CiteSeer full or DBLP; stored with direction, made symmetric."""
    (content,) = sources.read(info.name, [f"graphdata/{info.raw}.npz"])
    archive = pickles.load_npz(content)
    edges = archive["adj_matrix"].tocoo()
    return node_graph(edges.row, edges.col, archive["node_attr"].toarray(), archive["node_label"])
