"""Detections for feature files, without annotations: what an engineer does with a trained model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from wtal_bench.arrays import read_npy
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.gather import sample_video
from wtal_bench.data.note import Note
from wtal_bench.data.notes import data_notes
from wtal_bench.data.sampling import Sampling, build_sampling
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import expand
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.names import composed
from wtal_bench.options import within
from wtal_bench.protocols import OWN, get_protocol
from wtal_bench.running.checkpoint import load_weights, meta_of, read_checkpoint, weights_of
from wtal_bench.running.device import pick_device
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
    files: Sequence[Path],
    *,
    fps: float,
    stride: float,
    duration: float | None = None,
    plot: Path | None = None,
) -> Found:
    """Detect actions in feature files.

    Args:
        config, checkpoint: the trained model.
        files: .npy arrays [T,D], one a video; the file's stem is the video's id.
        fps: frames a second of the videos the features came from.
        stride: frames between two snippets.
        duration: seconds, for a single file; by default T * stride / fps.
        plot: folder for one picture a video, or None.

    Returns:
        class names, detections by video id, and notes on the features.

    Raises:
        WtalError: a file that is no [T,D] array of finite numbers, or does not fit the model.
    """
    for name, value in (("--fps", fps), ("--stride", stride), ("--duration", duration)):
        if value is not None:
            within(name, value, "[1e-3, 1e6]" if name != "--duration" else "(0, 1e7]")
    if duration is not None and len(files) > 1:
        raise ConfigError("--duration is that of a single feature file; leave it out for several.")
    stems = [composed(path.stem) for path in files]
    if len(set(stems)) != len(stems):
        raise DataError("two feature files have the same name; the name is the video's id, so rename one.")
    classes = class_names(config)
    check_class_counts(config, len(classes), config.data.protocol)
    device = pick_device(config)
    model = build_model(config.model, config.path)
    state = read_checkpoint(checkpoint)
    load_weights(model, weights_of(state), checkpoint)
    model.to(device).eval()
    rule = build_sampling(config.test.sampling, length=config.test.length)
    found, metas, sampled, width = {}, [], {}, 0
    for path, name in zip(files, stems):
        features = read_features(path)
        meta = VideoMeta(name, duration or len(features) * stride / fps, fps, stride, len(features))
        batch = _batch(features, meta, rule).to(device)
        metas.append(meta)
        sampled[name], width = batch.features.shape[1], features.shape[1]
        try:
            ((video, known),) = model.video_outputs(batch)
            found[name] = model.decode(video, known).detections
        except RuntimeError as error:
            raise DataError(
                f"{path}: the model cannot take features of shape {features.shape}: {error}. They must come from the "
                "same extractor, streams in the same order, as the training features."
            ) from error
        if plot is not None:
            from wtal_bench.report.curves import draw_video

            draw_video(plot / f"{name}.png", video, known, found[name], classes)
    facts = {"fps": fps, "stride": stride, "width": width, "snippets_a_second": fps / stride}
    notes = data_notes(features=facts, metas=metas, trained=meta_of(state).get("features"), sampled=sampled)
    return Found(classes, found, notes)


def class_names(config: RunConfig) -> tuple[str, ...]:
    """The protocol's class names; of a data set of one's own, those of its annotation file."""
    if config.data.protocol != OWN:
        return get_protocol(config.data.protocol).classes
    return Annotations.load(expand(config.data.root or ".") / config.data.annotations).classes


def read_features(path: Path) -> np.ndarray:
    """Read one [T,D] array of finite numbers as float32.

    Raises:
        DataError: anything else.
    """
    features = read_npy(path)
    if features.ndim != 2 or not features.size or features.dtype.kind != "f":
        raise DataError(
            f"{path} must hold a float array [T, D] (float32 or float16) with T >= 1 snippets, got shape "
            f"{features.shape}, {features.dtype} numbers. Were the features quantised, or is it another file? Save "
            "what the extractor gives, or convert with array.astype('float32')."
        )
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise DataError(f"{path}: snippet {row} holds NaN or infinity; extract that video again.")
    return features


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
