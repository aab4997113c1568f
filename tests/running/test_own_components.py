"""A mistake in a component of one's own: named with its place, file and line, exit code 2, before a run begins."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from tests.running.conftest import WIDTH, tiny_config
from wtal_bench.cli import main
from wtal_bench.engines.job import Job
from wtal_bench.engines.work import FAILED, Ticket, perform
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Backbone, ComponentInfo, Loss
from wtal_bench.modeling import faults  # noqa: F401  (as a worker that made a model has it)
from wtal_bench.modeling.parts import Part, check_scalars, labelled
from wtal_bench.plugins import registry, snapshot


class Own(Loss):
    """Whatever a test wants it to be."""

    requires = ("post_logits",)

    def __call__(self, outputs, batch):
        return WRONG[KIND[0]](outputs, batch)


class Silent(Loss):
    """Forgets what it reads."""

    def __call__(self, outputs, batch):
        return {"own": outputs["post_logits"].mean()}


class Trunk(nn.Module, Backbone):
    """Takes another width than the data have."""

    provides = ("embedding",)

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH + 1, 8)

    def forward(self, features, mask):
        return dict.fromkeys(self.provides, self.linear(features))


class Bare(nn.Module, Backbone):
    """Returns a tensor."""

    provides = ("embedding",)

    def forward(self, features, mask):
        return features


KIND = [""]
CAS = "post_logits"
WRONG = {
    "vector": lambda outputs, batch: {"own": outputs[CAS].mean(1)},
    "tensor": lambda outputs, batch: outputs[CAS].mean(),
    "number": lambda outputs, batch: {"own": outputs[CAS].mean().item()},
    "nan": lambda outputs, batch: {"own": outputs[CAS].mean() * float("nan")},
    "detached": lambda outputs, batch: {"own": outputs[CAS].detach().abs().mean() + 1},
    "attribute": lambda outputs, batch: {"own": outputs[CAS].mean() * batch.meta[0].segments},
    "shape": lambda outputs, batch: {"own": (outputs[CAS] * torch.ones(len(batch), 77)).mean()},
    "zero": lambda outputs, batch: {"own": outputs[CAS].new_zeros(())},
}
SAID = {
    "vector": r"returned \{'own': tensor of shape \(2,\)\}; needed a dict of 0-d tensors",
    "tensor": r"returned a tensor of shape \(\); needed a dict of 0-d tensors. Write return \{'own': value\}",
    "number": r"returned \{'own': float .*needed a dict of 0-d tensors.*\.item\(\)",
    "nan": r"mine is nan on the first look at the data",
    "detached": r"no gradient goes through mine",
    "attribute": r"AttributeError: 'VideoMeta' object has no attribute 'segments'",
    "shape": r"RuntimeError: The size of tensor",
}


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with snapshot():
        for kind, cls in (("loss", Own), ("loss", Silent), ("backbone", Trunk), ("backbone", Bare)):
            target = f"{__name__}:{cls.__name__}"
            registry(kind).add(ComponentInfo(kind, f"mine.{cls.__name__}", target, plugin="mine"))
        yield


def train(tmp_path, dataset, capsys, losses=None, *words: str, **model) -> tuple[int, str]:
    tree = tiny_config(dataset, epochs=1)
    tree["model"]["losses"]["mine"] = losses or {"type": "mine.Own"}
    tree["model"] |= model
    (tmp_path / "my.json").write_text(json.dumps(tree))
    code = main(["train", str(tmp_path / "my.json"), "--work-dir", str(tmp_path / "run"), *words])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("kind", SAID)
def test_a_loss_that_is_wrong_is_named_with_its_line_before_the_run_begins(tmp_path, dataset, capsys, kind):
    KIND[0] = kind
    code, text = train(tmp_path, dataset, capsys)
    assert code == 2, text
    assert re.search(
        rf"my\.json: model\.losses\.mine \(mine\.Own, \S*test_own_components\.py:\d+\): {SAID[kind]}", text
    )
    assert "in_channels" not in text
    assert not (tmp_path / "run").exists()


def test_the_line_is_the_one_that_failed(tmp_path, dataset, capsys):
    KIND[0] = "shape"
    _, text = train(tmp_path, dataset, capsys)
    assert f"test_own_components.py:{WRONG['shape'].__code__.co_firstlineno})" in text


def test_a_loss_that_waits_or_is_only_reported_is_taken(tmp_path, dataset, capsys):
    KIND[0] = "zero"
    assert train(tmp_path, dataset, capsys, None, "--dry-run") == (0, "")
    for kind in ("detached", "nan"):
        KIND[0] = kind
        assert train(tmp_path, dataset, capsys, {"type": "mine.Own", "weight": 0.0}, "--dry-run") == (0, "")


def test_a_field_that_was_not_declared(tmp_path, dataset, capsys):
    code, text = train(tmp_path, dataset, capsys, {"type": "mine.Silent"})
    assert code == 2, text
    assert f"KeyError: '{CAS}'. A component is given the fields it declares: write requires = ('{CAS}',)" in text


@pytest.mark.parametrize(
    ("name", "said"), [("Trunk", "RuntimeError: mat1 and mat2"), ("Bare", r"returned a tensor of shape")]
)
def test_a_backbone_of_ones_own(tmp_path, dataset, capsys, monkeypatch, name, said):
    monkeypatch.setattr(
        {"Trunk": Trunk, "Bare": Bare}[name], "provides", registry("backbone").get("ecm.Trunk").provides
    )
    code, text = train(tmp_path, dataset, capsys, {"type": "mine.Own", "weight": 0}, backbone={"type": f"mine.{name}"})
    assert code == 2, text
    assert re.search(rf"model\.backbone \(mine\.{name}, \S*test_own_components\.py:\d+\): {said}", text), text


def test_a_worker_of_a_sweep_tells_the_same(tmp_path, monkeypatch):
    class Broken(Loss):
        """Fails."""

        def run(self, *_):
            raise KeyError("cas")

    monkeypatch.chdir(tmp_path)
    job = Job.__new__(Job)
    object.__setattr__(job, "make", Broken().run)
    report = perform(Ticket(job, tmp_path, 1), print)
    assert report.state == FAILED
    assert report.text.startswith(f"Broken ({__file__}:"), report.text
    assert "bug of the harness" not in report.text


def test_what_is_looked_at_is_kind_and_shape():
    part = Part(Own(), "my.py: model.losses.own", {}, {}, "mine.Own")
    check_scalars(part, {"own": torch.tensor(float("nan")), "other": torch.zeros((), requires_grad=True)})
    with pytest.raises(ConfigError, match=re.escape(labelled(part))):
        check_scalars(part, None)
