"""From the config's `data` section to features, annotations and splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wtal_bench.data.annotations import SEGMENTS, Annotations
from wtal_bench.data.coverage import TEST, TRAIN, VALIDATION, Coverage, cover
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.feature_notes import feature_facts
from wtal_bench.data.locate import find_annotations, find_features
from wtal_bench.data.note import Note
from wtal_bench.data.notes import data_notes
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError, WtalError, did_you_mean, listing
from wtal_bench.files import expand
from wtal_bench.names import composed
from wtal_bench.protocols import (
    COMPOSED,
    OWN,
    Protocol,
    composed_protocol,
    get_protocol,
    held_annotations,
    held_out,
    own_protocol,
    taken_apart,
)
from wtal_bench.reading import MIB, is_file, read_text
from wtal_bench.running.settings import Data


@dataclass(frozen=True)
class Opened:
    """A data set ready for use.

    Attributes:
        protocol: what is measured.
        store: the features.
        annotations: tags for training; segments for the evaluator alone.
        tags: the tag list that is trained on.
        only: the videos to take; None takes all.
    """

    protocol: Protocol
    store: FeatureStore
    annotations: Annotations
    tags: str = SEGMENTS
    only: frozenset[str] | None = None

    def training(self, missing: str) -> VideoSet:
        """The training videos with their tags."""
        return VideoSet.build(
            self.store,
            self.annotations,
            self._chosen(self._trainable()),
            self.protocol.classes,
            split=self.protocol.train_subset,
            training=True,
            missing=missing,
            tags=self.tags,
        )

    def test(self, missing: str) -> VideoSet:
        """The videos the protocol evaluates: those of its subset with an annotated instance (all, of one's own)."""
        return VideoSet.build(
            self.store,
            self.annotations,
            self._chosen(self._testable()),
            self.protocol.classes,
            split=self.protocol.subset,
            missing=missing,
            tags=self.tags,
        )

    def training_coverage(self, videos: VideoSet, holdout: VideoSet | None = None) -> list[Coverage]:
        """What became of the videos of the training subset.

        Args:
            videos: those that are trained on.
            holdout: those of them that are held out to choose a checkpoint by.
        """
        held = () if holdout is None else holdout.ids
        subset, wanted = self.protocol.train_subset, self._trainable()
        found = [cover(TRAIN, subset, self.annotations, wanted, videos.ids, there=self.store, held_out=held)]
        if holdout is not None:
            found.append(cover(VALIDATION, subset, self.annotations, held, held, there=self.store, alone=True))
        return found

    def test_coverage(self, videos: VideoSet) -> Coverage:
        """What became of the videos the protocol evaluates."""
        return cover(
            TEST,
            self.protocol.subset,
            self.annotations,
            self._testable(),
            videos.ids,
            there=self.store,
            presets={preset.name: (*preset.exclude, *preset.untested) for preset in self.protocol.presets},
        )

    def notes(
        self, coverage: Sequence[Coverage], videos: Sequence[VideoSet], trained: Mapping[str, Any] | None = None
    ) -> list[Note]:
        """What a reader of the numbers should know of the data, a summary first (`data.notes`).

        Args:
            coverage: of the splits used.
            videos: the splits.
            trained: the `features` of the checkpoint that is tested.
        """
        known = {meta.id: self.store.meta(meta.id).duration for part in videos for meta in part.metas}
        return data_notes(
            self.protocol,
            self.annotations,
            coverage=coverage,
            features=feature_facts(self.store),
            metas=[meta for part in videos for meta in part.metas],
            durations=known,
            trained=trained,
            more=self._choices(),
        )

    def _choices(self) -> list[Note]:
        """What the config chose: other tags than the segments'."""
        notes = []
        if self.tags != SEGMENTS:
            counts = [
                f"{len(self.annotations.tag_differences(self.tags, ids))} of {len(ids)} {name} videos"
                for name in (self.protocol.train_subset, self.protocol.subset)
                if (
                    ids := [video for video in self.annotations.subset(name) if self.annotations.videos[video].segments]
                )
            ]
            text = f"tags are {self.tags!r}: they differ from the labels of the segments for {listing(counts)}"
            notes.append(Note("tags", text))
        return notes

    def _trainable(self) -> list[str]:
        """The training videos with a tag; a video without one teaches nothing."""
        return [v for v in self.annotations.subset(self.protocol.train_subset) if self.annotations.tags(v, self.tags)]

    def _testable(self) -> list[str]:
        """The test videos with an annotated instance; of one's own, all."""
        annotated = self.annotations.videos
        return [v for v in self.annotations.subset(self.protocol.subset) if annotated[v].segments or self.protocol.own]

    def _chosen(self, ids: list[str]) -> list[str]:
        return ids if self.only is None else [video for video in ids if video in self.only]


def open_data(data: Data, device: str, where: str) -> Opened:
    """Find, or generate, the data a config names.

    Args:
        data: the config's section.
        device: where training runs, for features resident on the GPU.
        where: config file, for error texts.

    Raises:
        DataError: nothing there; the text says what is missing, where it was looked for, and how to get it.
        ConfigError: unknown protocol or an impossible combination.
    """
    protocol = _named(data, where)
    if data.resident == "gpu" and device == "cpu":
        raise ConfigError(f"{where}: data.resident='gpu' needs a GPU; use 'map' or 'ram' on this machine.")
    if data.synthetic is not None:
        folder = _synthetic_folder(data, protocol, where)
        features, annotation_file = folder / data.features, folder / data.annotations
    else:
        features, annotation_file = _find(data, protocol, where)
    store = FeatureStore.open(features, {"map": None, "ram": "ram", "gpu": "cuda"}[data.resident])
    annotations = Annotations.load(annotation_file)
    _check_made(store, protocol, where)
    if protocol is None:
        protocol = own_protocol(annotations, data.protocol)
        annotations = held_annotations(protocol, annotations)
    else:
        annotations = held_annotations(protocol, annotations)
        protocol.ground_truth(annotations)  # refuses another class list before anything trains on it
    return Opened(
        protocol, store, annotations, _tags(data, protocol, annotations, where), _only(data, annotations, where)
    )


def protocol_of(data: Data, where: str) -> Protocol:
    """The protocol a config's numbers are of; one's own is made of its annotations.

    Raises:
        WtalError: as `open_data`; no features are looked for.
    """
    protocol = _named(data, where)
    if protocol is not None:
        return protocol
    if data.root is None:
        raise ConfigError(f"{where}: data.protocol='own' needs data.root, the folder of your data set.")
    try:
        found = Annotations.load(find_annotations(OWN, (data.annotations,), folder=data.root))
        return own_protocol(found, data.protocol)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _named(data: Data, where: str) -> Protocol | None:
    """The protocol of that name; None is one's own."""
    base, part = taken_apart(data.protocol)
    if base == OWN:
        return None
    try:
        if base.startswith(f"{COMPOSED}/") and data.root is not None:
            return held_out(_composed(data, base), part) if part else _composed(data, base)
        return get_protocol(data.protocol)
    except WtalError as error:
        raise ConfigError(f"{where}: data.protocol: {error} A data set of your own: protocol='own'.") from error


def _composed(data: Data, name: str) -> Protocol:
    """The protocol of the composed data set in `data.root`, which must be the one of that name."""
    root = expand(data.root)
    protocol = composed_protocol(Annotations.load(find_annotations(data.protocol, (data.annotations,), folder=root)))
    if protocol.name != name:
        raise ConfigError(f"{root} holds {protocol.name}, not {name}.")
    return protocol


def _check_made(store: FeatureStore, protocol: Protocol | None, where: str) -> None:
    """Composed features belong to composed protocols, and those to nothing else."""
    made = store.manifest.get("composed") is True
    if protocol is not None and made != (protocol.composition is not None):
        raise DataError(
            f"{where}: the features in {store.folder} are {'composed of trimmed clips' if made else 'not composed'}, "
            f"protocol {protocol.name} is of {'other' if made else 'composed'} videos. Name the protocol that "
            "`wtal-bench compose` printed for composed features, and no other."
        )


def _tags(data: Data, protocol: Protocol, annotations: Annotations, where: str) -> str:
    if data.tags == SEGMENTS or (protocol.own and data.tags not in annotations.tag_lists):
        return SEGMENTS  # a data set of one's own need not have the lists of the one the recipe was written for
    try:
        annotations.tag_list(data.tags)
    except DataError as error:
        raise DataError(f"{where}: data.tags: {error}") from error
    return data.tags


def _only(data: Data, annotations: Annotations, where: str) -> frozenset[str] | None:
    if data.only is None:
        return None
    ids = read_only(data, where)
    unknown = [video for video in ids if video not in annotations.videos]
    if unknown:
        raise DataError(
            f"{where}: data.only={data.only!r} names {len(unknown)} of {len(ids)} videos that the annotations do not "
            f"have: {listing(unknown, 5)}.{did_you_mean(unknown[0], annotations.videos)}"
        )
    return frozenset(ids)


def read_only(data: Data, where: str) -> list[str]:
    """The ids of the file that `data.only` names: one a line, looked for here and then in the data set's folder.

    Raises:
        DataError: it is not there, is no text, or names no video.
    """
    places = [expand(data.only)]
    places += [expand(data.root) / data.only] if data.root is not None else []
    path = next(filter(is_file, places), places[0])
    try:
        lines = map(str.strip, read_text(path, limit=64 * MIB).splitlines())
        ids = [composed(line) for line in lines if line]
    except DataError as error:
        raise DataError(f"{where}: data.only={data.only!r} cannot be read as a text of video ids: {error}") from error
    if not ids:
        raise DataError(f"{where}: data.only={data.only!r} names no video; write one id a line.")
    return sorted(set(ids))


def _synthetic_folder(data: Data, protocol: Protocol | None, where: str) -> Path:
    from wtal_bench.data.synthetic import ensure_synthetic

    if protocol is None or not protocol.synthetic:
        raise ConfigError(
            f"{where}: data.synthetic with protocol {data.protocol}: synthetic videos are scored by a synthetic "
            "protocol alone, e.g. synthetic/v2."
        )
    world = data.synthetic.get("world", 0)
    if protocol.held_out and world != protocol.world:
        raise ConfigError(
            f"{where}: data.protocol {protocol.name} is of world {protocol.world}, data.synthetic.world is {world}: "
            "set it to the same."
        )
    try:
        return ensure_synthetic(data.synthetic.get("profile", "demo"), world)
    except DataError as error:
        raise DataError(f"{where}: data.synthetic: {error}") from error


def _find(data: Data, protocol: Protocol | None, where: str) -> tuple[Path | str, Path]:
    """The feature store and the annotation file; never falls back to anything else."""
    if protocol is None and data.root is None:
        raise ConfigError(f"{where}: data.protocol='own' needs data.root, the folder of your data set.")
    dataset = data.root if protocol is None else protocol.dataset
    names = (data.annotations,)
    if protocol is not None and data.annotations in protocol.annotation_names:
        names = protocol.annotation_names
    look = {"folder": data.root, "synthetic_config": _stand_in_config(where)}
    try:
        features = find_features(dataset, data.features, **look)
    except DataError as error:
        raise DataError(f"{where}: data.features={data.features!r:.200}: {error}") from error
    try:
        return features, find_annotations(dataset, names, **look)
    except DataError as error:
        raise DataError(f"{where}: data.annotations={data.annotations!r:.200}: {error}") from error


def _stand_in_config(where: str) -> str:
    """The synthetic config of the same method, if there is one."""
    path = Path(where)
    synthetic = path.with_name(f"{path.stem.rpartition('_')[0]}_synthetic{path.suffix}")
    return str(synthetic) if synthetic.is_file() else "configs/cola_synthetic.py"
