"""The hooks of `runtime.hooks`: mmengine's by name, plugins' by theirs, each checked before training.

A hook is code of the user's own. What it is handed never leads to a temporal annotation, unless the run picks its
checkpoint on the test videos and says so (`best_on_test`): the runner of any other run neither holds the test videos'
evaluator nor scores them while it trains, and `build_hooks` refuses the settings that would change that. No process
can keep a hook from opening the annotation file itself; reviewers of a plugin read its imports and its `open`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner.priority import get_priority

from wtal_bench import interfaces
from wtal_bench.errors import ConfigError, PluginError, did_you_mean, listing
from wtal_bench.options import check_arguments
from wtal_bench.plugins import registry
from wtal_bench.protocols import Protocol
from wtal_bench.running.measure import selection_names
from wtal_bench.running.metrics import ProtocolMetric, TagMetric
from wtal_bench.running.settings import RunConfig

OURS = {
    "CheckpointHook": "train.checkpoint_interval and train.selection say which checkpoints are kept",
    "DistSamplerSeedHook": "the order of the videos follows from runtime.seed",
    "EMAHook": "write train.ema, which the record then holds",
    "IterTimerHook": "it is always on",
    "LoggerHook": "it is always on, and runtime.visualizer says where it writes",
    "NaiveVisualizationHook": "it draws images; a run draws example.png",
    "ParamSchedulerHook": "write mmengine's schedulers into train.lr_schedule",
    "PrepareTTAHook": "it swaps the model for one of images",
    "RuntimeInfoHook": "it is always on",
}
"""mmengine's hooks whose work the harness does itself, and what to write instead."""


def scored_while_training(config: RunConfig, protocol: Protocol) -> tuple[str, ...]:
    """Names of the metrics that a run computes between epochs: what a hook may monitor."""
    train = config.train
    if train.selection == "val_holdout":
        return TagMetric.names()
    if train.selection == "best_on_test" and not train.select_streams:
        return tuple(dict.fromkeys((*ProtocolMetric.names(protocol), *selection_names(config, protocol).values())))
    if train.selection == "best_on_test" or train.val_interval is not None:
        return ProtocolMetric.names(protocol)
    return ()


def build_hooks(config: RunConfig, protocol: Protocol) -> list[Hook]:
    """Build the hooks of `runtime.hooks`, with one more that keeps their state in the checkpoints.

    Raises:
        ConfigError: an unknown hook or argument, one whose work is the harness's, a metric nobody computes, or a look
            at the test videos in a run that does not say `best_on_test`.
        PluginError: a plugin's hook is broken.
    """
    entries, train = config.runtime.hooks, config.train
    if entries and train.val_interval is not None and train.selection == "last":
        raise ConfigError(
            f"{config.path}: runtime.hooks with train.val_interval and train.selection='last': hooks would see the "
            "test videos' scores during training, which only a run that says best_on_test may. Leave val_interval "
            "out, or select by 'val_holdout', which scores held-out training videos."
        )
    hooks: dict[str, Hook] = {}
    for at, entry in enumerate(entries):
        where = f"{config.path}: runtime.hooks[{at}]"
        hook = _build(entry, where)
        _check_monitor(hook, config, protocol, f"{where} ({entry['type']})")
        hooks[f"{at}:{entry['type']}"] = hook
    return [*hooks.values(), HookStates(hooks)] if hooks else []


def _build(entry: Any, where: str) -> Hook:
    names = sorted(set(HOOKS.module_dict) - set(OURS))
    if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
        known = listing([*names, *registry("hook").names()])
        raise ConfigError(f"{where}: a hook is a dict(type='EarlyStoppingHook', ...), got {entry!r}. Known: {known}.")
    name = entry["type"]
    arguments = {key: value for key, value in entry.items() if key not in ("type", "priority")}
    if name in OURS:
        raise ConfigError(f"{where}.type={name!r} is the harness's own work: {OURS[name]}.")
    if name in names:
        hook = _build_mmengine(HOOKS.module_dict[name], arguments, where, name)
    elif name in registry("hook").names():
        hook = PluginHook(registry("hook").build({"type": name, **arguments}, where), where)
    else:
        near = did_you_mean(name, [*names, *registry("hook").names()])
        raise ConfigError(f"{where}.type={name!r}.{near} mmengine has: {listing(names)}. {_missing(name)}")
    if "priority" in entry:
        try:
            get_priority(entry["priority"])
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(f"{where}.priority: a number in 0..100 or a name such as 'LOW': {error}") from error
        hook.priority = entry["priority"]
    return hook


def _missing(name: str) -> str:
    try:
        registry("hook").info(name)
    except PluginError as error:  # tells of a plugin that could not be loaded, and of a name of another kind
        return f"Plugins: {error}"
    return ""


def _build_mmengine(cls: type[Hook], arguments: dict[str, Any], where: str, name: str) -> Hook:
    check_arguments(cls, arguments, where, shown=name)
    if "rule" in inspect.signature(cls).parameters:
        arguments.setdefault("rule", "greater")  # every metric of a run is a share of what is right
    try:
        return cls(**arguments)
    except (TypeError, ValueError, KeyError, AssertionError, ImportError) as error:
        raise ConfigError(f"{where} ({name}): {error}") from error


def _check_monitor(hook: Hook, config: RunConfig, protocol: Protocol, where: str) -> None:
    """Refuse a metric that no score of this run holds, or that looks at the test videos."""
    monitor = getattr(hook, "monitor", None)
    if monitor is None:
        return
    computed = scored_while_training(config, protocol)
    if monitor in computed:
        return
    if monitor in ProtocolMetric.names(protocol):
        raise ConfigError(
            f"{where} monitors {monitor!r}, a score of the test videos: only a run with "
            "train.selection='best_on_test', which is never ranked with honest ones, may stop by it. Stop by tags of "
            f"held-out training videos: train.selection='val_holdout' and monitor={TagMetric.names()[0]!r}."
        )
    there = f"this run computes {listing(computed)}"
    if not computed:
        honest = listing(TagMetric.names())
        there = f"this run scores nothing while it trains; with train.selection='val_holdout' there is {honest}"
    raise ConfigError(
        f"{where} monitors {monitor!r}, which is never computed: {there}.{did_you_mean(str(monitor), computed)}"
    )


class PluginHook(Hook):
    """A plugin's hook, for mmengine: its methods become this object's."""

    def __init__(self, hook: interfaces.Hook, where: str) -> None:
        self.hook, self.priority = hook, hook.priority
        for name in dir(hook):
            if name.startswith(("before_", "after_")) and callable(getattr(hook, name)):
                if name not in interfaces.HOOK_POINTS:
                    raise ConfigError(
                        f"{where} ({type(hook).__name__}) has a method {name!r} that nobody calls."
                        f"{did_you_mean(name, interfaces.HOOK_POINTS)} Points: {listing(interfaces.HOOK_POINTS)}."
                    )
                setattr(self, name, getattr(hook, name))

    @property
    def monitor(self) -> str | None:
        """The metric it acts on."""
        return self.hook.monitor


class HookStates(Hook):
    """Keeps what hooks remember in the checkpoints: a counter of mmengine's would start anew on resuming.

    The state of a hook is its `state_dict()` or, without one, its attributes that are plain values or tensors.

    Args:
        hooks: by a name that the config gives.
    """

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self.hooks = {name: getattr(hook, "hook", hook) for name, hook in hooks.items()}

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Write every state."""
        checkpoint["hooks"] = {name: _state(hook, name) for name, hook in self.hooks.items()}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Restore every state."""
        for name, state in checkpoint.get("hooks", {}).items():
            hook = self.hooks[name]
            if hasattr(hook, "load_state_dict"):
                hook.load_state_dict(state)
                continue
            for key, value in state.items():
                known = getattr(hook, key, None)
                both = isinstance(known, torch.Tensor) and isinstance(value, torch.Tensor)
                setattr(hook, key, value.to(known.device) if both else value)


def _state(hook: Any, name: str) -> dict[str, Any]:
    if not hasattr(hook, "state_dict"):
        return {key: value for key, value in vars(hook).items() if _plain(value)}
    state = hook.state_dict()
    if not _plain(state):
        raise PluginError(
            f"runtime.hooks {name}: its state_dict() must hold tensors, numbers, texts, None, lists and dicts of these "
            "alone, so that a checkpoint can be read without running code."
        )
    return state


def _plain(value: Any) -> bool:
    """Whether a checkpoint read with `weights_only=True` can hold it."""
    if type(value) is dict:
        return all(_plain(key) and _plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(map(_plain, value))
    return value is None or type(value) in (bool, int, float, str, torch.Tensor)
