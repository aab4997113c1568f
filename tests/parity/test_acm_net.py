"""ACM-Net against numbers of the authors' network and loss: outputs, losses, gradients, ties and hinges included."""

from __future__ import annotations

import pytest

from tests.helpers import golden_files, load_golden
from tests.parity.acm import assert_gradients, build, network_outputs
from tests.parity.host_files import assert_near, batch_of


@pytest.mark.parametrize("path", golden_files("ftcl", "acmnet_case*.npz"))
def test_network_losses_and_gradients(path):
    data = load_golden(path)
    model, batch = build(data), batch_of(data["in/features"], data["in/labels"])
    outputs = model.compute(batch)
    for name, value in network_outputs(outputs).items():
        assert_near(value, data[f"out/{name}"], what=name)
    losses = model.losses(batch, outputs)
    for name in ("cls_inst", "cls_cont", "cls_back", "guide", "feat", "sparse", "total"):
        assert_near(losses[name], data[f"loss/{name}"], what=name)
    assert_gradients(model, losses["total"], data)
    assert_near(batch.features.grad, data["grad/features"], what="grad/features")
