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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.locate import ANNOTATIONS, find_annotations
from wtal_bench.errors import DataError, PluginError, WtalError, did_you_mean, listing
from wtal_bench.evaluation import (
    PRESETS,
    DetectionTable,
    EvaluationResult,
    GroundTruth,
    Preset,
)
from wtal_bench.files import digest
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.plugins import protocol_infos
from wtal_bench.structures import Detections


@dataclass(frozen=True)
class Split:
    """The videos a subset must hold for its numbers to be comparable.

    Attributes:
        videos: how many; instances: their annotated instances.
        sha256: of the sorted ids, joined by newlines.
    """

    videos: int
    instances: int
    sha256: str


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
        composition: hash of clips and recipe of composed videos, whose numbers stand beside no others either.
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

    def __reduce__(self) -> tuple:
        # a protocol is its name: workers get the one their own code defines, with its hash
        if self.composition is None:
            return get_protocol, (self.name,)
        return _composed, (self.name, self.classes, dict(self.splits), self.composition)

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
        """Whether it is somebody's own data set (`own_protocol`), which no leaderboard ranks."""
        return self.dataset == OWN

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
            "splits": {name: asdict(split) for name, split in self.splits.items()},
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
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name.startswith(f"{COMPOSED}/"):
        return _found_composed(name)
    strangers = {info.name: info for info in protocol_infos()}
    if name in strangers:
        return _stranger(strangers[name])
    names = [*PROTOCOLS, *sorted(strangers)]
    raise WtalError(
        f"no protocol {name!r}; there are {listing(names)}.{RETIRED.get(name) or did_you_mean(name, names)}"
    )


@functools.cache
def _stranger(info: ComponentInfo) -> Protocol:
    """Import a plugin's protocol and check what the rest of the harness takes for granted."""
    origin = f"protocol {info.name!r} of plugin {info.plugin!r} ({info.target})"
    module, _, attribute = info.target.partition(":")
    try:
        protocol = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a stranger's module may fail in any way; the report names it
        raise PluginError(f"{origin} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(protocol, Protocol) and protocol.name == info.name):
        raise PluginError(f"{origin} must be a wtal_bench.protocols.Protocol of that name; it is {protocol!r}.")
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


COMPOSED = "composed"
"""The family of protocols of videos composed of trimmed clips (`wtal-bench compose`): composed/NAME/v1."""


def composed_protocol(annotations: Annotations) -> Protocol:
    """The protocol of a composed data set: its classes, all its videos, tIoU 0.1 to 0.7.

    Its name says what was composed, its hash covers clips and recipe, so equal hashes mean equal videos and numbers of
    other compositions, of drawn or of filmed videos never share a table with them.

    Raises:
        DataError: the annotations are of no composed data set.
    """
    made = re.fullmatch(rf"{COMPOSED}-(.+)-([0-9a-f]{{12}})", annotations.version)
    if made is None:
        raise DataError(
            f"{annotations.path or 'the annotations'}: version {annotations.version!r} is of no composed data set; "
            "`wtal-bench compose` makes them. For videos of your own use protocol='own'."
        )
    subsets = dict.fromkeys(video.subset for video in annotations.videos.values())
    splits = {}
    for subset in sorted(subsets):
        ids = sorted(annotations.subset(subset))
        instances = sum(len(annotations.videos[name].segments) for name in ids)
        splits[subset] = Split(len(ids), instances, hashlib.sha256("\n".join(ids).encode()).hexdigest())
    name = f"{COMPOSED}/{made[1]}/v1"
    protocol = _composed(name, tuple(annotations.classes), splits, f"{made[2]}:{annotations.sha256}")
    _KNOWN_COMPOSED[name] = protocol
    return protocol


_KNOWN_COMPOSED: dict[str, Protocol] = {}
"""Those that were opened in this process, wherever they lie."""


def _composed(name: str, classes: tuple[str, ...], splits: Mapping[str, Split], composition: str) -> Protocol:
    return Protocol(
        name=name,
        subset="test",
        train_subset="train",
        classes=classes,
        tious=_SEVEN,
        averages=_SEVEN_AVERAGES,
        variants=("activitynet",),
        splits=MappingProxyType(dict(splits)),
        composition=composition,
    )


def _found_composed(name: str) -> Protocol:
    """The protocol of a composed data set that was opened, or lies where data sets are looked for."""
    if name in _KNOWN_COMPOSED:
        return _KNOWN_COMPOSED[name]
    try:
        protocol = composed_protocol(Annotations.load(find_annotations(name.rpartition("/")[0])))
    except DataError as error:
        raise DataError(
            f"protocol {name} is defined by the videos that `wtal-bench compose --name "
            f"{name.split('/')[1]}` makes, and they were not found: {error}"
        ) from error
    if protocol.name != name:
        raise DataError(f"the annotations found for protocol {name} are of {protocol.name}; move them to its folder.")
    return protocol


OWN = "own"
"""What a config calls the protocol of a data set of one's own."""


def own_protocol(annotations: Annotations) -> Protocol:
    """The protocol of a data set of one's own: its classes, train and test subsets, tIoU 0.1 to 0.7.

    It is named after the annotations and frozen by nothing, so its numbers are for their owner: the leaderboard does
    not know the name and refuses them.
    """
    return Protocol(
        name=f"{OWN}/{(annotations.sha256 or annotations.version)[:12]}",
        subset="test",
        train_subset="train",
        classes=tuple(annotations.classes),
        tious=_SEVEN,
        averages=_SEVEN_AVERAGES,
        variants=("activitynet",),
    )


def locate_annotations(protocol: Protocol, path: str | Path | None = None) -> Path | Annotations:
    """Find the annotation file of a protocol; a synthetic protocol's annotations are made anew.

    Args:
        protocol: what is scored.
        path: a file, or a folder that holds one. Default: where `data.locate` looks.

    Raises:
        DataError: no such file; the text lists the places looked at.
    """
    if path is not None:
        path = Path(path).expanduser()
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


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


_THUMOS14 = _names(
    "BaseballPitch|BasketballDunk|Billiards|CleanAndJerk|CliffDiving|CricketBowling|CricketShot|Diving|"
    "FrisbeeCatch|GolfSwing|HammerThrow|HighJump|JavelinThrow|LongJump|PoleVault|Shotput|SoccerPenalty|"
    "TennisSwing|ThrowDiscus|VolleyballSpiking"
)

_ACTIVITYNET12 = _names(
    "Archery|Ballet|Bathing dog|Belly dance|Breakdancing|Brushing hair|Brushing teeth|Bungee jumping|"
    "Cheerleading|Chopping wood|Clean and jerk|Cleaning shoes|Cleaning windows|Cricket|Cumbia|Discus throw|"
    "Dodgeball|Doing karate|Doing kickboxing|Doing motocross|Doing nails|Doing step aerobics|Drinking beer|"
    "Drinking coffee|Fixing bicycle|Getting a haircut|Getting a piercing|Getting a tattoo|Grooming horse|"
    "Hammer throw|Hand washing clothes|High jump|Hopscotch|Horseback riding|Ironing clothes|Javelin throw|"
    "Kayaking|Layup drill in basketball|Long jump|Making a sandwich|Mixing drinks|Mowing the lawn|Paintball|"
    "Painting|Ping-pong|Plataform diving|Playing accordion|Playing badminton|Playing bagpipes|"
    "Playing field hockey|Playing flauta|Playing guitarra|Playing harmonica|Playing kickball|Playing lacrosse|"
    "Playing piano|Playing polo|Playing racquetball|Playing saxophone|Playing squash|Playing violin|"
    "Playing volleyball|Playing water polo|Pole vault|Polishing forniture|Polishing shoes|Preparing pasta|"
    "Preparing salad|Putting on makeup|Removing curlers|Rock climbing|Sailing|Shaving|Shaving legs|Shot put|"
    "Shoveling snow|Skateboarding|Smoking a cigarette|Smoking hookah|Snatch|Spinning|Springboard diving|"
    "Starting a campfire|Tai chi|Tango|Tennis serve with ball bouncing|Triple jump|Tumbling|"
    "Using parallel bars|Using the balance beam|Using the pommel horse|Using uneven bars|Vacuuming floor|"
    "Walking the dog|Washing dishes|Washing face|Washing hands|Windsurfing|Wrapping presents|Zumba"
)

_ACTIVITYNET13 = _names(
    "Applying sunscreen|Archery|Arm wrestling|Assembling bicycle|BMX|Baking cookies|Ballet|Bathing dog|"
    "Baton twirling|Beach soccer|Beer pong|Belly dance|Blow-drying hair|Blowing leaves|Braiding hair|"
    "Breakdancing|Brushing hair|Brushing teeth|Building sandcastles|Bullfighting|Bungee jumping|Calf roping|"
    "Camel ride|Canoeing|Capoeira|Carving jack-o-lanterns|Changing car wheel|Cheerleading|Chopping wood|"
    "Clean and jerk|Cleaning shoes|Cleaning sink|Cleaning windows|Clipping cat claws|Cricket|Croquet|Cumbia|"
    "Curling|Cutting the grass|Decorating the Christmas tree|Disc dog|Discus throw|Dodgeball|"
    "Doing a powerbomb|Doing crunches|Doing fencing|Doing karate|Doing kickboxing|Doing motocross|"
    "Doing nails|Doing step aerobics|Drinking beer|Drinking coffee|Drum corps|Elliptical trainer|"
    "Fixing bicycle|Fixing the roof|Fun sliding down|Futsal|Gargling mouthwash|Getting a haircut|"
    "Getting a piercing|Getting a tattoo|Grooming dog|Grooming horse|Hammer throw|Hand car wash|"
    "Hand washing clothes|Hanging wallpaper|Having an ice cream|High jump|Hitting a pinata|Hopscotch|"
    "Horseback riding|Hula hoop|Hurling|Ice fishing|Installing carpet|Ironing clothes|Javelin throw|"
    "Kayaking|Kite flying|Kneeling|Knitting|Laying tile|Layup drill in basketball|Long jump|Longboarding|"
    "Making a cake|Making a lemonade|Making a sandwich|Making an omelette|Mixing drinks|Mooping floor|"
    "Mowing the lawn|Paintball|Painting|Painting fence|Painting furniture|Peeling potatoes|Ping-pong|"
    "Plastering|Plataform diving|Playing accordion|Playing badminton|Playing bagpipes|"
    "Playing beach volleyball|Playing blackjack|Playing congas|Playing drums|Playing field hockey|"
    "Playing flauta|Playing guitarra|Playing harmonica|Playing ice hockey|Playing kickball|Playing lacrosse|"
    "Playing piano|Playing polo|Playing pool|Playing racquetball|Playing rubik cube|Playing saxophone|"
    "Playing squash|Playing ten pins|Playing violin|Playing water polo|Pole vault|Polishing forniture|"
    "Polishing shoes|Powerbocking|Preparing pasta|Preparing salad|Putting in contact lenses|Putting on makeup|"
    "Putting on shoes|Rafting|Raking leaves|Removing curlers|Removing ice from car|Riding bumper cars|"
    "River tubing|Rock climbing|Rock-paper-scissors|Rollerblading|Roof shingle removal|Rope skipping|"
    "Running a marathon|Sailing|Scuba diving|Sharpening knives|Shaving|Shaving legs|Shot put|Shoveling snow|"
    "Shuffleboard|Skateboarding|Skiing|Slacklining|Smoking a cigarette|Smoking hookah|Snatch|Snow tubing|"
    "Snowboarding|Spinning|Spread mulch|Springboard diving|Starting a campfire|Sumo|Surfing|Swimming|"
    "Swinging at the playground|Table soccer|Tai chi|Tango|Tennis serve with ball bouncing|Throwing darts|"
    "Trimming branches or hedges|Triple jump|Tug of war|Tumbling|Using parallel bars|Using the balance beam|"
    "Using the monkey bar|Using the pommel horse|Using the rowing machine|Using uneven bars|Vacuuming floor|"
    "Volleyball|Wakeboarding|Walking the dog|Washing dishes|Washing face|Washing hands|Waterskiing|"
    "Waxing skis|Welding|Windsurfing|Wrapping presents|Zumba"
)

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
        generator=2,
    )


_SYNTHETIC_CLASSES = {"tiny": 5, "demo": 10, "full": 20, "anet": 20}

_ALL = (
    Protocol(
        name="thumos14/v1",
        subset="test",
        train_subset="train",
        classes=_THUMOS14,
        tious=_SEVEN,
        averages=_SEVEN_AVERAGES,
        variants=(
            *("thumos_seconds_212", "thumos_seconds_210", "thumos_seconds_210_of_212"),
            *("thumos_snippet", "thumos_snippet_official", "wtalc"),
        ),
        annotation_file="thumos14.json",
        splits=MappingProxyType(
            {
                "train": Split(200, 3007, "8ec515dd8039cd7cca0ca260bd2c756b9395f52dda665e5d4cdbb571b9edf13a"),
                "test": Split(213, 3358, "3beac3218b854af44f88c41ee5f11e9aeaacb7f7df05c23af308ac6bcd2b454c"),
            }
        ),
    ),
    Protocol(
        name="activitynet12/v1",
        subset="val",
        train_subset="train",
        classes=_ACTIVITYNET12,
        tious=_TEN,
        averages=_TEN_AVERAGES,
        variants=("activitynet",),
        annotation_file="activitynet1.2.json",
        splits=MappingProxyType(
            {
                "train": Split(4441, 6588, "0f68c86297a4bab67327e8625362005a7ba40007433a1871c97334c8c49a988e"),
                "val": Split(2198, 3281, "c945e50428da8c286d922c35af07ee14733e6ee90bb185ddf7d0be9af06c91a9"),
            }
        ),
    ),
    Protocol(
        name="activitynet13/v1",
        subset="val",
        train_subset="train",
        classes=_ACTIVITYNET13,
        tious=_TEN,
        averages=_TEN_AVERAGES,
        variants=("activitynet",),
        annotation_file="activitynet1.3.json",
        splits=MappingProxyType(
            {
                "train": Split(9649, 14859, "b9487130be2f195d015f27b42c0ff685e64daf6baa1d2a46efee3defccad6c44"),
                "val": Split(4728, 7293, "e31aec79d36210ef27bf1589a602f344baf3796b6b29cf7ea81b179cb5fcad6a"),
            }
        ),
    ),
    _synthetic(
        "demo",
        "synthetic/v2",
        _SEVEN,
        _SEVEN_AVERAGES,
        Split(100, 899, "b98679dda33a4b5c69a83f523befc817bc1bca1d2c12451de2417d10b1cada66"),
        Split(100, 1148, "05d1a37efa1a4c785b2559a6ce08889a3eebdbbe109c559489a7cd8c52d91494"),
    ),
    _synthetic(
        "tiny",
        "synthetic_tiny/v2",
        _SEVEN,
        _SEVEN_AVERAGES,
        Split(10, 64, "49338fba3276f914dbc40b9270895e239a99ddb3a84e6e1f2542728a94a804a2"),
        Split(10, 45, "25b28aa0482e660f45d86140ce310e2cefa78d23ac6b6c50fbfa09f14c3d2bc5"),
    ),
    _synthetic(
        "full",
        "synthetic_full/v2",
        _SEVEN,
        _SEVEN_AVERAGES,
        Split(200, 2675, "12f43eab0f87100a5e044dc2d990aa150321b82fed4e605206e0de75febc4597"),
        Split(212, 3417, "a7e555eba9c42f09f01717fd99472fe7c9beca29500b874d78d6da2615c20a95"),
    ),
    _synthetic(
        "anet",
        "synthetic_anet/v2",
        _TEN,
        _TEN_AVERAGES,
        Split(400, 626, "c8426cbc4a6e4bc68febae2856192a44ebd9f041f7db9a05225e000d1cc1cc21"),
        Split(200, 284, "7e09afc4c1724480db683e6a38864e07f1c27cecf1aea8f8cd5b3b94f0ad18e2"),
    ),
)

RETIRED = {
    f"{name}/v1": f" The generator of {name}/v1 is gone: its actions shared one direction that gave them away (a "
    f"linear score fitted on some classes found the others as well, which real features do not allow). Use {name}/v2."
    for name in ("synthetic", "synthetic_tiny", "synthetic_full", "synthetic_anet")
}
"""Protocols that were, and why they are no more."""

PROTOCOLS = MappingProxyType({protocol.name: protocol for protocol in _ALL})
"""Every protocol by name."""
