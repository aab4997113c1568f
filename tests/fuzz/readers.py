"""One function a kind of input: it writes a mutated one into a folder and returns the commands that read it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.fuzz import large, stranger
from tests.fuzz.corpus import PROTOCOL, TABLE, Corpus
from tests.fuzz.mutators import (
    NASTY_NUMBERS,
    NASTY_TEXTS,
    as_json,
    as_yaml,
    mutate_bytes,
    mutate_leaves,
    mutate_npy,
    mutate_npz,
    mutate_objects,
    mutate_text,
    mutate_tree,
    nasty,
    places,
    strange_file,
)

Commands = list[list[str]]
Reader = Callable[[random.Random, Corpus, Path], Commands]
READERS: dict[str, Reader] = {}


def reader(function: Reader) -> Reader:
    """Take a function into the list of readers, under its name."""
    READERS[function.__name__] = function
    return function


def _put(path: Path, content: bytes, rng: random.Random) -> str:
    """Write a mutated file; one in twenty is a pipe, a device, a folder or a name that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path) and not path.is_file():  # an earlier one of that name is already something strange
        return str(path)
    path.write_bytes(content)
    return str(strange_file(path, rng) if rng.random() < 0.05 else path)


@reader
def configs(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    tree = (mutate_leaves if rng.random() < 0.4 else mutate_tree)(corpus.config, rng)
    suffix = rng.choice((".json", ".yaml"))
    content = as_json(tree, rng) if suffix == ".json" else as_yaml(tree, rng)
    return [["train", _put(folder / f"config{suffix}", content, rng), "--dry-run"]]


@reader
def python_configs(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """A Python config whose values are mutated (the text of a program is not: it would be run)."""
    tree = mutate_tree(corpus.config, rng)
    text = "".join(f"{key} = {value!r}\n" for key, value in tree.items() if str(key).isidentifier()) if isinstance(
        tree, dict) else f"{tree!r}\n"  # fmt: skip
    text = f"from math import inf, nan\n{text}del inf, nan\n"
    if rng.random() < 0.2:
        text = rng.choice(
            ("method = (", "import nothing\n", "raise SystemExit\n", "x = [\n" * 300, "\x00", "_base_ = 3\n")
        )
    return [["train", _put(folder / "config.py", text.encode("utf-8", "replace"), rng), "--dry-run"]]


@reader
def components(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """A component of any plugin with mutated arguments, in the example model it is part of."""
    tree = corpus.examples[rng.choice(list(corpus.examples))]
    mutate = mutate_leaves if rng.random() < 0.6 else mutate_tree
    tree = {**tree, "model": mutate(tree["model"], rng)}
    return [["train", _put(folder / "config.json", json.dumps(tree).encode(), rng), "--dry-run"]]


@reader
def options(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    paths = [".".join(map(str, path)) for path in places(corpus.config) if all(isinstance(key, str) for key in path)]
    others = ("train.clip", "train.ema", "train.optimizer", "train.lr_schedule", "train.pairs", "train.init_from")
    keys = (*paths, *others, "data.only", "data.synthetic", "runtime.hooks", "profile", "test.evaluator")
    texts = (
        "[" * 500,
        "dict(type='RMSprop')",
        "dict(a=dict(b=1))",
        "'[a'",
        "0x" + "f" * 5000,
        "1j",
        "{1}",
        "b'x'",
        "()",
    )
    given = [
        f"{rng.choice(keys)}{rng.choice(('=', '=', '=', '=', '', '.x=', '..='))}"
        f"{rng.choice((*texts, str(nasty(rng))[:7000], repr(nasty(rng))[:7000]))}"
        for _ in range(rng.choice((1, 1, 2)))
    ]
    return [["train", str(corpus.folder / "config.json"), "--dry-run", "--cfg-options", *given]]


@reader
def annotations(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    path = _put(
        folder / "ann.json",
        as_json((mutate_leaves if rng.random() < 0.4 else mutate_tree)(corpus.annotations, rng), rng),
        rng,
    )
    check = ["check-data", str(corpus.folder / "data" / "features"), "--annotations", path]
    score = ["evaluate", str(corpus.folder / "detections.json"), "--protocol", PROTOCOL, "--annotations", path]
    return [rng.choice((check, score))]


@reader
def tag_lists(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    names = list(corpus.annotations["videos"])
    tree = {"source": "x", "tags": {name: [corpus.annotations["classes"][0]] for name in names}}
    path = folder / "annotations.json"
    path.write_text(json.dumps(corpus.annotations))
    _put(folder / "annotations_tags_mine.json", as_json(mutate_tree(tree, rng), rng), rng)
    return [["check-data", str(corpus.folder / "data" / "features"), "--annotations", str(path)]]


@reader
def detections(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    tree = corpus.detections
    if rng.random() < 0.3:
        rows = {
            name: [
                {"label": row["label"], "segment": [row["start"], row["end"]], "score": row["score"]} for row in rows
            ]
            for name, rows in tree["videos"].items()
        }
        tree = {"version": "x", "results": rows, "external_data": {}}
    elif rng.random() < 0.3:
        tree = {**tree, "format": 2, "grids": dict.fromkeys(tree["videos"], 1.5)}
        tree["videos"] = {n: [{**row, "snippets": [1, 4]} for row in rows] for n, rows in tree["videos"].items()}
    content = as_json(mutate_tree(tree, rng), rng)
    name = "found.json"
    if rng.random() < 0.4:
        name = "found.json.gz"
        content = rng.choice((gzip.compress(content), mutate_bytes(gzip.compress(content), rng), _bomb(rng)))
    path = _put(folder / name, content, rng)
    truth = ["--annotations", str(corpus.folder / "data" / "annotations.json")]
    flags = [flag for flag in ("--strict", "--strict-official", "--errors", "--per-class") if rng.random() < 0.2]
    score = ["evaluate", path, "--protocol", PROTOCOL, *truth, *flags, "--json", str(folder / "out.json")]
    compare = ["compare", path, path, "--protocol", PROTOCOL, *truth, "--resamples", "100"]
    return [rng.choice((score, score, compare))]


def _bomb(rng: random.Random) -> bytes:
    """A gzip file that unpacks to far more than it is; made once."""
    if not _BOMB:
        _BOMB.append(gzip.compress(b" " * (200 << 20), 9))
    return _BOMB[0] if rng.random() < 0.1 else gzip.compress(b"[" * 5000)


_BOMB: list[bytes] = []


@reader
def records(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    board = folder / "board"
    (board / "records").mkdir(parents=True)
    tree = (mutate_leaves if rng.random() < 0.4 else mutate_tree)(corpus.record, rng)
    if rng.random() < 0.5:
        tree = _signed(tree)
    name = tree.get("id") if isinstance(tree, dict) else None
    name = name if isinstance(name, str) and name.isprintable() and 0 < len(name) < 200 and "/" not in name else "r"
    path = _put(folder / f"{name}.json", as_json(tree, rng), rng)
    packed = corpus.record["detections"]["file"]
    corpus.copy(packed, folder)
    truth = str(corpus.folder / "data" / "annotations.json")
    add = ["leaderboard", "--folder", str(board), "add", path, "--annotations", truth, "--no-build"]
    compare = ["compare", path, path, "--annotations", truth, "--resamples", "100"]
    return [rng.choice((add, add, compare))]


def _signed(tree: Any) -> Any:
    """A record whose hashes fit what it says, so that the rules behind them are reached."""
    from wtal_bench.errors import WtalError
    from wtal_bench.leaderboard.identity import hash_config, record_id

    try:
        tree = {**tree, "config_hash": hash_config(tree["config"])}
        return {**tree, "id": record_id(tree)}
    except (WtalError, LookupError, TypeError, AttributeError, ValueError, RecursionError):
        return tree


@reader
def boards(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """A leaderboard in whose folder of records lies something else."""
    target = folder / "board" / "records" / "x" / "y"
    tree = mutate_tree(corpus.record, rng)
    name = corpus.record["id"] if rng.random() < 0.7 else "other"
    _put(target / f"{name}.json", as_json(tree, rng), rng)
    corpus.copy(corpus.record["detections"]["file"], target)
    return [["leaderboard", "--folder", str(folder / "board"), rng.choice(("--check", "--verify"))]]


@reader
def published(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    lines = (corpus.folder / "published" / "published.csv").read_bytes().split(b"\n")
    if rng.random() < 0.9:
        at = rng.randrange(min(len(lines), 40))
        lines[at] = mutate_text(lines[at], rng)
        content = b"\n".join(lines[:60])
    else:
        content = mutate_bytes(b"\n".join(lines), rng)
    (folder / "board" / "records").mkdir(parents=True)
    _put(folder / "board" / "published.csv", content, rng)
    return [["leaderboard", "--folder", str(folder / "board"), "build"]]


@reader
def folder_features(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """Folders of .npy or .npz, one file of them mutated."""
    array = np.load(corpus.folder / "video.npy")
    layout = rng.choice(("npy", "npy", "npz"))
    source = folder / "in"
    source.mkdir()
    for at in range(2):
        good = {"feat_spa": array[:, :4], "feat_tem": array[:, 4:]}
        content = mutate_npz(good, rng) if layout == "npz" else mutate_npy(array, rng)
        name = rng.choice((f"v{at}", f"v{at}", f"v{at}", "caf\u00e9", "a b", "\u202e", "x" * 200, ".hidden"))
        _put(source / f"{name}.{layout}", content, rng)
    return [[*_import(folder), str(source), "--format", layout]]


@reader
def wtalc_features(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    array = np.load(corpus.folder / "video.npy")
    release = folder / "Toy-Annotations"
    columns = {
        folder / "features.npy": [array, array[:7], array[:9]],
        release / "videoname.npy": [b"v0", b"v1", b"v2"],
        release / "duration.npy": [3.0, 4.0, 5.0],
        release / "labels.npy": [["Run"], ["Run", "Jump"], []],
    }
    hit = rng.choice(list(columns))
    for path, entries in columns.items():
        if path == hit and rng.random() < 0.3 and path.name != "labels.npy":
            plain = np.stack([array] * 3) if path.name == "features.npy" else np.array(entries)
            _put(path, mutate_npy(plain, rng), rng)
        else:
            _put(path, mutate_objects(entries, rng) if path == hit else _objects(entries), random.Random(1))
    return [[*_import(folder), str(folder / "features.npy"), str(release), "--format", "wtalc"]]


def _objects(entries: list) -> bytes:
    import io

    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _import(folder: Path) -> list[str]:
    return ["import-features", "--out", str(folder / "out"), "--extractor", "x", "--fps", "25", "--stride", "16"]


@reader
def infer_features(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    array = np.load(corpus.folder / "video.npy")
    path = _put(folder / "v.npy", mutate_npy(array, rng), rng)
    return [[*_infer(corpus, folder), path, "--fps", "25", "--stride", "16"]]


def _infer(corpus: Corpus, folder: Path) -> list[str]:
    return ["infer", "--out", str(folder / "out.json"), str(corpus.folder / "config.json"),
            str(corpus.folder / "run" / "last.pth")]  # fmt: skip


@reader
def tables(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    lines = TABLE.encode().split(b"\n")
    at = rng.randrange(len(lines) - 1)
    lines[at] = mutate_text(lines[at], rng)
    content = b"\n".join(lines) if rng.random() < 0.8 else mutate_bytes(TABLE.encode(), rng)
    command = ["import-annotations", _put(folder / "t.csv", content, rng), str(folder / "out.json"), "--version", "x"]
    if rng.random() < 0.2:
        names = mutate_bytes(b"Run\nJump\n", rng)
        command += ["--classes", _put(folder / "classes.txt", names, rng)]
    return [command]


@reader
def official_annotations(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    path = _put(folder / "a.json", as_json(mutate_tree(corpus.official, rng), rng), rng)
    return [["import-annotations", path, str(folder / "out.json"), "--version", "x"]]


@reader
def checkpoints(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    run = corpus.folder / "run"
    source = (run / "last.pth").read_bytes()
    kind = rng.randrange(4)
    if kind == 0:
        content = mutate_bytes(source, rng)
    elif kind == 1:
        content = rng.choice((b"", b"PK\x03\x04", source[:100], b"\x80\x02}q\x00.", b"\x80\x04cos\nsystem\n(S'x'\ntR."))
    else:
        content = _saved(_mutated_state(torch.load(run / "last.pth", weights_only=True), rng))
    path = _put(folder / "c.pth", content, rng)
    config = str(corpus.folder / "config.json")
    infer = ["infer", config, path, str(corpus.folder / "video.npy"), "--fps", "25", "--stride", "16", "--out",
             str(folder / "out.json")]  # fmt: skip
    if rng.random() < 0.4:
        corpus.copy("run", folder)
        (folder / "run" / "last.pth").write_bytes(content)
        return [["train", config, "--work-dir", str(folder / "run"), "--resume", "--cfg-options", "train.epochs=2"]]
    return [infer]


def _saved(value: Any) -> bytes:
    import io

    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _mutated_state(state: Any, rng: random.Random) -> Any:
    """A checkpoint in which a few values are of another kind."""
    strange = (3, None, "x", [], {}, float("nan"), True, torch.zeros(3), torch.tensor([]), torch.zeros(2, 2).long(),
               torch.full((8, 8), float("nan")), {"a": 1}, [1, 2], -1, 2**70, torch.zeros(1).to_sparse())  # fmt: skip
    if rng.random() < 0.05:
        return rng.choice(strange)
    for _ in range(rng.choice((1, 1, 2))):
        node, keys = state, []
        while isinstance(node, dict) and node and (not keys or rng.random() < 0.7):
            keys.append(rng.choice(list(node)))
            above, node = node, node[keys[-1]]
        if keys and rng.random() < 0.8:
            above[keys[-1]] = rng.choice(strange)
        elif keys:
            del above[keys[-1]]
    return state


@reader
def ablations(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    path = _put(folder / "rows.yaml", as_yaml(mutate_tree(corpus.rows, rng), rng), rng)
    # a metric that nothing has: every row's config is made and checked, none is trained
    return [["sweep", path, "--list"] if rng.random() < 0.4 else ["sweep", path, "--metric", "mAP@0.123"]]


@reader
def searches(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    space = {
        "train.lr": {"log_uniform": [1e-4, 1e-2]},
        "train.epochs": [1, 2],
        "train.eps": {"uniform": [1e-9, 1e-7]},
        "train.weight_decay": {"choice": [0, 0.5]},
    }
    search = {"held_out": "holdout", "metric": "average", "trials": 3, "seed": 0, "space": space}
    field = {"profiles": ["honest"], "seeds": [0, 1], "recipes": [{"recipe": corpus.rows["base"], "options": {}}]}
    tree = {"base": corpus.rows["base"], "search": search} if rng.random() < 0.7 else {"reproduce": field}
    path = _put(folder / "rows.yaml", as_yaml(mutate_tree(tree, rng), rng), rng)
    return [["sweep", path, "--list"] if rng.random() < 0.4 else ["sweep", path, "--metric", "mAP@0.123"]]


@reader
def stores(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    store = corpus.copy("data/features", folder)
    manifest, index = corpus.manifest, corpus.index
    kind = rng.randrange(4)
    if kind == 0:
        manifest = mutate_tree(manifest, rng)
    elif kind < 3:
        index = (mutate_leaves if rng.random() < 0.4 else mutate_tree)(index, rng)
    else:
        _put(store / "features.npy", mutate_npy(np.load(store / "features.npy"), rng), rng)
    content = as_json(index, rng)
    (store / "index.json").write_bytes(content)
    if isinstance(manifest, dict) and rng.random() < 0.9:
        manifest = {**manifest, "index_sha256": hashlib.sha256(content).hexdigest()}
    _put(store / "manifest.json", as_json(manifest, rng), rng)
    command = ["check-data", str(store), "--annotations", str(corpus.folder / "data" / "annotations.json")]
    return [command + (["--no-checksums"] if rng.random() < 0.5 else [])]


@reader
def runs(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """A run's folder with a mutated config or record, resumed, started from and looked at."""
    run = corpus.copy("run", folder)
    config = json.loads((run / "config.json").read_text())
    record = next((run / "record").glob("*-s0-*.json"))
    if rng.random() < 0.6:
        _put(run / "config.json", as_json(mutate_tree(config, rng), rng), rng)
    elif rng.random() < 0.7:
        record.write_bytes(as_json(mutate_tree(corpus.record, rng), rng))
    else:
        scalars = next(run.glob("*/vis_data/scalars.json"))
        lines = scalars.read_text().splitlines()
        lines[rng.randrange(len(lines))] = as_json(mutate_tree(json.loads(lines[0]), rng), rng).decode(
            "utf-8", "replace"
        )
        scalars.write_bytes("\n".join(lines).encode("utf-8", "replace"))
    whole = str(corpus.folder / "config.json")
    return [
        rng.choice(
            (
                ["train", whole, "--work-dir", str(run), "--resume"],
                ["train", whole, "--dry-run", "--cfg-options", f"train.init_from={run}"],
                ["picture", str(run), "--list"],
                ["report", str(run), "--annotations", str(corpus.folder / "data" / "annotations.json")],
                [
                    "compare",
                    str(record),
                    str(record),
                    "--annotations",
                    str(corpus.folder / "data" / "annotations.json"),
                ],
            )
        )
    ]


@reader
def ideas(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    from tests.fuzz.corpus import IDEA

    corpus.copy("config.json", folder)
    value = repr(mutate_tree({"model": {"losses": {"cls_pre": {"weight": 2.0}}}, "train": {"ema": 0.9}}, rng))
    text = rng.choice(
        (
            f"from math import inf, nan\ndef idea(host, scale=2.0):\n    return {value}\n",
            f"from math import inf, nan\nscale = {nasty(rng)!r}\ndef idea(host, scale=scale):\n"
            "    return {'model': {'losses': {'cls_pre': {'weight': scale}}}}\n",
            "def idea(): return {}\n",
            "idea = 3\n",
            IDEA[: rng.randrange(len(IDEA))],
            "def idea(host):\n    return host.nothing\n",
            "def idea(host):\n    raise SystemExit(3)\n",
        )
    )
    _put(folder / "ideas" / "mine.py", text.encode("utf-8", "replace"), rng)
    tree = {"_base_": ["config.json+mine"], "ideas": {"mine": rng.choice(({}, {"scale": nasty(rng)}, {"nope": 1}))}}
    path = folder / "mix.json"
    path.write_bytes(as_json(tree, rng) if rng.random() < 0.5 else json.dumps(tree).encode())
    return [["train", str(path), "--dry-run"]]


@reader
def protocols(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """A protocol of a plugin with mutated fields, and names that are none."""
    truth = str(corpus.folder / "data" / "annotations.json")
    name = stranger.NAME
    if rng.random() < 0.2:
        name = rng.choice((*NASTY_TEXTS, "thumos14/v9")).replace("\x00", "") or "x"
    else:
        stranger.mutate(rng)
    return [["evaluate", str(corpus.folder / "detections.json"), "--protocol", name, "--annotations", truth]]


@reader
def numbers(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """Numbers on the command line."""
    data = corpus.folder / "data"
    found, truth = str(corpus.folder / "detections.json"), str(data / "annotations.json")
    infer = [*_infer(corpus, folder), str(corpus.folder / "video.npy")]
    source = folder / "in"
    source.mkdir()
    (source / "v.npy").write_bytes((corpus.folder / "video.npy").read_bytes())
    write = ["import-features", str(source), "--out", str(folder / "out"), "--extractor", "x"]
    compare = ["compare", found, found, "--protocol", PROTOCOL, "--annotations", truth]
    synthetic = ["make-synthetic", "--annotations", truth, "--out", str(folder / "out")]
    bad = rng.choice((*(str(number)[:4000] for number in NASTY_NUMBERS), "", "x", "1_000", "0x10", "\u0663", " 5 "))
    commands = [
        [*infer, "--stride", "16", f"--fps={bad}"],
        [*infer, "--fps", "25", f"--stride={bad}"],
        [*infer, "--fps", "25", "--stride", "16", f"--duration={bad}"],
        [*infer, "--fps", "25", "--stride", "16", f"--min-score={bad}"],
        [*write, "--stride", "16", f"--fps={bad}"],
        [*write, "--fps", "25", f"--stride={bad}"],
        [*write, "--fps", "25", "--stride", "16", f"--window={bad}"],
        [*write, "--fps", "25", "--stride", "16", "--streams", f"a={bad}"],
        [*compare, f"--seed={bad}", "--resamples", "100"],
        [*compare, f"--top={bad}", "--resamples", "100"],
        ["check-data", str(data / "features"), f"--examples={bad}"],
        [*synthetic, "--limit", "1", f"--dim={bad if len(bad) < 5 else '-1'}"],
        [*synthetic, "--limit", "1", "--dim", "2", f"--fps={bad}"],
        [*synthetic, "--dim", "2", f"--limit={bad}"],
        [*synthetic, "--dim", "2", "--limit", "1", f"--world={bad}"],
        ["sweep", str(corpus.folder / "rows.yaml"), "--metric", "mAP@0.123", f"--seeds={bad}"],
        ["picture", str(corpus.folder / "run"), "--list", f"--seed={bad}"],
        ["evaluate", found, "--protocol", PROTOCOL, "--annotations", truth, "--json", str(folder / f"{bad[:9]}.json")],
    ]
    return [[word.replace("\x00", "") for word in rng.choice(commands)]]


@reader
def outputs(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """Places that cannot be written."""
    found, truth = str(corpus.folder / "detections.json"), str(corpus.folder / "data" / "annotations.json")
    blocked = folder / "file"
    blocked.write_text("x")
    # by a link: what replaced the place it writes to, as root, would take the device away from everybody
    (folder / "full").symlink_to("/dev/full")
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    places = (folder / "full", pipe, "/proc/x/y", blocked / "below", folder / ("n" * 300), folder, "")
    place = str(rng.choice(places))
    commands = [
        ["evaluate", found, "--protocol", PROTOCOL, "--annotations", truth, "--json", place],
        ["compare", found, found, "--protocol", PROTOCOL, "--annotations", truth, "--json", place, "--resamples=100"],
        [*_infer(corpus, folder), str(corpus.folder / "video.npy"), "--fps", "25", "--stride", "16", "--out", place],
        ["import-annotations", str(corpus.folder / "table.csv"), place, "--version", "x", "--overwrite"],
        ["make-synthetic", "--annotations", truth, "--dim", "2", "--limit", "1", "--out", place],
        ["train", str(corpus.folder / "config.json"), "--work-dir", place],
        ["leaderboard", "--folder", place, "build"],
        ["new-plugin", "my_thing", "--out", place],
    ]
    return [rng.choice(commands)]


for _function in (large.sharded_stores, large.large_detections):
    reader(_function)
