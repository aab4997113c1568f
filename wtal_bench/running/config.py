"""Reading a config and refusing what it should not hold, before anything heavy starts.

A config is a Python (or YAML) file of plain data, found and read by `wtal_bench.recipes`, with the sections `method`,
`variant`, `model`, `train`, `test`, `data`, `runtime` (and `ideas`, the switches of those that the config names as
`HOST+IDEA`; and `profiles`, named settings for the others, of which `profile` takes one: `running.profiles`); every
key of `train`, `test`, `data` and `runtime` is an attribute of the class of that name in `running.settings`, every
key of `model` an argument of a component. An unknown key anywhere is an error that names the nearest one. A config is
a program as far as Python files go: run only files you trust; YAML files run nothing but the Python files they name
as a `_base_`. A top-level name that begins with `_` is the file's own helper, no key.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.files import MAX_DEPTH, unplain
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.options import check_setting, check_type, within
from wtal_bench.recipes import anchor, read_layers
from wtal_bench.running.ideas import as_tree, settled
from wtal_bench.running.profiles import with_profile
from wtal_bench.running.settings import OPTIMIZERS, SECTIONS, TOP_LEVEL, RunConfig, Train

PAIR_SOURCES = ("dataset", "in_batch", "by_class")


def load_config(
    name: str | Path, options: Iterable[str] = (), named_by: Path | None = None, profile: str | None = None
) -> RunConfig:
    """Read a config file, take its profile, apply `--cfg-options`, and check every key outside `model`.

    Args:
        name: a .py, .yaml or .json config, found by the rule of `wtal_bench.recipes`; `HOST+IDEA` for one with an idea.
        options: texts "dotted.key=value".
        named_by: the file that names it; None for the command line.
        profile: the profile to take; `options` may name it instead, as "profile=NAME".

    Raises:
        ConfigError: missing file, no such profile, syntax error, unknown key, wrong type; the text names file and key
            path.
    """
    layers = read_layers(name, named_by)
    options, profile = _profile_asked(list(options), profile, layers.where)
    tree = settled(layers, as_tree([split_option(option) for option in options]) if layers.ideas else None)
    tree = with_profile(tree, profile, layers.where)
    for option in options:
        apply_option(tree, option, layers.where)
        if option.startswith("train.init_from"):
            anchor(tree, None, layers.path)
    return check_config(tree, layers.where)


def _profile_asked(options: list[str], profile: str | None, where: str) -> tuple[list[str], str | None]:
    """The options but for "profile=NAME", and the profile asked for by it or otherwise."""
    named = [option for option in options if option.replace(" ", "").startswith("profile=")]
    asked = dict.fromkeys(option.partition("=")[2].strip() for option in named)
    asked |= {} if profile is None else {profile: None}
    if len(asked) > 1:
        raise ConfigError(f"{where}: asked for two profiles: {listing(asked)}. Name one.")
    return [option for option in options if option not in named], next(iter(asked), None)


def split_option(option: str) -> tuple[str, Any]:
    """Take "dotted.key=value" apart: (key, value). The value is a Python literal, else a text.

    Raises:
        ConfigError: no "=".
    """
    key, equals, text = option.partition("=")
    if not equals:
        raise ConfigError(f"--cfg-options {option!r}: write dotted.key=value, e.g. train.lr=1e-4.")
    key, value = key.strip(), parse_value(text)
    if not all(key.split(".")) or key.count(".") > MAX_DEPTH:
        raise ConfigError(f"--cfg-options {option!r:.200}: write dotted.key=value, e.g. train.lr=1e-4.")
    problem = unplain({key: value})
    if problem:
        raise ConfigError(f"--cfg-options {problem}.")
    return key, value


def apply_option(tree: dict[str, Any], option: str, where: str) -> None:
    """Set one "dotted.key=value" in place. The value is a Python literal, else a text.

    Raises:
        ConfigError: no "=", or a path that leads nowhere.
    """
    key, value = split_option(option)
    *parents, last = key.split(".")
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
    node[last] = value


def parse_value(text: str) -> Any:
    """Parse a command-line value: a Python literal, true/false/none, else the text itself."""
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        return ast.literal_eval(_Dicts().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


class _Dicts(ast.NodeTransformer):
    """Reads `dict(type='RMSprop', alpha=0.9)`, as configs write it, like the literal it stands for."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        plain = isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args
        if not plain or any(keyword.arg is None for keyword in node.keywords):
            return node
        keys = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(keys, [self.visit(keyword.value) for keyword in node.keywords])


def check_config(tree: Mapping[str, Any], where: str) -> RunConfig:
    """Check every key outside `model` and build the sections.

    Raises:
        ConfigError: the text names the file, the key path and the nearest key there is.
    """
    tree = with_profile({key: value for key, value in tree.items() if not key.startswith("_")}, None, where)
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
    mix = {name: dict(tree.get(name) or {}) for name in ("ideas", "host")}
    if bool(mix["ideas"]) != bool(mix["host"]):
        raise ConfigError(
            f"{where}: the section `ideas` holds the switches of ideas that the config names, and this one names none. "
            f"Begin it with a host and an idea, e.g. _base_ = ['acm_net_synthetic.py+ftcl']."
        )
    names = {
        "variant": str(tree.get("variant") or ""),
        "profile": _profile(tree.get("profile"), sections["train"], where),
    }
    config = RunConfig(where, tree["method"], dict(tree["model"]), **names, **sections, **mix)
    problem = unplain(tree)
    if problem:
        raise ConfigError(f"{where}: {problem}.")
    _check_train(config.train, f"{where}: train")
    _check_keys(config.test.frame_accuracy, ("threshold",), f"{where}: test.frame_accuracy")
    if config.test.frame_accuracy is not None:
        check_type(config.test.frame_accuracy["threshold"], float, f"{where}: test.frame_accuracy.threshold")
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


def _profile(asked: Any, train: Train, where: str) -> str:
    """The name a run goes by: one that picks on the test videos is never called honest."""
    if asked is not None and not isinstance(asked, str):
        raise ConfigError(f"{where}: profile is the name of a profile, got {asked!r}.")
    if train.selection != "best_on_test":
        return HONEST if asked is None else asked
    if asked == HONEST:
        raise ConfigError(
            f"{where}: profile={HONEST!r} never looks at the test videos, train.selection='best_on_test' picks the "
            "checkpoint by them: leave the profile out, or select by 'last' or 'val_holdout'."
        )
    return asked or ""


def _section(cls: type, given: Mapping[str, Any], where: str) -> Any:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} must be a dict, got {given!r}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = get_type_hints(cls)
    for key, value in given.items():
        if key not in fields:
            raise ConfigError(f"{where}.{key}: unknown key.{did_you_mean(key, fields)} Known: {listing(fields)}.")
        check_type(value, hints[key], f"{where}.{key}")
        check_setting(fields[key], value, f"{where}.{key}")
    required = [
        n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING and n not in given
    ]
    if required:
        raise ConfigError(f"{where}: {listing(required)} must be given.")
    return cls(**given)


def _check_train(train: Train, where: str) -> None:
    _check_scoring(train, where)
    if (train.epochs is None) == (train.iterations is None):
        raise ConfigError(f"{where}: give either epochs or iterations, got {train.epochs} and {train.iterations}.")
    if len(train.betas) != 2:
        raise ConfigError(f"{where}.betas are two numbers, got {train.betas!r}.")
    _check_optimizer(train, where)
    _check_schedule(train, where)
    if train.pairs is not None:
        _check_pairs(train, f"{where}.pairs")


def _check_pairs(train: Train, where: str) -> None:
    given = train.pairs.get("source")
    pairs = {"distinct": False, "negatives": False, **train.pairs} if given == "by_class" else train.pairs
    _check_keys(pairs, ("source", "count", "distinct", "negatives") if given == "by_class" else ("source",), where)
    if given not in PAIR_SOURCES:
        raise ConfigError(
            f"{where}.source={given!r}.{did_you_mean(str(given), PAIR_SOURCES)} Options: {listing(PAIR_SOURCES)}."
        )
    if given == "by_class":
        for key in ("distinct", "negatives"):
            check_type(pairs[key], bool, f"{where}.{key}")
        count = train.pairs["count"]
        if type(count) is not int or not 1 <= count <= train.batch_size // 2:
            raise ConfigError(
                f"{where}.count={count!r}: give how many pairs of one class the batch's {train.batch_size} videos "
                f"hold, from 1 to {train.batch_size // 2}."
            )


def _check_scoring(train: Train, where: str) -> None:
    """Refuse settings of scoring that would do nothing: a metric to select by must be computed."""
    end = train.epochs if train.epochs is not None else train.iterations
    if train.val_first is not None and train.val_interval is None:
        raise ConfigError(f"{where}.val_first={train.val_first} needs val_interval: how often from there on.")
    if train.val_first is not None and end is not None and train.val_first > end:
        raise ConfigError(
            f"{where}.val_first={train.val_first} lies past the end of training ({end}): nothing would ever be scored, "
            "and a metric that is never computed selects nothing."
        )
    if train.select_streams and train.selection != "best_on_test":
        raise ConfigError(
            f"{where}.select_streams keeps the best epoch of every stream by the test videos, so it needs "
            f"selection='best_on_test'; it is {train.selection!r}."
        )


def _check_optimizer(train: Train, where: str) -> None:
    if isinstance(train.optimizer, dict):
        from wtal_bench.running.optim import check_optimizer

        return check_optimizer(train, where)
    if train.optimizer not in OPTIMIZERS:
        raise ConfigError(
            f"{where}.optimizer={train.optimizer!r}.{did_you_mean(train.optimizer, OPTIMIZERS)} Options: "
            f"{listing(OPTIMIZERS)}; any other class of torch.optim as a dict, e.g. dict(type='RMSprop', alpha=0.9)."
        )


def _check_schedule(train: Train, where: str) -> None:
    if any(isinstance(entry, Mapping) for entry in train.lr_schedule):
        from wtal_bench.running.schedule import check_schedulers

        return check_schedulers(train, where)
    for entry in train.lr_schedule:
        if not (isinstance(entry, (list, tuple)) and len(entry) == 2):
            raise ConfigError(
                f"{where}.lr_schedule holds pairs (first epoch or iteration, lr), or mmengine's scheduler dicts, got "
                f"{entry!r}."
            )
        check_type(entry[0], int, f"{where}.lr_schedule")
        within(f"{where}.lr_schedule", list(entry), "[0, inf)")


def _check_keys(given: Mapping[str, Any] | None, known: tuple[str, ...], where: str) -> None:
    if given is None:
        return
    for key in given:
        if key not in known:
            raise ConfigError(f"{where}.{key}: unknown key.{did_you_mean(key, known)} Known: {listing(known)}.")
    missing = [key for key in known if key not in given]
    if missing:
        raise ConfigError(f"{where}: {listing(missing)} must be given.")
