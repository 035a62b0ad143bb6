"""Importing and listing are light."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from packaging.version import Version


@pytest.mark.parametrize(
    "code",
    [
        "import zoo",
        "import zoo; zoo.list_checkpoints(); zoo.list_recipes(); zoo.datasets.list_datasets(); dir(zoo)",
        "import sys; sys.argv = ['zoo', 'list']; from zoo.cli import main; main(standalone_mode=False)",
    ],
)
def test_neither_torch_nor_dgl_is_imported(code: str) -> None:
    check = "import sys; assert not {'torch', 'dgl', 'numpy', 'scipy', 'huggingface_hub'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", f"{code}; {check}"], check=True, capture_output=True)


@pytest.mark.skipif(Version(version("torch")) < Version("2.6"), reason="older ones import it for every model")
def test_loading_bundled_checkpoints_imports_neither_the_hubs_client_nor_torchs_compiler() -> None:
    before = "import sys, torch, zoo; from zoo._dgl import dgl; there = set(sys.modules)"
    load = "[zoo.load(name) for name in zoo.list_checkpoints()]"
    check = "assert not {'huggingface_hub', 'sympy', 'torch._dynamo'} & (sys.modules.keys() - there)"
    subprocess.run([sys.executable, "-c", f"{before}; {load}; {check}"], check=True, capture_output=True)


def test_every_public_name_is_there() -> None:
    import zoo

    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = zoo.lode


def test_the_analysis_is_within_reach() -> None:
    import zoo

    model, graph = zoo.load("cna-gcn-digits"), zoo.datasets.load("digits")
    (energy,) = zoo.analysis.per_layer(model, graph)
    state = model.encode(model.prepare(graph))
    assert energy == float(zoo.analysis.dirichlet_energy(graph, state.detach())) > 0


def test_functions_are_not_hidden_by_modules() -> None:
    import importlib
    import pkgutil

    import zoo

    for module in pkgutil.iter_modules(zoo.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"zoo.{module.name}")
    assert all(callable(getattr(zoo, name)) for name in zoo.__all__ if name not in zoo._MODULES)
