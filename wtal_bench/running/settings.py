"""The sections of a config but for `model`: every key with its default and what it takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wtal_bench.data.annotations import SEGMENTS
from wtal_bench.leaderboard.validate import HONEST, SELECTIONS
from wtal_bench.options import setting

OPTIMIZERS = ("Adam", "AdamW", "SGD", "TFAdam")
"""Those whose arguments are settings of `train`; every other class of `torch.optim` brings its own."""


@dataclass
class Train:
    """How the model is trained.

    Attributes:
        sampling: snippet sampling rule, by name or dict (see `wtal_bench.data.sampling`).
        length: snippets per video after sampling, for rules that need it.
        batch_size: videos per optimisation step, over all processes (pairs of videos with `pairs`).
        epochs, iterations: length of training; give one. With `iterations` the intervals and schedules below count
            iterations too.
        optimizer: "Adam", "AdamW", "SGD" or "TFAdam" (see `tf_adam`) with the settings below; or any class of
            `torch.optim` with arguments of its own, dict(type="RMSprop", alpha=0.9), which takes `lr` and
            `weight_decay` from here and nothing else.
        lr, betas, eps, momentum, weight_decay: its settings (weight decay as the optimiser defines it: coupled L2
            for Adam and SGD).
        lr_schedule: [(first epoch, lr), ...], piecewise constant; before the first entry `lr` holds. Or mmengine's
            parameter schedulers, [dict(type="LinearLR", start_factor=0.1, by_epoch=False, end=500), ...], each with
            the epoch (iteration, with by_epoch=False) at which it ends.
        grad_reduction: "mean" or "sum" of the videos' gradients in a batch.
        accumulate: batches per optimiser step.
        accumulate_reduction: "mean" or "sum" of the accumulated batches' gradients.
        clip: largest L2 norm of the gradient, or None.
        ema: momentum of an exponential moving average of the weights used at test, or None.
        pairs: None, or dict(source="dataset"|"in_batch") for losses that compare two videos, or
            dict(source="by_class", count=3): batches of which `count` pairs share a class, all drawn with replacement
            (`distinct=True`: two different videos a pair; `negatives=True`: and as many pairs that share no class).
        init_from: None, or where training starts from: a checkpoint (.pth), a run's folder, a record id under
            `leaderboard/records`, or dict(config="RECIPE", options=[...]) to train that first, on this run's data.
        selection: "last" epoch; "val_holdout": best epoch by video-level classification on a held-out part of the
            training videos; "best_on_test": best epoch by test mAP (what most papers report; never ranked with the
            others).
        val_interval: score every so many epochs, and after the last; None with selection="last" scores only at the end.
        val_first: the first epoch that is scored; from there on every `val_interval`-th is, and no other (1 and 2:
            epochs 1, 3, 5, ...). None: the `val_interval`-th.
        holdout: share of the training videos held out for "val_holdout".
        select_by: metric best_on_test goes by: "average" (the protocol's ranking one), a tIoU such as 0.5, or
            "mAP@0.1:0.9", a mean over tIoUs of which the protocol need not have all. By the evaluator `test.evaluator`.
        select_streams: with best_on_test and a model of streams: keep every stream's own best epoch, each scored by its
            part of the decoder alone.
        checkpoint_interval: epochs between checkpoints.
        shuffle: whether the videos are visited in a new order every epoch; "fresh": after the first epoch every batch
            is the first one of a new order (what BaS-Net's training loop does), so a last, smaller one comes once.
        drop_last: whether a last, smaller batch is left out.
    """

    lr: float = setting(span="(0, 1e30]")
    sampling: Any = "whole"
    length: int | None = setting(None, span="[1, 1e6]")
    batch_size: int = setting(16, span="[1, 1e6]")
    epochs: int | None = setting(None, span="[1, inf)")
    iterations: int | None = setting(None, span="[1, inf)")
    optimizer: str | dict = "Adam"
    betas: tuple = setting((0.9, 0.999), span="[0, 1)")
    eps: float = setting(1e-8, span="(0, 1e6]")
    momentum: float = setting(0.0, span="[0, 1)")
    weight_decay: float = setting(0.0, span="[0, 1e6]")
    lr_schedule: list = dataclasses.field(default_factory=list)
    grad_reduction: str = setting("mean", choices=("mean", "sum"))
    accumulate: int = setting(1, span="[1, inf)")
    accumulate_reduction: str = setting("mean", choices=("mean", "sum"))
    clip: float | None = setting(None, span="(0, 1e30]")
    ema: float | None = setting(None, span="(0, 1)")
    pairs: dict | None = None
    init_from: Any = None
    selection: str = setting("last", choices=SELECTIONS)
    val_interval: int | None = setting(None, span="[1, inf)")
    val_first: int | None = setting(None, span="[1, inf)")
    holdout: float = setting(0.2, span="(0, 1)")
    select_by: Any = "average"
    select_streams: bool = False
    checkpoint_interval: int = setting(1, span="[1, inf)")
    shuffle: bool | str = setting(True, choices=(True, False, "fresh"))
    drop_last: bool = False


@dataclass
class Test:
    """How test videos are read.

    Attributes:
        sampling, length: as in training.
        batch_size: videos per forward pass (no effect on results).
        frame_accuracy: None, or dict(threshold=0.25) to report per-frame accuracy of the decoder's curve as well.
        evaluator: the one of the protocol's evaluators that the method's published numbers were made with: they are
            printed beside it, and best_on_test goes by it. None: the one that ranks. It has no say in the ranking.
    """

    sampling: Any = "whole"
    length: int | None = setting(None, span="[1, 1e6]")
    batch_size: int = setting(1, span="[1, 1e6]")
    frame_accuracy: dict | None = None
    evaluator: str | None = None


@dataclass
class Data:
    """Which videos, features and annotations.

    Attributes:
        protocol: e.g. "thumos14/v1"; fixes split, classes, tIoU grid and evaluators.
        root: folder of the data set; None looks in $WTAL_DATA/<dataset> and data/<dataset> (see `data.locate`).
        features: the feature store's folder, relative to `root`, or its address: `s3://`, `gs://`, `https://`.
        annotations: the annotation file, relative to `root`; the default may also have its protocol's name for it.
        synthetic: None, or dict(profile="demo", world=0): generate (once, cached) instead of reading `root`.
        resident: "map" (memory-mapped), "ram" or "gpu": where the features live while training.
        missing: "refuse", or "skip" to train and test without the videos that have no features: the run is then shown
            with its counts (100/200) and never ranked.
        only: None, or a text file with the ids of the videos to train and test on, one a line; every other video is
            left out as if it had no features: a test video that is left out counts as missed.
        tags: the video-level tags to train on and to score classification by: "segments" (the labels of a video's
            segments, or the file's own `labels` of it), or a named tag list such as "labels_all".
    """

    protocol: str
    root: str | None = None
    features: str = "features"
    annotations: str = "annotations.json"
    synthetic: dict | None = None
    resident: str = setting("map", choices=("map", "ram", "gpu"))
    missing: str = setting("refuse", choices=("refuse", "skip"))
    only: str | None = None
    tags: str = SEGMENTS


@dataclass
class Runtime:
    """Where and how the run executes; nothing here but precision, seed and hooks changes a result.

    Attributes:
        seed: of initialisation, order, sampling and dropout.
        device: "auto", "cpu" or "cuda".
        precision: "float32" or "bf16" (autocast).
        deterministic: ask torch for deterministic algorithms.
        compile: run the model and its losses through torch.compile, for any length of video.
        cuda_graph: launch the training step as one CUDA graph; refused, with the reason, where shapes change or a loss
            reads a value.
        num_workers: loader processes; 0 gathers in the main process.
        decode_workers: processes that decode test videos while the network goes on; 0 decodes in the main process.
        log_interval: seconds between progress lines when the output is not a terminal.
        visualizer: where the curves go: "files", or "tensorboard", "wandb", "mlflow" if that extra is installed; a
            dict(type="wandb", ...) gives mmengine's back-end its own arguments; a list takes several.
        hooks: [dict(type="EarlyStoppingHook", ...), ...], from plugins and from mmengine's HOOKS.
        checkpoint_seconds: seconds at least between two checkpoints to resume from, of those that
            `train.checkpoint_interval` allows; 0 writes them all. None: as many as take 5 % of the time. The first and
            the last are always written.
        example: draw a test video into the run's folder (example.png); a second or two, which short runs of a sweep may
            do without.
    """

    seed: int = setting(0, span="[0, 4294967296)")
    device: str = setting("auto", choices=("auto", "cpu", "cuda"))
    precision: str = setting("float32", choices=("float32", "bf16"))
    deterministic: bool = True
    compile: bool = False
    cuda_graph: bool = False
    num_workers: int = setting(0, span="[0, 1024]")
    decode_workers: int = setting(0, span="[0, 1024]")
    log_interval: float = setting(10.0, span="[0, inf)")
    visualizer: str | dict | list = "files"
    hooks: list = dataclasses.field(default_factory=list)
    checkpoint_seconds: float | None = setting(None, span="[0, inf)")
    example: bool = True


@dataclass
class RunConfig:
    """A checked config.

    Attributes:
        path: the file it was read from.
        method, variant: names for the leaderboard.
        profile: the named settings it was read with: "honest", one of the file's `profiles`, or "" for a run that picks
            its checkpoint on the test videos under no name (see `running.config`).
        model: component configs, checked when the model is built.
        train, test, data, runtime: the sections.
        ideas: the ideas on the host -> what was chosen for their switches; empty where there is none.
        host: method and variant of the host alone; empty where there is no idea.
    """

    path: str
    method: str
    model: dict[str, Any]
    train: Train
    test: Test
    data: Data
    runtime: Runtime
    variant: str = ""
    profile: str = HONEST
    ideas: dict[str, Any] = field(default_factory=dict)
    host: dict[str, str] = field(default_factory=dict)

    def resolved(self) -> dict[str, Any]:
        """Everything as plain JSON-able data, defaults included."""
        sections = {name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS}
        mix = {"ideas": self.ideas, "host": self.host} if self.ideas else {}
        names = {"method": self.method, "variant": self.variant, "profile": self.profile}
        return _plain({**names, "model": self.model, **sections, **mix})


SECTIONS: dict[str, type] = {"train": Train, "test": Test, "data": Data, "runtime": Runtime}
TOP_LEVEL = ("method", "variant", "profile", "model", *SECTIONS, "ideas", "host")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
