"""Decoding beside the network changes no bit, and what goes wrong there is said here."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from tests.running.conftest import dataset, tiny_config  # noqa: F401
from wtal_bench.errors import WtalError
from wtal_bench.interfaces import PostProcessor
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.decode import predictions
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.runner import build_testing


class Dies(PostProcessor):
    """A decoder whose process ends."""

    def __call__(self, outputs, meta):
        os._exit(1)


def session_of(dataset, **runtime):  # noqa: F811
    tree = tiny_config(dataset)
    tree["runtime"] |= runtime
    config = check_config(tree, "test")
    torch.manual_seed(0)
    return build_testing(config, open_data(config.data, "cpu", "test"), check_model(config))


def test_processes_beside_the_network_find_the_same_bits(dataset):  # noqa: F811
    here, beside = session_of(dataset), session_of(dataset, decode_workers=2)
    assert here.run() == beside.run()
    assert list(here.metric.detections) == list(beside.metric.detections)
    for video, found in here.metric.detections.items():
        np.testing.assert_array_equal(found.rows(), beside.metric.detections[video].rows())


def test_a_process_that_dies_is_told_of(dataset, monkeypatch):  # noqa: F811
    testing = session_of(dataset)
    object.__setattr__(testing.model._decoder, "component", Dies())
    monkeypatch.setattr(type(testing.model), "keep_snippet_scores", False)
    with pytest.raises(WtalError, match="a process that decodes test videos died"):
        list(predictions(testing.model.eval(), testing.loader, workers=1))
