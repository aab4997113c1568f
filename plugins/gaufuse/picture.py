"""One video, seen through GauFuse: its candidates, the instances they fuse into, and the label that keeps them.

Of any run that fuses or labels so: `wtal-bench picture RUN --kind fusion`, or `labels`. Of a detection file:

Example:
    python -m wtal_plugins.gaufuse.picture --detections thumos14_pmil_base_train.json.gz \\
        --annotations thumos14.json --video video_validation_0000483 --out plugins/gaufuse/picture.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wtal_bench.errors import DataError, WtalError, did_you_mean
from wtal_bench.evaluation import read_detections
from wtal_bench.interfaces import SeenVideo
from wtal_bench.reading import read_json
from wtal_bench.report.figures import new_figure, save_figure
from wtal_bench.structures import Detections
from wtal_plugins.gaufuse.decoder import candidates_of
from wtal_plugins.gaufuse.fusion import Fused, Fusion
from wtal_plugins.gaufuse.linpro import LinPro, Problem, Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wtal_plugins.gaufuse.decoder import FusedDecoder
    from wtal_plugins.gaufuse.labels import PseudoLabels

FLOOR = 0.001
"""Least weight of a candidate: detection files hold one score, which stands for the inner mean and may be negative."""


def draw_labels(
    path: str | Path,
    detections: Detections,
    duration: float,
    *,
    snippet_seconds: float = 16 / 25,
    title: str = "",
    truth: Sequence[tuple[float, float]] = (),
    fusion: Fusion | None = None,
    solver: LinPro | None = None,
) -> Solution:
    """Write a PNG of one class of one video: candidates, fused instances, pseudo label.

    Args:
        path: file to write.
        detections: the candidates, one class; a row's score is its confidence and its weight.
        duration: of the video, in seconds.
        snippet_seconds: seconds a snippet.
        title: above the picture.
        truth: (start s, end s) of the true instances, shaded for the reader; the label knows nothing of them.
        fusion, solver: settings; by default temperature 0.02 and the interior-point label.

    Returns:
        the solution drawn.

    Raises:
        DataError: no candidate, or a video shorter than a snippet.
    """
    snippets = round(duration / snippet_seconds)
    if not len(detections) or snippets < 1:
        raise DataError(f"nothing to draw: {len(detections)} candidates on {snippets} snippets.")
    found = detections.take(np.argsort(detections.score, kind="stable"))
    start, end = found.start / snippet_seconds, found.end / snippet_seconds
    # a file's boundaries in seconds are snippets up to the rounding of the division
    start, end = (np.where(np.abs(x - np.round(x)) < 1e-6, np.round(x), x) for x in (start, end))
    group = np.zeros(len(found), dtype=np.int64)
    fused = (fusion or Fusion(temperature=0.02))(start, end, found.score, np.maximum(found.score, FLOOR), group)
    (solution,) = (solver or LinPro())([Problem(snippets, fused.start, fused.end, fused.confidence)])

    figure = _drawn(start, end, fused, solution, snippet_seconds, duration, title, truth)
    save_figure(figure, path)
    return solution


def draw_run(component: FusedDecoder | PseudoLabels, videos: Sequence[SeenVideo]) -> Figure:
    """What a run's own decoder or labelling makes of a video: the class of its tags with the best candidate.

    Args:
        component: with the run's own settings; of a labelling, the fusion of its last generation.
        videos: one.

    Raises:
        DataError: it has no candidate.
    """
    (video,) = videos
    meta = video.meta
    found = candidates_of(component.decoder, video.outputs, meta)
    tagged = found.take(np.isin(found.label, video.tags))
    found = tagged if len(tagged) else found
    if not len(found):
        raise DataError(f"video {meta.id!r} has no candidate to draw: no class passes the decoder's rule.")
    label = found.label[np.argmax(found.score)]
    found = found.take(found.label == label)
    found = found.take(np.argsort(found.score, kind="stable"))
    per_snippet = meta.num_snippets / found.axis.samples
    start, end = found.start * per_snippet, found.end * per_snippet
    generations = getattr(component, "generations", None)
    fusion = generations[max(generations)] if generations else component.fusion
    fused = fusion(start, end, found.score, found.inside, np.zeros(len(found), dtype=np.int64))
    solver = getattr(component, "linpro", LinPro())
    (solution,) = solver([Problem(meta.num_snippets, fused.start, fused.end, fused.confidence)])
    name = video.classes[label] if label < len(video.classes) else "background"
    title = f"{meta.id}, {name}, fused at temperature {fusion.temperature:g}"
    truth = [(first, last) for own, first, last in video.truth if own == label]
    return _drawn(start, end, fused, solution, meta.snippet_seconds, meta.duration, title, truth)


def _drawn(
    start: np.ndarray,
    end: np.ndarray,
    fused: Fused,
    solution: Solution,
    snippet_seconds: float,
    duration: float,
    title: str,
    truth: Sequence[tuple[float, float]],
) -> Figure:
    """Three strips over time; candidates, rising by confidence, from `start` to `end` in snippets."""
    from matplotlib import colormaps

    figure = new_figure(10, 6.4)
    candidates, instances, label = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 2))
    # a candidate wears the colour of the instance it went into; instances are coloured along the video
    rank = np.empty(len(fused.picked))
    rank[np.argsort(fused.start)] = np.linspace(0, 1, len(rank))
    colours = colormaps["turbo"](0.05 + 0.9 * rank)
    into = np.searchsorted(np.sort(fused.picked), fused.leader)
    shade = colours[np.argsort(fused.picked)][into]
    rows = np.arange(len(start))
    candidates.barh(rows, (end - start) * snippet_seconds, left=start * snippet_seconds, height=0.8, color=shade)
    candidates.set_yticks([])
    candidates.set_ylabel(f"{len(start)} candidates\nby confidence")
    left, width = fused.start * snippet_seconds, (fused.end - fused.start) * snippet_seconds
    instances.bar(left, fused.confidence, width, align="edge", color=colours, alpha=0.6, edgecolor=colours)
    instances.set_ylabel(f"{len(fused.start)} fused instances\nconfidence q")
    edges = np.arange(len(solution.label) + 1) * snippet_seconds
    label.stairs(solution.label, edges, fill=True, color="tab:red", alpha=0.75)
    label.set_ylabel("pseudo label g\nper snippet")
    label.set_xlabel("seconds")
    for axis in (candidates, instances, label):
        for first, last in truth:
            axis.axvspan(first, last, color="0.85", zorder=0)
        axis.set_xlim(0, duration)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    state = "" if solution.status == 0 else " (no solution: no label)"
    note = " | grey: true instances, for the reader alone" if len(truth) else ""
    candidates.set_title(f"{title}{state}{note}", loc="left", fontsize=10)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw one video of a detection file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=Path, required=True, help="detection file (.json or .json.gz)")
    parser.add_argument("--annotations", type=Path, required=True, help="annotation file: durations and instances")
    parser.add_argument("--video", required=True, help="video id")
    parser.add_argument("--label", help="class name (default: the class of the video's best detection)")
    parser.add_argument("--temperature", type=float, default=0.02, help="of the fusion (default 0.02)")
    parser.add_argument("--min-score", type=float, default=0.0, help="leave out candidates at or below it (default 0)")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    args = parser.parse_args(arguments)
    try:
        known = read_json(args.annotations)
        classes, videos = known["classes"], known["videos"]
        found = read_detections(args.detections, classes).videos
        for name in (videos, found):
            if args.video not in name:
                raise DataError(f"no video {args.video!r} there.{did_you_mean(args.video, name)}")
        rows = found[args.video]
        label = args.label or classes[int(rows.label[np.argmax(rows.score)])]
        if label not in classes:
            raise DataError(f"no class {label!r}.{did_you_mean(label, classes)}")
        rows = rows.take((rows.label == classes.index(label)) & (rows.score > args.min_score))
        truth = [(s["start"], s["end"]) for s in videos[args.video]["segments"] if s["label"] == label]
        fusion = Fusion(temperature=args.temperature)
        title = f"{args.video}, {label}, fused at temperature {args.temperature:g}"
        draw_labels(args.out, rows, videos[args.video]["duration"], title=title, truth=truth, fusion=fusion)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        print(f"{args.annotations} cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except WtalError as error:
        print(error, file=sys.stderr)
        return 2
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
