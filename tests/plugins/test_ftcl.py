"""FTCL's losses beyond the golden numbers: selection, contrasts, gradients, other hosts, mistakes, configs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from wtal_bench.errors import ConfigError, DataError
from wtal_bench.modeling.build import build_model
from wtal_bench.plugins import registry
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.config import load_config
from wtal_bench.testing import random_batch
from wtal_plugins.ftcl.examples import official
from wtal_plugins.ftcl.losses import FSD, LCS
from wtal_plugins.ftcl.sequences import Selection

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TWO = dict(length=2)


def selection(compare="proposals", length=2, background="next", score="attention", gather="plain", short="shorten"):
    return Selection(compare, length, background, score, gather, short)


def hand_made(lengths=(9, 7, 8, 1), width=3, pairs=((0, 1), (0, 2)), same=(1.0, 0.0), seed=0):
    """Outputs of a host and a batch."""
    generator = torch.Generator().manual_seed(seed)
    batch = random_batch(lengths, classes=3)
    batch = replace(batch, pairs=torch.tensor(pairs), pair_same=torch.tensor(same, dtype=torch.float64))
    shape = batch.mask.shape
    outputs = {
        "embedding": torch.rand(*shape, width, generator=generator, dtype=torch.float64).requires_grad_(),
        "attention": torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_(),
        "cas": torch.randn(*shape, 4, generator=generator, dtype=torch.float64).requires_grad_(),
    }
    return outputs, batch


# ---- which snippets ----


def test_snippets_come_in_temporal_order_and_background_is_the_next_ranks():
    score = torch.tensor([[0.1, 0.9, 0.3, 0.8, 0.5, 0.4, 0.2]])
    action, background = selection().sequences(score, random_batch([7]))
    assert action.index.tolist() == [[1, 3]]
    assert background.index.tolist() == [[4, 5]]
    (top,) = selection("top", 4).sequences(score, random_batch([7]))
    assert top.index.tolist() == [[1, 3, 4, 5]]
    assert selection(background="lowest").sequences(score, random_batch([7]))[1].index.tolist() == [[0, 6]]


def test_of_equal_scores_the_earliest_rank_first():
    action, background = selection().sequences(torch.zeros(1, 6), random_batch([6]))
    assert (action.index.tolist(), background.index.tolist()) == ([[0, 1]], [[2, 3]])
    assert selection(background="lowest").sequences(torch.zeros(1, 6), random_batch([6]))[1].index.tolist() == [[4, 5]]


def test_short_videos_shorten_their_sequences():
    batch = random_batch([7, 3, 1])
    score = torch.arange(7.0).repeat(3, 1)
    for background in ("next", "lowest"):
        found = selection(background=background).sequences(score, batch)
        assert [snippets.length.tolist() for snippets in found] == [[2, 1, 0], [2, 1, 0]]
        assert [snippets.index[1, 0].item() for snippets in found] == [2, {"next": 1, "lowest": 0}[background]]
    (top,) = selection("top", 5).sequences(score, batch)
    assert top.length.tolist() == [5, 3, 1]
    assert top.index[1, :3].tolist() == [0, 1, 2]


def test_short_videos_can_be_refused_by_name():
    with pytest.raises(DataError, match=r"video1 \(3\).*2 x length = 4.*short='shorten'"):
        selection(short="refuse").sequences(torch.zeros(2, 7), random_batch([7, 3]))
    with pytest.raises(DataError, match=r"needed: length = 4"):
        selection("top", 4, short="refuse").sequences(torch.zeros(2, 7), random_batch([7, 3]))
    selection(short="refuse").sequences(torch.zeros(2, 7), random_batch([7, 4]))


def test_scores_from_class_logits():
    outputs, batch = hand_made()
    cas, tags = outputs["cas"], batch.labels
    probability = cas.softmax(-1)
    expected = {
        "cas_sum": cas[..., :3].relu().sum(-1),
        "cas_max": probability[..., :3].amax(-1),
        "cas_tags": (probability[..., :3] * tags.unsqueeze(1)).sum(-1) / tags.sum(1, keepdim=True),
        "norm": outputs["embedding"].norm(dim=-1),
        "attention": outputs["attention"],
    }
    for kind, value in expected.items():
        torch.testing.assert_close(selection(score=kind).score(outputs, batch), value)


# ---- contrasts ----


def test_group_means_are_subtracted_and_an_empty_group_counts_nothing():
    outputs, batch = hand_made(pairs=((0, 1), (1, 2), (0, 2)), same=(1.0, 1.0, 0.0))
    loss = LCS(tau=0.8, selection=dict(length=5))
    value = loss(outputs, batch)["contrast"]
    compared = loss.compared(outputs, batch)
    r = loss.similarity(compared)[0]
    torch.testing.assert_close(value, r[2] - r[:2].mean(), rtol=1e-8, atol=1e-9)
    only_same = replace(batch, pairs=batch.pairs[:2], pair_same=batch.pair_same[:2])
    torch.testing.assert_close(loss(outputs, only_same)["contrast"], -r[:2].mean(), rtol=1e-8, atol=1e-9)
    only_different = replace(batch, pairs=batch.pairs[2:], pair_same=batch.pair_same[2:])
    torch.testing.assert_close(loss(outputs, only_different)["contrast"], r[2], rtol=1e-8, atol=1e-9)


def test_pairs_of_different_tags_compare_action_with_the_background_of_the_second_video():
    outputs, batch = hand_made()
    loss = FSD(channels=3, proj_dim=2, selection=TWO)
    score = outputs["attention"]
    action, background = loss.selection.sequences(score, batch)
    compared = loss.compared(outputs, batch)
    x = outputs["embedding"]
    assert torch.equal(compared.u[0], x[0, action.index[0]])
    assert torch.equal(compared.v[0], x[1, action.index[1]])
    assert torch.equal(compared.v[1], x[2, background.index[2]])


def test_the_ranking_loss_is_equation_4():
    outputs, batch = hand_made(pairs=((0, 1), (0, 2), (2, 1)), same=(1.0, 0.0, 1.0))
    torch.manual_seed(0)
    loss = FSD(channels=3, proj_dim=2, selection=TWO, loss="rank", margin=0.3, smoothmax="hard").double()
    action, background = loss.selection.sequences(outputs["attention"], batch)

    def similarity(first, second, rows):
        u, v = (outputs["embedding"][row, of.index[row]] for row, of in zip(rows, (first, second)))
        mu, g = loss.residuals(u.unsqueeze(0), v.unsqueeze(0))
        table = torch.zeros(3, 3, dtype=torch.float64)
        for i in range(2):
            for j in range(2):
                ways = (table[i, j], g[0, i, j] + table[i, j + 1], g[0, i, j] + table[i + 1, j])
                table[i + 1, j + 1] = mu[0, i, j] + max(ways)
        return table[2, 2]

    expected = 0.0
    for rows in ((0, 1), (2, 1)):
        same = similarity(action, action, rows)
        for other in (similarity(action, background, rows), similarity(background, action, rows)):
            expected += max(0.0, (0.3 + other - same).item()) / 2
    assert expected > 0
    assert loss(outputs, batch)["contrast"].item() == pytest.approx(expected)


def test_the_cross_entropy_is_equation_7_with_the_minus():
    outputs, batch = hand_made(lengths=(9, 3, 8, 2))
    loss = LCS(tau=0.7, selection=dict(length=5), loss="bce")
    compared = loss.compared(outputs, batch)
    r = loss.similarity(compared)[0].detach()
    share = (r / torch.tensor([3.0, 5.0])).tolist()  # the shorter sequences: 3 of 3 snippets, 5 of 9
    assert all(0 < p < 1 for p in share)
    expected = -(np.log(share[0]) + np.log(1 - share[1])) / 2
    assert loss(outputs, batch)["contrast"].item() == pytest.approx(expected)


def test_without_any_match_the_cross_entropy_is_finite_and_has_no_gradient():
    outputs, batch = hand_made()
    value = LCS(tau=2.0, loss="bce")(outputs, batch)["contrast"]
    assert value.item() == pytest.approx(-np.log(1e-6) / 2, rel=1e-5)
    value.backward()
    assert not outputs["embedding"].grad.any()


@pytest.mark.parametrize(
    "loss", [FSD(3, 2, selection=TWO), FSD(3, 2, selection=TWO, loss="rank"), LCS(report_matched=True)]
)
def test_a_batch_without_pairs_gives_zero(loss):
    outputs, batch = hand_made()
    none = replace(batch, pairs=torch.zeros(0, 2, dtype=torch.long), pair_same=torch.zeros(0))
    made = loss(outputs, none)
    assert set(made) == set(loss.scalars)
    assert all(value.item() == 0 and value.dim() == 0 for value in made.values())


def test_ranking_without_a_pair_of_the_same_tags_gives_zero():
    outputs, batch = hand_made(same=(0.0, 0.0))
    assert FSD(3, 2, selection=TWO, loss="rank").double()(outputs, batch)["contrast"].item() == 0


@pytest.mark.parametrize("make", ["FSD", "DTW"])
def test_a_video_of_one_snippet_has_no_proposals_and_its_pairs_are_left_out(make):
    outputs, batch = hand_made(pairs=((0, 1), (3, 1), (0, 2), (0, 3)), same=(1.0, 1.0, 0.0, 0.0))
    torch.manual_seed(0)
    arguments = dict(channels=3, proj_dim=2) if make == "FSD" else {}
    loss = registry("loss").build(dict(type=f"ftcl.{make}", selection=TWO, **arguments), "test")
    loss = loss.double() if make == "FSD" else loss
    value = loss(outputs, batch)["contrast"]
    without = replace(batch, pairs=batch.pairs[[0, 2]], pair_same=batch.pair_same[[0, 2]])
    torch.testing.assert_close(value, loss(outputs, without)["contrast"])
    value.backward()
    assert torch.isfinite(outputs["embedding"].grad).all()
    assert not outputs["embedding"].grad[3].any()


def test_rescaling_comes_before_threshold_and_sum():
    outputs, batch = hand_made()
    plain, rescaled = LCS(tau=0.92), LCS(tau=0.92, rescale=dict(offset=0.8, gain=5.0))
    compared = plain.compared(outputs, batch)
    c, _ = plain.matches(compared)
    changed, match = rescaled.matches(compared)
    torch.testing.assert_close(changed, 5 * (c - 0.8).relu())
    assert torch.equal(match, changed > 0.92)


def test_threshold_strictness_and_quantile():
    outputs, batch = hand_made()
    compared = LCS().compared(outputs, batch)
    cosines = LCS().matches(compared)[0].detach()
    exactly = cosines[0, 1, 2].item()
    assert not LCS(tau=exactly).matches(compared)[1][0, 1, 2]
    assert LCS(tau=exactly, strict=False).matches(compared)[1][0, 1, 2]
    loss = LCS(tau="quantile:0.75", report_matched=True)
    assert loss(outputs, batch)["matched"].item() == pytest.approx(0.25, abs=0.02)
    own = loss.matches(compared)[1][compared.cells]
    assert own.double().mean().item() == pytest.approx(0.25, abs=0.02)


# ---- gradients ----


@pytest.mark.parametrize(("gather", "reached"), [("plain", False), ("weighted", True)])
def test_gradients_reach_the_score_only_when_weighted(gather, reached):
    model, batch = build(official()), random_batch([12, 15, 9, 20], pairs=True)
    outputs = model.compute(batch)
    outputs["attention"].retain_grad()
    torch.manual_seed(0)
    fsd = FSD(channels=6, proj_dim=4, selection=dict(gather=gather)).double()
    (
        fsd(outputs, batch)["contrast"] + LCS(tau=0.5, selection=dict(gather=gather))(outputs, batch)["contrast"]
    ).backward()
    assert (outputs["attention"].grad is not None and bool(outputs["attention"].grad.any())) == (
        reached and gather == "weighted"
    )
    assert model.backbone.embed.conv.weight.grad.any()
    assert fsd.trans.weight.grad.any()
    assert model.heads["classifier"].cls.weight.grad is None
    assert (model.heads["attention"].att.weight.grad is not None) == reached


def test_rows_of_zeros_give_no_nan():
    outputs, batch = hand_made()
    zeroed = outputs["embedding"].detach().clone()
    zeroed[0] = 0
    outputs["embedding"] = zeroed.requires_grad_()
    torch.manual_seed(0)
    for loss in (FSD(3, 2).double(), LCS(tau=0.5), LCS(tau=0.5, loss="bce"), registry("loss").get("ftcl.DTW")()):
        value = loss(outputs, batch)["contrast"]
        assert torch.isfinite(value)
        value.backward()
    assert torch.isfinite(zeroed.grad).all()


def build(example):
    torch.manual_seed(0)
    return build_model(example.model, "example").double().eval()


def test_pairs_in_one_batch_equal_each_pair_alone():
    model = build(official())
    lengths = (13, 40, 21, 1, 30, 64)
    same = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    pairs = torch.tensor([[0, 1], [2, 4], [1, 5], [5, 0]])
    together = replace(random_batch(lengths, padding=9), pairs=pairs, pair_same=same)
    joint = model.losses(together)
    (joint["fsd"] + joint["lcs.contrast"]).backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    totals = {"fsd": 0.0, "lcs.contrast": 0.0}
    for pair, positive in zip(pairs.tolist(), same):
        alone = random_batch(lengths, keep=pair)
        alone = replace(alone, pairs=torch.tensor([[0, 1]]), pair_same=positive.reshape(1))
        losses = model.losses(alone)
        for name in totals:
            totals[name] = totals[name] + losses[name] / 2  # two pairs in either group
    for name, value in totals.items():
        torch.testing.assert_close(joint[name], value, rtol=1e-9, atol=1e-9)
    sum(totals.values()).backward()
    for name, value in gradients.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, value, rtol=1e-9, atol=1e-9)


# ---- what was mined ----


def test_mined_subsequences_can_be_read():
    outputs, batch = hand_made(lengths=(20, 16, 12, 9))
    batch = replace(batch, snippet_index=batch.snippet_index * 3)
    loss = LCS(tau=0.8, selection=dict(length=8))
    found = loss.subsequences(outputs, batch)
    assert [sub.videos for sub in found] == [("video0", "video1"), ("video0", "video2")]
    r = loss.similarity(loss.compared(outputs, batch))[0]
    for sub, length in zip(found, r):
        assert len(sub.snippets) > 1
        assert (np.diff(sub.snippets, axis=0) > 0).all()  # in order, in both videos
        assert not (sub.snippets % 3).any()  # stored positions
        assert (sub.similarity > 0.8).all()
        assert sub.similarity.sum() == pytest.approx(length.item())


# ---- hosts ----


def on_host(host: dict, **losses) -> dict:
    host["losses"] = host["losses"] | losses
    return host


def test_both_losses_attach_to_a_host_without_attention():
    from wtal_plugins.ecm.examples import official as ecm

    lcs = dict(type="ftcl.LCS", tau=0.5, selection=dict(score="cas_sum"), weight=0.005)
    fsd = dict(type="ftcl.FSD", channels=6, proj_dim=4, selection=dict(score="cas_max"), weight=0.04)
    model = build_model(on_host(ecm().model, fsd=fsd, lcs=lcs), "host").double().eval()
    losses = model.losses(random_batch([20, 30, 9], pairs=True))
    assert torch.isfinite(losses["total"])
    losses["total"].backward()
    assert model.criteria["fsd"].trans.weight.grad.any()
    with pytest.raises(ConfigError, match=r"losses.lcs .LCS. reads `attention`"):
        build_model(on_host(ecm().model, lcs=dict(type="ftcl.LCS")), "host")
    mapped = dict(type="ftcl.LCS", reads=dict(attention="actionness"))
    with pytest.raises(ConfigError, match="reads `actionness`"):
        build_model(on_host(ecm().model, lcs=mapped), "host")


def test_both_losses_attach_to_every_stream_of_a_host():
    from wtal_plugins.fac_net.examples import official as fac_net

    model = fac_net().model
    model["member"]["backbone"]["embedding"] = True
    fsd = dict(type="ftcl.FSD", channels=6, proj_dim=4, selection=dict(score="cas_max"))
    on_host(model["member"], fsd=fsd, lcs=dict(type="ftcl.LCS", tau=0.5, selection=dict(score="cas_max")))
    built = build_model(model, "host").double().eval()
    assert "pairs" in built.needs
    losses = built.losses(random_batch([20, 30, 9], width=16, pairs=True))
    assert {"rgb.fsd", "flow.lcs"} <= set(losses)
    assert torch.isfinite(losses["total"])


# ---- mistakes ----


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(type="ftcl.FSD", channels=3, selection=dict(background="lowst")), "Did you mean 'lowest'"),
        (dict(type="ftcl.FSD", channels=3, smoothmax="soft"), "scaled, printed, hard"),
        (dict(type="ftcl.FSD", channels=3, activation="gelu"), "none, relu, sigmoid, tanh"),
        (dict(type="ftcl.FSD", channels=3, loss="bce"), "mean_diff, rank"),
        (
            dict(type="ftcl.FSD", channels=3, loss="rank", selection=dict(compare="top")),
            "set selection.compare='proposals'",
        ),
        (
            dict(type="ftcl.FSD", channels=3, selection=dict(length=0)),
            "selection.length=0 must be an integer of at least 1",
        ),
        (dict(type="ftcl.LCS", tau="0.9x"), "'quantile:0.9'"),
        (dict(type="ftcl.LCS", tau="quantile:1.5"), "'quantile:0.9'"),
        (dict(type="ftcl.LCS", rescale=dict(gain=5.0)), "rescale: Rescale needs offset"),
        (dict(type="ftcl.LCS", rescale=dict(offset=0.8, gain=0)), "rescale.gain=0 must be positive"),
        (dict(type="ftcl.LCS", selection=dict(score="cas")), "attention, cas_sum"),
        (dict(type="ftcl.DTW", selection=dict(gather="weight")), "Did you mean 'weighted'"),
        (dict(type="ftcl.DTW", selection=dict(short="drop")), "shorten, refuse"),
        (dict(type="ftcl.DTW", selection=dict(lenght=5)), "selection.lenght: .*Did you mean 'length'"),
        (dict(type="ftcl.LCS", selection=5), "selection must be a dict with keys among compare, length"),
        (dict(type="ftcl.LCS", length=5), "has no argument 'length'"),
    ],
)
def test_wrong_settings_are_explained(settings, words):
    with pytest.raises(ConfigError, match=words):
        registry("loss").build(settings, "config: model.losses.x")


def test_a_batch_made_without_pairs_says_what_to_set():
    outputs, batch = hand_made()
    with pytest.raises(DataError, match=r"train.pairs=dict\(source='dataset'\)"):
        LCS()(outputs, replace(batch, pairs=None, pair_same=None))


# ---- configs ----


def parent_of(config):
    source = config.train.init_from
    return load_config(source["config"], source.get("options", ()), named_by=Path(config.path))


@pytest.mark.parametrize("name", ["ftcl_thumos", "ftcl_anet13", "ftcl_synthetic"])
def test_configs_start_from_the_authors_first_stage_projection_and_all(name):
    config = load_config(CONFIGS / f"{name}.py")
    parent = parent_of(config)
    with torch.device("meta"):
        model, start = (build_model(c.model, c.path) for c in (config, parent))
    own, given = ({n: tuple(v.shape) for n, v in m.state_dict().items()} for m in (model, start))
    assert {n: own[n] for n in given} == given
    assert own == given
    assert parent.train.pairs == {"source": "in_batch"}
    assert (parent.method, parent.train.epochs) == ("acm_net", 500 if name != "ftcl_synthetic" else 150)
    assert (config.data.protocol, config.test) == (parent.data.protocol, parent.test)


@pytest.mark.parametrize("base", ["thumos", "synthetic"])
def test_the_plain_start_is_acm_net_alone_for_as_many_epochs(base):
    config = load_config(CONFIGS / "ablations" / f"ftcl_plain_start_{base}.py")
    parent, theirs = parent_of(config), parent_of(load_config(CONFIGS / f"ftcl_{base}.py"))
    assert (parent.variant, parent.train.pairs) == ("", None)
    assert parent.train.epochs == theirs.train.epochs
    assert not {"fsd", "lcs"} & set(parent.model["losses"])


@pytest.mark.parametrize("base", [None, "configs/ftcl_synthetic.py"], ids=["thumos", "synthetic"])
@pytest.mark.parametrize("row", load_rows(CONFIGS / "ablations" / "ftcl.yaml"), ids=lambda row: row.name)
def test_every_ablation_row_builds(row, base, monkeypatch):
    monkeypatch.chdir(CONFIGS.parent)
    config = row.config(base)
    with torch.device("meta"):
        model = build_model(config.model, config.path)
    assert ("pairs" in model.needs) == (config.train.pairs is not None)
    if config.train.init_from:
        parent_of(config)
