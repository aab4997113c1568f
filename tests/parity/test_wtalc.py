"""W-TALC against numbers of the authors' network, losses, Adam steps, detector and evaluators."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.helpers import golden_files
from tests.parity.host_files import Golden, assert_gradients, assert_near, assert_steps, batch_of
from tests.parity.hosts import host, recipe, renamed
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth, evaluate
from wtal_bench.evaluation.classification import classification_map
from wtal_bench.modeling.blocks import masked_softmax

NAMES = renamed({"backbone.fc1.": "embed.", "heads.classifier.cls.": "cls."})


def config_of(made: dict, **changes) -> dict:
    """The shipped recipe with the sizes and settings of a golden file."""
    width, classes = made["feature_dim"], made["num_classes"]
    return recipe(
        "wtalc_thumos",
        backbone=dict(in_channels=width, channels=width, dropout=made.get("dropout", 0.0)),
        heads=dict(classifier=dict(channels=width, num_classes=classes)),
        **changes,
    )


@pytest.mark.parametrize("path", golden_files("wtalc", "wtalc_case*.npz"))
def test_network_losses_gradients_and_steps(path):
    golden = Golden(path)
    made = golden.settings("meta")
    config = config_of(
        made,
        losses=dict(mil=dict(weight=made["mil_weight"]), cas=dict(weight=made["cas_weight"], margin=made["margin"])),
        postprocessor=dict(num_classes=made["num_classes"]),
    )
    config["heads"]["mil"]["divisor"] = made["topk_divisor"]
    model = host(config, golden.under("param/"), NAMES)
    lengths = golden["out/seq_len"].astype(int)
    features = [x[:n] for x, n in zip(golden["in/features"], lengths)]
    pairs = [[2 * j, 2 * j + 1] for j in range(made["num_pairs"])]
    batch = batch_of(features, golden["in/labels"], pairs)
    outputs = model.compute(batch)

    # theirs computes padded rows too; a batch without a mask shows what stands there
    unpadded = batch_of(list(golden["in/features"][:, : lengths.max()]), None)
    for field, name in (("embedding", "x_emb"), ("cas", "logits")):
        assert_near(outputs[field][batch.mask], golden[f"out/{name}"][batch.mask.numpy()], what=name)
        assert_near(model.compute(unpadded)[field], golden[f"out/{name}"], what=f"{name}, padded rows included")
    count = model._heads["mil"].component.count(batch.mask)
    np.testing.assert_array_equal(count, golden["out/k"])
    assert_near(outputs["video_logits"], golden["out/video_logits"])
    assert_near(outputs["video_logits"].softmax(dim=1), golden["out/video_prob"])
    mil, cas = (model._losses[name].component for name in ("mil", "cas"))
    assert_near(mil.target(batch.labels, outputs["video_logits"]), golden["out/target"])

    attention = masked_softmax(outputs["cas"], batch.mask)
    for row, expected in golden.under("out/attention/").items():
        assert_near(attention[int(row), : lengths[int(row)]], expected, what=f"attention/{row}")
    high, low = cas.pooled({"embedding": outputs["dropped_embedding"], "cas": outputs["cas"]}, batch)
    for name, value in (("high", high), ("low", low)):
        for which in (0, 1):
            assert_near(value[:, which].transpose(1, 2), golden[f"out/{name}_{which + 1}"])
    names = ("d_high_high", "d_high1_low2", "d_high2_low1")
    for name, value in zip(names, cas.distances(high, low).unbind(dim=1), strict=True):
        assert_near(value, golden[f"out/{name}"], what=name)
    assert cas.shared(batch, made["num_classes"]).sum().item() == golden["out/n_shared"]

    losses = model.losses(batch, outputs)
    for name, expected in golden.under("loss/").items():
        assert_near(losses[name], expected, what=name)
    assert_gradients(model, losses["total"], golden, "grad/", NAMES)
    assert_steps(model, batch, made["optimizer"], golden, NAMES)
    golden.assert_all_read("sample/")  # read by tests/data/test_sampling.py


@pytest.mark.parametrize("path", golden_files("wtalc", "wtalc_test_case*.npz"))
def test_detector_and_both_evaluators(path):
    golden = Golden(path)
    made = golden.settings("meta")
    config = config_of(
        made, postprocessor=dict(num_classes=made["num_classes"], class_threshold=made["class_threshold"], clamp="none")
    )
    assert made["rule"] == "max - 0.5*(max-min), strict"
    assert made["score"] == "max + 0.7*class_score"
    config["postprocessor"]["min_length"] = made["min_len"]
    model = host(config, golden.under("param/"), NAMES)
    rate, count = made["fps"] / made["snippet"], len(golden["in/labels_all"])
    annotated = set(golden["in/gt"][:, 0].astype(int))
    scores, candidates, found = [], [], {}
    for v in range(count):
        batch = batch_of([golden[f"in/features/{v}"]], None)
        length = len(golden[f"in/features/{v}"])
        batch = replace(batch, meta=(replace(batch.meta[0], fps=made["fps"], stride=made["snippet"]),))
        ((outputs, meta),) = model.video_outputs(batch)
        logits = model.compute(batch)["cas"][0]
        assert_near(logits, golden[f"out/logits/{v}"], 1e-10)
        prediction = model.decode(outputs, meta)
        scores.append(prediction.video_scores)
        if v in annotated:
            rows = prediction.detections.rows()
            at = golden["out/class_score_videos"].tolist().index(v)
            assert_near(outputs["class_scores"], golden["out/class_score"][at], 1e-10)
            assert length >= 8 or not len(rows)
            candidates.append(np.insert(rows, 0, v, axis=1))
            found[str(v)] = prediction.detections
    assert sorted(annotated) == sorted(golden["out/class_score_videos"].astype(int))

    ours = np.concatenate(candidates)  # columns (video, class, start s, end s, score)
    same(ours * [1, 1, rate, rate, 1], golden["out/candidates"])
    kept = ours[~meets_ambiguous(ours, golden["in/ambiguous"], rate)]
    same(kept * [1, 1, rate, rate, 1], golden["out/proposals"])
    same(kept, golden["out/proposals_seconds"])

    assert_near(np.stack(scores), golden["out/video_prob"], 1e-10)
    theirs = golden["out/classification_map"].item()
    assert 100 * classification_map(np.stack(scores), golden["in/labels_all"]) == pytest.approx(theirs, abs=1e-6, rel=0)
    names = [str(c) for c in range(made["num_classes"])]
    truth = GroundTruth(names, [str(v) for v in range(count)], *golden["in/gt"].T, *golden["in/ambiguous"].T)
    rules = asdict(replace(PRESETS["wtalc"].rules, grid=rate))
    result = evaluate(DetectionTable.from_videos(found), truth, golden["out/ious"].tolist(), **rules)
    columns = [names.index(name) for name in result.classes]
    assert_near(result.ap.T, golden["out/ap"][:, columns], 1e-10)
    assert_near(100 * result.mAP, golden["out/map"], 1e-10)
    golden.assert_all_read()


def same(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal as sets of rows."""
    assert ours.shape == theirs.shape
    ours, theirs = (rows[np.lexsort(np.round(rows, 9).T[::-1])] for rows in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


def meets_ambiguous(rows: np.ndarray, spans: np.ndarray, rate: float) -> np.ndarray:
    """Whether rows (video, class, start s, end s, ...) share a whole snippet with a span of their video."""
    bad = {}
    for video, start, end in spans:
        bad.setdefault(video, set()).update(range(round(start * rate), round(end * rate)))
    grid = np.round(rows[:, 2:4] * rate).astype(int)
    return np.array([bool(bad.get(row[0], set()) & set(range(*cells))) for row, cells in zip(rows, grid)])
