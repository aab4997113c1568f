"""`wtal-bench compose`: untrimmed videos made of features of trimmed clips."""

from __future__ import annotations

import argparse
from pathlib import Path

from wtal_bench.data.composed.build import compose
from wtal_bench.data.composed.clips import TABLE, ClipSet, named_streams
from wtal_bench.data.composed.recipe import TIMINGS, Recipe, class_list, refuse_repeated, timing_for
from wtal_bench.data.composed.scenes import Cut
from wtal_bench.data.locate import ANNOTATIONS, FEATURES
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import DataError, listing
from wtal_bench.files import write_json
from wtal_bench.probing import probe, table

SUMMARY = "make untrimmed videos of features of trimmed clips (UCF101, Kinetics, HMDB)"
PROBES = "probes.json"
EXAMPLE = """wtal-bench compose ucf101_clips --timing thumos14 --background Basketball Biking BandMarching --step 0.28
  wtal-bench compose kinetics_clips --timing activitynet --actions archery "belly dance" --step 0.64 --name kinetics"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    cut = Cut()
    parser.add_argument(
        "clips",
        metavar="CLIPS",
        help="folder with clips.csv (clip,class,group[,subset][,row]) and, for each stream, STREAM.npy of all clips "
        "[clips, moments, columns] or a folder STREAM/ with one CLIP.npy [moments, columns] a clip; a group is a scene "
        "of its class (group 1 of two classes is two scenes), and in one subset alone",
    )
    parser.add_argument(
        "--name", default="clips", help="of the data set; its protocol is composed/NAME/v1 (default: %(default)s)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write (default: data/composed/NAME)")
    parser.add_argument(
        "--timing",
        default="thumos14",
        help=f"time lines: {' or '.join(TIMINGS)}, or a .csv of timing rows (default: %(default)s)",
    )
    parser.add_argument(
        "--actions", nargs="+", metavar="CLASS[=ROW]", help="action classes, with their row of the timing"
    )
    parser.add_argument("--background", nargs="+", metavar="CLASS", help="classes shown between them, never annotated")
    parser.add_argument(
        "--near",
        nargs="+",
        default=[],
        metavar="ACTION=CLASS",
        help="background class that is shown in an action's scene, too",
    )
    parser.add_argument("--step", type=float, required=True, help="seconds between two moments of a clip")
    parser.add_argument(
        "--streams", nargs="+", metavar="NAME[=FILE]", help="streams in column order (default: all there)"
    )
    parser.add_argument(
        "--motion", nargs="*", default=["flow"], metavar="NAME", help="streams that show movement (default: flow)"
    )
    parser.add_argument(
        "--dim", type=int, help="columns of a stream: means over runs of neighbouring ones (default: all)"
    )
    parser.add_argument(
        "--videos",
        nargs=3,
        type=int,
        default=[200, 60, 200],
        metavar=("TRAIN", "VAL", "TEST"),
        help="(default: 200 60 200)",
    )
    parser.add_argument(
        "--max-snippets",
        type=int,
        default=400,
        help="longest video; an action that is longer ends with it (default: %(default)s)",
    )
    parser.add_argument(
        "--same-scene",
        type=float,
        default=cut.same_scene,
        help="share of background in the scene of an action (default: %(default)s)",
    )
    parser.add_argument(
        "--two-classes", type=float, default=0.18, help="share of videos with two classes (default: %(default)s)"
    )
    parser.add_argument(
        "--speed",
        nargs=2,
        type=float,
        default=list(cut.speed),
        metavar=("LOW", "HIGH"),
        help="of a clip (default: 0.8 1.25)",
    )
    parser.add_argument(
        "--fade",
        type=float,
        default=cut.fade_seconds,
        help="seconds over which an action appears (default: %(default)s)",
    )
    parser.add_argument("--raw-columns", action="store_true", help="leave the columns as they are, whatever their mean")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    parser.add_argument("--no-probes", action="store_true", help="do not measure how hard the videos are")


def run(args: argparse.Namespace) -> int:
    """Compose, probe, and say where it lies and how to train on it."""
    clips = ClipSet(args.clips, named_streams(args.streams) if args.streams else None, dim=args.dim)
    motion = tuple(args.motion)
    strays = [name for name in motion if name not in clips.streams]
    if strays and motion != ("flow",):
        raise DataError(f"--motion {strays[0]}: there is no such stream; there are {', '.join(clips.streams)}.")
    folder = Path(args.out) if args.out else Path("data") / "composed" / args.name
    compose(clips, recipe(args, clips), folder, motion=motion)
    store = FeatureStore.open(folder / FEATURES)
    print(
        f"{folder}: {FEATURES}/ with {len(store)} videos, {int(store.lengths.sum())} snippets x {store.width} columns "
        f"(COMPOSED, {store.manifest_hash[:12]}), and {ANNOTATIONS}"
    )
    if equal := _equal_clips(store):
        print(equal)
    if not args.no_probes:
        report = probe(folder)
        write_json(folder / PROBES, report.as_dict())
        print(table({args.name: report}))
    print(f"Train on it with data = dict(protocol='composed/{args.name}/v1', root='{folder}', synthetic=None).")
    return 0


def _equal_clips(store: FeatureStore) -> str:
    """The note on clips that are seen in two splits, whatever their groups; "" for none."""
    found = store.manifest.get("equal_clips", {"sets": 0})
    if not found["sets"]:
        return ""
    pairs = (" = ".join(f"{clip} ({split})" for split, clip in pair.items()) for pair in found["examples"])
    sets = "1 set of equal clips lies" if found["sets"] == 1 else f"{found['sets']} sets of equal clips lie"
    return (
        f"note: {sets} in more than one split: {listing(pairs, 4)}. What these show is seen in each; give them one "
        f"group and subset, or leave all but one out of {TABLE}."
    )


def recipe(args: argparse.Namespace, clips: ClipSet) -> Recipe:
    """What the arguments say is to be made of the clips."""
    rows, backgrounds = class_list(clips.classes, args.actions, args.background)
    return Recipe(
        name=args.name,
        actions=tuple(rows),
        backgrounds=backgrounds,
        timing=timing_for(args.timing, rows),
        near=_pairs(args.near),
        videos=tuple(args.videos),
        two_classes=args.two_classes,
        max_snippets=args.max_snippets,
        clip_step=args.step,
        seed=args.seed,
        cut=Cut(
            same_scene=args.same_scene,
            speed=tuple(args.speed),
            fade_seconds=args.fade,
            standardize=not args.raw_columns,
        ),
    )


def _pairs(texts: list[str]) -> dict[str, str]:
    bad = next((text for text in texts if "=" not in text), None)
    if bad is not None:
        raise DataError(f"--near {bad}: write ACTION=CLASS.")
    refuse_repeated("--near", (text.partition("=")[0] for text in texts))
    return dict(text.partition("=")[::2] for text in texts)
