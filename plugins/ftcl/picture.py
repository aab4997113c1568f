"""Two videos, seen through the LCS loss: how alike their snippets are, and the common subsequence it mines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from wtal_bench.interfaces import Batch, Outputs, SeenVideo
from wtal_bench.report.similarity import cosine_similarity, matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wtal_plugins.ftcl.losses import LCS


def draw_matches(loss: LCS, videos: Sequence[SeenVideo]) -> Figure:
    """The cosines of all snippets of two videos, the snippets the loss compares, and its matched cells.

    Args:
        loss: with the run's own settings.
        videos: two; green beside the matrix are the annotated instances, of which the loss knows nothing.
    """
    outputs, batch = _pair(videos)
    compared = loss.compared(outputs, batch)
    (found,) = loss.subsequences(outputs, batch)
    figure, axis = matrix(cosine_similarity(*(video.field("embedding") for video in videos)), *videos)
    chosen = [
        video.centres()[part.index[0, : part.length[0]].numpy()]
        for video, part in zip(videos, (compared.first, compared.second))
    ]
    down, across = (axis.get_ylim(), axis.get_xlim())
    axis.plot(np.full(len(chosen[0]), across[0]), chosen[0], "c>", ms=4, clip_on=False)
    axis.plot(chosen[1], np.full(len(chosen[1]), down[1]), "cv", ms=4, clip_on=False)
    matched = [(at + 0.5) * video.meta.snippet_seconds for video, at in zip(videos, found.snippets.reshape(-1, 2).T)]
    axis.plot(matched[1], matched[0], "o-", color="cyan", mfc="none", ms=6, lw=0.8)
    axis.set_xlim(across)
    axis.set_ylim(down)
    threshold = f"tau {loss.tau:g}" if loss.quantile is None else f"quantile {loss.quantile:g}"
    lengths = " and ".join(str(len(part)) for part in chosen)
    axis.set_title(
        f"{len(found.snippets)} matched cells (circles) of the {lengths} compared snippets (cyan edges), {threshold}",
        fontsize=9,
        pad=18,
    )
    return figure


def _pair(videos: Sequence[SeenVideo]) -> tuple[Outputs, Batch]:
    """Two videos as the loss meets them: padded to one length, one pair."""
    lengths = [len(video.centres()) for video in videos]
    longest = max(lengths)

    def padded(rows: list[np.ndarray]) -> torch.Tensor:
        full = np.zeros((len(rows), longest, *rows[0].shape[1:]))
        for place, values in enumerate(rows):
            full[place, : len(values)] = values
        return torch.from_numpy(full)

    outputs = {name: padded([np.asarray(video.outputs[name]) for video in videos]) for name in videos[0].outputs}
    labels = torch.zeros(len(videos), len(videos[0].classes), dtype=torch.float64)
    for row, video in enumerate(videos):
        labels[row, list(video.tags)] = 1
    mask = torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)
    batch = Batch(
        features=torch.zeros(len(videos), longest, 1, dtype=torch.float64),
        mask=mask,
        labels=labels,
        index=torch.arange(len(videos)),
        meta=tuple(video.meta for video in videos),
        snippet_index=padded([video.positions() for video in videos]),
        pairs=torch.tensor([[0, 1]]),
        pair_same=(labels[:1] * labels[1:]).sum(dim=1).clamp(max=1),
    )
    return outputs, batch
