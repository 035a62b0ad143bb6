"""The commands that the page of SBP quotes."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def table6() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "sbp_table6.py"))


def test_imbalance_counts_what_the_paper_defines(table6: dict[str, Any]) -> None:
    signed = torch.tensor([[1, 1, 0, -1], [1, 1, 1, 0], [0, 1, 1, -1], [-1, 0, -1, 1]])
    label = torch.tensor([0, 0, 1, 1])
    # P: only nodes 2 and 3, who repel each other. N: 0 has 2, 1 has 2 and 3, 2 has 0 and 1, 3 has 1.
    assert table6["imbalance"](signed, label) == (0.5, 1.5, 1.0)


def test_sid_of_every_method_is_near_the_printed_one(table6: dict[str, Any]) -> None:
    sample = table6["Sample"](0)
    for name, method in table6["METHODS"].items():
        _, _, sid = table6["imbalance"](method(sample), sample.label)
        assert sid == pytest.approx(table6["PUBLISHED"][name][2], abs=1.0), name
