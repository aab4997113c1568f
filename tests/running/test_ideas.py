"""`HOST+IDEA`: one config, the idea's sizes taken from the host, everything over it said by whom it was said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import torch

from tests.running.conftest import tiny_config
from wtal_bench.cli import main
from wtal_bench.errors import ConfigError
from wtal_bench.modeling.build import build_model
from wtal_bench.recipes import shipped_ideas, split_ideas
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.config import load_config
from wtal_bench.running.ideas import _function, switches_of
from wtal_bench.running.workdir import default_work_dir

OWN_IDEA = """# A part of one's own.
def idea(host, scale_weights=True, name='watch', weight=0.5, replace=False):
    share = host.class_weight if scale_weights else 1.0
    part = dict(type='bges_ten.CASConsistency', reads={'tcb.cas': 'cas'}, weight=weight * share)
    return dict(model=dict(losses={name: part | (dict(replace=True) if replace else {})}))
"""


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(name: str, *options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(name, options)
    return str(caught.value)


# ---- names ----


def test_a_host_and_its_ideas_are_told_apart_from_a_file_with_a_plus_in_its_name(here):
    assert split_ideas("ecm_synthetic+cw+ten") == ("ecm_synthetic", ["cw", "ten"])
    write(here / "a+b.py", "")
    assert split_ideas("a+b.py") == ("a+b.py", [])
    assert split_ideas("a+b") == ("a+b", [])
    for name in ("ecm_synthetic+", "+cw", "ecm_synthetic++cw"):
        assert "write HOST+IDEA" in refused(name)


def test_every_spelling_of_an_idea_leads_to_it_and_one_of_ones_own_lies_in_ideas(here):
    spelt = ("cw", "cw.py", "ideas/cw.py", "wtal::cw")
    models = [load_config(f"acm_net_synthetic+{name}").model for name in spelt]
    assert all(model == models[0] for model in models)
    write(here / "ideas" / "mine.py", OWN_IDEA)
    write(here / "elsewhere" / "other.py", OWN_IDEA)
    assert load_config("acm_net_synthetic+mine").variant == "mine"
    assert load_config("acm_net_synthetic+elsewhere/other.py").variant == "other"
    text = refused("acm_net_synthetic+myne")
    assert "no idea 'myne'. Did you mean 'mine'?" in text
    assert "cw" in text
    assert "is an idea, which runs on a host" in refused("ideas/cw.py")
    write(here / "ideas" / "broken.py", "def idea(host):\n    return host.nothing\n")
    assert "AttributeError" in refused("acm_net_synthetic+broken")
    write(here / "ideas" / "empty.py", "model = dict()\n")
    assert "is no idea: it needs a function" in refused("acm_net_synthetic+empty")


def test_a_mix_has_a_folder_and_a_name_of_its_own():
    assert default_work_dir("configs/acm_net_synthetic.py+cw+ten", 0).parent.name == "acm_net_synthetic+cw+ten"
    config = load_config("acm_net_synthetic+cw+gaufuse_test")
    assert (config.method, config.variant) == ("acm_net", "cw+gaufuse_test")
    assert config.host == {"method": "acm_net", "variant": ""}
    assert list(config.ideas) == ["cw", "gaufuse_test"]
    assert config.path.endswith("acm_net_synthetic.py+cw+gaufuse_test")
    assert "the idea 'cw' is there twice" in refused("acm_net_synthetic+cw+cw")


# ---- what the idea takes from the host ----


@pytest.mark.parametrize(
    ("host", "channels", "classes", "background"),
    [("rskp_synthetic", 256, 10, True), ("ecm_synthetic", 64, 10, False), ("fac_net_thumos", 1024, 20, True),
     ("bges_ten_synthetic", 128, 10, True), ("acm_net_thumos", 2048, 20, True)],
)  # fmt: skip
def test_sizes_and_the_background_class_are_the_hosts(host, channels, classes, background):
    if host != "fac_net_thumos":
        head = load_config(f"{host}+cw").model["heads"]["cw"]
        assert (head["channels"], head["num_classes"], head["background"]) == (channels, classes, background)
    if host != "ecm_synthetic":  # which has nothing to rank snippets by
        model = load_config(f"{host}+ftcl").model
        assert (model.get("member") or model)["losses"]["fsd"]["channels"] == channels
    config = load_config(f"{host}+gaufuse").model
    labels = (config.get("member") or config)["heads"]["labels"]
    assert labels["num_columns"] == classes + background


def test_what_lies_over_the_idea_reaches_the_host_below_it(here):
    small = ["model.backbone.channels=16", "model.heads.attention.channels=16", "model.heads.classifier.channels=16"]
    config = load_config("acm_net_synthetic+ftcl+cw", small)
    assert (config.model["losses"]["fsd"]["channels"], config.model["heads"]["cw"]["channels"]) == (16, 16)
    lines = "_base_ = 'wtal::acm_net_synthetic.py+ftcl'\nmodel = dict(backbone=dict(channels=16), heads=dict("
    lines += "attention=dict(channels=16), classifier=dict(channels=16)), losses=dict(fsd=dict(weight=0.3)))\n"
    write(here / "own.py", lines + "train = dict(epochs=2)\n")
    config = load_config("own.py")
    build_model(config.model, config.path)
    assert config.model["losses"]["fsd"]["channels"] == 16
    assert config.model["losses"]["fsd"]["weight"] == 0.3, "what the mix says wins over the idea"
    assert config.train.epochs == 2
    assert load_config("own.py", ["model.losses.fsd.weight=0.7"]).model["losses"]["fsd"]["weight"] == 0.7
    assert "model.backbone.chanels: backbone" in _unbuildable("acm_net_synthetic+ftcl", "model.backbone.chanels=3")


def _unbuildable(name: str, option: str) -> str:
    with pytest.raises(ConfigError) as caught:
        build_model(load_config(name, [option]).model, name)
    return str(caught.value)


def test_a_host_that_can_make_a_field_is_asked_to():
    assert load_config("rskp_synthetic").model["backbone"]["embedding"] is False
    assert load_config("rskp_synthetic+ftcl").model["backbone"]["embedding"] is True
    assert load_config("fac_net_synthetic+ftcl").model["member"]["backbone"]["embedding"] is True
    assert load_config("rskp_synthetic+ten").model["backbone"]["embedding"] is False, "TEN reads no embedding"


def test_the_parts_of_an_idea_go_into_the_members_of_streams_and_its_decoder_stays_outside():
    model = load_config("fac_net_synthetic+gaufuse").model
    assert {"labels"} <= set(model["member"]["heads"])
    assert "pseudo" in model["member"]["losses"]
    assert model["postprocessor"]["type"] == "gaufuse.FusedDecoder"
    labels = model["member"]["heads"]["labels"]["decoder"]
    assert (labels["scores"], labels["curve"]["field"]) == ("video_logits", "cas"), "its member's own names"
    passes = model["postprocessor"]["decoder"]["passes"]
    assert (passes["rgb"]["curve"]["field"], passes["rgb"]["score_scale"]) == ("rgb.cas", 0.1)
    assert not [key for part in (labels, *passes.values()) for key in part if key.startswith("nms")]


def test_published_weights_follow_the_hosts_unless_they_are_asked_for_plainly():
    def weights(name, *options):
        losses = load_config(name, options).model["losses"]
        return losses["fsd"]["weight"], losses["lcs"]["weight"]["contrast"]

    assert weights("acm_net_synthetic+ftcl") == (0.8, 0.1)
    heavy = "model.losses.cls_inst.weight=5.0"
    assert weights("acm_net_synthetic+ftcl", heavy) == (4.0, 0.5)
    assert weights("acm_net_synthetic+ftcl", heavy, "ideas.ftcl.scale_weights=False") == (0.8, 0.1)
    config = load_config("acm_net_synthetic+gaufuse", [heavy])
    assert (config.model["losses"]["pseudo"]["weight"]["value"]) == 50.0
    assert (config.model["losses"]["pseudo"]["weight"]["maximum"]) == 250.0


# ---- switches ----


def test_switches_are_set_by_file_and_by_command_line_and_are_part_of_the_config(here):
    write(here / "own.py", "_base_ = ['wtal::acm_net_synthetic.py+ftcl']\nideas = dict(ftcl=dict(schedule='joint'))\n")
    config = load_config("own.py")
    assert config.ideas["ftcl"]["schedule"] == "joint"
    assert config.ideas["ftcl"]["tau"] == 0.92
    assert (config.train.init_from, config.train.epochs) == (None, load_config("acm_net_synthetic").train.epochs)
    config = load_config("own.py", ["ideas.ftcl.schedule=warm_start", "ideas.ftcl.tau=quantile:0.9"])
    assert (config.train.epochs, config.model["losses"]["lcs"]["tau"]) == (25, "quantile:0.9")
    assert set(config.ideas["ftcl"]) == set(switches_of(next(i for i in shipped_ideas() if i.name == "ftcl")))


@pytest.mark.parametrize(
    ("option", "says"),
    [("ideas.ftcl.shedule=joint", "ideas.ftcl.shedule: idea 'ftcl' has no argument 'shedule'. Did you mean 'schedule"),
     ("ideas.ftcl.host=1", "has no argument 'host'"), ("ideas.ftcl=3", "holds a dict of switches"),
     ("ideas.ftlc.tau=1", "has no 'ideas.ftlc'. Did you mean 'ftcl'?"),
     ("ideas.ftcl.score=norms", "ideas.ftcl.score='norms' is unknown; it takes auto, attention, relu_sum, softmax_max"),
     ("ideas.ftcl.schedule=later", "schedule='later'"), ("ideas.ftcl.pairs=some", "pairs='some'"),
     ("ideas.ftcl.scale_weights=2", "scale_weights=2 must be True or False")],
)  # fmt: skip
def test_a_switch_nobody_knows_is_refused(option, says):
    assert says in refused("acm_net_synthetic+ftcl", option)


def choices() -> list[tuple[str, str, object]]:
    """Every value of every switch that has named values, or is on or off."""
    found = []
    for idea in shipped_ideas():
        hints = get_type_hints(_function(idea))
        for name, default in switches_of(idea).items():
            options = get_args(hints[name]) if name in hints else (True, False) if isinstance(default, bool) else ()
            found += [(idea.name, name, option) for option in options]
    return found


@pytest.mark.parametrize(("idea", "switch", "value"), choices())
def test_every_value_of_every_switch_makes_a_model(idea, switch, value):
    host, options = "acm_net_synthetic", [f"ideas.{idea}.{switch}={value}"]
    if idea == "bges" and value != "host":  # ECM has neither attention nor background: both are derived
        host, derived = "ecm_synthetic", ["ideas.bges.attention=norm", "ideas.bges.background=zero"]
        options = [*derived, *options]
    config = load_config(f"{host}+{idea}", options)
    assert config.ideas[idea][switch] == value
    build_model(config.model, config.path)


def test_switches_without_an_idea_are_refused(here):
    write(here / "own.py", "_base_ = 'wtal::acm_net_synthetic.py'\nideas = dict(ftcl=dict(schedule='joint'))\n")
    text = refused("own.py")
    assert "this one names none" in text
    assert "acm_net_synthetic.py+ftcl" in text


def test_a_resolved_config_is_an_ordinary_one(here):
    config = load_config("acm_net_synthetic+cw", ["ideas.cw.fg_tie=True"])
    write(here / "whole.json", json.dumps(config.resolved()))
    again = load_config("whole.json")
    assert again.resolved() == config.resolved()
    assert {"ideas", "host"} & set(load_config("acm_net_synthetic").resolved()) == set(), "hosts are as they were"


def test_an_ablation_row_sets_switches_of_the_ideas_of_its_base(here):
    rows = "base: wtal::acm_net_synthetic.py+ftcl\nrows:\n  - name: joint\n    options: {ideas.ftcl.schedule: joint}\n"
    write(here / "rows.yaml", rows + "  - {name: light, options: {model.losses.fsd.weight: 0.1}}\n")
    joint, light = load_rows("rows.yaml")
    assert joint.config().train.init_from is None
    assert light.config().model["losses"]["fsd"]["weight"] == 0.1
    assert light.config("acm_net_synthetic+ftcl+cw").ideas.keys() == {"ftcl", "cw"}


# ---- what an idea may not do ----


def test_an_idea_does_not_take_a_part_of_the_host_away_by_accident(here):
    write(here / "ideas" / "mine.py", OWN_IDEA)
    text = refused("acm_net_synthetic+mine", "ideas.mine.name=sparse")
    assert (
        "adds losses.sparse (bges_ten.CASConsistency), but the host has a part of that name (acm_net.Sparsity)" in text
    )
    config = load_config("acm_net_synthetic+mine", ["ideas.mine.name=sparse", "ideas.mine.replace=True"])
    assert config.model["losses"]["sparse"] == {
        "type": "bges_ten.CASConsistency", "reads": {"tcb.cas": "cas"}, "weight": 0.5,
    }  # fmt: skip


def test_a_part_the_host_has_under_another_name_is_not_added_twice(here):
    assert "the host has this idea already: losses.bg is bges_ten.BackgroundLoss" in refused("bges_ten_synthetic+bges")


def test_an_idea_returns_sections_of_a_config(here):
    write(here / "ideas" / "odd.py", "def idea(host):\n    return dict(data=dict(root='x'))\n")
    assert "returns a dict of dicts with keys among model, train, test" in refused("acm_net_synthetic+odd")


# ---- derived fields ----


def test_what_a_host_lacks_is_told_with_what_could_be_derived():
    text = refused("ecm_synthetic+bges")
    assert "the host makes no `attention`" in text
    assert "attention='norm'" in text


def test_the_appended_column_is_zero_and_moves_the_actions(here):
    config = load_config("acm_net_synthetic+ten")  # any model with a cas
    heads = {**config.model["heads"], "background": {"type": "AppendBackground"}}
    model = build_model({**config.model, "heads": heads}, "x")
    from wtal_bench.testing import random_batch

    batch = random_batch([20, 30], width=128, classes=10)
    outputs = model.double().compute(batch)
    made = outputs["cas_with_background"]
    assert torch.equal(made[..., :-1][batch.mask], outputs["cas"][batch.mask])
    assert not made[..., -1].any()
    assert not made[~batch.mask].any()


# ---- training ----


def test_what_follows_the_host_starts_from_its_own_recipe_wherever_the_mix_lies(here):
    assert load_config("acm_net_synthetic+ftcl").train.init_from["config"] == "wtal::acm_net_synthetic.py"
    write(here / "lib" / "host.py", "_base_ = 'wtal::acm_net_synthetic.py'\ntrain = dict(lr=0.5)\n")
    write(here / "mixes" / "mix.py", "_base_ = '../lib/host.py+ftcl'\n")
    for name in ("mixes/mix.py", here / "mixes" / "mix.py"):
        config = load_config(name)
        assert config.train.init_from == {"config": "../lib/host.py"}
        assert load_config(config.train.init_from["config"], named_by=Path(config.path)).train.lr == 0.5
    config = load_config("lib/host+ftcl")
    assert config.train.init_from == {"config": "host.py"}
    config = load_config("mixes/mix", ["train.init_from.config=wtal::acm_net_synthetic.py+cw"])
    assert config.train.init_from["config"] == "wtal::acm_net_synthetic.py+cw"


def test_the_record_names_the_host_and_the_idea(dataset, here, capsys):
    write(here / "host.json", json.dumps(tiny_config(dataset, epochs=1)))
    write(here / "mix.py", "_base_ = 'host.json+cw'\nideas = dict(cw=dict(cas_source='own'))\n")
    assert main(["train", "mix.py", "--work-dir", "run"]) == 0
    record = json.loads(next((here / "run" / "record").glob("*.json")).read_text())
    assert (record["method"], record["variant"]) == ("ecm", "cw")
    assert record["config"]["host"] == {"method": "ecm", "variant": ""}
    assert record["config"]["ideas"]["cw"]["cas_source"] == "own"
    assert "fac_net.ClassWiseOnHost" in {part["name"] for part in record["components"]}
    assert main(["train", "mix.py", "--work-dir", "run", "--resume", "--cfg-options", "train.epochs=2"]) == 0


def test_a_warm_start_trains_the_host_first_and_then_the_mix(dataset, here, capsys):
    tree = tiny_config(dataset, epochs=1)
    write(here / "host.json", json.dumps(tree))
    write(here / "ideas" / "follow.py", OWN_FOLLOWING)
    assert main(["train", "host+follow", "--work-dir", "run"]) == 0
    printed = capsys.readouterr().out
    assert "host.json first (train.init_from)" in printed
    records = {len(p.parts): json.loads(p.read_text()) for p in (here / "run").rglob("record/*.json")}
    own, parent = records[min(records)], records[max(records)]
    assert (own["variant"], own["parent"], parent["variant"]) == ("follow", parent["id"], "")
    assert own["config"]["train"]["lr"] == tree["train"]["lr"] / 2


OWN_FOLLOWING = """# More epochs at half the rate.
def idea(host):
    return dict(train=host.continued(1, [(0, 0.5)]))
"""
