"""Seeded mutations: of bytes, of nested data, of arrays. Everything here is a function of the generator it is given."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

DEEP = 3000
NASTY_TEXTS = (
    "",
    " ",
    "nan",
    "../../etc",
    "/dev/zero",
    "a" * 5000,
    "x/y",
    "\ud800",
    "\x00",
    "a\nb",
    "\u202e",
    "%s%n",
    "{model}",
    "é",
    "-1",
    "1e999",
    "own",
    "test",
    ".",
    "..",
    "~",
    "[a",
    "++",
)
NASTY_NUMBERS = (
    float("nan"),
    float("inf"),
    float("-inf"),
    -1,
    0,
    1,
    2,
    -0.1,
    0.5,
    1e-320,
    1e308,
    -1e308,
    2**31,
    2**63,
    2**64,
    10**400,
    -(10**400),
    999,
    1e9,
    10**18,
)


def deep(levels: int = DEEP, mapping: bool = False) -> Any:
    """Lists (or mappings) within one another."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if mapping else [value]
    return value


def nasty(rng: random.Random) -> Any:
    """A value that readers do not expect."""
    kind = rng.randrange(9)
    if kind < 3:
        return rng.choice(NASTY_NUMBERS)
    if kind < 5:
        return rng.choice(NASTY_TEXTS)
    return (
        rng.choice((None, True, False)),
        rng.choice(([], {}, [[]], [None], {"a": 1}, {"type": 3}, [1, 2, 3], {"": ""})),
        [rng.choice(NASTY_NUMBERS) for _ in range(rng.randrange(1, 4))],
        {rng.choice(NASTY_TEXTS): rng.choice(NASTY_NUMBERS)},
    )[kind - 5]


# ---- nested data ----


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of every value in nested data."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value[:4]):
            found += places(item, (*path, at))
    return found


def mutate_tree(tree: Any, rng: random.Random) -> Any:
    """Nested data with one to three values replaced, removed, renamed or moved."""
    tree = copy.deepcopy(tree)
    if rng.random() < 0.03:
        return nasty(rng)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        paths = places(tree)
        if not paths:
            return tree
        *above, last = rng.choice(paths)
        node = tree
        for key in above:
            node = node[key]
        action = rng.randrange(10)
        if action < 6:
            node[last] = nasty(rng)
        elif action == 6:
            del node[last]
        elif action == 7 and isinstance(node, dict):
            node[rng.choice((*NASTY_TEXTS, str(last)[:-1], f"{last}s"))] = node.pop(last)
        elif action == 8:
            node[last] = copy.deepcopy(value_at(tree, rng.choice(paths)))
        else:
            node[last] = str(node[last]) if rng.random() < 0.5 else [node[last]]
    return tree


def value_at(tree: Any, path: tuple) -> Any:
    """What lies at a path; None where a mutation has taken it away."""
    for key in path:
        try:
            tree = tree[key]
        except (LookupError, TypeError):
            return None
    return tree


def as_json(tree: Any, rng: random.Random) -> bytes:
    """JSON text of a tree, now and then with what only a text can hold: a key twice, deep nesting, broken bytes."""
    text = json.dumps(tree)
    kind = rng.randrange(20)
    if kind == 0:
        text = text.replace("{", '{"twice": 1, "twice": 2, ', 1)
    elif kind == 1:
        text = text.replace("1", "[" * DEEP + "]" * DEEP, 1)
    elif kind == 2:
        text = text.replace("1", "9" * rng.choice((30, 400, 5000)), 1)
    elif kind == 3:
        return mutate_bytes(text.encode(), rng)
    return text.encode("utf-8", "surrogatepass")


def as_yaml(tree: Any, rng: random.Random) -> bytes:
    """YAML text of a tree, now and then with aliases, tags, deep nesting or broken bytes."""
    import yaml

    try:
        text = yaml.safe_dump(tree, allow_unicode=False)
    except (yaml.YAMLError, ValueError):  # a number of too many digits
        text = json.dumps(tree) if "digits" not in str(tree)[:0] else "{}"
    kind = rng.randrange(20)
    line = rng.randrange(max(1, text.count("\n")))
    lines = text.split("\n")
    if kind == 0:
        lines.insert(line, lines[line])
    elif kind == 1:
        width = rng.randrange(5, 10)
        bomb = ["z0: &z0 [x]"]
        bomb += [f"z{n}: &z{n} [{','.join([f'*z{n - 1}'] * width)}]" for n in range(1, 10)]
        lines += bomb
    elif kind == 2:
        lines.append("deep: " + "[" * DEEP + "]" * DEEP)
    elif kind == 3:
        lines[line] += rng.choice(
            (" !!int x", " !!python/object:os.system x", " &a", " *nothing", " !!binary x", "\t- x")
        )
    elif kind == 4:
        lines.append("self: &self {a: *self}")
    elif kind == 5:
        return mutate_bytes(text.encode(), rng)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutate_leaves(tree: Any, rng: random.Random) -> Any:
    """Nested data with one or two numbers, texts or truth values replaced by others of their own kind."""
    tree = copy.deepcopy(tree)
    paths = [path for path in places(tree) if not isinstance(value_at(tree, path), (dict, list))]
    texts = [text for path in paths if isinstance(text := value_at(tree, path), str)]
    for *above, last in rng.sample(paths, min(len(paths), rng.choice((1, 1, 2)))):
        node = value_at(tree, tuple(above))
        value = node[last]
        if isinstance(value, bool):
            node[last] = not value
        elif isinstance(value, int):
            node[last] = rng.choice((0, 1, 2, 3, 4, 5, 7, 12, 64, 999, 4096, -1, -3))
        elif isinstance(value, float):
            node[last] = rng.choice((0.0, 1.0, 2.0, 0.5, 1e-12, 1e-320, 0.999999, 1e6, 1e38, 1e308, -0.5, -1.0, 3.7))
        elif isinstance(value, str):
            node[last] = rng.choice(texts)
    return tree


# ---- bytes ----


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Bytes cut, doubled, overwritten or with others between them."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            del data[at : at + rng.randrange(1, 20)]
        elif kind == 2:
            data[at:at] = data[at : at + rng.randrange(1, 200)]
        elif kind == 3:
            data[at:at] = rng.choice(
                (b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b'"', b",", b"{", b"[")
            )
        else:
            for place in range(at, min(len(data), at + rng.randrange(1, 4))):
                data[place] = rng.randrange(256)
    return bytes(data)


def mutate_text(content: bytes, rng: random.Random) -> bytes:
    """Text with one of its words replaced, or its bytes mutated."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    words = content.decode("utf-8").split(",")
    at = rng.randrange(len(words))
    words[at] = str(nasty(rng))[:6000] if rng.random() < 0.8 else ""
    return ",".join(words).encode("utf-8", "surrogatepass")


# ---- arrays ----

_TYPES = (
    "<f4",
    "<f8",
    ">f4",
    "<f2",
    "<i8",
    "|b1",
    "<U5",
    "|S3",
    "<c8",
    "|O",
    "<M8[s]",
    "|V8",
    "[('a', '<f4')]",
    "<f3",
    "",
)


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    """The .npy file of an array."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def mutate_npy(array: np.ndarray, rng: random.Random) -> bytes:
    """An .npy file with other values, another type or shape, a crafted header, or mutated bytes."""
    kind = rng.randrange(7)
    if kind == 0:
        changed = array.copy().reshape(-1)
        changed[rng.randrange(len(changed))] = rng.choice((np.nan, np.inf, -np.inf, 1e38, 1e-45))
        return npy(changed.reshape(array.shape))
    if kind == 1:
        shapes = ((0,), (0, array.shape[-1]), array.shape[::-1], (1, *array.shape), (), (len(array), 0), (1, 1))
        shape = rng.choice(shapes)
        return npy(np.resize(array, shape) if np.prod(shape) else np.zeros(shape, array.dtype))
    if kind == 2:
        code = rng.choice(("f2", "f8", "i4", "u1", "?", "U9", "S4", "c8", ">f4", "M8[s]"))
        with np.errstate(all="ignore"), contextlib.suppress(ValueError):  # texts are no numbers
            array = array.astype(code)
        return npy(array)
    if kind == 3:
        return npy(array, allow_pickle=True)[: rng.randrange(200)]
    if kind == 4:
        return header(array, rng)
    if kind == 5:
        return npy(np.array([array, {"a": 1}, None, "x"], dtype=object), allow_pickle=True)
    return mutate_bytes(npy(array), rng)


def header(array: np.ndarray, rng: random.Random) -> bytes:
    """The file of an array under a crafted header."""
    code = rng.choice(_TYPES)
    descr = code if code.startswith("[") else repr(code)
    shape = rng.choice(
        (
            "(2, 3)",
            "(-1, 3)",
            f"({10**15}, 2)",
            f"({2**62}, {2**62})",
            "(2.5,)",
            "3",
            "'x'",
            "(True, 3)",
            "()",
            "(" + "1," * 60 + ")",
            repr(array.shape),
            "(0, 8)",
            "(10L, 8L)",
            "(" * 500,
            "__import__('os')",
        )
    )
    text = rng.choice(
        (
            f"{{'descr': {descr}, 'fortran_order': {rng.choice(('False', 'True', '3'))}, 'shape': {shape}, }}",
            f"{{'descr': {descr}}}",
            "{" * 300,
            "[1, 2]",
            "9" * 5000,
            "\x00",
            "",
        )
    ).encode()
    version = rng.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    width = 2 if version[0] == 1 else 4
    length = rng.choice((len(text), len(text), len(text), 0, 65535 if width == 2 else 2**32 - 1))
    return b"\x93NUMPY" + version + length.to_bytes(width, "little") + text + array.tobytes()


def mutate_npz(arrays: dict[str, np.ndarray], rng: random.Random) -> bytes:
    """An .npz archive with a mutated member, without one, packed to a bomb, or with mutated bytes."""
    kind = rng.randrange(5)
    stream = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(stream, "w", packing) as archive:
        for name, array in arrays.items():
            if kind == 0 and rng.random() < 0.5:
                continue
            content = mutate_npy(array, rng) if kind == 1 else npy(array)
            if kind == 2 and rng.random() < 0.1:
                content = content[:128] + b"\0" * (80 << 20)
            archive.writestr(rng.choice((f"{name}.npy", name)) if kind == 3 else f"{name}.npy", content)
    return mutate_bytes(stream.getvalue(), rng) if kind == 4 else stream.getvalue()


class _Raw:
    """Pickles as an array whose state is whatever it is given, through numpy's own constructors."""

    def __init__(self, state: tuple) -> None:
        self.state = state

    def __reduce__(self) -> tuple:
        return np.ndarray.__reduce__(np.zeros(0))[0], (np.ndarray, (0,), b"b"), self.state


def mutate_objects(entries: list, rng: random.Random) -> bytes:
    """The .npy file of an array of objects: mutated entries, states that numpy never writes, strangers, or bytes."""
    entries = list(entries)
    kind = rng.randrange(6)
    at = rng.randrange(len(entries))
    strange = rng.choice(
        (3, None, b"\xff\xfe", "\ud800", {"a": 1}, [1, "x"], [], np.zeros(0), np.float64("nan"), "x" * 9, os.path)
    )
    if kind == 0 and strange is not os.path:
        entries[at] = strange
    states = (
        (1, (6,), np.dtype("<f8"), False, 48),
        (1, (6,), np.dtype("<f8"), False, b"\0" * 47),
        (1, (-1,), np.dtype("<f8"), False, b"\0" * 48),
        (1, (2**40,), np.dtype("<f8"), False, b""),
        (1, (2, 3), np.dtype("O"), False, "text"),
        (1, "shape", np.dtype("<f8"), False, b""),
        (1, (2,), None, False, b"12"),
        (1,),
        (1, (3,), np.dtype("<f8"), 7, bytearray(24)),
        (1, (2,), np.dtype("O"), False, [1, {"a": ()}]),
    )
    if kind == 1:
        entries[at] = _Raw(rng.choice(states))
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    content = npy(array, allow_pickle=True)
    if kind == 2:
        return mutate_bytes(content, rng)
    if kind == 3:
        start = content.index(b"\n") + 1
        return content[:start] + pickle.dumps(_Raw(rng.choice(states)), protocol=rng.choice((0, 1, 2, 3)))
    if kind == 4:
        start = content.index(b"\n") + 1
        return content[:start] + pickle.dumps(rng.choice((3, {}, [array], "x", _nest(400))), protocol=2)
    return content


def _nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


# ---- files ----


def strange_file(path: Path, rng: random.Random) -> Path:
    """Put something at `path` that is no file a reader wants, or name another one."""
    path.unlink(missing_ok=True)
    kind = rng.randrange(8)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.symlink_to(path)
    elif kind == 3:
        path.write_bytes(b"")
    elif kind == 4:
        path.symlink_to(
            rng.choice(("/dev/zero", "/dev/full", "/dev/null"))
        )  # never the device: a writer may replace it
    elif kind == 5:
        return path.with_name("n" * 300 + path.suffix)
    elif kind == 6:
        return path.with_name(f"nul\x00{path.suffix}")
    else:
        other = Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9" + os.fsencode(path.suffix)))
        other.write_bytes(b"x")
        return other
    return path
