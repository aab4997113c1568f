"""Every idea on every host: the pair trains two steps and is tested, or is refused when it is built, with a reason."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from wtal_bench.cli import main
from wtal_bench.evaluation import DetectionTable, GroundTruth, evaluate
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.facts import Facts
from wtal_bench.modeling.model import Model
from wtal_bench.recipes import shipped_ideas
from wtal_bench.running.config import load_config
from wtal_bench.running.matrix import Cell, built, hosts, matrix
from wtal_bench.running.settings import RunConfig
from wtal_bench.testing import random_batch

WIDTH, CLASSES = 128, 10
"""Of the features and tags of the embedded benchmark."""

LENGTHS = (40, 40, 52, 33, 47, 40)

REFUSED = {
    ("bges", "bges_ten"): "the host has this idea already",
    ("ten", "bges_ten"): "the host has this idea already",
    ("cw", "fac_net"): "the host has this idea already",
    ("ftcl", "ftcl"): "the host has this idea already",
    ("gaufuse", "gaufuse"): "decodes by 'gaufuse.FusedDecoder'",
    ("gaufuse_test", "gaufuse"): "decodes by 'gaufuse.FusedDecoder'",
    ("bges", "ecm"): "makes no `attention`",
    ("bges", "cola"): "makes no `attention`",
    ("bges", "wtalc"): "makes no `attention`",
    ("bges", "stpn"): "no background class",
    ("bges", "stpn_embedding"): "no background class",
    ("bges", "um"): "no background class",
    ("cw", "co2net"): "makes no `class_weights`",
    ("ftcl", "stpn"): "its gradient reaches nothing",
    ("ftcl", "bm"): "its gradient reaches nothing",
}
"""(idea, host) -> what the reason says; every other pair runs. Hosts that are not there are no pairs."""

WEIGHTS = {"stpn": 1 / 10, "stpn_embedding": 1 / 10, "um": 1 / 10, "cola": 1 / 10, "basnet": 1 / 11, "wtalc": 0.5}
"""What one class weighs in a host's classification loss where that is not 1: a mean over the columns, or half."""

STARTS = range(8)
"""Seeds of a host's random start: the curves of some are cut by no threshold of the recipe, so nothing is labelled."""

CELLS = [
    Cell(host, idea.name, f"{recipe}+{idea.name}", REFUSED.get((idea.name, host), ""))
    for host, recipe in hosts().items()
    for idea in shipped_ideas()
]
"""What the matrix should be. It is not built when tests are collected: that is work for every worker."""


def of(cell: Cell) -> str:
    return f"{cell.host}+{cell.idea}"


def sure(node):
    """The model's config with every class decoded: a host that is not trained yet is sure of none."""
    if isinstance(node, dict):
        return {key: -1e9 if key == "class_threshold" else sure(value) for key, value in node.items()}
    return [sure(value) for value in node] if isinstance(node, list | tuple) else node


def batch_of(pairs: bool) -> Batch:
    """Videos of two classes, so that pairs of the same and of different tags meet."""
    batch = random_batch(LENGTHS, width=WIDTH, classes=CLASSES, pairs=pairs)
    labels = torch.zeros(len(batch), CLASSES)
    labels[torch.arange(len(batch)), torch.tensor([0, 0, 1, 1, 0, 1])] = 1
    if pairs:
        batch = replace(
            batch,
            pairs=torch.tensor([[0, 1], [2, 3], [0, 2], [4, 5]]),
            pair_same=torch.tensor([1.0, 1.0, 0.0, 0.0]),
        )
    return replace(batch, features=batch.features.float(), labels=labels)


def training_pass(model: Model, batch: Batch):
    """As the runner's: one video a time, in eval mode, without gradients."""
    with torch.no_grad():
        model.eval()
        for row, length in enumerate(batch.lengths.tolist()):
            one = replace(
                batch,
                features=batch.features[row : row + 1, :length],
                mask=batch.mask[row : row + 1, :length],
                labels=batch.labels[row : row + 1],
                index=batch.index[row : row + 1],
                meta=batch.meta[row : row + 1],
                snippet_index=batch.snippet_index[row : row + 1, :length],
                pairs=None,
                pair_same=None,
            )
            yield model.compute(one), one
        model.train()


def two_steps(model: Model, batch: Batch, lr: float) -> dict[str, float]:
    """Train two steps, as the runner does; the scalars of the second."""
    model.begin_epoch(0, lambda: training_pass(model, batch))
    model.train()
    batch = replace(batch, epoch=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    scalars = {}
    for _ in range(2):
        scalars = model.losses(batch)
        optimizer.zero_grad()
        scalars["total"].backward()
        optimizer.step()
    return {name: float(value.detach()) for name, value in scalars.items()}


def average_map(model: Model, batch: Batch) -> float:
    """mAP over the batch's videos, whose middle thirds hold an instance of their tag."""
    model.eval()
    found = {prediction.meta.id: prediction.detections for prediction in model.predict(replace(batch, labels=None))}
    for meta in batch.meta:
        found[meta.id].check(meta.id, meta.duration)
    assert any(len(detections) for detections in found.values())
    duration = np.array([meta.duration for meta in batch.meta])
    classes = [str(number) for number in range(CLASSES)]
    label = batch.labels.argmax(dim=1).numpy()
    truth = GroundTruth(classes, list(found), np.arange(len(batch)), label, duration / 3, duration * 2 / 3)
    return evaluate(DetectionTable.from_videos(found), truth, [0.1, 0.5]).average


def added(cell: Cell, config: RunConfig) -> set[str]:
    """Names of the losses the idea brought."""
    host = load_config(hosts()[cell.host]).model
    own, ours = ((m["member"] if m["type"] == "Streams" else m)["losses"] for m in (host, config.model))
    return set(ours) - set(own)


def idea_gradient(model: Model, batch: Batch, names: set[str]) -> float:
    """Largest gradient that the idea's weighted losses send to a parameter the host has anyway."""
    members = getattr(model, "members", {"": model})
    for member in members.values():
        for name in member._losses:
            if name not in names:
                member._weights[name] = type(member._weights[name])(0.0, name)
    model.zero_grad()
    model.train()
    model.losses(replace(batch, epoch=1))["total"].backward()
    parts = {f"heads.{name}" for name in ("cw", "labels")} | {f"criteria.{name}" for name in names}
    host = [p.grad for name, p in model.named_parameters() if not any(part in name for part in parts)]
    return max((float(grad.abs().max()) for grad in host if grad is not None), default=0.0)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.reason], ids=of)
def test_an_idea_on_a_host_trains_two_steps_and_is_evaluated(cell):
    config = load_config(cell.recipe)
    names = added(cell, config)
    assert bool(names) == (cell.idea != "gaufuse_test")
    for seed in STARTS:
        torch.manual_seed(seed)
        model = build_model(sure(config.model), config.path)
        batch = batch_of(pairs="pairs" in model.needs)
        scalars = two_steps(model, batch, 1e-3)
        assert all(np.isfinite(value) for value in scalars.values())
        assert 0 <= average_map(model, batch) <= 1
        if not names or idea_gradient(model, batch, names) > 0:
            break
    else:
        raise AssertionError("the idea trains nothing of the host")


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.reason], ids=of)
def test_an_idea_a_host_cannot_take_is_refused_when_it_is_built(cell):
    found = built(cell.host, hosts()[cell.host], cell.idea)
    assert cell.reason in found.reason
    assert not found.reason.startswith("/"), "the cell says the file itself"


def test_the_matrix_has_a_cell_for_every_idea_on_every_host_asked_for():
    found = matrix(["stpn"])
    expected = [cell for cell in CELLS if cell.host == "stpn"]
    assert [replace(cell, reason="") for cell in found] == [replace(cell, reason="") for cell in expected]
    assert [bool(cell.reason) for cell in found] == [bool(cell.reason) for cell in expected]


@pytest.mark.parametrize("host", hosts())
def test_what_a_class_weighs_in_a_host(host):
    config = load_config(hosts()[host])
    assert Facts(config.model, host).class_weight == pytest.approx(WEIGHTS.get(host, 1.0))


def test_the_matrix_is_printed_whole(capsys, monkeypatch):
    monkeypatch.setattr("wtal_bench.running.matrix.matrix", lambda: CELLS)
    assert main(["list", "--matrix", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert {(cell["idea"], cell["host"]) for cell in cells} == {(cell.idea, cell.host) for cell in CELLS}
    assert main(["list", "--matrix"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for number, host in enumerate(hosts()):
        row = [cell for cell in CELLS if cell.host == host]
        assert lines[2 + number].split()[0] == host
        assert [mark == "yes" for mark in lines[2 + number].split()[1:]] == [not cell.reason for cell in row]
    assert any(line.startswith("(1)") for line in lines)
