"""A checked config becomes a session: for training, mmengine's Runner around the model; for testing, a plain loop.

The two share the model, built once, and the data. A training session never holds the test videos' evaluator, which
knows their segments, unless the run scores the test videos while it trains.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook
from torch.utils.data import DataLoader

from wtal_bench.data.coverage import Coverage
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.feature_notes import feature_facts
from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, Outputs, TrainingPass
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.streams import Streams
from wtal_bench.running.configured_hooks import build_hooks
from wtal_bench.running.datasets import Opened
from wtal_bench.running.decode import predictions
from wtal_bench.running.device import be_deterministic, join_processes, pick_device
from wtal_bench.running.graph import GraphedStep, check_graph
from wtal_bench.running.harness import HarnessRunner, PlainConfig
from wtal_bench.running.hooks import Checkpoints, FiniteLoss, Progress, StepSeed, StreamCheckpoints
from wtal_bench.running.loader import Gather, Plan, Request, build_loader
from wtal_bench.running.loop import TrainLoop
from wtal_bench.running.measure import Measure, evaluator_of, selection_measure, selection_names
from wtal_bench.running.metrics import ProtocolMetric, TagMetric
from wtal_bench.running.model_checks import probe
from wtal_bench.running.optim import OptimizerStep, build_optimizer
from wtal_bench.running.provenance import config_hash
from wtal_bench.running.resuming import distinct, machine
from wtal_bench.running.scalars import StepScalars, StepTimer
from wtal_bench.running.schedule import LearningRate
from wtal_bench.running.settings import RunConfig
from wtal_bench.running.visualizers import LateVisualizer, build_backends

LOG_STEPS = 20
"""Steps between two entries of the log, and between two looks at what the steps report."""


@dataclass
class Session:
    """What training and testing have in common.

    Attributes:
        config, opened, model: what it was built from.
        videos: the split it works on.
        gather: turns requests for those videos into batches.
        device: where it runs.
    """

    config: RunConfig
    opened: Opened
    model: Model
    videos: VideoSet
    gather: Gather
    device: torch.device


@dataclass
class Training(Session):
    """A session whose `runner.train()` trains the model.

    Attributes:
        runner: mmengine's.
        coverage: what became of the training videos.
    """

    runner: HarnessRunner
    coverage: list[Coverage]


@dataclass
class Testing(Session):
    """A session whose `run()` scores the model on the test videos.

    Attributes:
        loader: the test videos, this process's part.
        metric: the protocol's; after `run`, with the report and the detections.
    """

    loader: DataLoader
    metric: ProtocolMetric

    def run(self) -> dict[str, float]:
        """Decode and score every test video; return the metrics by name, as fractions."""
        self.model.to(self.device).eval()
        self.model.decode_alone(False)
        _compile(self.model, self.config)
        with torch.no_grad():
            for batch, found in predictions(self.model, self.loader, self.config.runtime.decode_workers):
                self.metric.process(batch, found)
        return self.metric.evaluate(len(self.videos))


def build_training(
    config: RunConfig,
    opened: Opened,
    model: Model,
    work_dir: str | Path,
    *,
    checkpoint: Path | None = None,
    made_from: Mapping[str, str] | None = None,
    machines: Sequence[Mapping[str, Any]] = (),
    out: Callable[[str], None] = print,
) -> Training:
    """Assemble a training run.

    Args:
        config: checked config.
        opened: its data.
        model: from `check_model(config)`; with the weights training starts from.
        work_dir: the run's folder.
        checkpoint: resume from here.
        made_from: of `resuming.made_from`, for the checkpoints.
        machines: those it was trained on before.
        out: writes progress lines.

    Raises:
        WtalError: anything in config or data that cannot work, before the first step.
    """
    device, rank, world = _start(config)
    t, seed = config.train, config.runtime.seed
    hooks = build_hooks(config, opened.protocol)
    backends = build_backends(config)
    selecting = _selecting(config, opened, model)
    model.grad_reduction = t.grad_reduction
    videos, holdout = _training_videos(config, opened)
    coverage = opened.training_coverage(videos, holdout)
    probe(model, videos, config)
    if config.runtime.cuda_graph:
        check_graph(model, videos, config, device, world)
        model.train_step = GraphedStep(model, config.runtime.precision)
    _compile(model, config)
    gather = Gather(videos, build_sampling(t.sampling, length=t.length), seed)
    plan = Plan(videos.labels, t.batch_size, seed, shuffle=t.shuffle, drop_last=t.drop_last, pairs=t.pairs,
                rank=rank, world=world)  # fmt: skip
    if not len(plan):
        raise ConfigError(
            f"{config.path}: train.drop_last leaves no batch: {plan.items} items, batch_size {t.batch_size}."
        )
    about = _about(config, opened, coverage)
    about |= {"made_from": dict(made_from or {}), "machines": distinct(machines, machine(device))}
    about |= {"steps_per_epoch": len(plan)}
    runner = HarnessRunner(
        device=device,
        checkpoint=checkpoint,
        model=model,
        work_dir=str(work_dir),
        train_dataloader=build_loader(
            plan,
            gather,
            on_device=config.data.resident == "gpu",
            num_workers=config.runtime.num_workers,
            pin=device.type == "cuda",
        ),
        train_cfg=dict(
            type=TrainLoop,
            training_pass=_training_pass(model, replace(gather, sampling=build_sampling("whole")), device),
            **({"max_epochs": t.epochs} if t.epochs is not None else {"max_iterations": t.iterations}),
            val_interval=(t.val_interval or 1) if t.val_interval is not None or selecting else None,
            val_first=t.val_first,
        ),
        optim_wrapper=OptimizerStep(
            build_optimizer(model.parameters(), t, f"{config.path}: train.optimizer"),
            config.runtime.precision,
            t.accumulate,
            t.accumulate_reduction,
            t.clip,
        ),
        **_validation(config, opened, model, holdout, rank, world),
        default_hooks=dict(
            runtime_info=StepScalars(LOG_STEPS),
            timer=StepTimer(LOG_STEPS),
            param_scheduler=None,
            checkpoint=None,
            sampler_seed=None,
            logger=dict(type="LoggerHook", interval=LOG_STEPS),
        ),
        custom_hooks=[
            StepSeed(seed, rank),
            LearningRate(t),
            FiniteLoss(),
            _checkpoints(Path(work_dir), selecting, config, about),
            Progress(config.runtime.log_interval, out),
            *([EMAHook(momentum=t.ema)] if t.ema is not None else []),
            *hooks,
        ],
        launcher="pytorch" if world > 1 else "none",
        randomness=dict(seed=seed),
        log_processor=dict(by_epoch=True),
        visualizer=dict(type=LateVisualizer, vis_backends=backends),
        # unique: two runs that begin in the same second would share their logs otherwise
        experiment_name=f"{config.method}-{uuid.uuid4().hex[:12]}",
        default_scope="mmengine",
        cfg=PlainConfig(_shown(config, backends, str(work_dir))),
    )
    return Training(config, opened, model, videos, gather, device, runner, coverage)


def build_testing(config: RunConfig, opened: Opened, model: Model) -> Testing:
    """Assemble a test of the model on the videos its protocol evaluates. Training videos are not looked at.

    Args:
        config, opened, model: as in `build_training`.

    Raises:
        WtalError: anything in config or data that cannot work.
    """
    evaluator_of(config, opened.protocol)
    return _build_testing(config, opened, model)


def _build_testing(
    config: RunConfig, opened: Opened, model: Model, select_by: Measure | None = None, streams: tuple[str, ...] = ()
) -> Testing:
    device, rank, world = _start(config)
    videos = opened.test(config.data.missing)
    gather, loader = _in_order(config, videos, rank, world)
    frames = config.test.frame_accuracy
    model.keep_snippet_scores = frames is not None
    threshold = None if frames is None else frames["threshold"]
    metric = ProtocolMetric(videos, opened.protocol, opened.annotations, threshold, select_by, streams)
    return Testing(config, opened, model, videos, gather, device, loader, metric)


def _start(config: RunConfig) -> tuple[torch.device, int, int]:
    """Make the process ready: (device, rank, how many processes)."""
    device = pick_device(config)
    be_deterministic(config.runtime.deterministic, config.runtime.compile)
    return device, *join_processes(device)


def _in_order(config: RunConfig, videos: VideoSet, rank: int, world: int) -> tuple[Gather, DataLoader]:
    """Every video once, read as test videos are."""
    gather = Gather(videos, build_sampling(config.test.sampling, length=config.test.length), config.runtime.seed)
    plan = Plan(videos.labels, config.test.batch_size * world, config.runtime.seed, rank=rank, world=world)
    pin = pick_device(config).type == "cuda"
    return gather, build_loader(plan, gather, on_device=config.data.resident == "gpu", pin=pin)


def _validation(
    config: RunConfig, opened: Opened, model: Model, holdout: VideoSet | None, rank: int, world: int
) -> dict[str, Any]:
    """What the runner scores between epochs: held-out training videos, the test videos if so configured, or none."""
    if holdout is not None:
        _, loader = _in_order(config, holdout, rank, world)
        metric = TagMetric(holdout)
    elif config.train.val_interval is not None or config.train.selection == "best_on_test":
        streams = _streams(config, model)
        testing = _build_testing(config, opened, model, selection_measure(config, opened.protocol), streams)
        model.decode_alone(bool(streams))
        loader, metric = testing.loader, testing.metric
    else:
        return {}
    return {"val_dataloader": loader, "val_cfg": {}, "val_evaluator": Evaluator(metric)}


def _compile(model: Model, config: RunConfig) -> None:
    """Compile what is computed in a step and in a test; every stream by itself: each draws from its own generator."""
    if not config.runtime.compile:
        return
    for part in model.members.values() if isinstance(model, Streams) else [model]:
        if "compute" not in vars(part):  # a model that was trained is tested as compiled
            part.compute = torch.compile(part.compute, dynamic=True)
            part.losses = torch.compile(part.losses, dynamic=True)


def _shown(config: RunConfig, backends: list[dict[str, Any]], work_dir: str) -> dict[str, Any]:
    """The config as back-ends show it; some of mmengine's read `work_dir`, and take no list of texts and dicts."""
    run = config.resolved()
    run["runtime"]["visualizer"] = backends
    return {"run": run, "work_dir": work_dir}


def _about(config: RunConfig, opened: Opened, coverage: list[Coverage]) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {
        "features": feature_facts(opened.store),
        "data": {split.split: split.as_dict() for split in coverage},
        "method": config.method,
        "protocol": opened.protocol.name,
        "seed": config.runtime.seed,
        "config_hash": config_hash(config),
    }


def _training_videos(config: RunConfig, opened: Opened) -> tuple[VideoSet, VideoSet | None]:
    videos = opened.training(config.data.missing)
    if config.train.selection != "val_holdout":
        return videos, None
    return videos.holdout(config.train.holdout, config.runtime.seed)


def _streams(config: RunConfig, model: Model) -> tuple[str, ...]:
    return tuple(model.stream_decoders()) if config.train.select_streams else ()


def _selecting(config: RunConfig, opened: Opened, model: Model) -> dict[str, str]:
    """The metrics that the best checkpoint goes by: stream, or "" for the whole model -> name; {} for the last one."""
    if config.train.selection == "val_holdout":
        return {"": TagMetric.names()[0]}
    names = selection_names(config, opened.protocol, _streams(config, model))
    if names and not any(opened.annotations.videos[video].segments for video in opened.test(config.data.missing).ids):
        raise ConfigError(
            f"{config.path}: train.selection='best_on_test': no test video has an annotated instance, so what it would "
            "go by is never computed. Select by 'last' or 'val_holdout'."
        )
    return names


def _checkpoints(folder: Path, selecting: dict[str, str], config: RunConfig, about: dict[str, Any]) -> Checkpoints:
    interval, seconds = config.train.checkpoint_interval, config.runtime.checkpoint_seconds
    if set(selecting) - {""}:
        return StreamCheckpoints(folder, interval, selecting, about, seconds)
    return Checkpoints(folder, interval, selecting.get(""), about, seconds)


def _training_pass(model: Model, gather: Gather, device: torch.device) -> Callable[[int], TrainingPass]:
    """Of an epoch. It goes to the components: nothing in its reach knows the runner, whose evaluator knows segments."""

    def of(epoch: int) -> TrainingPass:
        def run() -> Iterator[tuple[Outputs, Batch]]:
            training = model.training
            model.eval()
            try:
                for at in range(len(gather.videos)):
                    batch = gather(Request((at,), epoch), device).to(device)
                    with torch.no_grad():
                        outputs = model.compute(batch)
                    yield outputs, batch
            finally:
                model.train(training)

        return run

    return of
