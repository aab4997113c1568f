"""Curves and clues that know nothing, or everything: what a benchmark's numbers lie between.

Curves are activation sequences [T,C] made from the annotations, from chance or from one plain number a snippet, to be
decoded with the true video labels and scored like a model. Clues are what might tell a video's class without looking
at it (length, order, id); their accuracy must stay near the share of the largest class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from wtal_bench.data.annotations import VideoAnnotation


def coverage(video: VideoAnnotation, num_classes: int, snippets: int, snippet_seconds: float) -> np.ndarray:
    """Return [T,C] the share of every snippet that is covered by instances of every class.

    Args:
        video: its annotation.
        num_classes: C.
        snippets: T.
        snippet_seconds: length of a snippet.
    """
    start, end = np.array([(segment.start, segment.end) for segment in video.segments]).reshape(-1, 2).T
    edges = np.arange(snippets + 1) * snippet_seconds
    overlap = np.minimum(end, edges[1:, None]) - np.maximum(start, edges[:-1, None])
    member = np.eye(num_classes)[[segment.label for segment in video.segments]].reshape(-1, num_classes)
    return np.minimum(np.maximum(overlap, 0) / snippet_seconds @ member, 1.0)


def random_cas(rng: np.random.Generator, snippets: int, run: int = 1) -> np.ndarray:
    """Return [T] uniform noise; with `run` > 1 smoothed over as many snippets, as slow as things change."""
    noise = rng.random(snippets + run - 1)
    return np.convolve(noise, np.full(run, 1 / run), mode="valid")


STATISTICS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "energy": lambda features: features.mean(axis=1),
        "norm": lambda features: np.sqrt((features**2).sum(axis=1)),
        "density": lambda features: (features > 0).mean(axis=1),
        "peak": lambda features: features.max(axis=1),
    }
)
"""Plain numbers of a snippet: features [T,D] -> [T]."""


def plain_signals(features: np.ndarray, streams: Mapping[str, tuple[int, int]]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, [T] float64) for every statistic of every stream of [T,D] features, and its negative."""
    for stream, (first, end) in streams.items():
        columns = features[:, first:end].astype(np.float64)
        for name, statistic in STATISTICS.items():
            signal = statistic(columns)
            yield f"{stream} {name}", signal
            yield f"-{stream} {name}", -signal


def largest_share(labels: np.ndarray) -> float:
    """Return the share of the most frequent of [V] labels: the accuracy of knowing nothing of a video."""
    return float(np.bincount(labels).max() / len(labels))


def lookup_accuracy(
    train_clue: np.ndarray, train_label: np.ndarray, test_clue: np.ndarray, test_label: np.ndarray
) -> float:
    """Return the accuracy of guessing, for every clue (small integers >= 0), its most frequent training label."""
    clues = int(max(train_clue.max(), test_clue.max())) + 1
    count = np.zeros((clues, int(train_label.max()) + 1))
    np.add.at(count, (train_clue, train_label), 1)
    # A clue never seen in training gets the label most frequent overall.
    guess = np.where(count.any(axis=1), count.argmax(axis=1), count.sum(axis=0).argmax())
    return float(np.mean(guess[test_clue] == test_label))


def length_accuracy(
    train_length: np.ndarray, train_label: np.ndarray, test_length: np.ndarray, test_label: np.ndarray, k: int = 7
) -> float:
    """Return the accuracy of guessing a video's class from its length: k nearest neighbours on log length."""
    distance = np.abs(np.log(test_length)[:, None] - np.log(train_length)[None, :])
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :k]
    votes = (np.eye(int(train_label.max()) + 1)[train_label[nearest]]).sum(axis=1)
    return float(np.mean(votes.argmax(axis=1) == test_label))
