"""ACM-Net and FTCL models as the golden files' `meta` describes them, with the authors' parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.parity.host_files import assert_near, batch_of
from wtal_bench.interfaces import Batch
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.localizer import Localizer

PARAMETERS = {
    "backbone.embed.conv.": "embed.",
    "heads.attention.att.": "att.",
    "heads.classifier.cls.": "cls.",
    "criteria.fsd.trans.": "trans.",
}


def meta_of(data: dict) -> dict:
    """The settings of a golden file."""
    return {name.removeprefix("meta/"): value.item() for name, value in data.items() if name.startswith("meta/")}


def smoothmax_of(meta: dict) -> dict:
    """gamma_div is 1/gamma; 0 stands for the hard maximum."""
    gamma_div = meta["gamma_div"]
    return dict(smoothmax="hard") if gamma_div == 0 else dict(smoothmax="scaled", gamma=1 / gamma_div)


def model_config(data: dict) -> dict:
    """The config that says what `meta` says."""
    meta = meta_of(data)
    channels, width, _ = data["param/embed.weight"].shape
    classes = len(data["param/cls.weight"]) - 1
    divisors = tuple(meta[f"{branch}_topk_seg"] for branch in ("ins", "con", "bak"))
    cross_entropy = dict(type="VideoCrossEntropy", log_eps=meta["log_eps"])
    losses = dict(
        cls_inst=dict(**cross_entropy, weight=meta["w_cls_inst"]),
        cls_cont=dict(**cross_entropy, target="tags_and_background", reads="context_logits"),
        cls_back=dict(**cross_entropy, target="background", reads="background_logits"),
        guide=dict(type="acm_net.Guide", weight=meta["w_guide"]),
        feat=dict(type="acm_net.FeatureSeparation", margin=meta["feat_margin"], weight=meta["w_feat"]),
        sparse=dict(type="acm_net.Sparsity", weight=meta["w_sparse"]),
    )
    if meta.get("w_lcs"):
        rescale = dict(offset=meta["sim_offset"], gain=meta["sim_gain"]) if "sim_gain" in meta else None
        lcs = dict(tau=meta["tau"], selection=dict(length=meta["lcs_len"]), rescale=rescale)
        losses["lcs"] = dict(type="ftcl.LCS", weight=meta["w_lcs"], **lcs)
    if meta.get("w_fsd"):
        half = len(data["param/trans.weight"]) // 2
        fsd = dict(channels=channels, proj_dim=half, selection=dict(length=meta["fsd_len"]), **smoothmax_of(meta))
        losses["fsd"] = dict(type="ftcl.FSD", weight=meta["w_fsd"], **fsd)
    return dict(
        type="Localizer",
        backbone=dict(type="acm_net.Embedding", in_channels=width, channels=channels),
        heads=dict(
            attention=dict(type="acm_net.Attention", channels=channels),
            classifier=dict(type="acm_net.Classifier", channels=channels, num_classes=classes),
            branches=dict(type="acm_net.Branches", divisors=divisors),
            features=dict(type="acm_net.BranchFeatures", divisors=divisors),
        ),
        losses=losses,
    )


def build(data: dict) -> Localizer:
    """The model in float64, dropout off."""
    model = build_model(model_config(data), "golden").double().eval()
    model.load_state_dict({name: torch.from_numpy(data[f"param/{authors(name)}"]) for name in model.state_dict()})
    return model


def authors(name: str) -> str:
    """The authors' name of one of our parameters."""
    ours = next(prefix for prefix in PARAMETERS if name.startswith(prefix))
    return PARAMETERS[ours] + name.removeprefix(ours)


def batch_with(features: list[np.ndarray], labels: np.ndarray, pairs: np.ndarray) -> Batch:
    """A batch with pairs; one is "same" when its videos share any class."""
    same = (labels[pairs[:, 0]] * labels[pairs[:, 1]]).sum(axis=1) > 0
    return replace(batch_of(features, labels, pairs), pair_same=torch.from_numpy(same.astype(np.float64)))


def network_outputs(outputs: dict) -> dict[str, torch.Tensor]:
    """What the authors' network returns, under their names."""
    logits, attention = outputs["snippet_logits"], outputs["branch_attention"]
    feature = outputs["branch_features"]
    ours = {"embedded": outputs["embedding"], "att": attention, "cas_logits": logits, "cas": logits.softmax(-1)}
    video = ("video_logits", "context_logits", "background_logits")
    for k, branch in enumerate(("inst", "cont", "back")):
        ours[f"cas_{branch}"] = (logits * attention[..., k : k + 1]).softmax(-1)
        ours[f"video_{branch}"] = outputs[video[k]].softmax(-1)
        ours[f"feat_{branch}"] = feature[:, k]
    torch.testing.assert_close(outputs["cas"].softmax(-1), ours["cas_inst"], rtol=0, atol=1e-12)
    torch.testing.assert_close(outputs["attention"], attention[..., 0], rtol=0, atol=0)
    return ours


def assert_gradients(model: Localizer, loss: torch.Tensor, data: dict) -> None:
    """Every parameter's gradient of `loss`; call before looking at the gradient of the features."""
    loss.backward()
    for name, parameter in model.named_parameters():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert_near(gradient, data[f"grad/{authors(name)}"], what=f"grad/{authors(name)}")
