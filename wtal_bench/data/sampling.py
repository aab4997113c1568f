"""Which snippets of a video a model sees: index rules and the keyed random numbers behind them.

The rules are plain functions of the stored length L and the wanted length T. A config names a rule by a string or a
dict: `sampling="uniform", length=750`, or `sampling=dict(type="uniform", length=750, min_length=1)`.

| name | gives | found in |
|---|---|---|
| `whole` | every snippet | FAC-Net, CO2-Net test, GauFuse |
| `uniform` | floor(i L / T); `min_length` keeps short videos as they are | BaS-Net, CoLA, UM, STPN, BM, ACM-Net tests |
| `random_segments` | one random snippet of each of T equal parts | BaS-Net, CoLA, UM, STPN, BM, ACM-Net training |
| `linear` | T evenly spaced fractional positions, interpolated | features resized to a fixed length (ECM) |
| `random_crop` | one contiguous window of T snippets | W-TALC training |
| `resample` | T draws with replacement, in temporal order | ACM-Net training on short videos |

Random rules draw from `np.random.default_rng` keyed by (seed, epoch, video): workers, resuming and batch mates cannot
change them. `frozen=True` leaves the epoch out, so a video keeps one draw for the whole training (FTCL's pairs).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from wtal_bench.errors import ConfigError, did_you_mean, listing

AnyGenerator = np.random.Generator | np.random.RandomState


def uniform_positions(length: int, size: int, *, divide_first: bool = False) -> np.ndarray:
    """Return [size] int64 positions floor(i L / T), i = 0 .. T-1.

    Args:
        length: L, stored snippets, >= 1.
        size: T, positions wanted, >= 1; above L positions repeat.
        divide_first: floor(i (L / T)) with the quotient rounded to float64 first, as in ACM-Net's and FTCL's code;
            at T = 750 it differs by one snippet somewhere for 228 of the 3750 lengths 751 .. 4500.
    """
    steps = np.arange(size, dtype=np.int64)
    return np.floor(steps * (length / size)).astype(np.int64) if divide_first else steps * length // size


def linear_positions(length: int, size: int, *, align: str = "half_pixel") -> np.ndarray:
    """Return [size] float64 positions spread evenly over a video.

    Args:
        length: L, stored snippets, >= 1.
        size: T, positions wanted, >= 1.
        align: "half_pixel": (i + 0.5) L / T - 0.5, clamped to [0, L-1], so that row i stands for the i-th of T equal
            spans of time; "corners": i (L-1) / (T-1), so that the first and last rows are the video's own.
    """
    if align == "corners":
        return np.linspace(0.0, length - 1.0, size)
    return np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0.0, length - 1.0)


def resampled_positions(length: int, size: int, generator: AnyGenerator) -> np.ndarray:
    """Return [size] int64 positions drawn with replacement from a video of `length` snippets, sorted."""
    return np.sort(_integers(generator, 0, length, size))


def random_segment_positions(
    length: int,
    size: int,
    generator: AnyGenerator,
    *,
    short: str = "repeat",
    last: str = "segment",
    equal: str = "whole",
) -> np.ndarray:
    """Return [size] int64 positions, one drawn from each of T equal parts of a video.

    With edges e_i = (i L) / T, position i is uniform over floor(e_i) .. floor(e_{i+1}), **both ends included** (so
    neighbours may coincide), for i < T-1.

    Args:
        length: L, stored snippets, >= 1.
        size: T, positions wanted, >= 1.
        generator: numpy `Generator`, or a legacy `RandomState` to repeat what the authors' code drew.
        short: what happens when L < T: "repeat" draws as above (BaS-Net, CoLA, UM, STPN, BM), "resample" takes T
            sorted draws with replacement from the whole video (ACM-Net, FTCL).
        last: the last position is uniform over floor(e_{T-1}) .. L-1 ("segment"; BaS-Net, CoLA, UM, STPN, BM), or
            over the position before it .. L-1 ("follow"; ACM-Net, FTCL).
        equal: what happens when L = T: "whole" gives every snippet once and draws nothing, "draw" draws as for any
            other length (the reproductions of STPN and BM).
    """
    if length == size and equal == "whole":
        return np.arange(size, dtype=np.int64)
    if length < size and short == "resample":
        return resampled_positions(length, size, generator)
    edges = np.arange(size, dtype=np.int64) * length // size
    high = np.append(edges[1:], length - 1) + 1
    if last == "segment" or size == 1:
        return _integers(generator, edges, high)
    positions = _integers(generator, edges[:-1], high[:-1])
    return np.append(positions, _integers(generator, positions[-1], length))


def random_crop_positions(length: int, size: int, generator: AnyGenerator, *, last_window: bool = False) -> np.ndarray:
    """Return [min(L, T)] int64 positions of one contiguous window; a video of at most T snippets is kept whole.

    Args:
        length: L, stored snippets, >= 1.
        size: T, the longest window.
        generator: numpy `Generator`, or a legacy `RandomState`.
        last_window: W-TALC's code draws the start from 0 .. L-T-1, so the very last window never comes (False); True
            lets it come.
    """
    if length <= size:
        return np.arange(length, dtype=np.int64)
    return np.arange(size, dtype=np.int64) + _integers(generator, 0, length - size + last_window)


def _integers(generator: AnyGenerator, low: Any, high: Any, size: int | None = None) -> np.ndarray:
    """Draw from low .. high-1. The legacy generator gives an array the numbers it would give one by one."""
    draw = generator.randint if isinstance(generator, np.random.RandomState) else generator.integers
    return np.asarray(draw(low, high, size=size), dtype=np.int64)


@lru_cache(maxsize=1 << 16)
def _video_key(video: str) -> tuple[int, ...]:
    digest = hashlib.sha256(video.encode()).digest()
    return tuple(int.from_bytes(digest[at : at + 4], "little") for at in (0, 4))


def keyed_generator(seed: int, epoch: int, video: str, occurrence: int = 0) -> np.random.Generator:
    """Return the random generator of one draw.

    Args:
        seed: the run's seed, >= 0.
        epoch: 0-based epoch, >= 0.
        video: the video's id (not its position, so that adding or leaving out other videos changes nothing).
        occurrence: 0 for a video's first row in a mini-batch, 1 for its second, ...

    Raises:
        ConfigError: a negative seed or epoch.
    """
    if seed < 0 or epoch < 0:
        raise ConfigError(f"seed and epoch must be 0 or above to key random draws, got seed {seed}, epoch {epoch}.")
    return np.random.default_rng([seed, epoch, *_video_key(video), occurrence])


@dataclass(frozen=True, kw_only=True)
class Sampling(ABC):
    """One sampling rule with its settings. `draw` gives the positions of one video.

    Attributes:
        frozen: leave the epoch out of the key: one draw for the whole training.
    """

    name: ClassVar[str]
    frozen: bool = False

    @abstractmethod
    def positions(self, num_snippets: int, generator: AnyGenerator) -> np.ndarray:
        """Return [T] positions in 0 .. num_snippets-1: int64, or float64 where rows are interpolated."""

    def draw(self, num_snippets: int, *, seed: int, epoch: int, video: str, occurrence: int = 0) -> np.ndarray:
        """Return the [T] positions of one video; arguments as in `keyed_generator`."""
        key = (0, 0) if self.frozen else (epoch, occurrence)
        return self.positions(num_snippets, keyed_generator(seed, key[0], video, key[1]))


@dataclass(frozen=True, kw_only=True)
class Whole(Sampling):
    """Every snippet of the video, in order."""

    name = "whole"

    def positions(self, num_snippets: int, generator: AnyGenerator) -> np.ndarray:
        return np.arange(num_snippets, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class _ToLength(Sampling):
    length: int

    def __post_init__(self) -> None:
        _check_count(self.name, "length", self.length)


@dataclass(frozen=True, kw_only=True)
class Uniform(_ToLength):
    """`uniform_positions`, T = `length` for long videos.

    Attributes:
        length: T.
        min_length: a video shorter than `length` keeps its own snippets, once each, but gives at least `min_length`
            rows. None = `length`: always T rows, short videos repeat snippets (BaS-Net, STPN). 1: never repeat
            (CoLA, UM). 2: as 1, but one snippet comes twice (ACM-Net, FTCL). 50: BM.
        divide_first: see `uniform_positions`.
    """

    name = "uniform"
    min_length: int | None = None
    divide_first: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_length is not None:
            _check_count(self.name, "min_length", self.min_length)

    def positions(self, num_snippets: int, generator: AnyGenerator) -> np.ndarray:
        shortest = self.length if self.min_length is None else self.min_length
        size = self.length if num_snippets > self.length else max(num_snippets, shortest)
        return uniform_positions(num_snippets, size, divide_first=self.divide_first)


@dataclass(frozen=True, kw_only=True)
class Linear(_ToLength):
    """`linear_positions`: always `length` rows, each interpolated between its two neighbours."""

    name = "linear"
    align: str = "half_pixel"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice(self.name, "align", self.align, ("half_pixel", "corners"))

    def positions(self, num_snippets: int, generator: AnyGenerator) -> np.ndarray:
        return linear_positions(num_snippets, self.length, align=self.align)


@dataclass(frozen=True, kw_only=True)
class RandomSegments(_ToLength):
    """`random_segment_positions`: always `length` rows."""

    name = "random_segments"
    short: str = "repeat"
    last: str = "segment"
    equal: str = "whole"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice(self.name, "equal", self.equal, ("whole", "draw"))
        _check_choice(self.name, "short", self.short, ("repeat", "resample"))
        _check_choice(self.name, "last", self.last, ("segment", "follow"))

    def positions(self, num_snippets: int, generator: AnyGenerator) -> np.ndarray:
        return random_segment_positions(
            num_snippets, self.length, generator, short=self.short, last=self.last, equal=self.equal
        )


@dataclass(frozen=True, kw_only=True)
class RandomCrop(_ToLength):
    """`random_crop_positions`: at most `length` rows. With start="middle" nothing is drawn: the window lies there."""

    name = "random_crop"
    last_window: bool = False
    start: str = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice(self.name, "start", self.start, ("random", "middle"))

    def positions(self, num_snippets: int, generator: AnyGenerator) -> np.ndarray:
        if self.start == "middle":
            window = min(num_snippets, self.length)
            return np.arange(window, dtype=np.int64) + (num_snippets - window) // 2
        return random_crop_positions(num_snippets, self.length, generator, last_window=self.last_window)


@dataclass(frozen=True, kw_only=True)
class Resample(_ToLength):
    """`resampled_positions`: always `length` rows."""

    name = "resample"

    def positions(self, num_snippets: int, generator: AnyGenerator) -> np.ndarray:
        return resampled_positions(num_snippets, self.length, generator)


SAMPLINGS: dict[str, type[Sampling]] = {
    rule.name: rule for rule in (Whole, Uniform, RandomSegments, Linear, RandomCrop, Resample)
}
"""Rule name -> class; the fields of the class are the settings a config may give."""


def build_sampling(spec: str | Mapping[str, Any] | Sampling, *, length: int | None = None) -> Sampling:
    """Return the sampling a config names.

    Args:
        spec: a name, a dict with `type` and settings, or a `Sampling` (returned as it is).
        length: T given beside a bare name; ignored by `whole`, refused when the dict has its own.

    Raises:
        ConfigError: unknown name or setting, missing or impossible value.
    """
    if isinstance(spec, Sampling):
        return spec
    if not isinstance(spec, str | Mapping):
        raise ConfigError(f"sampling must be a name or a dict with `type`, got {type(spec).__name__}.")
    settings = {"type": spec} if isinstance(spec, str) else dict(spec)
    name = settings.pop("type", None)
    if name not in SAMPLINGS:
        raise ConfigError(
            f"unknown sampling {name!r}; there are {listing(SAMPLINGS)}.{did_you_mean(str(name), SAMPLINGS)}"
        )
    rule = SAMPLINGS[name]
    known = [setting.name for setting in fields(rule)]
    if length is not None and "length" in known:
        if settings.get("length", length) != length:
            raise ConfigError(
                f"sampling {name!r} is given length {settings['length']} and, beside it, length {length}; keep one."
            )
        settings["length"] = length
    for setting in settings:
        if setting not in known:
            raise ConfigError(
                f"sampling {name!r} has no setting {setting!r}; it has {listing(known)}.{did_you_mean(setting, known)}"
            )
    if "length" in known and settings.get("length") is None:
        raise ConfigError(f"sampling {name!r} needs `length`, the number of snippets it gives, e.g. length=750.")
    return rule(**settings)


def _check_count(rule: str, setting: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ConfigError(f"sampling {rule!r}: `{setting}` must be a whole number of at least 1, got {value!r}.")


def _check_choice(rule: str, setting: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(
            f"sampling {rule!r}: `{setting}` must be one of {listing(choices)}, got {value!r}."
            f"{did_you_mean(str(value), choices)}"
        )
