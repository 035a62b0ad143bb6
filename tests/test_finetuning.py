"""A checkpoint goes on learning on another graph."""

from pathlib import Path

import pytest
import torch

import zoo
from zoo.errors import CheckpointNotFound, ConfigError, GraphError

pytestmark = pytest.mark.filterwarnings("ignore:.*new and untrained:UserWarning")


@pytest.fixture(scope="module")
def digits() -> object:
    return zoo.datasets.load("digits")


def test_a_checkpoint_with_other_widths_learns_digits(digits: object, tmp_path: Path) -> None:
    run = zoo.finetune("gcn-csbm", digits, epochs=60, lr=0.02, folder=tmp_path)
    assert run.test > 80
    assert run.model.load_report is not None
    assert {"convs.0.linear.weight", "head.linear.weight"} <= set(run.model.load_report.new)
    read = zoo.load_folder(tmp_path)
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(read.state_dict()[name], tensor)


def test_starting_from_a_checkpoint_beats_starting_from_nothing(digits: object) -> None:
    assert zoo.finetune("cna-gcn-digits", digits, epochs=1, lr=1e-4).test > 95
    assert zoo.finetune("gcn-csbm", digits, epochs=1, lr=1e-4).test < 50


def test_freezing_trains_the_head_and_what_is_new_only(digits: object) -> None:
    before = zoo.load("cna-gcn-digits").state_dict()
    run = zoo.finetune("cna-gcn-digits", digits, epochs=3, freeze=True)
    for name, parameter in run.model.named_parameters():
        assert torch.equal(parameter, before[name]) != name.startswith("head."), name


def test_the_same_seed_gives_the_same_bits(digits: object) -> None:
    runs = [zoo.finetune("gcn-csbm", digits, epochs=3, seed=5) for _ in range(2)]
    for name, tensor in runs[0].model.state_dict().items():
        assert torch.equal(runs[1].model.state_dict()[name], tensor)


def test_an_interrupted_run_ends_with_the_same_bits(digits: object, tmp_path: Path) -> None:
    from zoo.training import loop

    whole = zoo.finetune("gcn-csbm", digits, epochs=6)
    calls = 0

    def stop_at_four(*arguments: object) -> float:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return step(*arguments)  # type: ignore[arg-type]

    step = loop._step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_step", stop_at_four)
        with pytest.raises(KeyboardInterrupt):
            zoo.finetune("gcn-csbm", digits, epochs=6, folder=tmp_path, save_every=0)
    resumed = zoo.finetune("gcn-csbm", digits, epochs=6, folder=tmp_path)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor)


def test_bad_arguments_are_clear_errors(digits: object) -> None:
    with pytest.raises(CheckpointNotFound, match="no checkpoint 'gcn-none'"):
        zoo.finetune("gcn-none", digits)
    with pytest.raises(ConfigError, match="epochs ≥ 1"):
        zoo.finetune("gcn-csbm", digits, epochs=0)
    with pytest.raises(GraphError, match="the graph lacks ndata label"):
        zoo.finetune("gcn-csbm", zoo.datasets.from_arrays([[0], [1]], torch.ones(2, 3)))
