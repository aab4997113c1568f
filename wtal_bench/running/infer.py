"""Detections for videos nobody annotated: what an engineer does with a trained model."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.gather import sample_video
from wtal_bench.data.importers.files import Options
from wtal_bench.data.note import Note
from wtal_bench.data.notes import data_notes
from wtal_bench.data.progress import track
from wtal_bench.data.sampling import Sampling, build_sampling
from wtal_bench.errors import DataError
from wtal_bench.files import expand
from wtal_bench.interfaces import Batch, Extractor, VideoMeta
from wtal_bench.modeling.build import NoStart, build_model
from wtal_bench.protocols import OWN, get_protocol, taken_apart
from wtal_bench.report.curves import draw_video
from wtal_bench.running.checkpoint import load_weights, meta_of, read_checkpoint, weights_of
from wtal_bench.running.device import pick_device
from wtal_bench.running.infer_parts import PartWriter
from wtal_bench.running.inputs import Input, Rates, open_inputs
from wtal_bench.running.look import view_of
from wtal_bench.running.model_checks import check_class_counts
from wtal_bench.running.settings import RunConfig
from wtal_bench.structures import Detections

_LOG = logging.getLogger("wtal_bench")

SPARSE = 8
"""Snippets between two samples beyond which a user is told: about five seconds, longer than many actions."""


class Found(NamedTuple):
    """What `detect` found.

    Attributes:
        classes: class names.
        videos: detections by video id.
        notes: what is odd about the features, a summary first (`data.notes`).
    """

    classes: tuple[str, ...]
    videos: dict[str, Detections]
    notes: list[Note]


def detect(
    config: RunConfig,
    checkpoint: Path,
    sources: Sequence[str],
    *,
    rates: Rates,
    options: Options | None = None,
    extractor: Callable[[], Extractor] | None = None,
    plot: Callable[[str], Path] | None = None,
    min_score: float = -math.inf,
    parts: PartWriter | None = None,
    progress: Callable[[Iterable[Input], int, str], Iterable[Input]] = track,
) -> Found:
    """Detect actions in videos nobody annotated.

    Args:
        config, checkpoint: the trained model.
        sources: feature files of any layout, a feature store, or video files (see `inputs.open_inputs`).
        rates: how time lies on the features.
        options: what is known of feature files.
        extractor: makes what turns a video's pictures into features.
        plot: video id -> picture to draw, or None.
        min_score: detections below it are left out, of pictures too.
        parts: writes the detections in parts, and deals out the videos whose part is missing.
        progress: hands the videos on and shows how far they are.

    Returns:
        class names, detections by video id (in parts: those of the last), and notes on the features.

    Raises:
        WtalError: a file that is no [T,D] array of finite numbers, or does not fit the model.
    """
    classes = class_names(config)
    check_class_counts(config, len(classes), config.data.protocol)
    device = pick_device(config)
    with NoStart():
        model = build_model(config.model, config.path)
    state = read_checkpoint(checkpoint)
    load_weights(model, weights_of(state), checkpoint)
    model.to(device).eval()
    trained = _trained_on(state)
    inputs = open_inputs(sources, rates, trained, options=options, extractor=extractor)
    rule = build_sampling(config.test.sampling, length=config.test.length)
    found, metas, sampled, width = {} if parts is None else parts.held, [], {}, 0
    for item in progress(inputs if parts is None else parts.deal(inputs), len(inputs), "detecting"):
        features, meta = item.load()
        _check_width(features, item.source, trained)
        batch = _batch(features, meta, rule).to(device)
        metas.append(meta)
        sampled[meta.id], width = batch.features.shape[1], features.shape[1]
        try:
            ((video, known),) = model.video_outputs(batch)
            rows = model.decode(video, known).detections
        except RuntimeError as error:
            raise DataError(
                f"{item.source}: the model cannot take features of shape {features.shape}: {error}. They must come "
                "from the same extractor, streams in the same order, as the training features."
            ) from error
        found[meta.id] = rows.take(rows.score >= min_score)
        if plot is not None:
            draw_video(plot(meta.id), video, known, found[meta.id], classes, view=view_of(model, video))
    if not metas:
        return Found(classes, found, [])  # every part was there
    fps, stride = metas[0].fps, metas[0].stride
    facts = {"fps": fps, "stride": stride, "width": width, "snippets_a_second": fps / stride}
    notes = data_notes(features=facts, metas=metas, trained=trained or None, sampled=sampled)
    return Found(classes, found, notes)


def find_inputs(
    checkpoint: Path,
    sources: Sequence[str],
    *,
    rates: Rates,
    options: Options | None = None,
    extractor: Callable[[], Extractor] | None = None,
) -> list[Input]:
    """The videos that `detect` works on, without its model; arguments and errors as there."""
    trained = _trained_on(read_checkpoint(checkpoint))
    return open_inputs(sources, rates, trained, options=options, extractor=extractor)


def _trained_on(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a checkpoint keeps of the features it was trained on; {} for an old one."""
    return meta_of(state).get("features") or {}


def _check_width(features: np.ndarray, source: str, trained: Mapping[str, Any]) -> None:
    wanted = trained.get("width")
    if wanted is not None and features.shape[1] != wanted:
        streams = f" (streams {', '.join(trained['streams'])})" if trained.get("streams") else ""
        made_by = trained.get("extractor") or "an extractor it does not name"
        if len(features) == wanted:
            raise DataError(
                f"{source}: has {features.shape[1]} columns and {wanted} snippets, the model was trained on features "
                f"of {wanted} columns{streams}: the array is [D,T]? Say --transposed."
            )
        raise DataError(
            f"{source}: has {features.shape[1]} columns, the model was trained on features of {wanted}{streams}, made "
            f"by {made_by!r}. Make these in the same way; streams in files of their own are joined when all are given."
        )


def class_names(config: RunConfig) -> tuple[str, ...]:
    """The protocol's class names; of a data set of one's own, those of its annotation file."""
    if taken_apart(config.data.protocol)[0] != OWN:
        return get_protocol(config.data.protocol).classes
    return Annotations.load(expand(config.data.root or ".") / config.data.annotations).classes


def _batch(features: np.ndarray, meta: VideoMeta, rule: Sampling) -> Batch:
    positions = rule.draw(len(features), seed=0, epoch=0, video=meta.id)
    step = len(features) / len(positions)
    if step > SPARSE:
        _LOG.warning(
            "%s: the model looks at %d of its %d snippets, one every %.0f s, and misses what is shorter. Cut the video "
            "into parts, or let the config say test=dict(sampling='whole', length=None).",
            *(meta.id, len(positions), len(features), step * meta.stride / meta.fps),
        )
    rows = sample_video(torch.from_numpy(features), positions)
    return Batch(
        features=rows.unsqueeze(0),
        mask=torch.ones(1, len(rows), dtype=torch.bool),
        labels=None,
        index=torch.zeros(1, dtype=torch.int64),
        meta=(meta.sampled(positions),),
        snippet_index=torch.from_numpy(positions).double().unsqueeze(0),
    )
