"""Which videos of a data set a run saw: every annotated video of a split is in exactly one of a few lists.

The lists are the `data` section of a record (its shape: `wtal_bench.leaderboard.record`): a run that trained on half
of the videos, or was tested without one, says so, whatever let it (`data.missing`, `data.only`, a folder that lacks
files).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import listing

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""What splits of a run are called; a protocol has names of its own for the subsets they are taken from."""


@dataclass(frozen=True)
class Coverage:
    """One split of a run.

    Attributes:
        split: "train", "validation" (training videos held out to choose a checkpoint by) or "test".
        subset: the annotations' name of the subset it is taken from.
        ids: the videos used, sorted.
        missing: annotated videos without features; of a detection file, those it does not name.
        left_out: videos that have features and are left out on purpose (`data.only`).
        bare: videos of the subset that teach or score nothing: without any tag, or without an instance.
        held_out: of the training split, how many of its videos are the validation split.
        with_features: annotated videos with features, used or not.
        instances: annotated instances of used, missing and left-out videos.
        instances_lost: those of the missing and the left-out ones.
        preset: the evaluator whose published choice of test videos these are, "" for all or another choice.
    """

    split: str
    subset: str
    ids: tuple[str, ...]
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    held_out: int = 0
    with_features: int = 0
    instances: int = 0
    instances_lost: int = 0
    preset: str = ""

    @property
    def used(self) -> int:
        """How many videos are used."""
        return len(self.ids)

    @property
    def annotated(self) -> int:
        """How many videos there are to use."""
        return len(self.ids) + self.held_out + len(self.missing) + len(self.left_out)

    @property
    def text(self) -> str:
        """As tables show it: "212/212"; held-out training videos are used too."""
        return f"{self.used + self.held_out}/{self.annotated}"

    def as_dict(self) -> dict[str, Any]:
        """Return what a record holds."""
        return {
            "subset": self.subset,
            "annotated": self.annotated,
            "with_features": self.with_features,
            "used": self.used,
            "held_out": self.held_out,
            "instances": self.instances,
            "instances_lost": self.instances_lost,
            "ids_hash": ids_hash(self.ids),
            "ids": list(self.ids),
            "missing": list(self.missing),
            "left_out": list(self.left_out),
            "bare": list(self.bare),
            **({"preset": self.preset} if self.preset else {}),
        }

    @classmethod
    def from_dict(cls, split: str, value: Mapping[str, Any]) -> Coverage:
        """Return what `as_dict` gave."""
        lists = {name: tuple(value[name]) for name in ("ids", "missing", "left_out", "bare")}
        plain = ("subset", "held_out", "with_features", "instances", "instances_lost")
        return cls(split, **lists, **{name: value[name] for name in plain}, preset=value.get("preset", ""))


def cover(
    split: str,
    subset: str,
    annotations: Annotations,
    wanted: Iterable[str],
    used: Collection[str],
    *,
    there: Collection[str],
    held_out: Collection[str] = (),
    presets: Mapping[str, Collection[str]] | None = None,
    alone: bool = False,
) -> Coverage:
    """Sort the videos of a subset by what became of them.

    Args:
        split: what the run calls it.
        subset: what the annotations call it.
        annotations: which videos there are, and how many instances.
        wanted: the videos the protocol takes of it (with a tag, with an instance); the others are bare.
        used: those that were used.
        there: videos that have features (or that a detection file names).
        held_out: training videos of the validation split.
        presets: published choices of videos: an evaluator's name -> the videos it does without.
        alone: the split is no whole subset (held-out videos), so what it does not want is not bare.
    """
    wanted, used, held_out = set(wanted), set(used), set(held_out)
    away = wanted - used - held_out
    ids = () if alone else annotations.subset(subset)
    lost = {video for video in away if video not in there}
    chosen = next((name for name, out in (presets or {}).items() if away and away == set(out) & wanted), "")
    return Coverage(
        split,
        subset,
        ids=tuple(sorted(used)),
        missing=tuple(sorted(lost)),
        left_out=tuple(sorted(away - lost)),
        bare=tuple(sorted(set(ids) - wanted)),
        held_out=len(held_out),
        with_features=sum(video in there for video in wanted),
        instances=_instances(annotations, wanted),
        instances_lost=_instances(annotations, away),
        preset=chosen,
    )


def ids_hash(ids: Iterable[str]) -> str:
    """SHA-256 (hex) of some video ids: sorted, joined by newlines, as protocols name their splits."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def coverage_text(coverage: Coverage, lacking: str = "have no features") -> str:
    """Say in words what a split lacks; empty when nothing is missing.

    Args:
        coverage: of the split.
        lacking: what is said of the missing videos.
    """
    if not coverage.missing and not coverage.left_out:
        return ""
    parts = []
    if coverage.missing:
        parts.append(f"{len(coverage.missing)} {lacking} ({listing(coverage.missing, 3)})")
    if coverage.left_out:
        parts.append(f"{len(coverage.left_out)} are left out by data.only ({listing(coverage.left_out, 3)})")
    choice = f"; these are the videos of {coverage.preset}" if coverage.preset else ""
    if coverage.split == TEST:
        choice = f" and count as missed{choice}"
    return (
        f"{coverage.split}: {coverage.used + coverage.held_out} of {coverage.annotated} videos are used: "
        f"{' and '.join(parts)}; {coverage.instances_lost} of {coverage.instances} annotated instances are lost{choice}"
    )


def _instances(annotations: Annotations, videos: Iterable[str]) -> int:
    return sum(len(annotations.videos[video].segments) for video in videos)
