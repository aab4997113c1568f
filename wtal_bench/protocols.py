"""What a number means: data set, videos, classes, thresholds and evaluators, under a name that never changes meaning.

A protocol's ranking rule is frozen: split, classes, thresholds, averages and the evaluator that ranks. Its hash covers
those and stands in every record, so a row cannot drift when the code does: a changed rule gets a new version, old rows
keep theirs. `protocol.score` gives the numbers of all its evaluators at once, because the field publishes on several
scales (42.4 in seconds is 43.6 in the snippet loops for the same detections). Each evaluator has a hash of its own, so
one that does not rank may join a protocol without a new version: it is a further column, scored from the detections
that every record keeps.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import importlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.class_lists import ACTIVITYNET12, ACTIVITYNET13, THUMOS14
from wtal_bench.data.locate import find_annotations
from wtal_bench.discovery import quarantine
from wtal_bench.errors import DataError, PluginError, WtalError, did_you_mean, listing
from wtal_bench.evaluation import (
    PRESETS,
)
from wtal_bench.files import digest, expand
from wtal_bench.held_out import held_annotations, held_out, taken_apart
from wtal_bench.interfaces import ComponentInfo
from wtal_bench.plugins import protocol_infos
from wtal_bench.protocol import HELD, OWN, Protocol, Split, is_own, split_content
from wtal_bench.protocol_checks import check_fields


def get_protocol(name: str) -> Protocol:
    """Return the protocol of that name, ours or a plugin's.

    Raises:
        WtalError: there is none; the text lists those there are. PluginError: a plugin's is no protocol.
    """
    if not isinstance(name, str):
        raise WtalError(f"a protocol is a name such as thumos14/v1, got {name!r:.80}.")
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    base, part = taken_apart(name)
    if part and not is_own(name):
        return held_out(get_protocol(base), part)
    if is_composed(name):
        return _found_composed(name)
    strangers = {info.name: info for info in protocol_infos() if not why_refused(info)}
    if name in strangers:
        return _stranger(strangers[name])
    names = [*PROTOCOLS, *sorted(strangers)]
    own = f" Your own data: {OWN}, with --annotations." if is_own(name) else ""
    near = RETIRED.get(name) or did_you_mean(name, names)
    raise WtalError(f"no protocol {name!r}; there are {listing(names)}.{near}{own}")


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


COMPOSED = "composed"
"""The family of protocols of videos composed of trimmed clips (`wtal-bench compose`): composed/NAME/v1."""


def composed_protocol(annotations: Annotations) -> Protocol:
    """The protocol of a composed data set: its classes, all its videos, tIoU 0.1 to 0.7.

    Its name says what was composed, its hash covers clips and recipe, so equal hashes mean equal videos and numbers of
    other compositions, of drawn or of filmed videos never share a table with them.

    From here on `get_protocol` knows it by its name, wherever its annotations lie.

    Raises:
        DataError: the annotations are of no composed data set.
    """
    protocol = _made_by(annotations)
    _KNOWN_COMPOSED[protocol.name] = protocol
    return protocol


_KNOWN_COMPOSED: dict[str, Protocol] = {}
"""Those that were opened in this process, wherever they lie."""


def _made_by(annotations: Annotations) -> Protocol:
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
        named = hashlib.sha256("\n".join(ids).encode()).hexdigest()
        splits[subset] = Split(len(ids), instances, named, split_content(annotations, subset))
    name = f"{COMPOSED}/{made[1]}/v1"
    return composed_named(name, annotations.classes, splits, f"{made[2]}:{annotations.sha256}")


def composed_named(name: str, classes: Iterable[str], splits: Mapping[str, Split], composition: str) -> Protocol:
    """The protocol of a composed data set, as a record keeps it.

    Args:
        name: "composed/NAME/v1", which may end in "@val".
        classes: in label order.
        splits: subset -> the videos it holds.
        composition: hash of clips and recipe, ":" and that of the annotations.
    """
    base, part = taken_apart(name)
    protocol = Protocol(
        name=base,
        subset="test",
        train_subset="train",
        classes=tuple(classes),
        tious=_SEVEN,
        averages=_SEVEN_AVERAGES,
        variants=("activitynet",),
        splits=MappingProxyType(dict(splits)),
        composition=composition,
    )
    return held_out(protocol, part) if part else protocol


def find_composed(name: str) -> Path:
    """The annotation file of a composed protocol of that name, where data sets are looked for.

    Raises:
        DataError: there is none.
    """
    return find_annotations(taken_apart(name)[0].rpartition("/")[0])


def _found_composed(name: str) -> Protocol:
    """The protocol of a composed data set that was opened, or lies where data sets are looked for."""
    if name in _KNOWN_COMPOSED:
        return _KNOWN_COMPOSED[name]
    try:
        protocol = composed_protocol(Annotations.load(find_composed(name)))
    except DataError as error:
        raise DataError(
            f"protocol {name} is defined by the videos that `wtal-bench compose --name "
            f"{name.split('/')[1]}` makes, and they were not found: {error}"
        ) from error
    if protocol.name != name:
        raise DataError(f"the annotations found for protocol {name} are of {protocol.name}; move them to its folder.")
    return protocol


def is_composed(name: object) -> bool:
    """Whether a protocol's name is that of a composed data set."""
    return isinstance(name, str) and name.startswith(f"{COMPOSED}/")


def is_made_by(protocol: Protocol, annotations: Annotations) -> bool:
    """Whether annotations are those that make a protocol, of one's own data or of composed videos."""
    if protocol.own:
        return own_protocol(annotations, protocol.name).name == protocol.name
    try:
        made = _made_by(annotations)
    except DataError:
        return False
    return (made.name, made.composition) == (taken_apart(protocol.name)[0], protocol.composition)


def own_protocol(annotations: Annotations, like: str = OWN) -> Protocol:
    """The protocol of a data set of one's own: its classes, train and test subsets, tIoU 0.1 to 0.7.

    It is named after the annotations' version and hash ("own/mine-1-47911843f9d2"), so rows of other annotations never
    share a table with it; its numbers are for their owner, on a leaderboard of their own.

    Args:
        annotations: what it is made of.
        like: what was asked for; the hold-out part of "own@holdout" is taken over.
    """
    version = re.sub(r"[^a-z0-9.]+", "-", annotations.version.lower()).strip("-.")[:40]
    sha256 = (annotations.sha256 or digest(annotations.version))[:12]
    name = f"{OWN}/{version}-{sha256}" if version else f"{OWN}/{sha256}"
    return own_named("".join((name, *like.partition(HELD)[1:])), annotations.classes)


def own_named(name: str, classes: Iterable[str]) -> Protocol:
    """One's own protocol of that name and those classes, as a record keeps them."""
    base, part = taken_apart(name)
    protocol = Protocol(
        name=base,
        subset="test",
        train_subset="train",
        classes=tuple(classes),
        tious=_SEVEN,
        averages=_SEVEN_AVERAGES,
        variants=("activitynet",),
    )
    return held_out(protocol, part) if part else protocol


def open_protocol(name: str, path: str | Path | None = None) -> tuple[Protocol, Annotations]:
    """The protocol a command was asked for, with its annotations; "own" takes both from the annotation file.

    Args:
        name: as given, "thumos14/v1", "own" or the whole name of one's own.
        path: annotation file or its folder; needed for one's own.

    Raises:
        WtalError: no such protocol. DataError: no annotations, or one's own of another name.
    """
    if not is_own(name):
        if is_composed(name) and path is not None:
            annotations = read_annotations(path)
            made = composed_protocol(annotations).name
            if made != taken_apart(name)[0]:
                raise DataError(f"{annotations.path} makes protocol {made}, asked for was {name}: other annotations.")
        protocol = get_protocol(name)
        return protocol, load_annotations(protocol, path)
    if path is None:
        raise DataError(
            f"--protocol {name}: the annotation file of your own data says what is scored; name it with --annotations."
        )
    annotations = read_annotations(path)
    protocol = own_protocol(annotations, name)
    if taken_apart(name)[0] not in (OWN, taken_apart(protocol.name)[0]):
        raise DataError(f"{annotations.path} makes protocol {protocol.name}, asked for was {name}: other annotations.")
    return protocol, held_annotations(protocol, annotations)


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
    """`locate_annotations`, read, and divided as the protocol does.

    Raises:
        DataError: not found, or not readable.
    """
    found = locate_annotations(protocol, path)
    annotations = found if isinstance(found, Annotations) else Annotations.load(found)
    return held_annotations(protocol, annotations)


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
        chance=_CHANCE.get(profile),
    )


_CHANCE = {"demo": 0.083}

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
        "synthetic/v2",
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
        "synthetic_tiny/v2",
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
        "synthetic_full/v2",
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
        "synthetic_anet/v2",
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

RETIRED = {
    f"{name}/v1": f" The generator of {name}/v1 is gone: its actions shared one direction that gave them away (a "
    f"linear score fitted on some classes found the others as well, which real features do not allow). Use {name}/v2."
    for name in ("synthetic", "synthetic_tiny", "synthetic_full", "synthetic_anet")
}
"""Protocols that were, and why they are no more."""

PROTOCOLS = MappingProxyType({protocol.name: protocol for protocol in _ALL})
"""Every protocol by name."""


def _by_name(protocol: Protocol) -> tuple:
    """How a protocol travels to a worker: as its name, so that it is the one the worker's own code defines."""
    if protocol.composition is not None:
        return composed_named, (protocol.name, protocol.classes, dict(protocol.splits), protocol.composition)
    if protocol.own:
        return own_named, (protocol.name, protocol.classes)
    return get_protocol, (protocol.name,)


copyreg.pickle(Protocol, _by_name)

__all__ = [
    "COMPOSED",
    "OWN",
    "PROTOCOLS",
    "Protocol",
    "Split",
    "composed_protocol",
    "get_protocol",
    "held_annotations",
    "held_out",
    "is_own",
    "load_annotations",
    "locate_annotations",
    "open_protocol",
    "own_named",
    "own_protocol",
    "read_annotations",
    "split_content",
    "taken_apart",
    "why_refused",
]
