"""The contract, as checks over example models.

1. Padding changes nothing: outputs, losses and gradients, to 1e-12 of their size in float64 (gradients 1e-10).
2. Batch mates change nothing: a video's outputs alone equal its outputs among others.
3. Decoding any video, down to one snippet, with or without all-zero features, gives valid detections.
4. The state is plain: it survives a checkpoint read with `weights_only=True`.
5. The same seed gives the same bits, dropout on.
6. A training step under bf16 autocast runs and gives finite losses and gradients.
7. A loss that says which fields it `trains` sends its gradient through no other.
8. With hooks: training stopped anywhere and resumed is the training that was not stopped, bit for bit.
"""

from __future__ import annotations

import copy
import importlib
import io
from dataclasses import dataclass, replace

import numpy as np
import torch

from wtal_bench.discovery import quarantine
from wtal_bench.errors import PluginError, did_you_mean
from wtal_bench.interfaces import Batch, ComponentInfo
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.modeling.model import Model
from wtal_bench.plugins import examples, failure_of, load_plugins, registry
from wtal_bench.registry import CONTRACT_KINDS
from wtal_bench.testing.examples import Example, random_batch
from wtal_bench.testing.runs import check_resuming

LENGTHS = (13, 13, 40, 21, 30)
"""Snippets of the videos the checks run on, never below an example's `shortest`."""


@dataclass(frozen=True)
class Case:
    """One registered example."""

    info: ComponentInfo

    @property
    def id(self) -> str:
        """Its name, for test ids."""
        return self.info.name

    def load(self) -> Example:
        """Call the plugin's function.

        Raises:
            PluginError: it cannot be imported or called, or gives no Example.
        """
        module, _, name = self.info.target.partition(":")
        origin = f"example {self.info.name!r} of plugin {self.info.plugin!r} ({self.info.target})"
        try:
            with quarantine():
                example = getattr(importlib.import_module(module), name)()
        except PluginError as error:
            raise PluginError(f"{origin} cannot be made: {error}") from error
        if not isinstance(example, Example):
            raise PluginError(f"{origin} must return a wtal_bench.testing.Example, got {type(example).__name__}.")
        return example


def contract_cases(plugin: str | None = None) -> list[Case]:
    """The registered examples, of one plugin or of all.

    Raises:
        PluginError: that plugin is not loaded, or registers no example: a suite without a case would be green.
    """
    cases = [Case(info) for info in examples() if plugin is None or info.plugin == plugin]
    if plugin is not None and not cases:
        raise PluginError(_why_no_case(plugin))
    return cases


def uncovered_components(plugin: str | None = None) -> list[str]:
    """Registered components that are part of no example.

    Raises:
        PluginError: that plugin is not loaded.
    """
    infos = [info for kind in CONTRACT_KINDS for info in registry(kind).infos() if plugin in (None, info.plugin)]
    if plugin is not None and not infos and plugin not in load_plugins():
        raise PluginError(_why_no_case(plugin))
    used = set()
    for case in contract_cases():
        example = case.load()
        used |= _types(example.model).union(*map(_types, example.hooks))
    return [info.name for info in infos if info.name not in used]


def _why_no_case(plugin: str) -> str:
    """Why there is nothing to hold to the contract."""
    if plugin in load_plugins():
        return f"plugin {plugin!r} registers no example for the contract suite: add registrar.example(...)."
    failed = failure_of(plugin)
    if failed is not None:
        return f"plugin {plugin!r} could not be loaded: {failed.reason}"
    return (
        f"plugin {plugin!r} is not installed here: run `pip install -e` on its folder (and look at WTAL_PLUGINS, where "
        f"that is set).{did_you_mean(plugin, load_plugins())}"
    )


def assert_contract(case: Case) -> None:
    """Run every check on one example.

    Raises:
        AssertionError: naming the field, loss or parameter that broke it.
    """
    example = case.load()
    model = build(example)
    check_padding(model, example)
    check_batch_mates(model, example)
    check_decoding(model, example)
    check_state(model, example)
    check_seed(example)
    check_autocast(example)
    check_trained_fields(model, example)
    if example.hooks:
        check_resuming(example)


def build(example: Example) -> Model:
    """The example's model in float64 and eval mode, from a fixed seed."""
    torch.manual_seed(0)
    return build_model(copy.deepcopy(example.model), "example").double().eval()


def batch_of(example: Example, **options) -> Batch:
    """A random batch the example can take."""
    lengths = tuple(max(length, example.shortest) for length in LENGTHS)
    return random_batch(lengths, width=example.width, classes=example.classes, pairs=example.pairs, **options)


def check_padding(model: Model, example: Example) -> None:
    """Adding padding changes neither outputs nor losses nor gradients."""
    plain, padded = batch_of(example), batch_of(example, padding=7)
    ours, theirs = _with_gradients(model, plain), _with_gradients(model, padded)
    for field, value in ours[0].items():
        assert_same(value, _cut(model, field, theirs[0][field], plain), 1e-12, f"output {field!r} changes with padding")
    for name, value in ours[1].items():
        assert_same(value, theirs[1][name], 1e-12, f"loss {name!r} changes with padding")
    for name, value in ours[2].items():
        assert_same(value, theirs[2][name], 1e-10, f"the gradient of {name!r} changes with padding")


def check_batch_mates(model: Model, example: Example) -> None:
    """A video's outputs do not depend on the videos beside it."""
    together = batch_of(example)
    with torch.no_grad():
        joint = model.compute(together)
        for position in range(len(together)):
            alone = batch_of(example, keep=[position])
            alone = replace(alone, pairs=None, pair_same=None)
            for field, value in model.compute(alone).items():
                own = joint[field] if field in model.shared_fields else joint[field][position : position + 1]
                own = _cut(model, field, own, alone)
                assert_same(value, own, 1e-12, f"output {field!r} of a video changes with its batch mates")


def check_decoding(model: Model, example: Example) -> None:
    """Every video decodes to valid detections, however short or empty it is."""
    for length in sorted({example.shortest, example.shortest + 1, 40}):
        for scale in (1.0, 0.0):
            batch = random_batch([length], width=example.width, classes=example.classes)
            batch = replace(batch, features=batch.features * scale, labels=None)
            for prediction in model.predict(batch):
                prediction.detections.check(prediction.meta.id, prediction.meta.duration)
                labels = prediction.detections.label
                assert ((labels >= 0) & (labels < example.classes)).all(), "the decoder proposes background"
                if prediction.video_scores is not None:
                    shape = prediction.video_scores.shape
                    assert shape == (example.classes,), f"video_scores must be [C] = [{example.classes}], got {shape}"


def check_state(model: Model, example: Example) -> None:
    """The state is plain tensors and values, and loading it restores every output."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    torch.manual_seed(1)
    other = build_model(copy.deepcopy(example.model), "example").double().eval()
    other.load_state_dict(state)
    batch = batch_of(example)
    with torch.no_grad():
        theirs = other.compute(batch)
        for field, value in model.compute(batch).items():
            assert torch.equal(value, theirs[field]), f"output {field!r} is not restored by the state dict"


def check_seed(example: Example) -> None:
    """Two training steps from the same seed give the same bits."""
    results = []
    for _ in range(2):
        model = build(example).train()
        torch.manual_seed(3)
        model.losses(batch_of(example))["total"].backward()
        results.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), f"the gradient of {name!r} differs between equal seeds"


def check_autocast(example: Example) -> None:
    """float32 parameters, bf16 arithmetic where torch chooses it, on the CPU as on a GPU."""
    model = build(example).float().train()
    batch = batch_of(example)
    single = {name: getattr(batch, name).float() for name in ("features", "labels")}
    if batch.pair_same is not None:
        single["pair_same"] = batch.pair_same.float()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.losses(replace(batch, **single))
    losses["total"].backward()
    for name, value in losses.items():
        assert torch.isfinite(value), f"loss {name!r} is {value.item()} under bf16 autocast"
    for name, parameter in model.named_parameters():
        finite = parameter.grad is None or torch.isfinite(parameter.grad).all()
        assert finite, f"the gradient of {name!r} is not finite under bf16 autocast"


def check_trained_fields(model: Model, example: Example) -> None:
    """A loss that says which fields it `trains` sends its gradient through those alone."""
    batch = batch_of(example)
    if not isinstance(model, Localizer):
        return
    fields = model.compute_with_views(batch)
    leaves = {name: x.detach().requires_grad_(x.is_floating_point()) for name, x in fields.items()}
    for part, _ in model.weighted_losses():
        total = sum(part.component(part.inputs(leaves), batch).values()) if part.trained else None
        if total is None or not total.requires_grad:
            continue
        read = [name for name in part.required if leaves[name].requires_grad]
        gradients = torch.autograd.grad(total, [leaves[name] for name in read], allow_unused=True)
        for name, gradient in zip(read, gradients):
            reached = gradient is not None and bool(gradient.any())
            assert name in part.trained or not reached, f"{part.where} trains {name!r} too, which `trains` does not say"


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float, message: str) -> None:
    """Equal to `tolerance` of the larger of 1 and their size; NaN is never equal."""
    ours, theirs = (np.asarray(x.detach(), dtype=np.float64) for x in (ours, theirs))
    assert ours.shape == theirs.shape, f"{message}: shape {ours.shape} against {theirs.shape}"
    if ours.size:
        error = np.abs(ours - theirs).max()
        assert error <= tolerance * max(1.0, np.abs(theirs).max()), f"{message} by {error:.3g}"


def _with_gradients(model: Model, batch: Batch) -> tuple[dict, dict, dict]:
    model.zero_grad()
    outputs = model.compute(batch)
    losses = model.losses(batch)
    losses["total"].backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return outputs, losses, gradients


def _cut(model: Model, field: str, value: torch.Tensor, batch: Batch) -> torch.Tensor:
    timed = field not in model.shared_fields and field not in model.video_level_fields
    return value[:, : batch.mask.shape[1]] if timed else value


def _types(config: object) -> set[str]:
    if isinstance(config, dict):
        own = {config["type"]} if isinstance(config.get("type"), str) else set()
        return own.union(*(_types(value) for value in config.values())) if config else own
    return set()
