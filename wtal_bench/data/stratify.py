"""Splitting videos so that every class keeps some in both parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError


def stratified(labels: np.ndarray, size: int, order: np.ndarray) -> np.ndarray:
    """Pick about `size` of N videos. Classes without a pick come first, the rarest of them first.

    Args:
        labels: [N,C] bool, the classes of each.
        size: how many.
        order: [N] permutation in which they are looked at; ties go to the first.

    Returns:
        [N] bool, the picks: one or more, and as far as videos allow every class keeps one in both parts.
    """
    shuffled = labels[order]
    left = shuffled.sum(axis=0)
    wanted = np.where(left > 1, np.maximum(1, np.round(left * (size / len(labels)))), 0)
    given = np.zeros_like(wanted)
    rarity = left.argsort(kind="stable").argsort(kind="stable") / (len(left) + 1)
    held = np.zeros(len(labels), dtype=bool)
    while held.sum() < size:
        # a video may go if each of its classes keeps another one
        free = ~held & ~(shuffled & (left <= 1)).any(axis=1)
        reachable = (shuffled & free[:, None]).any(axis=0)
        if not free.any():
            break
        uncovered = (given == 0) & (wanted > 0)
        need = (wanted - given) / (wanted + 1) + uncovered * (2 - rarity)
        picks = free & shuffled[:, np.where(reachable, need, -np.inf).argmax()] if reachable.any() else free
        # among those, the one that overshoots the other classes least
        cost = np.where(picks, (shuffled * (given >= wanted)).sum(axis=1), np.inf)
        pick = int(cost.argmin())
        held[pick] = True
        left, given = left - shuffled[pick], given + shuffled[pick]
    if not held.any():
        held[0] = True
    out = np.zeros(len(labels), dtype=bool)
    out[order[held]] = True
    return out


def fifth(annotations: Annotations, ids: Sequence[str]) -> set[str]:
    """The videos of `ids` that are held out of training to choose settings by: a fifth of those with an instance.

    Which ones follows from the ids and their labels alone (videos in the order of their hashes), so every machine
    and every version of a library picks the same.

    Raises:
        DataError: fewer than two of them have an annotated instance.
    """
    scored = [name for name in ids if annotations.videos[name].segments]
    if len(scored) < 2:
        raise DataError(
            f"{annotations.path or annotations.version}: {len(scored)} of {len(ids)} training videos have annotated "
            "instances; none can be held out to be scored. Name a subset of the annotations that is neither trained "
            "nor tested on."
        )
    labels = np.zeros((len(scored), len(annotations.classes)), dtype=bool)
    for row, name in enumerate(scored):
        labels[row, [segment.label for segment in annotations.videos[name].segments]] = True
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in scored]
    held = stratified(
        labels, max(1, round(len(scored) / 5)), np.array(sorted(range(len(scored)), key=hashes.__getitem__))
    )
    return {name for name, out in zip(scored, held, strict=True) if out}
