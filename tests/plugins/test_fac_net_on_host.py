"""FAC-Net's class-wise branch on other methods: any host with an embedding, by config alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.plugins.test_fac_net import CHANNELS, CLASSES, CROSS_ENTROPY, WIDTH, make_batch, member, videos_of
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Batch, ComponentInfo, Head, Outputs
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.plugins import registry, snapshot


class LinearHost(nn.Module, Head):
    """A host's classifier over the embedding, whose padded rows are garbage, as those of W-TALC."""

    requires = ("embedding",)
    provides = ("cas", "class_weights", "host_embedding", "video_logits")
    shared = ("class_weights",)
    video_level = ("video_logits",)

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(CHANNELS, columns)

    def forward(self, outputs: Outputs, batch: Batch) -> Outputs:
        """[B,T,E] -> fields."""
        x = torch.where(batch.mask.unsqueeze(-1), outputs["embedding"], torch.tensor(3.0, dtype=torch.float64))
        cas = self.classifier(x)
        video = cas.masked_fill(~batch.mask.unsqueeze(-1), -torch.inf).amax(dim=1)
        return {"cas": cas, "class_weights": self.classifier.weight, "host_embedding": x, "video_logits": video}


@pytest.fixture(autouse=True)
def host_component():
    with snapshot():
        registry("head").add(ComponentInfo("head", "TestHost", f"{__name__}:LinearHost"))
        yield


def on_host(background=False, **branch) -> Model:
    """The branch on the host above; the trunk only makes the embedding and takes no part in the losses."""
    torch.manual_seed(0)
    rename = ("cas", "class_weights")
    backbone = member(dropout=0.0)["backbone"] | dict(writes={name: f"trunk.{name}" for name in rename})
    losses = dict(
        host=dict(type=CROSS_ENTROPY, weight=0.0),
        cw=dict(type=CROSS_ENTROPY, reads="cw_logits", weight=1.0),
        tie=dict(type=CROSS_ENTROPY, reads="ca_logits", weight=0.1) if branch.get("fg_tie") else None,
    )
    heads = dict(
        host=dict(type="TestHost", columns=CLASSES + background),
        cw=dict(
            type="fac_net.ClassWiseOnHost",
            channels=CHANNELS,
            num_classes=CLASSES,
            background=background,
            reads=dict(embedding="host_embedding"),
            **branch,
        ),
    )
    return build_model(dict(type="Localizer", backbone=backbone, heads=heads, losses=losses)).double()


def gradients(model: Model, batch: Batch) -> dict[str, torch.Tensor | None]:
    model.zero_grad()
    model.losses(batch)["total"].backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_on_fac_nets_own_fields_it_is_fac_nets_own_branch():
    torch.manual_seed(0)
    model = member(dropout=0.0)
    model["heads"]["host"] = dict(
        type="fac_net.ClassWiseOnHost",
        channels=CHANNELS,
        num_classes=CLASSES,
        background=True,
        fg_tie=True,
        writes=dict(cw_logits="host.cw", ca_logits="host.ca"),
    )
    model = build_model(dict(type="Localizer", **model)).double()
    # both W_f start as minus the background row of the same classifier
    out = model.compute(make_batch(videos_of((9, 1, 4))))
    torch.testing.assert_close(out["host.cw"], out["cw_logits"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(out["host.ca"], out["video_logits"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("source", "reaches_classifier"), [("host_cosine", True), ("host_logits", True), ("own", False)]
)
def test_what_the_branch_trains_in_the_host(source, reaches_classifier):
    model = on_host(cas_source=source)
    found = gradients(model, make_batch(videos_of((9, 4))))
    assert found["backbone.embed.fc1.weight"].abs().sum() > 0
    classifier = found["heads.host.classifier.weight"]
    assert (classifier is not None and classifier.abs().sum() > 0) == reaches_classifier
    assert found["heads.cw.fg_center"].abs().sum() > 0
    assert ("heads.cw.action_centers" in found) == (source == "own")


@pytest.mark.parametrize("source", ["host_cosine", "host_logits", "own"])
@pytest.mark.parametrize("background", [False, True])
def test_padding_and_batch_mates_change_nothing_though_padded_rows_hold_garbage(source, background):
    model = on_host(background=background, cas_source=source, fg_tie=True)
    videos = videos_of((9, 1, 23))
    batch = make_batch(videos)
    assert model.compute(batch)["cw_logits"].shape == (3, CLASSES + background)
    single = [make_batch([v], batch.labels[i : i + 1]) for i, v in enumerate(videos)]
    for i, alone in enumerate(single):
        for field in ("cw_logits", "ca_logits"):
            ours, theirs = model.compute(batch)[field][i : i + 1], model.compute(alone)[field]
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    together = gradients(model, batch)
    alone = [gradients(model, one) for one in single]
    for name, value in together.items():
        if value is not None:
            mean = sum(grads[name] for grads in alone) / len(videos)
            torch.testing.assert_close(value, mean, rtol=1e-10, atol=1e-10)


def test_the_foreground_row_starts_from_the_hosts_background_once():
    batch = make_batch(videos_of((9, 4)))
    model = on_host(background=True)
    random = model.heads["cw"].fg_center.detach().clone()
    model.compute(batch)
    start = -model.heads["host"].classifier.weight[-1:]
    assert not torch.equal(random, start)
    assert torch.equal(model.heads["cw"].fg_center, start)
    with torch.no_grad():
        model.heads["cw"].fg_center.add_(1.0)  # as an optimiser step does
    trained = model.heads["cw"].fg_center.detach().clone()
    model.compute(batch)
    assert torch.equal(model.heads["cw"].fg_center, trained)
    resumed = on_host(background=True)
    resumed.load_state_dict(model.state_dict())
    resumed.compute(batch)
    assert torch.equal(resumed.heads["cw"].fg_center, trained)


@pytest.mark.parametrize("options", [dict(background=False), dict(background=True, fg_init="random")], ids=str)
def test_without_a_background_row_or_on_request_the_foreground_row_is_random(options):
    model = on_host(**options)
    random = model.heads["cw"].fg_center.detach().clone()
    model.compute(make_batch(videos_of((9, 4))))
    assert torch.equal(model.heads["cw"].fg_center, random)


def test_the_hosts_test_path_does_not_run_the_branch():
    model = on_host(background=True)
    called = []
    model.heads["cw"].register_forward_hook(lambda *_: called.append(1))
    model.compute(make_batch(videos_of((9, 4))), wanted=("cas", "video_logits"))
    assert not called


def test_a_host_without_class_weights_is_refused_when_the_model_is_built():
    heads = dict(cw=dict(type="fac_net.ClassWiseOnHost", channels=6, num_classes=3))
    backbone = dict(type="ecm.Trunk", in_channels=WIDTH, channels=6)
    losses = dict(cw=dict(type=CROSS_ENTROPY, reads="cw_logits"))
    with pytest.raises(ConfigError, match=r"cw.*reads `class_weights`, but the parts before it provide embedding"):
        build_model(dict(type="Localizer", backbone=backbone, heads=heads, losses=losses))
    heads["cw"]["cas_source"] = "own"
    build_model(dict(type="Localizer", backbone=backbone, heads=heads, losses=losses))


def test_the_tie_needs_its_switch():
    heads = dict(cw=dict(type="fac_net.ClassWiseOnHost", channels=6, num_classes=3, cas_source="own"))
    losses = dict(tie=dict(type=CROSS_ENTROPY, reads="ca_logits"))
    with pytest.raises(ConfigError, match="reads `ca_logits`"):
        build_model(
            dict(
                type="Localizer",
                backbone=dict(type="ecm.Trunk", in_channels=WIDTH, channels=6),
                heads=heads,
                losses=losses,
            )
        )


def test_a_host_with_another_number_of_classes_is_explained():
    model = on_host(background=False)
    model.heads["cw"].columns = CLASSES + 1
    with pytest.raises(ConfigError, match=f"the host has {CLASSES} classes.*make {CLASSES + 1}"):
        model.compute(make_batch(videos_of((9, 4))))


def test_on_ecms_pre_stream_three_lines_make_a_mix():
    model = dict(
        type="Localizer",
        backbone=dict(type="ecm.Trunk", in_channels=WIDTH, channels=6),
        heads=dict(
            pre=dict(type="ecm.PreClassification", channels=6, num_classes=CLASSES),
            cw=dict(type="fac_net.ClassWiseOnHost", channels=6, num_classes=CLASSES),
        ),
        losses=dict(host=dict(type="VideoCrossEntropy"), cw=dict(type=CROSS_ENTROPY, reads="cw_logits", weight=1.0)),
    )
    model = build_model(model).double()
    scalars = model.losses(make_batch(videos_of((9, 4)), torch.eye(CLASSES, dtype=torch.float64)[:2]))
    torch.testing.assert_close(scalars["total"], scalars["host"] + scalars["cw"])
