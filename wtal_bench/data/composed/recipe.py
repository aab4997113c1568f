"""What is composed of what: classes and their timing, sizes, the cut; checked before anything is read."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from wtal_bench.data.composed.scenes import Cut
from wtal_bench.data.composed.timeline import THUMOS14_TIMING, ClassTiming, LongActions, RepeatedActions, TimeLine
from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.files import canonical_json, fits

TIMINGS = ("thumos14", "activitynet")
COMPOSER_VERSION = 1
"""Raised with every change of a single composed number."""

_OPTIONS = {
    "videos": "--videos",
    "two_classes": "--two-classes",
    "max_snippets": "--max-snippets",
    "clip_step": "--step",
    "seed": "--seed",
    "cut.same_scene": "--same-scene",
    "cut.speed": "--speed",
    "cut.fade_seconds": "--fade",
}
"""Attribute of a recipe -> the option that gives it."""
_LEAST_STEP, _GREATEST_SPEED = 1e-6, 1e6
"""Beyond these the place in a clip is no number any more; no camera and no clip comes near them."""


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes a composed data set, besides the clips.

    Attributes:
        name: of the data set; its protocol is composed/NAME/v1.
        actions: action classes in label order; they are sorted.
        backgrounds: classes that are shown between them, never annotated.
        timing: how time lines are drawn.
        near: action class -> background class that is shown in its scene as well.
        videos: of train, val and test.
        two_classes: share of the videos with several instances in which some are of a second class.
        least_snippets: a shorter video gets room before and behind, up to a length drawn between these.
        max_snippets: longest video; an instance that is longer ends with it.
        fps, stride: frames a second and frames between two snippets of the videos.
        clip_step: seconds between two moments of a clip.
        seed: of everything random.
        cut: how clips become a video.
    """

    name: str
    actions: tuple[str, ...]
    backgrounds: tuple[str, ...]
    timing: RepeatedActions | LongActions
    near: Mapping[str, str] = field(default_factory=dict)
    videos: tuple[int, int, int] = (200, 60, 200)
    two_classes: float = 0.18
    least_snippets: tuple[int, int] = (60, 90)
    max_snippets: int = 400
    fps: float = 25.0
    stride: int = 16
    clip_step: float = 0.28
    seed: int = 0
    cut: Cut = field(default_factory=Cut)

    def __post_init__(self) -> None:
        _check_words(self)
        _check_sizes(self)
        _check_timing(self)

    @property
    def snippet_seconds(self) -> float:
        """Length of a snippet."""
        return self.stride / self.fps

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it, lists for tuples: equal to what is read back from a manifest."""
        return json.loads(canonical_json({**asdict(self), "near": dict(self.near), "composer": COMPOSER_VERSION}))

    def time_line(self, rng: np.random.Generator, label: int) -> TimeLine:
        """Draw when what happens in one video of a class; an instance longer than the longest video ends with it."""
        line = self.timing.draw(rng, label, self.max_snippets, self.snippet_seconds)
        snippets = max(line.snippets, int(rng.integers(self.least_snippets[0], self.least_snippets[1] + 1)))
        snippets = min(snippets, self.max_snippets)
        before = round(rng.uniform(0, snippets - line.snippets) * self.snippet_seconds, 2)
        labels = line.label.copy()
        if len(labels) > 1 and len(self.actions) > 1 and rng.random() < self.two_classes:
            other = int(rng.choice([c for c in range(len(self.actions)) if c != label]))
            changed = rng.permutation(len(labels))[: rng.integers(1, len(labels))]
            labels[changed] = other
        # a timing keeps a video's first instance whatever its length, lest the video show nothing
        end = np.minimum(np.round(line.end + before, 2), self.duration(snippets))
        return TimeLine.sorted(label, np.round(line.start + before, 2), end, labels, snippets)

    def duration(self, snippets: int) -> float:
        """Seconds a video of so many snippets lasts."""
        return round(snippets * self.snippet_seconds, 2)


def class_list(
    there: Sequence[str], actions: Sequence[str] | None, backgrounds: Sequence[str] | None
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """Divide the classes of a set of clips.

    Args:
        there: the classes the clips have.
        actions: CLASS or CLASS=ROW of the timing table; None = all that are no background.
        backgrounds: None = all that are no action.

    Returns:
        Action class -> its row (None: the one of its name, else the next free one), sorted, and background classes.

    Raises:
        DataError: an unknown class, one that is both or given twice, none of one kind.
    """
    if not actions and not backgrounds:
        raise DataError(
            "say which classes are background (--background), or which are actions (--actions): an untrimmed video "
            f"needs both. The clips have {listing(there)}."
        )
    refuse_repeated("--actions", (_pair(text)[0] for text in actions or ()))
    refuse_repeated("--background", backgrounds or ())
    rows = dict(_pair(text) for text in actions or ())
    for name in (*rows, *(backgrounds or ())):
        if name not in there:
            raise DataError(f"no clip is of class {name!r}; there are {listing(there)}.{did_you_mean(name, there)}")
    both = sorted(set(rows) & set(backgrounds or ()))
    if both:
        raise DataError(f"{listing(both)} cannot be both action and background.")
    if not rows:
        rows = dict.fromkeys(name for name in there if name not in backgrounds)
    chosen = tuple(sorted(backgrounds)) if backgrounds else tuple(name for name in there if name not in rows)
    if not rows or not chosen:
        raise DataError(
            f"no class is left for the {'actions' if not rows else 'background'}; the clips have {listing(there)}."
        )
    return dict(sorted(rows.items())), chosen


def refuse_repeated(option: str, names: Iterable[str]) -> None:
    """Refuse a name that an option gives twice: only one of the two would count.

    Args:
        option: as it is written.
        names: what it gives, in order.

    Raises:
        DataError: one comes twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{option}: {name!r} is given twice; give it once.")
        seen.add(name)


def _pair(text: str) -> tuple[str, str | None]:
    name, _, row = text.partition("=")
    return name, row or None


def timing_for(timing: str, actions: Mapping[str, str | None]) -> RepeatedActions | LongActions:
    """Give every action class its time lines.

    Args:
        timing: "thumos14", "activitynet", or a CSV file with the columns of `ClassTiming`.
        actions: class -> row of the table, or None.

    Raises:
        DataError: no such table or row, or fewer rows than classes.
    """
    if timing == "activitynet":
        return LongActions(num_classes=len(actions))
    table = {row.name: row for row in THUMOS14_TIMING} if timing == "thumos14" else _read_timing(timing)
    for name, row in actions.items():
        if row is not None and row not in table:
            raise DataError(
                f"{name}={row}: {timing} has no row {row!r}; it has {listing(table)}.{did_you_mean(row, table)}"
            )
    taken = {row or name for name, row in actions.items()} & set(table)
    free = [row for row in table if row not in taken]
    wanting = [name for name, row in actions.items() if row is None and name not in table]
    if len(wanting) > len(free):
        raise DataError(
            f"{timing} has {len(table)} timing rows, {len(free)} of them not taken, for {len(wanting)} classes without "
            f"one ({listing(wanting, 4)}). Give classes a row they share, CLASS=ROW, or leave some out."
        )
    given = dict(zip(wanting, free))
    rows = [table[given.get(name) or row or name] for name, row in actions.items()]
    return RepeatedActions(tuple(rows), max_instances=40, min_length=1.3, min_gap=1.3)


def _read_timing(path: str) -> dict[str, ClassTiming]:
    if not path.endswith(".csv"):
        raise DataError(f"--timing {path!r}: give {listing(TIMINGS)} or a .csv file.{did_you_mean(path, TIMINGS)}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows, columns = list(reader), reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read timing {path}: {getattr(error, 'strerror', None) or error}.") from error
    missing = [key for key in ClassTiming._fields if key not in columns]
    if missing:
        raise DataError(
            f"--timing {path}, line 1: the column {missing[0]!r} is missing; it needs {listing(ClassTiming._fields)}, "
            f"separated by commas, and has {listing(columns)}.{did_you_mean(missing[0], columns)}"
        )
    if not rows:
        raise DataError(f"--timing {path}: has no row.")
    found: dict[str, ClassTiming] = {}
    for line, row in enumerate(rows, start=2):
        timed = _timing_row(f"--timing {path}, line {line}", row)
        if timed.name in found:
            raise DataError(
                f"--timing {path}, line {line}: a row {timed.name!r} stands above it already; a class takes its row by "
                "the name. Remove one of them, or give it another name."
            )
        found[timed.name] = timed
    return found


def _timing_row(place: str, row: Mapping[str, str | None]) -> ClassTiming:
    name = row["name"]
    if not (name or "").strip():
        raise DataError(f"{place}: no name; every row needs one, for a class takes its row by it.")
    try:
        return ClassTiming(name, *(float(row[key]) for key in ClassTiming._fields[1:]))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{place} ({name!r}): {listing(ClassTiming._fields[1:])} must be numbers (of natural logarithms; seconds): "
            f"{error}."
        ) from error


def _check_words(recipe: Recipe) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", recipe.name):
        raise DataError(
            f"--name {recipe.name!r} of composed data: use small letters, digits, - and _; it names the protocol "
            "composed/NAME/v1."
        )
    for action, other in recipe.near.items():
        for name, names, kind in ((action, recipe.actions, "action"), (other, recipe.backgrounds, "background")):
            if name not in names:
                raise DataError(
                    f"--near {action}={other}: {name!r} is no {kind} class; there are {listing(names)}."
                    f"{did_you_mean(name, names)}"
                )


def _said(name: str) -> str:
    """How a message names an attribute: by the option of `wtal-bench compose` that gives it, if there is one."""
    option = _OPTIONS.get(name, name)
    return option if option.strip("-").replace("-", "_") == name else f"{option} ({name})"


def _check_sizes(recipe: Recipe) -> None:
    for name, value, least in (
        *(("videos", count, 1) for count in recipe.videos),
        ("max_snippets", recipe.max_snippets, 8),
        ("stride", recipe.stride, 1),
        ("seed", recipe.seed, 0),
        ("cut.kinds", recipe.cut.kinds, 1),
    ):
        # the manifest is JSON, whose whole numbers have 64 bits
        if isinstance(value, bool) or not isinstance(value, int) or value < least or not fits(value):
            raise DataError(
                f"{_said(name)} of composed data must be a whole number of at least {least} that 64 bits hold, got "
                f"{value!r}."
            )
    for name, value, least in (
        ("fps", recipe.fps, 0),
        ("clip_step", recipe.clip_step, _LEAST_STEP),
        ("cut.segment_seconds", recipe.cut.segment_seconds, 0),
        ("cut.fade_seconds", recipe.cut.fade_seconds, 0),
        *(("cut.speed", speed, 0) for speed in recipe.cut.speed),
    ):
        if not least <= value < math.inf or not value:
            above = f"a number of at least {least:g}" if least else "a number above 0"
            raise DataError(f"{_said(name)} of composed data must be {above}, and finite, got {value!r}.")
    if recipe.cut.speed[1] > _GREATEST_SPEED:
        raise DataError(
            f"{_said('cut.speed')} of composed data must be at most {_GREATEST_SPEED:g}, got {recipe.cut.speed[1]!r}."
        )
    shares = {"two_classes": recipe.two_classes, "cut.same_scene": recipe.cut.same_scene}
    shares |= {"cut.near_share": recipe.cut.near_share, "cut.scene_weight": max(recipe.cut.scene_weight)}
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise DataError(f"{_said(name)} of composed data is a share, 0 to 1, got {value!r}.")
    for name, (low, high) in (
        ("cut.speed", recipe.cut.speed),
        ("cut.scene_weight", recipe.cut.scene_weight),
        ("least_snippets", recipe.least_snippets),
    ):
        if not 0 <= low <= high:
            raise DataError(
                f"{_said(name)} of composed data runs from its least to its greatest value, got {low} to {high}."
            )


def _check_timing(recipe: Recipe) -> None:
    room = recipe.max_snippets * recipe.snippet_seconds
    if isinstance(recipe.timing, LongActions):
        if room < recipe.timing.duration_range[0]:
            raise DataError(
                f"videos of at most {recipe.max_snippets} snippets ({room:g} s) are shorter than the shortest of this "
                f"timing ({recipe.timing.duration_range[0]:g} s); raise {_said('max_snippets')}."
            )
        return
    for name, row in zip(recipe.actions, recipe.timing.timing):
        numbers = row[1:]
        if not all(map(math.isfinite, numbers)) or min(row.count_sd, row.length_between, row.length_within) < 0:
            raise DataError(
                f"timing row {row.name!r} (class {name!r}): all must be finite, spreads at least 0: {numbers}."
            )
        if (length := math.exp(min(row.length_mu, 50))) > room - 1:
            raise DataError(
                f"timing row {row.name!r} (class {name!r}) cannot fit: its instances last {length:.3g} s (length_mu "
                f"{row.length_mu:g} is a natural logarithm), the longest video {room:g} s. Raise "
                f"{_said('max_snippets')}, or give the class another row, {name}=ROW."
            )
