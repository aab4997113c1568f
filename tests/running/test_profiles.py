"""Profiles: named settings of a recipe, merged by name; what the published one selects by; what the record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.leaderboard.fabricate import World
from tests.running.conftest import tiny_config
from tests.running.test_selection import PLAIN_SCORE, best_of
from tests.running.test_training import assert_equal, run
from wtal_bench.cli import main
from wtal_bench.errors import ConfigError
from wtal_bench.evaluation import PRESETS, DetectionTable
from wtal_bench.leaderboard.validate import record_problems, unranked_reason
from wtal_bench.protocols import get_protocol
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config, load_config
from wtal_bench.running.measure import Measure, read_measure, selection_measure
from wtal_bench.running.metrics import ProtocolMetric
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.run import train
from wtal_bench.running.workdir import WorkDir

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PUBLISHED = {"train": {"selection": "best_on_test", "select_by": "mAP@0.5", "val_interval": 1, "lr": 0.5}}


def with_profiles(root: Path, **profiles) -> dict:
    return {**tiny_config(root), "profiles": {"published": PUBLISHED, **profiles}}


def written(folder: Path, tree: dict, name: str = "my.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(tree))
    return path


# ---- merging ----


def test_a_profile_is_merged_by_name_and_options_come_after_it(dataset, tmp_path):
    path = written(tmp_path, with_profiles(dataset))
    plain, honest = load_config(path), load_config(path, ["profile=honest"])
    assert plain.profile == honest.profile == "honest"
    assert plain.resolved() == honest.resolved() == load_config(path, profile="honest").resolved()
    assert (plain.train.selection, plain.train.lr) == ("last", 1e-3)
    published = load_config(path, ["profile=published"])
    assert published.resolved() == load_config(path, profile="published").resolved()
    assert (published.profile, published.train.selection, published.train.lr) == ("published", "best_on_test", 0.5)
    assert published.train.batch_size == plain.train.batch_size
    for options in (["train.lr=0.1", "profile=published"], ["profile=published", "train.lr=0.1"]):
        assert load_config(path, options).train.lr == 0.1


def test_what_a_run_keeps_is_plain_and_says_which_profile(dataset, tmp_path):
    resolved = load_config(written(tmp_path, with_profiles(dataset)), profile="published").resolved()
    assert "profiles" not in resolved
    again = written(tmp_path, resolved, "config.json")
    assert load_config(again).resolved() == resolved
    assert load_config(again, profile="published").resolved() == resolved
    with pytest.raises(ConfigError, match=r"there is no profile 'publishd'"):
        load_config(again, profile="publishd")


def test_the_command_line_takes_a_profile_in_either_way(dataset, tmp_path, capsys):
    path = str(written(tmp_path, with_profiles(dataset)))
    said = []
    for words in (["--profile", "published"], ["--cfg-options", "profile=published"]):
        assert main(["train", path, "--print-config", *words]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0]["profile"] == "published"
    words = ["--profile", "published", "--cfg-options", "profile=honest"]
    assert main(["train", path, "--print-config", *words]) == 2
    assert "asked for two profiles: honest, published" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("profiles", "asked", "text"),
    [
        ({}, "publshed", r"no profile 'publshed'\. Did you mean 'published'\? It has honest, published"),
        ({"fast": [1]}, None, "profiles.fast must be a dict of the settings it changes"),
        ({"fast": {"trian": {}}}, None, r"profiles\.fast\.trian: no section .* Did you mean 'train'\?"),
        ({"fast": {"method": "x"}}, None, r"profiles\.fast\.method: no section that a profile may change"),
        ({"fast": {"train": {"epohcs": 1}}}, "fast", r"train\.epohcs: unknown key\. Did you mean 'epochs'"),
        ({"a-b": {}}, None, "'a-b' is no name"),
    ],
)
def test_a_bad_profile_is_a_sentence_before_anything_trains(dataset, tmp_path, profiles, asked, text):
    path = written(tmp_path, with_profiles(dataset, **profiles))
    with pytest.raises(ConfigError, match=text):
        load_config(path, profile=asked)
    with pytest.raises(ConfigError, match="profiles must be a dict"):
        load_config(written(tmp_path, {**tiny_config(dataset), "profiles": 3}))


def test_no_run_that_picks_on_the_test_videos_is_called_honest(dataset, tmp_path):
    path = written(tmp_path, with_profiles(dataset))
    assert load_config(path, ["train.selection=best_on_test"]).profile == ""
    with pytest.raises(ConfigError, match="profile='honest' never looks at the test videos"):
        load_config(path, ["profile=honest", "train.selection=best_on_test"])


def test_a_parent_has_the_profile_of_its_child_or_refuses(dataset, tmp_path):
    written(tmp_path, with_profiles(dataset), "parent.json")
    child = with_profiles(dataset)
    child["train"] = {**child["train"], "epochs": 1, "init_from": {"config": "parent.json"}}
    path = written(tmp_path, child)
    work_dir = WorkDir(tmp_path / "run", resume=False)
    try:
        train(load_config(path, profile="published"), work_dir, out=lambda line: None)
    finally:
        work_dir.release()
    for folder in (tmp_path / "run", tmp_path / "run" / "init"):
        (record,) = folder.glob("record/*.json")
        record = json.loads(record.read_text())
        assert (record["profile"], record["selection"]) == ("published", "best_on_test")
    written(tmp_path, tiny_config(dataset), "parent.json")
    work_dir = WorkDir(tmp_path / "other", resume=False)
    try:
        with pytest.raises(ConfigError, match=r"parent\.json: there is no profile 'published'"):
            train(load_config(path, profile="published"), work_dir, out=lambda line: None)
    finally:
        work_dir.release()
    assert not list((tmp_path / "other").rglob("*.pth"))


# ---- the leaderboard ----


def test_the_published_profile_is_never_ranked(tmp_path):
    world = World(tmp_path)
    for selection in ("last", "best_on_test"):
        path = world.write(tmp_path / selection, selection=selection, profile="published")
        record = json.loads(path.read_text())
        assert record_problems(record) == []
        assert unranked_reason(record)
    assert not unranked_reason(json.loads(world.write(tmp_path / "honest", profile="honest").read_text()))


# ---- the shipped recipes ----

RULES = {  # selection, metric, epochs between scorings (first), evaluator, tags
    "ecm_thumos": ("best_on_test", "mAP@0.5", 1, None, "thumos_seconds_210", "segments"),
    "ecm_anet12": ("best_on_test", "mAP@0.5:0.95", 1, None, "activitynet", "segments"),
    "ecm_anet13": ("best_on_test", "mAP@0.5:0.95", 1, None, "activitynet", "segments"),
    "acm_net_thumos": ("best_on_test", "mAP@0.1:0.9", 1, None, "thumos_seconds_210_of_212", "segments"),
    "acm_net_anet13": ("best_on_test", "mAP@0.5:0.95", 2, 1, "activitynet", "segments"),
    "ftcl_thumos": ("best_on_test", "mAP@0.1:0.7", 1, None, "thumos_seconds_210_of_212", "segments"),
    "ablations/ftcl_in_batch_thumos": ("best_on_test", "mAP@0.1:0.7", 1, None, "thumos_seconds_210_of_212", "segments"),
    "ftcl_anet13": ("best_on_test", "mAP@0.5:0.95", 1, None, "activitynet", "segments"),
    "fac_net_thumos": ("best_on_test", "mAP@0.1:0.7", 5, None, "thumos_snippet", "labels_all"),
    "fac_net_anet13": ("best_on_test", "mAP@0.5:0.95", 5, None, "activitynet", "segments"),
    "rskp_thumos": ("best_on_test", "mAP@0.1:0.7", 5, None, "thumos_snippet", "labels_all"),
    "rskp_anet13": ("best_on_test", "mAP@0.5:0.95", 5, None, "activitynet", "segments"),
    "gaufuse_thumos": ("last", "", 5, None, "thumos_snippet", "labels_all"),
    "gaufuse_anet13": ("last", "", 5, None, "activitynet", "segments"),
    "stpn_thumos": ("best_on_test", "mAP@0.1:0.7", 3, 650, "thumos_seconds_210", "segments"),
    "bm_thumos": ("best_on_test", "mAP@0.5", 10, None, "thumos_seconds_210", "segments"),
    "bm_anet12": ("best_on_test", "mAP@0.5:0.95", 10, None, "activitynet", "segments"),
    "um_thumos": ("best_on_test", "mAP@0.1:0.7", 1, None, "thumos_seconds_210", "segments"),
    "wtalc_thumos": ("last", "", 500, 501, "wtalc", "labels_all"),
    "cola_thumos": ("best_on_test", "mAP@0.1:0.7", 100, None, "thumos_seconds_210", "segments"),
    "cola_anet12": ("best_on_test", "mAP@0.5:0.95", 500, None, "activitynet", "segments"),
    "basnet_thumos": ("best_on_test", "mAP@0.1:0.9", 1, None, "thumos_seconds_210", "segments"),
    "co2net_thumos": ("best_on_test", "mAP@0.1:0.7", 200, 201, "thumos_snippet_official", "labels_all"),
    "co2net_anet12": ("best_on_test", "mAP@0.5:0.95", 200, 201, "activitynet", "segments"),
    "bges_ten_thumos": ("best_on_test", "mAP@0.1:0.7", 200, None, "thumos_seconds_212", "segments"),
    "bges_ten_anet12": ("best_on_test", "mAP@0.5:0.95", 200, None, "activitynet", "segments"),
}
REAL = sorted({*CONFIGS.glob("*_thumos.py"), *CONFIGS.glob("*_anet1*.py")})


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_every_recipe_on_real_data_is_honest_by_default_and_tells_of_both_profiles(path):
    config = load_config(path)
    assert (config.profile, config.train.selection, config.train.val_interval) == ("honest", "last", None)
    assert load_config(path, profile="published").profile == "published"
    if "profiles" not in path.read_text():  # all of it is the base's
        return
    header = "".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert "`published`" in header or "profile='published'" in header
    assert "`honest`" in header or "profile='honest'" in header or "both keep" in header


@pytest.mark.parametrize("name", RULES)
def test_published_profiles_are_the_authors_rules(name):
    config = load_config(CONFIGS / f"{name}.py", profile="published")
    measure = selection_measure(config, get_protocol(config.data.protocol))
    t = config.train
    found = (t.selection, measure.title if measure else "", t.val_interval, t.val_first, config.test.evaluator)
    assert (*found, config.data.tags) == RULES[name]
    assert t.select_streams == name.startswith("fac_net")
    if measure is not None:
        assert measure.evaluator == config.test.evaluator


def test_what_the_profile_leaves_alone_is_equal_in_both():
    for path in REAL:
        honest, published = load_config(path).resolved(), load_config(path, profile="published").resolved()
        for key in ("selection", "select_by", "select_streams", "val_interval", "val_first", "shuffle"):
            honest["train"].pop(key), published["train"].pop(key)
        assert honest.pop("profile") != published.pop("profile")
        assert honest == published


# ---- what best_on_test goes by ----


def test_metrics_are_understood_as_papers_write_them():
    protocol = get_protocol("thumos14/v1")
    seven = tuple(protocol.tious)
    for text, label, tious in (
        ("average", "0.1:0.7", seven),
        ("mAP@0.1:0.7", "0.1:0.7", seven),
        (0.5, "0.5", (0.5,)),
        ("mAP@0.5", "0.5", (0.5,)),
        ("mAP@0.1:0.9", "0.1:0.9", (*seven, 0.8, 0.9)),
        ("mAP@0.5:0.95", "0.5:0.95", tuple(get_protocol("activitynet13/v1").tious)),
    ):
        assert read_measure(text, "wtalc", protocol, "x") == Measure("wtalc", label, tious)
    for text in ("map@0.5", "mAP@", "mAP@0.7:0.1", "mAP@1.5", "best", None, True, "mAP@0.0"):
        with pytest.raises(ConfigError, match=r"x=.*: expected 'average' or a tIoU of thumos14/v1"):
            read_measure(text, "wtalc", protocol, "x")


def test_the_best_epoch_by_tious_the_protocol_has_not(dataset, tmp_path):
    """Of every epoch the mean over 0.1:0.9 is what the evaluator itself gives of that epoch's detections."""
    by_hand = []

    def score(metric, predictions):
        found = PLAIN_SCORE(metric, predictions)
        if metric.select_by is not None:
            truth = metric.protocol.ground_truth(metric.annotations)
            tious = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
            table = DetectionTable.from_videos({video: p.detections for video, p in predictions.items()})
            by_hand.append(PRESETS["activitynet"].evaluate(table, truth, tious).average)
            assert found["test/mAP@0.1:0.9"] == by_hand[-1] != found["test/average"]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProtocolMetric, "score", score)
        run(tiny_config(dataset, epochs=3, lr=0.01, selection="best_on_test", select_by="mAP@0.1:0.9"), tmp_path / "r")
    best, _ = best_of(tmp_path / "r")
    assert len(by_hand) == 3
    assert (best["metric"], best["value"]) == ("test/mAP@0.1:0.9", max(by_hand))
    assert best["done"] == by_hand.index(max(by_hand)) + 1


def test_epochs_are_scored_from_the_first_one_asked_for_and_no_other(dataset, tmp_path, monkeypatch):
    seen = []

    def score(metric, predictions):
        seen.append(metric.select_by is not None)
        return PLAIN_SCORE(metric, predictions)

    monkeypatch.setattr(ProtocolMetric, "score", score)
    settings = dict(epochs=4, selection="best_on_test", val_interval=2)
    run(tiny_config(dataset, **settings, val_first=1), tmp_path / "odd")
    assert seen == [True, True, False]  # after epochs 1 and 3, not after the last; then the test
    for done, (name, more) in ((1, ("odd", {"val_first": 1})), (2, ("even", {}))):
        values = {1: 0.1, 2: 0.1, 3: 0.05, 4: 0.05}
        scored = iter([values[epoch] for epoch in ((1, 3) if more else (2, 4))] + [0.0])
        monkeypatch.setattr(
            ProtocolMetric, "score", lambda m, p, s=scored: PLAIN_SCORE(m, p) | {"test/average": next(s)}
        )
        run(tiny_config(dataset, **settings, **more), tmp_path / f"again_{name}")
        assert best_of(tmp_path / f"again_{name}")[0]["done"] == done


@pytest.mark.parametrize(
    ("section", "settings", "text"),
    [
        (
            "test",
            {"evaluator": "thumos_snippets"},
            "test.evaluator='thumos_snippets': synthetic_tiny/v2 has",
        ),
        ("train", {"selection": "best_on_test", "select_by": "mAP0.5"}, "train.select_by='mAP0.5': expected 'average'"),
        ("train", {"selection": "best_on_test", "select_by": "frame_accuracy"}, "train.select_by='frame_accuracy'"),
        ("train", {"selection": "best_on_test", "select_by": 0.55}, "train.select_by=0.55: expected"),
        ("train", {"val_first": 3, "selection": "best_on_test", "val_interval": 1}, "lies past the end of training"),
        ("train", {"val_first": 1}, "val_first=1 needs val_interval"),
        ("train", {"select_streams": True}, "needs selection='best_on_test'"),
        ("train", {"select_streams": True, "selection": "best_on_test"}, "needs model.type='Streams'"),
    ],
)
def test_a_metric_or_evaluator_that_is_not_there_is_a_sentence_before_anything_trains(
    dataset, tmp_path, section, settings, text
):
    tree = tiny_config(dataset)
    tree[section] = {**tree[section], **settings}
    with pytest.raises(ConfigError, match=text.replace(".", r"\.")):
        run(tree, tmp_path / "run")
    assert not list(tmp_path.rglob("*.pth"))


def test_test_videos_without_instances_cannot_select(dataset, tmp_path):
    tree = json.loads((dataset / "annotations.json").read_text())
    for video in tree["videos"].values():
        if video["subset"] == "test":
            video["labels"] = [segment["label"] for segment in video["segments"]]
            video["segments"] = []
    (tmp_path / "annotations.json").write_text(json.dumps(tree))
    (tmp_path / "features").symlink_to(dataset / "features")
    own = tiny_config(tmp_path, selection="best_on_test")
    own["data"]["protocol"] = "own"
    with pytest.raises(ConfigError, match=r"no test video has an annotated instance.*never computed"):
        run(own, tmp_path / "run")


# ---- a best epoch for every stream ----


def streams_config(root: Path, names=("rgb", "flow"), **train) -> dict:
    tree = tiny_config(root, lr=0.01, **train)
    member = {key: tree["model"][key] for key in ("backbone", "heads", "losses")}
    member["backbone"] = {**member["backbone"], "in_channels": 4}
    decoder = {key: value for key, value in tree["model"]["postprocessor"].items() if key not in ("type", "nms")}
    passes = {name: dict(curve=f"{name}.cas", scores=f"{name}.video_logits") for name in names}
    tree["model"] = dict(
        type="Streams",
        streams={name: {"rgb": (0, 4), "flow": (4, 8)}[name] for name in names},
        member=member,
        postprocessor=dict(
            type="PooledDecoder",
            shared=decoder | {"nms": dict(iou=0.5)},
            passes=passes,
            nms=dict(iou=0.5),
            nms_classes="shared",
        ),
    )
    return tree


def test_every_stream_keeps_its_own_best_epoch(dataset, tmp_path, monkeypatch):
    """RGB is best after epoch 1, flow after epoch 3: the weights are those, and the same when a run is interrupted."""
    values = {"rgb": [0.9, 0.2, 0.3], "flow": [0.1, 0.2, 0.8]}
    settings = dict(epochs=3, selection="best_on_test", select_streams=True, val_interval=1)
    weights = {}

    def selecting() -> dict:
        """What was scored before an interruption is not scored again only where every epoch left its checkpoint."""
        tree = streams_config(dataset, **settings)
        tree["runtime"]["checkpoint_seconds"] = 0
        return tree

    for epochs in (1, 3):
        plain = streams_config(dataset, **{**settings, "epochs": epochs, "selection": "last", "select_streams": False})
        plain["train"]["val_interval"] = None
        weights[epochs] = run(plain, tmp_path / f"plain{epochs}")[1]

    def score(metric, predictions):
        found = PLAIN_SCORE(metric, predictions)
        if not metric.streams:
            return found
        at = len(seen)
        seen.append(at)
        if at == stop:
            raise KeyboardInterrupt
        number = at - (stop is not None and at > stop)
        return found | {f"test/{name}/activitynet/mAP@0.1:0.7": values[name][number] for name in values}

    monkeypatch.setattr(ProtocolMetric, "score", score)
    for stop in (None, 1, 2):
        seen: list[int] = []
        folder = tmp_path / f"run{stop}"
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                run(selecting(), folder)
        result, _ = run(selecting(), folder, resume=stop is not None)
        state = read_checkpoint(folder / "best.pth")
        best = {name: (part["done"], part["value"]) for name, part in state["meta"]["best"].items()}
        assert best == {"rgb": (1, 0.9), "flow": (3, 0.8)}
        for name, value in state["state_dict"].items():
            stream = name.split(".")[1]
            assert_equal({name: value}, {name: weights[1 if stream == "rgb" else 3][name]})
        assert result.record["selection"] == "best_on_test"


def test_a_stream_is_scored_by_what_it_finds_without_the_others(dataset, tmp_path, monkeypatch):
    alone = {}

    def score(metric, predictions):
        if metric.streams:
            alone["rgb"] = {video: p.alone["rgb"] for video, p in predictions.items()}
        else:
            alone.setdefault("test", {video: p.detections for video, p in predictions.items()})
        return PLAIN_SCORE(metric, predictions)

    monkeypatch.setattr(ProtocolMetric, "score", score)
    settings = dict(epochs=1, selection="best_on_test", select_streams=True)
    run(streams_config(dataset, **settings), tmp_path / "both")
    both = alone.pop("rgb")
    alone.clear()
    run(streams_config(dataset, ("rgb",), epochs=1), tmp_path / "rgb")
    assert both.keys() == alone["test"].keys()
    for video, found in alone["test"].items():
        for column in ("start", "end", "label", "score"):
            assert (getattr(found, column) == getattr(both[video], column)).all()
    assert any(len(found) for found in both.values())


def test_one_decoder_over_mixed_streams_cannot_score_them_apart(dataset):
    tree = streams_config(dataset, selection="best_on_test", select_streams=True)
    passes = tree["model"]["postprocessor"]["passes"]
    tree["model"]["postprocessor"]["passes"] = {"first": passes["rgb"], "second": passes["flow"]}
    with pytest.raises(ConfigError, match="a decoder with a pass named after each"):
        check_model(check_config(tree, "my.py"))
