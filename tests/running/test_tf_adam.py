"""TensorFlow's Adam against its formula; where eps matters torch's own differs; resuming repeats it."""

from __future__ import annotations

import copy

import pytest
import torch

from wtal_bench.running.optim import build_optimizer
from wtal_bench.running.settings import Train
from wtal_bench.running.tf_adam import TFAdam

LR, BETAS, EPS = 0.01, (0.8, 0.95), 1e-3


def gradients(steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [1e-3 * torch.randn(5, generator=generator, dtype=torch.float64) for _ in range(steps)]


def run(kind, steps: int, **more) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    weight = torch.nn.Parameter(torch.ones(5, dtype=torch.float64))
    optimizer = kind([weight], lr=LR, betas=BETAS, eps=EPS, **more)
    for gradient in gradients(steps):
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach(), optimizer


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_every_step_is_the_formula(decay):
    weight, m, v = (torch.full((5,), x, dtype=torch.float64) for x in (1.0, 0.0, 0.0))
    (b1, b2) = BETAS
    for t, gradient in enumerate(gradients(7), start=1):
        gradient = gradient + decay * weight
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        weight = weight - LR * (1 - b2**t) ** 0.5 / (1 - b1**t) * m / (v.sqrt() + EPS)
        ours, optimizer = run(TFAdam, t, weight_decay=decay)
        torch.testing.assert_close(ours, weight, rtol=0, atol=1e-14)
    assert optimizer.param_groups[0]["eps"] == EPS
    plain, _ = run(torch.optim.Adam, 7, weight_decay=decay)
    assert (plain - weight).abs().max() > 1e-3


def test_it_goes_on_from_a_saved_state():
    whole, _ = run(TFAdam, 6)
    weight, first = run(TFAdam, 3)
    weight = torch.nn.Parameter(weight.clone())
    second = TFAdam([weight], lr=LR, betas=BETAS, eps=EPS)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for gradient in gradients(6)[3:]:
        weight.grad = gradient.clone()
        second.step()
    assert torch.equal(weight.detach(), whole)


@pytest.mark.parametrize("optimizer", ["TFAdam", {"type": "TFAdam", "betas": BETAS, "eps": EPS}])
def test_a_config_names_it(optimizer):
    own = {} if isinstance(optimizer, dict) else {"betas": BETAS, "eps": EPS}
    made = build_optimizer([torch.nn.Parameter(torch.ones(3))], Train(lr=LR, epochs=1, optimizer=optimizer, **own))
    assert isinstance(made, TFAdam)
    assert (made.defaults["lr"], made.defaults["betas"], made.defaults["eps"]) == (LR, BETAS, EPS)
