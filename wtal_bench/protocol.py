"""What a number means: the videos, classes, thresholds and evaluators of a protocol, and its hash over all of them.

`wtal_bench.protocols` holds those there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.locate import ANNOTATIONS
from wtal_bench.errors import DataError, listing
from wtal_bench.evaluation import (
    PRESETS,
    DetectionTable,
    EvaluationResult,
    GroundTruth,
    Preset,
)
from wtal_bench.files import digest
from wtal_bench.structures import Detections

OWN = "own"
"""What a config, or `--protocol`, calls the protocol of a data set of one's own."""


OWN_NAME = rf"{OWN}/([a-z0-9.-]{{1,40}}-)?[0-9a-f]{{12}}(@[a-z0-9_.-]{{1,40}})?"

HELD = "@"
"""Between a protocol's name and the videos that settings are chosen by: "thumos14/v1@holdout" (`held_out`)."""


def is_own(name: Any) -> bool:
    """Whether a protocol's name is that of somebody's own data."""
    return isinstance(name, str) and name.partition("/")[0].partition(HELD)[0] == OWN


@dataclass(frozen=True)
class Split:
    """The videos a subset must hold for its numbers to be comparable.

    Attributes:
        videos: how many; instances: their annotated instances.
        sha256: of the sorted ids, joined by newlines.
        content: of what the annotations say of them (`split_content`); "" where no one file is the protocol's.
    """

    videos: int
    instances: int
    sha256: str
    content: str = ""

    @property
    def videos_alone(self) -> dict[str, Any]:
        """What the protocol's hash covers: which videos, not which file says what happens in them."""
        return {"videos": self.videos, "instances": self.instances, "sha256": self.sha256}


def split_content(annotations: Annotations, subset: str) -> str:
    """SHA-256 (hex) of what annotations say of a subset: ids, instances, ambiguous spans and tags, in any order."""
    found = {
        name: [
            sorted([annotations.classes[part.label], part.start, part.end] for part in video.segments),
            sorted(map(list, video.ambiguous)),
            sorted(annotations.classes[label] for label in annotations.tags(name)),
        ]
        for name, video in annotations.videos.items()
        if video.subset == subset
    }
    return digest(found)


@dataclass(frozen=True)
class Protocol:
    """One versioned way of testing.

    Attributes:
        name: "dataset/version".
        dataset, version: its halves.
        subset, train_subset: names of the subsets scored on and trained on.
        classes: class names in label order.
        tious: thresholds, as literals.
        averages: name -> the thresholds it is the mean over; the last one ranks.
        main: the evaluator that ranks.
        variants: evaluators (names in `evaluation.PRESETS`), the main one first.
        annotation_file: name of the annotation file, None when it is generated.
        splits: subset -> the videos it must hold.
        synthetic: whether the videos are generated; such numbers never stand beside real ones.
        profile, world, generator: what is generated, and which version of the generator its time lines are of; that of
            its features is in their manifest, and tells tables apart as other features do.
        composition: hash of clips and recipe of composed videos, whose numbers stand beside no others either.
        chance: main average of a random curve under the true tags (`wtal-bench probe`: random), where it is known.
    """

    name: str
    subset: str
    train_subset: str
    classes: tuple[str, ...] = field(repr=False)
    tious: tuple[float, ...]
    averages: Mapping[str, tuple[float, ...]]
    variants: tuple[str, ...]
    annotation_file: str | None = None
    splits: Mapping[str, Split] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    profile: str | None = None
    world: int | None = None
    generator: int | None = None
    composition: str | None = None
    chance: float | None = None

    @property
    def dataset(self) -> str:
        """The name without the version."""
        return self.name.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version, "v1"."""
        return self.name.rpartition("/")[2]

    @property
    def held_out(self) -> str:
        """The videos that settings are chosen by, "holdout", which rank nothing; "" for a protocol that ranks."""
        return self.name.partition(HELD)[2]

    @property
    def main(self) -> str:
        """The evaluator that ranks."""
        return self.variants[0]

    @property
    def own(self) -> bool:
        """Whether it is somebody's own data set (`own_protocol`), which no leaderboard but their own ranks."""
        return is_own(self.name)

    @property
    def made_by_annotations(self) -> bool:
        """Whether an annotation file says what it is (data of one's own, composed videos), so that records must too."""
        return self.own or self.composition is not None

    @property
    def headline(self) -> str:
        """The average that ranks."""
        return list(self.averages)[-1]

    @property
    def annotation_names(self) -> tuple[str, ...]:
        """The names its annotation file may have."""
        return (ANNOTATIONS, *([self.annotation_file] if self.annotation_file else []))

    @property
    def synthetic(self) -> bool:
        """Whether the videos are generated."""
        return self.profile is not None

    @cached_property
    def presets(self) -> tuple[Preset, ...]:
        """The evaluators, switches and excluded videos included."""
        return tuple(PRESETS[name] for name in self.variants)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over the ranking rule; evaluators that do not rank have their own (`Preset.hash`)."""
        content = {
            "name": self.name,
            "subset": self.subset,
            "train_subset": self.train_subset,
            "classes": self.classes,
            "tious": self.tious,
            "averages": dict(self.averages),
            "ranked_by": [self.main, self.presets[0].hash, self.headline],
            "splits": {name: split.videos_alone for name, split in self.splits.items()},
            "generated": [self.profile, self.world, self.generator, *([self.composition] if self.composition else [])],
        }
        return digest(content)

    def ground_truth(self, annotations: Annotations) -> GroundTruth:
        """The annotated instances of the evaluated subset.

        Raises:
            DataError: the class list is another one, or no video is in the subset.
        """
        if tuple(annotations.classes) != self.classes:
            odd = sorted(set(annotations.classes) ^ set(self.classes))
            raise DataError(
                f"{annotations.path or annotations.version}: its class list is not that of {self.name} "
                f"({len(annotations.classes)} and {len(self.classes)} classes; "
                f"{'they differ in ' + listing(odd, 6) if odd else 'the same names in another order'}). Labels index "
                "that list, so the numbers would be of other classes. Give the annotation file of this protocol."
            )
        return GroundTruth.from_annotations(annotations, self.subset)

    def contents(self, annotations: Annotations) -> dict[str, str]:
        """By subset trained or scored on, the hash of what the annotations say of it (`split_content`)."""
        return {name: split_content(annotations, name) for name in (self.train_subset, self.subset)}

    def split_notes(self, annotations: Annotations) -> list[str]:
        """Sentences on where the annotations depart from the frozen videos; numbers are then not comparable."""
        notes = []
        made = f"synthetic-{self.profile}-world{self.world}-v{self.generator}"
        if self.synthetic and annotations.version != made:
            notes.append(
                f"the annotations are {annotations.version!r}; {self.name} is defined on {made!r}. Numbers on other "
                "videos are not comparable."
            )
        for name, split in self.splits.items():
            ids = sorted(key for key, video in annotations.videos.items() if video.subset == name)
            instances = sum(len(annotations.videos[key].segments) for key in ids)
            if hashlib.sha256("\n".join(ids).encode()).hexdigest() != split.sha256 or instances != split.instances:
                notes.append(
                    f"subset {name!r} holds {len(ids)} videos with {instances} instances; {self.name} is defined on "
                    f"{split.videos} with {split.instances}. Numbers on other videos are not comparable."
                )
        return notes

    def evaluate(
        self, detections: DetectionTable, annotations: Annotations, **options: Any
    ) -> dict[str, EvaluationResult]:
        """Score with every evaluator: name -> result, the main one first. `options` as in `evaluation.evaluate`.

        Raises:
            DataError: as `ground_truth`, or a NaN score or reversed segment among the detections.
        """
        truth = self.ground_truth(annotations)
        return {preset.name: preset.evaluate(detections, truth, self.tious, **options) for preset in self.presets}

    def score(self, videos: Mapping[str, Detections], annotations: Annotations) -> dict[str, Any]:
        """Score detections (seconds) with every evaluator.

        Returns:
            {"main": name, "variants": {name: {"hash": of the evaluator, "tious": [...], "mAP": [...], "ap": {class:
            [...]}, "averages": {name: mean}, "videos": n, "instances": n, "detections": n, "ignored": n}}}; unrounded
            fractions, None where undefined; `ignored` rows took no part (unknown class, Ambiguous filter, video left
            out).

        Raises:
            DataError: as `evaluate`.
        """
        results = self.evaluate(DetectionTable.from_videos(videos), annotations)
        return self.report(results)

    def report(self, results: Mapping[str, EvaluationResult]) -> dict[str, Any]:
        """What `score` returns, from results at hand."""
        return {"main": self.main, "variants": {name: self._table(name, result) for name, result in results.items()}}

    def _table(self, name: str, result: EvaluationResult) -> dict[str, Any]:
        return {
            "hash": PRESETS[name].hash,
            "tious": list(self.tious),
            "mAP": _numbers(result.mAP),
            "ap": {name: _numbers(row) for name, row in zip(result.classes, result.ap)},
            "averages": {name: result.average_over(tious) for name, tious in self.averages.items()},
            "videos": result.counts.videos,
            "instances": result.counts.instances,
            "detections": result.counts.detections,
            "ignored": result.counts.ignored,
        }


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]
