"""What a model says of itself when it is shown one video: nothing of it is written in a config."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.modeling.toys import config, registered
from wtal_bench.errors import ConfigError
from wtal_bench.interfaces import Backbone, ComponentInfo, Loss
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.facts import Facts
from wtal_bench.plugins import registry
from wtal_bench.testing import Example, random_batch
from wtal_bench.testing.contracts import check_trained_fields

TRUNK = {"type": "toy.Trunk", "width": 8, "channels": 6}
HEADS = {"cas": {"type": "toy.Cas", "channels": 6, "classes": 3}, "attention": {"type": "toy.Attention", "channels": 6}}


class Raw(nn.Module, Backbone):
    """The features themselves: nothing learns."""

    def forward(self, features, mask):
        return {"embedding": features}


class Optional(nn.Module, Backbone):
    """An embedding, and a second field on demand."""

    def __init__(self, width: int, more: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.provides = ("embedding", "more") if more else ("embedding",)
        self.offers = {} if more else {"more": {"more": True}}

    def forward(self, features, mask):
        made = self.layer(features)
        return dict.fromkeys(self.provides, made)


class Chosen(Loss):
    """The embedding at the snippet the attention likes best: no gradient reaches the attention."""

    requires = ("embedding", "attention")
    trains = ("embedding",)

    def __call__(self, outputs, batch):
        row = outputs["attention"].detach().argmax(dim=1)
        return {"chosen": outputs["embedding"][torch.arange(len(row)), row].square().mean()}


class Classifies(Loss):
    """A mean over classes."""

    requires = ("video_logits",)
    needs = ("labels",)

    def __init__(self, kind: str = "mean") -> None:
        self.classifies = kind

    def __call__(self, outputs, batch):
        return {"ce": (outputs["video_logits"] - batch.labels).square().mean()}


@pytest.fixture(autouse=True)
def _known():
    with registered():
        for kind, cls in (("backbone", Raw), ("backbone", Optional), ("loss", Chosen), ("loss", Classifies)):
            info = ComponentInfo(kind, f"toy.{cls.__name__}", f"{__name__}:{cls.__name__}", plugin="toy")
            registry(kind).add(info)
        yield


def host(**changes) -> dict:
    return config(**{"backbone": TRUNK, "heads": HEADS, **changes})


def test_widths_classes_and_fields_are_the_models_own():
    facts = Facts(host(), "host.py")
    assert facts.fields == ["embedding", "cas", "video_logits", "attention"]
    assert (facts.width("embedding"), facts.width("cas"), facts.num_classes) == (6, 3, 3)
    wider = {**HEADS, "cas": {"type": "toy.Cas", "channels": 6, "classes": 7}}
    assert Facts(host(heads=wider), "host.py").num_classes == 7
    assert facts.streams == ()


def test_the_members_of_streams_are_looked_at_and_must_be_alike():
    member = {key: value for key, value in host().items() if key not in ("type", "postprocessor")}
    decoder = {"type": "toy.OneDetection", "reads": {"cas": "rgb.cas", "attention": "rgb.attention"}}
    streams = {"type": "Streams", "streams": {"rgb": (0, 8), "flow": (8, 16)}, "member": member}
    facts = Facts({**streams, "postprocessor": decoder}, "host.py")
    assert facts.streams == ("rgb", "flow")
    assert (facts.width("embedding"), facts.num_classes) == (6, 3)
    heads = {"attention": {"channels": 5}, "cas": {"channels": 5}}
    other = {"flow": {"backbone": {"channels": 5}, "heads": heads}}
    with pytest.raises(ConfigError, match="make `embedding` of width each of its own \\(rgb 6; flow 5\\)"):
        Facts({**streams, "postprocessor": decoder, "overrides": other}, "host.py").width("embedding")


def test_looking_at_a_host_changes_no_random_number():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert Facts(host(), "host.py").width("cas") == 3
    assert torch.equal(torch.rand(3), expected)


def test_shapes_are_found_whatever_device_is_the_default():
    with torch.device("meta"):
        facts = Facts(host(), "host.py")
        assert (facts.width("embedding"), facts.num_classes) == (6, 3)


def test_a_host_that_runs_on_no_width_it_names_is_told():
    with pytest.raises(ConfigError, match=r"host\.py: the host cannot be run on one video: mat1 and mat2"):
        Facts(host(backbone={"type": "toy.Trunk", "width": 8, "channels": 7}), "host.py").width("cas")


def weighed(**losses) -> float:
    return Facts(host(losses=losses), "host.py").class_weight


def test_the_weight_of_a_class_is_the_losss_own_over_the_columns_of_a_mean():
    assert weighed(cls={"type": "VideoCrossEntropy", "weight": 0.5}) == 0.5
    assert weighed(cls={"type": "toy.Classifies", "weight": 0.6}) == pytest.approx(0.6 / 3)
    assert weighed(cls={"type": "toy.Classifies", "kind": "sum"}) == 1.0
    steps = {"schedule": "steps", "steps": [(0, 0.25), (9, 3.0)]}
    assert weighed(cls={"type": "VideoCrossEntropy", "weight": steps}) == 0.25
    assert weighed(cls={"type": "VideoCrossEntropy", "weight": {"ce": 0.3}}) == 0.3
    both = {"a": {"type": "VideoCrossEntropy", "weight": 0.1}, "b": {"type": "toy.Classifies", "weight": 0.6}}
    assert weighed(**both) == pytest.approx(0.2), "the largest of several"
    with pytest.raises(ConfigError, match="scale_weights=False"):
        weighed(terms={"type": "toy.TwoTerms"})


def test_a_field_that_is_switched_off_is_offered_and_the_error_says_how_to_get_it():
    heads = {"cas": {"type": "toy.Cas", "channels": 8}, "attention": {"type": "toy.Attention", "channels": 8}}
    optional = host(backbone={"type": "toy.Optional", "width": 8}, heads=heads)
    facts = Facts(optional, "host.py")
    assert facts.offers("more") == ("backbone", {"more": True})
    assert facts.offers("embedding") is None
    optional["losses"] = {"terms": {"type": "toy.TwoTerms", "reads": {"attention": "more"}}}
    with pytest.raises(ConfigError, match=r"model\.backbone makes it when it is given more=True"):
        build_model(optional, "host.py")
    optional["backbone"]["more"] = True
    build_model(optional, "host.py")


# ---- a loss that trains nothing ----


def test_a_loss_whose_gradient_reaches_nothing_is_refused_when_it_is_built():
    heads = {"cas": {"type": "toy.Cas", "channels": 8}, "attention": {"type": "toy.Attention", "channels": 8}}
    losses = {"chosen": {"type": "toy.Chosen"}}
    with pytest.raises(ConfigError) as caught:
        build_model(host(backbone={"type": "toy.Raw"}, heads=heads, losses=losses), "my.py")
    text = str(caught.value)
    assert text.startswith("my.py: model.losses.chosen (Chosen) trains the model through `embedding` of Raw alone")
    assert "its gradient reaches nothing" in text
    build_model(host(losses=losses), "my.py")


def test_what_the_rule_says_is_so():
    """The refused model's loss really has no gradient anywhere, the accepted one's has."""
    heads = {"cas": {"type": "toy.Cas", "channels": 8}, "attention": {"type": "toy.Attention", "channels": 8}}
    for backbone, reached in (({"type": "toy.Raw"}, False), ({"type": "toy.Trunk", "width": 8, "channels": 8}, True)):
        model = build_model(host(backbone=backbone, heads=heads), "my.py").double()
        batch = random_batch([9, 12])
        loss = Chosen()(model.compute(batch), batch)["chosen"]
        assert loss.requires_grad == reached


def test_a_field_made_of_another_that_learns_is_trained_through_it():
    reads = {"embedding": "doubled"}
    heads = {**HEADS, "twice": {"type": "toy.Doubled"}}
    losses = {"chosen": {"type": "toy.Chosen", "reads": reads}}
    build_model(host(heads=heads, losses=losses), "my.py")


def test_the_contract_catches_a_loss_that_trains_more_than_it_says(monkeypatch):
    losses = {"chosen": {"type": "toy.Chosen"}}
    example = Example(model=host(losses=losses))
    check_trained_fields(build_model(example.model, "my.py").double(), example)
    honest = Chosen.__call__

    def more(self, outputs, batch):
        found = honest(self, outputs, batch)
        return {name: value * outputs["attention"].mean() for name, value in found.items()}

    monkeypatch.setattr(Chosen, "__call__", more)
    with pytest.raises(AssertionError, match=r"my\.py: model\.losses\.chosen trains 'attention' too"):
        check_trained_fields(build_model(example.model, "my.py").double(), example)
