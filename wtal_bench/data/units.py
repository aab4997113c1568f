"""Which unit times are in, told from where they lie in videos of known duration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

EARLY = 0.1
"""Detections that all end before this share of the video, in most videos, are in no seconds."""

SNIPPET = 16
"""Frames of a snippet, as features of this field mostly have them."""


@dataclass(frozen=True)
class Spans:
    """Detections of V videos as one column of N ends, and what is known of the videos.

    Attributes:
        end: [N] ends of the detections, video after video.
        sizes: [V] how many of them each video has, at least 1.
        duration: [V] seconds.
        fps: [V] frames a second, NaN where unknown.
        truth: [V] where the last annotated instance ends, NaN where there is none; 0 says as little.
    """

    end: np.ndarray
    sizes: np.ndarray
    duration: np.ndarray
    fps: np.ndarray
    truth: np.ndarray

    @property
    def last(self) -> np.ndarray:
        """[V] where the last detection of every video ends."""
        return np.maximum.reduceat(self.end, np.concatenate([[0], np.cumsum(self.sizes)[:-1]]))


def unit_text(spans: Spans) -> str:
    """Say that times look like another unit than seconds, and like which; empty when they do not."""
    last, duration = spans.last, spans.duration
    of_row = np.repeat(duration, spans.sizes)
    late = spans.end > of_row
    beyond = last > 1.05 * duration + 1
    if late.mean() > 0.5 or beyond.mean() > 0.5:
        where = (
            f"{np.count_nonzero(late)} of {len(late)} detections end after their video does (the median at "
            f"{np.median(spans.end / of_row):.1f} times its length)"
        )
        return f"{where}: {_question(spans, 'frames or snippets')}"
    share = float(np.median(last / duration))
    annotated = spans.truth > 0  # ActivityNet has a video whose only instance ends at 0 s
    against = np.median(last[annotated] / spans.truth[annotated]) if annotated.any() else 0.0
    if len(last) > 1 and share < EARLY and against < 2 * EARLY:
        where = f"the last detection ends within the first {100 * share:.2g} % of its video in the median"
        return f"{where}: {_question(spans, 'minutes, shares of the video or snippets')}"
    if _same_everywhere(last, duration):
        where = f"the last detection ends at about {np.median(last):.3g} in every video, however long it is"
        return f"{where}: {_question(spans, 'snippets of features resized to a fixed length')}"
    return ""


def _same_everywhere(last: np.ndarray, duration: np.ndarray) -> bool:
    """Whether ends follow the number of something that is alike in all videos (percent, samples), not their length."""
    if len(last) < 5:
        return False
    lengths, ends, shares = (np.log(np.maximum(x, 1e-9)) for x in (duration, last, last / duration))
    return bool(_spread(lengths) > 0.3 and _spread(ends) < 0.1 and _spread(ends) < _spread(shares) / 3)


def _spread(values: np.ndarray) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low)


def _question(spans: Spans, otherwise: str) -> str:
    likely = sorted(_likely(spans), key=lambda item: item[0])
    if not likely:
        return f"are the times {otherwise}? Seconds are needed; divide frames by the frame rate of each video."
    _, unit, mend = likely[0]
    others = f" (or {', '.join(other for _, other, _ in likely[1:3])})" if len(likely) > 1 else ""
    return f"are the times {unit}{others}? Seconds are needed: {mend}."


def _likely(spans: Spans) -> Iterator[tuple[float, str, str]]:
    """Units in which the detections would span their videos: (how unevenly, name, how to mend it), the best lowest."""
    last, duration, ones = spans.last, spans.duration, np.ones(len(spans.duration))
    fps = np.where(np.isfinite(spans.fps), spans.fps, 25.0)
    candidates: tuple[tuple[str, Any, str], ...] = (
        ("milliseconds", ones / 1000, "divide by 1000"),
        ("frames", 1 / fps, "divide frames by the frame rate of each video"),
        ("snippets", SNIPPET / fps, f"multiply snippets by stride / fps, such as {SNIPPET} / 25"),
        ("minutes", 60 * ones, "multiply by 60"),
        ("hours", 3600 * ones, "multiply by 3600"),
        ("shares of the video", duration, "multiply by the duration of each video"),
        ("percent of the video", duration / 100, "multiply by a hundredth of the duration of each video"),
    )
    for unit, factor, mend in candidates:
        covered = last * factor / duration
        whole = {"shares of the video": 1.0, "percent of the video": 100.0}.get(unit)
        if whole is not None and last.max() > whole * (1 + 1e-6):
            continue
        if 0.3 <= np.median(covered) <= 1.05 and covered.max() <= 1.5:
            target = np.where(spans.truth > 0, spans.truth / duration, 0.9)
            yield float(np.abs(np.log(np.maximum(covered, 1e-9) / np.minimum(target, 1.0))).mean()), unit, mend
