"""RSKP (and GauFuse's variant of it) against numbers of the authors' network, losses and training loop."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.helpers import golden_files, load_golden
from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.evaluation import classification_map
from wtal_bench.interfaces import Batch, VideoMeta
from wtal_bench.modeling.localizer import Localizer, build_model
from wtal_bench.running.config import Train
from wtal_bench.running.optim import build_optimizer, learning_rate
from wtal_plugins.gaufuse.losses import PseudoLabelLoss
from wtal_plugins.rskp.examples import official
from wtal_plugins.rskp.propagation import walk

PARAMETERS = {
    "embed.weight": "backbone.embed.weight",
    "embed.bias": "backbone.embed.bias",
    "mu": "heads.propagation.mu",
    "ac_center": "heads.classifier.ac_center",
    "fg_center": "heads.classifier.fg_center",
}


def settings(golden: dict) -> dict:
    return {
        key.removeprefix("cfg/"): value.item()
        for key, value in golden.items()
        if key.startswith("cfg/") and value.ndim == 0
    }


def build(golden: dict, start: int) -> Localizer:
    """The model a golden file's cfg describes, in float64 with dropout 0 and the file's parameters."""
    cfg = settings(golden)
    width = golden["param/embed.weight"].shape
    classes = len(golden["param/ac_center"]) - 1
    channels = dict(channels=width[0], num_classes=classes)
    model = copy.deepcopy(official().model)
    model["backbone"] |= dict(in_channels=width[1], channels=width[0], dropout=0.0)
    heads, losses = model["heads"], model["losses"]
    heads["classifier"] |= dict(**channels, scale=cfg["scale"])
    heads["propagation"] |= dict(
        channels=width[0], count=cfg["n_mu"], iterations=cfg["em_iter"], walk_weight=cfg["w"], scale=cfg["scale"]
    )
    heads["memory"] |= dict(
        **channels,
        size=cfg["queue"],
        start=start,
        slot="first" if cfg["code"] == "gaufuse" else "label",
        walk_weight=cfg["w"],
        scale=cfg["scale"],
    )
    for name in ("o", "m", "r"):
        memory = name == "r"
        prefix = "" if name == "o" else f"{name}."
        back = dict(type="rskp.TagCrossEntropy", reads=f"{prefix}classwise_logits", background_target=1.0)
        losses[f"back_{name}"] = back | dict(weight=since(start, 0.5 * cfg["lambda_b"]) if memory else cfg["lambda_b"])
    losses["fore_r"]["weight"] = since(start, 0.5)
    losses["att"]["weight"] = cfg["lambda_a"]
    losses["spl"] |= dict(temperature=cfg["T"])
    model["postprocessor"] = None
    built = build_model(model, "golden").double()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            (theirs,) = (key for key, ours in PARAMETERS.items() if ours == name)
            parameter.copy_(torch.from_numpy(golden[f"param/{theirs}"]))
    return built


def since(start: int, weight: float):
    return weight if start == 0 else dict(schedule="steps", steps=[(0, 0.0), (start, weight)])


def batch_of(features: list[np.ndarray], labels: np.ndarray, epoch: int = 0, index=None) -> Batch:
    lengths = [len(rows) for rows in features]
    padded = np.zeros((len(features), max(lengths), features[0].shape[-1]))
    for row, values in enumerate(features):
        padded[row, : len(values)] = values
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    index = list(range(len(features))) if index is None else index
    return Batch(
        features=torch.from_numpy(padded),
        mask=torch.from_numpy(mask),
        labels=torch.from_numpy(np.asarray(labels, dtype=np.float64)),
        index=torch.tensor(index),
        meta=tuple(VideoMeta(str(i), n * 0.64, 25.0, 16, n) for i, n in zip(index, lengths)),
        snippet_index=torch.from_numpy(np.where(mask, np.arange(max(lengths)), 0.0)),
        epoch=epoch,
    )


def near(ours, theirs, tolerance=1e-9, what=""):
    ours = ours.detach().numpy() if isinstance(ours, torch.Tensor) else np.asarray(ours)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=what)


@pytest.mark.parametrize("path", golden_files("gaufuse", "rskp__*.npz"))
def test_network_losses_gradients_and_memory(path):
    golden = load_golden(path)
    cfg = settings(golden)
    start = 0 if cfg["use_memory"] else 1
    model = build(golden, start).train()
    memory = model.heads["memory"]
    if cfg["use_memory"]:
        memory.bank.copy_(torch.from_numpy(golden["in/memory"]))
        memory.bank_scores.copy_(torch.from_numpy(golden["in/memory_scores"]))
    batch = batch_of([golden["in/features"][0]], golden["in/labels"])
    outputs = model.compute(batch)

    near(outputs["dropped_embedding"], golden["out/x"], what="x")
    near(outputs["representatives"], golden["out/mu"], what="mu")
    near(outputs["representative_scores"], golden["out/mu_pred"], what="mu_pred")
    branches = {"o": "", "m": "m.", "r": "r."} if cfg["use_memory"] else {"o": "", "m": "m."}
    for branch, prefix in branches.items():
        near(outputs[f"{prefix}cas"], golden[f"out/{branch}_frm"], what=branch)
        near(outputs[f"{prefix}attention"], golden[f"out/{branch}_att"].reshape(1, -1), what=branch)
        near(outputs[f"{prefix}video_logits"].softmax(1), golden[f"out/{branch}_vid_ca"], what=branch)
        near(outputs[f"{prefix}classwise_logits"].softmax(1), golden[f"out/{branch}_vid_cw"], what=branch)
    walked(golden, outputs, batch, memory, cfg)

    scalars = model.losses(batch, outputs)
    for name in ("fore_o", "fore_m", "back_o", "back_m", "att", "spl"):
        near(scalars[name], golden[f"loss/{name}"], what=name)
    if cfg["use_memory"]:
        for name in ("fore_r", "back_r"):
            near(scalars[name], golden[f"loss/{name}"], what=name)
        near(memory.bank, golden["out/memory_after"], what="memory")
        near(memory.bank_scores, golden["out/memory_scores_after"], what="memory scores")
    total = scalars["total"] + (cfg["spl_weight"] - 1) * scalars["spl"]  # the file's point of the schedule
    if cfg["pseudo_weight"]:
        loss = PseudoLabelLoss(share=cfg["frm_coef_pseudo"])
        labels = torch.from_numpy(golden["in/pseudo"]).unsqueeze(0)
        read = {"cas": outputs["cas"], "propagated_cas": outputs["m.cas"], "pseudo_labels": labels}
        pseudo = loss(read, batch)["pseudo"]
        near(pseudo, golden["loss/pseudo"], what="pseudo")
        total = total + cfg["pseudo_weight"] * pseudo
    near(total, golden["loss/total"], what="total")
    total.backward()
    short = batch.mask.sum() == 1  # then mu and fg_center get rounding noise alone
    for theirs, ours in PARAMETERS.items():
        gradient = model.get_parameter(ours).grad
        if short and theirs in ("mu", "fg_center"):
            np.testing.assert_allclose(gradient, golden[f"grad/{theirs}"], rtol=0, atol=1e-9, err_msg=theirs)
        else:
            near(gradient, golden[f"grad/{theirs}"], what=f"grad {theirs}")

    shares = [cfg["frm_coef_test"], 1 - cfg["frm_coef_test"]]
    curve = copy.deepcopy(official().model["postprocessor"])
    for field, share in zip(curve["curve"]["product"][0]["sum"], shares):
        field["weight"] = share
    curve |= dict(num_classes=None, class_threshold=-1.0, precision="float64")
    decoder = ThresholdDecoder(**{key: value for key, value in curve.items() if key != "type"})
    video = {name: outputs[name][0].detach().numpy() for name in ("cas", "m.cas", "attention", "video_prob")}
    kept, values, _ = decoder.curves(video, batch.meta[0])
    assert len(kept) == values.shape[1] == len(golden["param/ac_center"])
    near(values, golden["out/test_cas"], what="test CAS")
    near(decoder.video_scores(video), golden["out/test_vid"], what="video scores")


def walked(golden, outputs, batch, memory, cfg):
    """The propagated features themselves, which training never makes."""
    from wtal_plugins.rskp.heads import snippets_of

    snippets = snippets_of(outputs, batch)
    if "out/m_reallocated" in golden:
        near(walk(snippets, outputs["representatives"], cfg["w"]).dense(), golden["out/m_reallocated"], what="m walk")
    if "out/r_memory_used" in golden:
        slots = memory.slots(batch.labels)[0]
        assert slots == golden["in/memory_slots"].tolist()
        used = torch.from_numpy(golden["in/memory"][slots]).flatten(0, 1).unsqueeze(0)
        near(used, golden["out/r_memory_used"], what="memory used")
        if "out/r_reallocated" in golden:
            near(walk(snippets, used, cfg["w"]).dense(), golden["out/r_reallocated"], what="r walk")
