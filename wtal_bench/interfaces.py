"""The vocabulary of the harness: what travels through a model, and the kinds of component that work on it.

Symbols: B videos, T snippets (padded), D feature width, E embedding width, C action classes.

The way of one mini-batch:  Batch -> Backbone -> Heads (each once its inputs are there) -> Outputs -> Losses
of one test video:          Batch -> Backbone -> Heads -> Outputs -> (numpy, real rows) -> PostProcessor -> Detections

This module imports no torch. Backbones and heads are written `class Mine(nn.Module, Head)`; a loss is an
`nn.Module` only if it has parameters; post-processors work on numpy arrays.

The contract of every component: **adding padding, or other videos, to the batch changes nothing** for a video.
Mask every reduction over time; `wtal_bench.modeling.blocks` holds mask-aware maths. Reading a value (`item()`, `if` on
a tensor, indexing with a mask) makes the host wait for the GPU: `Batch.packing` and `Batch.tags` hold what it knows.
The contract suite in `wtal_bench.testing` checks the contract, along with the declared fields. A constructor checks its
settings with `wtal_bench.options`, which says what is wrong in the words of the harness.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.structures import Detections, FeatureSource, RawVideo, VideoMeta

if TYPE_CHECKING:
    from torch import Tensor

    from wtal_bench.packing import Packing, Tags

__all__ = [
    "API_VERSION",
    "HOOK_POINTS",
    "STANDARD_FIELDS",
    "Backbone",
    "Batch",
    "Component",
    "Detections",
    "Extractor",
    "FeatureSource",
    "Head",
    "Hook",
    "Layout",
    "LocatedCurve",
    "Loss",
    "Outputs",
    "Picture",
    "PostProcessor",
    "RawVideo",
    "SeenVideo",
    "VideoMeta",
    "VideoOutputs",
    "View",
]

API_VERSION = 1
"""Raised when a change here breaks plugins; a plugin declares the version it was written for."""

STANDARD_FIELDS: dict[str, str] = {
    "embedding": "[B,T,E] snippet features before dropout and before any classifier",
    "cas": "[B,T,C] or [B,T,C+1] class activation sequence, logits, background last",
    "attention": "[B,T] class-agnostic foreground weight in 0..1",
    "actionness": "[B,T] foreground score of hosts without an attention (derived, any scale >= 0)",
    "video_logits": "[B,C] or [B,C+1] video-level class logits, background last",
    "video_prob": "[B,C] or [B,C+1] video-level class scores in 0..1 the host decides with at test time",
    "class_weights": "[C,E] or [C+1,E] rows of the classifier over `embedding` (shared, not per video)",
    "pseudo_labels": "[B,T,C+1] targets made from the model's own detections",
}
"""Field names with a fixed meaning. A method may add its own fields under any other name."""

Outputs = dict
"""Field name -> tensor. Every field has the batch on axis 0 unless its component lists it in `shared`."""

VideoOutputs = Mapping[str, np.ndarray]
"""One video's outputs: numpy, float64, axis B removed, padding cut off ([T,...] with the video's own T)."""


@dataclass
class Batch:
    """A padded mini-batch of videos with video-level labels. It never carries temporal annotations.

    Attributes:
        features: [B,T,D] float, zero where `mask` is False.
        mask: [B,T] bool, True on real snippets; a video's real snippets come first.
        labels: [B,C] float multi-hot video tags; None when the videos have no tags (inference).
        index: [B] int64 position of each video in its data set.
        meta: B `VideoMeta`, in order.
        snippet_index: [B,T] float64 stored position of every sampled snippet (0 under padding).
        pairs: [P,2] int64 rows of this batch that belong together, or None.
        pair_same: [P] float, 1 where a pair shares a class and 0 where it shares none, or None.
        epoch: 0-based training epoch; 0 outside training.
        share: this rank's part of the mini-batch, times the number of ranks (1.0 in one process), so that averaging
            gradients over ranks gives the mean over the mini-batch.
    """

    features: Tensor
    mask: Tensor
    labels: Tensor | None
    index: Tensor
    meta: tuple[VideoMeta, ...]
    snippet_index: Tensor
    pairs: Tensor | None = None
    pair_same: Tensor | None = None
    epoch: int = 0
    share: float = 1.0

    def __len__(self) -> int:
        return len(self.meta)

    @property
    def lengths(self) -> Tensor:
        """[B] int64 number of real snippets."""
        return self.packing.counts

    @property
    def packing(self) -> Packing:
        """Lengths and packed rows, as the host knows them: reading them makes no device wait."""
        from wtal_bench.packing import packing_of

        return packing_of(self.mask)

    @property
    def tags(self) -> Tags:
        """The videos' classes, as the host knows them."""
        from wtal_bench.packing import tags_of

        return tags_of(self.labels)

    def to(self, device: Any, non_blocking: bool = False) -> Batch:
        """The batch on `device`, itself if it is there. With `non_blocking`, pinned memory goes over by itself."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same in pinned memory, from which a GPU fetches by itself."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        from wtal_bench.packing import note_packing, note_tags

        moved = {name: move(getattr(self, name)) for name in TENSORS if getattr(self, name) is not None}
        if all(value is getattr(self, name) for name, value in moved.items()):
            return self
        if moved["mask"] is not self.mask:
            note_packing(moved["mask"], self.packing.moved(move))
        if self.labels is not None and moved["labels"] is not self.labels:
            note_tags(moved["labels"], self.tags.moved(move))
        return replace(self, **moved)

    def __getstate__(self) -> dict[str, Any]:
        """Between processes a tensor travels without what is noted on it."""
        return {**vars(self), "packing": self.packing, "tags": None if self.labels is None else self.tags}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from wtal_bench.packing import note_packing, note_tags

        packing, tags = state.pop("packing"), state.pop("tags")
        vars(self).update(state)
        note_packing(self.mask, packing)
        if tags is not None:
            note_tags(self.labels, tags)


TENSORS = ("features", "mask", "labels", "index", "snippet_index", "pairs", "pair_same")
"""The fields of a `Batch` that are tensors, or None."""

TrainingPass = Callable[[], Iterator[tuple["Outputs", Batch]]]
"""Runs the model in eval mode over the whole training set, one full-length video a time, without gradients."""


@dataclass(frozen=True)
class LocatedCurve:
    """What a post-processor locates classes by in one video, for the diagnosis of a run.

    Attributes:
        values: [T,K] at the snippets, a column a class that was asked for; [T,1] if they share one.
        shared: whether all classes share one curve.
        probability: whether the values are probabilities, which say nothing more near 0 and near 1.
    """

    values: np.ndarray
    shared: bool = False
    probability: bool = False


@dataclass(frozen=True)
class SeenVideo:
    """One test video as a trained model sees it, for pictures.

    Attributes:
        meta: the video; its rows in `outputs` are the sampled snippets.
        outputs: fields of the model, numpy.
        classes: class names.
        tags: indices of the video's classes.
        truth: (class index, start s, end s) of the annotated instances, for the reader of a picture alone.
        timed: whether the times are known; where not, `truth` is empty and says nothing.
    """

    meta: VideoMeta
    outputs: VideoOutputs
    classes: tuple[str, ...]
    tags: tuple[int, ...] = ()
    truth: tuple[tuple[int, float, float], ...] = ()
    timed: bool = True

    def field(self, name: str) -> np.ndarray:
        """An output field.

        Raises:
            DataError: there is none of that name; the text lists those there are.
        """
        if name not in self.outputs:
            raise DataError(
                f"the model makes no field {name!r}.{did_you_mean(name, self.outputs)} There are: "
                f"{listing(self.outputs, 40)}."
            )
        return np.asarray(self.outputs[name])

    def rows(self, names: Sequence[str]) -> np.ndarray:
        """[T,E] fields side by side, a row a snippet.

        Raises:
            DataError: one is not there, or is not [T,E].
        """
        columns = [self.field(name) for name in names]
        for name, values in zip(names, columns):
            if values.ndim != 2:
                raise DataError(f"video {self.meta.id!r}: {name!r} is {values.shape}, needed [T,E], a row a snippet.")
        return np.concatenate(columns, axis=1)

    def positions(self) -> np.ndarray:
        """[T] stored position of every sampled snippet."""
        index = self.meta.snippet_index
        return np.arange(self.meta.num_snippets, dtype=np.float64) if index is None else np.asarray(index)

    def centres(self) -> np.ndarray:
        """[T] seconds of every sampled snippet's centre."""
        return (self.positions() + 0.5) * self.meta.snippet_seconds

    def span(self) -> tuple[float, float]:
        """Seconds at which the first sampled snippet begins and the last one ends."""
        at = self.positions()
        return float(at[0]) * self.meta.snippet_seconds, float(at[-1] + 1) * self.meta.snippet_seconds


@dataclass(frozen=True)
class Picture:
    """A picture a component can draw of the videos of a run it is part of.

    Attributes:
        draw: "module:function", imported when somebody asks for the picture. Called `draw(component, videos)` with
            `SeenVideo`s whose outputs are the fields the component reads, under the names it knows; gives a
            matplotlib `Figure`.
        title: what it shows, one line.
        videos: how many videos it shows.
    """

    draw: str
    title: str
    videos: int = 1

    def __call__(self, component: Component, videos: Sequence[SeenVideo]) -> Any:
        """Draw it: a matplotlib figure."""
        module, _, function = self.draw.partition(":")
        return getattr(importlib.import_module(module), function)(component, videos)


class Component:
    """What backbones, heads, losses, views and post-processors have in common: they say what they read and make.

    These tuples may be set on the class or, when they depend on the config, on the instance in `__init__`.

    Attributes:
        requires: fields read from the outputs.
        optional: fields read when some component makes them.
        provides: fields added to the outputs.
        shared: those of `provides` without a batch axis (classifier rows, a memory bank).
        video_level: those of `provides` without a time axis ([B,...], such as video logits); all others are [B,T,...].
        needs: what is read from the batch beyond features and mask: "labels", "pairs".
        pictures: what `wtal-bench picture` can draw of it, by name.
        offers: fields it does not provide as it is configured, but would with other arguments: field -> arguments.
    """

    pictures: Mapping[str, Picture] = MappingProxyType({})
    requires: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    video_level: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    offers: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

    def begin_epoch(self, epoch: int, training_pass: TrainingPass) -> None:
        """Called before every training epoch (0-based): change a schedule, refill a memory, remake pseudo labels.

        `training_pass()` yields `(outputs, batch)` of every training video in index order, in eval mode and without
        gradients. State changed here must live in buffers or `get_extra_state`, so that resuming repeats nothing.
        """


class Backbone(Component):
    """Features -> embedding. Called `backbone(features [B,T,D], mask [B,T]) -> {field: tensor}`."""

    provides = ("embedding",)


class Head(Component):
    """Adds fields. Called `head(outputs, batch) -> {field: tensor}`; reads only the fields in `requires`.

    A head without parameters, buffers and modules of its own whose fields no loss needs is run at test alone.
    """


class Loss(Component):
    """Called `loss(outputs, batch) -> {scalar name: 0-d tensor}`, unweighted means over the videos of the batch.

    Weights live in the config (`weight=0.1`, or `weight=dict(kl=1.0, att=0.5)` by scalar name); a scalar whose
    weight is 0 is still reported. When every video contributes alike, reduce by the mean over videos: the runner
    turns that into a sum where a method's authors summed (`train.grad_reduction`).

    Attributes:
        trains: fields through which alone its gradient reaches the model; a host behind none of them anything learns is
            refused when it is built. Empty: not said.
        classifies: "sum" or "mean" over the classes if it is a cross-entropy of a video's class logits with its tags,
            else "". An idea weighs its own losses by the host's (`wtal_bench.modeling.facts`).
    """

    trains: tuple[str, ...] = ()
    classifies: str = ""


class View(Component):
    """A second look at the same videos. Called `view(batch) -> Batch` with the same B.

    The model runs the original and all views in one batched forward; fields of a view named `tcb` are read as
    `tcb.cas`, `tcb.attention`, ... Views exist in training only.
    """


class PostProcessor(Component):
    """Called `postprocessor(outputs: VideoOutputs, meta: VideoMeta) -> Detections` for one video, in numpy.

    May have `video_scores(outputs) -> [C]`, the scores used for video-level classification mAP, and
    `snippet_scores(outputs) -> [T,C]`, its curve at the snippets, used for frame accuracy and drawn in pictures, with
    the thresholds that `levels(curve) -> [H] or [C,H]` gives. One that is no `ThresholdDecoder` or `PooledDecoder` may
    say with `as_core_decoder() -> dict` which settings of those (with their `type`) make its candidates, as nearly as
    they can, for ideas that fuse or label candidates in place of its NMS.

    For the diagnosis of a run it may have `located_curves(outputs, meta, classes) -> {name: LocatedCurve}`, what it
    thresholds to locate those K classes, of every pass or stream by name; without it `snippet_scores` counts. And
    `told(classes) -> PostProcessor`, itself for a video whose classes are known: these alone are decoded, each with a
    class score of 1.
    """

    def __call__(self, outputs: VideoOutputs, meta: VideoMeta) -> Detections:
        """Decode one video."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it decodes a video")


class Layout:
    """A way feature files lie on disk. Called `layout(sources: Sequence[str]) -> FeatureSource`.

    The constructor's keyword arguments are options of `import-features` (`--format-options key=value`). Reading must
    run nothing a file holds: plain arrays, no pickles.

    Attributes:
        known: ids of the annotated videos, set before the call where there are annotations: the reading that yields
            most of them is the right one.
    """

    known: Collection[str] = ()

    def __call__(self, sources: Sequence[str]) -> FeatureSource:
        """Find the videos in some files or folders; their features are read one by one, later."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it finds its videos")


class Extractor:
    """Pictures of a snippet -> its features. Called `extractor(frames [S,N,H,W,3] uint8) -> [S,D]` for S snippets.

    The constructor's keyword arguments are options of `extract` (`--extractor-options key=value`). Several snippets
    travel at once: each one's features must be those it has alone. Loading weights must run nothing a file holds.

    Attributes:
        window: frames a snippet spans.
        offsets: the N of them that are looked at, ascending, each below `window`.
        size: H and W of the pictures, RGB.
        crop: share of the short side that the pictures keep; its middle is cut out.
        width: D.
        words: what it is, for the store's manifest.
        weights: where they come from: {"name", "sha256", "license"}.
    """

    window: int
    offsets: tuple[int, ...]
    size: int
    crop: float = 1.0
    width: int
    words: str
    weights: Mapping[str, str] = MappingProxyType({})

    def to(self, device: Any) -> Extractor:
        """Move to a torch device; gives itself."""
        return self

    def __call__(self, frames: Tensor) -> Tensor:
        """Compute the features of S snippets."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it computes features")


HOOK_POINTS: dict[str, str] = {
    "before_run": "(runner) everything is built, nothing is loaded",
    "before_train": "(runner) weights and state are those training starts from",
    "before_train_epoch": "(runner)",
    "before_train_iter": "(runner, batch_idx, data_batch=None)",
    "after_train_iter": "(runner, batch_idx, data_batch=None, outputs=None) outputs: {loss name: 0-d tensor}",
    "after_train_epoch": "(runner) before the epoch is scored",
    "before_val_epoch": "(runner)",
    "after_val_epoch": "(runner, metrics=None) metrics: {name: fraction}",
    "after_round": "(runner) an epoch (iteration, where training counts those) is trained and scored",
    "after_train": "(runner)",
    "after_run": "(runner)",
}
"""When a hook is called, with what, in the order of a run; names and arguments are those of mmengine's `Hook`."""


class Hook:
    """Watches or steers training: any methods of `HOOK_POINTS`, named in a config's `runtime.hooks`.

    `runner` is mmengine's: `iter`, `epoch`, `max_iters`, `model`, `optim_wrapper`, `logger`, `work_dir`,
    `visualizer.add_scalar(name, value, step)`, `train_loop.stop_training` (True ends training after this epoch).
    Testing is no part of training: no hook sees it, and what a hook is handed leads to no temporal annotation.

    The contract: **training, stopped anywhere and resumed, is the training that was not stopped**, bit for bit. What a
    hook remembers must therefore be restored: its attributes that are plain (numbers, texts, None, tensors, lists and
    dicts of these) are kept in the checkpoint; for any other state define `state_dict()` and `load_state_dict(state)`.
    mmengine's message hub is not kept. Random numbers are reseeded before each step. The contract suite checks it.

    Attributes:
        priority: when among other hooks, "VERY_HIGH" .. "NORMAL" .. "LOWEST" or 0..100; "VERY_LOW" writes checkpoints.
        monitor: the metric of `after_val_epoch` it acts on, or None; checked to exist before training. A score of the
            test videos (`test/...`) is there in runs with `selection="best_on_test"` alone.
    """

    priority: str | int = "NORMAL"
    monitor: str | None = None


@dataclass(frozen=True)
class ComponentInfo:
    """Where a registered name comes from (see `wtal_bench.registry`)."""

    kind: str
    name: str
    target: str
    plugin: str = "core"
    version: str = ""
