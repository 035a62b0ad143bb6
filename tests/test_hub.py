"""Weights that are not bundled come from the Hub's cache, at the pinned commit and with the right sha256."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.constants
import pytest
import torch

import zoo
from zoo import registry, weights
from zoo._files import resource
from zoo.errors import CheckpointError, CheckpointNotFound, IntegrityError, ZooError

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


def test_from_pretrained_takes_a_repository_too(snapshot: Path) -> None:
    shutil.copytree(resource("pretrained") / "gcn-csbm", snapshot)
    model = zoo.models.get("gcn").from_pretrained("org/gcn-csbm", revision=COMMIT)
    assert (model.method, model.training) == ("gcn", False)
    with pytest.raises(CheckpointError, match="is a GCN, not a GAT"):
        zoo.models.get("gat").from_pretrained("org/gcn-csbm", revision=COMMIT)
    for source in ("org/none", "../x/y/z", "no such folder"):
        with pytest.raises(CheckpointNotFound, match="is neither a folder, nor cached"):
            zoo.models.get("gcn").from_pretrained(source)


def test_a_push_uploads_what_loads_as_the_same_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    created: list[str] = []

    def upload_folder(_: object, *, folder_path: str, **options: object) -> SimpleNamespace:
        shutil.copytree(folder_path, tmp_path / str(options["repo_id"]))
        return SimpleNamespace(oid=COMMIT)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda _, repo_id, **__: created.append(repo_id))
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    model = zoo.load("gcn-csbm")
    assert model.push_to_hub("org/mine") == COMMIT
    assert created == ["org/mine"]
    pushed = zoo.load_folder(tmp_path / "org" / "mine")
    assert pushed.config == zoo.load_folder(resource("pretrained") / "gcn-csbm").config
    for name, tensor in model.state_dict().items():
        assert torch.equal(pushed.state_dict()[name], tensor)


def test_a_push_that_fails_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(ZooError, match="cannot push to org/mine: ConnectionError: no route"):
        zoo.load("gcn-csbm").push_to_hub("org/mine")


def test_what_is_neither_cached_nor_to_be_fetched_is_named(snapshot: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=f"org/gcn-csbm@{COMMIT} is neither a folder, nor cached"):
        zoo.load("gcn-csbm")
