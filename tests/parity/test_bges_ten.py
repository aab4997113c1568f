"""BGES + TEN against an independent float64 oracle: network, losses, gradients, closed forms, resampling, test path."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tests.decoding.compare import same_ap, same_multiset, score, video_rows
from tests.helpers import REPOSITORY, golden_files, load_golden
from tests.parity.host_files import assert_near, batch_of
from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.blocks import take_columns
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.recipes import read_tree
from wtal_plugins.bges_ten.background import background_logits, foreground_logits
from wtal_plugins.bges_ten.continuity import repeat_index, smooth
from wtal_plugins.bges_ten.gradient import attention_gradient, printed

STREAMS = {"r": "rgb", "o": "flow"}
LAYERS = {"embed": "embed.conv", "cls": "classifier", "att": "attention"}
VARIANTS = {
    "T3_BL": {"bg_norm": "nb", "use_ten": False},
    "T3_BL+BGES": {"bg_norm": "nf", "use_ten": False},
    "T3_TEN": {"bg_norm": "nb", "use_ten": True},
    "T3_TEN+BGES": {"bg_norm": "nf", "use_ten": True},
    "T4_BL+BVL": {"bg_norm": "nb", "use_ten": False, "bvl": "lam"},
    "T4_TEN+BVL": {"bg_norm": "nb", "use_ten": True, "bvl": "lam"},
    "T4_TEN+BVL+BGES": {"bg_norm": "nf", "bvl": "lam"},
    "T5_ATT_MAE": {"cas_loss": "none", "att_loss": "mae"},
    "T5_ATT_MSE": {"cas_loss": "none", "att_loss": "mse"},
    "T5_CAS_MAE": {"att_loss": "none", "cas_loss": "mae"},
    "T5_CAS_MSE": {"att_loss": "none", "cas_loss": "mse"},
    "T5_CAS_KL": {"att_loss": "none", "cas_loss": "kl"},
    "label_plain": {"label_norm": "none"},
    **{f"T6_k{k}": {"k": k} for k in (2, 3, 4, 5)},
}


def config_of(cfg: dict, width: int, channels: int, classes: int, taps: int) -> dict:
    """The model config that says what a golden file's cfg says."""
    attention = cfg["use_ten"] and cfg["att_loss"] != "none"
    scores = cfg["use_ten"] and cfg["cas_loss"] != "none"
    return dict(
        type="Localizer",
        backbone=dict(
            type="bges_ten.Trunk",
            streams=dict(rgb=(0, width), flow=(width, 2 * width)),
            channels=channels,
            num_classes=classes,
            taps=taps,
            dropout=0.0,
        ),
        heads=dict(score=dict(type="bges_ten.VideoScore", eps=cfg["eps"])),
        views=dict(tcb=dict(type="bges_ten.SnippetRepeat", k=cfg["k"], tail=cfg["tail"]) if cfg["use_ten"] else None),
        losses=dict(
            fg=dict(type="VideoCrossEntropy", normalize=cfg["label_norm"] == "l1"),
            bg=dict(
                type="bges_ten.BackgroundLoss",
                norm=cfg["bg_norm"],
                grl=cfg["grl"],
                eps=cfg["eps"],
                weight=cfg["lam"],
            ),
            bvl=dict(type="bges_ten.WholeVideoBackground", weight=cfg["bvl"]),
            att=dict(
                type="bges_ten.AttentionConsistency",
                distance=cfg["att_loss"],
                size=cfg["gauss_size"],
                sigma=cfg["gauss_sigma"],
                pad=cfg["gauss_pad"],
                detach_target=cfg["detach_target"],
                weight=cfg["beta"],
            )
            if attention
            else None,
            kl=dict(
                type="bges_ten.CASConsistency",
                distance=cfg["cas_loss"],
                space=cfg["cas_space"],
                temperature=cfg["kl_temp"],
                detach_target=cfg["detach_target"],
                weight=cfg["beta"],
            )
            if scores
            else None,
        ),
        postprocessor=None,
    )


def build(cfg: dict, data: dict) -> Localizer:
    """The model of a golden file in float64, with its parameters and its picks."""
    channels, width, taps = data["param/embed_r.weight"].shape
    classes = data["param/cls_r.weight"].shape[0] - 1
    model = build_model(config_of(cfg, width, channels, classes, taps), "golden").double().eval()
    state = {
        name: torch.from_numpy(data[f"param/{canonical(name)}"]).reshape(value.shape)
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    if cfg["use_ten"]:
        picks = torch.from_numpy(data["in/tcb_pick"])
        dict(model.components())["views.tcb"].picks = lambda batch: picks
    return model


def canonical(name: str) -> str:
    """`backbone.streams.rgb.classifier.bias` -> `cls_r.bias`."""
    path, _, kind = name.removeprefix("backbone.streams.").rpartition(".")
    stream, _, layer = path.partition(".")
    (letter,) = (short for short, long in STREAMS.items() if long == stream)
    (part,) = (short for short, long in LAYERS.items() if long == layer)
    return f"{part}_{letter}.{kind}"


def read_batch(data: dict) -> Batch:
    return batch_of(np.concatenate([data["in/rgb"], data["in/flow"]], axis=2), data["in/label"])


def read(path) -> tuple[dict, dict]:
    data = load_golden(path)
    return data, json.loads(str(data["cfg"]))


def assert_losses(model: Localizer, data: dict, prefix: str):
    scalars = model.losses(read_batch(data))
    names = {key.removeprefix(prefix) for key in data if key.startswith(prefix)}
    assert {"fg", "bg", "bvl", "total"} <= names
    for name in names:
        # a constraint that is switched off is stored as 0, and is no part of the model
        ours = scalars.get(name, 0.0) if name in ("att", "kl") else scalars[name]
        assert_near(ours, data[prefix + name], what=prefix + name)


# ---- network, losses, gradients ----


@pytest.mark.parametrize("path", golden_files("bges_ten", "bges_case*.npz"))
def test_outputs_losses_and_gradients(path):
    data, cfg = read(path)
    model, batch = build(cfg, data), read_batch(data)
    outputs = model.compute_with_views(batch)
    cas, attention, mask = outputs["cas"], outputs["attention"], batch.mask
    ours = {"cas": cas, "att": attention, "logit_fg": outputs["video_logits"]}
    ours["p_fg"] = outputs["video_logits"].softmax(1)
    for letter, name in STREAMS.items():
        own = model.backbone.streams[name](take_columns(batch.features, model.backbone.columns[name], name), mask)
        ours |= {f"{field}_{letter}": value for field, value in zip(("emb", "cas", "att"), own)}
    if cfg["use_ten"]:
        ours |= {"tcb_cas": outputs["tcb.cas"], "tcb_att": outputs["tcb.attention"]}
        if "in/tcb_index" in data:
            assert_picks(model, batch, data["in/tcb_index"])
    if "out/gauss_att" in data:  # too short a video cannot be reflected
        ours["gauss_att"] = smooth(attention, mask, cfg["gauss_size"], cfg["gauss_sigma"], cfg["gauss_pad"])
    background = background_logits(cas, attention, mask, cfg["bg_norm"], cfg["eps"])
    ours |= {"logit_bg": background, "p_bg": background.softmax(1)}
    for name, value in ours.items():
        assert_near(value, data[f"out/{name}"], what=f"out/{name}")
    assert_test_scores(cfg, data, outputs)
    assert_losses(model, data, "loss/")
    assert_gradients(model, batch, data)


def assert_picks(model: Localizer, batch: Batch, stored: np.ndarray):
    """The snippet that every position of the view repeats."""
    view = dict(model.components())["views.tcb"]
    index = repeat_index(batch.lengths, view.picks(batch), batch.mask.shape[1], view.k, view.tail)
    np.testing.assert_array_equal(index, stored)


def assert_test_scores(cfg: dict, data: dict, outputs: dict):
    """The curve S_l of Eq. (14) and the classes that are kept."""
    decoder = shipped_decoder(cfg | {"num_classes": data["in/label"].shape[1]})
    kept = np.zeros(data["out/present"].shape, dtype=bool)
    for v in range(len(kept)):
        video = {name: outputs[name][v].detach().numpy() for name in ("cas", "attention", "video_logits")}
        assert_near(
            decoder.curve.evaluate(video, kept.shape[1], str(v), np.float64), data["out/curve"][v], what="curve"
        )
        kept[v, decoder.kept_classes(decoder.video_scores(video))] = True
    np.testing.assert_array_equal(kept, data["out/present"])


def assert_gradients(model: Localizer, batch: Batch, data: dict):
    model.zero_grad()
    model.losses(batch)["total"].backward()
    for name, parameter in model.named_parameters():
        key = f"grad/{canonical(name)}"
        assert_near(parameter.grad.flatten()[data[f"{key}/index"]], data[f"{key}/value"], 1e-6, key)


@pytest.mark.parametrize("path", golden_files("bges_ten", "bges_case*.npz"))
def test_ablation_rows_give_their_losses(path):
    data, cfg = read(path)
    rows = sorted({key.split("/")[1] for key in data if key.startswith("variant/")})
    assert rows
    for row in rows:
        change = {key: cfg["lam"] if value == "lam" else value for key, value in VARIANTS[row].items()}
        model = build(cfg | change, data)
        if row.startswith("T6_k"):
            assert_picks(model, read_batch(data), data[f"in/tcb_index_{row.removeprefix('T6_')}"])
        assert_losses(model, data, f"variant/{row}/loss/")


# a file with saturated attention stores no closed gradient
@pytest.mark.parametrize("path", golden_files("bges_ten", "bges_case*.npz", holding="grad_closed/"))
def test_closed_gradients_equal_the_oracle_and_autograd(path):
    data, cfg = read(path)
    model, batch = build(cfg | {"use_ten": False}, data), read_batch(data)
    outputs = model.compute(batch)
    shared = (outputs["cas"], outputs["attention"])
    for letter, name in STREAMS.items():
        stream = model.backbone.streams[name]
        features = take_columns(batch.features, model.backbone.columns[name], name)
        embedding, own_cas, attention = stream(features, batch.mask)
        own = (attention, embedding, batch.mask)
        for key, options in {
            "nb/exact": {"norm": "nb"},
            "nf/exact": {"norm": "nf"},
            "nf_const/exact": {"norm": "nf_const"},
            "grl1": {"norm": "nb", "grl": 1.0},
        }.items():
            stored = data[f"grad_closed/L_bg/att_{letter}/{key}"]
            assert_near(attention_gradient(*shared, *own, eps=0.0, **options), stored, 1e-7, key)
            norm, grl = options["norm"], options.get("grl", 0.0)
            other = build(cfg | {"use_ten": False, "bg_norm": norm, "grl": grl}, data)
            other.losses(batch)["bg"].backward()
            gradient = other.backbone.streams[name].attention.weight.grad.flatten()
            assert_near(attention_gradient(*shared, *own, eps=cfg["eps"], **options), gradient, 1e-12, key)
        theirs = data[f"grad_closed/L_bg/att_{letter}/nb/printed"]
        assert_near(printed(*shared, own_cas, *own, eps=0.0), theirs, 1e-7, "Eq. (11) as printed")


# ---- resampling and smoothing ----


@pytest.mark.parametrize("path", golden_files("bges_ten", "bges_tail*.npz"))
def test_repeated_snippets(path):
    data, cfg = read(path)
    for i, case in enumerate(cfg["cases"]):
        picks = torch.from_numpy(data[f"in/tcb_pick/{i}"])
        lengths = torch.full((len(picks),), case["T"])
        for padding in (0, 5):
            index = repeat_index(lengths, picks_for(picks, padding), case["T"] + padding, case["k"], case["tail"])
            np.testing.assert_array_equal(index[:, : case["T"]], data[f"out/tcb_index/{i}"], err_msg=str(case))


def picks_for(picks: torch.Tensor, more: int) -> torch.Tensor:
    return torch.cat([picks, torch.zeros(len(picks), more, dtype=torch.float64)], dim=1)


@pytest.mark.parametrize("path", golden_files("bges_ten", "bges_gauss*.npz"))
def test_gaussian_smoothing(path):
    data, cfg = read(path)
    for i, case in enumerate(cfg["cases"]):
        attention, stored = torch.from_numpy(data[f"in/att/{i}"]), data[f"out/gauss/{i}"]
        options = (case["gauss_size"], case["gauss_sigma"], case["gauss_pad"])
        assert_near(smooth(attention, torch.ones_like(attention, dtype=torch.bool), *options), stored, what=str(case))
        padded = torch.cat([attention, torch.full((len(attention), 4), 9.0, dtype=torch.float64)], dim=1)
        mask = (torch.arange(padded.shape[1]) < attention.shape[1]).expand_as(padded)
        assert_near(smooth(padded, mask, *options)[:, : attention.shape[1]], stored, what=f"padded {case}")


# ---- test path, through the decoder the shipped config holds ----


def shipped_decoder(cfg: dict, **changes) -> ThresholdDecoder:
    """The decoder of `configs/bges_ten_thumos.py` with what a golden file's cfg says otherwise."""
    settings = dict(read_tree(REPOSITORY / "configs" / "bges_ten_thumos.py")["model"]["postprocessor"])
    assert settings.pop("type") == "ThresholdDecoder"
    scores, attention = settings["curve"]["sum"]
    given = dict(num_classes=cfg["num_classes"], class_threshold=cfg["rho_cls"])
    curve = dict(sum=[scores | dict(weight=cfg["fuse"]), attention | dict(weight=1 - cfg["fuse"])])
    named = dict(fallback="fallback", normalize="curve_norm", upsample="upsample", thresholds="act_thresh")
    given |= {ours: cfg[theirs] for ours, theirs in named.items() if theirs in cfg}
    if "oic_lambda" in cfg:
        given["contrast"] = settings["contrast"] | dict(outer=cfg["oic_lambda"], video_score=cfg["oic_gamma"])
        given["nms"] = dict(iou=cfg["nms"])
    return ThresholdDecoder(**{**settings, "curve": curve, **given, **changes})


@pytest.mark.parametrize(
    "path", golden_files("bges_ten", "bges_proposals*.npz") + golden_files("bges_ten", "bges_decode*.npz")
)
def test_test_path_to_map(path):
    data, cfg = read(path)
    videos, curve_given = len(data["in/num_snippets"]), "in/curve/0" in data
    changes = dict(curve="curve", scores="prob", scores_activation="none") if curve_given else {}
    decoder = shipped_decoder(cfg, **changes)
    before = shipped_decoder(cfg, **changes, nms=None)
    found, candidates = [], []
    for v in range(videos):
        outputs = outputs_of(data, cfg, v, curve_given)
        meta = VideoMeta(
            str(v),
            float(data["in/duration"][v]),
            fps=cfg["fps"],
            stride=cfg["stride"],
            num_snippets=int(data["in/num_snippets"][v]),
        )
        kept, curve, _ = decoder.curves(outputs, meta)
        np.testing.assert_array_equal(kept, data[f"out/classes/{v}"])
        assert_near(curve, data[f"out/curve_up/{v}"], what=f"curve of video {v}")
        if f"out/curve/{v}" in data:
            assert_near(decoder.snippet_scores(outputs), data[f"out/curve/{v}"], what=f"curve of video {v}, snippets")
        found.append(decoder(outputs, meta).check(str(v), meta.duration))
        candidates.append(before(outputs, meta))
    same_multiset(video_rows(candidates), data["out/candidates"])
    same_multiset(video_rows(found), data["out/proposals"])
    result = score(data["out/proposals"], data["in/gt"], data["in/tious"], videos, cfg["num_classes"])
    same_ap(result, data["out/ap"], data["out/map"] / 100)
    assert_near(np.mean(result.mAP), data["out/average_map"] / 100)


def outputs_of(data: dict, cfg: dict, v: int, curve_given: bool) -> dict[str, np.ndarray]:
    """One video's fields, from the fused scores on: z_fg is computed, P_fg compared."""
    if curve_given:
        return {"curve": data[f"in/curve/{v}"], "prob": data["in/prob"][v]}
    cas, attention = data[f"in/cas/{v}"], data[f"in/att/{v}"]
    row = [torch.from_numpy(x).unsqueeze(0) for x in (cas, attention)]
    logits = foreground_logits(*row, torch.ones(1, len(attention), dtype=torch.bool), cfg["eps"])
    assert_near(logits.softmax(1)[0], data["out/p_fg"][v], what=f"P_fg of video {v}")
    return {"cas": cas, "attention": attention, "video_logits": logits[0].numpy()}
