"""What a number means: data set, videos, classes, thresholds and evaluators, under a name that never changes meaning.

A protocol's ranking rule is frozen: split, classes, thresholds, averages and the evaluator that ranks. Its hash covers
those and stands in every record, so a row cannot drift when the code does: a changed rule gets a new version, old rows
keep theirs. `protocol.score` gives the numbers of all its evaluators at once, because the field publishes on several
scales (42.4 in seconds is 43.6 in the snippet loops for the same detections). Each evaluator has a hash of its own, so
one that does not rank may join a protocol without a new version: it is a further column, scored from the detections
that every record keeps.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.class_lists import ACTIVITYNET12, ACTIVITYNET13, THUMOS14
from wtal_bench.data.locate import ANNOTATIONS, find_annotations
from wtal_bench.discovery import quarantine
from wtal_bench.errors import DataError, PluginError, WtalError, did_you_mean, listing
from wtal_bench.evaluation import (
    PRESETS,
    DetectionTable,
    EvaluationResult,
    GroundTruth,
    Preset,
)
from wtal_bench.files import digest, expand
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.plugins import protocol_infos
from wtal_bench.protocol_checks import check_fields
from wtal_bench.structures import Detections


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
        profile, world, generator: what is generated, and by which version of the generator.
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

    def __reduce__(self) -> tuple:
        # a protocol is its name: workers get the one their own code defines, with its hash
        return (own_named, (self.name, self.classes)) if self.own else (get_protocol, (self.name,))

    @property
    def dataset(self) -> str:
        """The name without the version."""
        return self.name.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version, "v1"."""
        return self.name.rpartition("/")[2]

    @property
    def main(self) -> str:
        """The evaluator that ranks."""
        return self.variants[0]

    @property
    def own(self) -> bool:
        """Whether it is somebody's own data set (`own_protocol`), which no leaderboard but their own ranks."""
        return is_own(self.name)

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
            "generated": [self.profile, self.world, self.generator],
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


def get_protocol(name: str) -> Protocol:
    """Return the protocol of that name, ours or a plugin's.

    Raises:
        WtalError: there is none; the text lists those there are. PluginError: a plugin's is no protocol.
    """
    if not isinstance(name, str):
        raise WtalError(f"a protocol is a name such as thumos14/v1, got {name!r:.80}.")
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    strangers = {info.name: info for info in protocol_infos() if not why_refused(info)}
    if name in strangers:
        return _stranger(strangers[name])
    names = [*PROTOCOLS, *sorted(strangers)]
    own = f" Your own data: {OWN}, with --annotations." if is_own(name) else ""
    raise WtalError(f"no protocol {name!r}; there are {listing(names)}.{did_you_mean(name, names)}{own}")


def why_refused(info: ComponentInfo) -> str:
    """Why a plugin's protocol is not used although its plugin is: its data set has the name of one of ours; or ""."""
    dataset = info.name.partition("/")[0]
    if dataset == OWN or any(name.partition("/")[0] == dataset for name in PROTOCOLS):
        return f"protocol {info.name!r} is not used: the data set {dataset!r} is the harness's own; rename the plugin."
    return ""


@functools.cache
def _stranger(info: ComponentInfo) -> Protocol:
    """Import a plugin's protocol and check what the rest of the harness takes for granted."""
    origin = f"protocol {info.name!r} of plugin {info.plugin!r} ({info.target})"
    module, _, attribute = info.target.partition(":")
    try:
        with quarantine():  # a stranger's module may fail in any way; the report names it
            protocol = getattr(importlib.import_module(module), attribute)
    except PluginError as error:
        raise PluginError(f"{origin} cannot be imported: {error}") from error
    if not (isinstance(protocol, Protocol) and protocol.name == info.name):
        raise PluginError(f"{origin} must be a wtal_bench.protocols.Protocol of that name; it is {protocol!r}.")
    check_fields(protocol, origin)
    unknown = [preset for preset in protocol.variants if preset not in PRESETS]
    if unknown or not protocol.variants:
        raise PluginError(
            f"{origin}: {listing(unknown) or 'variants'} is no evaluator.{did_you_mean(str(unknown[:1]), PRESETS)} "
            f"There are {listing(PRESETS)}."
        )
    strays = [name for name, tious in protocol.averages.items() if not tious or set(tious) - set(protocol.tious)]
    if strays or not protocol.averages:
        raise PluginError(f"{origin}: averages {listing(strays)} must be means over some of its tious.")
    if not protocol.classes or len(set(protocol.classes)) != len(protocol.classes):
        raise PluginError(f"{origin}: classes must be different names, in label order.")
    if protocol.synthetic:
        raise PluginError(f"{origin}: generated data sets are the harness's own; leave `profile` out.")
    return protocol


OWN = "own"
"""What a config, or `--protocol`, calls the protocol of a data set of one's own."""


OWN_NAME = rf"{OWN}/([a-z0-9.-]{{1,40}}-)?[0-9a-f]{{12}}"


def own_protocol(annotations: Annotations) -> Protocol:
    """The protocol of a data set of one's own: its classes, train and test subsets, tIoU 0.1 to 0.7.

    It is named after the annotations' version and hash ("own/mine-1-47911843f9d2"), so rows of other annotations never
    share a table with it; its numbers are for their owner, on a leaderboard of their own.
    """
    version = re.sub(r"[^a-z0-9.]+", "-", annotations.version.lower()).strip("-.")[:40]
    sha256 = (annotations.sha256 or digest(annotations.version))[:12]
    return own_named(f"{OWN}/{version}-{sha256}" if version else f"{OWN}/{sha256}", annotations.classes)


def own_named(name: str, classes: Iterable[str]) -> Protocol:
    """One's own protocol of that name and those classes, as a record keeps them."""
    return Protocol(
        name=name,
        subset="test",
        train_subset="train",
        classes=tuple(classes),
        tious=_SEVEN,
        averages=_SEVEN_AVERAGES,
        variants=("activitynet",),
    )


def is_own(name: Any) -> bool:
    """Whether a protocol's name is that of somebody's own data."""
    return isinstance(name, str) and name.partition("/")[0] == OWN


def open_protocol(name: str, path: str | Path | None = None) -> tuple[Protocol, Annotations]:
    """The protocol a command was asked for, with its annotations; "own" takes both from the annotation file.

    Args:
        name: as given, "thumos14/v1", "own" or the whole name of one's own.
        path: annotation file or its folder; needed for one's own.

    Raises:
        WtalError: no such protocol. DataError: no annotations, or one's own of another name.
    """
    if not is_own(name):
        protocol = get_protocol(name)
        return protocol, load_annotations(protocol, path)
    if path is None:
        raise DataError(
            f"--protocol {name}: the annotation file of your own data says what is scored; name it with --annotations."
        )
    annotations = read_annotations(path)
    protocol = own_protocol(annotations)
    if name not in (OWN, protocol.name):
        raise DataError(f"{annotations.path} makes protocol {protocol.name}, asked for was {name}: other annotations.")
    return protocol, annotations


def read_annotations(path: str | Path) -> Annotations:
    """Read an annotation file, or the one of the usual name in a folder.

    Raises:
        DataError: there is none, or it is not readable.
    """
    path = expand(path)
    return Annotations.load(find_annotations(path.name, folder=path) if path.is_dir() else path)


def locate_annotations(protocol: Protocol, path: str | Path | None = None) -> Path | Annotations:
    """Find the annotation file of a protocol; a synthetic protocol's annotations are made anew.

    Args:
        protocol: what is scored.
        path: a file, or a folder that holds one. Default: where `data.locate` looks.

    Raises:
        DataError: no such file; the text lists the places looked at.
    """
    if path is not None:
        path = expand(path)
        if path.is_dir():
            return find_annotations(protocol.dataset, protocol.annotation_names, folder=path)
        if not path.is_file():
            raise DataError(f"there is no annotation file {path}. Give the JSON file of {protocol.dataset}.")
        return path
    if protocol.synthetic:
        from wtal_bench.data.synthetic import synthetic_annotations

        return synthetic_annotations(protocol.profile, protocol.world)
    return find_annotations(protocol.dataset, protocol.annotation_names)


def load_annotations(protocol: Protocol, path: str | Path | None = None) -> Annotations:
    """`locate_annotations`, read.

    Raises:
        DataError: not found, or not readable.
    """
    found = locate_annotations(protocol, path)
    return found if isinstance(found, Annotations) else Annotations.load(found)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


_SEVEN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
_TEN = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_SEVEN_AVERAGES = MappingProxyType({"0.1:0.5": _SEVEN[:5], "0.3:0.7": _SEVEN[2:], "0.1:0.7": _SEVEN})
_TEN_AVERAGES = MappingProxyType({"0.5:0.95": _TEN})


def _synthetic(profile: str, name: str, tious: tuple[float, ...], averages: Mapping, *splits: Split) -> Protocol:
    return Protocol(
        name=name,
        subset="test",
        train_subset="train",
        classes=tuple(f"syn_{index:02d}" for index in range(_SYNTHETIC_CLASSES[profile])),
        tious=tious,
        averages=averages,
        variants=("activitynet",),
        splits=MappingProxyType(dict(zip(("train", "test"), splits))),
        profile=profile,
        world=0,
        generator=1,
    )


_SYNTHETIC_CLASSES = {"tiny": 5, "demo": 10, "full": 20, "anet": 20}

_ALL = (
    Protocol(
        name="thumos14/v1",
        subset="test",
        train_subset="train",
        classes=THUMOS14,
        tious=_SEVEN,
        averages=_SEVEN_AVERAGES,
        variants=(
            *("thumos_seconds_212", "thumos_seconds_210", "thumos_seconds_210_of_212"),
            *("thumos_snippet", "thumos_snippet_official", "wtalc"),
        ),
        annotation_file="thumos14.json",
        splits=MappingProxyType(
            {
                "train": Split(
                    200,
                    3007,
                    "8ec515dd8039cd7cca0ca260bd2c756b9395f52dda665e5d4cdbb571b9edf13a",
                    "2685ae9a4ead66f25411aafd4cbb2bf2d03a26cfd666dafad6a3c67be901df9c",
                ),
                "test": Split(
                    213,
                    3358,
                    "3beac3218b854af44f88c41ee5f11e9aeaacb7f7df05c23af308ac6bcd2b454c",
                    "abc2001395d1057deaf54efb4d941e2507d45341639a1a554db5072dd4b6846f",
                ),
            }
        ),
    ),
    Protocol(
        name="activitynet12/v1",
        subset="val",
        train_subset="train",
        classes=ACTIVITYNET12,
        tious=_TEN,
        averages=_TEN_AVERAGES,
        variants=("activitynet",),
        annotation_file="activitynet1.2.json",
        splits=MappingProxyType(
            {
                "train": Split(
                    4441,
                    6588,
                    "0f68c86297a4bab67327e8625362005a7ba40007433a1871c97334c8c49a988e",
                    "910e7faa87d14a3021b7f99b3a9d8077af7dc261c9806910452f5f8963d779f1",
                ),
                "val": Split(
                    2198,
                    3281,
                    "c945e50428da8c286d922c35af07ee14733e6ee90bb185ddf7d0be9af06c91a9",
                    "5422391ae7a16c98fc38e04a48d75504d69f9e1d985fecae4b674bef59225f4a",
                ),
            }
        ),
    ),
    Protocol(
        name="activitynet13/v1",
        subset="val",
        train_subset="train",
        classes=ACTIVITYNET13,
        tious=_TEN,
        averages=_TEN_AVERAGES,
        variants=("activitynet",),
        annotation_file="activitynet1.3.json",
        splits=MappingProxyType(
            {
                "train": Split(
                    9649,
                    14859,
                    "b9487130be2f195d015f27b42c0ff685e64daf6baa1d2a46efee3defccad6c44",
                    "cee6da3b5901d066260ee92ca8c4a3a0eba35115463d43f5950ad2ef18767c1c",
                ),
                "val": Split(
                    4728,
                    7293,
                    "e31aec79d36210ef27bf1589a602f344baf3796b6b29cf7ea81b179cb5fcad6a",
                    "2183048a99d1a3dbbb23c80d68cb3a7f18b8a4f73981aec351a056f05451f30b",
                ),
            }
        ),
    ),
    _synthetic(
        "demo",
        "synthetic/v1",
        _SEVEN,
        _SEVEN_AVERAGES,
        Split(
            100,
            899,
            "b98679dda33a4b5c69a83f523befc817bc1bca1d2c12451de2417d10b1cada66",
            "168cabfdb8796afacd2423909378963185cc4b8399418b5de4f4ba93e61ebfc9",
        ),
        Split(
            100,
            1148,
            "05d1a37efa1a4c785b2559a6ce08889a3eebdbbe109c559489a7cd8c52d91494",
            "c8bb52aa869bbad5f18b978f5daca572010074498d0342d76c82b0407b7bddc2",
        ),
    ),
    _synthetic(
        "tiny",
        "synthetic_tiny/v1",
        _SEVEN,
        _SEVEN_AVERAGES,
        Split(
            10,
            64,
            "49338fba3276f914dbc40b9270895e239a99ddb3a84e6e1f2542728a94a804a2",
            "fde60dfb9be72a5a84ead18ef9799537dc36c842d044ece0d3791ee27b14b9b6",
        ),
        Split(
            10,
            45,
            "25b28aa0482e660f45d86140ce310e2cefa78d23ac6b6c50fbfa09f14c3d2bc5",
            "974f753702041238588ae44d83b1ac9d48efcd120e4d7b6f105df26310273067",
        ),
    ),
    _synthetic(
        "full",
        "synthetic_full/v1",
        _SEVEN,
        _SEVEN_AVERAGES,
        Split(
            200,
            2675,
            "12f43eab0f87100a5e044dc2d990aa150321b82fed4e605206e0de75febc4597",
            "131104a79371433a6d1dfd4f6a23367f2071015e115f445d7c3da4dc2247098e",
        ),
        Split(
            212,
            3417,
            "a7e555eba9c42f09f01717fd99472fe7c9beca29500b874d78d6da2615c20a95",
            "45197b4b9f8d658592edaff23f0c6e71545cb61fffac1e3a6b006dd09eee058d",
        ),
    ),
    _synthetic(
        "anet",
        "synthetic_anet/v1",
        _TEN,
        _TEN_AVERAGES,
        Split(
            400,
            626,
            "c8426cbc4a6e4bc68febae2856192a44ebd9f041f7db9a05225e000d1cc1cc21",
            "4cc80e016a2acb66b33b928f4e7737d6d9e873f2f0204b9842a4618d099a83a1",
        ),
        Split(
            200,
            284,
            "7e09afc4c1724480db683e6a38864e07f1c27cecf1aea8f8cd5b3b94f0ad18e2",
            "b719c2a130a384138f4577d78baa1c33c00c9721cbaecba6dd18b8fd4b41be30",
        ),
    ),
)

PROTOCOLS = MappingProxyType({protocol.name: protocol for protocol in _ALL})
"""Every protocol by name."""
