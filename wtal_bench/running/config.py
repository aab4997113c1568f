"""Reading a config and refusing what it should not hold, before anything heavy starts.

A config is a Python (or YAML) file of plain data, found and read by `wtal_bench.recipes`, with the sections `method`,
`variant`, `model`, `train`, `test`, `data`, `runtime`; every key of the last four is an attribute of the class of that
name below, every key of `model` an argument of a component. An unknown key anywhere is an error that names the nearest
one. A config is a program as far as Python files go: run only files you trust; YAML files run nothing but the Python
files they name as a `_base_`. A top-level name that begins with `_` is the file's own helper, no key.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.leaderboard.validate import SELECTIONS
from wtal_bench.recipes import anchor, find, read_tree

PAIR_SOURCES = ("dataset", "in_batch", "by_class")


@dataclass
class Train:
    """How the model is trained.

    Attributes:
        sampling: snippet sampling rule, by name or dict (see `wtal_bench.data.sampling`).
        length: snippets per video after sampling, for rules that need it.
        batch_size: videos per optimisation step, over all processes (pairs of videos with `pairs`).
        epochs, iterations: length of training; give one. With `iterations` the intervals and schedules below count
            iterations too.
        optimizer: "Adam", "AdamW" or "SGD".
        lr, betas, eps, momentum, weight_decay: its settings (weight decay as the optimiser defines it: coupled L2
            for Adam and SGD).
        lr_schedule: [(first epoch, lr), ...], piecewise constant; before the first entry `lr` holds.
        grad_reduction: "mean" or "sum" of the videos' gradients in a batch.
        accumulate: batches per optimiser step.
        accumulate_reduction: "mean" or "sum" of the accumulated batches' gradients.
        clip: largest L2 norm of the gradient, or None.
        ema: momentum of an exponential moving average of the weights used at test, or None.
        pairs: None, or dict(source="dataset"|"in_batch") for losses that compare two videos, or
            dict(source="by_class", count=3): batches of which `count` pairs share a class, all drawn with replacement
            (`distinct=True`: two different videos a pair).
        init_from: None, or where training starts from: a checkpoint (.pth), a run's folder, a record id under
            `leaderboard/records`, or dict(config="RECIPE") to train that first.
        selection: "last" epoch; "val_holdout": best epoch by video-level classification on a held-out part of the
            training videos; "best_on_test": best epoch by test mAP (what most papers report; never ranked with the
            others).
        val_interval: score every so many epochs; None with selection="last" scores only at the end.
        holdout: share of the training videos held out for "val_holdout".
        select_by: metric best_on_test goes by: "average" or a tIoU such as 0.5.
        checkpoint_interval: epochs between checkpoints.
        shuffle: whether the videos are visited in a new order every epoch; "fresh": after the first epoch every batch
            is the first one of a new order (what BaS-Net's training loop does), so a last, smaller one comes once.
        drop_last: whether a last, smaller batch is left out.
    """

    lr: float
    sampling: Any = "whole"
    length: int | None = None
    batch_size: int = 16
    epochs: int | None = None
    iterations: int | None = None
    optimizer: str = "Adam"
    betas: tuple = (0.9, 0.999)
    eps: float = 1e-8
    momentum: float = 0.0
    weight_decay: float = 0.0
    lr_schedule: list = field(default_factory=list)
    grad_reduction: str = "mean"
    accumulate: int = 1
    accumulate_reduction: str = "mean"
    clip: float | None = None
    ema: float | None = None
    pairs: dict | None = None
    init_from: Any = None
    selection: str = "last"
    val_interval: int | None = None
    holdout: float = 0.2
    select_by: Any = "average"
    checkpoint_interval: int = 1
    shuffle: bool | str = True
    drop_last: bool = False

    choices = {  # noqa: RUF012
        "optimizer": ("Adam", "AdamW", "SGD"),
        "grad_reduction": ("mean", "sum"),
        "accumulate_reduction": ("mean", "sum"),
        "selection": SELECTIONS,
        "shuffle": (True, False, "fresh"),
    }
    spans = {  # noqa: RUF012
        "lr": "(0, inf)",
        "length": "[1, inf)",
        "batch_size": "[1, inf)",
        "epochs": "[1, inf)",
        "iterations": "[1, inf)",
        "betas": "[0, 1)",
        "eps": "(0, inf)",
        "momentum": "[0, 1)",
        "weight_decay": "[0, inf)",
        "accumulate": "[1, inf)",
        "clip": "(0, inf)",
        "ema": "(0, 1)",
        "val_interval": "[1, inf)",
        "holdout": "(0, 1)",
        "checkpoint_interval": "[1, inf)",
    }


@dataclass
class Test:
    """How test videos are read.

    Attributes:
        sampling, length: as in training.
        batch_size: videos per forward pass (no effect on results).
        frame_accuracy: None, or dict(threshold=0.25) to report per-frame accuracy of the decoder's curve as well.
    """

    sampling: Any = "whole"
    length: int | None = None
    batch_size: int = 1
    frame_accuracy: dict | None = None

    choices = {}  # noqa: RUF012
    spans = {"length": "[1, inf)", "batch_size": "[1, inf)"}  # noqa: RUF012


@dataclass
class Data:
    """Which videos, features and annotations.

    Attributes:
        protocol: e.g. "thumos14/v1"; fixes split, classes, tIoU grid and evaluators.
        root: folder of the data set; None looks in $WTAL_DATA/<dataset> and data/<dataset> (see `data.locate`).
        features: the feature store's folder, relative to `root`.
        annotations: the annotation file, relative to `root`; the default may also have its protocol's name for it.
        synthetic: None, or dict(profile="demo", world=0): generate (once, cached) instead of reading `root`.
        resident: "map" (memory-mapped), "ram" or "gpu": where the features live while training.
        missing: "refuse", or "skip" to train and test without the videos that have no features.
    """

    protocol: str
    root: str | None = None
    features: str = "features"
    annotations: str = "annotations.json"
    synthetic: dict | None = None
    resident: str = "map"
    missing: str = "refuse"

    choices = {"resident": ("map", "ram", "gpu"), "missing": ("refuse", "skip")}  # noqa: RUF012
    spans = {}  # noqa: RUF012


@dataclass
class Runtime:
    """Where and how the run executes; nothing here but precision and seed changes a result.

    Attributes:
        seed: of initialisation, order, sampling and dropout.
        device: "auto", "cpu" or "cuda".
        precision: "float32" or "bf16" (autocast).
        deterministic: ask torch for deterministic algorithms.
        compile: run the model through torch.compile.
        num_workers: loader processes; 0 gathers in the main process.
        log_interval: seconds between progress lines when the output is not a terminal.
        visualizer: "files", or "tensorboard" if that extra is installed.
    """

    seed: int = 0
    device: str = "auto"
    precision: str = "float32"
    deterministic: bool = True
    compile: bool = False
    num_workers: int = 0
    log_interval: float = 10.0
    visualizer: str = "files"

    choices = {  # noqa: RUF012
        "device": ("auto", "cpu", "cuda"),
        "precision": ("float32", "bf16"),
        "visualizer": ("files", "tensorboard"),
    }
    spans = {"seed": "[0, 4294967296)", "num_workers": "[0, inf)", "log_interval": "[0, inf)"}  # noqa: RUF012


@dataclass
class RunConfig:
    """A checked config.

    Attributes:
        path: the file it was read from.
        method, variant: names for the leaderboard.
        model: component configs, checked when the model is built.
        train, test, data, runtime: the sections.
    """

    path: str
    method: str
    model: dict[str, Any]
    train: Train
    test: Test
    data: Data
    runtime: Runtime
    variant: str = ""

    def resolved(self) -> dict[str, Any]:
        """Everything as plain JSON-able data, defaults included."""
        sections = {name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS}
        return _plain({"method": self.method, "variant": self.variant, "model": self.model, **sections})


SECTIONS: dict[str, type] = {"train": Train, "test": Test, "data": Data, "runtime": Runtime}
TOP_LEVEL = ("method", "variant", "model", *SECTIONS)


def load_config(name: str | Path, options: Iterable[str] = (), named_by: Path | None = None) -> RunConfig:
    """Read a config file, apply `--cfg-options`, and check every key outside `model`.

    Args:
        name: a .py, .yaml or .json config, found by the rule of `wtal_bench.recipes`.
        options: texts "dotted.key=value".
        named_by: the file that names it; None for the command line.

    Raises:
        ConfigError: missing file, syntax error, unknown key, wrong type; the text names file and key path.
    """
    path = find(name, named_by)
    tree = read_tree(path)
    for option in options:
        apply_option(tree, option, str(path))
        if option.startswith("train.init_from"):
            anchor(tree, None, path)
    return check_config(tree, str(path))


def apply_option(tree: dict[str, Any], option: str, where: str) -> None:
    """Set one "dotted.key=value" in place. The value is a Python literal, else a text.

    Raises:
        ConfigError: no "=", or a path that leads nowhere.
    """
    key, equals, text = option.partition("=")
    if not equals:
        raise ConfigError(f"--cfg-options {option!r}: write dotted.key=value, e.g. train.lr=1e-4.")
    *parents, last = key.strip().split(".")
    node: Any = tree
    for depth, name in enumerate(parents):
        if isinstance(node, dict) and node.get(name) is None and depth == 0 and name in SECTIONS:
            node[name] = {}
        if not isinstance(node, dict) or name not in node:
            options = list(node) if isinstance(node, dict) else []
            raise ConfigError(
                f"--cfg-options {key}: {where} has no {'.'.join(parents[: depth + 1])!r}.{did_you_mean(name, options)} "
                f"There are: {listing(options)}."
            )
        node = node[name]
    if not isinstance(node, dict):
        raise ConfigError(f"--cfg-options {key}: {'.'.join(parents)} is {node!r}, which has no keys.")
    node[last] = parse_value(text)


def parse_value(text: str) -> Any:
    """Parse a command-line value: a Python literal, true/false/none, else the text itself."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text


def check_config(tree: Mapping[str, Any], where: str) -> RunConfig:
    """Check every key outside `model` and build the sections.

    Raises:
        ConfigError: the text names the file, the key path and the nearest key there is.
    """
    tree = {key: value for key, value in tree.items() if not key.startswith("_")}
    for key in tree:
        if key not in TOP_LEVEL:
            raise ConfigError(
                f"{where}: unknown key {key!r}.{did_you_mean(key, TOP_LEVEL)} Known: {listing(TOP_LEVEL)}."
            )
    for key in ("method", "model", "train", "data"):
        if key not in tree:
            raise ConfigError(f"{where}: the section {key!r} is missing. A config has: {listing(TOP_LEVEL)}.")
    if not (isinstance(tree["method"], str) and tree["method"].strip()):
        raise ConfigError(f"{where}: method is the leaderboard name of the method, a text; got {tree['method']!r}.")
    if not isinstance(tree["model"], Mapping):
        raise ConfigError(f"{where}: model must be a dict, got {tree['model']!r}.")
    sections = {
        name: _section(cls, {} if tree.get(name) is None else tree[name], f"{where}: {name}")
        for name, cls in SECTIONS.items()
    }
    config = RunConfig(where, tree["method"], dict(tree["model"]), variant=str(tree.get("variant") or ""), **sections)
    _check_train(config.train, f"{where}: train")
    _check_keys(config.test.frame_accuracy, ("threshold",), f"{where}: test.frame_accuracy")
    if config.test.frame_accuracy is not None:
        _check_type(config.test.frame_accuracy["threshold"], float, f"{where}: test.frame_accuracy.threshold")
    for name, settings in (("train", config.train), ("test", config.test)):
        try:
            build_sampling(settings.sampling, length=settings.length)
        except (ConfigError, TypeError) as error:
            raise ConfigError(f"{where}: {name}.sampling: {error}") from error
    if config.data.synthetic is not None:
        _check_keys(
            {"profile": "", "world": 0} | config.data.synthetic, ("profile", "world"), f"{where}: data.synthetic"
        )
    return config


def _section(cls: type, given: Mapping[str, Any], where: str) -> Any:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} must be a dict, got {given!r}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    for key, value in given.items():
        if key not in fields:
            raise ConfigError(f"{where}.{key}: unknown key.{did_you_mean(key, fields)} Known: {listing(fields)}.")
        _check_type(value, hints[key], f"{where}.{key}")
        options = cls.choices.get(key)
        if options and value not in options:
            names = [str(option) for option in options]
            raise ConfigError(f"{where}.{key}={value!r}.{did_you_mean(str(value), names)} Options: {listing(names)}.")
        if value is not None and key in cls.spans:
            _check_span(value, cls.spans[key], f"{where}.{key}")
    required = [
        n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING and n not in given
    ]
    if required:
        raise ConfigError(f"{where}: {listing(required)} must be given.")
    return cls(**given)


def _check_type(value: Any, hint: Any, where: str) -> None:
    if hint is Any:
        return
    kinds = get_args(hint) if get_origin(hint) is not None else (hint,)
    kinds = tuple(type(None) if kind is None else kind for kind in kinds)
    if float in kinds:
        kinds = (*kinds, int)
    if tuple in kinds or list in kinds:
        kinds = (*kinds, tuple, list)
    if (isinstance(value, bool) and bool not in kinds) or not isinstance(value, kinds):
        names = listing("None" if kind is type(None) else kind.__name__ for kind in dict.fromkeys(kinds))
        hint = ""
        if isinstance(value, str) and float in kinds and re.fullmatch(r"[-+]?\d+[eE][-+]?\d+", value):
            hint = " YAML takes a number without a point for a text: write 1.0e-4, not 1e-4."
        raise ConfigError(f"{where}: expected {names}, got {value!r}.{hint}")


def _check_span(value: Any, span: str, where: str) -> None:
    """Refuse numbers outside "[low, high)" (written as in mathematics), NaN among them."""
    low, high = map(float, span[1:-1].split(","))
    for number in value if isinstance(value, (list, tuple)) else [value]:
        _check_type(number, float, where)
        above = number >= low if span[0] == "[" else number > low
        below = number <= high if span[-1] == "]" else number < high
        if not (above and below):
            raise ConfigError(f"{where} must lie in {span}, got {value!r}.")


def _check_train(train: Train, where: str) -> None:
    if (train.epochs is None) == (train.iterations is None):
        raise ConfigError(f"{where}: give either epochs or iterations, got {train.epochs} and {train.iterations}.")
    if len(train.betas) != 2:
        raise ConfigError(f"{where}.betas are two numbers, got {train.betas!r}.")
    for entry in train.lr_schedule:
        if not (isinstance(entry, (list, tuple)) and len(entry) == 2):
            raise ConfigError(f"{where}.lr_schedule holds pairs (first epoch or iteration, lr), got {entry!r}.")
        _check_type(entry[0], int, f"{where}.lr_schedule")
        _check_span(list(entry), Train.spans["weight_decay"], f"{where}.lr_schedule")
    if train.pairs is not None:
        _check_pairs(train, f"{where}.pairs")


def _check_pairs(train: Train, where: str) -> None:
    given = train.pairs.get("source")
    pairs = {"distinct": False, **train.pairs} if given == "by_class" else train.pairs
    _check_keys(pairs, ("source", "count", "distinct") if given == "by_class" else ("source",), where)
    if given not in PAIR_SOURCES:
        raise ConfigError(
            f"{where}.source={given!r}.{did_you_mean(str(given), PAIR_SOURCES)} Options: {listing(PAIR_SOURCES)}."
        )
    if given == "by_class":
        _check_type(pairs["distinct"], bool, f"{where}.distinct")
        count = train.pairs["count"]
        if type(count) is not int or not 1 <= count <= train.batch_size // 2:
            raise ConfigError(
                f"{where}.count={count!r}: give how many pairs of one class the batch's {train.batch_size} videos "
                f"hold, from 1 to {train.batch_size // 2}."
            )


def _check_keys(given: Mapping[str, Any] | None, known: tuple[str, ...], where: str) -> None:
    if given is None:
        return
    for key in given:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown key.{did_you_mean(key, known)} Known: {listing(known)}.")
    missing = [key for key in known if key not in given]
    if missing:
        raise ConfigError(f"{where}: {listing(missing)} must be given.")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
