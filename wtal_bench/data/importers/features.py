"""Writing imported features into a store, with what the annotations know of each video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.progress import track
from wtal_bench.data.store import FeatureStore, StoredVideo, plan_shards, write_shards, write_store
from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.names import composed
from wtal_bench.reading import GIB
from wtal_bench.structures import FeatureSource, RawVideo


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        store: the store written.
        left_out: features left out for want of an annotation.
        missing: annotated videos without features.
        cut: videos whose streams differed by one or two snippets and were cut to the shorter.
    """

    store: FeatureStore
    left_out: tuple[str, ...]
    missing: tuple[str, ...]
    cut: tuple[str, ...] = ()


LARGEST_FILE, SHARD = 4 * GIB, GIB
"""Bytes of features from which a store is written in shards, and those of a shard, unless the import says otherwise."""

UNEVEN = 2
"""Snippets by which the streams of a video may differ: optical flow has one frame less, and extractors round."""


def import_features(
    source: FeatureSource,
    folder: str | Path,
    *,
    name: str,
    extractor: str,
    fps: float | None,
    stride: int | None,
    annotations: Annotations | None = None,
    streams: Mapping[str, int] | None = None,
    window: int | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    shard_size: int | None = None,
    jobs: int = 1,
    rates: Mapping[str, tuple[float | None, int | None]] | None = None,
) -> ImportResult:
    """Write the videos of a source into a feature store: in one file, or, past a few GB, in shards.

    A sharded store is written by `jobs` processes and by every other process that is told the same, on this machine or
    another that sees the folder; after a kill it is finished from where it was.

    Args:
        source: see `folders` and `wtalc`.
        folder: where the store will lie.
        name, extractor: name of the feature set and what made it, in words.
        fps: frames a second of the decoded videos; None takes each video's own from the annotations.
        stride: frames between two snippets; None for features resized to a fixed length.
        annotations: give durations; features of other videos are left out. Without them the duration is the source's
            own, else snippets x stride / fps.
        streams: stream name -> number of columns, in column order; None names them after the source's parts.
        window: frames a snippet sees.
        dtype: "float32" or "float16".
        overwrite: replace a store that is there.
        shard_size: bytes of a shard; None writes one file up to `LARGEST_FILE` and shards of `SHARD` past it.
        jobs: processes that write shards at once.
        rates: video -> its own fps and stride (see `table.read_rates`), which go before `fps` and `stride`.

    Raises:
        DataError: features that cannot be, or no video in common with the annotations.
        ConfigError: fps or durations that nothing says.
    """
    ids = _composed(source.ids)
    wanted = [at for at, video in enumerate(ids) if annotations is None or video in annotations.videos]
    if not wanted:
        raise DataError(
            f"none of the {len(source.ids)} videos is annotated: features are named like {source.ids[0]!r}, annotated "
            f"videos like {next(iter(annotations.videos))!r}.{did_you_mean(source.ids[0], annotations.videos)} Cut a "
            "prefix off with --strip-prefix."
        )
    rates = rates or {}
    own_fps, own_stride = (any(own[at] is not None for own in rates.values()) for at in (0, 1))
    if stride is None and not own_stride and annotations is None:
        raise ConfigError("features resized to a fixed length say nothing of time: give the annotations with it.")
    if fps is None and not own_fps and annotations is None:
        raise ConfigError("give the frame rate of the decoded videos with --fps, or annotations that hold one a video.")
    first = source.read(wanted[0])
    manifest: dict[str, Any] = {
        "name": name,
        "extractor": extractor,
        "fps": None if own_fps else fps,
        "stride": None if own_stride else stride,
        "window": window,
        "streams": _columns(first, source.streams, streams),
        "synthetic": False,
    }

    def read(at: int) -> StoredVideo:
        raw = source.read(at)
        video = composed(raw.id)
        own = rates.get(video, (None, None))
        frames = stride if own[1] is None else own[1]
        if own_stride and frames is None:
            raise DataError(
                f"video {video!r}: has no stride of its own; fill it in, or say one for such with --stride."
            )
        stored = _stored(raw, even(raw), fps if own[0] is None else own[0], frames, annotations)
        return replace(stored, stride=frames) if own_stride else stored

    settings = {"manifest": manifest, "dtype": dtype, "overwrite": overwrite}
    sizes, stamps = _sizes(source, wanted, first, dtype)
    if shard_size is None and sum(sizes) <= LARGEST_FILE:
        cut: list[str] = []

        def videos() -> Iterator[StoredVideo]:
            for video in track(map(read, wanted), len(wanted), "importing features"):
                cut.extend([video.id] if video.cut else [])
                yield video

        store = write_store(folder, videos(), ahead=True, **settings)
    else:
        names = [ids[at] for at in wanted]
        given = [fps, stride, [rates.get(name) for name in names], _told(annotations, names)]
        plan = plan_shards(names, sizes, shard_size or SHARD, {**manifest, "dtype": dtype}, [*stamps, given])
        store, cut = write_shards(folder, plan, lambda at: read(wanted[at]), jobs=jobs, **settings)
    known = () if annotations is None else annotations.videos
    return ImportResult(
        store,
        left_out=tuple(video for video in ids if annotations is not None and video not in known),
        missing=tuple(video for video in known if video not in store),
        cut=tuple(cut),
    )


def _composed(ids: Sequence[str]) -> tuple[str, ...]:
    """The ids as names are compared; two files whose names are one name cannot both be that video."""
    names = tuple(map(composed, ids))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"video {twice!r} is found twice, in two Unicode forms of its file's name; keep one.")
    return names


def _columns(first: RawVideo, names: tuple[str, ...], streams: Mapping[str, int] | None) -> dict[str, list[int]]:
    widths = dict(zip(names, (part.shape[1] for part in first.parts))) if streams is None else dict(streams)
    total = sum(part.shape[1] for part in first.parts)
    if sum(widths.values()) != total:
        raise DataError(
            f"video {first.id!r} ({first.source}) has {total} feature columns, the streams "
            f"{listing(f'{key}={width}' for key, width in widths.items())} add up to {sum(widths.values())}."
        )
    ends = np.cumsum(list(widths.values())).tolist()
    return {key: [end - width, end] for (key, width), end in zip(widths.items(), ends)}


def even(raw: RawVideo) -> RawVideo:
    """The video with its streams cut to the shortest, or itself where they are equally long."""
    lengths = [len(part) for part in raw.parts]
    if max(lengths) == min(lengths):
        return raw
    if max(lengths) - min(lengths) > UNEVEN:
        raise DataError(
            f"video {raw.id!r} ({raw.source}): its streams have {listing(map(str, lengths))} snippets; up to {UNEVEN} "
            "more are cut off, but these are not of one video, or were extracted with different strides."
        )
    return replace(raw, parts=tuple(part[: min(lengths)] for part in raw.parts))


def _told(annotations: Annotations | None, names: Sequence[str]) -> list[tuple[float, float | None]]:
    """What annotations tell of videos, and so becomes part of a store."""
    if annotations is None:
        return []
    return [(annotations.videos[name].duration, annotations.videos[name].fps) for name in names]


def _sizes(
    source: FeatureSource, wanted: Sequence[int], first: RawVideo, dtype: str
) -> tuple[list[int], list[tuple[int, ...]]]:
    """Bytes that every video will have, about, and what changes when its files do."""
    stored = sum(part.size for part in first.parts) * np.dtype(dtype).itemsize
    if source.stamp is None:
        return [stored] * len(wanted), []
    stamps = [source.stamp(at) for at in wanted]
    # files may be compressed, or of another precision: the first tells by how much
    return [max(1, stamp[0] * stored // max(1, stamps[0][0])) for stamp in stamps], stamps


def _stored(
    raw: RawVideo, cut: RawVideo, fps: float | None, stride: int | None, annotations: Annotations | None
) -> StoredVideo:
    video = composed(raw.id)
    known = annotations.videos[video] if annotations is not None else None
    fps = fps if fps is not None else known.fps
    if fps is None:
        raise DataError(f"video {video!r}: the annotations give no fps; say with --fps how the videos were decoded.")
    duration = known.duration if known is not None else raw.duration
    if duration is None:
        duration = len(cut.parts[0]) * stride / fps
    return StoredVideo(video, cut.parts, duration, fps, source=raw.source, cut=cut is not raw)
