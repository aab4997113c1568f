"""Checkpoints of plain tensors and numbers: written atomically, read without running anything they contain.

One holds `state_dict`, `optimizer`, perhaps `gradients`, and `meta`, what it says of itself: position (`epoch`, `iter`,
`steps_per_epoch`), `best`, method, protocol, seed and config hash; `made_from`, the hashes of its features,
annotations, tags and list of videos, and the record its weights began from; and `machines`, those it was trained on,
with threads, processes, device and versions (`resuming`).
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wtal_bench.errors import CheckpointError, listing
from wtal_bench.files import atomic_write

FORMAT = 1


def write_checkpoint(path: str | Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step.

    Raises:
        DataError: the disk is full or the folder read-only; an older checkpoint of the same name survives.
    """
    buffer = io.BytesIO()
    torch.save({**checkpoint, "format": FORMAT}, buffer)
    with atomic_write(path, "wb") as stream:
        stream.write(buffer.getbuffer())


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; a file that holds anything but tensors and plain values is refused unread.

    Raises:
        CheckpointError: missing, damaged, or not plain data.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(str(p.name) for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
        raise CheckpointError(f"no checkpoint {path}. Checkpoints there: {listing(near)}.")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values and was not loaded, since such a file can run code. "
            "Checkpoints of other programs: load them there and save model.state_dict() alone. "
            f"({_first_line(error)})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {_first_line(error)}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint.")
    return checkpoint


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def weights_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights a checkpoint tests with (with averaging on, the averaged ones); a bare state dict is itself."""
    return checkpoint.get("state_dict", checkpoint)


def load_weights(model: nn.Module, weights: Mapping[str, Any], path: str | Path, strict: bool = True) -> None:
    """Load weights into `model`, explaining any mismatch.

    Args:
        model: the receiver.
        weights: a state dict.
        path: where it came from, for error texts.
        strict: False takes what fits and keeps the rest (warm starts from another method).

    Raises:
        CheckpointError: another model's checkpoint; the text lists what is missing, left over or of another shape.
    """
    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{path} holds no weights: its state_dict is a {type(weights).__name__}.")
    own = model.state_dict()
    shapes = [
        f"{name} {_shape(weights[name])} (here {_shape(own[name])})"
        for name in own
        if name in weights and _shape(weights[name]) != _shape(own[name])
    ]
    missing = [name for name in own if name not in weights]
    extra = [name for name in weights if name not in own]
    if shapes or (strict and (missing or extra)) or len(missing) == len(own):
        raise CheckpointError(
            f"{path} belongs to another model. Of another shape: {listing(shapes, 5)}. Missing there: "
            f"{listing(missing, 5)}. Unknown here: {listing(extra, 5)}. Use the config it was trained with "
            "(config.json beside it)."
        )
    model.load_state_dict(weights, strict=strict)


def _shape(value: Any) -> tuple[int, ...] | str:
    """Of a tensor; the extra state of a component has none."""
    return tuple(value.shape) if isinstance(value, torch.Tensor) else "without a shape"
