"""`wtal-bench import-features`: write other people's features into a feature store."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from wtal_bench.data.annotations import Annotations, beside
from wtal_bench.data.importers.features import import_features
from wtal_bench.data.importers.table import read_rates
from wtal_bench.data.locate import ANNOTATIONS
from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.files import write_json
from wtal_bench.names import alike_hint, composed, difference, lookalikes
from wtal_bench.options import number_in
from wtal_bench.plugins import registry
from wtal_bench.structures import FeatureSource

SUMMARY = "write a folder of feature files into a feature store"
EXAMPLE = """\
wtal-bench import-features i3d/rgb i3d/flow --out data/thumos14/features --annotations data/thumos14/thumos14.json \\
      --extractor "I3D, Kinetics-400, TV-L1 flow" --fps 25 --stride 16 --window 16
  wtal-bench import-features Thumos14reduced-I3D-JOINTFeatures.npy Thumos14reduced-Annotations --format wtalc \\
      --out data/thumos14/features --extractor "I3D of W-TALC" --fps 25 --stride 16 --streams rgb=1024 flow=1024"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "sources",
        nargs="+",
        help="a folder of feature files (.npy, .npz, .h5, .pt, .csv, .mat), one folder a stream, a file that holds "
        "many videos, or a W-TALC release: the features file and the *-Annotations folder",
    )
    parser.add_argument("--out", required=True, help="folder the store is written to")
    parser.add_argument(
        "--layout",
        "--format",
        dest="layout",
        default="auto",
        help="how the sources lie: auto (default: recognised, and said), wtalc, or a plugin's (`wtal-bench list --kind "
        "layout`)",
    )
    parser.add_argument(
        "--pattern", help="how names are made: '{id}_{stream}.npy', '{stream}/{id}.npz', '{id}_i3d.npy', ..."
    )
    parser.add_argument("--crop", help="of ten crops: mean (default) or the number of one")
    parser.add_argument(
        "--format-options", nargs="+", default=[], metavar="KEY=VALUE", help="options of a plugin's layout"
    )
    parser.add_argument("--annotations", help="annotation file: gives durations; videos it does not name are left out")
    parser.add_argument("--name", help="name of the feature set (default: the name of the --out folder)")
    parser.add_argument("--extractor", required=True, help="what made the features, in words; goes into every record")
    parser.add_argument(
        "--fps",
        required=True,
        help="frames a second of the decoded videos, or 'video': each its own of --rates or the annotations",
    )
    parser.add_argument(
        "--stride",
        required=True,
        help="frames between two snippets, 'resized' for features of a fixed length, 'video': each its own (--rates)",
    )
    parser.add_argument(
        "--rates",
        help="a CSV table `video,fps,stride` of videos that have their own (--fps and --stride: of all others)",
    )
    parser.add_argument("--window", type=number_in("[1, 1000000]", whole=True), help="frames a snippet sees")
    parser.add_argument(
        "--streams", nargs="+", metavar="NAME=COLUMNS", help="streams in column order, e.g. rgb=1024 flow=1024"
    )
    parser.add_argument("--keys", nargs="+", help="arrays of a file to join (default: those named like streams)")
    parser.add_argument("--transposed", action="store_true", default=None, help="[D,T] files (told by several)")
    parser.add_argument("--strip-prefix", help="cut this off file names to get ids, e.g. v_")
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="stored precision (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a store that is there")
    parser.add_argument(
        "--shard-size",
        type=number_in("[0.001, 64]"),
        metavar="GB",
        help="write files of this size, that are kept when the import is killed (default: one file up to 4 GB, else 1)",
    )
    parser.add_argument(
        "--jobs",
        type=number_in("[1, 256]", whole=True),
        default=1,
        help="processes that write shards at once (default: %(default)s); the same command on another machine that "
        "sees the folder helps, too",
    )


def run(args: argparse.Namespace) -> int:
    """Import, print what was done, return 0."""
    annotations = Annotations.load(args.annotations) if args.annotations else None
    fps = None if args.fps == "video" else _positive("--fps", args.fps, float)
    stride = None if args.stride in ("resized", "video") else _positive("--stride", args.stride, int)
    rates = read_rates(args.rates) if args.rates else {}
    if args.stride == "video" and not any(own for _, own in rates.values()):
        raise ConfigError("--stride video: give each video its own with --rates TABLE, a CSV of `video,stride`.")
    source = _source(args, annotations)
    for note in source.notes:
        print(note, file=sys.stderr)
    result = import_features(
        source,
        args.out,
        name=args.name or args.out.rstrip("/").rsplit("/", 1)[-1],
        extractor=args.extractor,
        fps=fps,
        stride=stride,
        annotations=annotations,
        streams=dict(map(_stream, args.streams)) if args.streams else None,
        window=args.window,
        dtype=args.dtype,
        overwrite=args.overwrite,
        shard_size=None if args.shard_size is None else int(args.shard_size * 1e9),
        jobs=args.jobs,
        rates=rates,
    )
    store = result.store
    print(f"{store.folder}: {len(store)} videos, {store.lengths.sum()} snippets, manifest hash {store.manifest_hash}")
    for videos, what in (
        (result.left_out, "left out, as the annotations do not name them"),
        (result.missing, "annotated videos without features"),
        (result.cut, "whose streams differ by a snippet or two were cut to the shorter"),
    ):
        if videos:
            hint = alike_hint(videos, annotations.videos) if videos is result.left_out else ""
            print(f"{len(videos)} {what}: {listing(videos, 5)}.{hint}", file=sys.stderr)
    for group in () if annotations is not None else lookalikes(store.ids):
        shown = " and ".join(map(repr, group))
        print(f"warning: the ids {shown} differ only in {difference(*group[:2])}; is one meant?", file=sys.stderr)
    for path in _write_tags(source, args, annotations):
        print(f"{path}: a list of tags; data.tags takes it by its name")
    checked = f" --annotations {shlex.quote(args.annotations)}" if args.annotations else ""
    print(f"next: wtal-bench check-data {shlex.quote(str(store.folder))}{checked}")
    return 0


def _write_tags(source: FeatureSource, args: argparse.Namespace, annotations: Annotations | None) -> Iterator[Path]:
    """Write the tag lists that came with the features beside the annotations that training will read."""
    given = Path(args.annotations) if args.annotations else Path(args.out).parent / ANNOTATIONS
    for name, tags in source.tags.items():
        path = beside(given, name)
        known = annotations is not None and name in annotations.tag_lists
        if (known or path.exists()) and not (args.overwrite and path.exists()):
            print(f"{given} has a tag list {name!r} already: it stays", file=sys.stderr)
            continue
        named = {composed(video): list(map(composed, labels)) for video, labels in tags.items()}
        kept = {video: labels for video, labels in named.items() if annotations is None or video in annotations.videos}
        strange = {label for labels in kept.values() for label in labels}
        strange -= strange if annotations is None else set(annotations.classes)
        if strange:
            print(f"tag list {name!r} left out: no classes of the annotations: {listing(strange)}", file=sys.stderr)
            continue
        write_json(path, {"source": f"{name} of {args.sources[-1]}", "tags": kept})
        yield path


def _source(args: argparse.Namespace, annotations: Annotations | None) -> FeatureSource:
    options = {name: getattr(args, name) for name in ("pattern", "keys", "transposed", "strip_prefix")}
    options["crop"] = int(args.crop) if args.crop is not None and args.crop.isdecimal() else args.crop
    options = {name: value for name, value in options.items() if value is not None}
    for text in args.format_options:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"--format-options must look like key=value, got {text!r}.")
        options[key] = value
    layouts = registry("layout")
    if args.layout not in layouts.names():
        raise ConfigError(
            f"--layout {args.layout}: no such layout.{did_you_mean(args.layout, layouts.names())} Layouts: "
            f"{listing(layouts.names())}."
        )
    layout = layouts.build({"type": args.layout, **options}, f"--layout {args.layout}")
    layout.known = () if annotations is None else annotations.videos
    return layout(args.sources)


def _stream(text: str) -> tuple[str, int]:
    name, _, columns = text.partition("=")
    if not name:
        raise ConfigError(f"--streams must look like rgb=1024 flow=1024, got {text!r}.")
    return name, _positive(f"--streams {name}", columns, int)


def _positive(option: str, text: str, kind: type) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ConfigError(f"{option} must be a{' whole' if kind is int else ''} number above 0, got {text!r}.")
    return value
