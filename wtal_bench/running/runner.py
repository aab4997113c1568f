"""`build_runner`: a checked config becomes an mmengine Runner, and nothing of it is left to chance."""

from __future__ import annotations

import importlib.util
import os
import pprint
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import CheckpointError, ConfigError, listing
from wtal_bench.interfaces import Batch, Loss, Outputs, PostProcessor, TrainingPass
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.protocols import Protocol
from wtal_bench.running.checkpoint import load_weights, read_checkpoint
from wtal_bench.running.config import RunConfig
from wtal_bench.running.datasets import Opened
from wtal_bench.running.finite import refuse_not_finite
from wtal_bench.running.hooks import Checkpoints, FiniteLoss, LearningRate, Progress, StepSeed, seed_everything
from wtal_bench.running.loader import Gather, Plan, Request, build_loader
from wtal_bench.running.loop import TrainLoop
from wtal_bench.running.metrics import ProtocolMetric, TagMetric
from wtal_bench.running.optim import OptimizerStep, build_optimizer
from wtal_bench.running.provenance import config_hash

# mmengine, torch.jit and their friends speak of things no user of this harness can change
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(mmengine|torch|addict|yapf)\b.*")
warnings.filterwarnings("ignore", category=FutureWarning, module=r"mmengine\b.*")


class PlainConfig(Config):
    """mmengine's Config, printed as plain data: mmengine formats it as source code, slowly, five times a run."""

    @property
    def pretty_text(self) -> str:
        """The config as Python assignments."""
        return "".join(f"{key} = {pprint.pformat(value, sort_dicts=False)}\n" for key, value in self.to_dict().items())


class HarnessRunner(Runner):
    """mmengine's Runner with three of its habits changed.

    It resumes from our plain checkpoints, it puts the model where the config says, and it keeps its banner in the log
    file. Everything else is mmengine's.
    """

    def __init__(self, *, device: torch.device, checkpoint: Path | None, **arguments: Any) -> None:
        self.device, self.checkpoint = device, checkpoint
        super().__init__(**arguments)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """The log file gets everything, the console only warnings."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler).__name__ == "StreamHandler":
                handler.setLevel("ERROR")
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Put the model on its device; with several processes, average gradients over them."""
        model = model.to(self.device)
        if not self.distributed:
            return model
        return MMDistributedDataParallel(module=model, broadcast_buffers=False, find_unused_parameters=True)

    def load_or_resume(self) -> None:
        """Continue from `checkpoint`, if there is one: weights, optimiser, position."""
        if self._has_loaded:
            return
        self._has_loaded = True
        if self.checkpoint is None:
            return
        state = read_checkpoint(self.checkpoint)
        if not {"state_dict", "optimizer", "meta"} <= set(state) or not {"epoch", "iter"} <= set(state["meta"]):
            raise CheckpointError(f"{self.checkpoint} holds weights alone and cannot be resumed; use train.init_from.")
        self._resume = True
        self.call_hook("after_load_checkpoint", checkpoint=state)
        load_weights(unwrapped(self.model), state["state_dict"], self.checkpoint)
        try:
            self.optim_wrapper.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise CheckpointError(f"{self.checkpoint} cannot be resumed, its optimiser differs: {error}.") from error
        for name, parameter in unwrapped(self.model).named_parameters():
            if name in state.get("gradients", {}):
                parameter.grad = state["gradients"][name].to(parameter.device)
        self.train_loop._epoch = state["meta"]["epoch"]
        self.train_loop._iter = state["meta"]["iter"]


def unwrapped(model: nn.Module) -> Model:
    """The model itself, inside any data-parallel wrapper."""
    return getattr(model, "module", model)


@dataclass
class Session:
    """A runner with what a run needs around it.

    Attributes:
        runner: mmengine's.
        config, opened: what it was built from.
        train, test: the splits; `holdout` is the part of the training videos set aside for selection, or None.
        metric: the protocol's metric on the test split.
        device: where it runs.
    """

    runner: HarnessRunner
    config: RunConfig
    opened: Opened
    train: VideoSet
    test: VideoSet
    holdout: VideoSet | None
    metric: ProtocolMetric
    device: torch.device

    @property
    def model(self) -> Model:
        """The model itself."""
        return unwrapped(self.runner.model)


def build_runner(
    config: RunConfig,
    opened: Opened,
    work_dir: str | Path,
    *,
    checkpoint: Path | None = None,
    weights: tuple[dict[str, Any], Path] | None = None,
    out: Callable[[str], None] = print,
) -> Session:
    """Assemble a run.

    Args:
        config: checked config.
        opened: its data.
        work_dir: the run's folder.
        checkpoint: resume from here.
        weights: (state dict, its path) training starts from; what does not fit is left at its initialisation.
        out: writes progress lines.

    Raises:
        WtalError: anything in config or data that cannot work, before the first step.
    """
    device = pick_device(config)
    if config.runtime.visualizer == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(f"{config.path}: runtime.visualizer='tensorboard' needs `pip install tensorboard future`.")
    rank, world = join_processes(device)
    _deterministic(config.runtime.deterministic)
    seed_everything(config.runtime.seed)
    model = check_model(config)
    model.grad_reduction = config.train.grad_reduction
    if weights is not None:
        load_weights(model, weights[0], weights[1], strict=False)
    selecting = _selection_metric(config, opened.protocol)
    train, holdout = _training_sets(config, opened)
    test = opened.test(config.data.missing)
    probe(model, train, config)
    if config.runtime.compile:
        model.compute = torch.compile(model.compute, dynamic=True)

    t = config.train
    resident = config.data.resident == "gpu"
    seed = config.runtime.seed
    plan = Plan(
        train.labels,
        t.batch_size,
        seed,
        shuffle=t.shuffle,
        drop_last=t.drop_last,
        pairs=t.pairs,
        rank=rank,
        world=world,
    )
    if not len(plan):
        raise ConfigError(
            f"{config.path}: train.drop_last leaves no batch: {plan.items} items, batch_size {t.batch_size}."
        )
    train_gather = Gather(train, build_sampling(t.sampling, length=t.length), seed)
    train_loader = build_loader(plan, train_gather, on_device=resident, num_workers=config.runtime.num_workers)

    test_rule = build_sampling(config.test.sampling, length=config.test.length)

    def eval_loader(videos: VideoSet) -> Any:
        eval_plan = Plan(videos.labels, config.test.batch_size * world, seed, rank=rank, world=world)
        return build_loader(eval_plan, Gather(videos, test_rule, seed), on_device=resident)

    frames = config.test.frame_accuracy
    model.keep_snippet_scores = frames is not None
    metric = ProtocolMetric(test, opened.protocol, opened.annotations, None if frames is None else frames["threshold"])
    held_metric = TagMetric(holdout) if holdout is not None else metric
    validates = t.val_interval is not None or selecting is not None
    length = {"max_epochs": t.epochs} if t.epochs is not None else {"max_iterations": t.iterations}
    about = {
        "method": config.method,
        "protocol": opened.protocol.name,
        "seed": seed,
        "config_hash": config_hash(config),
    }
    runner = HarnessRunner(
        device=device,
        checkpoint=checkpoint,
        model=model,
        work_dir=str(work_dir),
        train_dataloader=train_loader,
        train_cfg=dict(
            type=TrainLoop,
            val_interval=(t.val_interval or 1) if validates else None,
            training_pass=_training_pass(model, replace(train_gather, sampling=build_sampling("whole")), device),
            **length,
        ),
        optim_wrapper=OptimizerStep(
            build_optimizer(model.parameters(), t),
            config.runtime.precision,
            t.accumulate,
            t.accumulate_reduction,
            t.clip,
        ),
        val_dataloader=eval_loader(holdout if holdout is not None else test) if validates else None,
        val_cfg={} if validates else None,
        val_evaluator=Evaluator(held_metric) if validates else None,
        test_dataloader=eval_loader(test),
        test_cfg={},
        test_evaluator=Evaluator(metric),
        default_hooks=dict(
            param_scheduler=None, checkpoint=None, sampler_seed=None, logger=dict(type="LoggerHook", interval=20)
        ),
        custom_hooks=[
            StepSeed(seed, rank),
            LearningRate(t),
            FiniteLoss(),
            Checkpoints(Path(work_dir), t.checkpoint_interval, selecting, about),
            Progress(config.runtime.log_interval, out),
            *([EMAHook(momentum=t.ema)] if t.ema is not None else []),
        ],
        launcher="pytorch" if world > 1 else "none",
        randomness=dict(seed=seed),
        log_processor=dict(by_epoch=True),
        visualizer=dict(type="Visualizer", vis_backends=[{"type": _BACKENDS[config.runtime.visualizer]}]),
        # unique: two runs that begin in the same second would share their logs otherwise
        experiment_name=f"{config.method}-{uuid.uuid4().hex[:12]}",
        default_scope="mmengine",
        cfg=PlainConfig({"run": config.resolved()}),
    )
    return Session(runner, config, opened, train, test, holdout, metric, device)


_BACKENDS = {"files": "LocalVisBackend", "tensorboard": "TensorboardVisBackend"}


def pick_device(config: RunConfig) -> torch.device:
    """The device `runtime.device` asks for.

    Raises:
        ConfigError: a GPU is asked for and there is none.
    """
    wanted = config.runtime.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"{config.path}: runtime.device='cuda', but torch sees no GPU here; use 'auto' or 'cpu'.")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def join_processes(device: torch.device) -> tuple[int, int]:
    """Join the processes torchrun started; return (rank, how many). mmengine's own launcher would insist on a GPU."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world > 1 and not torch.distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return (torch.distributed.get_rank(), world) if world > 1 else (0, 1)


def probe(model: Model, videos: VideoSet, config: RunConfig) -> None:
    """Run the shortest training videos once, so that a wrong width fails here, with words, and not at step one.

    Raises:
        ConfigError: model and data do not fit.
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
        with torch.no_grad():
            outputs = model.compute(batch)
            model.losses(batch)
        _check_classes(outputs, len(videos.classes), config.path)
    except (RuntimeError, ValueError, IndexError) as error:
        streams = ", ".join(f"{name} {first}..{end}" for name, (first, end) in videos.store.streams.items())
        raise ConfigError(
            f"{config.path}: the model cannot take video {videos.ids[shortest]!r} ({tuple(batch.features.shape[1:])} "
            f"features: {streams}; {len(videos.classes)} classes): {error}. Check in_channels and num_classes in the "
            "config against the store's manifest.json and the protocol."
        ) from error
    finally:
        model.train(training)


def _check_classes(outputs: Outputs, classes: int, where: str) -> None:
    for field, value in outputs.items():
        if field.rpartition(".")[2] in ("cas", "video_logits") and value.shape[-1] not in (classes, classes + 1):
            raise ConfigError(
                f"{where}: the model's {field} has {value.shape[-1]} classes, the protocol {classes}: set num_classes."
            )


def check_model(config: RunConfig) -> Model:
    """Build the model and check that it can be trained and tested as the config says; no data are needed.

    Raises:
        ConfigError, PluginError: an unknown component or argument, a field nobody makes, nothing to learn or decode.
    """
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
    if "pairs" in model.needs and config.train.pairs is None:
        who = [path for path, component in parts.items() if "pairs" in component.needs]
        raise ConfigError(
            f"{config.path}: model.{listing(who)} compares pairs of videos: set train.pairs=dict(source='dataset'), "
            "dict(source='in_batch') or dict(source='by_class', count=3)."
        )
    return model


def _training_sets(config: RunConfig, opened: Opened) -> tuple[VideoSet, VideoSet | None]:
    videos = opened.training(config.data.missing)
    if config.train.selection != "val_holdout":
        return videos, None
    return videos.holdout(config.train.holdout, config.runtime.seed)


def _selection_metric(config: RunConfig, protocol: Protocol) -> str | None:
    if config.train.selection == "last":
        return None
    if config.train.selection == "val_holdout":
        return "holdout/classification_mAP"
    by = config.train.select_by
    if by != "average" and by not in protocol.tious:
        raise ConfigError(
            f"{config.path}: train.select_by={by!r}: expected 'average' or a tIoU of {protocol.name}: "
            f"{listing(protocol.tious)}."
        )
    return "test/average" if by == "average" else f"test/{by:g}"


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


def _deterministic(wanted: bool) -> None:
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(wanted, warn_only=True)
