"""UM against numbers of the authors' network, losses, Adam steps, both passes of its decoder and its mAP."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from tests.decoding.compare import same_ap, same_multiset
from tests.helpers import golden_files
from tests.parity.host_files import Golden, assert_gradients, assert_near, assert_steps, batch_of
from tests.parity.hosts import host, recipe, renamed
from wtal_bench.data.sampling import build_sampling
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth, evaluate
from wtal_bench.modeling.blocks import topk_count
from wtal_bench.recipes import read_tree
from wtal_bench.structures import VideoMeta

NAMES = renamed({"backbone.embed.conv.": "embed.", "heads.classifier.cls.": "cls."})


def config_of(made: dict, **changes) -> dict:
    """The shipped recipe with the sizes and divisors of a golden file."""
    divisors = dict(r_act=made["r_act"], r_bkg=made["r_bkg"])
    return recipe(
        "um_thumos",
        backbone=dict(in_channels=made["feature_dim"], channels=made["embed_dim"]),
        heads=dict(
            classifier=dict(channels=made["embed_dim"], num_classes=made["num_classes"]),
            mil=dict(divisor=made["r_act"]),
            magnitude=divisors,
            selection=divisors,
        ),
        **changes,
    )


@pytest.mark.parametrize("path", golden_files("um", "um_case*.npz"))
def test_network_losses_gradients_and_steps(path):
    golden = Golden(path)
    made = golden.settings("meta")
    weights = dict(
        um=dict(margin=made["margin"], weight=made["alpha"]), be=dict(weight=made["beta"]), cls=dict(weight=1.0)
    )
    model = host(config_of(made, losses=weights), golden.under("param/"), NAMES)
    selection = model._heads["selection"].component
    if "in/select_mask" in golden:
        mask = torch.from_numpy(golden["in/select_mask"])
        selection.survivors = lambda magnitude: mask
    batch = batch_of(golden["in/features"], golden["in/labels"])
    outputs = model.compute(batch)

    assert_near(outputs["embedding"], golden["out/features"])
    assert_near(outputs["cas"], golden["out/cas"])
    assert_near(outputs["cas"].softmax(dim=-1), golden["out/cas_softmax"])
    assert_near(outputs["magnitude"], golden["out/feat_magnitudes"])
    rankings = selection.rankings(outputs["magnitude"], batch.mask)
    sets = selection.sets(outputs["magnitude"], batch.mask)
    counts = [int(topk_count(batch.mask, divisor=made[name])[0]) for name in ("r_act", "r_bkg")]
    assert counts == golden["out/k"].tolist()
    for which, ranking, chosen in zip(("act", "bkg"), rankings, sets, strict=True):
        falling = ranking.detach().masked_fill(~chosen, -torch.inf).sort(dim=1, descending=True, stable=True).indices
        index = falling[:, : int(chosen[0].sum())]
        np.testing.assert_array_equal(index, golden[f"out/idx_{which}"])
        rows = outputs["embedding"][torch.arange(len(index)).unsqueeze(1), index]
        assert_near(rows, golden[f"out/feat_{which}"], what=f"feat_{which}")
    assert_near(outputs["action_feature"], golden["out/feat_act"].mean(axis=1))
    assert_near(outputs["background_feature"], golden["out/feat_bkg"].mean(axis=1))
    for field, name in (("video_logits", "act"), ("background_logits", "bkg")):
        assert_near(outputs[field], golden[f"out/logit_{name}"])
        assert_near(outputs[field].softmax(dim=1), golden[f"out/score_{name}"])
    gap, norm = model._losses["um"].component.parts(outputs)
    assert_near(gap, golden["out/um_gap_act"])
    assert_near(norm, golden["out/um_norm_bkg"])
    target = model._losses["cls"].component.target(batch.labels, outputs["video_logits"])
    assert_near(target, golden["out/target"])

    losses = model.losses(batch, outputs)
    for name, expected in golden.under("loss/").items():
        assert_near(losses[name], expected, what=name)
    assert_gradients(model, losses["total"], golden, "grad/", NAMES)
    assert_steps(model, batch, made["optimizer"], golden, NAMES)
    golden.assert_all_read("sample/")  # read by tests/data/test_sampling.py


@pytest.mark.parametrize("path", golden_files("um", "um_test_case*.npz"))
def test_both_passes_their_fusion_and_the_map(path):
    golden = Golden(path)
    made = golden.settings("meta")
    contrast = dict(outer=made["oic_lambda"], video_score=made["oic_gamma"])
    decoder = dict(
        shared=dict(
            num_classes=made["num_classes"],
            class_threshold=made["class_threshold"],
            upsample=made["scale"],
            contrast=contrast,
        ),
        nms=dict(iou=made["nms"]),
        clamp="none",
    )
    model = host(config_of(made, postprocessor=decoder), golden.under("param/"), NAMES)
    passes = {name: decoder for name, (decoder, _) in model._decoder.component.passes.items()}
    for name, decoder in passes.items():
        np.testing.assert_array_equal(decoder.thresholds.grid, golden[f"in/thresholds_{name}"])
    shipped = read_tree("um_thumos")["test"]
    sampling = build_sampling(shipped["sampling"], length=int(golden["in/num_segments"]))

    candidates, proposals, found, kept = [], [], {}, {}
    count = sum(name.startswith("in/features/") for name in golden)
    for v in range(count):
        features = golden[f"in/features/{v}"]
        index = sampling.positions(len(features), np.random.default_rng(0))
        np.testing.assert_array_equal(index, golden[f"out/sample_index/{v}"])
        batch = batch_of([features[index]], None)
        known = VideoMeta(str(v), 1e9, made["fps"], made["snippet"], len(features))
        ((outputs, meta),) = model.video_outputs(replace(batch, meta=(known.sampled(index),)))
        classes, curve, _ = passes["cas"].curves(outputs, meta)
        assert_near(passes["cas"].class_scores(outputs), golden[f"out/score_act/{v}"], 1e-10)
        np.testing.assert_array_equal(classes, golden[f"out/classes/{v}"])
        assert_near(torch.from_numpy(outputs["cas"]).softmax(dim=-1), golden[f"out/cas_softmax/{v}"], 1e-10)
        assert_near(outputs["attention"], golden[f"out/magnitude_norm/{v}"], 1e-10)
        assert_near(passes["cas"].snippet_scores(outputs), golden[f"out/cas_final/{v}"], 1e-10)
        assert_near(curve, golden[f"out/cas_up/{v}"], 1e-10)
        _, attention, scored = passes["magnitude"].curves(outputs, meta)
        assert_near(attention[:, 0], golden[f"out/magnitude_up/{v}"], 1e-10)
        assert_near(scored, golden[f"out/cas_up/{v}"], 1e-10)
        kept[v] = set(classes.tolist())

        found[str(v)] = model.decode(outputs, meta).detections
        proposals.append(np.insert(found[str(v)].rows(), 0, v, axis=1))
        for name, first in (("cas", 0), ("magnitude", 10)):
            candidates.append(sourced(passes[name], outputs, meta, v, first))
    same_multiset(np.concatenate(candidates), golden["out/candidates"], 1e-10)
    same_multiset(np.concatenate(proposals), golden["out/proposals"], 1e-10)

    names, videos = [str(c) for c in range(made["num_classes"])], [str(v) for v in range(count)]
    truth = GroundTruth(names, videos, *golden["in/gt"].T)
    rules = asdict(PRESETS["thumos_seconds_210"].rules)
    result = evaluate(DetectionTable.from_videos(found), truth, golden["out/ious"].tolist(), **rules)
    same_ap(result, golden["out/ap"], golden["out/map"])
    assert result.mAP.mean() == pytest.approx(golden["out/average_map"].item(), abs=1e-10)
    tags = {v: set(golden["in/gt"][golden["in/gt"][:, 0] == v, 1].astype(int).tolist()) for v in range(count)}
    assert np.mean([kept[v] == tags[v] for v in range(count)]) == pytest.approx(golden["out/test_acc"].item())
    golden.assert_all_read()


def sourced(decoder, outputs, meta, video: int, first: int) -> np.ndarray:
    """[n,6] candidates (video, class, start s, end s, score, number of their threshold counted from `first`)."""
    parts = []
    for number, level in enumerate(decoder.thresholds.grid):
        decoder.thresholds, every = type(decoder.thresholds)([float(level)]), decoder.thresholds
        rows = decoder.candidates(outputs, meta).detections().rows()
        decoder.thresholds = every
        parts.append(np.insert(np.insert(rows, 0, video, axis=1), 5, first + number, axis=1))
    return np.concatenate(parts)
