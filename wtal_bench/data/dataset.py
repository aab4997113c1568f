"""The training side of a data set: features, video-level tags and what is known of each video. No temporal segment.

`VideoSet.build` reads annotations, reduces them to tags and lets go of them: nothing reachable from a `VideoSet`
(or its pickle, which loader workers receive) holds the start or end of an instance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.data.annotations import SEGMENTS, Annotations
from wtal_bench.data.sampling import Sampling
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.stratify import stratified
from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.names import alike_hint
from wtal_bench.structures import VideoMeta

if TYPE_CHECKING:
    from wtal_bench.interfaces import Batch


@dataclass(frozen=True, eq=False)
class VideoSet:
    """Some videos of a store with their video-level tags, in a fixed order.

    Attributes:
        store: where the features are.
        ids: N video ids; the position in it is a video's `Batch.index`.
        classes: C class names.
        labels: [N,C] float32 multi-hot tags.
        rows: [N] int64 position of each video in the store.
        metas: N `VideoMeta`; durations are those of the annotations, fps and stride those of the features.
        skipped: ids left out because they have no features (`missing="skip"`).
    """

    store: FeatureStore
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    rows: np.ndarray
    metas: tuple[VideoMeta, ...]
    skipped: tuple[str, ...] = ()

    @classmethod
    def build(
        cls,
        store: FeatureStore,
        annotations: Annotations,
        ids: Sequence[str],
        classes: Sequence[str] | None = None,
        *,
        split: str = "train",
        training: bool = False,
        missing: str = "refuse",
        tags: str = SEGMENTS,
    ) -> VideoSet:
        """Join features and tags.

        Args:
            store: the features.
            annotations: read for tags, durations and frame counts; not kept.
            ids: the videos wanted, in order, e.g. `annotations.subset("train")`.
            classes: class names in the order of the label columns; None = `annotations.classes`.
            split: the split's name, for texts.
            training: refuse videos without any tag, which teach nothing and give NaN in most losses.
            missing: "refuse" or "skip" videos without features.
            tags: the tag list the labels come from (see `Annotations.tags`).

        Raises:
            DataError: an empty split, a video without annotation or without features, a class that is not in
                `classes`, a training video without tags; the text names the first few.
            ConfigError: `missing` is neither of the two.
        """
        if missing not in ("refuse", "skip"):
            raise ConfigError(
                f"missing must be 'refuse' or 'skip', got {missing!r}.{did_you_mean(missing, ('refuse', 'skip'))}"
            )
        where = annotations.path or annotations.version
        if not ids:
            raise DataError(f"split {split!r} of {where} holds no video; choose another subset or exclude list.")
        if len(set(ids)) != len(ids):
            raise DataError(f"split {split!r} of {where} names a video twice.")
        unknown = [video for video in ids if video not in annotations.videos]
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(ids)} videos of split {split!r} are not in {where}: {listing(unknown, 5)}."
                f"{did_you_mean(unknown[0], annotations.videos)}"
            )
        skipped = tuple(video for video in ids if video not in store)
        if len(skipped) == len(ids) or (skipped and missing == "refuse"):
            raise _no_features(store, split, skipped, len(ids))
        kept = tuple(video for video in ids if video in store)
        classes = tuple(annotations.classes if classes is None else classes)
        labels = _multi_hot(annotations, kept, classes, where, tags)
        if training and not labels.any(axis=1).all():
            bare = [video for video, tagged in zip(kept, labels.any(axis=1)) if not tagged]
            raise DataError(
                f"{len(bare)} training videos of {where} have no tag: {listing(bare, 5)}. Give them `labels` or "
                "segments, or leave them out of the training subset."
            )
        metas = tuple(_meta(store, annotations, video) for video in kept)
        rows = np.array([store.row(video) for video in kept], dtype=np.int64)
        return cls(store, kept, classes, labels, rows, metas, skipped)

    def __len__(self) -> int:
        return len(self.ids)

    def gather(
        self,
        indices: Sequence[int] | np.ndarray,
        sampling: str | Mapping[str, Any] | Sampling = "whole",
        *,
        seed: int = 0,
        epoch: int = 0,
        device: Any = None,
        streams: Sequence[str] | None = None,
        dtype: str = "float32",
    ) -> Batch:
        """Sample some videos of the set into one padded mini-batch; `Batch.index` is the position in the set.

        Arguments as in `wtal_bench.data.gather.gather`; `indices` are B positions in this set.

        Raises:
            DataError: no video, or a position outside the set.
        """
        index = np.asarray(indices)
        if index.ndim != 1 or len(index) == 0 or index.dtype.kind not in "iu":
            raise DataError(f"gather needs at least one position in this set of videos, got {indices!r}.")
        if index.min() < 0 or index.max() >= len(self):
            raise DataError(f"gather needs positions 0 .. {len(self) - 1} of this set of videos, got {indices!r}.")
        from wtal_bench.data.gather import gather  # torch: a set of videos is looked at without it

        return gather(
            self.store,
            self.rows[index],
            sampling,
            labels=self.labels[index],
            seed=seed,
            epoch=epoch,
            device=device,
            streams=streams,
            dtype=dtype,
            index=index,
            meta=[self.metas[at] for at in index],
        )

    def take(self, index: Sequence[int] | np.ndarray) -> VideoSet:
        """Return the videos at some positions, in that order, as a set of their own."""
        index = np.asarray(index, dtype=np.int64)
        return replace(
            self,
            ids=tuple(self.ids[at] for at in index),
            labels=self.labels[index],
            rows=self.rows[index],
            metas=tuple(self.metas[at] for at in index),
        )

    def holdout(self, fraction: float, seed: int) -> tuple[VideoSet, VideoSet]:
        """Split off some videos to choose a checkpoint by, so that nobody looks at the test set.

        Stratified by tags: as far as videos allow, every class keeps a video in both parts and about `fraction` of
        its videos go to the second.

        Args:
            fraction: share of videos to hold out, between 0 and 1.
            seed: the same seed gives the same split.

        Returns:
            (training part, held-out part), each in the order of this set.

        Raises:
            ConfigError: a fraction outside 0..1, a negative seed, or too few videos to split.
        """
        if not 0 < fraction < 1:
            raise ConfigError(f"holdout fraction must lie between 0 and 1, got {fraction!r}; 0.1 is usual.")
        if seed < 0:
            raise ConfigError(f"holdout seed must be 0 or above, got {seed!r}.")
        if len(self) < 2:
            raise ConfigError(f"a set of {len(self)} videos cannot be split; hold nothing out.")
        order = np.random.default_rng([seed, 0x484F4C44]).permutation(len(self))
        held = stratified(self.labels > 0, min(len(self) - 1, max(1, round(fraction * len(self)))), order)
        return self.take(np.flatnonzero(~held)), self.take(np.flatnonzero(held))


def _no_features(store: FeatureStore, split: str, missing: Sequence[str], wanted: int) -> DataError:
    near = alike_hint(missing, store.ids) or did_you_mean(missing[0], store.ids)
    if len(missing) == wanted:
        near = f" None was found: the store names its videos like {store.ids[0]!r}.{near}"
    return DataError(
        f"{len(missing)} of {wanted} videos of split {split!r} have no features in {store.folder}: "
        f"{listing(missing, 5)}.{near} Import them with `wtal-bench import-features`, or leave them out with "
        "missing='skip'."
    )


def _multi_hot(
    annotations: Annotations, ids: Sequence[str], classes: tuple[str, ...], where: Any, tags: str
) -> np.ndarray:
    column = {name: at for at, name in enumerate(classes)}
    labels = np.zeros((len(ids), len(classes)), dtype=np.float32)
    for row, video in enumerate(ids):
        for label in annotations.tags(video, tags):
            name = annotations.classes[label]
            if name not in column:
                raise DataError(
                    f"{where}: video {video!r} is tagged {name!r}, which is not in the class list."
                    f"{did_you_mean(name, classes)}"
                )
            labels[row, column[name]] = 1
    return labels


def _meta(store: FeatureStore, annotations: Annotations, video: str) -> VideoMeta:
    meta, known = store.meta(video), annotations.videos[video]
    # Frame counts of the annotations count the original video's frames: of use only if features were made at its rate.
    frames = meta.num_frames or (known.frames if known.fps == meta.fps else None)
    return replace(meta, id=video, duration=known.duration, num_frames=frames)
