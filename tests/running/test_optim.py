"""Optimisers by name: torch's own arguments, refusals with a reason, and the same training as torch alone."""

from __future__ import annotations

import inspect

import pytest
import torch

from tests.running.conftest import tiny_config
from tests.running.test_training import assert_equal, run
from wtal_bench.errors import ConfigError
from wtal_bench.running.config import check_config
from wtal_bench.running.optim import build_optimizer, torch_optimizers

TAKEN = sorted(set(torch_optimizers()) - {"LBFGS", "SparseAdam", "Muon"})  # Muon takes matrices alone


def refused(dataset, **train) -> str:
    with pytest.raises(ConfigError) as caught:
        check_config(tiny_config(dataset, **train), "my.py")
    return str(caught.value)


@pytest.mark.parametrize("name", TAKEN)
def test_every_class_of_torch_trains_and_resumes_exactly(dataset, tmp_path, name):
    settings = {"optimizer": {"type": name}, "epochs": 2}
    straight = run(tiny_config(dataset, **settings), tmp_path / "straight")[1]
    run(tiny_config(dataset, **settings | {"epochs": 1}), tmp_path / "resumed")
    assert_equal(straight, run(tiny_config(dataset, **settings), tmp_path / "resumed", resume=True)[1])


@pytest.mark.parametrize(
    ("dict_", "plain"),
    [
        ({"type": "Adam", "betas": (0.8, 0.99), "eps": 1e-6}, {"optimizer": "Adam", "betas": (0.8, 0.99), "eps": 1e-6}),
        ({"type": "AdamW"}, {"optimizer": "AdamW"}),
        ({"type": "SGD", "momentum": 0.9}, {"optimizer": "SGD", "momentum": 0.9}),
    ],
)
def test_a_dict_of_a_named_optimiser_is_that_optimiser(dataset, tmp_path, dict_, plain):
    """Weight decay is train's in both: AdamW's own default of 0.01 is not taken unseen."""
    for decay in (0.0, 0.02):
        ours = run(tiny_config(dataset, epochs=1, optimizer=dict_, weight_decay=decay), tmp_path / f"a{decay}")[1]
        theirs = run(tiny_config(dataset, epochs=1, weight_decay=decay, **plain), tmp_path / f"b{decay}")[1]
        assert_equal(ours, theirs)


def test_arguments_reach_the_class(dataset):
    made = tiny_config(dataset, optimizer={"type": "RMSprop", "alpha": 0.9, "centered": True}, lr=0.3, weight_decay=0.1)
    optimizer = build_optimizer([torch.nn.Parameter(torch.zeros(2))], check_config(made, "my.py").train)
    assert type(optimizer) is torch.optim.RMSprop
    group = optimizer.param_groups[0]
    assert (group["alpha"], group["centered"], group["lr"], group["weight_decay"]) == (0.9, True, 0.3, 0.1)


REFUSED = [
    ({"optimizer": {"type": "RMSporp"}}, "train.optimizer.type='RMSporp'. Did you mean 'RMSprop'?"),
    ({"optimizer": {"type": "torch.optim.Adam"}}, "train.optimizer.type='torch.optim.Adam'"),
    ({"optimizer": {"type": "lr_scheduler"}}, "train.optimizer.type='lr_scheduler'"),
    ({"optimizer": {"type": "Optimizer"}}, "train.optimizer.type='Optimizer'"),
    ({"optimizer": {"alpha": 0.9}}, "train.optimizer.type=None"),
    ({"optimizer": {"type": "RMSprop", "alpa": 0.9}}, "has no argument 'alpa'. Did you mean 'alpha'?"),
    ({"optimizer": {"type": "RMSprop", "params": []}}, "has no argument 'params'"),
    ({"optimizer": {"type": "RMSprop", "alpha": "x"}}, "train.optimizer (RMSprop):"),
    ({"optimizer": {"type": "NAdam", "betas": (3, 0.9)}}, "Invalid beta parameter"),
    ({"optimizer": {"type": "Adam", "betas": (0.9,)}}, "train.optimizer (Adam): "),
    ({"optimizer": {"type": "Adam", "betas": (0.9, 0.99, 0.9)}}, "train.optimizer (Adam): its arguments cannot make a"),
    (
        {"optimizer": {"type": "ASGD", "t0": "x"}},
        "train.optimizer (ASGD): its arguments cannot make a step: unsupported",
    ),
    ({"optimizer": {"type": "Adam", "capturable": True}}, "has no argument 'capturable'"),
    ({"optimizer": {"type": "Adam", "differentiable": True}}, "has no argument 'differentiable'"),
    ({"optimizer": {"type": "LBFGS"}}, "through a closure"),
    ({"optimizer": {"type": "SparseAdam"}}, "sparse gradients"),
    ({"optimizer": {"type": "Adam", "lr": 0.1}}, "train.optimizer.lr: write it as train.lr"),
    ({"optimizer": {"type": "Adam", "weight_decay": 0.1}}, "write it as train.weight_decay"),
    ({"optimizer": {"type": "Rprop"}, "weight_decay": 0.1}, "Rprop has no weight decay"),
    ({"optimizer": {"type": "NAdam"}, "betas": (0.8, 0.9)}, "write dict(..., betas=(0.8, 0.9))"),
    ({"optimizer": {"type": "RMSprop"}, "momentum": 0.5}, "write dict(..., momentum=0.5)"),
    ({"optimizer": "RMSprop"}, "any other class of torch.optim as a dict"),
]


@pytest.mark.parametrize(("train", "expected"), REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_what_cannot_train_is_refused_with_the_reason(dataset, train, expected):
    text = refused(dataset, **train)
    assert text.startswith("my.py: train.optimizer")
    assert expected in text


def test_only_those_that_need_a_closure_or_sparse_gradients_are_left_out():
    closures = {
        name for name, kind in torch_optimizers().items()
        if inspect.signature(kind.step).parameters["closure"].default is inspect.Parameter.empty
    }  # fmt: skip
    assert closures == {"LBFGS"}


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_an_optimiser_that_refuses_the_model_s_parameters_says_so_before_training(dataset, tmp_path):
    with pytest.raises(ConfigError, match=r"test: train\.optimizer \(Muon\): Muon only supports 2D parameters"):
        run(tiny_config(dataset, optimizer={"type": "Muon"}), tmp_path / "run")
