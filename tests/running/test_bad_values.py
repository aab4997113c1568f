"""Values of settings that no run can mean: told with file and key before anything starts."""

from __future__ import annotations

import copy

import pytest
import torch
import yaml

from tests.running.conftest import PROTOCOL, tiny_config
from wtal_bench.errors import CheckpointError, ConfigError, PluginError
from wtal_bench.modeling.build import build_model
from wtal_bench.options import check_type, number_in
from wtal_bench.protocols import get_protocol
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.checkpoint import load_optimizer, read_checkpoint
from wtal_bench.running.config import check_config, load_config, parse_value
from wtal_bench.running.model_checks import check_class_counts
from wtal_bench.running.optim import OptimizerStep

# ---- types ----


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, float),
        (1, int | None),
        (None, int | None),
        ([1, 2.5], tuple[float, ...]),
        ((1, 2), list[int]),
        ([1, 2], tuple[int, int]),
        ({"a": [1]}, dict[str, list[int]]),
        (True, bool),
        ("x", str | dict[str, float]),
    ],
)
def test_values_of_their_type_are_taken(value, hint):
    check_type(value, hint, "here")


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("1", float, "here: expected float, int, got '1'."),
        (True, int, "here: expected int, got True."),
        (1.0, int, "here: expected int, got 1.0."),
        ([1, "a"], list[float], "here: expected list of float or int, got [1, 'a']."),
        ([1], tuple[int, int], "here: expected 2 values of int, got [1]."),
        ("ab", list[str], "here: expected list of str, got 'ab'."),
        ({1: 2}, dict[str, int], "here: expected dict of int, got {1: 2}."),
        (None, dict, "here: expected dict, got None."),
    ],
)
def test_others_are_told(value, hint, expected):
    with pytest.raises(ConfigError) as caught:
        check_type(value, hint, "here")
    assert str(caught.value) == expected


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "", "x", "9" * 5000, "-1", "0", "11"])
def test_numbers_of_the_command_line_lie_in_their_span(text):
    import argparse

    with pytest.raises(argparse.ArgumentTypeError):
        number_in("(0, 10]")(text)
    assert number_in("(0, 10]")("2.5") == 2.5
    assert number_in("[1, inf)", whole=True)("7") == 7


# ---- options ----


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("dict(type='RMSprop', alpha=0.9)", {"type": "RMSprop", "alpha": 0.9}),
        ("[dict(a=dict(b=(1, 2)))]", [{"a": {"b": (1, 2)}}]),
        ("dict()", {}),
        ("dict(__import__('os'))", "dict(__import__('os'))"),
        ("dict(**{})", "dict(**{})"),
        ("list(a=1)", "list(a=1)"),
        ("[" * 500, "[" * 500),
    ],
)
def test_a_dict_may_be_spelt_as_in_a_config(text, value):
    assert parse_value(text) == value


def test_an_optimiser_is_taken_as_the_hint_spells_it(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(tiny_config(tmp_path)))
    config = load_config(path, ["train.optimizer=dict(type='RMSprop', alpha=0.9)"])
    assert config.train.optimizer == {"type": "RMSprop", "alpha": 0.9}


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("train.lr=0x" + "f" * 5000, "train.lr: is a whole number that 64 bits cannot hold"),
        ("train.lr=1e999", "train.lr: expected a finite number"),
        ("variant={1, 2}", "variant: is a set"),
        ("variant=b'x'", "variant: is a bytes"),
        ("variant=1j", "variant: is a complex"),
        ("variant=caf\udce9", "variant: 'caf.udce9' holds bytes that are no text"),
        ("a..b=3", "write dotted.key=value"),
        (".".join("a" * 200) + "=3", "write dotted.key=value"),
    ],
)
def test_options_that_no_record_holds_are_refused(tmp_path, option, said):
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump(tiny_config(tmp_path)))
    with pytest.raises(ConfigError, match=said):
        load_config(path, [option])


# ---- components ----


def model_with(key: str, value) -> dict:
    tree = tiny_config("nowhere")["model"]
    node = tree
    *parents, last = key.split(".")
    for name in parents:
        node = node[name]
    node[last] = value
    return tree


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("postprocessor.nms", {"iou": 2}, r"nms\.iou must lie in \[0, 1\], got 2"),
        ("postprocessor.nms", {"iou": 0.5, "sigma": 0}, r"nms\.sigma=0 must be positive"),
        ("losses.a2c.weight", -1, r"losses\.a2c\.weight must lie in \[0, 1e30\], got -1"),
        ("heads.pre.dropout", 1, r"heads\.pre\.dropout must lie in \[0, 1\), got 1"),
        ("heads.pre.dropout", "0.5", r"heads\.pre\.dropout: expected float, int"),
        ("heads.pre.topk_ratio", "[a", r"heads\.pre\.topk_ratio: expected float, int, got '\[a'"),
        ("heads.pre.num_classes", 0, r"heads\.pre\.num_classes must lie in \[1, 100000\]"),
        (
            "backbone",
            {"type": "ConvEmbedding", "in_channels": 8, "channels": 8, "kernel": 999},
            r"backbone\.kernel must",
        ),
        ("backbone.channels", 2.5, r"backbone\.channels: expected int, got 2\.5"),
        ("heads.pre.topk_ratio", 1e308, r"heads\.pre\.topk_ratio=1e\+308 is beyond"),
        ("postprocessor.thresholds", {"arange": [0, 1, 1e-12]}, "At most 10000 thresholds"),
        ("postprocessor.upsample", 10**9, r"upsample must lie in \[1, 1000\]"),
    ],
)
def test_arguments_that_mean_nothing_are_told_with_their_key(key, value, said):
    with pytest.raises((ConfigError, PluginError), match=said):
        build_model(model_with(key, value), "my.py")


@pytest.mark.parametrize("key", ["postprocessor.num_classes", "heads.pre.num_classes"])
def test_every_class_count_is_the_protocols(tmp_path, key):
    tree = tiny_config(tmp_path)
    check_class_counts(check_config(tree, "my.py"), 5, PROTOCOL)
    tree["model"] = model_with(key, 4)
    said = rf"my\.py: model\.{key}=4, but synthetic_tiny/v2 has 5 classes: set num_classes=5"
    with pytest.raises(ConfigError, match=said):
        check_class_counts(check_config(tree, "my.py"), 5, PROTOCOL)


# ---- ablation files ----

ROWS = {"base": "ecm_synthetic", "method": "ecm", "rows": [{"name": "a", "options": {"train.lr": 0.1}}]}


def rows_with(**row) -> dict:
    return {**ROWS, "rows": [{"name": "a", **row}]}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (3, "has no rows"),
        ([], "has no rows"),
        ({**ROWS, "rows": "a"}, "has no rows"),
        ({**ROWS, "base": 3}, r"rows\.yaml: base: expected str, None, got 3"),
        ({**ROWS, "data": ["x"]}, r"rows\.yaml: data: expected str, None"),
        ({**ROWS, "bsae": "x"}, r"unknown key 'bsae'\. Did you mean 'base'"),
        (rows_with(name=["a"]), r"row \['a'\]: name: expected str"),
        (rows_with(name=""), "a row needs a name"),
        (rows_with(base={"a": 1}), r"row 'a': base: expected str, None"),
        (rows_with(options=[1]), r"row 'a': options: expected dict, None"),
        (rows_with(options={"a..b": 1}), r"row 'a': options: 'a\.\.b' is no dotted key"),
        (rows_with(published=3), r"row 'a': published: expected dict, None"),
        (rows_with(published={"metric": "mAP@0.5"}), r"published: 'value' is missing"),
        (rows_with(published={"metric": "mAP@0.5", "value": "17"}), r"published\.value: expected float, int, got '17'"),
        (rows_with(published={"metric": 0.5, "value": 17}), r"published\.metric: expected str, got 0\.5"),
        (rows_with(published={"metric": "mAP@0.5", "value": 1700}), r"published\.value must lie in \[0, 100\]"),
        (rows_with(instead={"a": 1}), r"instead: expected dict of str, None"),
        (rows_with(against=1), r"against: expected str, None"),
        (rows_with(note=[1]), r"note: expected str, None"),
    ],
)
def test_ablation_files_of_any_shape_are_told_with_row_and_key(tmp_path, tree, said):
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError, match=said):
        load_rows(path)


# ---- checkpoints ----


def trained(kind=torch.optim.Adam, **options):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    step = OptimizerStep(kind(model.parameters(), lr=0.1, **options))
    step.update_params(model(torch.ones(4, 3)).square().mean())
    return model, step


def edited(state, path, value):
    state = copy.deepcopy(state)
    node = state
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return state


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adafactor])
def test_an_optimiser_takes_its_own_state(kind):
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    state = trained(kind, **options)[1].state_dict()
    _, fresh = trained(kind, **options)
    load_optimizer(fresh, state, "c.pth")
    for saved, own in zip(state["state"].values(), fresh.state_dict()["state"].values()):
        assert all(torch.equal(torch.as_tensor(saved[key]), torch.as_tensor(own[key])) for key in saved)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["state"], torch.tensor([])),
        (["state", 0], {}),
        (["state", 0], 3),
        (["state", 7], {}),
        (["state", 0, "exp_avg"], torch.zeros(5)),
        (["state", 0, "exp_avg"], 1.0),
        (["state", 0, "exp_avg"], torch.full((2, 3), float("nan"))),
        (["param_groups"], []),
        (["param_groups", 0, "lr"], "x"),
        (["param_groups", 0, "betas"], (0.9,)),
        (["param_groups", 0, "params"], [0]),
    ],
)
def test_another_state_is_refused_before_a_step_fails(path, value):
    _, step = trained()
    with pytest.raises(CheckpointError, match=r"c\.pth cannot be resumed, its optimiser differs: "):
        load_optimizer(step, edited(step.state_dict(), path, value), "c.pth")


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        (3, "meta is a int"),
        ({"epoch": -1}, r"meta\.epoch is -1"),
        ({"iter": 2.5}, r"meta\.iter is 2\.5"),
        ({"seed": "x"}, r"meta\.seed is 'x'"),
        ({"stopped": 1}, r"meta\.stopped is 1"),
        ({"best": {"metric": "x"}}, r"meta\.best is"),
        ({"best": [1]}, r"meta\.best is"),
        ({"best": {"rgb": {"metric": "x", "value": float("nan"), "done": 1}}}, r"meta\.best is"),
    ],
)
def test_meta_of_another_kind_is_refused(tmp_path, meta, said):
    path = tmp_path / "c.pth"
    torch.save({"meta": meta, "state_dict": {}}, path)
    with pytest.raises(CheckpointError, match=rf"c\.pth: {said}"):
        read_checkpoint(path)


def test_a_packed_checkpoint_is_refused_unpacked(tmp_path):
    import io
    import zipfile

    stream = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, stream)
    path = tmp_path / "c.pth"
    with zipfile.ZipFile(stream) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(CheckpointError, match=r"c\.pth: its part '.*' unpacks from \d+ to \d+ bytes"):
        read_checkpoint(path)


# ---- protocols of plugins ----


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tious": (0.5, 2.0)}, r"tious must lie in \(0, 1\)"),
        ({"tious": ()}, "tious, subset and train_subset cannot be empty"),
        ({"tious": (0.5, 0.5)}, "tious holds a threshold twice"),
        ({"averages": 3}, "averages: expected dict"),
        ({"classes": "ab"}, "classes: expected tuple of str"),
        ({"classes": ("a", "\ud800")}, "holds bytes that are no text"),
        ({"variants": (3,)}, "variants: expected tuple of str"),
        ({"subset": ""}, "cannot be empty"),
        ({"splits": {"test": 3}}, "splits: expected dict"),
    ],
)
def test_a_protocol_of_a_plugin_is_checked_field_by_field(monkeypatch, changes, said):
    import dataclasses

    from tests.fuzz import stranger
    from wtal_bench import protocols

    monkeypatch.setattr(protocols, "protocol_infos", lambda: [stranger.INFO])
    monkeypatch.setattr(stranger, "PROTOCOL", dataclasses.replace(stranger.SOUND, **changes))
    protocols._stranger.cache_clear()
    with pytest.raises(PluginError, match=said):
        get_protocol(stranger.NAME)
    protocols._stranger.cache_clear()
