"""Hold-out protocols, by which settings are chosen so that nobody looks at the test videos: NAME@PART.

`thumos14/v1@holdout` trains on four fifths of the training videos and scores the fifth that was held out (every class
in both parts as far as videos allow; the same videos everywhere). `activitynet13/v1@SUBSET` scores another subset of
the annotation file than the two the protocol trains and tests on. `synthetic/v2@world1` is the protocol on another
world of the generator: other videos of the same kind, all of them trained and scored as usual; with
`synthetic/v2@world1.val` scored on that world's subset `val`.

Numbers of a hold-out protocol are of their own scale: they stand in no table of the leaderboard, and none is filed.
The temporal annotations of held-out videos reach the evaluator alone, as those of test videos do.
"""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.stratify import fifth
from wtal_bench.errors import DataError
from wtal_bench.protocol import HELD, Protocol

HOLDOUT = "holdout"
"""The part that is cut from the training videos, where the annotations have no subset of that name."""

_WORLD = re.compile(r"world(\d{1,9})(?:\.([a-z]{1,20}))?")
_SUBSET = re.compile(r"[a-z0-9_.-]{1,40}")


def taken_apart(name: str) -> tuple[str, str]:
    """A protocol's name -> (name of the protocol that ranks, part that settings are chosen by or "")."""
    base, _, part = name.partition(HELD)
    return base, part


def held_out(protocol: Protocol, part: str) -> Protocol:
    """The hold-out protocol of one that ranks.

    Args:
        protocol: which ranks.
        part: "holdout", "world1", "world1.val", or a subset of the annotations.

    Raises:
        DataError: it would be the test videos themselves, the training videos, or no such world.
    """
    name = f"{protocol.name}{HELD}{part}"
    offered = f"Name {HOLDOUT!r} (a fifth of the training videos)" + (
        ", or another world of the generator, such as 'world1'."
        if protocol.synthetic
        else ", or another subset of the annotations."
    )
    world = _WORLD.fullmatch(part)
    subset = (world[2] or protocol.subset) if world else part
    if subset == protocol.subset and (not world or int(world[1]) == protocol.world):
        raise DataError(
            f"{name}: these are the test videos of {protocol.name}. Settings chosen by them have seen the test, and "
            f"their numbers are worth nothing. {offered}"
        )
    if subset == protocol.train_subset:
        raise DataError(f"{name}: settings are not chosen by the very videos that are trained on. {offered}")
    if not _SUBSET.fullmatch(part) or (world and not protocol.synthetic):
        raise DataError(f"{name}: {part!r} names no videos of {protocol.dataset}. {offered}")
    chosen = {"world": int(world[1]), "subset": subset} if world else {"subset": subset}
    return replace(protocol, name=name, splits=MappingProxyType({}), **chosen)


def held_annotations(protocol: Protocol, annotations: Annotations) -> Annotations:
    """The annotations as a protocol divides them: a fifth of the training videos in its subset "holdout".

    Those of a protocol that ranks, and those that have the subset, come back as they are.

    Raises:
        DataError: too few training videos have an annotated instance.
    """
    subsets = {video.subset for video in annotations.videos.values()}
    if not protocol.held_out or protocol.subset != HOLDOUT or HOLDOUT in subsets:
        return annotations
    held = fifth(annotations, annotations.subset(protocol.train_subset))
    videos = {
        name: replace(video, subset=HOLDOUT) if name in held else video for name, video in annotations.videos.items()
    }
    return replace(annotations, videos=videos)
