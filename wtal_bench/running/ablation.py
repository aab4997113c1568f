"""Named variants of a config: the ablation rows of a paper, with the values it printed.

A file holds rows::

    base: ../ecm_thumos.py                 # what the rows change, unless a row names its own
    method: ecm
    rows:
      - name: post_only                    # the record's variant
        paper_row: Table 4, post only
        published: {metric: mAP@0.5, value: 17.1}
        options:                           # dotted key -> value; null removes a head or loss
          model.heads.weights.source: self
          model.heads.weights.in_channels: "{model.backbone.in_channels}"   # another value of the base

Names of configs are read by the rule of `wtal_bench.recipes`: first beside the ablation file. A row may name the config
it is compared with, `against: ../um_thumos.py`: both are trained with the same seeds, and the row's number is the gain.
Where every row has a config of its own on each data set, names hold `{data}` for it: the file's `data: thumos`, or what
`sweep --data` says.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.files import MAX_DEPTH
from wtal_bench.options import check_type, within
from wtal_bench.reading import read_yaml
from wtal_bench.recipes import Layers, anchor, find, read_layers
from wtal_bench.running.config import check_config, load_config
from wtal_bench.running.ideas import as_tree, settled
from wtal_bench.running.profiles import with_profile
from wtal_bench.running.settings import RunConfig

FILE_KEYS = ("base", "method", "data", "rows", "search", "reproduce", "parts", "note")
"""Keys of a file; `parts` is a place for anchors that rows share; `search`, `reproduce`: `wtal_bench.sweeps`."""
PUBLISHED_KEYS = ("metric", "value", "host")
ROW_KEYS: dict[str, Any] = {
    "name": str,
    "paper_row": str | None,
    "published": dict[str, Any] | None,
    "base": str | None,
    "against": str | None,
    "instead": dict[str, str] | None,
    "note": str | None,
    "options": dict[str, Any] | None,
}
"""Keys of a row, and what each takes."""

DATA = "{data}"
NUMBER = re.compile(r"^(?P<whole>[-+]?\d+)(?P<rest>\.\d*)?[eE](?P<exponent>[-+]?\d+)$")
"""Numbers that YAML reads as texts, where they are not quoted."""
REFERENCE = re.compile(r"^\{([\w.]+)\}$")


@dataclass(frozen=True)
class Row:
    """One named variant.

    Attributes:
        name, paper_row, note: what it is.
        published: {metric, value} or None.
        base: config it changes.
        instead: other bases -> the config this row takes then, where changing options cannot make it.
        options: dotted key -> value.
        against: the config its gain is measured against, or None.
        file: the ablation file.
        where: file and row, for error texts.
        renames: whether its name becomes the record's variant; a recipe that is run as it is keeps its own.
    """

    name: str
    base: str
    options: Mapping[str, Any]
    file: Path
    where: str
    paper_row: str = ""
    published: Mapping[str, Any] | None = None
    instead: Mapping[str, str] | None = None
    note: str = ""
    against: str | None = None
    renames: bool = True

    def config(
        self, base: str | None = None, profile: str | None = None, over: Mapping[str, Any] | None = None
    ) -> RunConfig:
        """The checked config of this row, on its own base or on one the command line names, in one of its profiles.

        Args:
            base: the config it is applied to instead of its own.
            profile: of the base.
            over: dotted key -> value, set after the row's own options (`--cfg-options`).

        Raises:
            ConfigError: no such profile, a config that is not there, an option that leads nowhere, or a reference to
                nothing.
        """
        layers = self._layers(base)
        tree = with_profile(settled(layers), profile, layers.where)
        original = copy.deepcopy(tree)
        options = [(key, _resolved(value, original, self.where)) for key, value in self.options.items()]
        options += list((over or {}).items())
        if layers.ideas and options:
            tree = with_profile(settled(layers, as_tree(options)), profile, layers.where)
        for key, value in options:
            _set(tree, key, value, self.where)
            if key.startswith("train.init_from"):
                anchor(tree, self.file, layers.path)
        if self.renames and (self.options or not layers.ideas):  # a mix that is run as it is keeps its name
            tree["variant"] = self.name
        return check_config(tree, layers.where)

    @property
    def ideas(self) -> tuple[str, ...]:
        """Names of the ideas its own base puts on a host."""
        return tuple(idea.name for idea in self._layers(None).ideas)

    def rival(self, profile: str | None = None, options: Sequence[str] = ()) -> RunConfig | None:
        """The checked config of what its gain is measured against, with the same profile and options, or None."""
        if self.against is None:
            return None
        return load_config(self.against, options, named_by=self.file, profile=profile)

    def _layers(self, base: str | None) -> Layers:
        if base is None:
            return read_layers(self.base, self.file, f"row {self.name}")
        given, key = read_layers(base), f"row {self.name}: instead"
        for other, instead in (self.instead or {}).items():
            if not given.ideas and find(other, self.file, key).resolve() == given.path.resolve():
                return read_layers(instead, self.file, key)
        return given


def load_rows(path: str | Path, data: str | None = None) -> list[Row]:
    """Read an ablation file.

    Args:
        path: where, or a shipped one's name.
        data: what `{data}` in the names of configs stands for; None = what the file says.

    Raises:
        ConfigError: missing file, unknown keys, doubled names, `data` for a file that has no place for it.
    """
    path, top = read_top(path)
    given, default, own = top.get("rows"), top.get("base"), top.get("data")
    if not (isinstance(given, list) and given and all(isinstance(entry, Mapping) for entry in given)):
        raise ConfigError(
            f"{path} has no rows: an ablation file is YAML with a list `rows`, each a mapping with a name; "
            "`wtal-bench list --configs 'ablations/*'` shows the shipped ones."
        )
    if data is not None and own is None:
        raise ConfigError(f"{path} has no {DATA} in its names of configs; choose another config with --base.")
    rows = []
    for number, entry in enumerate(given):
        where = f"{path}: row {entry.get('name', number)!r:.80}"
        for key in entry:
            if key not in ROW_KEYS:
                raise ConfigError(
                    f"{where}: unknown key {key!r}.{did_you_mean(key, ROW_KEYS)} Known: {listing(ROW_KEYS)}."
                )
        if not entry.get("name") or (default is None and entry.get("base") is None):
            raise ConfigError(f"{where}: a row needs a name and a base config.")
        for key, value in entry.items():
            check_type(value, ROW_KEYS[key], f"{where}: {key}")
        options = entry.get("options") or {}
        check_options(options, f"{where}: options")
        for key, value in options.items():
            if key.partition(".")[0] in ("model", "train", "test"):
                _refuse_texts(value, f"{where}: options: {key}")
        _check_published(entry.get("published"), f"{where}: published")
        named = {key: on_data(entry.get(key), data or own) for key in ("base", "against")}
        named["base"] = named["base"] or default
        texts = {key: entry.get(key) or "" for key in ("paper_row", "note")}
        rows.append(Row(**{**entry, **texts, **named, "options": options, "file": path, "where": where}))
    names = [row.name for row in rows]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(f"{path}: rows {listing(doubled)} are named twice.")
    return rows


def read_top(path: str | Path) -> tuple[Path, Mapping[str, Any]]:
    """Find an ablation file and read its keys: where it lies, and what they hold.

    Raises:
        ConfigError: missing file, or unknown keys.
    """
    path = find(path)
    tree = read_yaml(path, kind=ConfigError)
    top = tree if isinstance(tree, Mapping) else {"rows": tree}
    for key, value in top.items():
        if key not in FILE_KEYS:
            raise ConfigError(
                f"{path}: unknown key {key!r:.80}.{did_you_mean(key, FILE_KEYS)} Known: {listing(FILE_KEYS)}."
            )
        if key not in ("rows", "parts", "search", "reproduce"):
            check_type(value, str | None, f"{path}: {key}")
    return path, top


def check_options(options: Mapping[str, Any], where: str) -> None:
    """Refuse keys that are no dotted keys."""
    for key in options:
        if not all(key.split(".")) or key.count(".") > MAX_DEPTH:
            raise ConfigError(f"{where}: {key!r:.80} is no dotted key, such as train.lr.")


def _refuse_texts(value: Any, where: str) -> None:
    """The config's own check would blame the base config, which says no such thing."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_texts(item, f"{where}.{key}")
    elif isinstance(value, list):
        for item in value:
            _refuse_texts(item, where)
    elif isinstance(value, str) and (found := NUMBER.match(value)):
        sign = "" if found["exponent"][0] in "+-" else "+"
        right = f"{found['whole']}{found['rest'] or '.0'}e{sign}{found['exponent']}"
        raise ConfigError(
            f"{where}: expected a number, got the text {value!r}: YAML takes numbers without a point or a sign in the "
            f"exponent, or in quotes, for texts. Write {right}."
        )


def _check_published(published: Mapping[str, Any] | None, where: str) -> None:
    if not published:
        return
    for key, hint in (("metric", str), ("value", float)):
        if key not in published:
            raise ConfigError(f"{where}: {key!r} is missing.{did_you_mean(key, published)} Give metric and value.")
        check_type(published[key], hint, f"{where}.{key}")
    for key, value in published.items():
        if key not in PUBLISHED_KEYS:
            raise ConfigError(
                f"{where}: unknown key {key!r:.80}.{did_you_mean(key, PUBLISHED_KEYS)} Known: "
                f"{listing(PUBLISHED_KEYS)}."
            )
        if key != "metric":
            check_type(value, float, f"{where}.{key}")
            within(f"{where}.{key}", value, "[0, 100]")


def on_data(name: str | None, data: str | None) -> str | None:
    """A config's name with the data set in the place the file has for it."""
    return name if name is None or data is None else name.replace(DATA, str(data))


def _resolved(value: Any, tree: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(item, tree, where) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, tree, where) for item in value]
    match = REFERENCE.match(value) if isinstance(value, str) else None
    if match is None:
        return copy.deepcopy(value)
    node: Any = tree
    for name in match.group(1).split("."):
        if not isinstance(node, Mapping) or name not in node:
            raise ConfigError(f"{where}: {value} refers to nothing in the base config.")
        node = node[name]
    return copy.deepcopy(node)


def _set(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    *parents, last = key.split(".")
    node: Any = tree
    for depth, name in enumerate(parents):
        if not isinstance(node, dict) or not isinstance(node.get(name), dict):
            options = list(node) if isinstance(node, dict) else []
            raise ConfigError(
                f"{where}: {'.'.join(parents[: depth + 1])!r} is no section of the base config."
                f"{did_you_mean(name, options)} There are: {listing(options)}."
            )
        node = node[name]
    node[last] = value
