"""Broken checkpoints by number: the same number is the same mutation, whichever others were made before it."""

import dataclasses
import functools
import hashlib
import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from zoo import models, registry, weights
from zoo._files import resource

__all__ = ["FAMILIES", "Files", "Mutation", "mutation", "originals"]


@dataclass(frozen=True)
class Files:
    """A checkpoint's two files, and a registry that has it alone."""

    weights: bytes
    config: bytes
    registry: bytes


@dataclass(frozen=True)
class Mutation:
    """What became of a checkpoint.

    Attributes:
        family: What was broken, a key of `FAMILIES`.
        way: How it is loaded: `name`, with the registry as it was; `entered`, by its name, too, but with a registry
            and a config inside the weights that agree with the broken files; `half entered`, where that config is
            the old one; `folder`.
        name: The checkpoint.
        files: Its broken files.
    """

    family: str
    way: str
    name: str
    files: Files


@functools.cache
def originals() -> dict[str, Files]:
    """Of every method its smallest bundled checkpoint, or a new one, and a new one with a readout."""
    entries = registry.read().values()
    found: dict[str, tuple[bytes, bytes]] = {}
    for method in models.list_models():
        new = {f"new-{method}": None, f"new-{method}-readout": "mean"}
        if bundled := [entry for entry in entries if entry.method == method]:
            name = min(bundled, key=lambda entry: entry.weights.bytes).name
            folder = resource("pretrained") / name
            found[name] = (folder / weights.WEIGHTS).read_bytes(), (folder / weights.CONFIG).read_bytes()
            del new[f"new-{method}"]
        for name, readout in new.items():
            torch.manual_seed(0)
            model = models.create(method, {"in_feats": 5, "num_classes": 3, "hidden": 4, "readout": readout})
            found[name] = weights.serialize(model), json.dumps(model.config).encode()
    entry = dataclasses.asdict(next(entry for entry in entries if entry.published))
    del entry["name"]
    return {name: Files(*pair, registry_with(name, entered(entry, pair[0]))) for name, pair in found.items()}


def entered(entry: dict[str, Any], content: bytes) -> dict[str, Any]:
    """A registry's entry that names these weights."""
    return {**entry, "weights": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}


def registry_with(name: str, entry: dict[str, Any]) -> bytes:
    """A registry of one checkpoint."""
    return json.dumps({"schema": 1, "checkpoints": {name: entry}}).encode()


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a sound weights file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def join(header: bytes, data: bytes) -> bytes:
    """A weights file."""
    return struct.pack("<Q", len(header)) + header + data


# What somebody may have put into a file.

HUGE = (10**5, 10**6, 10**7, 10**9, 10**18, 2**63 - 1, 2**63, 2**64, 10**400)
FLOATS = (0.5, -0.0, 1.0, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "", "x", "gcn", "cna", "mean", "add_self_loop", "../../x", "é\u202e", "\0", "\ud800", "\x1b[31m\n", "x" * 30_000,
)  # fmt: skip
TYPES = (
    "F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F6_E2M3", "F4", "C64", "I64", "I32",
    "I8", "U64", "U8", "BOOL", "f32", "X" * 5000, "\x1b[31m\n",
)  # fmt: skip
PIECES = (
    b"\0", b"\0" * 4096, b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'"', b"{", b"}", b"[", b"]", b",", b":", b"-",
    b"e400", b"9" * 5000, b"NaN", b"Infinity", b"null", b"\\u0000", b"\\ud800", b" " * 4096, b"[" * 800, b"[" * 100_000,
    b"[" * 700 + b"]" * 700, b"[" * 950 + b"]" * 950, b'{"a":' * 3000,
)  # fmt: skip


def odd_value(rng: random.Random) -> Any:
    """A value of any type, most of them absurd."""
    nested: Any = rng.choice((1, "x"))
    for _ in range(rng.choice((1, 50, 400))):
        nested = [nested]
    flat: Any = [rng.choice((0, 1, 2.5, None, "", "add_self_loop", [], {}))] * rng.choice((1, 2, 3000))
    plain: Any = rng.choice((None, True, False, [], {}, [[]], {"a": {}}))
    huge = rng.choice((-1, 1)) * rng.choice(HUGE)
    small = rng.choice((0, 1, 2, 3, -1, -8, 7, 16, 100))
    return rng.choice((nested, flat, plain, huge, small, rng.choice(FLOATS), rng.choice(TEXTS), rng.choice(TEXTS)))


def break_bytes(rng: random.Random, content: bytes) -> bytes:
    """Bits flipped; bytes lost, put in, overwritten or doubled."""
    broken = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        end = len(broken) if rng.random() < 0.3 else min(len(broken), 600)  # text and headers come first
        start = rng.choice((0, rng.randint(0, end), rng.randint(0, end), rng.randint(0, end)))
        stop = min(len(broken), start + rng.choice((1, 1, 2, 8, 60)))
        kind = rng.choice(("flip", "flip", "cut", "delete", "insert", "replace", "double", "noise"))
        if kind == "flip" and start < stop:
            broken[start] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del broken[start:]
        elif kind == "delete":
            del broken[start:stop]
        elif kind == "insert":
            broken[start:start] = rng.choice(PIECES)
        elif kind == "replace":
            broken[start:stop] = rng.choice(PIECES)
        elif kind == "double":
            broken[start:start] = broken[start:stop] * rng.choice((1, 2, 500))
        elif kind == "noise":
            broken[start:stop] = rng.randbytes(stop - start)
    return bytes(broken)


def containers(value: Any) -> list[Any]:
    """Every object and list in parsed JSON that is not empty, the outermost first."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if inner else []) + [each for part in inner for each in containers(part)]


def break_json(rng: random.Random, value: Any) -> bytes:
    """JSON with values replaced, swapped or lost, and keys renamed, added or there twice. Changes `value`."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not (places := containers(value)):
            break
        place = rng.choice(places[: rng.choice((1, len(places)))])
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        one, other = rng.choice(keys), rng.choice(keys)
        kind = rng.choice(("replace", "replace", "swap", "delete", "rename", "add"))
        if kind == "replace":
            place[one] = odd_value(rng)
        elif kind == "swap":
            place[one], place[other] = place[other], place[one]
        elif kind == "delete":
            del place[one]
        elif kind == "rename" and isinstance(place, dict):
            place[rng.choice((*TEXTS, f"{one} ", other, "name", "self", "args"))] = place.pop(one)
        elif kind == "add" and isinstance(place, dict):
            place[rng.choice((*TEXTS, "name", "self", "args", "dtype"))] = odd_value(rng)
    text = json.dumps(value)
    if value and rng.random() < 0.2:
        twice = json.dumps({rng.choice(list(value)): odd_value(rng)})
        text = rng.choice((f"{twice[:-1]}, {text[1:]}", f"{text[:-1]}, {twice[1:]}"))
    return text.encode()


def weights_bytes(rng: random.Random, files: Files) -> Files:
    """Broken bytes in the weights, at times in the length of their header."""
    content = files.weights
    if rng.random() < 0.15:
        length = rng.choice((0, 1, 2, len(content), 10**8, 10**8 + 1, 2**31, 2**32, 2**63, 2**64 - 1))
        content = struct.pack("<Q", length) + content[8:]
    return dataclasses.replace(files, weights=break_bytes(rng, content))


def weights_header(rng: random.Random, files: Files) -> Files:
    """A header that promises other tensors than there are."""
    header, data = split(files.weights)
    tensors = [entry for key, entry in header.items() if key != "__metadata__"]
    entry, other = rng.choice(tensors), rng.choice(tensors)
    sizes, ends = (0, 1, 2**31, 2**32, 2**63, 2**64 - 1, -1), (0, 1, 4, len(data), 2**32, 2**64 - 1, -1)
    kind = rng.choice(("dtype", "shape", "offsets", "overlap", "larger", "more", "any"))
    if kind == "dtype":
        start, stop = entry["data_offsets"]
        entry["dtype"] = rng.choice(TYPES)
        entry["shape"] = rng.choice((entry["shape"], [stop - start], [2 * (stop - start)]))
    elif kind == "shape":
        entry["shape"] = rng.choices(sizes, k=rng.choice((0, 1, 2, 3)))
    elif kind == "offsets":
        entry["data_offsets"] = rng.choices(ends, k=2)
    elif kind == "overlap":
        entry["shape"], entry["data_offsets"] = other["shape"], other["data_offsets"]
    elif kind == "larger":
        rows = rng.choice((10**6, 10**12))
        entry["shape"], entry["data_offsets"] = [rows, 4], [0, 16 * rows]
    elif kind == "more":
        shape = rng.choice(([0], [0, 2**31], [3, 0, 2**62], [0, 2**63], [0, 2**32, 2**32], [0] * 300))
        empty = {"dtype": "F32", "shape": shape, "data_offsets": [len(data)] * 2}
        name, count = rng.choice(TEXTS[:-2]), rng.choice((1, 20, 20, 3000))
        header |= {f"{name}{i}": empty for i in range(count)}
    text = break_json(rng, header) if kind == "any" else json.dumps(header).encode()
    return dataclasses.replace(files, weights=join(text, data))


def weights_tensors(rng: random.Random, files: Files) -> Files:
    """A sound file with tensors of another type, shape, value, name or model."""
    tensors = dict(sorted(safetensors.torch.load(files.weights).items()))  # which come in no order
    if rng.random() < 0.3:
        dtype = rng.choice((torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2, torch.int64, torch.bool))
        tensors = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for _ in range(rng.choice((0, 1, 2))):
        name, other = rng.choice(list(tensors)), rng.choice(list(tensors))
        tensors[rng.choice((name, name, name, other, f"{name}.x", "x" * 30_000))] = odd_tensor(rng, tensors[name])
    if rng.random() < 0.2:
        del tensors[rng.choice(list(tensors))]
    if rng.random() < 0.1:
        tensors |= {f"{name}.{i}": tensor.clone() for name, tensor in tensors.items() for i in range(50)}
    if rng.random() < 0.1:
        tensors |= safetensors.torch.load(rng.choice(list(originals().values())).weights)
    config = files.config.decode() if rng.random() < 0.8 else rng.choice(("", "[" * 5000, "x" * 5000))
    return dataclasses.replace(files, weights=safetensors.torch.save(tensors, {"config": config}))


def odd_tensor(rng: random.Random, tensor: Tensor) -> Tensor:
    """Another tensor made from one."""
    flat, number = tensor.flatten(), rng.choice((float("nan"), float("inf"), 1e30))
    dtype = rng.choice((torch.float64, torch.float16, torch.float32, torch.int32))
    transposed = tensor.t() if tensor.dim() == 2 else tensor.unsqueeze(0)
    filled = torch.full(tensor.shape, number) if tensor.is_floating_point() else torch.full_like(tensor, -1)
    return rng.choice((flat, flat[:0], flat[:1], transposed, filled, filled, tensor.to(dtype))).clone().contiguous()


def config_bytes(rng: random.Random, files: Files) -> Files:
    """Broken bytes in config.json."""
    return dataclasses.replace(files, config=break_bytes(rng, files.config))


def config_values(rng: random.Random, files: Files) -> Files:
    """A config with other keys and values."""
    return dataclasses.replace(files, config=break_json(rng, json.loads(files.config)))


def config_sizes(rng: random.Random, files: Files) -> Files:
    """A config with absurd numbers where the method takes a number."""
    config = json.loads(files.config)
    numbers = [key for key, value in config.items() if isinstance(value, int | float) or key == "degrees"]
    for key in rng.sample(numbers, rng.choice((1, 1, 2, 3))):
        size = rng.choice((0, -1, 1, 3, 50, 2000, *HUGE))
        config[key] = [rng.choice((1, 3, 5, size)) for _ in config[key]] if key == "degrees" else size
    return dataclasses.replace(files, config=json.dumps(config).encode())


def config_foreign(rng: random.Random, files: Files) -> Files:
    """Another model's config, or some of its arguments."""
    own, foreign = (json.loads(each.config) for each in (files, rng.choice(list(originals().values()))))
    some = {key: foreign[key] for key in rng.sample(list(foreign), rng.randint(1, len(foreign)))}
    return dataclasses.replace(files, config=json.dumps(rng.choice((foreign, own | some))).encode())


def registry_bytes(rng: random.Random, files: Files) -> Files:
    """Broken bytes in checkpoints.json."""
    return dataclasses.replace(files, registry=break_bytes(rng, files.registry))


def registry_values(rng: random.Random, files: Files) -> Files:
    """A registry, or an entry, with other keys and values."""
    table = json.loads(files.registry)
    if rng.random() < 0.2:
        return dataclasses.replace(files, registry=break_json(rng, table))
    ((name, entry),) = table["checkpoints"].items()
    text = break_json(rng, entry)
    return dataclasses.replace(files, registry=b'{"schema": 1, "checkpoints": {"%s": %s}}' % (name.encode(), text))


FAMILIES: dict[str, Callable[[random.Random, Files], Files]] = {
    family.__name__: family
    for family in (
        weights_bytes,
        weights_header,
        weights_tensors,
        config_bytes,
        config_values,
        config_sizes,
        config_foreign,
        registry_bytes,
        registry_values,
    )
}


WAYS = ("name", "entered", "half entered", "folder", "folder")


def mutation(number: int) -> Mutation:
    """The mutation of that number."""
    rng = random.Random(number)
    family, name = list(FAMILIES)[number % len(FAMILIES)], rng.choice(list(originals()))
    files = FAMILIES[family](rng, originals()[name])
    way = "name" if family.startswith("registry") else rng.choice(WAYS)
    if way == "entered" and family.startswith("config"):
        header, data = split(files.weights)
        header["__metadata__"]["config"] = files.config.decode(errors="replace")
        files = dataclasses.replace(files, weights=join(json.dumps(header).encode(), data))
    if way in ("entered", "half entered"):
        entry = json.loads(files.registry)["checkpoints"][name]
        files = dataclasses.replace(files, registry=registry_with(name, entered(entry, files.weights)))
    return Mutation(family, way, name, files)
