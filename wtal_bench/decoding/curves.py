"""Curves over time before they are thresholded: activations, min-max, up-sampling, fusion, threshold grids.

Every function takes time on axis 0: `[T]` (class-agnostic) or `[T,C]`, and keeps the floating type it was given.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np

from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.options import at_least, choose, within

ACTIVATIONS = ("none", "softmax", "sigmoid")
NORMALIZATIONS = ("none", "rectified", "rectified_clip", "minmax", "max")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Element-wise 1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def activate(values: np.ndarray, how: str, where: str = "activation") -> np.ndarray:
    """Apply one of `ACTIVATIONS`; softmax runs over classes (last axis), background included.

    Raises:
        ConfigError: unknown name, or a softmax over a class-agnostic curve.
    """
    choose(where, how, ACTIVATIONS)
    if how == "softmax":
        return softmax(values)
    return sigmoid(values) if how == "sigmoid" else values


def normalize(curve: np.ndarray, how: str, where: str = "normalize") -> np.ndarray:
    """Rescale every class over time, before any up-sampling.

    - `rectified`: (x - lo) / (hi - lo) with hi = max(0, max), lo = max(0, min); a range that is not positive divides
      by 1, so a class that never rises above 0 keeps its values, and negative values stay negative (ECM, BaS-Net).
    - `rectified_clip`: the same, clipped to [0, 1] (CoLA, UM).
    - `minmax`: (x - min) / (max - min), range 0 -> divisor 1 (CMCS).
    - `max`: x / max(0, max), 0 -> divisor 1 (the first public version of BaS-Net).

    Raises:
        ConfigError: unknown name.
    """
    choose(where, how, NORMALIZATIONS)
    if how == "none" or curve.size == 0:
        return curve
    high, low = curve.max(axis=0), curve.min(axis=0)
    if how != "minmax":
        high, low = np.maximum(high, 0), np.maximum(low, 0) if how != "max" else np.zeros_like(low)
    span = high - low
    scaled = (curve - low) / np.where(span > 0, span, 1)
    return np.clip(scaled, 0, 1) if how == "rectified_clip" else scaled


def resize_half_pixel(curve: np.ndarray, samples: int) -> np.ndarray:
    """Linear interpolation to `samples` points with half-pixel centres, edges held (ECM; image-style resizing).

    Point j reads the source position (j + 0.5) T / samples - 0.5, clamped to [0, T-1]; also when `samples` < T, so
    nothing is averaged. ([T] or [T,C] -> [samples] or [samples,C])
    """
    last = len(curve) - 1
    position = np.clip((np.arange(samples) + 0.5) * (len(curve) / samples) - 0.5, 0, last)
    left = np.minimum(position.astype(np.int64), max(last - 1, 0))
    rows = curve.T
    below, above = rows[..., left], rows[..., np.minimum(left + 1, last)]
    # time lies last in memory, as runs and sums read it
    return (below + (above - below) * (position - left).astype(curve.dtype)).T


def upsample_linear(curve: np.ndarray, factor: int) -> np.ndarray:
    """Linear interpolation at 0, 1/factor, 2/factor, ... : factor * T points, the tail extrapolated.

    The last factor - 1 points follow the slope of the last two snippets and may leave the curve's range (BaS-Net,
    ACM-Net, FTCL, CoLA, UM, STPN, BM, CMCS). One snippet is repeated. ([T] or [T,C] -> [factor*T] or [factor*T,C])
    """
    if factor == 1:
        return curve
    return np.repeat(curve, factor, axis=0) if len(curve) == 1 else np.asarray(Upsampled(curve, factor))


class Upsampled:
    """A curve of two snippets or more, brought to factor * T points, which are laid out when it is read as an array.

    Point j of snippet i is slope[i] * past[i,j] + below[i]: between two snippets the points rise or fall, rounded as
    they are, so what passes a threshold there is known from the first and the last of them.

    Args:
        curve: [T] or [T,K].
        factor: points a snippet.

    Attributes:
        below, slope: [T] or [K,T], time last.
        past: [T,factor] how far a point lies past the snippet left of it (the last one's: past the one before).
    """

    def __init__(self, curve: np.ndarray, factor: int) -> None:
        rows = curve.T
        self.below, self.slope = np.array(rows, order="C"), np.empty(rows.shape, rows.dtype)
        np.subtract(rows[..., 1:], rows[..., :-1], out=self.slope[..., :-1])
        self.below[..., -1], self.slope[..., -1] = rows[..., -2], self.slope[..., -2]
        self.past = _past(len(curve), factor, curve.dtype)
        self.shape, self.dtype = (len(curve) * factor, *curve.shape[1:]), curve.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        fine = np.empty((*self.shape[1:], len(self)), self.dtype)
        self.lay_out(fine)
        return fine.T if dtype is None else fine.T.astype(dtype, copy=False)  # time lies last in memory

    def lay_out(self, rows: np.ndarray) -> None:
        """Write the points into rows [N] or [K,N], time last."""
        factor = self.past.shape[1]
        # repeated first, both steps run over whole rows: four times as fast as over `factor` points at a time
        np.multiply(self.slope.repeat(factor, axis=-1), self.past.ravel(), out=rows)
        rows += self.below.repeat(factor, axis=-1)


@lru_cache(maxsize=32)
def _past(count: int, factor: int, dtype: np.dtype) -> np.ndarray:
    left = np.minimum(np.arange(count), count - 2)
    return ((np.arange(count * factor) / factor).reshape(-1, factor) - left[:, None]).astype(dtype)


MOST_THRESHOLDS = 10_000


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def threshold_grid(spec: Any, where: str = "thresholds") -> np.ndarray:
    """Thresholds from a config, in the order in which candidates are pooled.

    Args:
        spec: a literal list; `dict(arange=(start, stop, step))` exactly as `numpy.arange` gives it, stop excluded
            (0.01, 0.2, 0.025 gives 8 values, and 0.0 .. 0.225 in steps of .025 holds 0.07500000000000001); or
            `dict(linspace=(first, last, count))`.

    Returns:
        [H] float64, H >= 1, finite.

    Raises:
        ConfigError: another form, no threshold at all, or a value that is not finite.
    """
    form = (
        f"{where} must be a list of numbers, dict(arange=(start, stop, step)) or dict(linspace=(first, last, count)); "
        f"got {spec!r}."
    )
    if isinstance(spec, Mapping):
        if len(spec) != 1:
            raise ConfigError(form)
        kind, values = next(iter(spec.items()))
        if kind not in ("arange", "linspace") or not isinstance(values, Sequence) or len(values) != 3:
            raise ConfigError(form + did_you_mean(str(kind), ("arange", "linspace")))
        if kind == "arange" and all(map(_is_number, values)) and values[2]:
            count = (values[1] - values[0]) / values[2]
        else:
            count = values[2]
        if not _is_number(count) or not count <= MOST_THRESHOLDS:
            raise ConfigError(f"{form} At most {MOST_THRESHOLDS} thresholds.")
        try:
            spec = np.arange(*values) if kind == "arange" else np.linspace(values[0], values[1], int(values[2]))
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(f"{form} ({error})") from error
    try:
        grid = np.asarray(spec, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(form) from error
    if grid.ndim != 1 or not np.isfinite(grid).all():
        raise ConfigError(form)
    if not len(grid):
        raise ConfigError(f"{where} is empty, so nothing could ever be proposed. " + form)
    return grid


class Thresholds:
    """The thresholds of a decoder: a fixed grid, or levels between a class's own extremes.

    Args:
        spec: what `threshold_grid` takes, or `dict(relative=[r, ...])`: max - r * (max - min) over time of every class
            (W-TALC: r = 0.5).
        where: key path for error texts.
    """

    def __init__(self, spec: Any, where: str = "thresholds") -> None:
        self.relative = isinstance(spec, Mapping) and list(spec) == ["relative"]
        self.grid = threshold_grid(spec["relative"] if self.relative else spec, where)

    def for_classes(self, chosen_for: int, num_classes: int | None) -> Thresholds:
        """These probabilities over `chosen_for` + 1 columns, as far from chance over `num_classes` + 1.

        Raises:
            ConfigError: no number of classes, or thresholds that are no probabilities (relative, above 1 in the end).
        """
        at_least("thresholds_of", chosen_for, 1, whole=True)
        if num_classes is None or self.relative:
            raise ConfigError(
                "thresholds_of is for thresholds that are probabilities over all classes and background: it needs "
                "num_classes, and a grid instead of relative thresholds. Leave it out, or give both."
            )
        scaled = copy.copy(self)
        if num_classes != chosen_for:
            scaled.grid = self.grid * ((chosen_for + 1) / (num_classes + 1))
        if (scaled.grid > 1).any():
            raise ConfigError(
                f"thresholds_of={chosen_for} raises the thresholds to {scaled.grid.max():.3g} with {num_classes} "
                "classes, which no probability passes: they were no probabilities over all classes, or the number is "
                "wrong. Leave thresholds_of out and give thresholds that fit."
            )
        return scaled

    def levels(self, curve: np.ndarray) -> np.ndarray:
        """[H], or [K,H] if relative, for a curve [N,K]."""
        if not self.relative:
            return self.grid
        high, low = curve.max(axis=0)[:, None], curve.min(axis=0)[:, None]
        return high - self.grid.astype(curve.dtype) * (high - low)


class Curve:
    """A curve named in a config: one output field, or a sum or product of curves.

    Args:
        spec: a field name; or a dict with exactly one of `field`, `sum` (list of curves), `product` (list of curves),
            and optionally `weight` (default 1.0), `activation` (`ACTIVATIONS`, fields only), `normalize`
            (`NORMALIZATIONS`, after the activation, the sum or the product; before the weight). A class-agnostic curve
            [T] in a sum or product counts for every class.
        where: key path for error texts.

    Example:
        `dict(sum=[dict(field="cas", activation="softmax", weight=0.5), dict(field="attention", weight=0.5)])`
    """

    _KEYS = ("field", "sum", "product", "weight", "activation", "normalize")

    def __init__(self, spec: Any, where: str) -> None:
        spec = {"field": spec} if isinstance(spec, str) else spec
        if not isinstance(spec, Mapping):
            raise ConfigError(f"{where} must name a field or be a dict with one of field, sum, product; got {spec!r}.")
        for key in spec:
            if key not in self._KEYS:
                raise ConfigError(
                    f"{where}: unknown key {key!r}; it takes {listing(self._KEYS)}.{did_you_mean(str(key), self._KEYS)}"
                )
        kinds = [key for key in ("field", "sum", "product") if key in spec]
        if len(kinds) != 1:
            raise ConfigError(f"{where} needs exactly one of field, sum, product; got {listing(spec)}.")
        self.kind = kinds[0]
        self.weight = spec.get("weight", 1.0)
        if isinstance(self.weight, bool) or not isinstance(self.weight, Real):
            raise ConfigError(f"{where}.weight={self.weight!r} must be a number.")
        self.activation = choose(f"{where}.activation", spec.get("activation", "none"), ACTIVATIONS)
        self.normalization = choose(f"{where}.normalize", spec.get("normalize", "none"), NORMALIZATIONS)
        self.field, self.parts = "", ()
        if self.kind == "field":
            self.field = spec["field"]
            if not isinstance(self.field, str):
                raise ConfigError(f"{where}.field={self.field!r} must be the name of an output field.")
        elif self.activation != "none":
            raise ConfigError(f"{where}: give the activation to the fields inside {self.kind}, not to the {self.kind}.")
        else:
            parts = spec[self.kind]
            if isinstance(parts, str | Mapping) or not isinstance(parts, Sequence) or not parts:
                raise ConfigError(f"{where}.{self.kind} must be a list of curves; got {parts!r}.")
            self.parts = tuple(Curve(part, f"{where}.{self.kind}[{i}]") for i, part in enumerate(parts))

    @classmethod
    def normalized(cls, spec: Any, how: str, where: str) -> Curve:
        """The curve `spec`, whose finished values are normalised as `how` says unless `spec` itself says otherwise."""
        curve = cls(spec, where)
        if curve.normalization == "none":
            curve.normalization = choose("normalize", how, NORMALIZATIONS)
        return curve

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the output fields read, each once, in order of appearance."""
        if self.kind == "field":
            return (self.field,)
        return tuple(dict.fromkeys(name for part in self.parts for name in part.fields))

    @property
    def activated(self) -> bool:
        """Whether it is made of activated fields and rescaled nowhere, so that its values may be probabilities."""
        if self.normalization != "none":
            return False
        return self.activation != "none" if self.kind == "field" else any(part.activated for part in self.parts)

    def evaluate(
        self,
        outputs: Mapping[str, np.ndarray],
        classes: int,
        video: str,
        dtype: Any,
        kept: np.ndarray | None = None,
    ) -> np.ndarray:
        """Compute the curve of one video: [T] or [T,classes] of type `dtype` (columns past `classes` cut off).

        Args:
            kept: [K] indices of the classes wanted, for [T,K] in place of all.

        Raises:
            DataError: a field is absent, has the wrong shape or is not finite (video, field and class are named).
        """
        if self.kind == "field":
            curve = read_field(outputs, self.field, video, (1, 2), dtype)
            if curve.ndim == 1:
                curve = activate(curve, self.activation)
            else:
                # a softmax needs the columns that are cut off, everything else is spared them
                curve = softmax(curve) if self.activation == "softmax" else curve
                curve = _action_columns(curve, classes, self.field, video)
                curve = curve if kept is None else curve[:, kept]
                curve = curve if self.activation == "softmax" else activate(curve, self.activation)
        else:
            terms = [part.evaluate(outputs, classes, video, dtype, kept) for part in self.parts]
            lengths = {len(term) for term in terms}
            if len(lengths) > 1:
                raise DataError(
                    f"video {video!r}: the curves {listing(self.fields)} have different lengths over time: "
                    f"{listing(map(str, sorted(lengths)))} snippets."
                )
            wide = any(term.ndim == 2 for term in terms)
            terms = [term[:, None] if wide and term.ndim == 1 else term for term in terms]
            curve = terms[0]
            for term in terms[1:]:
                curve = curve + term if self.kind == "sum" else curve * term
        curve = normalize(curve, self.normalization)
        return curve if self.weight == 1.0 else curve * np.asarray(self.weight, dtype=dtype)


class ReadFields(dict[str, Any]):
    """One video's outputs, read more than once: a field is checked for its first reader only.

    Attributes:
        read: (field, type) -> the checked array.
    """

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        super().__init__(outputs)
        self.read: dict[tuple[str, np.dtype], np.ndarray] = {}


def read_field(
    outputs: Mapping[str, np.ndarray], name: str, video: str, dims: tuple[int, ...], dtype: Any
) -> np.ndarray:
    """Return one output field of a video as an array of `dtype`, checked.

    Raises:
        DataError: absent, wrong number of axes, empty, or NaN / infinite (the first bad snippet and class are named).
    """
    read = outputs.read if isinstance(outputs, ReadFields) else {}
    if (name, dtype) in read and read[name, dtype].ndim in dims:
        return read[name, dtype]
    if name not in outputs:
        raise DataError(
            f"video {video!r}: the decoder reads {name!r}, but the outputs hold {listing(sorted(outputs))}."
            f"{did_you_mean(name, outputs)}"
        )
    values = np.asarray(outputs[name])
    if values.ndim not in dims or 0 in values.shape:
        shapes = " or ".join({1: "[T] or [C]", 2: "[T,C]"}[dim] for dim in dims)
        raise DataError(
            f"video {video!r}: field {name!r} must have shape {shapes} (no batch axis), got {values.shape}."
        )
    values = values.astype(dtype, copy=False)
    finite = np.isfinite(values)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        place = f"class {where[-1]}, snippet {where[0]}" if values.ndim == 2 else f"index {where[0]}"
        count = int((~finite).sum())
        raise DataError(
            f"video {video!r}: field {name!r} is {values[where]} at {place} ({count} such values). The model diverged "
            "or its input holds NaN: check the features of this video and the training loss."
        )
    read[name, dtype] = values
    return values


def _action_columns(values: np.ndarray, classes: int, name: str, video: str) -> np.ndarray:
    if values.shape[-1] < classes:
        raise DataError(
            f"video {video!r}: field {name!r} has {values.shape[-1]} class columns, the decoder needs {classes}. Is it "
            "laid out [T,C], classes last, background after the action classes?"
        )
    return values[..., :classes]


def action_scores(values: np.ndarray, activation: str, classes: int, name: str, video: str) -> np.ndarray:
    """[C] or [C+1] video-level scores -> activated scores of the action classes [classes], background dropped.

    The softmax runs over all columns and is not renormalised.

    Raises:
        DataError: fewer columns than classes.
    """
    return _action_columns(activate(values, activation), classes, name, video)


def upsample(curve: np.ndarray, how: int | str | None, frames: int) -> np.ndarray | Upsampled:
    """Bring a curve to the decoder's grid: None or 1 = as it is, int = `upsample_linear`, "frames" = half-pixel."""
    if how == "frames":
        return resize_half_pixel(curve, frames)
    return Upsampled(curve, how) if (how or 1) > 1 and len(curve) > 1 else upsample_linear(curve, how or 1)


def check_upsample(how: Any, where: str = "upsample") -> int | str | None:
    """Return `how` if `upsample` takes it.

    Raises:
        ConfigError: it does not.
    """
    if isinstance(how, str):
        return choose(where, how, ("frames",))
    return how if how is None else within(where, at_least(where, how, 1, whole=True), "[1, 1000]")
