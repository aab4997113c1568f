"""FAC-Net against numbers of the authors' network, losses, training loop, proposals and mAP, through config parts."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.helpers import golden_files, load_golden
from tests.parity.host_files import assert_near, batch_of
from wtal_bench.decoding import NMS, Candidates, finish
from wtal_bench.evaluation import PRESETS, DetectionTable, GroundTruth, evaluate
from wtal_bench.interfaces import Batch, Detections, VideoMeta
from wtal_bench.modeling.blocks import cosine, unit
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.plugins import registry
from wtal_bench.running.optim import OptimizerStep, build_optimizer
from wtal_bench.running.settings import Train

PARAMETERS = {
    "backbone.embed.fc1.weight": "embed.fc1.weight",
    "backbone.embed.fc1.bias": "embed.fc1.bias",
    "backbone.embed.fc2.weight": "embed.fc2.weight",
    "backbone.embed.fc2.bias": "embed.fc2.bias",
    "backbone.action_centers": "action_centers",
    "backbone.fg_center": "fg_center",
}
LOGITS = {"cw": "cw_logits", "ca": "video_logits", "mil": "mil_logits"}
TOLERANCE = 1e-10


def config_of(meta: dict) -> dict:
    """The model config that says what a golden file's settings say."""
    cosines = dict(delta=meta["scale_factor"], video_scale_multiplier=meta["video_scale_multiplier"])
    cross_entropy = dict(type="VideoCrossEntropy", target_eps=1e-8)
    return dict(
        type="Localizer",
        backbone=dict(
            type="fac_net.Trunk",
            in_channels=meta["feature_dim"],
            channels=meta["embed_dim"],
            num_classes=meta["num_classes"],
            delta=meta["scale_factor"],
            temperatures=meta["temperatures"],
            dropout=meta["dropout"],
        ),
        heads=dict(
            cw=dict(type="fac_net.ClassWise", writes=LOGITS["cw"], **cosines),
            ca=dict(type="fac_net.ClassAgnostic", **cosines),
            mil=dict(
                type="fac_net.MultipleInstance",
                video_scale_multiplier=meta["video_scale_multiplier"],
                writes=LOGITS["mil"],
            ),
        ),
        losses=dict(
            cw=dict(**cross_entropy, reads=LOGITS["cw"], weight=meta["lambda_cw"]),
            ca=dict(**cross_entropy, reads=LOGITS["ca"], weight=meta["lambda_ca"]),
            mil=dict(**cross_entropy, reads=LOGITS["mil"], target="tags_and_background", weight=meta["lambda_mil"]),
        ),
    )


def build(meta: dict, data: dict) -> Model:
    model = build_model(config_of(meta), "golden").double()
    state = model.state_dict()
    assert set(state) == set(PARAMETERS)
    model.load_state_dict({name: torch.from_numpy(data[f"param/{PARAMETERS[name]}"]) for name in state})
    return model


def forwards(data: dict) -> list[Batch]:
    """The mini-batch as the authors ran it: one batch of videos of equal length after the other."""
    count = len({key.split("/")[1] for key in data if key.startswith("in/")})
    return [batch_of(data[f"in/{k}/features"], data[f"in/{k}/labels"]) for k in range(count)]


def as_one_batch(batches: list[Batch]) -> Batch:
    """All videos of the mini-batch, padded together: how the harness trains."""
    videos = [video.detach().numpy() for batch in batches for video in batch.features]
    return batch_of(videos, np.concatenate([batch.labels.numpy() for batch in batches]))


def intermediates(model: Model, batch: Batch) -> dict[str, torch.Tensor]:
    """Everything the golden files name, from the model's fields."""
    hidden = []
    hook = model.backbone.embed.fc1.register_forward_hook(lambda _, __, rows: hidden.append(F.relu(rows)))
    out = model.compute(batch)
    hook.remove()
    losses = {name: part.component for name, part in model._losses.items()}
    targets = {name: losses[name].target(batch.labels, out[LOGITS[name]]) for name in LOGITS}
    named = {
        "hidden": hidden[0].reshape(*batch.mask.shape, -1),
        "x_emb": out["embedding"],
        "emb_unit": unit(out["embedding"]),
        "action_centers_unit": unit(out["class_weights"]),
        "fg_center_unit": unit(out["foreground_weights"]),
        "S_a": out["cas"],
        "S_f": out["foreground_scores"],
        "A_a": out["class_attention"].permute(2, 0, 1, 3),
        "A_f": out["foreground_attention"].permute(2, 0, 1),
        "F_a": out["class_features"].transpose(0, 1),
        "F_f": out["foreground_features"].transpose(0, 1),
        "cos_cw": cosine(out["class_features"], out["foreground_weights"]).squeeze(-1).transpose(0, 1),
        "cos_ca": cosine(out["foreground_features"], out["class_weights"]).transpose(0, 1),
        "score_mil": (out["class_attention"] * out["cas"].unsqueeze(2)).sum(1).transpose(0, 1),
        "frame_prob": out["cas"].softmax(-1),
        "target_cw_ca": targets["cw"],
        "target_mil": targets["mil"],
    }
    assert torch.equal(targets["cw"], targets["ca"])
    for name, field in LOGITS.items():
        named |= {f"logit_{name}": out[field], f"P_{name}": out[field].softmax(-1)}
    return named


@pytest.mark.parametrize("path", golden_files("fac_net", "facnet_case*.npz"))
def test_every_intermediate_loss_and_gradient(path):
    data = load_golden(path)
    meta = json.loads(str(data["meta"]))
    model = build(meta, data)
    sums = dict.fromkeys(("cw", "ca", "mil", "total"), 0.0)
    for k, batch in enumerate(forwards(data)):
        ours = intermediates(model, batch)
        theirs = {key.removeprefix(f"out/{k}/") for key in data if key.startswith(f"out/{k}/")}
        assert theirs == set(ours)
        for name in sorted(theirs):
            assert_near(ours[name], data[f"out/{k}/{name}"], what=f"out/{k}/{name}")
        scalars = model.losses(batch)
        scalars["total"].backward()
        for name in sums:
            assert_near(scalars[name], data[f"loss/{k}/{name}"], what=f"loss/{k}/{name}")
            sums[name] += scalars[name].detach()
    for name, value in sums.items():
        assert_near(value, data[f"loss/sum/{name}"], what=f"loss/sum/{name}")
    assert_gradients(model, data)


@pytest.mark.parametrize("path", golden_files("fac_net", "facnet_case*.npz"))
def test_float32_stays_near(path):
    data = load_golden(path)
    model = build(json.loads(str(data["meta"])), data).float()
    for k, batch in enumerate(forwards(data)):
        single = replace(batch, features=batch.features.float(), labels=batch.labels.float())
        for name, value in intermediates(model, single).items():
            assert value.dtype == torch.float32
            value = value.detach().numpy()
            np.testing.assert_allclose(value, data[f"out/{k}/{name}"], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("path", golden_files("fac_net", "facnet_case*.npz"))
def test_one_padded_batch_has_the_summed_gradient(path):
    data = load_golden(path)
    batches = forwards(data)
    if any(len(batch) > 1 for batch in batches):
        pytest.skip("the authors average inside a forward of several videos")
    model = build(json.loads(str(data["meta"])), data)
    model.grad_reduction = "sum"
    total, _ = model.parse_losses(model(as_one_batch(batches)))
    total.backward()
    assert_near(total, data["loss/sum/total"])
    assert_gradients(model, data)


def assert_gradients(model: Model, data: dict) -> None:
    for name, parameter in model.named_parameters():
        assert_near(parameter.grad, data[f"grad/{PARAMETERS[name]}"], what=f"gradient of {name}")


@pytest.mark.parametrize("path", golden_files("fac_net", "facnet_case*.npz"))
def test_parameters_after_every_optimiser_step(path):
    data = load_golden(path)
    meta = json.loads(str(data["meta"]))
    batches = forwards(data)
    ways = [(batches, "mean")]
    if all(len(batch) == 1 for batch in batches):
        ways.append(([as_one_batch(batches)], "sum"))
    for mini_batch, reduction in ways:
        model = build(meta, data)
        model.grad_reduction = reduction
        step = optimizer_of(model, meta["optimizer"], len(mini_batch))
        for k in range(1, meta["optimizer"]["steps"] + 1):
            for batch in mini_batch:
                step.update_params(model.parse_losses(model(batch))[0])
            for name, parameter in model.named_parameters():
                assert_near(parameter, data[f"after{k}/{PARAMETERS[name]}"], what=f"{name} after {k} steps")


def optimizer_of(model: Model, settings: dict, accumulate: int) -> OptimizerStep:
    """The runner's optimiser and wrapper, with a golden file's settings."""
    assert settings["type"] == "Adam"
    assert settings["coupled_l2"]
    assert settings["grad_reduction"] == "sum over forwards"
    names = ("lr", "betas", "eps", "weight_decay")
    train = Train(accumulate=accumulate, accumulate_reduction="sum", **{name: settings[name] for name in names})
    optimizer = build_optimizer(model.parameters(), train)
    return OptimizerStep(optimizer, accumulate=accumulate, reduction=train.accumulate_reduction)


# ---- proposals, merge and mAP ----


class Golden:
    """A proposals file: its videos, what its settings make of a decoder, and its numbers."""

    def __init__(self, path) -> None:
        self.data = load_golden(path)
        self.meta = meta = json.loads(str(self.data["meta"]))
        self.rate = meta["snippets_per_second"]
        self.classes = tuple(f"class {c}" for c in range(meta["num_classes"]))
        self.videos = tuple(str(v) for v in range(meta["num_videos"]))
        self.nms_fused = NMS(iou=meta["nms_fused"], **NMS_RULE)
        passes = {stream: self.stream_pass(stream) for stream in ("rgb", "flow")}
        passes["rgb"]["score_scale"] = meta["rgb_scale"]
        self.decoder = registry("postprocessor").build(
            dict(
                type="PooledDecoder",
                shared=dict(
                    num_classes=meta["num_classes"],
                    scores_activation="none",
                    class_threshold=meta["class_threshold"],
                    thresholds=self.data["in/thresholds"].tolist(),
                    min_length=meta["min_len"],
                    contrast=dict(outer=meta["outer_ratio"], weight=meta["outer_weight"], ring="inside", overhang=1),
                    end_overhang=1,
                    time="snippet",
                    nms_units="samples",
                ),
                passes=passes,
                nms=asdict(self.nms_fused),
                nms_units="samples",
                nms_classes="shared",
                clamp="none",
            ),
            "golden",
        )

    def stream_pass(self, stream: str) -> dict:
        nms = dict(iou=self.meta["nms_single"], **NMS_RULE)
        return dict(scores=f"{stream}.prob", curve=f"{stream}.cas", nms=nms)

    def outputs(self, v: int) -> dict[str, np.ndarray]:
        fields = {}
        for stream in ("rgb", "flow"):
            fields[f"{stream}.prob"] = self.data[f"in/{stream}/video_prob"][v]
            fields[f"{stream}.cas"] = self.data[f"in/{stream}/frame_prob/{v}"]
        return fields

    def video(self, v: int) -> VideoMeta:
        return VideoMeta(str(v), self.meta["T"][v] / self.rate, self.rate * 16, 16, self.meta["T"][v])

    def rows(self, parts: list[Candidates]) -> np.ndarray:
        """[N,5] video, class, start, end, score, sorted."""
        columns = [np.stack([p.label, p.start, p.end, p.score], 1) for p in parts]
        return sort_rows(np.concatenate([np.insert(c, 0, v, axis=1) for v, c in enumerate(columns)]))

    def kept(self, v: int, part: Candidates) -> Candidates:
        """Rows that share no snippet with an ambiguous stretch of the video."""
        spans = [span[1:] for span in self.data["in/ambiguous"] if span[0] == v]
        bad = [set(range(round(self.rate * start), round(self.rate * end))) for start, end in spans]
        bad = set().union(*bad)
        return part.take(
            np.array([not bad & set(range(int(s), int(e))) for s, e in zip(part.start, part.end)], dtype=bool)
        )

    def streams(self) -> dict[str, list[Candidates]]:
        """Proposals of every stream and video after its own NMS and the ambiguous filter, RGB scaled."""
        parts = [self.decoder.parts(self.outputs(v), self.video(v)) for v in range(len(self.videos))]
        return {
            stream: [self.kept(v, part[i]) for v, part in enumerate(parts)] for i, stream in enumerate(("rgb", "flow"))
        }

    def unscaled(self, parts: list[Candidates], stream: str) -> list[Candidates]:
        scale = self.decoder.passes[stream][1]
        return [replace(part, score=part.score / scale) for part in parts]

    def evaluate(self, videos: list[Detections]):
        ambiguous = self.data["in/ambiguous"]
        truth = GroundTruth(
            self.classes,
            self.videos,
            *self.data["in/gt"].T,
            ambiguous[:, 0],
            ambiguous[:, 1],
            ambiguous[:, 2],
        )
        rules = asdict(replace(PRESETS["thumos_snippet"].rules, grid=self.rate))
        return evaluate(
            DetectionTable.from_videos(dict(zip(self.videos, videos))), truth, self.data["in/ious"].tolist(), **rules
        )

    def assert_map(self, videos: list[Detections], prefix: str) -> None:
        result = self.evaluate(videos)
        assert_near(100 * result.mAP, self.data[f"{prefix}/map"], what=f"{prefix}/map")
        if not np.isnan(result.ap).any():
            columns = [self.classes.index(name) for name in result.classes]
            assert_near(result.ap.T, self.data[f"{prefix}/ap"][:, columns], what=f"{prefix}/ap")


NMS_RULE = dict(overlap="self", offset=1.0, drop=">")


def sort_rows(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(np.round(rows, 9).T[::-1])]


PROPOSALS = golden_files("fac_net", "facnet_proposals*.npz")


@pytest.mark.parametrize("path", PROPOSALS)
def test_candidates_of_every_stream(path):
    golden = Golden(path)
    for stream, (decoder, _) in golden.decoder.passes.items():
        ours = [decoder.candidates(golden.outputs(v), golden.video(v)) for v in range(len(golden.videos))]
        assert_near(golden.rows(ours), sort_rows(golden.data[f"out/single/{stream}/candidates"]), what=stream)


@pytest.mark.parametrize("path", PROPOSALS)
def test_proposals_of_every_stream_and_their_map(path):
    golden = Golden(path)
    for stream, parts in golden.streams().items():
        parts = golden.unscaled(parts, stream)
        theirs = golden.data[f"out/single/{stream}/proposals"]
        assert_near(golden.rows(parts), sort_rows(theirs), what=stream)
        seconds = np.concatenate([np.insert(p.detections().rows(), 0, v, axis=1) for v, p in enumerate(parts)])
        key = f"out/single/{stream}/proposals_seconds"
        assert_near(sort_rows(seconds[:, [0, 1, 2, 3, 4]]), sort_rows(golden.data[key]), what=key)
        golden.assert_map([part.detections() for part in parts], f"out/single/{stream}")


@pytest.mark.parametrize("path", PROPOSALS)
def test_two_streams_merged_and_their_map(path):
    golden = Golden(path)
    rgb, flow = golden.streams().values()
    assert_near(golden.rows(rgb), sort_rows(golden.data["out/two_stream/rgb_scaled_proposals"]))
    seconds = np.concatenate([np.insert(part.detections().rows(), 0, v, axis=1) for v, part in enumerate(rgb)])
    assert_near(sort_rows(seconds), sort_rows(golden.data["out/two_stream/rgb_scaled_proposals_seconds"]))
    merged = [
        finish([r, f], video.duration, golden.nms_fused, "samples", "none", only_shared=True)
        for r, f, video in zip(rgb, flow, map(golden.video, range(len(golden.videos))))
    ]
    ours = np.concatenate([np.insert(d.rows(), 0, v, axis=1) for v, d in enumerate(merged)])
    assert_near(sort_rows(ours), sort_rows(golden.data["out/two_stream/proposals_seconds"]))
    ours[:, 2:4] *= golden.rate
    assert_near(sort_rows(ours), sort_rows(golden.data["out/two_stream/proposals"]))
    golden.assert_map(merged, "out/two_stream")


@pytest.mark.parametrize("path", PROPOSALS)
def test_the_decoder_is_that_merge_without_the_filter_before_it(path):
    """The decoder knows no annotations: it merges unfiltered streams, and the evaluator drops ambiguous rows after."""
    golden = Golden(path)
    unfiltered = [golden.decoder(golden.outputs(v), golden.video(v)) for v in range(len(golden.videos))]
    golden.data["in/ambiguous"] = golden.data["in/ambiguous"][:0]
    rgb, flow = golden.streams().values()
    for ours, r, f, v in zip(unfiltered, rgb, flow, range(len(golden.videos))):
        theirs = finish([r, f], golden.video(v).duration, golden.nms_fused, "samples", "none", only_shared=True)
        np.testing.assert_array_equal(ours.rows(), theirs.rows())
