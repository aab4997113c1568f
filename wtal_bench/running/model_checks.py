"""The model a config describes, built once and checked: first alone, then against the data it will meet."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import ConfigError, listing
from wtal_bench.interfaces import Batch, Loss, Outputs, PostProcessor
from wtal_bench.modeling.build import NoStart, build_model
from wtal_bench.modeling.faults import check_looked_at, fault
from wtal_bench.modeling.model import Model
from wtal_bench.running.finite import refuse_not_finite
from wtal_bench.running.hooks import seed_everything
from wtal_bench.running.loader import Gather, Request
from wtal_bench.running.settings import RunConfig


def check_model(config: RunConfig, start: bool = True) -> Model:
    """Build the model from the run's seed and check that it can be trained and tested as the config says, without data.

    Args:
        config: of the run.
        start: whether its weights are drawn; one that is only looked at needs none.

    Raises:
        ConfigError, PluginError: an unknown component or argument, a field nobody makes, nothing to learn or decode.
    """
    seed_everything(config.runtime.seed)
    with contextlib.nullcontext() if start else NoStart():
        model = build_model(config.model, config.path)
    parts = dict(model.components())
    for kind, key in ((Loss, "losses"), (PostProcessor, "postprocessor")):
        if not any(isinstance(part, kind) for part in parts.values()):
            raise ConfigError(f"{config.path}: model.{key} is empty; a run needs one to train and test.")
    if config.test.frame_accuracy is not None and not model.gives_snippet_scores:
        raise ConfigError(
            f"{config.path}: test.frame_accuracy needs a decoder with one curve (ThresholdDecoder); remove it here."
        )
    if config.train.selection == "val_holdout" and not hasattr(parts["postprocessor"], "video_scores"):
        raise ConfigError(
            f"{config.path}: train.selection='val_holdout' needs a decoder with video scores, which "
            f"{type(parts['postprocessor']).__name__} is not; select by 'last'."
        )
    if config.train.select_streams and not model.stream_decoders():
        raise ConfigError(
            f"{config.path}: train.select_streams keeps a best epoch for every stream: it needs model.type='Streams' "
            "and a decoder with a pass named after each (PooledDecoder), so that a stream can be scored alone."
        )
    if "pairs" in model.needs and config.train.pairs is None:
        who = [path for path, component in parts.items() if "pairs" in component.needs]
        raise ConfigError(
            f"{config.path}: model.{listing(who)} compares pairs of videos: set train.pairs=dict(source='dataset'), "
            "dict(source='in_batch') or dict(source='by_class', count=3)."
        )
    return model


def probe(model: Model, videos: VideoSet, config: RunConfig) -> None:
    """Run the shortest training videos once, so that a wrong width fails here, with words, and not at step one.

    Raises:
        ConfigError: model and data do not fit, or a component of a plugin fails or gives what trains nothing.
        DataError: its features hold NaN or infinity.
    """
    chosen = sorted(range(len(videos)), key=lambda at: videos.metas[at].num_snippets)[:2]
    shortest = chosen[0]
    rule = build_sampling(config.train.sampling, length=config.train.length)
    pairs = {"pairs": ((0, len(chosen) - 1),), "same": (True,)} if config.train.pairs else {}
    batch = Gather(videos, rule, config.runtime.seed)(Request(tuple(chosen), **pairs), "cpu")
    refuse_not_finite(batch)
    training = model.training
    model.eval()
    try:
        outputs = model.compute(batch)  # with gradients: a loss that has none is told here
        _check_classes(outputs, len(videos.classes), config.path)
        scalars = model.losses(batch)
        check_looked_at(model, outputs, scalars, batch.epoch, real=not pairs)
    except ConfigError as error:  # a part that was given what it cannot read does not know which file said so
        text = str(error)
        raise ConfigError(text if text.startswith(config.path) else f"{config.path}: {text}") from error
    except Exception as error:
        streams = ", ".join(f"{name} {first}..{end}" for name, (first, end) in videos.store.streams.items())
        shapes = f"{tuple(batch.features.shape[1:])} features: {streams}; {len(videos.classes)} classes"
        plain = isinstance(error, (RuntimeError, ValueError, IndexError))
        if advice := _width_advice(config, batch) if plain else "":
            raise ConfigError(
                f"{config.path}: the features of {videos.store.folder} have {batch.features.shape[2]} columns "
                f"({streams}), {advice}"
            ) from error
        if told := fault(error):
            raise ConfigError(f"{told} The video was {videos.ids[shortest]!r} ({shapes}).") from error
        if not plain:
            raise
        raise ConfigError(
            f"{config.path}: the model cannot take video {videos.ids[shortest]!r} ({shapes}): {error}. "
            "Check in_channels and num_classes in the config against the store's manifest.json and the protocol."
        ) from error
    finally:
        model.train(training)


def _width_advice(config: RunConfig, batch: Batch) -> str:
    """What to write where a model is made for features of another width; "" where that is not what is wrong.

    Whether a change helps is tried, since only the parts know what their widths mean.
    """
    width = batch.features.shape[2]
    ranges = config.model.get("streams")
    for name, span in ranges.items() if isinstance(ranges, Mapping) else ():
        if isinstance(span, (list, tuple)) and len(span) == 2 and span[1] > width:
            return (
                f"model.streams.{name}={span!r} reads columns up to {span[1]}. Set model.streams to columns there are, "
                "each in_channels to that many, or take a recipe without streams."
            )
    keys = [key for key in _values(config.model, "model", "in_channels") if key[1] != width]
    for wrong in dict.fromkeys(value for _, value in keys):
        meant = [key for key, value in keys if value == wrong]
        tree = copy.deepcopy(dict(config.model))
        for key in meant:
            _put(tree, key.split(".")[1:], width)
        if _takes(tree, config.path, batch):
            options = " ".join(f"{key}={width}" for key in meant)
            return (
                f"{listing(f'{key}={wrong}' for key in meant)} in the config: set {listing(meant)} to {width} there, "
                f"or add --cfg-options {options}."
            )
    return ""


def _takes(tree: dict[str, Any], where: str, batch: Batch) -> bool:
    """Whether the model of a tree can compute on a batch."""
    try:
        with torch.no_grad():
            model = build_model(tree, where)
            model.eval().losses(batch)
    except Exception:  # a tree nobody wrote may fail in any way
        return False
    return True


def _put(node: Any, path: list[str], value: int) -> None:
    """Set the value at a path of names and positions."""
    for name in path[:-1]:
        node = node[int(name) if isinstance(node, (list, tuple)) else name]
    node[path[-1]] = value


def check_class_counts(config: RunConfig, classes: int, protocol: str) -> None:
    """Refuse a part of the model that is made for another number of classes than the protocol has.

    Every component calls it `num_classes`, decoders and what lies within them too; a decoder of too few would drop
    classes in silence, one of too many propose the background.

    Raises:
        ConfigError: the text names the key.
    """
    for key, count in _values(config.model, "model", "num_classes"):
        if count != classes:
            raise ConfigError(
                f"{config.path}: {key}={count!r:.80}, but {protocol} has {classes} classes: set num_classes={classes}."
            )


def _values(node: Any, key: str, wanted: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of every key of that name that is given, in a tree."""
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for name, value in pairs:
        if name == wanted and value is not None:
            yield f"{key}.{name}", value
        else:
            yield from _values(value, f"{key}.{name}", wanted)


def _check_classes(outputs: Outputs, classes: int, where: str) -> None:
    for field, value in outputs.items():
        if field.rpartition(".")[2] in ("cas", "video_logits") and value.shape[-1] not in (classes, classes + 1):
            raise ConfigError(
                f"{where}: the model's {field} has {value.shape[-1]} classes, the protocol {classes}: set num_classes."
            )
