"""Weights that are not bundled come from the Hub's cache, at the pinned commit and with the right sha256."""

import dataclasses
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

import zoo
from zoo import registry, weights
from zoo._files import resource
from zoo.errors import CheckpointNotFound, IntegrityError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the Hub's cache would hold gcn-csbm; nothing is bundled, and there is no network."""
    entry = dataclasses.replace(registry.info("gcn-csbm"), hub=registry.Hub("org/gcn-csbm", COMMIT))
    monkeypatch.setattr("zoo.registry.info", lambda _: entry)
    monkeypatch.setattr("zoo.weights.resource", lambda _: tmp_path / "nothing")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub" / "models--org--gcn-csbm" / "snapshots" / COMMIT


def test_a_cached_checkpoint_is_loaded(snapshot: Path) -> None:
    bundled = resource("pretrained") / "gcn-csbm"
    shutil.copytree(bundled, snapshot)
    expected = zoo.load_folder(bundled).state_dict()
    for name, tensor in zoo.load("gcn-csbm").state_dict().items():
        assert torch.equal(tensor, expected[name])


def test_a_cached_file_is_checked_too(snapshot: Path) -> None:
    shutil.copytree(resource("pretrained") / "gcn-csbm", snapshot)
    content = bytearray((snapshot / weights.WEIGHTS).read_bytes())
    content[-1] ^= 1
    (snapshot / weights.WEIGHTS).write_bytes(content)
    with pytest.raises(IntegrityError, match="was changed"):
        zoo.load("gcn-csbm")


def test_what_is_neither_cached_nor_to_be_fetched_is_named(snapshot: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=f"not bundled, and org/gcn-csbm@{COMMIT} is neither cached"):
        zoo.load("gcn-csbm")
