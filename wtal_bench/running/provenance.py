"""What a run must remember to be believed: code, plugins, machine, data."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import wtal_bench
from wtal_bench.files import digest
from wtal_bench.interfaces import Component
from wtal_bench.leaderboard.identity import hash_config
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.plugins import registries
from wtal_bench.running.datasets import read_only
from wtal_bench.running.settings import SECTIONS, RunConfig

SCIENCE = ("method", "variant", "model", "train", "test", "data", "ideas", "host")
"""Config sections that make a result what it is."""

LATER = (
    ("train", "val_first"),
    ("train", "select_streams"),
    ("test", "evaluator"),
    ("data", "tags"),
    ("data", "only"),
)
"""Settings that came after records were filed: left out of the hash at their defaults, so that it stays what it was."""

PACKAGES = ("torch", "numpy", "scipy", "mmengine-lite", "pandas")


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and machine: everything that may move a number."""
    cuda = device.type == "cuda"
    return {
        "wtal_bench": wtal_bench.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "device": torch.cuda.get_device_name(device) if cuda else f"cpu ({processor()})",
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


@cache
def processor() -> str:
    """This machine's processor, and the vector instructions torch uses on it: "AMD EPYC, AVX2".

    Libraries choose their kernels by both, so the last bits of a sum differ between processors.
    """
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
        name = next((line.partition(":")[2].strip() for line in stream if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def recorded_config(config: RunConfig) -> dict[str, Any]:
    """What of a config makes a result what it is: the record holds it, and the config hash is of it."""
    resolved = config.resolved()
    science = {key: resolved[key] for key in SCIENCE if key in resolved}
    if isinstance(resolved["train"]["init_from"], str):
        # a path differs from seed to seed and machine to machine; the parent's record id says what it was
        science["train"] = {**resolved["train"], "init_from": "parent"}
    science["data"] = {key: resolved["data"][key] for key in ("protocol", "synthetic", "missing", "tags", "only")}
    if config.data.only is not None:  # which videos, wherever the list of them lies
        science["data"]["only"] = digest(read_only(config.data, config.path))
    for section, key in LATER:
        if science[section][key] == getattr(SECTIONS[section], key):
            science[section] = {name: value for name, value in science[section].items() if name != key}
    hooks = {"hooks": resolved["runtime"]["hooks"]} if config.runtime.hooks else {}
    profile = {} if config.profile in ("", HONEST) else {"profile": config.profile}
    return {**science, "precision": config.runtime.precision, **hooks, **profile}


def config_hash(config: RunConfig) -> str:
    """The one hash of a config: in its checkpoints and in its record."""
    return hash_config(recorded_config(config))


def component_list(components: Iterable[tuple[str, Component]], hooks: Iterable[str] = ()) -> list[dict[str, str]]:
    """Kind, name, plugin and version of every component of a model and of plugins' hooks by name, without repeats."""
    by_target = {info.target: info for table in registries().values() for info in table.infos()}
    rows = {}
    for _, component in components:
        info = by_target.get(f"{type(component).__module__}:{type(component).__name__}")
        if info is not None:
            rows[info.kind, info.name] = info
    known = registries()["hook"]
    rows |= {("hook", name): known.info(name) for name in hooks if name in known.names()}
    return [
        {"kind": info.kind, "name": info.name, "plugin": info.plugin, "version": info.version} for info in rows.values()
    ]


@cache  # reading what is installed takes 10 ms a package, and a run asks three times
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
