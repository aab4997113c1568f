"""What `infer` is given -> features, one video at a time: feature files of any layout, a store, or video files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.importers.features import even
from wtal_bench.data.importers.files import Options, feature_files
from wtal_bench.data.store import FeatureStore
from wtal_bench.data.store.remote import is_remote
from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.extraction.decode import SUFFIXES, find_videos
from wtal_bench.interfaces import Extractor, VideoMeta
from wtal_bench.names import composed
from wtal_bench.options import within
from wtal_bench.plugins import registry


@dataclass(frozen=True)
class Rates:
    """How time lies on features.

    Attributes:
        fps: frames a second of the decoded videos; None takes that of the training features.
        stride: frames between two snippets; None likewise.
        duration: seconds, for a single video; None: as long as its snippets.
    """

    fps: float | None = None
    stride: float | None = None
    duration: float | None = None

    def __post_init__(self) -> None:
        for name, span in (("fps", "[1e-3, 1e6]"), ("stride", "[1e-3, 1e6]"), ("duration", "(0, 1e7]")):
            if getattr(self, name) is not None:
                within(f"--{name}", getattr(self, name), span)


@dataclass(frozen=True)
class Input:
    """One video: its name, where it comes from, and its features with what is known of its time, when asked for.

    Attributes:
        content: names the features of a store, whose manifest has their hash; "" for files, which nobody has read yet.
    """

    name: str
    source: str
    load: Callable[[], tuple[np.ndarray, VideoMeta]]
    content: str = ""


def open_inputs(
    sources: Sequence[str],
    rates: Rates,
    trained: Mapping[str, Any],
    *,
    options: Options | None = None,
    extractor: Callable[[], Extractor] | None = None,
) -> list[Input]:
    """Find the videos in files and folders; features are read, or extracted, one by one.

    Args:
        sources: feature files or folders of them, a feature store's folder or address, or video files and folders.
        rates: what the user says of time.
        trained: what the checkpoint keeps of its training features ({} for an old one).
        options: what the user says of feature files.
        extractor: makes what turns a video's pictures into features; called for videos alone.

    Raises:
        DataError, ConfigError: nothing there, two videos of one name, or nobody says the rate.
    """
    paths = [Path(source) for source in sources]
    if len(paths) == 1 and (is_remote(sources[0]) or (paths[0] / "manifest.json").is_file()):
        found = _stored(FeatureStore.open(sources[0]), rates)
    elif any(_is_video(path) for path in paths):
        found = _videos(find_videos(paths), rates, trained, extractor)
    else:
        found = _features(sources, rates, trained, options or Options())
    names = [item.name for item in found]
    if len(set(names)) != len(names):
        raise DataError("two videos have the same name; the name is the video's id, so rename one.")
    if rates.duration is not None and len(found) > 1:
        raise ConfigError("--duration is that of a single video; leave it out for several.")
    return found


def build_extractor(name: str, options: Sequence[str] = ()) -> Extractor:
    """An extractor by its name and its options as texts; whole numbers are read as such.

    Raises:
        ConfigError: no such extractor or option.
    """
    extractors = registry("extractor")
    if name not in extractors.names():
        raise ConfigError(
            f"--extractor {name}: no such extractor.{did_you_mean(name, extractors.names())} Extractors: "
            f"{listing(extractors.names())}."
        )
    given = {}
    for text in options:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"--extractor-options must look like key=value, got {text!r}.")
        given[key] = int(value) if value.lstrip("-").isdecimal() else value
    return extractors.build({"type": name, **given}, f"--extractor {name}")


def _is_video(path: Path) -> bool:
    if path.is_dir():
        return any(found.suffix.lower() in SUFFIXES for found in path.rglob("*"))
    return path.suffix.lower() in SUFFIXES


def _stored(store: FeatureStore, rates: Rates) -> list[Input]:
    if rates.fps is not None or rates.stride is not None:
        raise ConfigError("a feature store knows its rate and stride; leave --fps and --stride out.")

    def load(row: int) -> tuple[np.ndarray, VideoMeta]:
        return np.array(store.video(row), dtype=np.float32), store.meta(row)  # torch wants an array of its own

    where, content = str(store.folder), store.manifest_hash
    return [Input(name, where, lambda row=row: load(row), content) for row, name in enumerate(store.ids)]


def _features(sources: Sequence[str], rates: Rates, trained: Mapping[str, Any], options: Options) -> list[Input]:
    fps, stride = _rate(rates, trained)
    files = feature_files(sources, options)

    def load(at: int) -> tuple[np.ndarray, VideoMeta]:
        raw = even(files.read(at))
        with np.errstate(over="ignore"):
            features = np.concatenate(raw.parts, axis=1).astype(np.float32)
        _check(features, raw.source)
        name = composed(raw.id)
        return features, VideoMeta(name, rates.duration or len(features) * stride / fps, fps, stride, len(features))

    return [Input(composed(name), str(sources[0]), lambda at=at: load(at)) for at, name in enumerate(files.ids)]


def _videos(
    paths: Sequence[Path], rates: Rates, trained: Mapping[str, Any], make: Callable[[], Extractor] | None
) -> list[Input]:
    if make is None:
        raise ConfigError("video files need an extractor (--extractor); give feature files instead.")
    extractor = make()
    made_by = trained.get("extractor")
    if made_by is not None and made_by != extractor.words:
        raise ConfigError(
            f"the model was trained on features of {made_by!r}, --extractor makes those of {extractor.words!r}: they "
            "mean other things. Extract the videos with what the training features were made with."
        )
    fps, stride = _rate(rates, {"fps": 25.0, "stride": 16, **{key: trained[key] for key in trained if trained[key]}})

    def load(path: Path) -> tuple[np.ndarray, VideoMeta]:
        from wtal_bench.extraction.extract import video_features

        video = video_features(path, extractor, fps=fps, stride=round(stride))
        length = len(video.features)
        return video.features, VideoMeta(
            composed(path.stem), video.duration, fps, stride, length, num_frames=video.frames
        )

    return [Input(composed(path.stem), str(path), lambda path=path: load(path)) for path in paths]


def _rate(rates: Rates, trained: Mapping[str, Any]) -> tuple[float, float]:
    fps, stride = rates.fps or trained.get("fps"), rates.stride or trained.get("stride")
    if fps is None or stride is None:
        lacking = " and ".join(name for name, value in (("--fps", fps), ("--stride", stride)) if value is None)
        raise ConfigError(f"say {lacking}: neither the files nor the training features of this checkpoint tell.")
    return float(fps), float(stride)


def _check(features: np.ndarray, source: str) -> None:
    if not features.size:
        raise DataError(f"{source} must hold a float array [T, D] with T >= 1 snippets, got shape {features.shape}.")
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise DataError(f"{source}: snippet {row} holds NaN or infinity; extract that video again.")
