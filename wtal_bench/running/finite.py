"""Telling a person that numbers ran away: which ones, when, and what to try."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wtal_bench.errors import DataError, WtalError, listing
from wtal_bench.interfaces import Batch


def bad_parameters(model: nn.Module) -> list[str]:
    """Names of the parameters that hold NaN or infinity."""
    own = getattr(model, "module", model)
    named = dict(own.named_parameters())
    finite = torch.stack([torch.isfinite(value).all() for value in named.values()]).tolist() if named else []
    return [name for name, well in zip(named, finite) if not well]


def look_for_causes(model: nn.Module, data: Any) -> list[str]:
    """Names of the parameters or, if all are well, of the output fields of a failed step that are not finite.

    Raises:
        DataError: it was the features.
    """
    own = getattr(model, "module", model)
    with contextlib.suppress(RuntimeError), torch.no_grad():  # a GPU may refuse all further work
        batch = data.to(next(own.parameters()).device)
        refuse_not_finite(batch)
        outputs = own.compute(batch)
        return bad_parameters(own) or [name for name, x in outputs.items() if not bool(torch.isfinite(x).all())]
    return []


def refuse_not_finite(batch: Batch) -> None:
    """Refuse features that hold NaN or infinity.

    Raises:
        DataError: names the videos.
    """
    bad = [meta.id for meta, rows in zip(batch.meta, batch.features) if not bool(torch.isfinite(rows).all())]
    if bad:
        raise DataError(
            f"the features of {listing(bad, 5)} hold NaN or infinity; extract or import them again "
            "(`wtal-bench check-data` finds every damaged video)."
        )


def diverged(what: Sequence[str], runner: Any, done: int) -> WtalError:
    """The error of a run that cannot go on.

    Args:
        what: losses, parameters or fields that are not finite.
        runner: mmengine's.
        done: the step that showed it, from 1.
    """
    kept = Path(runner.work_dir) / "last.pth"
    before = f"{kept} is from before." if kept.is_file() else "No checkpoint was written yet."
    return WtalError(
        f"training stopped at iteration {done}: not finite are {listing(what, 5)}. {before} Try a lower train.lr, "
        "train.clip, or look for constant or huge features (`wtal-bench check-data`)."
    )
