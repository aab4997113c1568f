"""What is odd about features: their length against the video's, and against those a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.data.note import Note
from wtal_bench.errors import listing
from wtal_bench.structures import VideoMeta

if TYPE_CHECKING:
    from wtal_bench.data.store import FeatureStore

COARSE = 4
"""Snippets a sample may stand for before a video's times are called coarse."""

EXAMPLES = 3


def feature_facts(store: FeatureStore) -> dict[str, Any]:
    """What a checkpoint keeps of the features its model was trained on, and a note compares.

    Returns:
        {"name", "extractor", "fps" (None: per video), "stride" (None: resized), "window", "width", "streams" (names in
        column order), "snippets_a_second" (the median of the videos; None: resized)}.
    """
    manifest, stride = store.manifest, store.manifest["stride"]
    return {
        "name": store.name,
        "extractor": manifest["extractor"],
        "fps": manifest.get("fps"),
        "stride": stride,
        "window": manifest.get("window"),
        "width": store.width,
        "streams": list(store.streams),
        "snippets_a_second": None if stride is None else float(np.median(store.rates)) / stride,
    }


def length_oddity(meta: VideoMeta, window: float | None = None) -> str | None:
    """Return a line about a video whose features do not span its duration, or None.

    Snippets times stride may differ from the duration by two snippets and one window (frames), or 2 % of the duration:
    what extractors round away at the end.
    """
    spanned = meta.num_snippets * meta.snippet_seconds
    if abs(spanned - meta.duration) <= max(2 * meta.snippet_seconds + (window or 0) / meta.fps, 0.02 * meta.duration):
        return None
    return (
        f"video {meta.id!r}: {meta.num_snippets} snippets x {meta.stride:g} frames / {meta.fps:g} fps span "
        f"{spanned:.1f} s, its duration is given as {meta.duration:.1f} s; check fps and stride"
    )


def length_notes(
    metas: Sequence[VideoMeta],
    features: Mapping[str, Any] | None,
    durations: Mapping[str, float],
    *,
    durations_wrong: bool = False,
    examples: int = EXAMPLES,
) -> list[Note]:
    """Compare what features span with how long their videos are.

    Args:
        metas: videos, with the durations they are taken to have.
        features: `feature_facts`; features resized to a fixed length span their video by definition.
        durations: by id, what the store says.
        durations_wrong: the annotated segments say that the durations are to blame.
        examples: videos named.
    """
    notes = []
    if features is not None and features["stride"] is not None:
        notes += _spans(metas, features, durations_wrong, examples)
    differ = [
        f"video {meta.id!r}: {known:.1f} s when its features were made, {meta.duration:.1f} s annotated"
        for meta in metas
        if (known := durations.get(meta.id)) is not None and abs(known - meta.duration) > max(1.0, 0.02 * meta.duration)
    ]
    if differ:
        notes.append(Note("two_durations", f"{_some(differ, examples, 'videos with two durations')}."))
    single = [meta.id for meta in metas if meta.num_snippets == 1]
    if single:
        notes.append(Note("single_snippet", f"{len(single)} videos have a single snippet: {listing(single, examples)}"))
    return notes


def _spans(metas: Sequence[VideoMeta], features: Mapping[str, Any], wrong: bool, examples: int) -> list[Note]:
    odd = [text for meta in metas if (text := length_oddity(meta, features.get("window")))]
    notes = []
    if len(odd) > len(metas) / 2:
        ratio = float(np.median([meta.num_snippets * meta.snippet_seconds / meta.duration for meta in metas]))
        of = " of the manifest" if "name" in features else ", or the duration given,"
        cause = f"the fps or stride{of} is wrong"
        if wrong:
            cause = "the segments too lie past the end of the videos, so it is the annotated durations that are wrong"
        notes.append(
            Note(
                "rate",
                f"{len(odd)} of {len(metas)} videos: the features span another time than the video, {ratio:.3f} of it "
                f"in the median: {cause}",
                "error",
            )
        )
    if odd:
        notes.append(Note("length", f"{_some(odd, examples, 'videos whose features do not span their duration')}."))
    return notes


def trained_notes(trained: Mapping[str, Any] | None, features: Mapping[str, Any] | None) -> list[Note]:
    """Compare features with those a model was trained on (both `feature_facts`; unknown facts are left out)."""
    if not trained or not features:
        return []
    notes = []
    before, now = trained.get("snippets_a_second"), features.get("snippets_a_second")
    fixed = trained.get("stride") is None or features.get("stride") is None
    if not fixed and before and now and abs(now / before - 1) > 0.01:
        notes.append(
            f"the model was trained on {before:.4g} snippets a second ({_rate(trained)}), these features are said to "
            f"have {now:.4g} ({_rate(features)}): a wrong rate or stride moves every time by {before / now:.3g}, and "
            "features of another rate are not what it has learned"
        )
    if (trained.get("stride") is None) != (features.get("stride") is None):
        was = "were resized to a fixed length" if trained.get("stride") is None else f"had {_rate(trained)}"
        notes.append(f"the features the model was trained on {was}, these are {_rate(features)}")
    for key, what in (("width", "columns"), ("streams", "streams"), ("extractor", "extractor")):
        known, here = trained.get(key), features.get(key)
        if known and here and known != here:
            shown = [listing(value) if isinstance(value, list) else value for value in (known, here)]
            notes.append(f"the model was trained on features with {what} {shown[0]}, these have {shown[1]}")
    return [Note("trained_on", f"{text}.") for text in notes]


def _rate(features: Mapping[str, Any]) -> str:
    if features.get("stride") is None:
        return "resized to a fixed length"
    fps = "each its video's fps" if not features.get("fps") else f"{features['fps']:g} fps"
    return f"{fps}, stride {features['stride']:g}"


def resolution_notes(metas: Sequence[VideoMeta], sampled: Mapping[str, int], examples: int = EXAMPLES) -> list[Note]:
    """Say which videos the model saw so coarsely that its times are coarse.

    Args:
        metas: the videos.
        sampled: by id, the samples taken of their snippets.
        examples: videos named.
    """
    coarse = [
        f"video {meta.id!r}: {meta.num_snippets} snippets, {sampled[meta.id]} samples, one every "
        f"{meta.num_snippets * meta.snippet_seconds / sampled[meta.id]:.1f} s"
        for meta in metas
        if meta.id in sampled and meta.num_snippets > COARSE * sampled[meta.id]
    ]
    if not coarse:
        return []
    text = _some(coarse, examples, "videos sampled so coarsely")
    return [Note("resolution", f"{text}: times are no finer than that (test.length of the config; cut long videos).")]


def _some(texts: Sequence[str], examples: int, what: str) -> str:
    more = f"; {len(texts) - examples} more {what}" if len(texts) > examples else ""
    return "; ".join(texts[:examples]) + more
