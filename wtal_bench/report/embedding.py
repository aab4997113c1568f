"""Snippet embeddings of many videos in the plane: do action and background come apart (ECM Fig. 6, FAC-Net Fig. 8)?"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import SeenVideo
from wtal_bench.options import choose
from wtal_bench.report.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURINGS = ("action", "class")
LEAST = 5
"""Fewest points a neighbourhood makes sense for."""

BACKGROUND, UNKNOWN = -1, -2
"""What stands for a class: where none is annotated, and in a video whose times nobody knows."""


def refuse_without_scikit_learn() -> None:
    """Say how to get the optional package, before anything is computed.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ConfigError('t-SNE needs scikit-learn, an optional extra: pip install "wtal-bench[pictures]"')


def project(rows: np.ndarray, seed: int, perplexity: float = 30.0) -> np.ndarray:
    """[N,E] rows in the plane, [N,2], by t-SNE from their principal components; equal input, equal output.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    refuse_without_scikit_learn()
    from sklearn.manifold import TSNE

    perplexity = min(perplexity, (len(rows) - 1) / 3)
    start = "pca" if min(rows.shape) >= 2 else "random"
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(rows.astype(np.float32))


def draw_embedding(
    videos: Iterable[SeenVideo],
    fields: Sequence[str],
    *,
    aggregate: str | None = None,
    colour: str = "action",
    points: int = 4000,
    seed: int = 0,
    title: str = "",
) -> Figure:
    """Every point a snippet; its colour says what is annotated there, for the reader alone.

    Args:
        videos: what is shown.
        fields: output fields [T,E]; several stand side by side.
        aggregate: field of weights [T] or [T,C]: a star for the weighted mean of a video's snippets, with [T,C] one for
            every class of its tags.
        colour: "action" (against background), or "class".
        points: at most that many snippets, drawn by `seed`.
        seed: of that draw and of t-SNE.
        title: above the picture.

    Raises:
        ConfigError: scikit-learn is missing, or an unknown colouring.
        DataError: a field that is not there or has no such shape, or too few snippets.
    """
    choose("colour", colour, COLOURINGS)
    refuse_without_scikit_learn()
    draw, kept, stars, classes = np.random.default_rng(seed), _Draw(), [], ()
    for video in videos:
        rows = video.rows(fields)
        kept = kept.with_rows(rows, _annotated(video), draw.random(len(rows)), points)
        stars += _aggregated(video, rows, aggregate)
        classes = video.classes
    if len(kept) < LEAST:
        raise DataError(f"{len(kept)} snippets are too few for t-SNE; name more videos, or raise --points.")
    plane = project(np.stack([*kept.rows, *stars]), seed)
    return _drawn(plane[: len(kept)], plane[len(kept) :], kept.kinds, classes, colour, title)


@dataclass(frozen=True)
class _Draw:
    """The rows with the smallest keys so far, in the order they came: a whole split is never held."""

    rows: np.ndarray | None = None
    kinds: np.ndarray | None = None
    keys: np.ndarray | None = None

    def __len__(self) -> int:
        return 0 if self.keys is None else len(self.keys)

    def with_rows(self, rows: np.ndarray, kinds: np.ndarray, keys: np.ndarray, most: int) -> _Draw:
        new = (rows.astype(np.float32), kinds, keys)
        if len(self):
            new = tuple(map(np.concatenate, zip((self.rows, self.kinds, self.keys), new)))
        chosen = np.sort(np.argsort(new[2], kind="stable")[:most])
        return _Draw(*(column[chosen] for column in new))


def _annotated(video: SeenVideo) -> np.ndarray:
    """[T] the class annotated at every snippet's centre (the first of several), or `BACKGROUND`, or `UNKNOWN`."""
    centres = video.centres()
    found = np.full(len(centres), BACKGROUND if video.timed else UNKNOWN)
    for label, start, end in reversed(video.truth):
        found[(centres >= start) & (centres < end)] = label
    return found


def _aggregated(video: SeenVideo, rows: np.ndarray, aggregate: str | None) -> list[np.ndarray]:
    if aggregate is None:
        return []
    weights = video.field(aggregate)
    if weights.ndim not in (1, 2) or len(weights) != len(rows):
        raise DataError(f"video {video.meta.id!r}: {aggregate!r} is {weights.shape}, needed [T] or [T,C] weights.")
    columns = [weights] if weights.ndim == 1 else [weights[:, label] for label in video.tags]
    return [column @ rows / column.sum() for column in columns if column.sum() > 0]


def _drawn(
    plane: np.ndarray, stars: np.ndarray, kinds: np.ndarray, classes: Sequence[str], colour: str, title: str
) -> Figure:
    from matplotlib import colormaps

    figure = new_figure(7, 7)
    axis = figure.subplots()
    look = {"s": 6, "linewidths": 0}
    unknown, back, action = kinds == UNKNOWN, kinds == BACKGROUND, kinds >= 0
    if unknown.any():
        axis.scatter(*plane[unknown].T, color="tab:blue", label=f"no times known ({unknown.sum()})", **look)
    if not unknown.all():
        axis.scatter(*plane[back].T, color="0.7", label=f"background ({back.sum()})", **look)
    if colour == "action" and not unknown.all():
        axis.scatter(*plane[action].T, color="tab:green", label=f"action ({action.sum()})", **look)
    else:
        shown = np.unique(kinds[action])
        for place, label in enumerate(shown):
            own = kinds == label
            shade = colormaps["turbo"]((place + 0.5) / len(shown))
            axis.scatter(*plane[own].T, color=shade, label=f"{classes[label]} ({np.count_nonzero(own)})", **look)
    if len(stars):
        axis.scatter(*stars.T, color="tab:red", marker="*", s=70, label=f"aggregated ({len(stars)})", linewidths=0)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(title, fontsize=9)
    axis.legend(fontsize=7, loc="best", markerscale=1.5)
    return figure
