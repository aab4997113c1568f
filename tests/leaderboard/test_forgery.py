"""Whoever edits a record gains nothing: every field of a valid one is changed, one at a time and together with all that
hangs on it, and no change ranks above the honest record."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.leaderboard.fabricate import World
from wtal_bench.cli import main
from wtal_bench.errors import WtalError
from wtal_bench.evaluation import Beside, ToldSnippets
from wtal_bench.leaderboard.build import build, render, stale
from wtal_bench.leaderboard.filing import file_measured
from wtal_bench.leaderboard.identity import hash_config, hash_rows, record_folder, record_id
from wtal_bench.leaderboard.record import load_records, read_record, write_record
from wtal_bench.leaderboard.rescore import Remembered, rescored
from wtal_bench.leaderboard.rows import build_sections
from wtal_bench.leaderboard.validate import record_problems
from wtal_bench.structures import Detections

WHOLE = 10**30
VALUES = (None, True, -1, 0, 1, 1.0, 0.5, 3e9, WHOLE, "", "last", "0" * 64, "\ud800", [], {}, [1.0], {"a": 1}, 1e-13)
"""What every field is changed to, besides small steps away from its own value."""


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL, "wtal_bench")


def beside(world: World) -> Beside:
    """Video scores and told snippets of every video, some of them wrong."""
    random = np.random.default_rng(5)
    classes = len(world.protocol.classes)
    videos = world.annotations.subset(world.protocol.subset)
    scores = {video: random.random(classes) for video in videos}
    told = {video: ToldSnippets(random.integers(-1, 3, 60), np.arange(60), 60, 1.0) for video in videos}
    return Beside(scores, told)


def run(world: World, folder: Path, seed: int = 0, noise: float = 1.0, **changes: Any) -> Path:
    """A run's record with everything a record can hold."""
    record, videos = world.record(seed, noise, **changes)
    more, truth, classes = beside(world), world.annotations, len(world.protocol.classes)
    segments = {v: [(s.label, s.start, s.end) for s in video.segments] for v, video in truth.videos.items()}
    record["metrics"] |= {
        "classification_mAP": more.classification_map({v: truth.tags(v) for v in truth.videos}, classes),
        "frame_accuracy": more.frame_accuracy(segments, classes),
    }
    return write_record(folder, record, videos, world.protocol.classes, more)


@pytest.fixture
def filed(synthetic, board, tmp_path) -> Path:
    """A board with an honest record and a better one of another method; the path of the first."""
    path, verdict = file_measured(board / "records", run(synthetic, tmp_path / "run", noise=3.0))
    assert verdict.state == "same"
    file_measured(board / "records", run(synthetic, tmp_path / "best", noise=0.1, method="best"))
    return path


def spread(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to every field; of lists and of mappings with entries all alike (classes, evaluators) the first alone."""
    yield path
    if isinstance(value, dict):
        alike = len(value) > 4 and len({str(type(part)) for part in value.values()}) == 1 and len(path) > 1
        for key in list(value)[: 1 if alike else None]:
            yield from spread(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from spread(value[0], (*path, 0))


def at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def changed(record: dict[str, Any], path: tuple, value: Any) -> dict[str, Any]:
    """The record with one field set; `...` removes it."""
    parent = copy.copy(record)
    if len(path) > 1:
        parent[path[0]] = changed(record[path[0]], path[1:], value)
    elif value is ...:
        del parent[path[0]]
    else:
        parent[path[0]] = value
    return parent


def steps(value: Any) -> list[Any]:
    """Values next to a field's own, and those of other kinds."""
    near: list[Any] = [...]
    if isinstance(value, bool):
        near += [not value]
    elif isinstance(value, int | float):
        near += [value + 1, value * 1.001 + 1e-6, value + 1e-10, value + 1e-13, -value, float(value)]
    elif isinstance(value, str):
        near += [value + "x", value.upper(), hashlib.sha256(value.encode()).hexdigest()]
    return [*near, *VALUES]


def whole(record: dict[str, Any]) -> dict[str, Any] | None:
    """The record with hashes and id that fit its other fields again, as a forger would leave it."""
    try:
        record = {**record, "config_hash": hash_config(record["config"])}
        return {**record, "id": record_id(record)}
    except (WtalError, KeyError, TypeError, AttributeError, UnicodeEncodeError):
        return None


def tables(root: Path, remembered: Remembered) -> list[dict[str, int | None]]:
    """Rank by record id, table by table."""
    return [
        {record["id"]: row.rank for row in block.rows for record in row.records}
        for section in build_sections(rescored(load_records(root), (), remembered))
        for block in (*section.blocks, *section.external)
    ]


def rank(root: Path, remembered: Remembered, name: str) -> tuple[int | None, int]:
    """The rank of a record, and how many records its table holds."""
    (table,) = (table for table in tables(root, remembered) if name in table)
    return table[name], len(table)


def numbers(record: dict[str, Any]) -> Any:
    """What a record says was measured, without where the last bits may lie."""
    text = json.dumps([record["metrics"]["variants"][record["metrics"]["main"]][key] for key in ("mAP", "averages")])
    return np.round(
        [value for part in json.loads(text) for value in (part.values() if type(part) is dict else part)], 9
    )


@pytest.mark.parametrize("consistent", [False, True], ids=["edited", "edited with its hashes"])
def test_no_edit_of_any_field_ranks_above_the_honest_record(filed, board, consistent):
    root, honest = board / "records", read_record(filed)
    remembered = Remembered(None)
    assert rank(root, remembered, honest["id"]) == (2, 2)
    tried = refused = 0
    for path in list(spread(honest))[1:]:
        for value in steps(at(honest, path)):
            forged = changed(honest, path, value)
            if forged == honest and type(at(honest, path)) is type(value):
                continue
            forged = whole(forged) if consistent else forged
            if forged is None:
                continue
            tried += 1
            if record_problems(forged):
                refused += 1
                continue
            target = filed.with_name(f"{forged['id']}.json") if consistent else filed
            filed.unlink()
            target.write_text(json.dumps(forged), encoding="utf-8")
            try:
                found, rows = rank(root, remembered, forged["id"])
            except WtalError:
                refused += 1
            else:
                # second, as it was; or the only row of a table of its own, that of the features it claims
                assert found is None or (found, rows) in ((2, 2), (1, 1)), (path, value)
                assert found is None or (numbers(forged) == numbers(honest)).all(), (path, value)
            target.unlink()
            filed.write_text(json.dumps(honest))
    assert tried > 1000
    assert refused > 0.8 * tried


def rewritten(path: Path, change) -> None:
    """Edit a record's JSON where it lies."""
    record = read_record(path)
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def perfect(record: dict[str, Any]) -> None:
    for table in record["metrics"]["variants"].values():
        table["ap"] = {name: [1.0] * len(table["tious"]) for name in table["ap"]}
        table["mAP"] = [1.0] * len(table["tious"])
        table["averages"] = dict.fromkeys(table["averages"], 1.0)


@pytest.mark.parametrize("splits", [{"a": {"b": 1}}, ["x"], {"a": ["x"]}, "text", {"a": 1}])
def test_splits_of_an_old_record_that_are_none_stop_no_board(synthetic, board, splits):
    """Records of schema 2 are shown, unranked, whatever their splits were."""
    path = synthetic.file(board / "records", noise=0.1)

    def older(record):
        for key in ("distributions", "trained"):
            del record[key]
        del record["detections"]["rows"]
        record["annotations"]["splits"] = splits
        record.update(schema=2, git={"commit": "0" * 40, "dirty": False})
        record.update(whole(record))

    rewritten(path, older)
    path.rename(path.with_name(f"{read_record(path)['id']}.json"))
    assert "old record" in render(board)["README.md"]


def test_perfect_numbers_without_a_detection_are_a_broken_rule(synthetic, board):
    record, _ = synthetic.record()
    nothing = {name: Detections.empty() for name in synthetic.annotations.videos}
    perfect(record)
    with pytest.raises(WtalError, match="above 0 without a single detection"):
        write_record(record_folder(board / "records", record), record, nothing, synthetic.protocol.classes)
    for table in record["metrics"]["variants"].values():
        table["detections"] = 0
    found = synthetic.detections()
    with pytest.raises(WtalError, match="above 0 without a single detection"):
        write_record(record_folder(board / "records", record), record, found, synthetic.protocol.classes)


def test_perfect_numbers_beside_detections_that_do_not_give_them_stop_the_board(synthetic, board):
    path = synthetic.file(board / "records", noise=3.0)
    rewritten(path, perfect)
    for action in (build, stale, render):
        with pytest.raises(WtalError, match="do not give its numbers"):
            action(board)
    assert main(["leaderboard", "--verify", "--folder", str(board)]) == 1


def test_perfect_numbers_on_annotations_nobody_has_are_refused(synthetic, board, capsys):
    for splits in ({"train": "1" * 64, "test": "1" * 64}, {"other": "1" * 64}):
        path = synthetic.file(board / "records", annotations={"sha256": "1" * 64, "splits": splits})
        assert main(["leaderboard", "--check", "--verify", "--folder", str(board)]) == 2
        assert "are not those of synthetic_tiny/v2" in capsys.readouterr().err
        path.unlink()


def test_annotations_with_the_same_videos_and_counts_but_other_times_are_not_the_protocols(synthetic, board, tmp_path):
    """Segments moved onto one's detections score 100 %."""
    moved = synthetic.annotations_with(lambda start, end: (start + 0.5, end + 0.5))
    assert synthetic.protocol.split_notes(moved) == []  # ids and counts are the same
    record, videos = synthetic.record()
    record["metrics"] = synthetic.protocol.score(videos, moved)
    record["annotations"] = {"sha256": moved.sha256, "splits": synthetic.protocol.contents(moved)}
    path = write_record(tmp_path / "run", record, videos, synthetic.protocol.classes)
    with pytest.raises(WtalError, match="are not those of synthetic_tiny/v2"):
        file_measured(board / "records", path, moved.path)


def test_detections_of_a_better_record_do_not_give_the_numbers_of_a_worse_one(synthetic, board):
    root = board / "records"
    good, bad = synthetic.file(root, noise=0.1, method="good"), synthetic.file(root, noise=5.0, method="bad")
    theirs = read_record(good)
    shutil.copy(good.parent / theirs["detections"]["file"], bad.parent)
    rewritten(bad, lambda record: record.update(detections=theirs["detections"], metrics=theirs["metrics"]))
    rewritten(bad, lambda record: record.update(whole(record)))
    bad = bad.rename(bad.with_name(f"{read_record(bad)['id']}.json"))
    with pytest.raises(WtalError, match="the same detections"):
        build(board)
    rewritten(bad, lambda record: record["detections"].update(rows="2" * 64))
    rewritten(bad, lambda record: record.update(whole(record)))
    bad.rename(bad.with_name(f"{read_record(bad)['id']}.json"))
    with pytest.raises(WtalError, match="the same detections file"):
        build(board)


def recompressed(videos):
    return videos, "recompressed"


def renamed(videos):
    return videos, "another version"


def reordered(videos):
    turned = {name: found.take(np.arange(len(found))[::-1]) for name, found in reversed(videos.items())}
    return turned, "reordered"


def rescaled(videos):
    scaled = {name: Detections(d.start, d.end, d.label, np.exp(d.score) + 3) for name, d in videos.items()}
    return scaled, "scores rescaled"


def padded(videos):
    return {**videos, "a_video_more": Detections.empty()}, "an empty video more"


def jittered(videos):
    return {name: Detections(d.start + 1e-9, d.end, d.label, d.score) for name, d in videos.items()}, "a nanosecond"


@pytest.mark.parametrize("disguise", [recompressed, renamed, reordered, rescaled, padded, jittered])
@pytest.mark.parametrize("terms", [{"method": "mine"}, {"seed": 1}], ids=["method", "seed"])
def test_the_same_detections_in_disguise_are_one_submission(synthetic, board, tmp_path, disguise, terms):
    """Times that fall on a half millisecond could round apart; these do not."""
    synthetic.file(board / "records")
    record, videos = synthetic.record(0)
    found, version = disguise(videos)
    del record["data"]  # which names the videos: one more would be told there first
    record |= terms
    if "method" in terms:
        record["config"] |= terms
    record["metrics"] = synthetic.protocol.score(found, synthetic.annotations)
    path = write_record(tmp_path / "run", record, found, synthetic.protocol.classes)
    content = gzip.decompress((path.parent / read_record(path)["detections"]["file"]).read_bytes())
    content = content.replace(b'"version": "synthetic_tiny/v2"', json.dumps({"version": version}).encode()[1:-1])
    stored = gzip.compress(content, compresslevel=1, mtime=7)
    name = hashlib.sha256(stored).hexdigest()
    (path.parent / f"{name}.json.gz").write_bytes(stored)
    rewritten(path, lambda record: record["detections"].update(sha256=name, file=f"{name}.json.gz"))
    with pytest.raises(WtalError, match="the same detections"):
        file_measured(board / "records", path)


def test_rows_that_differ_have_hashes_that_differ(synthetic):
    classes, videos = synthetic.protocol.classes, synthetic.detections()
    first = next(iter(videos))
    d = videos[first]
    other = {
        "a time": Detections(d.start + 0.01, d.end, d.label, d.score),
        "a label": Detections(d.start, d.end, d.label[::-1], d.score),
        "an order of scores": Detections(d.start, d.end, d.label, d.score[::-1]),
        "a row less": d.take(np.arange(len(d) - 1)),
    }
    hashes = {hash_rows({**videos, first: changed}, classes) for changed in other.values()}
    assert len({hash_rows(videos, classes), *hashes}) == 5


def test_a_record_of_the_old_schema_is_shown_and_never_ranked(synthetic, board):
    path = synthetic.file(board / "records", noise=0.1)
    synthetic.file(board / "records", noise=3.0, method="other")

    def older(record):
        for key in ("distributions", "trained"):
            del record[key]
        del record["detections"]["rows"], record["annotations"]["splits"]
        record.update(schema=2, git={"commit": "0" * 40, "dirty": False})
        record.update(whole(record))

    rewritten(path, older)
    path.rename(path.with_name(f"{read_record(path)['id']}.json"))
    text = render(board)["README.md"]
    assert "| - | *ECM: old record* |" in text
    assert "| 1 | other |" in text


def test_what_is_remembered_holds_for_these_bytes_alone(synthetic, board, monkeypatch):
    path = synthetic.file(board / "records")
    remembered = Remembered(None)
    rescored(load_records(board / "records"), (), remembered)
    assert len(remembered.keys) == 1
    monkeypatch.setattr("wtal_bench.leaderboard.rescore.score_again", lambda *_: pytest.fail("scored again"))
    (item,) = rescored(load_records(board / "records"), (), remembered)
    assert item.reason == ""
    rewritten(path, lambda record: record["cost"].update(train_seconds=2.0))
    with pytest.raises(pytest.fail.Exception, match="scored again"):
        rescored(load_records(board / "records"), (), remembered)


def test_nothing_in_the_repository_counts_as_having_been_scored(synthetic, board, monkeypatch):
    path = synthetic.file(board / "records", noise=3.0)
    rewritten(path, perfect)
    (stored,) = load_records(board / "records")
    own = Remembered.load()
    key = own.key(stored, _truth(stored))
    for folder in (board, board / "records", path.parent, Path.cwd()):
        place = folder / "rescored.txt"
        if not place.exists() and board in place.parents:
            place.write_text(key)
    with pytest.raises(WtalError, match="do not give its numbers"):
        render(board)
    assert stored.reason == "not scored again"  # whatever is read anew begins unranked


def _truth(stored):
    from wtal_bench.leaderboard.rescore import finder

    return finder()(stored)


def test_a_lone_surrogate_is_told(synthetic, tmp_path, capsys, board):
    path = synthetic.write(tmp_path / "run")
    text = path.read_text().replace('"width": 8', '"width": "\\ud800"')
    path.write_text(text)
    assert main(["leaderboard", "add", str(path), "--folder", str(board)]) == 2
    assert "holds bytes that are no text here" in capsys.readouterr().err


def test_deep_nesting_is_told(synthetic, tmp_path, capsys, board):
    path = synthetic.write(tmp_path / "run")
    for depth in (60, 900, 100_000):
        path.with_name("deep.json").write_text(
            path.read_text().replace('"width": 8', f'"width": {"[" * depth}{"]" * depth}')
        )
        assert main(["leaderboard", "add", str(path.with_name("deep.json")), "--folder", str(board)]) == 2
    assert "nested more than 40 deep" in capsys.readouterr().err


def test_video_scores_that_leave_the_hard_videos_out_are_refused(synthetic, board, tmp_path):
    path = run(synthetic, tmp_path / "run")
    stored = path.parent / read_record(path)["detections"]["file"]
    value = json.loads(gzip.decompress(stored.read_bytes()))
    value["video_scores"].popitem()
    content = gzip.compress(json.dumps(value).encode())
    name = hashlib.sha256(content).hexdigest()
    (path.parent / f"{name}.json.gz").write_bytes(content)
    rewritten(path, lambda record: record["detections"].update(sha256=name, file=f"{name}.json.gz"))
    with pytest.raises(WtalError, match="video_scores and videos must name the same videos"):
        file_measured(board / "records", path)


def test_classification_without_what_it_is_scored_from_is_refused(synthetic, board, tmp_path):
    record, videos = synthetic.record()
    for name in ("classification_mAP", "frame_accuracy"):
        metrics = {**record["metrics"], name: 0.99}
        path = write_record(tmp_path / name, {**record, "metrics": metrics}, videos, synthetic.protocol.classes)
        with pytest.raises(WtalError, match=f"metrics.{name} is 0.99, the detections give None"):
            file_measured(board / "records", path)


def test_a_file_without_one_known_row_is_not_filed(synthetic, board, tmp_path, capsys):
    names = list(synthetic.annotations.videos)
    rows = {"classes": [{"label": "SYN_00 ", "start": 0, "end": 1, "score": 1}] * 3,
            "videos": [{"label": "syn_00", "start": 0, "end": 1, "score": 1}]}  # fmt: skip
    for kind, found in rows.items():
        path = tmp_path / f"{kind}.json"
        ids = names if kind == "classes" else [f"v_{name}.mp4" for name in names]
        path.write_text(json.dumps({"version": "", "videos": dict.fromkeys(ids, found)}))
        terms = ["--protocol", "synthetic_tiny/v2", "--method", "x", "--folder", str(board)]
        assert main(["leaderboard", "add", str(path), *terms]) == 2
        assert "none of its rows is of a known class in a video" in capsys.readouterr().err
    assert list((board / "records").rglob("*.json*")) == []
