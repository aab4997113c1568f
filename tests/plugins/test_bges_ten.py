"""BGES + TEN beyond the golden files: batching, resampling, gradients, collapse, other hosts, shipped configs."""

from __future__ import annotations

import copy
import csv
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.helpers import REPOSITORY
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.blocks import take_columns
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.config import load_config
from wtal_bench.testing import random_batch
from wtal_plugins.bges_ten.background import (
    BackgroundLogit,
    BackgroundLoss,
    WholeVideoBackground,
    background_logits,
)
from wtal_plugins.bges_ten.continuity import AttentionConsistency, CASConsistency, SnippetRepeat, smooth
from wtal_plugins.bges_ten.gradient import attention_gradient, printed
from wtal_plugins.bges_ten.trunk import Trunk

WIDTH, CHANNELS, CLASSES = 4, 5, 3
LENGTHS = (1, 9, 2, 17, 4, 8)
"""Below k = 4, a multiple of it, and neither."""
CONFIGS = REPOSITORY / "configs"
ROWS = load_rows(CONFIGS / "ablations" / "bges_ten.yaml")
TRAINABLE = sorted(path.name for path in CONFIGS.glob("bges_ten_*.py"))


def config_of(**changes) -> dict:
    """The shipped model, small and without dropout. Changes are merged per loss or part."""
    config = copy.deepcopy(load_config(CONFIGS / "bges_ten_thumos.py").model)
    config["backbone"] |= dict(
        streams=dict(rgb=(0, WIDTH), flow=(WIDTH, 2 * WIDTH)), channels=CHANNELS, num_classes=CLASSES, dropout=0.0
    )
    config["postprocessor"]["num_classes"] = CLASSES
    for name, options in changes.items():
        place = config["losses"] if name in config["losses"] else config["views"] if name == "tcb" else config
        place[name] = options if options is None else place[name] | options
    return config


def model_of(**changes) -> Localizer:
    torch.manual_seed(0)
    return build_model(config_of(**changes)).double()


def batch_of(lengths=LENGTHS, **options) -> Batch:
    return random_batch(lengths, width=2 * WIDTH, classes=CLASSES, **options)


def gradients(model: Localizer, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(ours, theirs, tolerance=1e-12):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


# ---- batching ----


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(tcb=dict(tail="merge", k=5), att=dict(distance="mse", pad="zero"), bg=dict(norm="nb", grl=0.5)),
        dict(tcb=dict(tail="drop", k=3), cas=dict(distance="mae", detach_target=True), bg=dict(norm="nf_const")),
    ],
    ids=["default", "merge", "drop"],
)
def test_a_padded_mini_batch_equals_the_loop_over_its_videos(changes):
    model, together = model_of(**changes), batch_of()
    single = [batch_of(keep=[i]) for i in range(len(together))]
    outputs = model.compute_with_views(together)
    for i, alone in enumerate(single):
        for field, value in model.compute_with_views(alone).items():
            bare = field.removeprefix("tcb.")
            if bare not in model.shared_fields:
                joint = outputs[field][i : i + 1]
                assert_close(joint if bare in model.video_level_fields else joint[:, : LENGTHS[i]], value)
    losses = [model.losses(alone) for alone in single]
    scores = model.losses(together)
    for name, value in scores.items():
        assert_close(value, sum(loss[name] for loss in losses) / len(single))
    theirs = gradients(model, sum(loss["total"] for loss in losses) / len(single))
    for name, value in gradients(model, scores["total"]).items():
        assert value.abs().max() > 0, name
        assert_close(value, theirs[name], 1e-10)


def test_the_shared_classifier_rows_and_the_embedding_give_the_cas():
    model, batch = model_of(), batch_of()
    outputs = model.compute(batch)
    bias = sum(stream.classifier.bias for stream in model.backbone.streams.values()) / 2
    assert_close(outputs["embedding"] @ outputs["class_weights"].T + bias, outputs["cas"])
    assert outputs["embedding"].shape[-1] == 2 * CHANNELS


# ---- the view ----


def source_of(batch: Batch, view: SnippetRepeat) -> torch.Tensor:
    """[B,T] which snippet the view put where."""
    return view(batch).snippet_index


def test_a_segment_repeats_one_of_its_own_snippets_in_all_columns():
    batch, view = batch_of((8, 8, 8)), SnippetRepeat(k=4)
    repeated = view(batch)
    source = repeated.snippet_index.long()
    for start in (0, 4):
        segment = source[:, start : start + 4]
        assert (segment == segment[:, :1]).all()
        assert ((segment >= start) & (segment < start + 4)).all()
    assert torch.equal(repeated.features, batch.features[torch.arange(3)[:, None], source])
    assert torch.equal(repeated.mask, batch.mask)


def test_every_snippet_of_a_segment_is_picked_as_often():
    view, batch = SnippetRepeat(k=4), batch_of((4,) * 50)
    counts = torch.zeros(4)
    for step in range(40):
        torch.manual_seed(step)
        counts += torch.bincount(source_of(batch, view)[:, 0].long(), minlength=4)
    # 2000 draws: 500 each, standard deviation 19
    assert ((counts - 500).abs() < 100).all(), counts


def test_picks_are_redrawn_every_step_and_depend_on_the_video_alone():
    view, batch = SnippetRepeat(k=4), batch_of((40, 23, 40))
    torch.manual_seed(1)
    first = source_of(batch, view)
    assert torch.equal(source_of(batch, view), first)
    alone = batch_of((40, 23, 40), keep=[1], padding=9)
    assert torch.equal(source_of(alone, view)[0, :23], first[1, :23])
    assert not torch.equal(first[0], first[2])
    assert not torch.equal(source_of(replace(batch, epoch=1), view), first)
    torch.manual_seed(2)
    assert not torch.equal(source_of(batch, view), first)


@pytest.mark.parametrize("tail", ["short", "merge", "drop"])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_video_shorter_than_k_is_one_segment(length, tail):
    batch = batch_of((length, 11))
    source = source_of(batch, SnippetRepeat(k=4, tail=tail))
    assert (source[0, :length] == source[0, 0]).all()
    assert source[0, 0] < length
    assert (source[0, length:] == 0).all()
    repeated = SnippetRepeat(k=4, tail=tail)(batch)
    assert not repeated.features[~batch.mask].any()


def test_rows_without_a_constraint_skip_the_second_branch():
    row = next(row for row in ROWS if row.name == "bl_bges")
    model = build_model(row.config().model)
    assert not model._views
    assert [name for name in model._losses if name in ("att", "cas")] == []


# ---- gradients of L_bg ----


@pytest.mark.parametrize(("norm", "grl"), [("nb", 0.0), ("nf", 0.0), ("nf_const", 0.0), ("nb", 1.0), ("nf", 0.3)])
def test_the_closed_gradient_equals_autograd_on_padded_batches(norm, grl):
    model, batch = model_of(bg=dict(norm=norm, grl=grl)), batch_of()
    outputs = model.compute(batch)
    ours = gradients(model, model.losses(batch)["bg"])
    for name, stream in model.backbone.streams.items():
        embedding, _, attention = stream(take_columns(batch.features, model.backbone.columns[name], name), batch.mask)
        closed = attention_gradient(
            outputs["cas"], outputs["attention"], attention, embedding, batch.mask, norm=norm, grl=grl
        )
        assert_close(ours[f"backbone.streams.{name}.attention.weight"].flatten(), closed)


def test_bges_changes_the_denominator_and_nothing_else():
    model, batch = model_of(), batch_of()
    outputs = model.compute(batch)
    foreground = outputs["attention"] * batch.mask
    background = (1 - outputs["attention"]) * batch.mask
    pooled = torch.einsum("bt,btc->bc", background, outputs["cas"])
    for norm, weight in (("nb", background), ("nf", foreground), ("nf_const", foreground)):
        logits = pooled / (weight.sum(dim=1, keepdim=True) + 1e-8)
        expected = F.cross_entropy(logits, torch.full((len(batch),), CLASSES))
        assert_close(BackgroundLoss(norm)(outputs, batch)["bg"], expected)


def test_constant_and_differentiated_norms_agree_in_value_and_differ_in_gradient():
    batch = batch_of()
    one, other = (model_of(bg=dict(norm=norm)) for norm in ("nf", "nf_const"))
    losses = [model.losses(batch)["bg"] for model in (one, other)]
    assert torch.equal(*losses)
    name = "backbone.streams.rgb.attention.weight"
    assert not torch.allclose(gradients(one, losses[0])[name], gradients(other, losses[1])[name])


def test_gradient_reversal_turns_the_attention_around_and_leaves_the_classifier_alone():
    batch = batch_of()
    plain, turned = (model_of(bg=dict(norm="nb", grl=grl)) for grl in (0.0, 0.7))
    losses = [model.losses(batch)["bg"] for model in (plain, turned)]
    assert torch.equal(*losses)
    theirs, ours = (gradients(model, loss) for model, loss in zip((plain, turned), losses))
    for stream in ("rgb", "flow"):
        name = f"backbone.streams.{stream}"
        assert_close(ours[f"{name}.attention.weight"], -0.7 * theirs[f"{name}.attention.weight"])
        assert_close(ours[f"{name}.classifier.weight"], theirs[f"{name}.classifier.weight"])


@pytest.mark.parametrize(("name", "options"), [("att", {}), ("att", dict(distance="mse")), ("cas", {})], ids=str)
def test_detached_targets_change_gradients_and_no_value(name, options):
    batch = batch_of()
    models = [model_of(**{name: options | dict(detach_target=still)}) for still in (False, True)]
    losses = [model.losses(batch)[name] for model in models]
    assert torch.equal(*losses)
    ours, theirs = (gradients(model, loss) for model, loss in zip(models, losses))
    assert any(not torch.allclose(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(("norm", "lowest", "highest"), [("nb", 0.05, 0.15), ("nf", 0.15, 0.3)])
def test_the_printed_equation_often_points_the_wrong_way(norm, lowest, highest):
    """Over 300 random models, as many videos of 16 snippets, the RGB attention; the README has the numbers."""
    draws = [printed_against_true(seed, norm) for seed in range(300)]
    assert lowest < sum(cosine < 0 for cosine, _ in draws) / 300 < highest
    # and where the argument of Eq. (12) needs it positive, the background logit is so half of the time
    assert 0.4 < sum(logit > 0 for _, logit in draws) / 300 < 0.6


def printed_against_true(seed: int, norm: str) -> tuple[float, float]:
    """Cosine between Eq. (11) as printed and the true gradient, and z_bg,C+1, for one random model and video."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    trunk = Trunk(dict(rgb=(0, 16), flow=(16, 32)), channels=12, num_classes=5, dropout=0.0).double()
    features, mask = torch.rand(1, 16, 32, generator=generator, dtype=torch.float64), torch.ones(1, 16).bool()
    with torch.no_grad():
        outputs = trunk(features, mask)
        embedding, cas, attention = trunk.streams["rgb"](features[..., :16], mask)
    fused = (outputs["cas"], outputs["attention"])
    true = attention_gradient(*fused, attention, embedding, mask, norm=norm)
    cosine = F.cosine_similarity(true, printed(*fused, cas, attention, embedding, mask, norm=norm), dim=0)
    return cosine.item(), background_logits(*fused, mask, norm)[0, -1].item()


# ---- attention that collapses ----


@pytest.mark.parametrize("norm", ["nf", "nb", "nf_const"])
@pytest.mark.parametrize("bias", [-1e3, -20.0, 20.0, 1e3], ids=lambda bias: f"attention{bias:+g}")
def test_attention_of_zero_or_one_everywhere_gives_finite_losses_and_gradients(bias, norm):
    model = model_of(bg=dict(norm=norm)).float()
    for stream in model.backbone.streams.values():
        torch.nn.init.constant_(stream.attention.bias, bias)
    batch = batch_of()
    scores = model.losses(replace(batch, features=batch.features.float(), labels=batch.labels.float()))
    for name, value in scores.items():
        assert torch.isfinite(value), name
    for name, gradient in gradients(model, scores["total"]).items():
        assert torch.isfinite(gradient).all(), name
    assert scores["watch.foreground"] == pytest.approx(float(bias > 0), abs=1e-6)


def test_where_nothing_is_background_the_guard_makes_it_uniform():
    batch = batch_of((5,))
    cas = torch.randn(1, 5, CLASSES + 1, dtype=torch.float64)
    outputs = dict(cas=cas, attention=torch.ones(1, 5, dtype=torch.float64))
    for norm in ("nb", "nf"):
        assert BackgroundLoss(norm)(outputs, batch)["bg"] == pytest.approx(math.log(CLASSES + 1), abs=1e-12)


# ---- what is logged ----


def test_the_background_logit_is_reported_and_changes_nothing():
    batch = batch_of()
    outputs = dict(cas=torch.zeros(6, 17, CLASSES + 1), attention=torch.full((6, 17), 0.25))
    outputs["cas"][:4, :, -1] = 2.0
    outputs["cas"][4:, :, -1] = -1.0
    outputs["cas"][~batch.mask] = 100.0
    made = BackgroundLogit()(outputs, batch)
    assert {name: pytest.approx(value.item()) for name, value in made.items()} == {
        "logit": 1.0,
        "positive": 4 / 6,
        "foreground": 0.25,
    }
    with_it, without = model_of(), model_of(watch=None)
    totals = [model.losses(batch)["total"] for model in (with_it, without)]
    assert torch.equal(*totals)
    assert not with_it.losses(batch)["watch.logit"].requires_grad


# ---- other hosts ----


def ecm_host(**losses) -> dict:
    """A host without attention and without background class."""
    return dict(
        type="Localizer",
        backbone=dict(type="ecm.Trunk", in_channels=8, channels=6),
        heads=dict(pre=dict(type="ecm.PreClassification", channels=6, num_classes=3, dropout=0.0)),
        views=dict(tcb=dict(type="bges_ten.SnippetRepeat", k=4)),
        losses=dict(host=dict(type="VideoCrossEntropy"), **losses),
    )


def fac_net_host(**losses) -> dict:
    """A host with an attention and a background class."""
    return dict(
        type="Localizer",
        backbone=dict(type="fac_net.Trunk", in_channels=8, channels=6, num_classes=3, dropout=0.0),
        heads=dict(mil=dict(type="fac_net.MultipleInstance")),
        views=dict(tcb=dict(type="bges_ten.SnippetRepeat", k=4)),
        losses=dict(host=dict(type="VideoCrossEntropy", target="tags_and_background"), **losses),
    )


ALL = dict(
    bg=dict(type="bges_ten.BackgroundLoss", weight=0.1),
    bvl=dict(type="bges_ten.WholeVideoBackground", weight=0.1),
    att=dict(type="bges_ten.AttentionConsistency", weight=0.1),
    cas=dict(type="bges_ten.CASConsistency", weight=0.1),
)


def test_all_losses_attach_to_a_host_with_background_and_attention():
    torch.manual_seed(0)
    model, batch = build_model(fac_net_host(**ALL)).double(), batch_of()
    scores = model.losses(batch)
    for name in ALL:
        assert scores[name] > 0
        model.zero_grad()
        scores[name].backward(retain_graph=True)
        reached = {key for key, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
        # the classifier's rows make the CAS, the foreground row the attention
        wanted = {"bg": {"action_centers", "fg_center"}, "att": {"fg_center"}}.get(name, {"action_centers"})
        centers = {key.removeprefix("backbone.") for key in reached if "center" in key}
        assert centers == wanted, name


@pytest.mark.parametrize("host", [ecm_host, fac_net_host], ids=["ecm", "fac_net"])
def test_ten_is_a_second_forward_on_resampled_features(host):
    torch.manual_seed(0)
    model, batch = build_model(host(cas=dict(type="bges_ten.CASConsistency"))).double(), batch_of()
    ours = model.losses(batch)["cas"]
    one, other = model.compute(batch), model.compute(SnippetRepeat(k=4)(batch))
    theirs = CASConsistency()({"cas": one["cas"], "tcb.cas": other["cas"]}, batch)["cas"]
    assert_close(ours, theirs)
    assert ours > 0
    assert gradients(model, ours)


def test_a_host_without_attention_is_told_so():
    with pytest.raises(ConfigError, match=r"losses\.bg .* reads `attention`"):
        build_model(ecm_host(bg=dict(type="bges_ten.BackgroundLoss")))


@pytest.mark.parametrize(
    "loss", [BackgroundLoss(), WholeVideoBackground(), BackgroundLogit()], ids=lambda x: type(x).__name__
)
def test_a_host_without_background_class_is_told_so(loss):
    batch = batch_of((5, 6))
    outputs = dict(cas=torch.zeros(2, 6, CLASSES), attention=torch.full((2, 6), 0.5))
    with pytest.raises(ConfigError, match="needs a CAS with a background class after the 3 action classes"):
        loss(outputs, batch)


# ---- bad input ----


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(bg=dict(norm="nf_constant")), "norm='nf_constant'.*Did you mean 'nf_const'"),
        (dict(bg=dict(grl=-1.0)), "grl=-1.0 must be"),
        (dict(att=dict(distance="kl")), "distance='kl'"),
        (dict(att=dict(size=4)), "size=4 must be odd"),
        (dict(att=dict(sigma=0)), "sigma=0 must be positive"),
        (dict(att=dict(pad="reflection")), "Did you mean 'reflect'"),
        (dict(cas=dict(space="probability")), "space='probability'"),
        (dict(cas=dict(temperature=0)), "temperature=0 must be positive"),
        (dict(tcb=dict(k=0)), "k=0 must be an integer of at least 1"),
        (dict(tcb=dict(tail="cut")), "tail='cut'.*short, merge, drop"),
        (dict(backbone=dict(streams={})), "streams is empty"),
        (dict(backbone=dict(streams=dict(rgb=(4, 4)))), r"streams\.rgb must be \(first, end\).*got \(4, 4\)"),
        (dict(backbone=dict(streams=dict(rgb=4))), r"streams\.rgb must be .*got 4"),
        (dict(backbone=dict(taps=2)), "taps must be odd"),
    ],
    ids=str,
)
def test_bad_settings_are_explained(changes, text):
    with pytest.raises(ConfigError, match=text):
        model_of(**changes)


def test_missing_columns_are_named():
    batch = random_batch([5, 6], width=WIDTH, classes=CLASSES)
    with pytest.raises(
        ConfigError, match=rf"streams\.flow takes columns {WIDTH}\.\.{2 * WIDTH}.*features have {WIDTH}"
    ):
        model_of().compute(batch)


def test_a_video_too_short_to_be_reflected_is_named():
    loss, batch = AttentionConsistency(pad="reflect"), batch_of((9, 2))
    x = torch.full(batch.mask.shape, 0.5)
    with pytest.raises(DataError, match=r"'video1' has 2 snippets; pad='reflect' with size=5 needs at least 3"):
        loss({"attention": x, "tcb.attention": x}, batch)


def test_smoothing_keeps_a_constant_and_spreads_a_peak():
    mask = torch.ones(1, 9, dtype=torch.bool)
    constant, peak = torch.full((1, 9), 0.3, dtype=torch.float64), torch.zeros(1, 9, dtype=torch.float64)
    peak[0, 4] = 1.0
    for pad in ("replicate", "reflect"):
        assert_close(smooth(constant, mask, pad=pad), constant)
    spread = smooth(peak, mask)
    assert_close(spread.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert torch.equal(spread, spread.flip(1))
    assert (spread[0, 2:7] > 0).all()


# ---- shipped files ----


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_config_has_the_papers_settings(name):
    config = load_config(CONFIGS / name)
    model = build_model(copy.deepcopy(config.model), name)
    train = config.train
    assert (train.optimizer, train.lr, train.weight_decay) == ("Adam", 1e-3, 1e-3)
    drop = 300 if "synthetic" in name else train.iterations // 2  # searched there
    assert train.lr_schedule == [(drop, 1e-4)]
    assert train.length % config.model["views"]["tcb"]["k"] == 0
    weights = {n: model._weights[n].at(n, 0) for n in config.model["losses"]}
    lam = {"bges_ten_thumos.py": 0.1, "bges_ten_anet12.py": 0.02, "bges_ten_synthetic.py": 0.2}[name]
    assert weights == dict(fg=1.0, bg=lam, bvl=0.0, att=0.1, cas=0.1, watch=0.0)
    rows = {stream.classifier.out_features for stream in model.backbone.streams.values()}
    assert rows == {config.model["postprocessor"]["num_classes"] + 1}


@pytest.mark.parametrize("base", [None, str(CONFIGS / "bges_ten_synthetic.py")], ids=["thumos", "synthetic"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_ablation_row_builds_a_model(row, base):
    assert row.options or row.name == "full"
    config = row.config(base)
    if base is None:  # widths change nothing here, and 25 models of full width take long to build
        config.model["backbone"] |= dict(channels=8)
    model = build_model(config.model, row.where)
    assert model._weights["watch"].at("logit", 0) == 0
    ten = {"att", "cas"} & set(model._losses)
    assert bool(model._views) == bool(ten)


TABLES = [f"BGES Table {number}" for number in (3, 4, 5, 6)]
PUBLISHED = {
    "bl": "BL",
    "bl_bges": "BL+BGES",
    "ten": "TEN",
    "full": "TEN+BGES",
    "bl_grl": "BL+GRL",
    "ten_grl": "TEN+GRL",
    "bl_bvl": "BL+BVL",
    "ten_bvl": "TEN+BVL",
    "ten_bvl_bges": "TEN+BVL+BGES",
    "att_mae": "ATT MAE",
    "att_mse": "ATT MSE",
    "cas_mae": "CAS MAE",
    "cas_mse": "CAS MSE",
    "cas_kl": "CAS KL",
    "k2": "k=2",
    "k3": "k=3",
    "k5": "k=5",
}


def test_rows_carry_the_published_averages():
    with (REPOSITORY / "leaderboard" / "published.csv").open(newline="", encoding="utf-8") as file:
        table = [row for row in csv.DictReader(file) if row["method"] == "BGES+TEN" and row["metric"] == "avg_mAP"]
    ours = {PUBLISHED[row.name]: row.published for row in ROWS if row.published}
    ours["k=4"] = ours["TEN+BGES"]
    assert {row["variant"] for row in table if row["table"] in TABLES} == set(ours)
    for name, published in ours.items():
        span = published["metric"].removeprefix("mAP@")
        values = {float(row["value"]) for row in table if (row["variant"], row["iou"]) == (name, span)}
        assert values == {published["value"]}, name
