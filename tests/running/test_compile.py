"""Every method's step goes into one graph for any length of video; only fixed shapes go into a CUDA graph."""

from __future__ import annotations

import logging
from itertools import islice, pairwise

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.steps import RECIPES, batches, begin, epochs_of, fresh, videos_of
from wtal_bench.cli import main
from wtal_bench.data.sampling import build_sampling
from wtal_bench.errors import ConfigError
from wtal_bench.running.config import load_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.graph import check_graph
from wtal_bench.running.loader import Gather
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.runner import _training_pass

WITHIN = ("acm_net_synthetic", "bm_synthetic", "rskp_synthetic", "stpn_embedding_synthetic")
"""What these are made of is in others' graphs: FTCL is ACM-Net and two losses, GauFuse RSKP and its labels."""

SHORTER = {"ftcl_synthetic": ["model.losses.lcs.selection.length=3", "model.losses.fsd.selection.length=3"]}
"""A compiler unrolls both tables along their 2 x length - 1 diagonals, all alike: 5 hold first, last and others."""

TRACED = [recipe for recipe in RECIPES if recipe not in WITHIN]


def parts_of(node) -> set[str]:
    """Types of all that makes fields or losses; decoding is no part of a step."""
    if not isinstance(node, dict):
        return set()
    own = {node["type"]} if isinstance(node.get("type"), str) else set()
    return own.union(*(parts_of(value) for key, value in node.items() if key != "postprocessor"))


@pytest.fixture(autouse=True)
def _forget_graphs(monkeypatch):
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "handlers", [])  # it writes a page for every symbol
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "recipe", [pytest.param(r, marks=pytest.mark.slow) if r in ("ftcl_synthetic", "gaufuse_synthetic") else r
               for r in TRACED],
)  # fmt: skip
def test_compute_and_losses_are_one_graph_for_every_length(recipe):
    """`fullgraph=True` refuses any graph break. Dropout is off: a compiler draws its own random numbers."""
    config = load_config(recipe, SHORTER.get(recipe, ()))
    (*_, epoch) = epochs_of(config)
    model = check_model(config)
    begin(model, config, epoch)
    model.train().losses(next(batches(config, epoch)))  # what is made in the first step
    model.eval()
    memory = {name: value.clone() for name, value in model.named_buffers()}
    counter = CompileCounter()
    compiled = torch.compile(model.losses, dynamic=True, fullgraph=True, backend=counter)
    for batch in batches(config, epoch):
        expected = model.losses(fresh(batch))
        ours = compiled(fresh(batch))
        assert set(ours) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    assert all(torch.equal(value, memory[name]) for name, value in model.named_buffers())
    assert counter.frame_count <= 1 + 2, f"{counter.frame_count - 1} recompiles over an epoch"


GENERATIONS = [
    "model.heads.labels.generations=[1,2,3]",
    "model.heads.labels.schedule=[(1,'absolute',1.0),(3,'delta',2.0)]",
    "model.heads.labels.temperatures=0.02",
    "model.backbone.dropout_in_passes=[1,2,3]",
    "model.heads.memory.start=0",
    "model.heads.memory.clear_at=[1,2,3]",
    "train.lr_schedule=[]",
]


@pytest.mark.slow
def test_labels_made_anew_while_training_go_into_the_same_graph():
    """Compiled before the first step and in training mode, as `runtime.compile` does it, over three generations."""
    config = load_config("gaufuse_synthetic", GENERATIONS)
    model = check_model(config).train()
    passes = _training_pass(model, Gather(videos_of(config), build_sampling("whole"), 0), torch.device("cpu"))
    counter, graphs = CompileCounter(), []
    compiled = torch.compile(model.losses, dynamic=True, fullgraph=True, backend=counter)
    for epoch in range(5):
        model.begin_epoch(epoch, passes(epoch))
        for batch in islice(batches(config, epoch), 2):
            compiled(fresh(batch))
        graphs.append(counter.frame_count)
    assert max(b - a for a, b in pairwise([0, *graphs])) <= 1 + 2, graphs
    assert graphs[-1] == graphs[-2], "an epoch with nothing new needs no new graph"


def test_every_part_of_a_recipe_is_in_a_graph():
    parts = {recipe: parts_of(load_config(recipe).model) for recipe in RECIPES}
    assert min(map(len, parts.values())) > 2
    assert set().union(*parts.values()) == set().union(*(parts[recipe] for recipe in TRACED))


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [("fac_net_synthetic", "train.sampling='whole' gives videos of different lengths"),
     ("wtalc_synthetic", "gives videos of different lengths"),
     ("bges_ten_synthetic", "model.views.tcb draws from the host's seed"),
     ("ecm_synthetic", "torch sees no GPU here"), ("acm_net_synthetic", "torch sees no GPU here"),
     ("ftcl_synthetic", "torch sees no GPU here")],
)  # fmt: skip
def test_what_cannot_be_captured_in_a_cuda_graph_is_refused_with_the_reason(recipe, reason):
    config = load_config(recipe)
    videos = open_data(config.data, "cpu", config.path).training(config.data.missing)
    with pytest.raises(ConfigError, match=r"runtime\.cuda_graph=True: the training step cannot be captured") as caught:
        check_graph(check_model(config), videos, config, torch.device("cpu"), 1)
    assert reason in str(caught.value)


def test_a_loss_that_reads_a_value_is_refused_a_cuda_graph():
    config = load_config("ecm_synthetic")
    model = check_model(config)
    part, _ = next(iter(model.weighted_losses()))
    plain = type(part.component).__call__

    class Reading(type(part.component)):
        def __call__(self, outputs, batch):
            float(outputs["video_logits"].sum())
            return plain(self, outputs, batch)

    part.component.__class__ = Reading
    videos = open_data(config.data, "cpu", config.path).training(config.data.missing)
    with pytest.raises(ConfigError, match="asks the device for a value"):
        check_graph(model, videos, config, torch.device("cpu"), 1)


def test_the_command_line_says_why_a_run_is_refused(capsys):
    assert main(["train", "fac_net_synthetic", "--dry-run", "--cfg-options", "runtime.cuda_graph=True"]) == 2
    assert "the shapes change from step to step" in capsys.readouterr().err
