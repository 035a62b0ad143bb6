"""How DGL is imported: each case in a process of its own, most of them in a world of fake packages."""

import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import packaging
import pytest
import torch
from packaging.requirements import Requirement

import zoo
from zoo._dgl import _NEEDS, dgl

ROOT = Path(__file__).parents[1]
SHOW = """
try:
    from zoo._dgl import dgl
except Exception as error:
    from zoo.errors import ZooError
    assert isinstance(error, ImportError) and isinstance(error, ZooError), repr(error)
    assert error.__suppress_context__ or not error.__context__, "one screen, not two tracebacks"
    print(error)
else:
    print("imported", dgl.__version__)
"""
INIT = "from . import backend, data\n__version__ = '2.1.0'\nclass DGLGraph: pass\n"
GRAPHBOLT = "raise FileNotFoundError('Cannot find DGL C++ graphbolt library')\n"


class World:
    """A folder with the only packages that Python sees beside its standard library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "home").mkdir()
        (folder / "zoo").mkdir()
        (folder / "zoo" / "__init__.py").touch()
        for name in ("_dgl.py", "errors.py"):
            shutil.copy(Path(zoo.__path__[0]) / name, folder / "zoo")
        (folder / "packaging").symlink_to(Path(packaging.__path__[0]))
        self.add("torch", "2.13.0+cpu", {"__init__.py": "__version__ = '2.13.0+cpu'\n"})

    def add(self, name: str, version: str, files: Mapping[str, str]) -> None:
        for path, text in {**files, f"../{name}-{version}.dist-info/METADATA": f"Version: {version}\n"}.items():
            place = self.folder / name / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)

    def add_dgl(self, version: str = "2.1.0", **changed: str) -> None:
        """Adds a DGL with the parts that matter here; `changed` replaces the text of some."""
        files = {
            "__init__": INIT.replace("2.1.0", version),
            "_ffi/__init__": "",
            "_ffi/libinfo": "def find_lib_path(): return [__file__.replace('_ffi/libinfo.py', 'libdgl.so')]\n",
            "backend": "backend_name = 'pytorch'\n",
            "data": "from . import graphbolt\n",
            "graphbolt/__init__": GRAPHBOLT,
        }
        self.add("dgl", version, {f"{path}.py": text for path, text in {**files, **changed}.items()})

    def run(self, code: str = SHOW, **environment: str) -> str:
        variables = {"PYTHONPATH": str(self.folder), "HOME": str(self.folder / "home"), **environment}
        command = [sys.executable, "-S", "-W", "default", "-c", textwrap.dedent(code)]  # -S: no site-packages
        done = subprocess.run(command, env=variables, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        return done.stdout.strip()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_needs_are_those_of_pyproject() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirements = {Requirement(text).name: text for text in declared}
    assert {name: requirements[name] for name in _NEEDS} == _NEEDS


def test_stands_in_for_graphbolt_only_where_it_would_not_load(world: World) -> None:
    world.add_dgl()
    code = """
        from zoo._dgl import dgl
        import sys
        for statement in (
            "dgl.graphbolt.ItemSampler",
            "from dgl.graphbolt import ItemSampler",
            "import dgl.graphbolt.impl",
            "import dgl.graphbolt as gb; gb.ItemSampler",
        ):
            try:
                exec(statement)
            except (AttributeError, ImportError) as error:
                print(type(error).__name__, error)
        print(hasattr(sys.modules["dgl.graphbolt"], "anything"))
    """
    *told, there = world.run(code).splitlines()
    assert [line.split()[0] for line in told] == ["AttributeError", "ImportError", "ImportError", "AttributeError"]
    assert all("DGL 2.1.0 has no GraphBolt that loads beside PyTorch 2.13.0+cpu" in line for line in told)
    assert there == "False"


def test_leaves_a_graphbolt_alone_that_loads(world: World) -> None:
    world.add_dgl(**{"graphbolt/__init__": "import torchdata.datapipes\nItemSampler = 'real'\n"})
    (world.folder / "dgl" / "graphbolt" / "libgraphbolt_pytorch_2.13.0.so").touch()
    for name in ("torchdata/datapipes", "pydantic", "yaml"):
        world.add(name, "1", {"__init__.py": ""})
    code = "from zoo._dgl import dgl; print(dgl.graphbolt.ItemSampler)"
    assert world.run(code) == "real"
    shutil.rmtree(world.folder / "torchdata" / "datapipes")  # as newer releases of torchdata have done
    assert world.run() == "imported 2.1.0"


def test_dgl_without_graphbolt_gets_no_stand_in(world: World) -> None:
    world.add_dgl("1.1.3", data="")
    shutil.rmtree(world.folder / "dgl" / "graphbolt")
    code = "from zoo._dgl import dgl; import sys; print('dgl.graphbolt' in sys.modules)"
    assert world.run(code) == "False"


def test_uses_a_dgl_that_is_already_imported(world: World) -> None:
    world.add_dgl(**{"graphbolt/__init__": "ItemSampler = 'mine'\n"})
    code = """
        import dgl as mine
        from zoo._dgl import dgl
        import os
        print(dgl is mine, dgl.graphbolt.ItemSampler, os.environ.get("DGLBACKEND"))
    """
    assert world.run(code) == "True mine None"


def test_recovers_from_an_earlier_failed_import(world: World) -> None:
    world.add_dgl()
    code = """
        import sys
        try:
            import dgl
        except FileNotFoundError:
            assert "dgl" not in sys.modules and "dgl.backend" in sys.modules
        torso = sys.modules["dgl.backend"]
        from zoo._dgl import dgl
        print(dgl.backend is sys.modules["dgl.backend"], dgl.backend is torso)
    """
    assert world.run(code) == "True False"


def test_an_error_leaves_nothing_half_loaded_and_can_be_mended(world: World) -> None:
    world.add_dgl(backend="import needed\nbackend_name = 'pytorch'\n")
    code = f"""
        import sys, types
        try:
            import zoo._dgl
        except ImportError as error:
            print(error)
        assert not [name for name in sys.modules if name.startswith("dgl")]
        sys.modules["needed"] = types.ModuleType("needed")
        {SHOW.strip().replace(chr(10), chr(10) + " " * 8)}
    """
    told = world.run(code)
    assert 'python -m pip install "needed"' in told
    assert told.splitlines()[-1] == "imported 2.1.0"


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    # case: what is changed in the world's DGL, what the error says, what it advises
    "no DGL": ({"absent": "dgl"}, "The package dgl is not installed.", 'pip install "dgl>=1.1.3,<2.5"'),
    "no PyTorch": ({"absent": "torch"}, "The package torch is not installed.", 'pip install "torch>=2.4,<2.14"'),
    "no packaging": ({"absent": "packaging"}, "The package packaging is not installed.", 'pip install "packaging"'),
    "too old": ({"version": "0.9.1"}, "dgl 0.9.1 is too old or too new.", 'pip install "dgl>=1.1.3,<2.5"'),
    "too new": ({"version": "3.0.0"}, "dgl 3.0.0 is too old or too new.", 'pip install "dgl>=1.1.3,<2.5"'),
    "too old and broken": (
        {"version": "0.9.1", "data": "from numpy import bool\n", "backend": "raise OSError('libcudart.so.10')\n"},
        "dgl 0.9.1 is too old or too new. It raised OSError: libcudart.so.10",
        'pip install "dgl>=1.1.3,<2.5"',
    ),
    "a library that does not load": (
        {"backend": "import ctypes; ctypes.CDLL('libdoes-not-exist.so')\n"},
        "Importing it failed in dgl: OSError: libdoes-not-exist.so",
        'pip install --force-reinstall "torch>=2.4,<2.14" "dgl>=1.1.3,<2.5"',
    ),
    "no library at all": (
        {"_ffi/libinfo": "def find_lib_path(): raise RuntimeError('Cannot find the files.\\nCandidates: …')\n"},
        "Importing it failed in dgl: RuntimeError: Cannot find the files.\n",
        'pip install --force-reinstall "torch>=2.4,<2.14" "dgl>=1.1.3,<2.5"',
    ),
    "a needed package that is missing": (
        {"data": "try:\n    import pandas\nexcept ImportError as error:\n    raise RuntimeError('vague') from error\n"},
        "The package pandas is not installed.",
        'pip install "pandas"',
    ),
    "a needed package that does not load": (
        {"data": "import numpy\n", "numpy": "raise ImportError('built for another Python\\nand more')\n"},
        "Importing it failed in numpy: ImportError: built for another Python\n",
        'pip install --force-reinstall "numpy"',
    ),
    "another thing called dgl": ({"__init__": ""}, "What Python imports as dgl is not DGL: ", "rename it"),
    "another backend at work": (
        {"backend": "backend_name = 'mxnet'\n"},
        "DGL runs on mxnet; the zoo needs PyTorch.",
        "DGLBACKEND=pytorch",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_other_failure_is_one_screen(world: World, case: str) -> None:
    changes, says, advises = CASES[case]
    absent = changes.pop("absent", None)
    if numpy := changes.pop("numpy", None):
        world.add("numpy", "2.4.6", {"__init__.py": numpy})
    world.add_dgl(**changes)
    for path in world.folder.glob(f"{absent}*"):
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    told = world.run()
    first, installed, fits, remedy = told.splitlines()
    assert says in f"{first}\n"
    assert advises in remedy
    assert fits.endswith("fits:      torch>=2.4,<2.14, dgl>=1.1.3,<2.5; Python 3.12 needs dgl>=2.1")
    assert (f"{absent} (missing)" in installed) if absent in _NEEDS else ("torch 2.13.0+cpu, dgl " in installed)


CONFIG = "home/.dgl/config.json"


@pytest.mark.parametrize(
    ("environment", "config", "outcome"),
    [
        ({}, None, "imported"),
        ({}, '{"backend": "pytorch"}', "imported"),
        ({}, '{"backend": "tensorflow"}', "/home/.dgl/config.json chooses 'tensorflow'"),
        ({}, "not JSON", "imported"),
        ({}, '["pytorch"]', "imported"),
        ({}, '{"backend": ""}', "imported"),
        ({"DGLBACKEND": ""}, None, "imported"),
        ({"DGLBACKEND": "pytorch"}, '{"backend": "mxnet"}', "imported"),
        ({"DGLBACKEND": "mxnet"}, '{"backend": "pytorch"}', "The environment variable DGLBACKEND chooses 'mxnet'"),
        ({"DGLDEFAULTDIR": "elsewhere"}, '{"backend": "tensorflow"}', "imported"),
    ],
)
def test_backend(world: World, environment: dict[str, str], config: str | None, outcome: str) -> None:
    world.add_dgl(backend="import os\nbackend_name = os.environ['DGLBACKEND']\n")
    if config is not None:
        (world.folder / CONFIG).parent.mkdir()
        (world.folder / CONFIG).write_text(config)
    told = world.run(**environment)
    assert outcome in told
    assert len(told.splitlines()) == (1 if outcome == "imported" else 4)


def test_warnings_of_dgl_at_import_are_not_shown(world: World) -> None:
    world.add_dgl(backend="import warnings\nwarnings.warn('about my source')\nbackend_name = 'pytorch'\n")
    assert world.run() == "imported 2.1.0"  # run() has found stderr empty
    code = "from zoo._dgl import dgl; import warnings; warnings.simplefilter('error'); warnings.warn('mine')"
    with pytest.raises(AssertionError, match="mine"):
        world.run(code)


# With the DGL that is installed.

WORKER = """
import os, sys, multiprocessing

def count(graph, queue):
    queue.put(graph.num_edges())

if __name__ == "__main__":
    try:
        import dgl  # fails beside a PyTorch that this DGL was not compiled for, and leaves modules behind
    except Exception:
        pass
    from zoo._dgl import dgl
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=count, args=(dgl.graph(([0, 1], [1, 2])), queue))
    process.start()
    print(queue.get(timeout=100))
    process.join()
    print(os.listdir(os.path.expanduser("~")))
"""


def test_a_graph_reaches_a_spawned_process(tmp_path: Path) -> None:
    """The worker imports nothing but what the graph needs; and nobody writes into the user's home."""
    (tmp_path / "home").mkdir()
    script = tmp_path / "script.py"
    script.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home"), "DGLBACKEND": "pytorch"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=200)
    assert (done.stdout.split(), done.stderr) == (["2", "[]"], "")


def test_the_installed_dgl_does_what_the_zoo_needs(tmp_path: Path) -> None:
    graph = dgl.graph((torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 2])))
    graph.ndata["feat"] = torch.eye(3)
    x = torch.randn(3, 2, dtype=torch.double, requires_grad=True)
    w = torch.rand(4, 1, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: dgl.ops.gspmm(graph, "mul", "sum", x, w), (x, w))
    assert torch.autograd.gradcheck(lambda x: dgl.ops.edge_softmax(graph, dgl.ops.u_dot_v(graph, x, x)), (x,))

    dgl.save_graphs(str(tmp_path / "graphs.bin"), [graph, dgl.batch([graph, graph])])
    (one, both), _ = dgl.load_graphs(str(tmp_path / "graphs.bin"))
    assert torch.equal(one.ndata["feat"], graph.ndata["feat"])
    assert both.num_nodes() == 6
