"""Opens old pickles of arrays without letting them run code.

A pickle names the functions to call while it is read. The unpickler below knows only the few that NumPy arrays, SciPy
matrices and builtin containers need, under every module path that Python 2, NumPy 1 and 2 and old SciPy wrote.
"""

import codecs
import collections
import copyreg
import io
import pickle
import zipfile
from typing import Any

import numpy as np
import scipy.sparse

from zoo.errors import IntegrityError

__all__ = ["load_npz", "loads"]

# NumPy's own rebuilding functions live in private modules that moved between versions; arrays tell where they are.
_ARRAY = np.empty(0).__reduce__()[0]
_BUFFER = np.empty(0).__reduce_ex__(5)[0]
_SCALAR = np.float64(0).__reduce__()[0]

_ADMITTED: dict[tuple[str, str], Any] = {
    **{(module, kind.__name__): kind for module in ("builtins", "__builtin__") for kind in (list, dict, set, tuple)},
    **{(module, "object"): object for module in ("builtins", "__builtin__")},
    **{(module, "_reconstructor"): copyreg._reconstructor for module in ("copyreg", "copy_reg")},  # type: ignore[attr-defined]
    ("collections", "defaultdict"): collections.defaultdict,
    ("_codecs", "encode"): codecs.encode,  # how a protocol-2 pickle spells bytes
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _ARRAY for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _BUFFER for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR for core in ("core", "_core")},
    **{(f"scipy.sparse.{module}", "csr_matrix"): scipy.sparse.csr_matrix for module in ("csr", "_csr")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise IntegrityError(
                f"a pickle that should hold arrays asks for {module}.{name}, which no array needs; it was not opened"
            ) from None


def loads(content: bytes) -> Any:
    """Unpickles arrays, sparse matrices and builtin containers, Python 2 pickles included.

    Raises:
        IntegrityError: The pickle names anything else, or is broken.
    """
    try:
        return _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except IntegrityError:
        raise
    except Exception as error:  # a broken pickle can raise nearly anything
        raise IntegrityError(f"a pickle that should hold arrays is broken: {error}") from error


def load_npz(content: bytes) -> dict[str, Any]:
    """Reads an `.npz` archive whose pickled members go through `loads`.

    Returns:
        Arrays by name; a pickled member of shape `()` is given as the object that it holds.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name.removesuffix(".npy"): _load_npy(archive.read(name)) for name in archive.namelist()}


def _load_npy(content: bytes) -> Any:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read_header(stream)
    if not dtype.hasobject:
        return np.load(io.BytesIO(content), allow_pickle=False)
    member = loads(stream.read())
    return member.item() if isinstance(member, np.ndarray) and member.shape == () else member
