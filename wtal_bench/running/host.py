"""A host as an idea sees it: what it is made of, what it can be asked for, and how it is trained.

A file of `configs/ideas/` holds one function, `idea(host, ...)`, whose further arguments are the idea's switches. It
asks the host for what it needs and returns what it adds, as sections of a config. What the host lacks and could give (a
field that is switched off, a curve derived from another) is added too; what it cannot give is refused with what could
be derived.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wtal_bench.errors import ConfigError, listing
from wtal_bench.modeling.facts import Facts
from wtal_bench.options import choose, merged

SUPPRESSION = ("nms", "nms_units", "nms_classes", "clamp")
"""Arguments of the core's decoders that choose among candidates, rather than make them."""

CORE_DECODERS = ("ThresholdDecoder", "PooledDecoder")

MANY_THRESHOLDS = [round(0.05 + 0.9 * i / 19, 4) for i in range(20)]
"""20 parts of a curve's largest value, for decoders that know one threshold."""


class Host:
    """A host under an idea.

    Args:
        tree: its config.
        recipe: how it is named in the mix, so that it can be trained first.
        where: the mix, for error texts.

    Attributes:
        asked: what the idea made it change in its own model.
    """

    def __init__(self, tree: Mapping[str, Any], recipe: str, where: str) -> None:
        self._tree, self.recipe, self._where = tree, recipe, where
        self.asked: dict[str, Any] = {}
        self._facts: Facts | None = None

    @property
    def facts(self) -> Facts:
        """Facts of its model, as it is after what was asked of it so far."""
        if self._facts is None:
            self._facts = Facts(self.model, self._where)
        return self._facts

    @property
    def model(self) -> dict[str, Any]:
        """Its `model` section, as it is after what was asked of it so far."""
        return merged(self._tree["model"], self.inside(self.asked))

    def inside(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Backbone, heads, losses and views as keys of the `model` section: below `member` where there are streams."""
        own = {key: value for key, value in parts.items() if key != "postprocessor"}
        whole = {key: value for key, value in parts.items() if key == "postprocessor"}
        return {"member": own, **whole} if self._tree["model"].get("type") == "Streams" and own else {**own, **whole}

    # ---- what it is ----

    @property
    def channels(self) -> int:
        """E, the width of `embedding`."""
        self.need("embedding")
        return self.facts.width("embedding")

    @property
    def num_classes(self) -> int:
        """C, without background."""
        return self.facts.num_classes

    @property
    def columns(self) -> int:
        """Columns of `cas`: C, or C+1 with background."""
        self.need("cas")
        return self.facts.width("cas")

    @property
    def background(self) -> bool:
        """Whether the last column of `cas` is a background class."""
        extra = self.columns - self.num_classes
        if extra not in (0, 1):
            raise ConfigError(
                f"`cas` has {self.columns} columns for {self.num_classes} classes; an idea can read a `cas` with one "
                "column a class, or one more for background. Map another field with reads=dict(cas='<field>')."
            )
        return bool(extra)

    @property
    def class_weight(self) -> float:
        """What one class of a video weighs in its classification loss: factor for weights that were tuned on a
        cross-entropy summed over the classes."""
        return self.facts.class_weight

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of its streams; empty where it has one model."""
        return self.facts.streams

    # ---- what it can be asked for ----

    def has(self, field: str) -> bool:
        """Whether it makes a field, or would if it were asked."""
        return field in self.facts.fields or self.facts.offers(field) is not None

    def need(self, field: str, otherwise: str = "") -> str:
        """See that a field is made.

        Args:
            field: its name.
            otherwise: what the idea can do without it, for the error's text.

        Returns:
            the name.

        Raises:
            ConfigError: the host does not make it and cannot be asked to.
        """
        if field not in self.facts.fields:
            offer = self.facts.offers(field)
            if offer is None:
                raise ConfigError(
                    f"the host makes no `{field}`; it makes {listing(self.facts.fields)}."
                    f"{f' {otherwise}' if otherwise else ''}"
                )
            self._ask(offer[0], dict(offer[1]))
        return field

    def actionness(self, source: str = "auto") -> str:
        """A field to rank snippets by, whatever their class; derived from others where the host makes none.

        Args:
            source: "auto": the host's `actionness` or `attention`, else derived by "relu_sum"; or a `source` of the
                core's head `Actionness`, which then makes the field anew.

        Returns:
            the field's name.
        """
        if source == "auto":
            for field in ("actionness", "attention"):
                if self.has(field):
                    return self.need(field)
            source = "relu_sum"
        name = "actionness" if not self.has("actionness") else f"actionness_{source}"
        self._ask(f"heads.{name}", dict(type="Actionness", source=source, writes=dict(actionness=name)))
        return name

    def attention(self, source: str = "host") -> str:
        """A foreground weight in 0..1; derived from another field on demand.

        Args:
            source: "host": its own, or refused; "norm" or "softmax_max": the core's head `Actionness` makes one.

        Returns:
            the field's name.

        Raises:
            ConfigError: there is none and `source` is "host".
        """
        choose("attention", source, ("host", "norm", "softmax_max"))
        if source == "host":
            return self.need(
                "attention",
                "A weight in 0..1 can be derived: attention='norm' (|embedding| over its largest in the video) or "
                "'softmax_max' (the largest class probability).",
            )
        return self.actionness(source)

    def with_background(self, source: str) -> str:
        """A class activation sequence whose last column is background.

        Args:
            source: "host": the host's own, or refused. "zero": where it has none, a logit fixed at 0 is appended.

        Returns:
            the field's name.

        Raises:
            ConfigError: there is none and `source` is "host".
        """
        choose("background", source, ("host", "zero"))
        if self.background:
            return "cas"
        if source == "host":
            raise ConfigError(
                f"the host has no background class: `cas` has {self.columns} columns for {self.num_classes} classes. "
                "A column can be derived: background='zero' appends a logit that is fixed at 0."
            )
        self._ask("heads.background", dict(type="AppendBackground"))
        return "cas_with_background"

    def _ask(self, path: str, arguments: Mapping[str, Any]) -> None:
        change: dict[str, Any] = dict(arguments)
        for key in reversed(path.split(".")):
            change = {key: change}
        self.asked = merged(self.asked, change)
        self._facts = None

    # ---- its decoder ----

    def candidates(
        self,
        thresholds: str = "auto",
        contrast: Mapping[str, Any] | None = None,
        stream: bool = False,
        every_column: bool = False,
    ) -> dict[str, Any]:
        """Its decoder's settings without what chooses among candidates (NMS, and whether segments are cut).

        Args:
            thresholds: "host": its own; "many": 20 parts of the curve's largest value per video and class; "auto":
                "many" where it has a single one.
            contrast: how candidates are scored; None as the host does.
            stream: of one stream's own pass, reading its member's fields, where the host has streams.
            every_column: of the background column too, as if it were a class.

        Raises:
            ConfigError: a decoder that is none of the core's, or whose passes cannot be told apart by stream.
        """
        choose("thresholds", thresholds, ("auto", "host", "many"))
        decoder = self._core_decoder()
        kind = decoder["type"]
        passes = [decoder]
        if kind == "PooledDecoder":
            shared = decoder.pop("shared", None) or {}
            # a pass replaces what is shared key by key, it does not merge with it
            decoder["passes"] = {name: {**shared, **own} for name, own in decoder["passes"].items() if own is not None}
            passes = list(decoder["passes"].values())
        if stream and self.streams:
            decoder = self._pass_of_stream(passes)
            passes = [decoder]
        for settings in (decoder, *passes):
            for key in SUPPRESSION:
                settings.pop(key, None)
        for settings in passes:
            if thresholds == "many" or (thresholds == "auto" and _single(settings.get("thresholds"))):
                settings["thresholds"] = dict(relative=list(MANY_THRESHOLDS))
            if contrast is not None:
                settings["contrast"] = dict(contrast)
            if every_column:
                settings["num_classes"] = None
        return decoder

    def _core_decoder(self) -> dict[str, Any]:
        """Settings of the core's decoder that makes its candidates; shared with nobody."""
        own = self.model.get("postprocessor") or {}
        if own.get("type") in CORE_DECODERS:
            return copy.deepcopy(own)
        part = self.facts.model.decoder
        if part is None or not hasattr(part.component, "as_core_decoder"):
            raise ConfigError(
                f"the host decodes by {own.get('type')!r}, whose candidates cannot be taken over: it is neither a "
                "ThresholdDecoder nor a PooledDecoder, and does not say which of them comes nearest (as_core_decoder)."
            )
        return copy.deepcopy(part.component.as_core_decoder())

    def _pass_of_stream(self, passes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The settings of the pass that reads the first stream, in its member's own field names."""
        stream, others = self.streams[0], tuple(f"{name}." for name in self.streams[1:])
        for settings in passes:
            own = {key: value for key, value in settings.items() if key != "score_scale"}
            if _mentions(own.get("score_curve"), others):
                own.pop("score_curve")  # of several streams: a member knows its own curve alone
            if not _mentions(own, others):
                return {**_renamed(own, f"{stream}."), "type": "ThresholdDecoder"}
        raise ConfigError(
            f"no pass of the host's decoder reads stream {stream!r} alone, so its members have no candidates of their "
            "own. Streams can be labelled together only where one model makes them both."
        )

    # ---- how it is trained ----

    @property
    def lr(self) -> float:
        """Its learning rate."""
        return float(self._tree["train"]["lr"])

    @property
    def pairs(self) -> str:
        """Where the pairs of videos it is trained on come from, "" where it compares none."""
        return str((self._tree["train"].get("pairs") or {}).get("source", ""))

    @property
    def epochs(self) -> int:
        """How many epochs it is trained for.

        Raises:
            ConfigError: its training counts iterations.
        """
        epochs = self._tree["train"].get("epochs")
        if epochs is None:
            raise ConfigError(
                "the host's training counts iterations, so nothing can begin at one of its epochs. Let the idea follow "
                "it: schedule='warm_start'."
            )
        return int(epochs)

    def continued(self, epochs: int, lr_factors: Sequence[tuple[int, float]] = ((0, 1.0),)) -> dict[str, Any]:
        """The `train` section of what follows the host's own training: more epochs, from its weights on.

        Args:
            epochs: how many.
            lr_factors: [(first epoch, factor of the host's learning rate), ...].
        """
        train = self._tree["train"]
        validates = train.get("val_interval") is not None and train.get("selection", "last") != "last"
        later = [(epoch, self.lr * factor) for epoch, factor in lr_factors if epoch > 0]
        return dict(
            init_from=dict(_delete_=True, config=self.recipe),
            epochs=epochs,
            iterations=None,
            lr=self.lr * lr_factors[0][1],
            lr_schedule=later,
            val_interval=1 if validates else None,
            checkpoint_interval=1,
        )


def _single(thresholds: Any) -> bool:
    values = thresholds.get("relative") if isinstance(thresholds, Mapping) else thresholds
    return isinstance(values, (list, tuple)) and len(values) == 1


def _texts(node: Any) -> Iterable[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from (*_texts(key), *_texts(value))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _texts(value)


def _mentions(node: Any, prefixes: tuple[str, ...]) -> bool:
    return any(text.startswith(prefixes) for text in _texts(node)) if prefixes else False


def _renamed(node: Any, prefix: str) -> Any:
    """`node` with `prefix` taken from every text in it."""
    if isinstance(node, str):
        return node.removeprefix(prefix)
    if isinstance(node, Mapping):
        return {_renamed(key, prefix): _renamed(value, prefix) for key, value in node.items()}
    return [_renamed(value, prefix) for value in node] if isinstance(node, (list, tuple)) else node
