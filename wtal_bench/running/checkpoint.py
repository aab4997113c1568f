"""Checkpoints of plain tensors and numbers: written atomically, read without running anything they contain.

One holds `state_dict`, `optimizer`, perhaps `gradients`, and `meta`, what it says of itself: position (`epoch`, `iter`,
`steps_per_epoch`), `best`, method, protocol, seed and config hash; `made_from`, the hashes of its features,
annotations, tags and list of videos, and the record its weights began from; and `machines`, those it was trained on,
with threads, processes, device and versions (`resuming`).
"""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from wtal_bench.errors import CheckpointError, ConfigError, listing
from wtal_bench.files import atomic_write
from wtal_bench.options import check_type
from wtal_bench.reading import GIB, open_file, unpickling_reason

FORMAT = 1
LIMIT = 64 * GIB
"""Bytes of the largest checkpoint that is read."""


def write_checkpoint(path: str | Path, checkpoint: Mapping[str, Any]) -> None:
    """Write a checkpoint in one step.

    Raises:
        DataError: the disk is full or the folder read-only; an older checkpoint of the same name survives.
    """
    with atomic_write(path, "wb") as stream:
        try:
            torch.save({**checkpoint, "format": FORMAT}, stream)
        except RuntimeError as error:  # torch's own, about a position, in place of what the disk said
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU; a file that holds anything but tensors and plain values is refused unread.

    Raises:
        CheckpointError: missing, damaged, or not plain data.
    """
    path = Path(path)
    with open_file(path, kind=CheckpointError, hint=_near(path), limit=LIMIT) as stream:
        checkpoint = _loaded(stream, path)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path} holds a {type(checkpoint).__name__}, not a checkpoint.")
    if "meta" in checkpoint:
        _check_meta(checkpoint["meta"], f"{path}: meta")
    return checkpoint


def _near(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f"Checkpoints there: {listing(sorted(p.name for p in path.parent.glob('*.pth')))}."
    return ""


def _loaded(stream: BinaryIO, path: Path) -> Any:
    try:
        if zipfile.is_zipfile(stream):
            _refuse_packed(stream, path)
        else:
            _refuse_text(stream, path)
        stream.seek(0)
        return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain values and was not loaded, since such a file can run code. "
            "Checkpoints of other programs: load them there and save model.state_dict() alone. "
            f"({unpickling_reason(error)})"
        ) from error
    except CheckpointError:
        raise
    except Exception as error:  # a crafted or damaged pickle can fail in any way at all
        raise CheckpointError(f"{path} is damaged or no checkpoint: {unpickling_reason(error)}") from error


def _refuse_text(stream: BinaryIO, path: Path) -> None:
    """Refuse a file that a person wrote, such as a config given in the wrong place."""
    stream.seek(0)
    head = stream.read(60)
    if head and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        raise CheckpointError(
            f"{path} is no checkpoint but text: it begins with {head.decode().splitlines()[0]!r}. Give the .pth file "
            f"that training wrote, such as last.pth. {_near(path)}".rstrip()
        )


def _refuse_packed(stream: BinaryIO, path: Path) -> None:
    """Refuse an archive whose parts unpack to more than it is large: torch stores them as they are."""
    with zipfile.ZipFile(stream) as archive:
        packed = next((part for part in archive.infolist() if part.file_size > part.compress_size), None)
    if packed is not None:
        raise CheckpointError(
            f"{path}: its part {packed.filename!r} unpacks from {packed.compress_size} to {packed.file_size} bytes; "
            "checkpoints are not compressed, so it is not read. Save it again with torch.save."
        )


def _check_meta(meta: Any, where: str) -> None:
    """Refuse what a run wrote of itself in another form than it writes.

    Raises:
        CheckpointError: the text names the key.
    """
    if not isinstance(meta, dict):
        raise CheckpointError(f"{where} is a {type(meta).__name__}, not the run's own notes by name.")
    for key in ("epoch", "iter", "seed", "steps_per_epoch"):
        value = meta.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise CheckpointError(f"{where}.{key} is {value!r:.80}; needed: a whole number of at least 0.")
    if not isinstance(meta.get("stopped", False), bool):
        raise CheckpointError(f"{where}.stopped is {meta['stopped']!r:.80}; needed: True or False.")
    for key, form in _NOTES.items():
        _check_form(meta.get(key), form, f"{where}.{key}")
    for key in _FACTS.keys() & (meta.get("features") or {}).keys():
        _check_form(meta["features"][key], _FACTS[key], f"{where}.features.{key}")
    best = meta.get("best")
    if best is None:
        return
    parts = {"": best} if isinstance(best, dict) and "metric" in best else best
    if not isinstance(parts, dict) or not all(_is_score(part) for part in parts.values()):
        raise CheckpointError(f"{where}.best is {best!r:.80}; needed: None, or metric, value and done of the best.")


_NOTES = {
    "made_from": dict[str, str] | None,
    "machines": list[dict[str, str | int | None]] | None,
    "features": dict[str, Any] | None,
}
"""What the notes of a run are, by key, where it made any."""
_FACTS = {
    "name": str | None,
    "extractor": str | None,
    "fps": float | None,
    "stride": float | None,
    "window": float | None,
    "width": int | None,
    "streams": list[str] | None,
    "snippets_a_second": float | None,
}
"""What is known of the features it was trained on (`data.feature_notes.feature_facts`)."""


def _check_form(value: Any, form: Any, where: str) -> None:
    try:
        check_type(value, form, where)
    except ConfigError as error:
        raise CheckpointError(f"{error} The file was not written by a run, or was changed since.") from None


def _is_score(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    done, value = part.get("done"), part.get("value")
    numbers = type(done) is int and type(value) in (int, float) and math.isfinite(value)
    return numbers and isinstance(part.get("metric"), str)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def weights_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights a checkpoint tests with (with averaging on, the averaged ones); a bare state dict is itself."""
    return checkpoint.get("state_dict", checkpoint)


def meta_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a checkpoint says of itself; a bare state dict, or one of another program, says nothing."""
    meta = checkpoint.get("meta")
    return meta if isinstance(meta, Mapping) else {}


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
    if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights):
        raise CheckpointError(f"{path} holds no weights by name: its state_dict is a {type(weights).__name__}.")
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
    bad = next((n for n in own if isinstance(value := weights.get(n), torch.Tensor) and not _finite(value)), None)
    if bad is not None:
        raise CheckpointError(f"{path}: {bad} holds NaN or infinity, or no plain numbers; take an earlier checkpoint.")
    try:
        model.load_state_dict(weights, strict=strict)
    except Exception as error:  # what components keep besides tensors goes through their own code
        raise CheckpointError(f"{path} cannot be taken by this model: {_first_line(error)}") from error


def _finite(value: torch.Tensor) -> bool:
    if value.layout is not torch.strided or value.is_quantized:
        return False
    # a sum tells in a tenth of the time; one that overflows says nothing, for its numbers may all be finite
    quick = value.dtype in (torch.float32, torch.float64) and bool(torch.isfinite(value.sum()))
    return quick or bool(torch.isfinite(value).all())


def _shape(value: Any) -> tuple[int, ...] | str:
    """Of a tensor; the extra state of a component has none."""
    return tuple(value.shape) if isinstance(value, torch.Tensor) else "without a shape"


def load_optimizer(optimizer: Any, state: Any, path: str | Path) -> None:
    """Load an optimiser's state, explaining any mismatch: torch would take one that fails at the next step.

    Args:
        optimizer: mmengine's wrapper of it.
        state: its `state_dict()` of another time.
        path: where it came from, for error texts.

    Raises:
        CheckpointError: of another optimiser or other parameters.
    """
    problem = _optimizer_problem(optimizer, state)
    if not problem:
        try:
            return optimizer.load_state_dict(state)
        except Exception as error:  # every optimiser checks in its own way
            problem = _first_line(error)
    raise CheckpointError(f"{path} cannot be resumed, its optimiser differs: {problem}. Start a new run.")


def _optimizer_problem(optimizer: Any, state: Any) -> str:
    fresh = optimizer.state_dict()
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        return "it has no state by parameter"
    groups = state.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(fresh["param_groups"]):
        return f"it has not {len(fresh['param_groups'])} groups of parameters"
    for group, own in zip(groups, fresh["param_groups"]):
        if not isinstance(group, dict) or group.keys() < own.keys() or group["params"] != own["params"]:
            return "its groups hold other settings or parameters"
        odd = [key for key in own if not _alike(group.get(key), own[key])]
        if odd:
            return f"its setting {odd[0]} is {group.get(odd[0])!r:.80}, here {own[odd[0]]!r:.80}"
    made = _after_a_step(optimizer.optimizer) if state["state"] else {}
    for key, slots in state["state"].items():
        if type(key) is not int or key not in made or not isinstance(slots, dict):
            return f"it has a state of {key!r:.80}, which is no parameter"
        if slots.keys() != made[key].keys():
            return f"of parameter {key} it keeps {listing(slots)}, not {listing(made[key])}"
        odd = [name for name in slots if not _same_kind(slots[name], made[key][name])]
        if odd:
            return f"{odd[0]} of parameter {key} is {_told(slots[odd[0]])}, not {_told(made[key][odd[0]])}"
    return ""


def _after_a_step(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """What an optimiser keeps by parameter once it has moved: a copy of it makes a step from nowhere to nowhere."""
    trial = copy.deepcopy(optimizer)
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    trial.step()
    return trial.state_dict()["state"]


def _same_kind(value: Any, own: Any) -> bool:
    if isinstance(own, torch.Tensor):
        number = not own.ndim and type(value) in (int, float) and math.isfinite(value)  # a step, as older ones kept it
        return number or (isinstance(value, torch.Tensor) and value.shape == own.shape and _finite(value))
    return own is None or _alike(value, own)


def _told(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r:.80}"


def _alike(value: Any, own: Any) -> bool:
    """Whether a setting is of the kind it is here: a number for a number, as many of them for several."""
    if isinstance(own, (list, tuple)):
        sound = isinstance(value, (list, tuple)) and len(value) == len(own)
        return sound and all(_alike(*pair) for pair in zip(value, own))
    if isinstance(own, bool) or own is None:
        return value is own
    if isinstance(own, (int, float)):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, type(own))


def load_gradients(model: nn.Module, gradients: Any, path: str | Path) -> None:
    """Put back the gradients that were accumulated when the checkpoint was written.

    Raises:
        CheckpointError: they belong to other parameters.
    """
    if not isinstance(gradients, dict):
        raise CheckpointError(f"{path}: its gradients are a {type(gradients).__name__}, not tensors by name.")
    for name, parameter in model.named_parameters():
        value = gradients.get(name)
        if value is None:
            continue
        if not isinstance(value, torch.Tensor) or value.shape != parameter.shape or not _finite(value):
            raise CheckpointError(f"{path}: its gradient of {name} does not fit: {_shape(value)}.")
        parameter.grad = value.to(parameter.device, parameter.dtype)
