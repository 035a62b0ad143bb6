"""The Hub of the tests, asked by the real client: files come back bit-equal, and each fault is what it says."""

import contextlib
import hashlib
import os
from pathlib import Path

import pytest
from fakehub import Corrupted, Cut, FakeHub, Fault, Stalled, Status, Truncated, WrongETag
from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

CONFIG, WEIGHTS = b'{"method": "gcn"}', bytes(range(256)) * 40
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
ALWAYS = 100  # more often than the client tries
HTTPError = HfHubHTTPError.__bases__[0]  # of httpx or httpx2, depending on the client's version


def upload(folder: Path, files: dict[str, bytes] = FILES, token: str | bool = "hf_write") -> str:
    """Pushes files to org/model as the zoo does; gives the commit."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    api = HfApi(token=token)
    api.create_repo("org/model", exist_ok=True)
    return str(api.upload_folder(repo_id="org/model", folder_path=folder).oid)


def download(name: str = "model.safetensors", *, revision: str | None = None, token: str | bool | None = None) -> bytes:
    return Path(hf_hub_download("org/model", name, revision=revision, token=token)).read_bytes()


def test_no_test_can_reach_the_real_hub() -> None:
    assert constants.ENDPOINT.startswith("http://127.0.0.1:")
    assert constants.HF_HUB_DISABLE_XET
    with pytest.raises(HTTPError, match="refused"):
        HfApi().model_info("org/model")


def test_a_folder_comes_back_as_it_went_up(hub: FakeHub, tmp_path: Path) -> None:
    commit = upload(tmp_path / "up", {**FILES, "README.md": b"---\nlicense: mit\n---\n"})
    snapshot = Path(snapshot_download("org/model", revision=commit))
    assert {name: (snapshot / name).read_bytes() for name in FILES} == FILES
    assert (snapshot / "model.safetensors").resolve().name == hashlib.sha256(WEIGHTS).hexdigest()
    (listed,) = HfApi().get_paths_info("org/model", "model.safetensors")
    assert isinstance(listed, RepoFile) and listed.lfs is not None
    assert (listed.lfs.sha256, listed.size) == (hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    assert HfApi().list_repo_files("org/model") == [".gitattributes", "README.md", "config.json", "model.safetensors"]


def test_what_has_not_changed_is_not_uploaded_again(hub: FakeHub, tmp_path: Path) -> None:
    first = upload(tmp_path / "up")
    assert upload(tmp_path / "up") == first
    assert upload(tmp_path / "up", {**FILES, "config.json": b"{}"}) != first
    assert (hub.count("PUT lfs"), hub.count("commit")) == (1, 2)


def test_a_commit_and_a_tag_stay_while_the_branch_moves(hub: FakeHub) -> None:
    first = hub.publish("org/model", FILES)
    api = HfApi(token="hf_write")
    api.create_tag("org/model", tag="v1")
    api.create_branch("org/model", branch="old/one", revision=first)
    second = hub.publish("org/model", {"config.json": b"{}"})
    assert (api.model_info("org/model").sha, api.model_info("org/model", revision="v1").sha) == (second, first)
    for revision, content in ((first, CONFIG), ("v1", CONFIG), ("old/one", CONFIG), (second, b"{}"), (None, b"{}")):
        assert download("config.json", revision=revision) == content


def test_a_private_repository_is_there_for_tokens_only(hub: FakeHub, tmp_path: Path) -> None:
    HfApi(token="hf_write").create_repo("org/model", private=True)
    upload(tmp_path / "up")
    with pytest.raises(RepositoryNotFoundError):
        download()
    assert download(token="hf_read") == WEIGHTS
    HfApi(token="hf_write").update_repo_settings("org/model", private=False)
    assert download("config.json") == CONFIG


def test_what_is_deleted_is_gone(hub: FakeHub) -> None:
    hub.publish("org/model", FILES)
    HfApi(token="hf_write").delete_file("config.json", "org/model")
    with pytest.raises(RemoteEntryNotFoundError):
        download("config.json")
    HfApi(token="hf_write").delete_repo("org/model")
    with pytest.raises(RepositoryNotFoundError):
        download()


@pytest.mark.parametrize(("token", "status"), [("hf_unknown", 401), (False, 401), ("hf_read", 403)])
def test_writing_needs_a_token_that_may(hub: FakeHub, tmp_path: Path, token: str | bool, status: int) -> None:
    with pytest.raises(HfHubHTTPError) as refusal:
        upload(tmp_path / "up", token=token)
    assert refusal.value.response.status_code == status
    assert not (hub.root / "org/model").exists()
    assert HfApi(token="hf_write").whoami()["auth"]["accessToken"]["role"] == "write"


def test_an_interrupted_download_goes_on(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.publish("org/model", FILES)
    hub.fault("GET resolve", Truncated(5000))
    with contextlib.suppress(HTTPError):  # huggingface_hub 2 goes on by itself, 1 when it is called again
        download()
    assert download() == WEIGHTS
    assert [entry.status for entry in hub.log if entry.method == "GET"] == [200, 206]


def test_a_stall_ends_with_the_clients_patience(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.publish("org/model", FILES)
    hub.fault("GET resolve", Stalled(5000))
    assert download() == WEIGHTS
    assert hub.count("GET resolve") > 1


def test_the_cache_serves_without_a_hub_and_another_hub_has_the_same_files(hub: FakeHub) -> None:
    commit = hub.publish("org/model", FILES)
    download()
    hub.stop()
    assert download() == download(revision=commit) == WEIGHTS
    with pytest.raises(LocalEntryNotFoundError):
        download("config.json")
    with FakeHub(hub.root, hub.port):
        assert download("config.json") == CONFIG


FAULTS: list[tuple[str, Fault, type[BaseException]]] = [
    ("HEAD resolve", Status(401, message="Invalid credentials in Authorization header"), HfHubHTTPError),
    ("HEAD resolve", Status(403), LocalEntryNotFoundError),
    ("HEAD resolve", Status(404, "RepoNotFound"), RepositoryNotFoundError),
    ("HEAD resolve", Status(404, "RevisionNotFound"), RevisionNotFoundError),
    ("HEAD resolve", Status(404, "EntryNotFound"), RemoteEntryNotFoundError),
    ("HEAD resolve", Status(429), LocalEntryNotFoundError),
    ("HEAD resolve", Status(503), LocalEntryNotFoundError),
    ("HEAD resolve", Cut(), HTTPError),
    ("HEAD resolve", Cut(reset=True), HTTPError),
    ("GET resolve", Status(401), HfHubHTTPError),
    ("GET resolve", Status(403), HfHubHTTPError),
    ("GET resolve", Status(429, Retry_After="5"), HfHubHTTPError),
    ("GET resolve", Status(500), HfHubHTTPError),
    ("GET resolve", Cut(), HTTPError),
    ("GET resolve", Truncated(10), HTTPError),
    ("GET resolve", Truncated(10, reset=True), HTTPError),
]


@pytest.mark.parametrize(("kind", "fault", "error"), FAULTS)
def test_a_fault_of_a_download_ends_in_its_error_and_leaves_nothing_wrong(
    hub: FakeHub, kind: str, fault: Fault, error: type[BaseException]
) -> None:
    commit = hub.publish("org/model", FILES)
    hub.fault(kind, fault, times=ALWAYS, path="model.safetensors")
    assert download("config.json", revision=commit) == CONFIG
    with pytest.raises(error) as raised:
        download(revision=commit)
    # What httpx raises itself is no OSError, unlike what the client makes of an answer.
    assert type(raised.value) is error or (error is HTTPError and not isinstance(raised.value, OSError))
    hub.heal()
    assert download(revision=commit) == WEIGHTS


def test_the_client_does_not_see_wrong_content(hub: FakeHub) -> None:
    commit = hub.publish("org/model", FILES)
    hub.fault("GET resolve", Corrupted())
    wrong = download(revision=commit)
    assert (len(wrong), sum(a != b for a, b in zip(wrong, WEIGHTS, strict=True))) == (len(WEIGHTS), 1)
    assert download(revision=commit) == wrong  # not even later


def test_a_file_under_a_wrong_etag_is_cached_under_it(hub: FakeHub) -> None:
    hub.publish("org/model", FILES)
    hub.fault("HEAD resolve", WrongETag("f" * 64))
    assert Path(hf_hub_download("org/model", "model.safetensors")).resolve().name == "f" * 64


@pytest.mark.parametrize("kind", ["create", "preupload", "batch", "PUT lfs", "commit"])
@pytest.mark.parametrize("fault", [Cut(), Cut(reset=True), Status(403), Status(503)])
def test_a_push_that_fails_commits_nothing_and_succeeds_later(
    hub: FakeHub, tmp_path: Path, kind: str, fault: Fault
) -> None:
    hub.fault(kind, fault, times=ALWAYS)
    with pytest.raises((HTTPError, RuntimeError)) as raised:
        upload(tmp_path / "up")
    assert isinstance(raised.value, RuntimeError) == (kind == "PUT lfs")
    hub.heal()
    assert download(revision=upload(tmp_path / "up")) == WEIGHTS
    assert hub.count("commit") == 1 + (kind == "commit")


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub: FakeHub, tmp_path: Path) -> None:
    hub.fault("commit", Cut(done=True))
    with pytest.raises(HTTPError):
        upload(tmp_path / "up")
    commit = upload(tmp_path / "up")
    assert (hub.count("commit"), HfApi().model_info("org/model").sha) == (1, commit)


def test_retries_are_counted_and_not_waited_for(hub: FakeHub, waits: list[float]) -> None:
    hub.publish("org/model", FILES)
    hub.fault("GET resolve", Status(429), times=2)
    assert download() == WEIGHTS
    assert (hub.count("GET resolve"), len(waits)) == (3, 2)


def test_the_environment_of_the_user_is_out_of_sight() -> None:
    assert "HF_TOKEN" not in os.environ
    assert not Path(constants.HF_TOKEN_PATH).exists()
