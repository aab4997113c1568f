"""CoLA against numbers of the authors' code: outputs, mining, losses, gradients, Adam steps and the test path."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.decoding.compare import same_ap, same_multiset, score, video_rows
from tests.helpers import golden_files
from tests.parity.host_files import Golden, assert_gradients, assert_near, assert_steps, batch_of, build, shipped_model
from wtal_bench.decoding import PooledDecoder
from wtal_bench.evaluation import exact_match_accuracy
from wtal_bench.structures import VideoMeta
from wtal_plugins.cola.mining import dilated, eroded, masked_median

NAMES = {
    "backbone.embed.conv.weight": "embed.weight",
    "backbone.embed.conv.bias": "embed.bias",
    "heads.classifier.cls.conv.weight": "cls.weight",
}
SETS = {"EA": "easy_action", "EB": "easy_background", "HA": "hard_action", "HB": "hard_background"}


def options(meta: dict) -> list[str]:
    return [
        f"model.backbone.in_channels={meta['feature_dim']}",
        f"model.backbone.channels={meta['embed_dim']}",
        f"model.heads.classifier.channels={meta['embed_dim']}",
        f"model.heads.classifier.num_classes={meta['num_classes']}",
        f"model.heads.pool.divisor={meta['r_easy']}",
        f"model.heads.mining.easy_divisor={meta['r_easy']}",
        f"model.heads.mining.hard_divisor={meta['r_hard']}",
        f"model.heads.mining.inner_width={meta['m']}",
        f"model.heads.mining.outer_width={meta['M']}",
        f"model.losses.snico.temperature={meta['temperature']}",
        f"model.losses.snico.weight={meta['lambda_snico']}",
    ]


@pytest.mark.parametrize("path", golden_files("cola", "cola_case*.npz"))
def test_outputs_mining_losses_gradients_and_steps(path):
    golden = Golden(path)
    meta = golden.settings("meta")
    assert meta["dropout"] == 0.0
    state = {ours: golden[f"param/{theirs}"] for ours, theirs in NAMES.items()}
    model = build("cola_thumos", options(meta), state)
    batch = batch_of(golden["in/features"], golden["in/labels"])
    outputs = model.compute(batch)
    assert_outputs(model, outputs, batch, golden)
    assert_sets(model, outputs, golden, "out/", torch.ones_like(outputs["actionness"]))
    assert_losses(model, batch, outputs, golden, "")
    if meta["masked"]:
        mask = torch.from_numpy(golden["in/easy_mask"])
        given = model.heads["mining"].dropout
        model.heads["mining"].dropout = Given(mask)
        masked = model.compute(batch)
        assert_sets(model, masked, golden, "out/masked/", mask)
        assert_losses(model, batch, masked, golden, "masked/")
        model.heads["mining"].dropout = given
    assert_steps(model, batch, meta["optimizer"], golden, NAMES.get)
    golden.assert_all_read()


class Given(torch.nn.Module):
    """In the place of the dropout that draws q: the file's own draw."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, ones):
        return ones * self.mask


def assert_outputs(model, outputs, batch, golden):
    actionness, mask = outputs["actionness"], batch.mask
    above = actionness > masked_median(actionness, mask).unsqueeze(1)
    mining = model.heads["mining"]
    inner, outer = mining.inner_width, mining.outer_width
    ours = {
        "embed": outputs["embedding"],
        "cas": outputs["cas"],
        "actionness": actionness,
        "video_logits": outputs["video_logits"],
        "video_scores": outputs["video_logits"].softmax(1),
        "target": model._losses["cls"].component.target(batch.labels, outputs["video_logits"]),
        "aness_bin": above,
        "erosion_m": eroded(above, inner),
        "erosion_M": eroded(above, outer),
        "dilation_m": dilated(above, inner),
        "dilation_M": dilated(above, outer),
        "region_inner": eroded(above, inner) & ~eroded(above, outer),
        "region_outer": dilated(above, outer) & ~dilated(above, inner),
    }
    for name, value in ours.items():
        assert_near(value, golden[f"out/{name}"], what=name)
    assert torch.equal(outputs["class_weights"], model.heads["classifier"].cls.conv.weight[..., 0])


def assert_sets(model, outputs, golden, prefix, kept):
    """The marked snippets are the file's, and our scores rank them in its order."""
    actionness = outputs["actionness"]
    scores = model.heads["mining"].scores(actionness, torch.ones_like(actionness, dtype=torch.bool), kept)
    for short, name in SETS.items():
        index = golden[f"{prefix}index/{short}"]
        ranked = (-scores[name]).sort(dim=1, stable=True).indices[:, : index.shape[1]]
        np.testing.assert_array_equal(ranked, index, err_msg=name)
        marked = torch.zeros_like(outputs[name]).scatter(1, torch.from_numpy(index), True)
        assert torch.equal(outputs[name], marked), name
        rows = np.take_along_axis(outputs["embedding"].detach().numpy(), index[..., None], axis=1)
        assert_near(rows, golden[f"{prefix}pair/{short}"], what=name)


def assert_losses(model, batch, outputs, golden, prefix):
    losses = model.losses(batch, outputs)
    ours = {"action": losses["cls"], "snico": losses["snico"], "total": losses["total"]}
    ours["nce_ha"], ours["nce_hb"] = model._losses["snico"].component.terms(outputs, batch)
    for name, value in ours.items():
        assert_near(value, golden[f"loss/{prefix}{name}"], what=name)
    assert_gradients(model, losses["total"], golden, f"grad/{prefix}", NAMES.get)


@pytest.mark.parametrize("path", golden_files("cola", "cola_proposals_*.npz"))
def test_the_shipped_decoder_gives_the_authors_proposals_and_map(path):
    golden = Golden(path)
    made = golden.settings("meta")
    config = shipped_model("cola_thumos")["postprocessor"]
    shared = config["shared"]
    assert (made["fps"], made["snippet_frames"]) == (25, 16)
    assert (shared["class_threshold"], shared["upsample"]) == (made["class_threshold"], made["scale"])
    assert shared["contrast"] == {"outer": made["oic_lambda"], "video_score": made["gamma"]}
    assert (shared["min_length"], config["nms"]) == (made["min_fine_len"], {"iou": made["nms"], "offset": 1.0})
    # the file's scores are activated already, its segments may end past the last stored snippet
    shared |= dict(num_classes=made["num_classes"], scores_activation="none")
    decoder = PooledDecoder(shared=shared, passes=config["passes"], nms=config["nms"], clamp="none")
    for name in decoder.passes:
        np.testing.assert_array_equal(
            decoder.passes[name][0].thresholds.levels(np.zeros((1, 1))), golden[f"in/{name}_thresholds"]
        )
    found, parts, scores = [], {name: [] for name in decoder.passes}, []
    for v, length in enumerate(made["T"]):
        outputs = {
            "cas": golden[f"in/cas/{v}"],
            "actionness": golden[f"in/actionness/{v}"],
            "video_logits": golden["in/video_scores"][v],
        }
        assert len(outputs["cas"]) == length
        np.testing.assert_allclose(outputs["cas"].sum(axis=1), outputs["actionness"], rtol=1e-12)
        snippets = int(golden["in/num_snippets"][v])
        video = VideoMeta(str(v), snippets * 16 / 25, fps=25.0, stride=16, num_snippets=snippets)
        found.append(decoder(outputs, video))
        scores.append(decoder.video_scores(outputs))
        for name, part in zip(parts, decoder.parts(outputs, video)):
            parts[name].append(part.detections())
        kept, curve, cas = decoder.passes["actionness"][0].curves(outputs, video)
        np.testing.assert_array_equal(kept, golden[f"out/classes/{v}"])
        assert_near(cas, golden[f"out/cas_up/{v}"], 1e-10)
        assert_near(curve[:, 0], golden[f"out/actionness_up/{v}"], 1e-10)
    for name, part in parts.items():
        same_multiset(video_rows(part), golden[f"out/candidates_{name}"])
    same_multiset(np.concatenate([video_rows(part) for part in parts.values()]), golden["out/candidates"])
    same_multiset(video_rows(found), golden["out/proposals"])
    result = score(video_rows(found), golden["in/gt"], golden["in/tious"], made["num_videos"], made["num_classes"])
    same_ap(result, golden["out/ap"], golden["out/map"] / 100)
    assert_near(100 * result.average, golden["out/average_map"], 1e-10)
    accuracy = exact_match_accuracy(np.array(scores), golden["in/labels"], made["class_threshold"])
    assert_near(accuracy, golden["out/video_accuracy"])
    golden.assert_all_read()
