"""Configs: everything unknown, misspelt, missing or of the wrong kind is told with file, key path and nearest match."""

from __future__ import annotations

import ast
import copy
import json
import re
import runpy
from pathlib import Path

import pytest
import torch

from tests.helpers import REPOSITORY
from tests.running.conftest import tiny_config
from wtal_bench.cli import main
from wtal_bench.errors import ConfigError, PluginError, WtalError
from wtal_bench.modeling.build import build_model
from wtal_bench.options import merged
from wtal_bench.recipes import read_tree
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.config import apply_option, check_config, load_config, parse_value
from wtal_bench.running.model_checks import check_model

CONFIGS = sorted(path for path in (REPOSITORY / "configs").rglob("*.py") if path.parent.name != "ideas")
BASES = [path for path in CONFIGS if "_base_" in path.parts]
RUNNABLE = [path for path in CONFIGS if "_base_" not in path.parts]
ABLATIONS = sorted((REPOSITORY / "configs" / "ablations").glob("*.yaml"))


def identity(path: Path) -> str:
    return str(path.relative_to(REPOSITORY / "configs"))


@pytest.fixture
def tree(tmp_path) -> dict:
    return tiny_config(tmp_path / "data")


def put(tree: dict, path: str, value) -> dict:
    """Set a dotted key, as nobody's parser would stop anybody from doing."""
    *parents, last = path.split(".")
    node = tree
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return tree


def refused(tree: dict) -> str:
    """Check and build; return the error's text."""
    with pytest.raises(WtalError) as caught:
        check_model(check_config(tree, "my.py"))
    return str(caught.value)


# ---- unknown, misspelt, missing, wrong kind ----

MISSPELT = [
    ("trian", {}, "my.py: unknown key 'trian'", "train"),
    ("train.epohcs", 3, "my.py: train.epohcs", "epochs"),
    ("test.sampelling", "whole", "my.py: test.sampelling", "sampling"),
    ("data.protocoll", "x", "my.py: data.protocoll", "protocol"),
    ("runtime.sede", 1, "my.py: runtime.sede", "seed"),
    ("train.optimizer", "adam", "my.py: train.optimizer", "Adam"),
    ("train.pairs", {"source": "data_set"}, "my.py: train.pairs.source", "dataset"),
    ("train.pairs", {"sorce": "dataset"}, "my.py: train.pairs.sorce", "source"),
    ("train.sampling", "unifrom", "my.py: train.sampling", "uniform"),
    ("test.sampling", {"type": "uniform", "lenght": 3}, "my.py: test.sampling", "length"),
    ("test.frame_accuracy", {"treshold": 0.1}, "my.py: test.frame_accuracy.treshold", "threshold"),
    ("data.synthetic", {"profil": "demo"}, "my.py: data.synthetic.profil", "profile"),
    ("model.type", "Localiser", "my.py: model.type", "Localizer"),
    ("model.head", {}, "my.py: model.head", "heads"),
    ("model.backbone.chanels", 8, "my.py: model.backbone.chanels", "channels"),
    ("model.backbone.type", "ecm.Trnk", "my.py: model.backbone.type", "ecm.Trunk"),
    ("model.heads.pre.dropuot", 0.5, "my.py: model.heads.pre.dropuot", "dropout"),
    ("model.heads.pre.reads", {"embeding": "embedding"}, "my.py: model.heads.pre.reads.embeding", "embedding"),
    ("model.heads.pre.writes", {"caz": "own"}, "my.py: model.heads.pre.writes.caz", "cas"),
    ("model.losses.cls_pre.type", "VideoCrossentropy", "my.py: model.losses.cls_pre.type", "VideoCrossEntropy"),
    ("model.losses.cls_pre.reads", "video_logit", "my.py: model.losses.cls_pre", "video_logits"),
    ("model.postprocessor.class_treshold", 0.1, "my.py: model.postprocessor.class_treshold", "class_threshold"),
    ("model.postprocessor.nms", {"ioo": 0.5}, "my.py: model.postprocessor", "iou"),
    ("model.postprocessor.type", "TresholdDecoder", "my.py: model.postprocessor.type", "ThresholdDecoder"),
]


@pytest.mark.parametrize(("path", "value", "where", "nearest"), MISSPELT, ids=[row[0] for row in MISSPELT])
def test_misspelt_keys_and_names_are_told_with_the_nearest_one(tree, path, value, where, nearest):
    text = refused(put(tree, path, value))
    assert text.startswith(where), text
    assert f"Did you mean '{nearest}'?" in text


WRONG = [
    ("method", None, "method"),
    ("model", 3, "model must be a dict"),
    ("train", [1], "train must be a dict"),
    ("test", 0, "test must be a dict"),
    ("train.lr", "fast", "train.lr: expected float, int, got 'fast'"),
    ("train.lr", "1e-4", "write 1.0e-4"),
    ("train.lr", 0, "train.lr must lie in (0, 1e30]"),
    ("train.lr", float("nan"), "train.lr must lie in (0, 1e30]"),
    ("train.lr", True, "train.lr: expected"),
    ("train.epochs", 2.5, "train.epochs: expected int"),
    ("train.optimizer", {"type": "Adam", "eps": float("inf")}, "train.optimizer.eps: expected a finite number"),
    ("test.frame_accuracy", {"threshold": float("nan")}, "test.frame_accuracy.threshold: expected a finite number"),
    ("train.lr_schedule", [(1, float("inf"))], "train.lr_schedule.0.1: expected a finite number, got inf"),
    ("variant", "gr\udcc3\udcb6sse", "variant: 'gr\\udcc3\\udcb6sse' holds bytes that are no text here"),
    ("model.losses.cls_pre.weight", float("inf"), "model.losses.cls_pre.weight: expected a finite number, got inf"),
    ("train.epochs", 0, "train.epochs must lie in [1, inf)"),
    ("train.batch_size", 0, "train.batch_size must lie in [1, 1e6]"),
    ("train.length", 0, "train.length must lie in [1, 1e6]"),
    ("train.accumulate", 0, "train.accumulate must lie in [1, inf)"),
    ("train.weight_decay", -1e-4, "train.weight_decay must lie in [0, 1e6]"),
    ("train.momentum", 1.0, "train.momentum must lie in [0, 1)"),
    ("train.betas", (0.9,), "train.betas are two numbers"),
    ("train.betas", (0.9, "x"), "train.betas: expected float"),
    ("train.betas", (0.9, 1.0), "train.betas must lie in [0, 1)"),
    ("train.eps", 0, "train.eps must lie in (0, 1e6]"),
    ("train.clip", 0, "train.clip must lie in (0, 1e30]"),
    ("train.ema", 1, "train.ema must lie in (0, 1)"),
    ("train.holdout", 1, "train.holdout must lie in (0, 1)"),
    ("train.lr_schedule", [3], "train.lr_schedule holds pairs"),
    ("train.lr_schedule", [(3, "a")], "train.lr_schedule: expected"),
    ("train.lr_schedule", [(2.5, 0.1)], "train.lr_schedule: expected int"),
    ("train.selection", "best", "Options: last, val_holdout, best_on_test"),
    ("train.shuffle", "frseh", "Did you mean 'fresh'? Options: True, False, fresh"),
    ("train.shuffle", 1, "train.shuffle: expected bool, str, got 1"),
    ("train.pairs", {}, "train.pairs: source must be given"),
    ("train.pairs", {"source": "by_class"}, "train.pairs: count must be given"),
    ("train.pairs", {"source": "by_class", "count": 3}, "train.pairs.count=3: give how many pairs of one class"),
    ("train.sampling", 5, "train.sampling"),
    ("train.sampling", {"type": ["whole"]}, "train.sampling"),
    ("test.batch_size", 0, "test.batch_size must lie in [1, 1e6]"),
    ("test.frame_accuracy", {"threshold": "x"}, "test.frame_accuracy.threshold: expected float"),
    ("test.frame_accuracy", {}, "test.frame_accuracy: threshold must be given"),
    ("data.protocol", 5, "data.protocol: expected str"),
    ("data.resident", "disk", "data.resident='disk'"),
    ("runtime.seed", -1, "runtime.seed must lie in [0,"),
    ("runtime.seed", 2**32, "runtime.seed must lie in [0,"),
    ("runtime.num_workers", -1, "runtime.num_workers must lie in [0, 1024]"),
    ("runtime.precision", "fp16", "Options: float32, bf16"),
    ("model.heads", None, "model.heads must be a dict"),
    ("model.heads", [], "model.heads must be a dict"),
    ("model.losses", None, "model.losses must be a dict"),
    ("model.losses", {}, "model.losses is empty"),
    ("model.postprocessor", None, "model.postprocessor is empty"),
    ("model.backbone", None, "model.backbone"),
    ("model.backbone.channels", -1, "model.backbone.channels must lie in [1, 1000000]"),
    ("model.backbone.channels", "8", "model.backbone.channels: expected int"),
    ("model.backbone.weight", 1.0, "only losses have a weight"),
    ("model.heads.pre", 5, "model.heads.pre: expected a dict"),
    ("model.heads.pre.type", ["a"], "model.heads.pre.type"),
    ("model.heads.pre.reads", None, "model.heads.pre.reads"),
    ("model.heads.pre.reads", {"embedding": 3}, "model.heads.pre.reads"),
    ("model.where", "x", "model.where"),
    ("model.losses.cls_pre.weight", None, "model.losses.cls_pre.weight"),
    ("model.losses.cls_pre.weight", True, "model.losses.cls_pre.weight"),
    ("model.losses.cls_pre.weight", {"schedule": "steps", "steps": []}, "begins with epoch 0"),
    ("model.losses.cls_pre.weight", {"schedule": "linear"}, "model.losses.cls_pre.weight"),
    ("model.postprocessor.nms", {"iou": "x"}, "model.postprocessor"),
]


@pytest.mark.parametrize(("path", "value", "expected"), WRONG, ids=[f"{row[0]}={row[1]}" for row in WRONG])
def test_values_of_the_wrong_kind_or_size_are_told_with_their_key_path(tree, path, value, expected):
    text = refused(put(tree, path, value))
    assert text.startswith("my.py"), text
    assert expected in text


@pytest.mark.parametrize("key", ["method", "model", "train", "data"])
def test_a_missing_section_is_named(tree, key):
    del tree[key]
    assert f"the section '{key}' is missing" in refused(tree)


@pytest.mark.parametrize(("path", "expected"), [("train.lr", "my.py: train: lr"), ("data.protocol", "my.py: data")])
def test_a_missing_setting_is_named(tree, path, expected):
    section, key = path.split(".")
    del tree[section][key]
    text = refused(tree)
    assert text.startswith(expected)
    assert f"{key} must be given" in text


def test_a_missing_argument_is_named(tree):
    del tree["model"]["heads"]["pre"]["num_classes"]
    assert refused(tree).startswith("my.py: model.heads.pre: head 'ecm.PreClassification' needs num_classes")


@pytest.mark.parametrize("length", [{"epochs": 2, "iterations": 5}, {"epochs": None}])
def test_exactly_one_length_of_training_is_given(tree, length):
    tree["train"].update(length)
    assert "train: give either epochs or iterations" in refused(tree)


@pytest.mark.parametrize("name", ["os.system", "torch.nn.Linear", "wtal_plugins.ecm.trunk:Trunk", "subprocess.run"])
@pytest.mark.parametrize("path", ["backbone", "heads.pre", "losses.cls_pre", "postprocessor"])
def test_a_type_is_a_registered_name_and_never_imported(tree, path, name):
    text = refused(put(tree, f"model.{path}", {"type": name, "command": "true"}))
    assert text.startswith(f"my.py: model.{path}.type")
    assert "A type is a registered name, never an import path." in text


def test_a_component_under_the_wrong_key_is_told_so(tree):
    text = refused(put(tree, "model.heads.pre", {"type": "ecm.ScoreConsistency"}))
    assert "There is a loss of that name: is it under the right key?" in text


def test_weights_of_scalars_a_loss_does_not_give_are_refused_before_training(tree):
    from wtal_bench.testing import random_batch

    put(tree, "model.losses.cls_pre.weight", {"cee": 0.5})
    model = check_model(check_config(tree, "my.py")).double()
    with pytest.raises(ConfigError, match=r"my\.py: model\.losses\.cls_pre\.weight\.cee.*Did you mean 'ce'\?"):
        model.losses(random_batch([5, 3], width=8, classes=5))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("streams", {}, "model.streams must name at least one stream"),
        ("streams", {"rgb": 5}, "model.streams.rgb must be (first, end)"),
        ("streams", {"rgb": (4, 0)}, "model.streams.rgb must be (first, end)"),
        ("streams", {"a.b": (0, 4)}, "model.streams: 'a.b' cannot be used as a name"),
        ("overrides", {"rgbb": {}}, "Did you mean 'rgb'?"),
        ("overrides", {"rgb": {"hads": {}}}, "Did you mean 'heads'?"),
        ("member", None, "model.member must be a dict"),
        ("member", {"backbones": 1}, "Did you mean 'backbone'?"),
        ("postprocessor", {"type": "ThresholdDecoder", "num_classes": 5, "thresholds": [0.5]}, "reads"),
    ],
)
def test_streams_are_checked_too(tree, path, value, expected):
    member = {key: tree["model"].pop(key) for key in ("backbone", "heads", "losses")}
    decoder = tree["model"]["postprocessor"]
    decoder["reads"] = {"cas": "rgb.cas", "video_logits": "rgb.video_logits"}
    tree["model"] = dict(type="Streams", streams=dict(rgb=(0, 4)), member=member, postprocessor=decoder)
    tree["model"][path] = value
    text = refused(tree)
    assert text.startswith("my.py: model")
    assert expected in text


# ---- command-line options ----


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("train.epohcs=3", "train.epohcs: unknown key. Did you mean 'epochs'?"),
        ("trian.epochs=3", "has no 'trian'. Did you mean 'train'?"),
        ("model.hedas.pre.dropout=0", "has no 'model.hedas'. Did you mean 'heads'?"),
        ("model.heads.per.dropout=0", "has no 'model.heads.per'. Did you mean 'pre'?"),
        ("model.heads.pre.dropuot=0", "Did you mean 'dropout'?"),
        ("train.lr.max=3", "train.lr is 0.001, which has no keys"),
        ("train.lr", "write dotted.key=value"),
        ("=3", "write dotted.key=value"),
    ],
)
def test_misspelt_options_are_told(tree, tmp_path, option, expected):
    path = tmp_path / "my.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(WtalError) as caught:
        check_model(load_config(path, [option]))
    assert expected in str(caught.value)
    assert "my.json" in str(caught.value) or "--cfg-options" in str(caught.value)


def test_options_are_literals_or_texts(tree):
    assert [parse_value(text) for text in ("1e-4", "(1, 2)", "none", "True", "[1]", "uniform", " 3")] == [
        1e-4, (1, 2), None, True, [1], "uniform", 3,
    ]  # fmt: skip
    tree.pop("test")
    apply_option(tree, "test.batch_size=2", "my.py")  # a section that only has defaults may be opened
    apply_option(tree, "model.losses.cls_pre=None", "my.py")
    assert check_config(tree, "my.py").test.batch_size == 2
    assert "cls_pre" not in check_model(check_config(tree, "my.py"))._losses


# ---- files ----


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_bases_are_merged_and_replaced_key_by_key(tree, tmp_path):
    write(tmp_path, "base.json", json.dumps(tree))
    write(tmp_path, "runtime.py", "variant = 'v'\n")
    text = "_base_ = ['base.json', 'runtime.py']\ntrain = dict(epochs=7)\nmodel = dict(losses=dict(cls_pre=None))\n"
    own = read_tree(write(tmp_path, "own.py", text))
    assert own["train"] == {**tree["train"], "epochs": 7}
    assert own["variant"] == "v"
    assert own["model"]["losses"] == {**tree["model"]["losses"], "cls_pre": None}
    text = "_base_ = 'base.json'\nmodel = dict(losses=dict(_delete_=True, only=dict(type='VideoCrossEntropy')))\n"
    fresh = read_tree(write(tmp_path, "fresh.py", text))
    assert fresh["model"]["losses"] == {"only": {"type": "VideoCrossEntropy"}}


def test_a_yaml_config_equals_the_python_one(tree, tmp_path):
    import yaml

    plain = json.loads(json.dumps(tree))
    path = write(tmp_path, "base.yaml", yaml.safe_dump(plain))
    own = write(tmp_path, "own.yaml", "_base_: base.yaml\ntrain:\n  epochs: 9\n")
    assert load_config(path).resolved() == check_config(plain, "x").resolved()
    assert load_config(own).train.epochs == 9


@pytest.mark.parametrize("as_base", [False, True])
def test_a_yaml_config_runs_nothing(tmp_path, as_base):
    sentinel = tmp_path / "it-ran"
    path = write(tmp_path, "evil.yaml", f"method: !!python/object/apply:os.system ['touch {sentinel}']\n")
    if as_base:
        path = write(tmp_path, "own.yaml", "_base_: evil.yaml\nvariant: x\n")
    with pytest.raises(ConfigError, match="it is no YAML"):
        load_config(path)
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "method = (", "a.py cannot be read: SyntaxError"),
        ("a.py", "1 / 0", "a.py cannot be read: ZeroDivisionError"),
        ("a.py", "raise SystemExit(3)", "a.py cannot be read: SystemExit"),
        ("a.json", '{"train": {"lr": 1, "lr": 2}}', "'lr' stands twice"),
        ("a.yaml", "method: [", "a.yaml: it is no YAML"),
        ("a.yaml", "- 1\n", "a.yaml cannot be read: it holds a list"),
        ("a.json", "{", "a.json: it is not valid JSON"),
        ("a.txt", "method: x", "a.txt cannot be read"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, text, expected):
    with pytest.raises(ConfigError, match=re.escape(name)) as caught:
        load_config(write(tmp_path, name, text))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1: 2\n", "1 cannot be the name of anything"),
        ("model: &model\n  heads: {a: *model}\n", "model.heads.a: holds itself"),
        ("train:\n  lr_schedule: &rates [*rates]\n", "train.lr_schedule.0: holds itself"),
    ],
)
def test_what_yaml_can_say_and_no_config_hold_is_refused_with_its_place(tmp_path, text, expected):
    with pytest.raises(ConfigError, match=r"a\.yaml: ") as caught:
        load_config(write(tmp_path, "a.yaml", text))
    assert expected in str(caught.value)


def test_a_missing_file_is_told_with_its_neighbours(tmp_path):
    write(tmp_path, "ecm_thumos.py", "")
    with pytest.raises(ConfigError, match=r"Did you mean 'ecm_thumos\.py'\?"):
        load_config(tmp_path / "ecm_tumos.py")


def test_the_resolved_config_is_plain_and_comes_back_equal(tree):
    config = check_config(tree, "my.py")
    resolved = config.resolved()
    assert json.loads(json.dumps(resolved, allow_nan=False)) == resolved
    assert check_config(copy.deepcopy(resolved), "again").resolved() == resolved
    assert resolved["train"]["betas"] == [0.9, 0.999]  # defaults are in it


def test_print_config_prints_what_would_run(tree, tmp_path, capsys):
    path = write(tmp_path, "my.json", json.dumps(tree))
    words = ["train", str(path), "--print-config", "--seed", "5", "--cfg-options", "train.lr=0.5", "train.clip=1"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["train"]["lr"], printed["train"]["clip"], printed["runtime"]["seed"]) == (0.5, 1, 5)
    assert printed["model"] == json.loads(json.dumps(tree["model"]))
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_line_prints_the_text_alone_and_exits_with_2(tree, tmp_path, capsys):
    path = write(tmp_path, "my.json", json.dumps(put(tree, "train.epohcs", 1)))
    assert main(["train", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"wtal-bench train: {path}: train.epohcs: unknown key.")
    assert "Traceback" not in printed.err


def test_a_wrong_model_is_told_before_data_are_looked_for_or_made(tree, tmp_path, capsys):
    assert not Path(tree["data"]["root"]).exists()  # which is an error too, told second
    path = write(tmp_path, "my.json", json.dumps(put(tree, "model.heads.pre.dropuot", 0.1)))
    for words in (["train", str(path)], ["train", str(path), "--dry-run"]):
        assert main(words) == 2
        assert "Did you mean 'dropout'?" in capsys.readouterr().err


# ---- the configs of this repository ----


def bases_of(path: Path) -> list[Path]:
    """Read from the source, so that no merge can hide one."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["_base_"]:
            names = ast.literal_eval(node.value)
            return [path.parent / name for name in ([names] if isinstance(names, str) else names)]
    return []


@pytest.mark.parametrize("path", RUNNABLE, ids=identity)
def test_config_loads_and_its_model_builds(path):
    config = load_config(path)
    again = check_config(json.loads(json.dumps(config.resolved())), "config.json")  # as a run keeps it
    assert again.resolved() == config.resolved()
    with torch.device("meta"):
        shapes = [{n: p.shape for n, p in check_model(own).named_parameters()} for own in (config, again)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("path", CONFIGS, ids=identity)
def test_config_is_plain_data(path):
    allowed = (ast.Assign, ast.Name, ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.BinOp, ast.UnaryOp)
    allowed += (ast.Module, ast.keyword, ast.operator, ast.unaryop, ast.expr_context)
    for node in ast.walk(ast.parse(path.read_text())):
        makes_dict = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict"
        assert makes_dict or isinstance(node, allowed), f"line {node.lineno}: a config holds plain data, and no code"


CHANGED_HOSTS = ("ftcl_thumos.py", "stpn_embedding_thumos.py", "bm_embedding_thumos.py")
"""FTCL is ACM-Net and two losses, the others are their host and an embedding."""


@pytest.mark.parametrize("path", CONFIGS, ids=identity)
def test_config_has_few_bases(path):
    """One base an axis: a method's config and a data set. `_base_/` holds what has none."""
    bases = bases_of(path)
    assert len(bases) <= 2
    assert path not in BASES or not bases
    whole = path.name.endswith("_thumos.py") and path.parent.name == "configs"
    if whole and path.name not in CHANGED_HOSTS:
        assert {base.parent.name for base in bases} <= {"_base_", "datasets"}, "a method's own config is whole"


def leaves(tree: dict, where: str = "") -> dict:
    """Dotted key -> value of everything that is no dict."""
    found = {}
    for key, value in tree.items():
        inner = leaves(value, f"{where}{key}.") if isinstance(value, dict) else {f"{where}{key}": value}
        found.update(inner)
    return found


def repeated(path: Path) -> list[str]:
    """The keys a config gives the value they have in its bases already. Where it has `_delete_` they have none."""
    own = runpy.run_path(str(path))
    names = own.pop("_base_", [])
    own = {key: value for key, value in own.items() if not key.startswith("_")}
    base: dict = {}
    for name in [names] if isinstance(names, str) else names:
        base = merged(base, read_tree(name, path))
    below = leaves(merged(base, keep_deletions(own)))
    return [key for key, value in leaves(own).items() if key in below and below[key] == value]


def keep_deletions(tree: dict) -> dict:
    """Only what a config deletes: merged over its bases, it leaves what the config has to say something about."""
    kept = {"_delete_": True} if tree.get("_delete_") else {}
    return kept | {key: keep_deletions(value) for key, value in tree.items() if isinstance(value, dict)}


@pytest.mark.parametrize("path", RUNNABLE, ids=identity)
def test_config_says_only_what_differs_from_its_bases(path):
    assert repeated(path) == []


def test_a_repeated_key_is_found_and_a_deleted_one_is_none(tmp_path):
    write(tmp_path, "base.py", "train = dict(lr=1, epochs=2)\nmodel = dict(heads=dict(a=dict(type='A', n=3)))\n")
    text = "_base_ = 'base.py'\ntrain = dict(lr=1, epochs=3)\nmodel = dict(heads=dict(_delete_=True, a=dict(n=3)))\n"
    assert repeated(write(tmp_path, "own.py", text)) == ["train.lr"]


@pytest.mark.parametrize("path", ABLATIONS, ids=identity)
def test_every_row_of_an_ablation_file_builds(path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for row in load_rows(path):
        config = row.config()
        own = "+".join(filter(None, (config.host.get("variant"), *config.ideas)))
        assert config.variant == (own if row.against else row.name)
        with torch.device("meta"):
            check_model(config)


def test_an_ablation_row_that_leads_nowhere_is_told(tmp_path):
    base = write(tmp_path, "base.json", json.dumps(tiny_config(tmp_path)))
    rows = f"base: {base}\nrows:\n  - {{name: a, options: {{model.hedas.pre.dropout: 0}}}}\n"
    (row,) = load_rows(write(tmp_path, "rows.yaml", rows))
    with pytest.raises(ConfigError, match=r"row 'a'.*'model.hedas'.*Did you mean 'heads'\?"):
        row.config()
    rows = f"base: {base}\nrows:\n  - {{name: a, option: {{}}}}\n"
    with pytest.raises(ConfigError, match=r"unknown key 'option'.*Did you mean 'options'\?"):
        load_rows(write(tmp_path, "rows.yaml", rows))
    rows = f"base: {base}\nrows:\n  - {{name: a}}\n  - {{name: a}}\n"
    with pytest.raises(ConfigError, match="rows a are named twice"):
        load_rows(write(tmp_path, "rows.yaml", rows))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "method = 'ecm'\n"),
        ("a.yaml", "just a text\n"),
        ("a.yaml", ""),
        ("a.yaml", "base: x\nrows: {name: a}\n"),
        ("a.yaml", "base: x\nrows: [a, b]\n"),
        ("a.yaml", "- 3\n"),
    ],
)
def test_a_file_that_is_no_ablation_file_is_told_what_one_is(tmp_path, name, text):
    with pytest.raises(ConfigError, match=r"has no rows: an ablation file is YAML|is no YAML"):
        load_rows(write(tmp_path, name, text))


def test_model_type_must_be_known():
    for kind in (None, ["Localizer"], "torch.nn.Linear"):
        with pytest.raises((ConfigError, PluginError), match=r"my\.py: model\.type"):
            build_model({"type": kind}, "my.py")


@pytest.mark.parametrize(
    ("options", "key", "right"),
    [
        ("{train.lr: 1e-3}", "train.lr", "1.0e-3"),
        ("{train.lr: -2.5E3}", "train.lr", "-2.5e+3"),
        ("{model.losses: {a2c: {weight: 1e-3}}}", "model.losses.a2c.weight", "1.0e-3"),
    ],
)
def test_a_number_that_yaml_takes_for_a_text_is_told_with_file_and_row(tmp_path, options, key, right):
    rows = f"base: ecm_synthetic.py\nrows:\n  - name: slow\n    options: {options}\n"
    path = write(tmp_path, "rows.yaml", rows)
    with pytest.raises(ConfigError) as caught:
        load_rows(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: row 'slow': options: {key}: expected a number, got the text")
    assert text.endswith(f"Write {right}.")
    rows = rows.replace(options, f"{{train.lr: {right.removeprefix('-')}, variant: 1e-3}}")
    assert load_rows(write(tmp_path, "rows.yaml", rows))[0].options["variant"] == "1e-3"
