"""Every recipe and table that comes with the zoo, and what a wrong one is told."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from zoo import models, registry
from zoo._files import resource
from zoo.datasets import splits
from zoo.errors import RecipeError, RecipeNotFound, ZooError
from zoo.tables import Cell, find_table, list_tables
from zoo.training import recipe as recipes
from zoo.training.tasks import METRICS, TASKS

RECIPES = recipes.list_recipes()
CSBM = resource("recipes") / "gcn" / "gcn-csbm.toml"


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_of_its_methods_paper_stands_in_its_folder_and_selects_on_no_test_score(name: str) -> None:
    recipe = recipes.find(name)  # which checks all that it refers to
    assert models.get(recipe.method).paper == recipe.paper
    assert (resource("recipes") / recipe.method / f"{name}.toml").exists()
    assert recipe.protocol.select != "best-test"


@pytest.mark.parametrize("name", list_tables())
def test_a_cell_that_selects_on_test_scores_says_so(name: str) -> None:
    for cell in find_table(name).cells:
        weak = cell.recipe.protocol.select == "best-test"
        assert weak == ("best test" in cell.column)
        weak |= splits.tests_on_all(cell.recipe.data.split)
        assert weak == ("weak rule" in cell.recipe.note)


def test_metrics_and_tasks_are_those_that_can_be_computed() -> None:
    assert set(registry.METRIC_NAMES) == METRICS.keys()
    assert set(registry.TASK_NAMES) == TASKS.keys()


@pytest.mark.parametrize("name", list_tables())
def test_table_has_a_cell_for_every_place(name: str) -> None:
    table = find_table(name)
    assert len({cell.name for cell in table.cells}) == len(table.cells) > 1


@pytest.mark.parametrize(
    ("cell", "hidden", "clusters", "lr", "activation_lr", "weight_decay", "value", "std"),
    [
        ("Cora CNA GCN/8", 280, 14, 1e-3, 1e-5, 0.05, 94.7, 0.3),
        ("Cora CNA GCN/96", 280, 12, 1e-5, 1e-5, 5e-9, 89.0, 0.3),
        ("Cora CNA GAT/2", 360, 12, 1e-3, 1e-3, 5e-6, 92.5, 0.5),
        ("Cora CNA GAT/32", 440, 12, 1e-4, 1e-5, 1e-8, 92.2, 0.4),
        ("Cora CNA SAGE/96", 160, 12, 1e-5, 1e-3, 0.01, 87.2, 1.3),
        ("Cora CNA Transformer/16", 60, 12, 1e-3, 1e-5, 0.05, None, None),
        ("Cora ReLU GAT/8", 280, 1, 1e-3, None, 5e-8, None, None),
        ("Cora ReLU Transformer/32", 120, 1, 1e-4, None, 1e-6, 31.9, None),
        ("Cora linear SAGE/8", 120, 1, 1e-4, None, 1e-6, 76.1, 1.4),
        ("Cora linear SAGE/4", 60, 1, 1e-3, None, 0.05, 80.2, 0.6),
        ("CiteSeer CNA GAT/64", 120, 14, 5e-5, 1e-5, 1e-8, 93.4, 1.3),
        ("CiteSeer CNA Transformer/8", 240, 14, 1e-3, 1e-5, 5e-6, 97.0, 0.9),
        ("CiteSeer ReLU GCN/32", 280, 1, 1e-5, None, 1e-8, 76.0, 11.5),
        ("CiteSeer linear SAGE/96", 120, 1, 1e-5, None, 1e-6, 19.7, None),
    ],
)
def test_cells_of_figure_4_are_the_authors(
    cell: str,
    hidden: int,
    clusters: int,
    lr: float,
    activation_lr: float | None,
    weight_decay: float,
    value: float | None,
    std: float | None,
) -> None:
    (recipe,) = (other.recipe for other in find_table("cna-fig4").cells if other.name == cell)
    training, published = recipe.training, recipe.published
    assert (recipe.model["hidden"], recipe.model["num_clusters"]) == (hidden, clusters)
    assert (training.epochs, training.lr, training.weight_decay) == (400, lr, weight_decay)
    assert [(group.lr, group.clip_norm) for group in training.groups] == [(activation_lr, 1.0)] * bool(activation_lr)
    assert (published and (published.value, published.std, published.runs)) == (value and (value, std, 5))


ACTIVATIONS: dict[str, dict[str, Any]] = {
    "CNA": {"norm": "row"},
    "ReLU": {"norm": "none", "activation": "relu", "num_clusters": 1},
    "linear": {"norm": "none", "activation": "none", "num_clusters": 1},
}


@pytest.mark.parametrize(
    ("table", "splits"),
    [
        (
            "cna-fig4",
            {
                "Cora": {"CNA": "index-80-10-10", "ReLU": "public", "linear": "public"},
                "CiteSeer": {"CNA": "class-80-10-10", "ReLU": "class-40-30-30", "linear": "class-40-30-30"},
            },
        ),
        (
            "cna-depth",
            {
                "Cora": dict.fromkeys(ACTIVATIONS, "index-80-10-10"),
                "CiteSeer": dict.fromkeys(ACTIVATIONS, "class-80-10-10"),
            },
        ),
    ],
)
def test_names_of_the_tables_of_depth_say_what_is_trained(table: str, splits: dict[str, dict[str, str]]) -> None:
    cells = find_table(table).cells
    assert len(cells) == 2 * 3 * 4 * 7
    for cell in cells:
        (data, activation, conv), model = cell.row.split(), cell.recipe.model
        assert (model["conv"], model["num_layers"]) == (conv.lower(), int(cell.column))
        assert {"activation": "rational", **model}.items() >= ACTIVATIONS[activation].items()
        assert bool(cell.recipe.training.groups) == (activation == "CNA")
        assert cell.recipe.data.name == {"Cora": "cora", "CiteSeer": "citeseer-full"}[data]
        assert cell.recipe.data.split == splits[data][activation]
        assert ("add_self_loop" in cell.recipe.data.transforms) == (conv in ("GCN", "GAT"))


def test_like_for_like_has_one_setting_at_each_depth() -> None:
    for column in ("2", "4", "8", "16", "32", "64", "96"):
        cells = [cell.recipe for cell in find_table("cna-depth").cells if cell.column == column]
        assert len(cells) == 2 * 3 * 4
        common = {(r.model["hidden"], dataclasses.replace(r.training, groups=()), r.protocol) for r in cells}
        assert len(common) == 1


def test_the_ablation_switches_each_step_by_itself() -> None:
    for cell in find_table("cna-ablation").cells:
        steps, model = cell.row.split("+") if cell.row != "ReLU" else [], cell.recipe.model
        assert ("C" in steps) == (model["num_clusters"] > 1)
        assert model["norm"] == (cell.column.split()[1] if "N" in steps else "none")
        assert ("A" in steps) == (model.get("activation", "rational") == "rational")
        assert ("A" in steps) == bool(cell.recipe.training.groups)


def test_the_depth_study_compares_methods_and_nothing_else() -> None:
    """Of one graph and depth all cells have the same data, width and training but for the learning rate, which a method
    has for all graphs and depths, and as many convolutions.
    """
    cells = find_table("depth-study").cells
    assert len(cells) == 7 * 13 * 7
    linear_behind = {"gcnii", "n2", "g2", "dynamo-gat"}
    for cell in cells:
        recipe, (graph, _) = cell.recipe, cell.row.split()
        assert recipe.model["num_layers"] - (recipe.method in linear_behind) == int(cell.column), cell.name
        assert recipe.data.name.startswith(graph.lower()) and recipe.published is None
        assert (recipe.model["hidden"], recipe.model.get("heads", 1)) == (32, 1)
        assert recipe.model.get("dropout") == (None if recipe.method == "cna" else 0.5)
        assert recipe.model.get("input_dropout", 0.5) == 0.5
    for graph in {cell.row.split()[0] for cell in cells}:
        own = [cell.recipe for cell in cells if cell.row.startswith(f"{graph} ")]
        assert len({(r.data, dataclasses.replace(r.training, groups=(), lr=0.0), r.protocol) for r in own}) == 1
    assert len({(cell.row.split()[1], cell.recipe.training.lr) for cell in cells}) == 13
    assert len({cell.recipe.digest() for cell in cells}) == len(cells)


def test_the_table_of_propagation_methods_has_their_authors_settings() -> None:
    sgc, appnp, gcnii = (cell.recipe for cell in find_table("propagation").cells)
    assert (sgc.training.epochs, sgc.training.lr, sgc.protocol.select) == (100, 0.2, "last")
    assert (appnp.model["num_steps"], appnp.model["alpha"], appnp.training.epochs) == (10, 0.1, 10_000)
    assert [(group.parameters, group.weight_decay) for group in appnp.training.groups] == [("mlp.0.*", 5e-3)]
    for recipe, value in zip((sgc, appnp, gcnii), (81.0, 83.3, 85.5), strict=True):
        assert recipe.published is not None and recipe.published.value == value
        assert (recipe.data.split, recipe.protocol.seeds) == ("public", 10)


@pytest.mark.parametrize(("table", "count"), [("sbp-table11", 31), ("sbp-table14", 6)])
def test_what_is_printed_without_deviation_is_a_share_of_all_nodes_that_neither_train_nor_validate(
    table: str, count: int
) -> None:
    others = {"cora": 2708 - 140 - 500, "citeseer": 3327 - 120 - 500}
    cells = find_table(table).cells
    assert {cell.recipe.data.split for cell in cells} == {"public-rest"}
    exact = [
        (published.value, others[cell.recipe.data.name])
        for cell in cells
        if (published := cell.recipe.published) and published.std == 0 and cell.recipe.data.name in others
    ]
    assert len(exact) == count
    for value, nodes in exact:
        assert round(round(value / 100 * nodes) / nodes * 100, 2) == value
    of_1000 = [value for value, _ in exact if round(value * 10) == pytest.approx(value * 10)]
    assert len(of_1000) == (1 if table == "sbp-table11" else 0)


@pytest.mark.parametrize("table", ["sbp-table3", "sbp-table11", "sbp-table15"])
def test_tables_of_gcns_have_contranorms_adjacency_and_layer_normalisation(table: str) -> None:
    for cell in find_table(table).cells:
        assert cell.recipe.protocol.select == "best-val"
        assert ("row_normalize" in cell.recipe.data.transforms) == (table == "sbp-table11")
        if cell.recipe.method == "gcn":
            assert cell.recipe.model["adjacency"] == "row"
            *others, last = cell.recipe.model["norms"]
            assert last == "layernorm"
            assert [norm.removesuffix("-mask-edges") for norm in others] == [
                norm for norm in ("batchnorm", "pairnorm", "contranorm") if norm in cell.row.lower()
            ]


def test_columns_of_table_11_are_numbers_of_convolutions() -> None:
    for cell in find_table("sbp-table11").cells:
        linear_behind = cell.recipe.method == "omega-gcn"
        assert cell.recipe.model["num_layers"] - linear_behind == int(cell.column), cell.name


def test_sbp_on_large_graphs_is_its_variant_for_them() -> None:
    cells = [cell for table in ("sbp-table3", "sbp-table15") for cell in find_table(table).cells]
    signed = [cell.recipe for cell in cells if "SBP" in cell.row]
    assert {(recipe.method, recipe.data.name) for recipe in signed} == {
        (method, data) for method in ("label-sbp", "feature-sbp") for data in ("ogbn-arxiv", "ogbn-products")
    }
    assert all(recipe.model["scalable"] for recipe in signed)
    for cell in cells:
        layers = cell.column if cell.recipe.data.name == "ogbn-arxiv" else "2"
        assert cell.recipe.model["num_layers"] == int(layers)
        assert cell.not_run != Cell.not_run


def test_figure_2_of_dynamo_gat_shares_its_runs_with_the_depth_study() -> None:
    def runs(table: str) -> dict[str, tuple[str, str]]:
        cells = find_table(table).cells
        return {cell.name: (cell.recipe.name, cell.recipe.digest()) for cell in cells}

    figure, study = runs("dynamo-fig2"), runs("depth-study")
    for graph, split in (("Cora", "public"), ("CiteSeer", "public"), ("Cornell", "geom-gcn")):
        for here, there in (("GCN", "GCN"), ("GAT", "GAT"), ("G2GAT", "G²"), ("DYNAMO-GAT", "DYNAMO-GAT")):
            for depth in (2, 4, 8, 16, 32, 64, 128):
                assert figure[f"{graph} {split} {here}/{depth}"] == study[f"{graph} {there}/{depth}"]
    assert set(runs("dynamo-table1").values()) <= set(figure.values())


@pytest.mark.parametrize("method", ["dynamo-gat", "g2-gat"])
@pytest.mark.parametrize("data", ["cora", "citeseer", "cornell"])
def test_deep_checkpoints_are_cells_with_a_published_value(method: str, data: str) -> None:
    shallow, deep = recipes.find(f"{method}-{data}"), recipes.find(f"{method}-{data}-128")
    assert (shallow.model["num_layers"], deep.model["num_layers"]) == (17, 129)
    assert {**shallow.model, "num_layers": 129} == deep.model
    (cell,) = (c for c in find_table("dynamo-table1").cells if c.recipe.digest() == deep.digest())
    assert cell.recipe.published == deep.published and deep.published is not None
    assert cell.recipe.protocol.seeds == 10


def test_the_ablation_of_dynamo_gat_changes_one_option_a_row() -> None:
    cells = {cell.name: cell.recipe for cell in find_table("dynamo-table3").cells}
    options: dict[str, dict[str, Any]] = {
        "full": {},
        "no noise": {"noise": 0.0},
        "no covariance": {"covariance": "none"},
        "fixed threshold": {"fixed_threshold": 0.4},
        "not gradual": {"gradual": False},
        "no recalibration": {"recalibrate": False},
        "sign +": {"sign": "+"},
        "nothing pruned": {"rate": 0.0},
        "no initial residual": {"initial_residual": 0.0},
    }
    for name, recipe in cells.items():
        row, column = name.split("/", 1)
        full = cells[f"full/{column}"]
        assert recipe.model == {**full.model, **options[row]}
        assert (recipe.data, recipe.training) == (full.data, full.training)


SETTINGS: dict[str, Any] = {
    "name": "mine",
    "method": "gcn",
    "paper": "arXiv:1609.02907",
    "data": {"name": "digits"},
    "training": {"epochs": 5, "lr": 0.01},
    "protocol": {"metric": "accuracy"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    settings = copy.deepcopy(SETTINGS)
    *tables, key = path.split(".")
    table = settings
    for part in tables:
        table = table.setdefault(part, {})
    if value is None:
        del table[key]
    else:
        table[key] = value
    return settings


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("trainin", {}, "unknown key 'trainin': did you mean 'training'"),
        ("rows", ["gcn"], "rows: is a key of a table, which zoo reproduce runs"),
        ("training.learning_rate", 0.1, "unknown key 'training.learning_rate'"),
        ("training.epochs", None, "training.epochs: is missing"),
        ("data", None, "data: is missing"),
        ("data", "cora", "data: must be a table"),
        ("training.epochs", 5.0, "training.epochs: must be of type int, not float"),
        ("training.epochs", True, "training.epochs: must be of type int, not bool"),
        ("training.lr", "1e-3", "training.lr: must be of type float, not str"),
        ("training.lr", float("nan"), "training.lr: must be above 0"),
        ("training.lr", 1e38, "training.lr: must be above 0, at most 1000000.0"),
        ("training.lr", -0.1, "training.lr: must be above 0"),
        ("training.weight_decay", -1.0, "training.weight_decay: must be 0 or more"),
        ("training.clip_norm", 0.0, "training.clip_norm: must be positive"),
        ("training.patience", 0, "training.patience: must be at least 1"),
        ("training.epochs", 0, "training.epochs: must be at least 1"),
        ("training.groups", {}, "training.groups: must be a list"),
        ("training.groups", [{"lr": 0.1}], r"training.groups\[0\].parameters: is missing"),
        ("protocol.metric", "f1", "protocol.metric: choose from accuracy"),
        ("protocol.select", "best", "protocol.select: choose from best-val"),
        ("protocol.seeds", 0, "protocol.seeds: must be at least 1"),
        ("data.transforms", "add_self_loop", "data.transforms: must be a list"),
        ("data.transforms", [1], r"data.transforms\[0\]: must be of type str"),
        ("data.transforms", ["add_self_loop"] * 2, "data.transforms: transforms names one twice: add_self_loop"),
        ("published", {"value": float("nan"), "source": "x"}, "published.value: must be finite"),
        ("published", {"value": 1.0, "std": -1.0, "source": "x"}, "published.std: must be 0 or more"),
        ("published", {"value": 1.0, "runs": 0, "source": "x"}, "published.runs: must be at least 1"),
        ("protocol.metric", "roc-auc", "protocol.metric: roc-auc is of two classes, but digits has 10"),
        ("model.in_feats", 7, r"model.in_feats: comes from \[data\]"),
        ("method", "gcnn", "method: unknown method 'gcnn': did you mean gcn"),
        ("model.hiden", 8, "model: method 'gcn' has no argument 'hiden': did you mean 'hidden'"),
        ("model.hidden", 8.0, "model: method 'gcn': hidden must be int, got 8.0"),
        ("data.name", "digist", "data.name: there is no data set 'digist': did you mean digits"),
        ("data.split", "public", "data.split: data set 'digits' has no split 'public'"),
        ("data.split", "random-a-b-c", "data.split: data set 'digits' has no split 'random-a-b-c'"),
        ("data.split", "random-60-20-10", "data.split: 'random-60-20-10' is not a split"),
        ("data.split", "random-60-40-0", "data.split: split 'random-60-40-0' leaves a part empty"),
        ("data.split", "few-5", "data.split: data set 'digits' has no split 'few-5'"),
        ("data.split", "few-5-0", "data.split: split 'few-5-0' leaves a part empty"),
        ("data.align", "digist", "data.align: there is no data set 'digist': did you mean digits"),
        ("pretrained", {}, "pretrained.checkpoint: is missing"),
        ("pretrained", {"checkpoint": "gcn-csmb"}, "pretrained.checkpoint: no checkpoint 'gcn-csmb': did you mean gcn"),
        ("pretrained", {"checkpoint": "gcn-csbm", "frozen": True}, "unknown key 'pretrained.frozen'"),
        ("pretrained", {"checkpoint": "gcn-csbm", "freeze": 1}, "pretrained.freeze: must be of type bool, not int"),
        ("pretrained", {"checkpoint": "gcn-csbm", "layer_decay": 0.0}, "pretrained.layer_decay: must be a number"),
        ("pretrained", {"checkpoint": "gcn-csbm", "layer_decay": 1.5}, "pretrained.layer_decay: must be a number"),
        ("data.transforms", ["reverse"], "data.transforms: unknown transform 'reverse'"),
        ("protocol.metric", "nmse", "protocol.metric: digits is for node-classification"),
        ("model.readout", "mean", "model.readout: digits is for node-classification: leave it out"),
        ("data.name", "mutag", "model.readout: mutag is for graph-classification: it needs one"),
        ("training.batch_size", 5, "training.batch_size: digits is one graph"),
        ("published.value", 80.0, "published.source: is missing"),
    ],
)
def test_a_wrong_recipe_names_file_key_and_remedy(path: str, value: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=f"mine.toml: .*{message}"):
        recipes.parse(changed(path, value), "mine.toml")


def test_a_whole_number_is_a_float_too() -> None:
    assert recipes.parse(changed("training.lr", 1), "mine.toml").training.lr == 1.0


def test_a_recipe_of_ones_own_is_found_by_its_path(tmp_path: Path) -> None:
    text = CSBM.read_text().replace('"gcn-csbm"', '"mine"')
    (tmp_path / "mine.toml").write_text(text)
    assert recipes.find(str(tmp_path / "mine.toml")).digest() == recipes.find("gcn-csbm").digest()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("hidden = 0", "a layer's widths must be positive"),
        ("num_layers = 0", "num_layers=0 leaves no hidden layer"),
        ('adjacency = "left"', "unknown adjacency 'left': choose from row, symmetric"),
    ],
)
def test_a_file_with_an_impossible_model_is_told_before_anything_is_trained(
    wrong: str, message: str, tmp_path: Path
) -> None:
    text = CSBM.read_text().replace('"gcn-csbm"', '"mine"')
    key = wrong.partition(" ")[0]
    kept = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
    kept.insert(kept.index("[model]") + 1, wrong)
    (tmp_path / "mine.toml").write_text("\n".join(kept))
    with pytest.raises(RecipeError, match=f"mine.toml: model: .*{message}"):
        recipes.find(str(tmp_path / "mine.toml"))


def test_a_byte_order_mark_is_no_matter(tmp_path: Path) -> None:
    text = CSBM.read_text().replace('"gcn-csbm"', '"mine"')
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8-sig")
    assert recipes.find(str(tmp_path / "mine.toml")).digest() == recipes.find("gcn-csbm").digest()


def test_a_path_that_can_be_none_is_an_error() -> None:
    with pytest.raises(ZooError, match="cannot be a path"):
        recipes.find("mi\0ne.toml")


def test_name_and_file_name_must_agree(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(CSBM.read_text())
    with pytest.raises(RecipeError, match="must be the file's name"):
        recipes.find(str(tmp_path / "other.toml"))


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"name = 1\nname = 2"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"mine\.toml: cannot be read as TOML"):
        recipes.find(str(tmp_path / "mine.toml"))


def test_an_unknown_recipe_is_told_the_nearest() -> None:
    with pytest.raises(RecipeNotFound, match=r"did you mean .*gcn-cora"):
        recipes.find("gnc-cora")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("training.lr", 0.02),
        ("data.split", "random-50-25-25"),
        ("model.hidden", 8),
        ("protocol.select", "last"),
        ("training.groups", [{"parameters": "convs.*", "lr": 0.1}]),
        ("data.align", "csbm"),
        ("pretrained", {"checkpoint": "gcn-csbm"}),
    ],
)
def test_whatever_decides_a_runs_bits_changes_the_digest(path: str, value: Any) -> None:
    assert recipes.parse(changed(path, value), "").digest() != recipes.parse(SETTINGS, "").digest()


@pytest.mark.parametrize(
    ("path", "value"), [("protocol.seeds", 3), ("note", "x"), ("training.weight_decay", 0.0), ("diagnosis", "y")]
)
def test_what_does_not_decide_them_leaves_it(path: str, value: Any) -> None:
    assert recipes.parse(changed(path, value), "").digest() == recipes.parse(SETTINGS, "").digest()


def test_groups_and_layer_decay_would_set_the_same_rates() -> None:
    settings = changed("training.groups", [{"parameters": "convs.*", "lr": 0.1}])
    settings["pretrained"] = {"checkpoint": "gcn-csbm", "layer_decay": 0.5}
    with pytest.raises(RecipeError, match=r"pretrained.layer_decay: .* leave out training.groups"):
        recipes.parse(settings, "mine.toml")


def test_other_weights_under_the_same_name_change_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.parse(changed("pretrained", {"checkpoint": "gcn-csbm"}), "")
    before, entry = recipe.digest(), registry.info("gcn-csbm")
    other = dataclasses.replace(entry, weights=registry.Weights("0" * 64, entry.weights.bytes))
    monkeypatch.setattr(registry, "info", lambda name: other)
    assert recipe.digest() != before


def test_digests_of_old_recipes_stay() -> None:
    """Their results are kept by them."""
    assert recipes.find("gcn-csbm").digest() == "0ac42fc6383471a8"
    assert recipes.find("gat-pubmed").digest() == "7f2261c18c7fc992"


def test_merge_lets_the_later_table_win() -> None:
    assert recipes.merge({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}
