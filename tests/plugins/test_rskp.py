"""RSKP beside the golden numbers: the exact walk, batches against single videos, the memory's turns, its processes."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests.helpers import REPOSITORY
from tests.processes import run_ranks
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.running.config import load_config
from wtal_bench.testing import random_batch
from wtal_plugins.rskp import products
from wtal_plugins.rskp.embedding import Embedding
from wtal_plugins.rskp.examples import memory as memory_example
from wtal_plugins.rskp.examples import memory_of_slot_zero, official
from wtal_plugins.rskp.heads import Propagation
from wtal_plugins.rskp.losses import AttentionContrast, Distillation
from wtal_plugins.rskp.memory import Memory
from wtal_plugins.rskp.propagation import NORM_EPSILON, Snippets, unit_rows, walk

LENGTHS = (13, 1, 40, 21)


def snippets(length: int, width: int = 6, seed: int = 0) -> tuple[torch.Tensor, Snippets]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, length, width, generator=generator, dtype=torch.float64).requires_grad_()
    return x, Snippets(x, torch.ones(1, length, dtype=torch.bool))


def plain_walk(x: torch.Tensor, vectors: torch.Tensor, weight: float) -> torch.Tensor:
    """The T x T inverse, as the authors write it; x [T,D], vectors [K,D]."""
    z = torch.softmax(5 * unit_rows(vectors) @ unit_rows(x).T, dim=0)
    zn = z / (z.sum(dim=1, keepdim=True) + NORM_EPSILON)
    step = weight**2 * z.T @ zn
    return (1 - weight) * torch.linalg.inv(torch.eye(len(x), dtype=x.dtype) - step) @ (weight * z.T @ vectors + x)


@pytest.mark.parametrize("kind", ["random", "repeated", "empty bank"])
@pytest.mark.parametrize("length", [1, 2, 30])
def test_walk_equals_the_inverse_of_a_t_by_t_matrix(kind, length):
    x, video = snippets(length)
    vectors = torch.rand(8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vectors = {"random": vectors, "repeated": vectors[:4].repeat(2, 1), "empty bank": 0 * vectors}[kind]
    vectors.requires_grad_()
    walked = walk(video, vectors.unsqueeze(0), 0.5)
    expected = plain_walk(x[0], vectors, 0.5)
    torch.testing.assert_close(walked.dense()[0], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(walked.norm[0], expected.norm(dim=1), rtol=1e-12, atol=1e-12)
    rows = torch.rand(5, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    cosines = unit_rows(expected) @ unit_rows(rows).T
    torch.testing.assert_close(walked.cosines(rows)[0], cosines, rtol=1e-12, atol=1e-12)
    weights = torch.rand(1, length, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(walked.pool(weights)[0], weights[0].T @ expected, rtol=1e-12, atol=1e-12)

    probe = torch.rand(expected.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    ours = torch.autograd.grad((walked.dense()[0] * probe).sum(), (x, vectors), retain_graph=True)
    theirs = torch.autograd.grad((expected * probe).sum(), (x, vectors))
    # the direction of a zero vector is 0 / 1e-9, so its gradient is rounding times 1e9; a bank takes none anyway
    for mine, other in list(zip(ours, theirs))[: 1 if kind == "empty bank" else 2]:
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_vectors_a_video_does_not_have_change_nothing():
    x, video = snippets(9)
    vectors = torch.rand(1, 8, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    real = torch.arange(8).unsqueeze(0) < 5
    full = walk(video, torch.where(real.unsqueeze(-1), vectors, torch.full_like(vectors, 7.0)), 0.5, real)
    torch.testing.assert_close(full.dense(), walk(video, vectors[:, :5], 0.5).dense(), rtol=0, atol=1e-14)
    none = walk(video, vectors, 0.5, torch.zeros_like(real))
    torch.testing.assert_close(none.dense(), 0.5 * x, rtol=0, atol=1e-15)


def a_model(example, **memory):
    torch.manual_seed(0)
    config = copy.deepcopy(example().model)
    config["backbone"]["dropout"] = 0.0
    config["heads"]["memory"] |= memory
    return build_model(config, "test").double().train()


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    """Some videos of a batch, without the padding they do not need."""
    longest = int(batch.mask[rows].sum(dim=1).max())
    return replace(
        batch,
        features=batch.features[rows, :longest],
        mask=batch.mask[rows, :longest],
        labels=batch.labels[rows],
        index=batch.index[rows],
        meta=tuple(batch.meta[row] for row in rows),
        snippet_index=batch.snippet_index[rows, :longest],
    )


@pytest.mark.parametrize("example", [memory_example, memory_of_slot_zero])
def test_a_training_step_on_a_batch_equals_its_videos_one_by_one(example):
    """Losses, gradients and memory: videos of a mini-batch take their turns as in a loop over them."""
    together, single = a_model(example), a_model(example)
    batch = random_batch(LENGTHS)
    loss = together.losses(batch)["total"] * len(batch)
    loss.backward()
    total = torch.stack([single.losses(rows_of(batch, [i]))["total"] for i in range(len(batch))]).sum()
    total.backward()
    torch.testing.assert_close(loss, total, rtol=1e-12, atol=1e-12)
    for (name, ours), theirs in zip(together.named_parameters(), single.parameters()):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10, msg=name)
    for name in ("bank", "bank_scores"):
        ours, theirs = (getattr(m.heads["memory"], name) for m in (together, single))
        assert ours.any()
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_the_order_of_the_videos_matters_to_the_memory_alone():
    forward, backward = a_model(memory_example), a_model(memory_example)
    batch = random_batch((12, 12, 12))
    batch = replace(batch, labels=torch.tensor([[1.0, 0, 0]] * 3, dtype=torch.float64))
    first, second = forward.compute(batch), backward.compute(rows_of(batch, [2, 1, 0]))
    torch.testing.assert_close(first["m.cas"], second["m.cas"].flip(0), rtol=0, atol=1e-13)
    assert (first["r.cas"] - second["r.cas"].flip(0)).abs().max() > 1e-4
    banks = [m.heads["memory"].bank_scores.sort().values for m in (forward, backward)]
    torch.testing.assert_close(*banks, rtol=0, atol=1e-14)


def test_memory_is_only_read_outside_training_steps():
    model = a_model(memory_example)
    with torch.no_grad():
        model.compute(random_batch(LENGTHS))
    model.eval().compute(random_batch(LENGTHS))
    assert not model.heads["memory"].bank.any()


def test_memory_keeps_the_best_and_empties_when_told():
    head = Memory(channels=2, num_classes=2, size=3, start=1, clear_at=[4])
    scores = torch.tensor([[0.1, 0.9], [0.3, 0.2], [0.2, 0.1], [0.4, 0.0]])
    vectors = torch.arange(8.0).reshape(4, 2)
    head.store([0], vectors, scores)
    assert head.bank_scores[0].tolist() == pytest.approx([0.4, 0.3, 0.2])
    assert head.bank[0].tolist() == [[6, 7], [2, 3], [4, 5]]
    assert not head.bank[1].any()
    head.begin_epoch(3, None)
    assert head.bank.any()
    head.begin_epoch(4, None)
    assert not head.bank.any()
    assert not head.bank_scores.any()


def test_fill_pass_goes_by_class_even_where_training_uses_slot_zero():
    model = a_model(memory_of_slot_zero, start=2)
    head, batch = model.heads["memory"], random_batch(LENGTHS)

    def training_pass():
        with torch.no_grad():
            for i in range(len(batch)):
                yield model.compute(rows_of(batch, [i])), rows_of(batch, [i])

    head.begin_epoch(1, training_pass)
    assert not head.bank.any()
    head.begin_epoch(2, training_pass)
    filled = head.bank_scores.sum(dim=1) > 0
    assert filled.tolist() == batch.labels.any(dim=0).tolist()
    assert head.slots(batch.labels) == [[0] * int(row.sum()) for row in batch.labels]


def test_a_video_without_tags_walks_without_memory():
    model = a_model(memory_example)
    batch = random_batch(LENGTHS)
    model.compute(batch)
    batch = replace(batch, labels=torch.zeros_like(batch.labels))
    outputs = model.compute(batch)
    assert torch.isfinite(outputs["r.cas"]).all()
    # x' = x / 2 points where x points
    torch.testing.assert_close(outputs["r.cas"], outputs["cas"], rtol=1e-7, atol=1e-7)


def test_before_the_memory_begins_branch_r_teaches_nothing():
    model = a_model(official)
    outputs = model.compute(random_batch(LENGTHS))
    assert torch.equal(outputs["teacher_logits"], outputs["m.cas"])
    assert not outputs["r.video_logits"].requires_grad


# ---- several processes ----


def half_of_a_step(rank: int, world: int, address: str, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=world)
    torch.set_num_threads(1)
    model = a_model(memory_example)
    rows = list(range(len(LENGTHS)))[rank::world]
    seen = []
    for seed in (0, 1):
        batch = random_batch(LENGTHS, seed=seed)
        seen.append(model.compute(rows_of(batch, rows))["r.video_logits"].detach())
    # a step with one video: the other rank computes it too, and counts it zero times
    last = rows_of(random_batch(LENGTHS, seed=2), [2])
    model.compute(last if rank == 0 else replace(last, share=0.0))
    memory = model.heads["memory"]
    torch.save({"seen": seen, "bank": memory.bank, "scores": memory.bank_scores}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_keep_the_memory_of_one(tmp_path):
    run_ranks(half_of_a_step, tmp_path)
    model = a_model(memory_example)
    seen = [model.compute(random_batch(LENGTHS, seed=seed))["r.video_logits"].detach() for seed in (0, 1)]
    model.compute(rows_of(random_batch(LENGTHS, seed=2), [2]))
    for rank in range(2):
        theirs = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for ours, other in zip(seen, theirs["seen"]):
            torch.testing.assert_close(ours[rank::2], other, rtol=0, atol=1e-12)
        torch.testing.assert_close(model.heads["memory"].bank, theirs["bank"], rtol=0, atol=1e-12)
        torch.testing.assert_close(model.heads["memory"].bank_scores, theirs["scores"], rtol=0, atol=1e-12)


# ---- dropout while labelling ----


def test_dropout_stays_on_in_the_passes_of_its_epochs_and_repeats_after_resuming():
    features, mask = torch.rand(2, 9, 4), torch.tensor([[True] * 9, [True] * 5 + [False] * 4])
    layer = Embedding(4, 16, dropout=0.6, dropout_in_passes=[3, 5]).eval()
    again = Embedding(4, 16, dropout=0.6, dropout_in_passes=[3, 5]).eval()
    again.load_state_dict(layer.state_dict())

    def dropped(module: Embedding, epoch: int) -> torch.Tensor:
        module.begin_epoch(epoch, None)
        return module(features, mask)["dropped_embedding"].detach()

    plain = layer(features, mask)["embedding"].detach()
    assert torch.equal(dropped(layer, 2), plain)
    third, fifth = dropped(layer, 3), dropped(layer, 5)
    kept = third != 0
    torch.testing.assert_close(third[kept], plain[kept] / 0.4)
    positive = plain > 0
    assert 0.2 < kept[positive].float().mean() < 0.6
    assert not torch.equal(third, fifth)
    assert torch.equal(dropped(again, 3), third)
    layer.begin_epoch(3, None)
    layer.train()(features, mask)
    assert torch.equal(layer.eval()(features, mask)["dropped_embedding"], plain)


# ---- configs ----


@pytest.mark.parametrize("name", ["rskp_thumos.py", "rskp_anet13.py", "rskp_synthetic.py"])
def test_published_configs_build_with_the_sizes_of_their_data(name):
    config = load_config(REPOSITORY / "configs" / name)
    classes = {"thumos": 20, "anet13": 200, "synthetic": 10}[name.split("_")[1].removesuffix(".py")]
    config.model["backbone"] |= dict(channels=4)
    for head in config.model["heads"].values():
        head |= dict(channels=4)
    model = build_model(config.model, name)
    assert len(model.heads["classifier"].ac_center) == classes + 1
    assert model.heads["memory"].bank.shape[:2] == (classes, 5)
    assert config.model["postprocessor"]["num_classes"] == classes
    assert (config.train.grad_reduction, tuple(config.train.betas)) == ("sum", (0.9, 0.99))


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (Memory, dict(channels=2, num_classes=2, slot="labels"), r"slot='labels'.*Did you mean 'label'"),
        (
            Memory,
            dict(channels=2, num_classes=2, teacher_share=1.2),
            r"teacher_share must lie in \[0, 1\], got 1\.2",
        ),
        (Propagation, dict(channels=2, score_share=-0.1), r"score_share must lie in \[0, 1\], got -0\.1"),
        (Propagation, dict(channels=2, walk_weight=2), r"walk_weight must lie in \[0, 1\], got 2"),
        (Distillation, dict(temperature=0), "temperature=0 must be positive"),
        (AttentionContrast, dict(divisor=0), "divisor=0 must be an integer of at least 1"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, words):
    with pytest.raises(ConfigError, match=words):
        kind(**settings)


# ---- a GPU's way of working ----


def loss_and_gradients(model, batch: Batch) -> dict[str, torch.Tensor]:
    loss = model.losses(batch)["total"]
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad for name, p in model.named_parameters()}}


def test_padded_products_equal_those_on_real_rows(monkeypatch):
    """What runs on a GPU: one product over the padded mini-batch instead of one a video."""
    batch = random_batch(LENGTHS, padding=5)
    rows = loss_and_gradients(a_model(memory_example), batch)
    monkeypatch.setattr(
        products._Ledger, "lengths", property(lambda self: None, lambda self, value: None), raising=False
    )
    padded = loss_and_gradients(a_model(memory_example), batch)
    for name, value in rows.items():
        torch.testing.assert_close(padded[name], value, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_a_step_on_the_gpu_equals_one_on_the_cpu():
    batch = random_batch(LENGTHS)
    models = [a_model(memory_example), a_model(memory_example).cuda()]
    here, there = (loss_and_gradients(m, batch.to(d)) for m, d in zip(models, ("cpu", "cuda")))
    for name, value in here.items():
        torch.testing.assert_close(there[name].cpu(), value, rtol=1e-8, atol=1e-8, msg=name)
    banks = [m.heads["memory"].bank.cpu() for m in models]
    torch.testing.assert_close(*banks, rtol=0, atol=1e-10)
