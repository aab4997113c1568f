"""`wtal-bench import-annotations`: turn a CSV table, or ActivityNet's own JSON, into an annotation file."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from typing import Any

from wtal_bench.data.annotation_notes import annotation_notes
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.importers.activitynet import is_json, read_activitynet
from wtal_bench.data.importers.table import read_durations, read_table
from wtal_bench.data.importers.thumos import is_thumos, read_thumos
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import DataError, listing
from wtal_bench.files import write_json
from wtal_bench.reading import read_text

SUMMARY = "turn a CSV table (video,label,duration[,start,end,subset]) or ActivityNet's JSON into an annotation file"
EXAMPLE = """\
wtal-bench import-annotations tags.csv data/mine/mine.json --version mine-1 --subset train
  wtal-bench import-annotations tags.csv data/mine/mine.json --version mine-1 --durations data/mine/features
  wtal-bench import-annotations activity_net.v1-3.min.json data/mine/anet.json --version anet-1"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "table",
        help="CSV file; without the columns start and end its labels are video-level tags. Or JSON with a `database`, "
        "as ActivityNet and many tools write it (training, validation, testing become train, val, test). Or THUMOS14's "
        "folder of text files, with --durations",
    )
    parser.add_argument("out", help="annotation file to write")
    parser.add_argument("--version", required=True, help="name the annotations get, e.g. mine-1")
    parser.add_argument(
        "--durations",
        help="where durations are known, if the annotations do not say them (a table without that column, THUMOS14's "
        "folder): a feature store, or a table with video and duration (fps, frames)",
    )
    parser.add_argument("--subset", help="subset of every video, where the file gives none")
    parser.add_argument("--classes", help="text file with one class name a line, in order (default: sorted labels)")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")


def run(args: argparse.Namespace) -> int:
    """Convert, print what was found, return 0."""
    if os.path.lexists(args.out) and not args.overwrite:
        raise DataError(f"{args.out} is already there; choose another name, or replace it with --overwrite.")
    classes = None
    if args.classes:
        lines = read_text(args.classes, hint="Give a text file with one class name a line.").splitlines()
        classes = [line.strip() for line in lines if line.strip()]
    notes: list[str] = []
    settings = {"version": args.version, "subset": args.subset, "classes": classes}
    if is_thumos(args.table):
        value = read_thumos(args.table, durations=_durations(args.durations), **settings)
    elif is_json(args.table):
        value = read_activitynet(args.table, **settings)
    else:
        durations = _durations(args.durations) if args.durations else None
        value = read_table(args.table, durations=durations, notes=notes, **settings)
    write_json(args.out, value)
    for note in notes:
        print(f"{args.table}: {note}")
    written = Annotations.load(args.out)
    instances = sum(len(video.segments) for video in written.videos.values())
    print(f"{args.out}: {len(written.videos)} videos, {len(written.classes)} classes, {instances} instances")
    print(f"  classes: {listing(written.classes)}")
    for kind, count in Counter(oddity.kind for oddity in written.lint()).items():
        print(f"  {kind}: {count}")
    subsets = {video.subset for video in written.videos.values()}
    for note in annotation_notes(written, sorted(subsets)):
        print(f"warning: {note.text}", file=sys.stderr)
    return 0


def _durations(given: str | None) -> dict[str, dict[str, Any]]:
    """Video -> duration, frame rate and frames, from a table or a feature store; {} without either."""
    if given is None:
        return {}
    if not os.path.isdir(given):
        return read_durations(given)
    store = FeatureStore.open(given)
    metas = [store.meta(row) for row in range(len(store))]
    return {meta.id: {"duration": meta.duration, "fps": meta.fps} for meta in metas}
