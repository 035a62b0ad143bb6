"""What a table's file says, and what is told of a wrong one."""

from pathlib import Path

import pytest

from zoo._files import resource
from zoo.errors import RecipeError, RecipeNotFound
from zoo.registry import Published
from zoo.reproduction import reproduce
from zoo.tables import find_table
from zoo.training.recipe import find

TABLE = """
title = "Depth and width"
base = "{row}-csbm"
rows = ["gcn"]
columns = ["shallow", "deep"]
[row.gcn.model]
hidden = 8
[column.deep]
model = {num_layers = 4, hidden = 4}
[cell."gcn/deep"]
training.epochs = 7
"""

LAYERED = """
title = "Depth"
base = "gcn-csbm"
rows = ["gcn"]
columns = ["2", "4", "4, best test"]
layers = "dirichlet-energy"
[column.2]
model.num_layers = 2
[column.4]
model.num_layers = 4
[column."4, best test"]
model.num_layers = 4
protocol.select = "best-test"
"""


@pytest.mark.parametrize("text", [TABLE, None])
def test_a_name_that_a_table_of_the_zoo_has_is_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "transfer.toml"
    path.write_text(text or (resource("recipes") / "gcn" / "gcn-csbm.toml").read_text().replace("gcn-csbm", "transfer"))
    with pytest.raises(RecipeError, match="the zoo has a table or recipe called transfer: rename yours"):
        reproduce(path, results=tmp_path)
    recipe = resource("recipes") / "gcn" / "gcn-csbm.toml"
    copy = tmp_path / "gcn-csbm.toml"
    copy.write_text(recipe.read_text().replace("lr = ", "lr = 1"))
    with pytest.raises(RecipeError, match="the zoo has a table or recipe called gcn-csbm"):
        find_table(copy)
    copy.write_text(recipe.read_text() + "\n")
    assert find_table(copy).cells[0].recipe.digest() == find("gcn-csbm").digest()
    assert find_table(recipe) == find_table("gcn-csbm")
    own = resource("recipes") / "tables" / "transfer.toml"
    assert find_table(own).title == find_table("transfer").title


def test_a_base_of_ones_own_lies_beside_its_table(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text((resource("recipes") / "gcn" / "gcn-csbm.toml").read_text())
    (tmp_path / "widths.toml").write_text(TABLE.replace("{row}-csbm", "mine.toml"))
    assert [cell.recipe.model["hidden"] for cell in find_table(tmp_path / "widths.toml").cells] == [8, 4]


def test_overrides_are_laid_over_the_base_in_order(tables: Path) -> None:
    (tables / "depth.toml").write_text(TABLE)
    shallow, deep = find_table("depth").cells
    base = find("gcn-csbm")
    assert (shallow.name, deep.name) == ("gcn/shallow", "gcn/deep")
    assert shallow.recipe.model == {**base.model, "hidden": 8}
    assert deep.recipe.model == {**base.model, "hidden": 4, "num_layers": 4}
    assert (shallow.recipe.training.epochs, deep.recipe.training.epochs) == (base.training.epochs, 7)


def test_overrides_for_several_places_are_laid_on_in_the_files_order(tables: Path) -> None:
    text = TABLE.replace("[row.gcn.model]", '[row."g*".model]')
    text += '[cell."*/deep"]\ntraining = { epochs = 9, lr = 0.5 }\n[cell."gcn/[!d]*"]\nmodel.hidden = 3\n'
    (tables / "depth.toml").write_text(text)
    shallow, deep = (cell.recipe for cell in find_table("depth").cells)
    base = find("gcn-csbm")
    assert (shallow.model["hidden"], shallow.training) == (3, base.training)
    assert (deep.model["hidden"], deep.training.epochs, deep.training.lr) == (4, 9, 0.5)


def test_a_name_in_brackets_is_no_pattern_of_others_only(tables: Path) -> None:
    text = TABLE.replace("deep", "deep [4]").replace("[column.deep [4]]", '[column."deep [4]"]')
    (tables / "depth.toml").write_text(text)
    _, deep = find_table("depth").cells
    assert deep.recipe.model["num_layers"] == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title =", "titel =", "'titel' is unknown"),
        ('rows = ["gcn"]', 'rows = "gcn"', "'rows' is unknown or of a wrong type"),
        ('rows = ["gcn"]\n', "", "rows missing"),
        ("[column.deep]", "[column.depe]", "overrides for column depe"),
        ("[column.deep]", '[column."Deep*"]', r"overrides for column Deep\*, which the table lacks"),
        ('["shallow", "deep"]', "[2, 4]", r"columns = \[2, 4\]: a list of names, at least one, each in quot"),
        ('["shallow", "deep"]', "[]", r"columns = \[\]: a list of names"),
        ('rows = ["gcn"]', 'rows = [["gcn"]]', r"rows = \[\['gcn'\]\]: a list of names"),
        ('rows = ["gcn"]', 'rows = ["gcn", "gcn"]', "more than one cell is called gcn/shallow"),
        ("[column.deep]", '[column]\nshallow = "x"\n[column.deep]', "column shallow = 'x': expected keys of a recipe"),
        ("[column.deep]", "[column.deep]\nbase = 3", "column deep: base = 3: expected a string"),
        ("[column.deep]", "[column.deep]\nnot_run = 3", "column deep: not_run = 3: expected a string"),
        ('"gcn/deep"', '"gat/deep"', "overrides for cell gat/deep"),
        ("num_layers = 4", "in_feats = 4", "model.in_feats"),
        ('columns =', 'baseline = "gat"\ncolumns =', "baseline 'gat' is none of the rows gcn"),
        ("training.epochs = 7", "training.epochs = 0", "gcn/deep: training.epochs: must be at least 1"),
    ],
)
def test_a_wrong_table_is_one_clear_error(tables: Path, old: str, new: str, message: str) -> None:
    assert old in TABLE
    (tables / "depth.toml").write_text(TABLE.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        find_table("depth")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dirichlet-energy"', '"energy"', "layers = 'energy': choose from dirichlet-energy, mad"),
        ('"dirichlet-energy"', '["mad", "energy"]', "layers = 'energy': choose from dirichlet-energy, mad"),
        ('"dirichlet-energy"', '["mad", "mad"]', "layers = .'mad', 'mad'.: a measure is named twice"),
        ('layers = "dirichlet-energy"', "by_layer = true", "by_layer without layers"),
        ('layers = "dirichlet-energy"', "layers = []\nby_layer = true", "by_layer without layers"),
        ("layers =", "panel = [2]\nlayers =", r"panel = \[2\]: a row has no such word"),
        ("layers =", 'panel = ["gcn"]\nlayers =', "a row has no such word"),
        ('base = "gcn-csbm"', 'base = "sage-nci1"', "gcn/2: layers are measured on one graph"),
    ],
)
def test_a_wrong_choice_of_layers_or_panels_is_told(tables: Path, old: str, new: str, message: str) -> None:
    assert old in LAYERED
    (tables / "layered.toml").write_text(LAYERED.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        find_table("layered")


PUBLISHED = """
title = "Published"
base = "gcn-cora"
rows = ["gcn"]
columns = ["as in the recipe", "another", "none"]

[column]
another = { model.num_layers = 3, published = { value = 81.0, source = "a paper" } }
none = { model.num_layers = 4, published = {} }
"""


def test_a_published_value_takes_the_place_of_the_whole_of_the_base_recipes(tables: Path) -> None:
    (tables / "published.toml").write_text(PUBLISHED)
    first, second, third = (cell.recipe.published for cell in find_table("published").cells)
    assert first == find("gcn-cora").published and first is not None
    assert second == Published(value=81.0, source="a paper")
    assert third is None


def test_an_unknown_table_is_told_the_nearest() -> None:
    with pytest.raises(RecipeNotFound, match="did you mean planetoid"):
        find_table("planetiod")
