"""A data set's videos as the probes read them: features, and how much of every snippet every class covers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import DataError
from wtal_bench.probing.curves import coverage

LEARNED = 40_000
"""Training snippets that linear scores learn from, at most; taken at equal distances."""


@dataclass(frozen=True)
class Watched:
    """One video.

    Attributes:
        name: its id.
        features: [T,D].
        covered: [T,C] share of every snippet that instances of every class cover.
        labels: [C] bool, its tags.
    """

    name: str
    features: np.ndarray
    covered: np.ndarray
    labels: np.ndarray

    @cached_property
    def action(self) -> np.ndarray:
        """[T] bool: mostly covered by some instance."""
        return (self.covered > 0.5).any(axis=1)

    @cached_property
    def background(self) -> np.ndarray:
        """[T] bool: not touched by any."""
        return (self.covered == 0).all(axis=1)


@dataclass(frozen=True)
class Material:
    """A feature store and its annotations."""

    store: FeatureStore
    annotations: Annotations

    def ids(self, subset: str) -> list[str]:
        """The videos of a subset that have features and an annotated instance.

        Raises:
            DataError: there is none.
        """
        annotated = self.annotations.videos
        ids = [name for name in self.annotations.subset(subset) if annotated[name].segments and name in self.store]
        if not ids:
            raise DataError(
                f"subset {subset!r} of {self.annotations.path or self.annotations.version} has no video with features "
                "and an annotated instance. Probes compare with the annotated times, so videos with tags alone do not "
                "serve."
            )
        return ids

    def watch(self, name: str) -> Watched:
        """Read a video."""
        meta, classes = self.store.meta(name), len(self.annotations.classes)
        labels = np.zeros(classes, dtype=bool)
        labels[list(self.annotations.tags(name))] = True
        covered = coverage(self.annotations.videos[name], classes, meta.num_snippets, meta.snippet_seconds)
        return Watched(name, np.asarray(self.store.video(name), dtype=np.float64), covered, labels)

    def videos(self, subset: str) -> Iterator[Watched]:
        """Read the videos of a subset, one at a time."""
        return map(self.watch, self.ids(subset))

    def lesson(self, subset: str) -> Lesson:
        """Take the snippets that linear scores learn from."""
        ids = self.ids(subset)
        total = sum(self.store.meta(name).num_snippets for name in ids)
        every = max(1, -(-total // LEARNED))
        rows = [(video.features[::every], video.covered[::every], video.labels) for video in map(self.watch, ids)]
        features, covered, labels = zip(*rows)
        video = np.repeat(np.arange(len(ids)), [len(part) for part in features])
        return Lesson(np.concatenate(features), np.concatenate(covered), np.stack(labels), video)


@dataclass(frozen=True)
class Lesson:
    """Snippets to learn from: `features` [N,D], `covered` [N,C], `labels` [V,C] bool of the videos, `video` [N]."""

    features: np.ndarray
    covered: np.ndarray
    labels: np.ndarray
    video: np.ndarray
