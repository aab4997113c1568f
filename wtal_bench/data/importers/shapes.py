"""Arrays as extractors write them -> [T,D]: a leading axis of one, several crops, columns by snippets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from wtal_bench.errors import ConfigError, DataError

CROPS = (5, 10)
"""Crops an extractor takes of a frame: five places, or five and their mirror images."""

WIDTHS = frozenset((192, 256, 384, 400, 512, 768, 1024, 1280, 1408, 1536, 2048, 2304, 2560, 3072, 4096))
"""Columns that extractors give: what tells [D,T] from videos that were resized to one length."""

MEAN = "mean"


@dataclass(frozen=True)
class Form:
    """How arrays of a stream lie.

    Attributes:
        transposed: [D,T] instead of [T,D].
        crop: "mean" of all crops, or the number of one; for arrays that hold several.
        crop_axis: the axis of these, 0 in [10,T,D] and 1 in [T,10,D].
    """

    transposed: bool = False
    crop: str | int = MEAN
    crop_axis: int = 0

    def __post_init__(self) -> None:
        if self.crop != MEAN and (isinstance(self.crop, bool) or not isinstance(self.crop, int) or self.crop < 0):
            raise ConfigError(f"--crop must be {MEAN!r} or the number of a crop from 0, got {self.crop!r}.")


def to_snippets(array: np.ndarray, form: Form, place: str) -> np.ndarray:
    """Return an array as [T,D].

    Raises:
        DataError: integers, another number of axes, or a crop that is not there; `place` begins the text.
    """
    if array.dtype.kind not in "f":
        raise DataError(
            f"{place}: holds {array.dtype} numbers, features are floats. Labels or quantised features? Convert them to "
            "float32 if they are features."
        )
    array = _without_ones(np.asarray(array))
    if array.ndim == 3:
        array = _cropped(array, form, place)
    if array.ndim != 2:
        raise DataError(f"{place}: holds an array of shape {array.shape}; needed is [T,D], snippets by columns.")
    return array.T if form.transposed else array


def _without_ones(array: np.ndarray) -> np.ndarray:
    """[1,T,D] and [T,D,1,1,1] -> [T,D]; [1,D] is one snippet and stays."""
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    return array


def _cropped(array: np.ndarray, form: Form, place: str) -> np.ndarray:
    crop = form.crop
    axes = [axis for axis in (form.crop_axis, 1 - form.crop_axis) if array.shape[axis] in CROPS]
    if not axes:
        raise DataError(
            f"{place}: holds an array of shape {array.shape}; needed is [T,D], or {CROPS[0]} or {CROPS[1]} crops: "
            "[10,T,D] or [T,10,D]."
        )
    axis = axes[0]
    if crop == MEAN:
        return array.mean(axis=axis, dtype=np.float64).astype(array.dtype)
    if crop >= array.shape[axis]:
        raise DataError(f"{place}: has {array.shape[axis]} crops, --crop {crop} is none of them (they count from 0).")
    return np.take(array, crop, axis=axis)


def looks_transposed(shapes: Iterable[tuple[int, ...]]) -> bool | None:
    """Whether arrays are [D,T]: all have one first length and several second ones. None: it cannot be told.

    Videos resized to one length have one first length, too, and then a file of another width makes several second
    ones. So where the second lengths are widths that extractors give, or most of them are one, arrays are [T,D], unless
    the first one is such a width: whoever stores them finds the file that differs.
    """
    flat = [shape for shape in shapes if len(shape) == 2]
    first, second = Counter(shape[0] for shape in flat), Counter(shape[1] for shape in flat)
    if len(flat) < 2 or (len(first) == 1) == (len(second) == 1):
        return None
    if len(second) == 1:
        return WIDTHS.issuperset(first) and not WIDTHS & second.keys()  # these are widths, one of them wrong
    if WIDTHS & first.keys():
        return not WIDTHS.issuperset(second)
    return not WIDTHS.issuperset(second) and 2 * max(second.values()) <= len(flat)


def may_be_transposed(shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether first lengths are widths that extractors give, and second ones are none: worth a word."""
    flat = [shape for shape in shapes if len(shape) == 2]
    return bool(flat) and all(shape[0] in WIDTHS and shape[1] not in WIDTHS for shape in flat)


def crop_axis(shapes: Iterable[tuple[int, ...]]) -> int:
    """The axis that holds the crops in most arrays: a video may have ten snippets, too."""
    deep = [shape for shape in shapes if len(shape) == 3]
    first, second = (sum(shape[axis] in CROPS for shape in deep) for axis in (0, 1))
    return int(second > first)
