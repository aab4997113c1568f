"""Detections for feature files, without annotations: what an engineer does with a trained model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.gather import sample_video
from wtal_bench.data.sampling import Sampling, build_sampling
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.files import expand
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.build import build_model
from wtal_bench.protocols import OWN, get_protocol
from wtal_bench.running.checkpoint import load_weights, read_checkpoint, weights_of
from wtal_bench.running.device import pick_device
from wtal_bench.running.settings import RunConfig
from wtal_bench.structures import Detections

_LOG = logging.getLogger("wtal_bench")

SPARSE = 8
"""Snippets between two samples beyond which a user is told: about five seconds, longer than many actions."""


def detect(
    config: RunConfig,
    checkpoint: Path,
    files: Sequence[Path],
    *,
    fps: float,
    stride: float,
    duration: float | None = None,
    plot: Path | None = None,
) -> tuple[tuple[str, ...], dict[str, Detections]]:
    """Detect actions in feature files.

    Args:
        config, checkpoint: the trained model.
        files: .npy arrays [T,D], one a video; the file's stem is the video's id.
        fps: frames a second of the videos the features came from.
        stride: frames between two snippets.
        duration: seconds, for a single file; by default T * stride / fps.
        plot: folder for one picture a video, or None.

    Returns:
        class names, and detections by video id.

    Raises:
        WtalError: a file that is no [T,D] array of finite numbers, or does not fit the model.
    """
    if fps <= 0 or stride <= 0:
        raise ConfigError(f"--fps and --stride must be positive, got {fps} and {stride}.")
    if duration is not None and (len(files) > 1 or duration <= 0):
        raise ConfigError("--duration is a positive number of seconds for a single feature file.")
    stems = [path.stem for path in files]
    if len(set(stems)) != len(stems):
        raise DataError("two feature files have the same name; the name is the video's id, so rename one.")
    classes = class_names(config)
    device = pick_device(config)
    model = build_model(config.model, config.path)
    load_weights(model, weights_of(read_checkpoint(checkpoint)), checkpoint)
    model.to(device).eval()
    rule = build_sampling(config.test.sampling, length=config.test.length)
    found = {}
    for path in files:
        features = read_features(path)
        meta = VideoMeta(path.stem, duration or len(features) * stride / fps, fps, stride, len(features))
        batch = _batch(features, meta, rule).to(device)
        try:
            ((video, sampled),) = model.video_outputs(batch)
            found[path.stem] = model.decode(video, sampled).detections
        except RuntimeError as error:
            raise DataError(
                f"{path}: the model cannot take features of shape {features.shape}: {error}. They must come from the "
                "same extractor, streams in the same order, as the training features."
            ) from error
        if plot is not None:
            from wtal_bench.report.curves import draw_video

            draw_video(plot / f"{path.stem}.png", video, sampled, found[path.stem], classes)
    return classes, found


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
    try:
        features = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"no feature file {path}.") from error
    except (ValueError, EOFError, OSError) as error:
        raise DataError(
            f"{path} is no plain .npy array: {error}. Save it with numpy.save(path, array[T, D])."
        ) from error
    if not isinstance(features, np.ndarray) or features.ndim != 2 or not len(features) or features.dtype.kind != "f":
        shape = getattr(features, "shape", None)
        raise DataError(f"{path} must hold a float array [T, D] with T >= 1 snippets, got shape {shape}.")
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise DataError(f"{path}: snippet {row} holds NaN or infinity; extract that video again.")
    return features.astype(np.float32)


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
