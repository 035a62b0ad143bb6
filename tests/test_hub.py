"""To the Hub and back, with the real client and a Hub on the loopback: what is pushed is what is loaded, bit by bit."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from fakehub import Answer, Corrupted, FakeHub, Status
from oracles import assert_same_bits
from test_models import METHODS, make_graph, make_trained, other_arguments

import zoo
from zoo import hub as hub_module
from zoo import registry, weights
from zoo._files import resource
from zoo.cards import card
from zoo.cli import main
from zoo.datasets.transforms import add_self_loop
from zoo.errors import (
    CheckpointError,
    CheckpointNotFound,
    ConfigError,
    HubError,
    IntegrityError,
    RegistryError,
    ZooError,
)
from zoo.model import ZooModel

CHECKPOINTS = registry.list_checkpoints()
NAME = "gcn-csbm"


@pytest.fixture(autouse=True)
def _writable_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here has a Hub, and may write to it."""
    monkeypatch.setenv("HF_TOKEN", "hf_write")


@pytest.fixture
def own_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The zoo's registry is a copy, which pushes may write."""
    path = tmp_path / "checkpoints.json"
    shutil.copy(resource(path.name), path)
    for module in ("registry", "publishing"):
        monkeypatch.setattr(f"zoo.{module}.resource", lambda name: path if name == path.name else resource(name))
    return path


@pytest.fixture
def nothing_bundled(tmp_path: Path) -> Any:
    """Called, it hides the bundled checkpoints from `zoo.load`."""

    def hide() -> None:
        patch.setattr("zoo.weights.resource", lambda _: tmp_path / "nothing")

    with pytest.MonkeyPatch.context() as patch:
        yield hide


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def assert_same(model: ZooModel, other: ZooModel) -> None:
    assert type(model) is type(other)
    assert model.config == other.config
    assert_same_bits(model.state_dict(), other.state_dict())


def cached_file(tmp_path: Path, file: str = "model.safetensors") -> Path:
    (path,) = (tmp_path / "cache").glob(f"models--*/snapshots/*/{file}")
    return path


def break_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


# To the Hub and back


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_comes_back_bit_by_bit_and_stays_without_a_network(
    name: str, hub: FakeHub, own_registry: Path, nothing_bundled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = zoo.load(name)
    address = zoo.push(name, "org")
    entry = registry.info(name)
    assert address == f"hf://{entry.hub.repo_id}@{entry.hub.revision}"
    assert (entry.hub.repo_id, len(str(entry.hub.revision))) == (f"org/{name}", 40)
    nothing_bundled()
    assert_same(zoo.load(name), bundled)
    folder = zoo.pull(name)
    for file in hub_module.FILES:
        assert (folder / file).read_bytes() == (resource("pretrained") / name / file).read_bytes()
    hub.stop()
    go_offline(monkeypatch)
    assert_same(zoo.load(name), bundled)
    assert_same(zoo.load(address), bundled)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", ["defaults", "others"])
def test_every_model_class_keeps_every_argument(method: str, options: str) -> None:
    arguments = other_arguments(method) if options == "others" else {}
    graph = add_self_loop(make_graph())
    model = make_trained(method, graph, **arguments)
    address = model.push_to_hub("org/mine")
    repo_id, _, commit = address.removeprefix("hf://").partition("@")
    for loaded in (zoo.load(address), zoo.models.get(method).from_pretrained(repo_id, revision=commit)):
        assert json.loads(json.dumps(model.config)) == loaded.config
        assert not loaded.training
        assert_same_bits(model.state_dict(), loaded.state_dict())
        assert torch.equal(loaded(graph), model(graph))


def test_a_model_is_saved_and_pushed_at_once(hub: FakeHub, tmp_path: Path) -> None:
    model = zoo.load(NAME)
    for options, message in (
        ({"push_to_hub": True}, "push_to_hub=True needs repo_id"),
        ({"push_to_hb": True, "repo_id": "org/mine"}, "repo_id, push_to_hb: only with push_to_hub=True"),
    ):
        with pytest.raises(ConfigError, match=message):
            model.save_pretrained(tmp_path / "mine", **options)
    assert not (tmp_path / "mine").exists()
    address = model.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="org/mine")
    assert address is not None
    assert weights.digest(zoo.load(address)) == weights.digest(zoo.load(tmp_path / "mine"))
    for name in ("branch", "revision"):
        with pytest.raises(CheckpointNotFound, match="no such commit, branch or tag"):
            model.push_to_hub("org/mine", **{name: "next"})


def test_a_card_tells_how_its_model_was_trained(hub: FakeHub, tmp_path: Path) -> None:
    model, result = zoo.load(NAME), {"metric": "accuracy", "val": 1.0, "test": 1.0}
    assert '"lr": 0.01' in card(model, "org/mine", entry=registry.info(NAME))
    assert '"source": "there"' in card(model, "org/mine", result={**result, "settings": {"source": "there"}})
    assert "## Training" not in card(model, "org/mine", result={**result, "settings": None})


@pytest.mark.filterwarnings("ignore:.*new and untrained:UserWarning")
def test_a_fine_tuned_model_is_a_checkpoint_like_any_other(hub: FakeHub, tmp_path: Path) -> None:
    digits = zoo.datasets.load("digits")
    run = zoo.finetune(NAME, digits, epochs=3, folder=tmp_path / "my-digits")
    address = zoo.push(tmp_path / "my-digits", "org")
    assert address.startswith("hf://org/my-digits@")
    assert_same(zoo.load(address), run.model)
    assert zoo.evaluate(zoo.load(address), digits).value == run.test
    assert f"accuracy {run.test:.2f} on test" in read(hub, "org/my-digits", "README.md").decode()
    assert zoo.finetune(address, digits, epochs=1).val > 0


def read(hub: FakeHub, repo_id: str, file: str) -> bytes:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(repo_id, file)).read_bytes()


# Pushing


def test_a_second_push_changes_nothing_and_another_model_updates(hub: FakeHub) -> None:
    model = zoo.load(NAME)
    first = zoo.push(model, "org/mine")
    uploads = hub.count("lfs")
    assert zoo.push(model, "org/mine") == first
    assert hub.count("lfs") == uploads
    changed = zoo.load(NAME)
    torch.nn.init.zeros_(next(changed.parameters()))
    second = zoo.push(changed, "org/mine", commit_message="zeros")
    assert second != first
    assert_same(zoo.load("hf://org/mine"), changed)
    assert_same(zoo.load(first), model)


def test_all_is_resumed_where_it_broke_off(hub: FakeHub, own_registry: Path) -> None:
    pushed = zoo.push_all("org")
    done = [next(pushed) for _ in range(2)]
    hub.fault("commit", Status(403))
    with pytest.raises(HubError, match="the Hub forbids it"):
        next(pushed)
    assert [name for name in CHECKPOINTS if registry.info(name).hub.repo_id] == [name for name, _ in done]
    commits = hub.count("commit")
    again = list(zoo.push_all("org"))
    assert [name for name, _ in again] == CHECKPOINTS
    assert again[:2] == done
    assert hub.count("commit") == commits + len(CHECKPOINTS) - 2
    assert list(zoo.push_all("org")) == again
    assert hub.count("commit") == commits + len(CHECKPOINTS) - 2


def test_a_private_repository_needs_a_token_until_it_is_made_public(hub: FakeHub) -> None:
    model = zoo.load(NAME)
    address = zoo.push(model, "org/mine", private=True)
    assert_same(zoo.load(address, token="hf_read"), model)
    shutil.rmtree(Path(zoo.pull(address)).parents[2])
    with pytest.raises(CheckpointNotFound, match="no such repository, or it is private and your token does not open"):
        zoo.load(address, token=False)
    zoo.push(model, "org/mine")  # as it is
    with pytest.raises(CheckpointNotFound, match="or it is private"):
        zoo.load(address, token=False)
    zoo.push(model, "org/mine", private=False)
    assert_same(zoo.load(address, token=False), model)


def test_a_branch_can_be_pushed_to(hub: FakeHub) -> None:
    from huggingface_hub import HfApi

    model = zoo.load(NAME)
    zoo.push(model, "org/mine")
    HfApi().create_branch("org/mine", branch="next")
    torch.nn.init.zeros_(next(model.parameters()))
    zoo.push(model, "org/mine", revision="next")
    assert_same(zoo.load("hf://org/mine@next"), model)
    assert not torch.equal(next(zoo.load("hf://org/mine").parameters()), next(model.parameters()))
    with pytest.raises(CheckpointNotFound, match="has no such commit, branch or tag"):
        zoo.push(model, "org/mine", revision="none")


def test_a_registry_that_cannot_be_written_stops_the_push_before_it_begins(
    hub: FakeHub, own_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.publishing.os.access", lambda *_: False)
    with pytest.raises(RegistryError, match=r"cannot be written, .*; nothing was uploaded"):
        zoo.push(NAME, "org")
    assert hub.log == []


def test_what_cannot_be_pushed_is_said_before_it_begins(hub: FakeHub, tmp_path: Path) -> None:
    for to in ("", "org/", "../x", "a/b/c", "org name/x", "org", None):
        with pytest.raises(CheckpointNotFound, match="cannot be a repository: expected organisation/name"):
            zoo.push(zoo.load(NAME), to)  # type: ignore[arg-type]
    with pytest.raises(CheckpointNotFound, match="no checkpoint 'gcn-csb': did you mean gcn-csbm"):
        zoo.push("gcn-csb", "org")
    for folder in ("./none", "~nobody-has-this-name/x"):
        with pytest.raises(CheckpointNotFound, match="there is no such folder"):
            zoo.push(folder, "org")
    with pytest.raises(CheckpointNotFound, match="'org/one' is one repository, but each checkpoint needs its own"):
        next(zoo.push_all("org/one"))
    model = zoo.load(NAME)
    model.head = torch.nn.Linear(16, 2)
    with pytest.raises(ConfigError, match=r"could not be loaded again is not saved: .* does not fit GCN"):
        zoo.push(model, "org/mine")
    zoo.load(NAME).save_pretrained(tmp_path / "mine")
    (tmp_path / "mine" / "result.json").write_text('{"metric": "accuracy"}')
    with pytest.raises(CheckpointError, match="is not the result of a run"):
        zoo.push(tmp_path / "mine", "org")
    assert hub.log == []


@pytest.mark.parametrize(
    ("token", "error", "message"),
    [("hf_none", HubError, "wants a token"), ("hf_read", HubError, "may lack the right to write")],
)
def test_a_token_that_may_not_write_is_one_clear_error(token: str, error: type[ZooError], message: str) -> None:
    with pytest.raises(error, match=message):
        zoo.push(zoo.load(NAME), "org/mine", token=token)


@pytest.mark.parametrize("token", ["", "hf_write ", "hf_wri\nte", "hf_wrïte"])
def test_what_cannot_be_a_token_is_not_sent_and_not_shown(token: str, hub: FakeHub) -> None:
    for call in (lambda: zoo.push(zoo.load(NAME), "org/mine", token=token), lambda: zoo.load("hf://a/b", token=token)):
        with pytest.raises(HubError, match="the token is empty, or has a space") as raised:
            call()
        assert "hf_w" not in str(raised.value)
    assert hub.log == []


def test_a_checkpoint_that_changes_while_it_is_pushed_is_not_pinned(
    hub: FakeHub, own_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.info(NAME)
    other = dataclasses.replace(entry, weights=registry.Weights("0" * 64, 1))
    cases = {"one": {**registry.read(), NAME: other}, "two": {"gcn-cora": registry.info("gcn-cora")}}
    for organisation, entries in cases.items():

        def change(handle: Any, entries: Any = entries) -> Answer:
            registry.write(entries, own_registry)
            answer: Answer = handle()
            return answer

        before = own_registry.read_bytes()
        hub.fault("commit", change)
        with pytest.raises(RegistryError, match="has changed while it was pushed: push it again"):
            zoo.push(NAME, organisation)
        own_registry.write_bytes(before)


def test_a_new_private_repository_needs_no_second_request(hub: FakeHub) -> None:
    zoo.push(zoo.load(NAME), "org/mine", private=True)
    assert hub.count("settings") == 0
    zoo.push(zoo.load(NAME), "org/mine", private=False)
    assert hub.count("settings") == 1


def test_a_licence_is_named_only_if_it_is_given(hub: FakeHub) -> None:
    from huggingface_hub import ModelCard

    zoo.push(zoo.load(NAME), "org/mine")
    assert ModelCard.load("org/mine").data.license is None
    zoo.push(zoo.load(NAME), "org/mine", license="mit")
    assert ModelCard.load("org/mine").data.license == "mit"


# The card


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_card_tells_what_the_registry_knows(name: str, hub: FakeHub, own_registry: Path) -> None:
    from huggingface_hub import ModelCard

    zoo.push(name, "org")
    entry, loaded = registry.info(name), ModelCard.load(f"org/{name}")
    (result,) = loaded.data.eval_results or []
    assert (result.metric_type, result.metric_value) == (entry.score.metric, entry.score.value)
    assert entry.dataset == result.dataset_type
    assert loaded.data.license == entry.license.lower()
    text = loaded.text
    told = [entry.dataset, entry.split, entry.verdict, entry.weights.sha256, f"zoo train {entry.recipe}", entry.method]
    told += [f"{entry.score.value:.2f}", f"{entry.runs.mean:.2f}" + (" ± " if entry.runs.n > 1 else "")]
    told += [entry.published.source, f"{entry.published.value:.2f}"] if entry.published else []
    for fact in told:
        assert fact in text, fact
    assert f'zoo.load("hf://org/{name}")' in text
    assert zoo.load(name).citation in text
    assert ":math:" not in text
    assert ".. math" not in text
    assert text.count("$$") % 2 == 0


def test_formulas_in_a_card_are_the_docstrings() -> None:
    text = card(zoo.load("gcn-cora"), "org/x")
    assert r"$$ H^{(l+1)} = \mathrm{ReLU}" in " ".join(text.split())
    assert r"\tilde A = A + I $$" in " ".join(text.split())
    assert "None was recorded." in text


# Loading


def test_a_pinned_commit_stays_where_a_branch_moves(hub: FakeHub, own_registry: Path, nothing_bundled: Any) -> None:
    first = zoo.load(NAME)
    address = zoo.push(NAME, "org")
    other = zoo.load(NAME)
    torch.nn.init.zeros_(next(other.parameters()))
    nothing_bundled()
    zoo.push(other, f"org/{NAME}")
    for source in (NAME, address):
        assert_same(zoo.load(source), first)
    assert_same(zoo.load(f"hf://org/{NAME}"), other)
    assert_same(zoo.load(NAME, revision="main"), other)


def test_both_files_are_of_one_commit_even_while_the_branch_moves(hub: FakeHub) -> None:
    first, second = zoo.load(NAME), zoo.load("gcn-cora")
    zoo.push(first, "org/mine")
    files = {file: (resource("pretrained") / "gcn-cora" / file).read_bytes() for file in hub_module.FILES}

    def move(handle: Any) -> Answer:
        answer: Answer = handle()
        hub.publish("org/mine", files)
        return answer

    hub.fault("GET resolve", move, path="config.json")
    assert_same(zoo.load("hf://org/mine"), first)
    assert_same(zoo.load("hf://org/mine"), second)


def test_two_processes_pull_at_once(hub: FakeHub, tmp_path: Path) -> None:
    address = zoo.push(zoo.load(NAME), "org/mine")
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "shared-cache")}
    script = f"import zoo; print(zoo.pull({address!r}))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script], env=environment, stdout=subprocess.PIPE, text=True,
            cwd=resource("checkpoints.json").parent,
        )
        for _ in range(2)
    ]
    folders = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    (folder,) = folders
    assert_same(zoo.load(Path(folder)), zoo.load(NAME))
    assert not list((tmp_path / "shared-cache").rglob("*.incomplete"))


def test_the_hubs_usual_words(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.load(NAME)
    address = zoo.push(model, "org/mine")
    commit = address.partition("@")[2]
    for local_files_only in (False, True):
        loaded = zoo.load(
            "hf://org/mine", revision=commit, cache_dir=tmp_path / "other", local_files_only=local_files_only
        )
        assert_same(loaded, model)
    with pytest.raises(CheckpointNotFound, match="not in the cache, and may not be fetched"):
        zoo.load(address, local_files_only=True)
    zoo.load(address)
    gets = hub.count("GET resolve")
    zoo.load(address)
    assert hub.count("GET resolve") == gets
    zoo.load(address, force_download=True)
    assert hub.count("GET resolve") == gets + 2
    with pytest.raises(CheckpointNotFound, match="names a revision already"):
        zoo.load(address, revision="main")
    go_offline(monkeypatch)
    assert_same(zoo.load(address), model)
    assert_same(zoo.load("hf://org/mine", revision=commit), model)
    with pytest.raises(CheckpointNotFound, match="may not be fetched"):
        zoo.load("hf://org/other")


def test_a_hub_that_is_gone_leaves_what_is_cached(hub: FakeHub) -> None:
    model = zoo.load(NAME)
    zoo.push(model, "org/mine")
    zoo.load("hf://org/mine")
    hub.stop()
    with pytest.warns(UserWarning, match="org/mine: the Hub does not answer; taken from the cache"):
        assert_same(zoo.load("hf://org/mine"), model)
    with pytest.raises(HubError, match="cannot be reached"):
        zoo.load("hf://org/other")


@pytest.mark.parametrize("file", hub_module.FILES)
def test_a_cached_file_that_has_changed_is_fetched_anew(hub: FakeHub, tmp_path: Path, file: str) -> None:
    model = zoo.load(NAME)
    address = zoo.push(model, "org/mine")
    zoo.load(address)
    break_file(cached_file(tmp_path, file))
    assert_same(zoo.load(address), model)
    gets = hub.count("GET resolve")
    assert_same(zoo.load(address), model)
    assert hub.count("GET resolve") == gets


@pytest.mark.parametrize("file", hub_module.FILES)
def test_a_cached_file_that_has_changed_is_not_loaded_without_a_network(
    hub: FakeHub, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = zoo.push(zoo.load(NAME), "org/mine")
    zoo.load(address)
    break_file(cached_file(tmp_path, file))
    go_offline(monkeypatch)
    with pytest.raises(IntegrityError, match=f"{file} of org/mine@.* is not what its checksum on the Hub says"):
        zoo.load(address)
    with pytest.raises(CheckpointNotFound, match="not in the cache"):
        zoo.load(address)


def test_the_registrys_sha256_counts_even_if_the_hub_agrees_with_itself(
    hub: FakeHub, own_registry: Path, nothing_bundled: Any
) -> None:
    other = zoo.load(NAME)
    torch.nn.init.zeros_(next(other.parameters()))
    commit = zoo.push(other, "org/other").partition("@")[2]
    entry = dataclasses.replace(registry.info(NAME), hub=registry.Hub("org/other", commit))
    registry.write({**registry.read(), NAME: entry}, own_registry)
    nothing_bundled()
    with pytest.raises(IntegrityError, match="was changed: its sha256 is"):
        zoo.load(NAME)


def test_without_symbolic_links_a_file_is_compared_when_it_is_fetched(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: False)
    model = zoo.load(NAME)
    address = zoo.push(model, "org/mine")
    hub.fault("GET resolve", Corrupted(), path="model.safetensors")
    assert_same(zoo.load(address), model)
    assert not cached_file(tmp_path).is_symlink()
    hub.fault("GET resolve", Corrupted(), path="model.safetensors", times=9)
    with pytest.raises(IntegrityError, match="is not what its checksum on the Hub says"):
        zoo.load(address, cache_dir=tmp_path / "other")


@pytest.mark.parametrize("key", ["dropout", "transforms"])
def test_a_config_that_is_not_the_weights_own_is_refused(hub: FakeHub, key: str) -> None:
    files = weights.files(zoo.load(NAME))
    changed = {**json.loads(files["config.json"]), key: 0.9 if key == "dropout" else []}
    hub.publish("org/x", {**files, "config.json": json.dumps(changed).encode()})
    with pytest.raises(IntegrityError, match="was changed: the weights were written with another config"):
        zoo.load("hf://org/x")


def test_a_cached_file_that_cannot_be_read_is_one_clear_error(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    address = zoo.push(zoo.load(NAME), "org/mine")
    zoo.load(address)

    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "the file")

    monkeypatch.setattr("zoo.hub._is_sound", forbidden)
    with pytest.raises(HubError, match=r"the cache cannot be used \(Permission denied: the file\)"):
        zoo.load(address)


def test_a_repository_named_without_its_scheme_is_guessed() -> None:
    with pytest.raises(CheckpointNotFound, match="there is no such folder: did you mean hf://org/mine"):
        zoo.load("org/mine")


def test_a_stranger_can_name_a_model_of_the_zoo_and_no_more(hub: FakeHub) -> None:
    content = (resource("pretrained") / NAME / "model.safetensors").read_bytes()
    for config, message in [
        (b'{"method": "os.system"}', "unknown method 'os.system'"),
        (b'{"method": "gcn", "__class__": "x"}', "has no argument '__class__'"),
        (b'{"architectures": ["BertModel"]}', "does not describe a model"),
    ]:
        hub.publish("org/strange", {"config.json": config, "model.safetensors": content})
        with pytest.raises(CheckpointError, match=message):
            zoo.load("hf://org/strange")
    hub.publish("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"cos\nsystem\n"})
    with pytest.raises(CheckpointNotFound, match="no such file, so it is not one of a zoo"):
        zoo.load("hf://org/pickled")
    assert not any("pytorch_model" in entry.path for entry in hub.log)


@pytest.mark.parametrize("source", ["hf://", "hf://org", "hf://org/x@", "hf://../x", "hf://org/x/y", "hf://org/a b@c"])
def test_an_address_that_is_none_is_refused(source: str, hub: FakeHub) -> None:
    with pytest.raises(CheckpointNotFound, match=r"is not of the form hf://organisation/name\[@revision\]"):
        zoo.load(source)
    assert hub.log == []


@pytest.mark.parametrize("revision", ["../../x", "/etc", "a b", "a\nb", "é"])
def test_a_revision_that_could_be_a_path_is_refused(revision: str, hub: FakeHub) -> None:
    with pytest.raises(CheckpointNotFound, match="cannot be a commit, branch or tag"):
        zoo.load("hf://org/mine", revision=revision)
    assert hub.log == []


def test_from_pretrained_wants_its_own_class(hub: FakeHub) -> None:
    zoo.push(zoo.load(NAME), "org/mine")
    with pytest.raises(CheckpointError, match="is a GCN, not a GAT"):
        zoo.models.get("gat").from_pretrained("org/mine")
    for source, message in {
        "org/none": "org/none",
        "hf://none": "'hf://none' is not of the form hf://organisation/name",
        "../x/y/z": "'../x/y/z': there is no such folder",
        "no such folder": "'no such folder': there is no such folder",
        NAME: f"there is no such folder: zoo.load\\('{NAME}'\\) loads the zoo's checkpoint",
    }.items():
        with pytest.raises(CheckpointNotFound, match=message):
            zoo.models.get("gcn").from_pretrained(source)
    with pytest.warns(UserWarning, match="new and untrained: head"):
        assert zoo.models.get("gcn").from_pretrained("org/mine", num_classes=9).num_classes == 9
    for place in ("org/mine", resource("pretrained") / NAME):
        with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
            zoo.models.get("gcn").from_pretrained(place, bogus=9)


def test_other_widths_from_the_hub(hub: FakeHub) -> None:
    address = zoo.push(zoo.load(NAME), "org/mine")
    with pytest.warns(UserWarning, match=r"new and untrained: .*head.*; dropped: .*head"):
        model = zoo.load(address, in_feats=5, num_classes=7)
    assert (model.in_feats, model.num_classes) == (5, 7)


# The command line


def test_push_pull_and_verify_on_the_command_line(
    hub: FakeHub, own_registry: Path, nothing_bundled: Any, tmp_path: Path
) -> None:
    pushed = run("push", NAME, "gcn-cora", "org", "--private", "--message", "first")
    assert pushed.exit_code == 0
    for name in (NAME, "gcn-cora"):
        assert f"{name}  hf://org/{name}@{registry.info(name).hub.revision}" in pushed.output
    assert run("push", NAME).exit_code == 2  # no organisation
    assert run("push", "a", "b", "org/one").exit_code == 2
    assert run("push", "--all", "org/one").exit_code == 2
    assert "say --all" in run("push", "org").output
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing_bundled()
        pulled = run("pull", NAME, "hf://org/gcn-cora", "none")
    assert pulled.exit_code == 2
    assert "no checkpoint 'none'" in pulled.output
    assert str(tmp_path / "cache") in pulled.output
    verified = run("verify", NAME, "--remote")
    assert verified.exit_code == 0
    assert verified.output.split()[-4:] == [NAME, "-", "ok", "ok"]
    break_file(zoo.pull(NAME) / "config.json")
    broken = run("verify", NAME)
    assert broken.exit_code == 2
    assert "BROKEN" in broken.output
    assert f"zoo: {NAME}, cached: " in broken.output


def test_verify_finds_what_the_hub_has_wrong(hub: FakeHub, own_registry: Path) -> None:
    zoo.push(NAME, "org")
    assert zoo.verify(NAME, remote=True) == {"bundled": "ok", "cached": "-", "remote": "ok"}
    other = zoo.load(NAME)
    torch.nn.init.zeros_(next(other.parameters()))
    commit = zoo.push(other, "org/other").partition("@")[2]
    entry = registry.info(NAME)
    for there, message in [
        (registry.Hub("org/other", commit), "was changed: its sha256 is"),
        (registry.Hub("org/none", commit), "there is no such repository"),
        (registry.Hub("org/other", "0" * 40), "no such commit"),
    ]:
        registry.write({**registry.read(), NAME: dataclasses.replace(entry, hub=there)}, own_registry)
        assert message in zoo.verify(NAME, remote=True)["remote"]
    assert zoo.verify("gcn-cora", remote=True) == {"bundled": "ok", "cached": "-", "remote": "-"}
