"""RSKP, and GauFuse's variant of it, against numbers of the authors' network, losses, memory and training loop.

Models are those of the published configs, in the file's sizes and without dropout.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.helpers import REPOSITORY, golden_files, load_golden
from tests.parity.host_files import assert_near
from tests.parity.rskp_batches import batch_of, settings
from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.interfaces import Batch, Outputs
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer
from wtal_bench.running.config import load_config
from wtal_bench.running.optim import build_optimizer
from wtal_plugins.gaufuse.label_store import LabelStore, VideoLabels
from wtal_plugins.rskp.heads import snippets_of
from wtal_plugins.rskp.propagation import walk

PARAMETERS = {
    "embed.weight": "backbone.embed.weight",
    "embed.bias": "backbone.embed.bias",
    "mu": "heads.propagation.mu",
    "ac_center": "heads.classifier.ac_center",
    "fg_center": "heads.classifier.fg_center",
}
CONFIGS = {code: load_config(REPOSITORY / "configs" / f"{code}_thumos.py") for code in ("rskp", "gaufuse")}


def model_config(golden: dict) -> dict:
    """The published model in the sizes of a golden file, every loss weight of the file's cfg in its place."""
    cfg = settings(golden)
    channels, width = golden["param/embed.weight"].shape
    classes = len(golden["param/ac_center"]) - 1
    model = copy.deepcopy(CONFIGS[cfg["code"]].model)
    heads, losses = model["heads"], model["losses"]
    model["backbone"] |= dict(in_channels=width, channels=channels, dropout=0.0)
    heads["classifier"] |= dict(channels=channels, num_classes=classes, scale=cfg["scale"])
    heads["propagation"] |= dict(
        channels=channels, count=cfg["n_mu"], iterations=cfg["em_iter"], walk_weight=cfg["w"], scale=cfg["scale"]
    )
    heads["memory"] |= dict(
        channels=channels, num_classes=classes, size=cfg["queue"], walk_weight=cfg["w"], scale=cfg["scale"]
    )
    if "labels" in heads:
        heads["labels"]["num_columns"] = classes + 1
        losses["pseudo"]["share"] = cfg["frm_coef_pseudo"]
    for name in ("back_o", "back_m"):
        losses[name]["weight"] = cfg["lambda_b"]
    losses["back_r"]["weight"] = since(heads["memory"]["start"], 0.5 * cfg["lambda_b"])
    losses["att"]["weight"] = cfg["lambda_a"]
    losses["spl"]["temperature"] = cfg["T"]
    model["postprocessor"] = None
    return model


def since(start: int, weight: float) -> dict:
    return dict(schedule="steps", steps=[(0, 0.0), (start, weight)])


def build(config: dict, golden: dict) -> Localizer:
    """A model in float64 with the file's parameters."""
    model = build_model(config, "golden").double()
    names = {ours: theirs for theirs, ours in PARAMETERS.items()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(golden[f"param/{names[name]}"]))
    return model.train()


@pytest.mark.parametrize("path", golden_files("gaufuse", "rskp__*.npz"))
def test_network_losses_gradients_and_memory(path):
    golden = load_golden(path)
    cfg = settings(golden)
    config = model_config(golden)
    epoch = config["heads"]["memory"]["start"] if cfg["use_memory"] else 0
    losses = config["losses"]
    losses["spl"]["weight"] = cfg["spl_weight"]
    if "pseudo" in losses:
        losses["pseudo"]["weight"] = cfg["pseudo_weight"]
        config["heads"]["labels"] |= dict(generations=[epoch], temperatures=0.02, schedule=[(0, "absolute", 1.0)])
    model, batch = build(config, golden), batch_of([golden["in/features"][0]], golden["in/labels"], epoch)
    memory = model.heads["memory"]
    if cfg["use_memory"]:
        memory.bank.copy_(torch.from_numpy(golden["in/memory"]))
        memory.bank_scores.copy_(torch.from_numpy(golden["in/memory_scores"]))
    if "in/pseudo" in golden:
        give(model.heads["labels"], [golden["in/pseudo"]])
        model.heads["labels"].begin_epoch(epoch, None)

    outputs = model.compute(batch)
    assert_near(outputs["dropped_embedding"], golden["out/x"], what="x")
    assert_near(outputs["representatives"], golden["out/mu"], what="mu")
    assert_near(outputs["representative_scores"], golden["out/mu_pred"], what="mu_pred")
    for branch, prefix in {"o": "", "m": "m.", **({"r": "r."} if cfg["use_memory"] else {})}.items():
        assert_near(outputs[f"{prefix}cas"], golden[f"out/{branch}_frm"], what=branch)
        assert_near(outputs[f"{prefix}attention"], golden[f"out/{branch}_att"].reshape(1, -1), what=branch)
        assert_near(outputs[f"{prefix}video_logits"].softmax(1), golden[f"out/{branch}_vid_ca"], what=branch)
        assert_near(outputs[f"{prefix}classwise_logits"].softmax(1), golden[f"out/{branch}_vid_cw"], what=branch)
    check_walked_features(golden, outputs, batch, cfg["w"])
    if cfg["use_memory"]:
        assert memory.slots(batch.labels)[0] == golden["in/memory_slots"].tolist()
        assert_near(memory.bank, golden["out/memory_after"], what="memory")
        assert_near(memory.bank_scores, golden["out/memory_scores_after"], what="memory scores")

    scalars = model.losses(batch, outputs)
    for name in ("fore_o", "fore_m", "fore_r", "back_o", "back_m", "back_r", "att", "spl", "pseudo", "total"):
        if f"loss/{name}" in golden:
            assert_near(scalars[name], golden[f"loss/{name}"], what=name)
    for group, names in {"fore": ("fore_o", "fore_m", "fore_r"), "back": ("back_o", "back_m", "back_r")}.items():
        weighted = sum(model._weights[name].at(name, epoch) * scalars[name] for name in names)
        if f"loss/{group}" in golden:
            assert_near(weighted / {"fore": 1.0, "back": cfg["lambda_b"]}[group], golden[f"loss/{group}"], what=group)
    scalars["total"].backward()
    one_snippet = batch.mask.sum() == 1  # then mu and fg_center get rounding noise alone
    for theirs, ours in PARAMETERS.items():
        gradient = model.get_parameter(ours).grad
        if one_snippet and theirs in ("mu", "fg_center"):
            np.testing.assert_allclose(gradient, golden[f"grad/{theirs}"], rtol=0, atol=1e-9, err_msg=theirs)
        else:
            assert_near(gradient, golden[f"grad/{theirs}"], what=f"grad {theirs}")
    check_test_curve(golden, outputs, batch, cfg)


def give(head, labels: list[np.ndarray]) -> None:
    """Make the label head's generations return [T,columns] labels of the videos 0, 1, ..."""
    videos = {str(i): VideoLabels(np.arange(g.shape[1]), g.T.copy()) for i, g in enumerate(labels)}
    head.generate = lambda training_pass, fusion: (LabelStore(videos), {})


def check_walked_features(golden: dict, outputs: Outputs, batch: Batch, weight: float) -> None:
    """The propagated features themselves, which training never makes."""
    snippets = snippets_of(outputs, batch)
    for name, vectors in (("m", outputs["representatives"]), ("r", golden.get("out/r_memory_used"))):
        if f"out/{name}_reallocated" in golden:
            walked = walk(snippets, torch.as_tensor(vectors), weight).dense()
            assert_near(walked, golden[f"out/{name}_reallocated"], what=f"{name} walk")


def check_test_curve(golden: dict, outputs: Outputs, batch: Batch, cfg: dict) -> None:
    """The CAS and the video scores of the test path, all columns."""
    spec = copy.deepcopy(CONFIGS["rskp"].model["postprocessor"])
    shares = (cfg["frm_coef_test"], 1 - cfg["frm_coef_test"])
    for part, share in zip(spec["curve"]["product"][0]["sum"], shares):
        part["weight"] = share
    spec |= dict(num_classes=None, class_threshold=-1.0, precision="float64")
    decoder = ThresholdDecoder(**{key: value for key, value in spec.items() if key != "type"})
    video = {name: outputs[name][0].detach().numpy() for name in decoder.requires}
    kept, values, _ = decoder.curves(video, batch.meta[0])
    assert len(kept) == len(golden["param/ac_center"])
    assert_near(values, golden["out/test_cas"], what="test CAS")
    assert_near(decoder.video_scores(video), golden["out/test_vid"], what="video scores")


@pytest.mark.parametrize("path", golden_files("gaufuse", "train__*.npz"))
def test_epochs_of_the_official_loop(path):
    """Losses, memory, fill pass, gradients and steps; mini-batches run on over the ends of epochs."""
    golden = load_golden(path)
    cfg = settings(golden)
    model = build(model_config(golden), golden)
    memory = model.heads["memory"]
    memory.bank.copy_(torch.from_numpy(golden["in/memory"]))
    memory.bank_scores.copy_(torch.from_numpy(golden["in/memory_scores"]))
    count = cfg["n_videos"]
    features, labels = [golden[f"in/features_{i}"] for i in range(count)], golden["in/labels"]
    if "in/G_0" in golden:
        give(model.heads["labels"], [golden[f"in/G_{i}"] for i in range(count)])

    def training_pass() -> Iterator[tuple[Outputs, Batch]]:
        model.eval()
        with torch.no_grad():
            for i in range(count):
                batch = batch_of([features[i]], labels[[i]], epoch, [i])
                yield model.compute(batch), batch
        model.train()

    train = copy.deepcopy(CONFIGS[cfg["code"]].train)
    train.betas, train.eps, train.weight_decay = golden["cfg/betas"].tolist(), cfg["eps"], cfg["weight_decay"]
    optimizer = build_optimizer(model.parameters(), train)
    seen = steps = 0
    before = parameters(golden, "param")
    for epoch, order in zip(range(cfg["first_epoch"], cfg["end_epoch"]), golden["in/order"], strict=True):
        model.begin_epoch(epoch, training_pass)
        if epoch == memory.start:
            assert seen == golden["out/fill_after_video"]
            assert_near(memory.bank, golden["out/memory_fill"], what="fill")
            assert_near(memory.bank_scores, golden["out/memory_scores_fill"], what="fill scores")
        for i in order.tolist():
            total = model.losses(batch_of([features[i]], labels[[i]], epoch, [i]))["total"]
            assert_near(total, golden["loss/total"][seen], what=f"loss of video {seen}")
            total.backward()
            seen += 1
            assert_near(memory.bank, golden[f"out/memory_{seen}"], what=f"memory {seen}")
            assert_near(memory.bank_scores, golden[f"out/memory_scores_{seen}"], what=f"memory scores {seen}")
            if seen % cfg["batch"] == 0:
                steps += 1
                assert seen == golden[f"out/video_count_{steps}"]
                check_gradients(model, parameters(golden, f"grad_{steps}"))
                for group in optimizer.param_groups:
                    group["lr"] = float(golden[f"out/lr_{steps}"])
                optimizer.step()
                optimizer.zero_grad()
                after = parameters(golden, f"after{steps}")
                for name, theirs in after.items():
                    ours, moved = model.get_parameter(name).detach().numpy(), theirs - before[name]
                    error = np.abs(ours - theirs).max()
                    assert error <= 1e-6 * np.abs(moved).max(), f"step {steps}: {name} is off by {error}"
                before = after
    assert steps == golden["out/n_steps"]
    check_gradients(model, parameters(golden, "grad_left"))
    assert_near(memory.bank, golden["out/memory_end"], what="memory at the end")
    assert_near(memory.bank_scores, golden["out/memory_scores_end"], what="memory scores at the end")


def parameters(golden: dict, prefix: str) -> dict[str, np.ndarray]:
    """Our name -> the file's tensor under `prefix`."""
    return {ours: golden[f"{prefix}/{theirs}"] for theirs, ours in PARAMETERS.items() if f"{prefix}/{theirs}" in golden}


def check_gradients(model: Localizer, stored: dict[str, np.ndarray]) -> None:
    for name, theirs in stored.items():
        gradient = model.get_parameter(name).grad
        assert_near(torch.zeros_like(torch.from_numpy(theirs)) if gradient is None else gradient, theirs, what=name)
