"""Mutated inputs of the readers for what is large: stores in shards, detections in tables and in parts."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np

from tests.fuzz.corpus import PROTOCOL, Corpus
from tests.fuzz.mutators import as_json, mutate_bytes, mutate_leaves, mutate_npy, mutate_tree, nasty
from wtal_bench.data.store import FeatureStore, StoredVideo, plan_shards, write_shards
from wtal_bench.data.store.manifest import described
from wtal_bench.evaluation import read_detections, write_detections

Commands = list[list[str]]


def sharded_stores(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """A store in shards: one of its files mutated, with the hashes that fit or without."""
    whole = FeatureStore.open(corpus.folder / "data" / "features")
    metas = [whole.meta(row) for row in range(len(whole))]
    videos = [StoredVideo(meta.id, whole.video(meta.id), meta.duration, meta.fps) for meta in metas]
    manifest = {key: value for key, value in described(whole.manifest).items() if key != "dtype"}
    plan = plan_shards(whole.ids, [1] * len(videos), max(1, len(videos) // 3), manifest)
    store = folder / "store"
    write_shards(store, plan, videos.__getitem__, manifest=manifest, dtype=whole.manifest["dtype"])
    place = rng.choice((store, store / "shards" / "00001"))
    kind = rng.randrange(4)
    manifest, index = (json.loads((place / name).read_text()) for name in ("manifest.json", "index.json"))
    if kind == 0:
        manifest = mutate_tree(manifest, rng)
    elif kind == 1:
        index = (mutate_leaves if rng.random() < 0.4 else mutate_tree)(index, rng)
    elif kind == 2 and place == store and "shards" in manifest:
        manifest["shards"] = mutate_tree(manifest["shards"], rng)
    else:
        file = store / "shards" / "00001" / "features.npy"
        file.write_bytes(mutate_npy(np.load(file), rng))
    content = as_json(index, rng)
    (place / "index.json").write_bytes(content)
    if isinstance(manifest, dict) and rng.random() < 0.9:
        manifest = {**manifest, "index_sha256": hashlib.sha256(content).hexdigest()}
    (place / "manifest.json").write_bytes(as_json(manifest, rng))
    command = ["check-data", str(store)]
    how = rng.choice(
        ((), ("--no-checksums",), ("--shard", "1"), ("--repair", str(corpus.folder / "data" / "features")))
    )
    return [[*command, *how]]


def large_detections(rng: random.Random, corpus: Corpus, folder: Path) -> Commands:
    """Detections as a Parquet table, of mutated columns or bytes, alone or as one of two parts."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return []
    classes = tuple(corpus.annotations["classes"])
    videos = read_detections(corpus.folder / "detections.json", classes).videos
    parts = folder / "parts"
    names = list(videos)
    write_detections(parts / "part-00000.json", {name: videos[name] for name in names[:1]}, classes, "x")
    path = parts / "part-00001.parquet"
    write_detections(path, {name: videos[name] for name in names[1:]}, classes, "x")
    if rng.random() < 0.4:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
    else:
        table = pyarrow.parquet.read_table(path)
        name = rng.choice(table.column_names)
        column = table.column(name).to_pylist()
        if column:
            column[rng.randrange(len(column))] = nasty(rng)
        try:
            table = table.set_column(table.column_names.index(name), name, pyarrow.array(column))
        except (pyarrow.ArrowException, TypeError, OverflowError, ValueError):
            table = table.drop_columns([name])
        if rng.random() < 0.2:
            head = as_json(mutate_tree({"version": "x", "videos": names[1:]}, rng), rng)
            table = table.replace_schema_metadata({b"wtal_bench": head})
        pyarrow.parquet.write_table(table, path)
    if rng.random() < 0.3:
        (parts / "parts.json").write_bytes(as_json(mutate_tree({"parts": 2, "key": "k"}, rng), rng))
    truth = ["--protocol", PROTOCOL, "--annotations", str(corpus.folder / "data" / "annotations.json")]
    flags = [flag for flag in ("--strict", "--per-class", "--errors") if rng.random() < 0.2]
    return [["evaluate", str(rng.choice((path, parts, parts))), *truth, *flags, "--json", str(folder / "out.json")]]


__all__ = ["large_detections", "sharded_stores"]
