"""What W-TALC's detector does with very short videos, and its recipe with videos that nobody tagged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.testing import random_batch
from wtal_plugins.wtalc.examples import thumos
from wtal_plugins.wtalc.scores import ClassScores


def scores(length: int, **switches) -> torch.Tensor:
    batch = random_batch([length])
    cas = torch.arange(1.0, length + 1, dtype=torch.float64).reshape(1, length, 1).repeat(1, 1, 3)
    return ClassScores(**switches)({"cas": cas}, batch)["class_scores"]


def test_the_detector_rounds_the_number_of_snippets_down():
    assert (scores(23) == 22.5).all()  # 23 // 8 = 2
    assert (scores(8) == 8).all()


def test_a_video_shorter_than_the_divisor_scores_nothing_unless_asked_to():
    assert (scores(7) == 0).all()
    assert (scores(7, short="one") == 7).all()


@pytest.mark.parametrize(("switch", "words"), [({"short": "some"}, "short='some'"), ({"divisor": 0}, "divisor=0")])
def test_wrong_switches_are_refused(switch, words):
    with pytest.raises(ConfigError, match=words):
        ClassScores(**switch)


@pytest.mark.parametrize(("length", "found"), [(7, False), (8, True)])
def test_a_video_shorter_than_the_divisor_has_no_detection(length, found):
    torch.manual_seed(0)
    model = build_model(thumos().model).double().eval()
    with torch.no_grad():
        model.heads["classifier"].cls.weight.fill_(1.0)
    batch = random_batch([length])
    ramp = torch.linspace(0.1, 2.0, length, dtype=torch.float64).reshape(1, -1, 1).expand_as(batch.features)
    (prediction,) = model.predict(replace(batch, features=ramp))
    assert bool(len(prediction.detections)) == found
    assert np.isfinite(prediction.video_scores).all()


def test_videos_without_tags_and_pairs_that_share_none_leave_finite_losses():
    torch.manual_seed(0)
    model = build_model(thumos().model).double().train()
    batch = random_batch([9, 1, 12, 30], pairs=True)
    for labels in (torch.zeros_like(batch.labels), torch.eye(4, dtype=torch.float64)[:, :3]):
        losses = model.losses(replace(batch, labels=labels))
        assert losses["cas"].item() == 0
        losses["total"].backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
