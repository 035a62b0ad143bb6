"""The one place that imports DGL: `from zoo._dgl import dgl`.

DGL's wheels on PyPI were compiled beside PyTorch 2.3 and older. Beside a newer one all that the zoo uses still works,
yet `import dgl` fails from DGL 2.0 on: it imports GraphBolt, its data loader, whose compiled part exists for those
PyTorch versions only. So where GraphBolt would not load, an inert module stands in for it. Where it would, and for a
DGL that the user has already imported, nothing is done. Nothing on disk is ever touched.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import runpy
import sys
import traceback
import types
import warnings
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from zoo.errors import DGLImportError

__all__ = ["dgl"]

_NEEDS = {"torch": "torch>=2.4,<2.14", "dgl": "dgl>=1.1.3,<2.5"}  # as in pyproject.toml; a test compares them


class _NoGraphBolt(types.ModuleType):
    """Stands in for `dgl.graphbolt`, and says so as soon as anything is looked up in it."""

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # the first thing that `from dgl.graphbolt import …` asks for
            raise ImportError(self.__doc__, name=self.__name__)
        raise AttributeError(self.__doc__, name=name, obj=self)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _importable(*modules: str) -> bool:
    try:
        return all(importlib.util.find_spec(module) for module in modules)
    except ModuleNotFoundError:  # a dotted name's parent is missing
        return False


def _stand_in(torch_version: str) -> types.ModuleType | None:
    """A module for GraphBolt's place, or None where DGL has no GraphBolt or one that would load."""
    spec = importlib.util.find_spec("dgl")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    if folder is None or not (folder / "graphbolt").is_dir():
        return None
    # Where its compiled parts are, DGL itself knows best: beside it, or where environment variables point to.
    libinfo = runpy.run_path(str(folder / "_ffi" / "libinfo.py"), run_name="dgl._ffi.libinfo")
    library = Path(libinfo["find_lib_path"]()[0])
    release = torch_version.partition("+")[0]
    compiled = any((library.parent / "graphbolt").glob(f"*graphbolt_pytorch_{release}.*"))
    if compiled and _importable("torchdata.datapipes", "pydantic", "yaml"):
        return None
    return _NoGraphBolt(
        "dgl.graphbolt",
        f"DGL {_version('dgl')} has no GraphBolt that loads beside PyTorch {torch_version}. The zoo, which does not "
        "use it, has put an empty module in its place to be able to import the rest of DGL.",
    )


def _choose_pytorch() -> None:
    """Tells DGL its backend, which otherwise prints a notice and writes a file into the user's home.

    Raises:
        DGLImportError: The user has chosen another backend.
    """
    source, backend = "The environment variable DGLBACKEND", os.environ.get("DGLBACKEND")
    if not backend:
        try:
            config = Path(os.environ.get("DGLDEFAULTDIR") or Path.home() / ".dgl") / "config.json"
            source, backend = str(config), str(json.loads(config.read_text(encoding="utf-8"))["backend"])
        except (OSError, ValueError, LookupError, TypeError, RuntimeError):  # no home, no file or a broken one
            pass
    backend = backend or "pytorch"
    if backend.lower() != "pytorch":
        raise _error(f"{source} chooses {backend!r} as DGL's backend; the zoo needs PyTorch.", "set DGLBACKEND=pytorch")
    os.environ["DGLBACKEND"] = "pytorch"


def _forget() -> None:
    """Removes what a failed `import dgl` leaves behind: a second one would build on half-loaded modules."""
    for name in [name for name in sys.modules if name == "dgl" or name.startswith("dgl.")]:
        del sys.modules[name]


def _error(cause: str, remedy: str) -> DGLImportError:
    packages = ("torch", "dgl", "numpy", "scipy", "pandas", "packaging")
    installed = ", ".join(f"{package} {_version(package) or '(missing)'}" for package in packages)
    return DGLImportError(
        f"The zoo cannot use DGL. {cause}\n"
        f"  installed: Python {platform.python_version()} on {platform.system()} {platform.machine()}, {installed}\n"
        f"  fits:      {', '.join(_NEEDS.values())}; Python 3.12 needs dgl>=2.1\n"
        f"  to mend:   {remedy}"
    )


def _misfit(package: str, version: str | None, told: str = "") -> DGLImportError | None:
    """The error for a version outside the declared range."""
    from packaging.requirements import Requirement

    if version is None or Requirement(_NEEDS[package]).specifier.contains(version, prereleases=True):
        return None
    return _error(f"{package} {version} is too old or too new.{told}", f'python -m pip install "{_NEEDS[package]}"')


def _explain(error: BaseException) -> DGLImportError:
    """Makes one screen of whatever importing torch or DGL raised."""
    while isinstance(deeper := error.__cause__ or error.__context__, ImportError | OSError):
        error = deeper  # a package that fails to load often raises a vaguer error on top of the telling one
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing and not _importable(missing):
        remedy = _NEEDS.get(missing, missing)
        return _error(f"The package {missing} is not installed.", f'python -m pip install "{remedy}"')

    told = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
    for package in _NEEDS:
        if misfit := _misfit(package, _version(package), f" It raised {told}"):
            return misfit
    running = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [name.partition(".")[0] for name in running]
    culprit = next((p for p in reversed(packages) if p not in {*sys.stdlib_module_names, "zoo"}), "dgl")
    wanted = _NEEDS.values() if culprit in _NEEDS else [culprit]
    remedy = "python -m pip install --force-reinstall " + " ".join(f'"{requirement}"' for requirement in wanted)
    return _error(f"Importing it failed in {culprit}: {told}", remedy)


def _check() -> None:
    """Raises the error for a `dgl` that imports and yet does not fit."""
    version = getattr(dgl, "__version__", None)
    if version is None:
        place = getattr(dgl, "__file__", None) or list(getattr(dgl, "__path__", []))
        raise _error(f"What Python imports as dgl is not DGL: {place}", "rename it, or run Python from elsewhere")
    if misfit := _misfit("dgl", version):
        raise misfit
    if dgl.backend.backend_name != "pytorch":
        raise _error(f"DGL runs on {dgl.backend.backend_name}; the zoo needs PyTorch.", "set DGLBACKEND=pytorch")


def _rebuild(function: Any, arguments: Any) -> Any:
    return function(*arguments)


def _reduce(graph: Any) -> tuple[Any, ...]:
    """Pickles a graph as DGL does, but so that this module is imported before DGL where it is unpickled."""
    function, arguments, *rest = graph.__reduce_ex__(4)
    return _rebuild, (function, arguments), *rest


_graphbolt = None
_imported_by_user = "dgl" in sys.modules
if not _imported_by_user:
    _choose_pytorch()
    _forget()
try:
    import packaging.requirements  # noqa: F401 - DGL needs it undeclared, and so does the explanation of any error
    import torch

    if not _imported_by_user and (_graphbolt := _stand_in(torch.__version__)):
        sys.modules[_graphbolt.__name__] = _graphbolt
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # DGL's own at import are about its source code: nothing for a user
        import dgl
except Exception as error:
    if not _imported_by_user:
        _forget()
    raise _explain(error) from None
_check()
if _graphbolt:
    dgl.graphbolt = _graphbolt
    # A process started by spawn imports DGL when it is sent a graph. Graphs that are pickled to disk are left alone:
    # they can be read without the zoo.
    ForkingPickler.register(dgl.DGLGraph, _reduce)
