"""Splits: sizes, disjoint, the same for the same seed, different where they promise to be."""

import hashlib
import os

import pytest
import torch
from torch import Tensor

from zoo import datasets
from zoo.datasets import splits
from zoo.errors import GraphError

needs_data = pytest.mark.skipif(not os.environ.get("ZOO_DATA"), reason="ZOO_DATA does not name a folder of raw files")

LABELS = torch.tensor([0] * 50 + [1] * 25 + [2] * 10 + [4])[
    torch.randperm(86, generator=torch.Generator().manual_seed(0))
]
DRAWN = ["random-60-20-20", "class-80-10-10", "class-40-30-30", "class-70-15-15", "balanced-60-20-20", "index-80-10-10"]


def sizes(masks: splits.Masks) -> tuple[int, ...]:
    return tuple(int(mask.sum()) for mask in masks)


def equal(first: splits.Masks, second: splits.Masks) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def stored(name: str, split: str, seed: int, labels: Tensor | None = None) -> splits.Masks:
    about = datasets.info(name)
    members = about.num_nodes if about.num_graphs == 1 else about.num_graphs
    return splits.masks(about, split, seed, torch.zeros(members, dtype=torch.long) if labels is None else labels)


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_splits_cover_all_once_and_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    masks = splits.draw(name, LABELS, seed=3)
    torch.manual_seed(2)
    assert equal(masks, splits.draw(name, LABELS, seed=3))
    assert torch.stack(masks).sum(dim=0).eq(1).all()
    assert all(mask.dtype == torch.bool and mask.shape == LABELS.shape for mask in masks)
    assert splits.varies_with_seed(name) != equal(masks, splits.draw(name, LABELS, seed=4))


def test_random() -> None:
    assert sizes(splits.draw("random-60-20-20", LABELS, 0)) == (51, 17, 18)
    assert sizes(splits.draw("random-48-32-20", torch.zeros(100), 0)) == (48, 32, 20)


def test_class_takes_its_shares_inside_every_class() -> None:
    masks = splits.draw("class-80-10-10", LABELS, 0)
    per_class = [torch.bincount(LABELS[mask], minlength=5).tolist() for mask in masks]
    assert per_class == [[40, 20, 8, 0, 0], [5, 2, 1, 0, 0], [5, 3, 1, 0, 1]]


def test_index_takes_the_first_and_the_last() -> None:
    masks = splits.draw("index-80-10-10", torch.zeros(2708), 0)
    assert sizes(masks) == (2166, 272, 270)
    assert masks.train[:2166].all() and masks.val[2166:2438].all() and masks.test[2438:].all()


def test_balanced_trains_on_equally_many_of_every_class_or_on_all() -> None:
    masks = splits.draw("balanced-60-20-20", LABELS, 0)
    train, val, test = (torch.bincount(LABELS[mask], minlength=5) for mask in masks)
    assert train.tolist() == [10, 10, 10, 0, 1]
    assert (val + test).tolist() == [40, 15, 0, 0, 0]
    assert sizes(masks) == (31, 17, 38)


def test_balanced_rounds_to_the_nearest() -> None:
    assert sizes(splits.draw("balanced-60-20-20", torch.arange(9) % 2, 0)) == (6, 2, 1)  # 2.7 of a class, 1.8 of all
    assert sizes(splits.draw("balanced-60-20-20", torch.arange(15) % 2, 0)) == (8, 3, 4)  # 4.5 of a class
    assert sizes(splits.draw("balanced-60-20-20", torch.arange(25) % 2, 0)) == (16, 5, 4)  # 7.5 of a class


def test_balanced_validates_on_a_draw_from_all_that_is_left() -> None:
    firsts = [int((LABELS[splits.draw("balanced-60-20-20", LABELS, seed).val] == 0).sum()) for seed in range(100)]
    assert len(set(firsts)) > 3
    assert sum(firsts) / 100 == pytest.approx(17 * 40 / 55, abs=0.5)


def test_few_takes_the_same_number_of_every_class() -> None:
    labels = LABELS[LABELS < 3]
    masks = splits.draw("few-3-7", labels, 0)
    assert [torch.bincount(labels[mask], minlength=3).tolist() for mask in masks] == [[3] * 3, [7] * 3, [40, 15, 0]]
    assert torch.stack(masks).sum(dim=0).eq(1).all()
    assert splits.varies_with_seed("few-3-7") and not equal(masks, splits.draw("few-3-7", labels, 1))


def test_few_of_a_class_with_fewer_is_an_error() -> None:
    with pytest.raises(GraphError, match="'few-4-7' needs 11 items of every class, but class 2 has 10"):
        splits.draw("few-4-7", LABELS[LABELS < 3], 0)


def test_few_of_a_node_level_and_a_graph_level_set() -> None:
    graph = datasets.load("digits", split="few-5-30", seed=1)
    assert torch.bincount(graph.ndata["label"][graph.ndata["train_mask"]]).tolist() == [5] * 10
    assert torch.bincount(graph.ndata["label"][graph.ndata["val_mask"]]).tolist() == [30] * 10
    masks = splits.masks(datasets.info("ptc"), "few-20-100", 0, torch.arange(344) % 2)
    assert sizes(masks) == (40, 200, 104)


@pytest.mark.parametrize(
    "name",
    [
        "random-60-20-30",
        "balanced-60-20-30",
        "class-0-50-50",
        "index-80-20",
        "stratified-60-20-20",
        "random",
        "random-a-b-c",
        "",
    ],
)
def test_impossible_names(name: str) -> None:
    with pytest.raises(GraphError, match="percentages of train, validation and test that add up to 100"):
        splits.draw(name, LABELS, 0)


def test_draws_are_the_same_on_every_machine() -> None:
    labels = torch.arange(100) % 3
    digests = {
        name: hashlib.sha256(torch.stack(splits.draw(name, labels, 0)).numpy().tobytes()).hexdigest()[:16]
        for name in ("random-60-20-20", "class-60-20-20", "balanced-60-20-20", "few-5-10")
    }
    assert digests == {
        "random-60-20-20": "f1fccc546ed16bc6",
        "class-60-20-20": "6fb196f428185c04",
        "balanced-60-20-20": "4931a589cb83a5a0",
        "few-5-10": "d6599bef39b79152",
    }


@pytest.mark.parametrize(
    ("name", "varies"),
    [("public", False), ("public-rest", False), ("polynormer", False), ("index-80-10-10", False)]
    + [(name, True) for name in ("geom-gcn", "given", "tu-10fold", "tu-10fold-whole", "gin-10fold", "fair-10fold")]
    + [(name, True) for name in DRAWN[:-1]],
)
def test_varies_with_seed(name: str, varies: bool) -> None:
    assert splits.varies_with_seed(name) is varies


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("digits", "public"),
        ("digits", "given"),
        ("csbm", "tu-10fold"),
        ("digits", "60-20-20"),
        ("digits", "few-k-v"),
        ("digits", "few-5"),
    ],
)
def test_a_split_that_the_set_lacks(name: str, split: str) -> None:
    with pytest.raises(GraphError, match=f"data set '{name}' has no split '{split}'; it has random-a-b-c, class-a-b-c"):
        datasets.load(name, split=split)


@pytest.mark.parametrize("name", ["class-80-10-10", "balanced-60-20-20"])
def test_targets_have_no_classes(name: str) -> None:
    about = datasets.info("chameleon-traffic")
    with pytest.raises(GraphError, match=f"has no split '{name}'; it has geom-gcn, random-a-b-c, index-a-b-c"):
        splits.masks(about, name, 0, torch.zeros(2277))


def test_tu_10fold_is_stratified_and_its_test_folds_are_a_partition() -> None:
    about = datasets.info("ptc")
    labels = torch.arange(344) % 2
    folds = [splits.masks(about, "tu-10fold", seed, labels) for seed in range(10)]
    assert torch.stack([fold.test for fold in folds]).sum(dim=0).eq(1).all()
    for fold, following in zip(folds, [*folds[1:], folds[0]], strict=True):
        assert torch.equal(fold.val, following.test)
        assert torch.stack(fold).sum(dim=0).eq(1).all()
        assert abs(int(labels[fold.test].sum()) - int(fold.test.sum()) / 2) <= 1
    assert equal(folds[3], splits.masks(about, "tu-10fold", 13, labels))


def test_tu_10fold_whole_tests_on_all_graphs_and_validates_on_the_folds_that_tu_10fold_tests_on() -> None:
    about = datasets.info("ptc")
    labels = torch.arange(344) % 2
    for seed in range(12):
        fold = splits.masks(about, "tu-10fold-whole", seed, labels)
        assert fold.test.all()
        assert torch.equal(fold.val, splits.masks(about, "tu-10fold", seed, labels).test)
        assert torch.equal(fold.train, ~fold.val)
    assert [split for split in about.splits if splits.tests_on_all(split)] == ["tu-10fold-whole"]


@needs_data
@pytest.mark.parametrize(
    ("name", "expected"), [("cora", (140, 500, 1000)), ("citeseer", (120, 500, 1000)), ("pubmed", (60, 500, 1000))]
)
def test_public(name: str, expected: tuple[int, ...]) -> None:
    masks = stored(name, "public", 0)
    assert sizes(masks) == expected
    assert torch.stack(masks).sum(dim=0).max() == 1
    assert equal(masks, stored(name, "public", 1))


@needs_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cora", {(1192, 796, 497)}),
        ("citeseer", {(1596, 1065, 666), (1017, 679, 424)}),
        ("pubmed", {(9463, 6310, 3944)}),
        ("texas", {(87, 59, 37)}),
        ("wisconsin", {(120, 80, 51)}),
        ("cornell", {(87, 59, 37)}),
        ("chameleon", {(1092, 729, 456)}),
        ("squirrel", {(2496, 1664, 1041)}),
        ("actor", {(3648, 2432, 1520)}),
        ("chameleon-traffic", {(1092, 729, 456)}),
    ],
)
def test_geom_gcn(name: str, expected: set[tuple[int, ...]]) -> None:
    ten = [stored(name, "geom-gcn", seed) for seed in range(10)]
    assert {sizes(masks) for masks in ten} == expected
    assert all(torch.stack(masks).sum(dim=0).max() == 1 for masks in ten)
    assert len({masks.train.numpy().tobytes() for masks in ten}) == 10
    assert equal(ten[4], stored(name, "geom-gcn", 14))


@needs_data
@pytest.mark.parametrize(
    ("name", "majority_of_val", "printed"), [("cora", 3, 30.95), ("citeseer", 2, 19.65), ("pubmed", 2, 39.92)]
)
def test_all_others_test_and_a_single_class_scores_what_table_11_of_sbps_paper_prints(
    name: str, majority_of_val: int, printed: float
) -> None:
    public, rest = stored(name, "public", 0), stored(name, "public-rest", 0)
    assert torch.equal(public.train, rest.train) and torch.equal(public.val, rest.val)
    assert torch.stack(rest).sum(dim=0).eq(1).all()
    labels = datasets.load(name).ndata["label"]
    assert torch.bincount(labels[rest.val]).argmax() == majority_of_val
    assert round(float((labels[rest.test] == majority_of_val).double().mean()) * 100, 2) == printed


@needs_data
@pytest.mark.parametrize(
    ("name", "train", "left", "val"),
    [
        ("texas", [22, 1, 18, 22, 22], [11, 0, 0, 79, 8], 37),
        ("cornell", [22, 16, 22, 22, 17], [16, 0, 8, 60, 0], 37),
        ("actor", [853, 912, 912, 912, 912], [0, 425, 718, 903, 1053], 1520),
    ],
)
def test_balanced_changes_what_is_tested(name: str, train: list[int], left: list[int], val: int) -> None:
    graph = datasets.load(name, split="balanced-60-20-20", seed=1)
    labels, trains = graph.ndata["label"], graph.ndata["train_mask"]
    assert torch.bincount(labels[trains]).tolist() == train
    assert torch.bincount(labels[~trains], minlength=5).tolist() == left
    assert graph.ndata["val_mask"].sum() == val
    assert graph.ndata["test_mask"].sum() == sum(left) - val


@needs_data
def test_citeseer_splits_of_the_largest_component() -> None:
    small = [seed for seed in range(10) if sizes(stored("citeseer", "geom-gcn", seed)) == (1017, 679, 424)]
    assert small == [4, 5]


@needs_data
@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("minesweeper", (5000, 2500, 2500)),
        ("tolokers", (5879, 2939, 2940)),
        ("chameleon-filtered", (409, 287, 194)),
        ("chameleon-filtered-directed", (409, 287, 194)),
        ("squirrel-filtered", (1053, 718, 452)),
    ],
)
def test_given(name: str, first: tuple[int, ...]) -> None:
    ten = [stored(name, "given", seed) for seed in range(10)]
    assert sizes(ten[0]) == first
    assert all(torch.stack(masks).sum(dim=0).eq(1).all() for masks in ten)
    assert len({masks.train.numpy().tobytes() for masks in ten}) == 10
    assert equal(ten[4], stored(name, "given", 14))


@needs_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amazon-computers", (8251, 2750, 2751)),
        ("amazon-photo", (4590, 1530, 1530)),
        ("coauthor-cs", (10999, 3666, 3668)),
        ("coauthor-physics", (20695, 6898, 6900)),
    ],
)
def test_polynormer(name: str, expected: tuple[int, ...]) -> None:
    masks = stored(name, "polynormer", 0)
    assert sizes(masks) == expected
    assert torch.stack(masks).sum(dim=0).eq(1).all()


@needs_data
@pytest.mark.parametrize(
    ("name", "tested"),
    [
        ("mutag", 180),
        ("nci1", 4110),
        ("nci109", 4120),
        ("proteins", 1110),
        ("imdb-binary", 1000),
        ("imdb-multi", 1500),
        ("enzymes", 600),
        ("collab", 5000),
    ],
)
def test_gin_10fold(name: str, tested: int) -> None:
    labels = torch.arange(datasets.info(name).num_graphs) % 2
    folds = [stored(name, "gin-10fold", seed, labels) for seed in range(10)]
    in_test = torch.stack([fold.test for fold in folds]).sum(dim=0)
    assert in_test.max() == 1
    assert in_test.sum() == tested
    for fold in folds:
        assert torch.stack(fold).sum(dim=0).eq(1).all()
        for own in (labels == 0, labels == 1):  # a tenth of each class, rounded up
            assert (fold.val & own).sum() == -(-((fold.train | fold.val) & own).sum() // 10)
    again, other = stored(name, "gin-10fold", 0, labels), stored(name, "gin-10fold", 10, labels)
    assert equal(folds[0], again)
    assert torch.equal(other.test, folds[0].test)
    assert not torch.equal(other.val, folds[0].val)


@needs_data
@pytest.mark.parametrize("name", ["nci1", "proteins", "enzymes", "imdb-binary", "imdb-multi", "collab"])
def test_fair_10fold(name: str) -> None:
    folds = [stored(name, "fair-10fold", seed) for seed in range(10)]
    assert torch.stack([fold.test for fold in folds]).sum(dim=0).eq(1).all()
    assert all(torch.stack(fold).sum(dim=0).eq(1).all() for fold in folds)


@needs_data
@pytest.mark.parametrize(
    ("name", "split"), [("proteins", "fair-10fold"), ("enzymes", "fair-10fold"), ("proteins", "gin-10fold")]
)
def test_published_folds_fit_the_order_of_the_graphs(name: str, split: str) -> None:
    """Folds are stratified only if they number the graphs as the labels do."""
    dataset = datasets.load(name, split=split)
    assert isinstance(dataset, datasets.GraphDataset)
    share = torch.bincount(dataset.labels) / len(dataset)
    in_fold = torch.bincount(dataset.labels[dataset.test_mask]) / dataset.test_mask.sum()
    assert torch.allclose(share, in_fold, atol=0.01)


@pytest.mark.parametrize(("split", "part"), [("class-98-1-1", "val"), ("few-25-25", "test")])
def test_a_split_that_leaves_a_part_without_items_is_refused(split: str, part: str) -> None:
    with pytest.raises(GraphError, match=f"split '{split}' of 'csbm' leaves no item for {part}"):
        datasets.load("csbm", split=split)


@pytest.mark.parametrize("split", ["class-60-20-20", "balanced-60-20-20", "few-1-1"])
@pytest.mark.parametrize("labels", [torch.rand(10), torch.arange(10) - 1, torch.ones(10, 2, dtype=torch.int64)])
def test_a_split_by_classes_needs_classes(split: str, labels: Tensor) -> None:
    with pytest.raises(GraphError, match="this split needs a class for each item"):
        splits.draw(split, labels, 0)


def test_a_split_of_absurd_numbers_is_none() -> None:
    with pytest.raises(GraphError, match="has no split"):
        datasets.load("csbm", split="few-99999999999999999999-1")
