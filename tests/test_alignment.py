"""Features in another data set's columns: on toy data, and what the real files share."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.datasets import alignment
from zoo.errors import DatasetNotFound

needs_data = pytest.mark.skipif(not os.environ.get("ZOO_DATA"), reason="ZOO_DATA does not name a folder of raw files")


def test_words_are_partners_of_the_same_word() -> None:
    assert alignment.partners_by_word(["b", "x", "a"], ["a", "b", "c"]).tolist() == [1, -1, 0]


def test_ranks_are_partners_of_the_same_rank() -> None:
    assert alignment.partners_by_rank(torch.tensor([5, 9, 1]), torch.tensor([2, 2, 30, 4])).tolist() == [3, 2, 0]
    assert alignment.partners_by_rank(torch.tensor([1, 2, 3, 4]), torch.tensor([7, 8])).tolist() == [-1, -1, 0, 1]


def test_columns_move_to_their_partners_and_the_others_are_dropped_or_zero() -> None:
    feat = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    moved = alignment.rearrange(feat, torch.tensor([3, -1, 0]), 4)
    assert moved.tolist() == [[3.0, 0.0, 0.0, 1.0], [6.0, 0.0, 0.0, 4.0]]


def test_aligned_data_has_the_other_sets_width_and_all_else_of_its_own() -> None:
    plain, aligned = datasets.load("digits", seed=2), datasets.load("digits", seed=2, align="csbm")
    assert aligned.ndata["feat"].shape == (1797, 8)
    assert torch.equal(aligned.ndata["train_mask"], plain.ndata["train_mask"])
    assert torch.equal(aligned.ndata["label"], plain.ndata["label"])
    counts = plain.ndata["feat"].count_nonzero(dim=0)
    assert sorted(aligned.ndata["feat"].count_nonzero(dim=0).tolist()) == sorted(counts.tolist())[-8:]


def test_a_set_in_its_own_columns_stays_as_it_is() -> None:
    assert torch.equal(datasets.load("digits", align="digits").ndata["feat"], datasets.load("digits").ndata["feat"])


def test_an_unknown_set_to_align_with_is_told_the_nearest() -> None:
    with pytest.raises(DatasetNotFound, match="there is no data set 'digist': did you mean digits"):
        datasets.load("csbm", align="digist")


@needs_data
def test_physics_in_the_words_of_cs() -> None:
    physics, cs = (alignment.words(datasets.info(f"coauthor-{name}")) for name in ("physics", "cs"))
    assert physics is not None and cs is not None
    assert (len(physics), len(cs), len(set(physics) & set(cs))) == (8415, 6805, 3088)
    word = next(word for word in physics if word in cs)
    aligned = datasets.load("coauthor-physics", align="coauthor-cs").ndata["feat"]
    assert aligned.shape == (34493, 6805)
    own = datasets.load("coauthor-physics").ndata["feat"]
    assert torch.equal(aligned[:, cs.index(word)], own[:, physics.index(word)])
    assert not aligned[:, [i for i, other in enumerate(cs) if other not in set(physics)]].any()


@needs_data
def test_columns_without_names_are_aligned_by_rank() -> None:
    computers = datasets.load("amazon-computers", align="amazon-photo").ndata["feat"].count_nonzero(dim=0)
    photo = datasets.load("amazon-photo").ndata["feat"].count_nonzero(dim=0)
    assert alignment.words(datasets.info("amazon-photo")) is None
    assert (computers[photo.argsort(descending=True, stable=True)].diff() <= 0).all()


@needs_data
def test_how_many_molecules_of_nci109_are_in_nci1_too() -> None:
    """The number that the recipes and docs/fine-tuning.md tell."""
    script = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "shared_molecules.py"))
    nci1, nci109 = script["hashes"](["nci1", "nci109"])
    assert (int(np.isin(nci109, nci1).sum()), len(nci109)) == (1739, 4127)
