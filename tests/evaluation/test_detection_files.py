"""Detection files come back bit for bit, and every kind of damage is explained."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError
from wtal_bench.evaluation import read_detections, write_detections
from wtal_bench.structures import Detections, SnippetPositions

CLASSES = ("CliffDiving", "Diving")
ROW = {"label": "Diving", "start": 1.0, "end": 2.5, "score": 0.5}


def put(tmp_path, value, name="found.json"):
    path = tmp_path / name
    text = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") and not isinstance(value, bytes) else text)
    return path


def with_rows(*rows, video="v"):
    return {"version": "x", "videos": {video: list(rows)}}


@pytest.mark.parametrize("name", ["found.json", "found.json.gz"])
def test_written_files_come_back_bit_for_bit(tmp_path, name):
    random = np.random.default_rng(0)
    videos = {
        "zebra": Detections(*random.random((2, 5)), [1, 0, 1, 1, 0], random.random(5)),
        "none": Detections.empty(),
        'Ünïcode "quoted"': Detections.from_rows([(1, 0.1 + 0.2, 1e3, 1e-300)]),
    }
    path = tmp_path / name
    write_detections(path, videos, CLASSES, "mine")
    back = read_detections(path, CLASSES, allow_invalid=True)
    assert list(back.videos) == list(videos)
    assert (back.version, back.layout, back.count, back.unknown_labels) == ("mine", "videos", 6, {})
    for video, found in videos.items():
        np.testing.assert_array_equal(back.videos[video].rows(), found.rows())


def test_equal_detections_give_equal_bytes_whatever_the_file_name(tmp_path):
    videos = {"v": Detections.from_rows([(1, 0, 1, 0.5)])}
    for name in ("a.json.gz", "b.json.gz"):
        write_detections(tmp_path / name, videos, CLASSES, "x")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


ON_GRID = {
    "w": Detections([6.848, 0.1 + 0.2], [9.984, 3.2], [0, 1], [0.5, 0.4],
                    SnippetPositions([10.7, (0.1 + 0.2) * 25 / 16], [15.6, 5.0], 25 / 16)),
    "plain": Detections.from_rows([(1, 0.5, 1.0, 0.25)]),
    "none": replace(Detections.empty(), snippets=SnippetPositions([], [], 2.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", ["found.json", "found.json.gz"])
def test_positions_on_the_grid_come_back_bit_for_bit(tmp_path, name):
    write_detections(tmp_path / name, ON_GRID, CLASSES, "mine")
    back = read_detections(tmp_path / name, CLASSES).videos
    for video, found in ON_GRID.items():
        np.testing.assert_array_equal(back[video].rows(), found.rows())
        if found.snippets is None:
            assert back[video].snippets is None
            continue
        assert back[video].snippets.rate == found.snippets.rate
        np.testing.assert_array_equal(back[video].snippets.start, found.snippets.start)
        np.testing.assert_array_equal(back[video].snippets.end, found.snippets.end)


def test_files_without_a_grid_keep_the_bytes_they_always_had(tmp_path):
    write_detections(tmp_path / "a.json", {"v": ON_GRID["plain"]}, CLASSES, "x")
    row = '{"label":"Diving","start":0.5,"end":1.0,"score":0.25}'
    assert (tmp_path / "a.json").read_text() == f'{{"version": "x", "videos": {{\n"v":[{row}]\n}}}}\n'


def test_snippets_of_a_row_that_is_left_out_leave_with_it(tmp_path):
    rows = [{**ROW, "label": "Surfing", "snippets": [0, 1]}, {**ROW, "snippets": [1.5625, 3.90625]}]
    value = {"format": 2, "grids": {"v": 25 / 16}, "videos": {"u": [ROW], "v": rows}}
    found = read_detections(put(tmp_path, value), CLASSES, allow_invalid=True).videos["v"]
    assert (found.snippets.start.tolist(), found.snippets.end.tolist()) == ([1.5625], [3.90625])


def grid_file(row=None, **more):
    row = {**ROW, "snippets": [1.5625, 3.90625]} if row is None else row
    return {"format": 2, "grids": {"v": 25 / 16}, **with_rows(row), **more}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (grid_file(format=3), "reads forms 1 to 2 .* found 3. A newer one needs a newer wtal-bench"),
        (grid_file(format="2"), "found '2'"),
        (grid_file(grids=[1]), '"grids": expected an object of video id -> snippets a second'),
        (grid_file(grids={"vv": 1.0}), r'grids\["vv"\]: the file holds no such video. Did you mean'),
        (grid_file(grids={"v": 0}), r'grids\["v"\]: expected snippets a second, a number > 0, found 0'),
        (grid_file(grids={"v": True}), "a number > 0, found True"),
        (grid_file(ROW), r"videos\[\"v\"\]\[0\]: expected the keys .*snippets, found .*; 'snippets' is missing"),
        (grid_file({**ROW, "snippets": [1]}), r"\.snippets: expected \[start, end\], two numbers in snippets"),
        (grid_file({**ROW, "snippets": [1, "2"]}), r"\.snippets: expected \[start, end\], two numbers in snippets"),
        (grid_file({**ROW, "snippets": [1, 5]}), r"video 'v', detection 0: snippets \[1.0, 5.0\] at 1.5625 a second"),
    ],
)
def test_a_wrong_grid_says_where(tmp_path, value, text):
    path = put(tmp_path, value)
    with pytest.raises(DataError, match=text) as caught:
        read_detections(path, CLASSES)
    assert str(path) in str(caught.value)


def test_snippets_that_no_grid_speaks_for_are_a_strangers_own_business(tmp_path):
    file = read_detections(put(tmp_path, with_rows({**ROW, "snippets": "mine"})), CLASSES)
    assert file.videos["v"].snippets is None


def test_a_file_without_videos_can_be_written(tmp_path):
    write_detections(tmp_path / "a.json", {}, CLASSES, "x")
    assert read_detections(tmp_path / "a.json", CLASSES).videos == {}


@pytest.mark.parametrize("row", [(2, 0, 1, 0.5), (-1, 0, 1, 0.5), (0, 0, float("inf"), 1), (0, 0, 1, float("nan"))])
def test_unwritable_rows_are_named_and_leave_nothing(tmp_path, row):
    with pytest.raises(DataError, match="video 'v', detection 1: "):
        write_detections(tmp_path / "a.json", {"v": Detections.from_rows([(0, 0, 1, 1), row])}, CLASSES, "x")
    assert list(tmp_path.iterdir()) == []


def test_the_activitynet_layout_is_read(tmp_path):
    rows = [
        {"label": "Diving", "segment": [1, 2.5], "score": 1},
        {"score": 0.5, "segment": [0.0, 4], "label": "Diving"},
    ]
    path = put(tmp_path, {"version": "VERSION 1.3", "results": {"v": rows}, "external_data": {"used": False}})
    file = read_detections(path, CLASSES)
    assert (file.layout, file.version) == ("results", "VERSION 1.3")
    assert file.videos["v"].rows().tolist() == [[1, 1.0, 2.5, 1.0], [1, 0.0, 4.0, 0.5]]


def test_real_files_are_read_in_order():
    classes = Annotations.load(shared_file("data/thumos14.json")).classes
    file = read_detections(shared_file("detections/thumos14_pmil_base_test.json.gz"), classes)
    assert (len(file.videos), file.count, file.duplicates) == (212, 31587, 0)
    first = next(iter(file.videos.values()))
    assert (classes[first.label[0]], first.start[0], first.end[0]) == ("CricketBowling", 19.2, 21.76)


LAYOUTS = {
    "list": ([ROW], 'top level: expected an object with the key "videos"'),
    "other_key": ({"detections": {}}, 'expected one key "videos".* found only the keys detections'),
    "near_key": ({"result": {}}, "Did you mean 'results'"),
    "both_keys": ({"videos": {}, "results": {}}, "found both"),
    "videos_list": ({"videos": [ROW]}, '"videos": expected an object of video id'),
    "rows_object": ({"videos": {"v": ROW}}, r'videos\["v"\]: expected a list of detections'),
    "row_list": (with_rows(["Diving", 1, 2, 0.5]), r'videos\["v"\]\[0\]: expected an object with the keys'),
    "missing_score": (with_rows(ROW, {**ROW, "score": 1} | {"scores": 2}, {"label": "Diving", "start": 1, "end": 2}),
                      r"\[2\]: expected the keys label, start, end, score, found label, start, end; 'score' is"),
    "near_score": (with_rows({"label": "Diving", "start": 1, "end": 2, "scores": 2}), "Did you mean 'scores'"),
    "score_text": (with_rows(ROW, {**ROW, "score": "0.5"}), r'\[1\].score: expected a number without quotes, found'),
    "score_null": (with_rows({**ROW, "score": None}), r"\.score: expected a number, found None"),
    "score_bool": (with_rows({**ROW, "score": True}), r"\.score: expected a number, found True"),
    "score_huge": (with_rows({**ROW, "score": 10**400}), r"\.score: expected a number that fits a float"),
    "label_number": (with_rows({**ROW, "label": 3}), r"\.label: expected a class name in quotes, found 3"),
    "label_list": (with_rows({**ROW, "label": ["Diving"]}), r"\.label: expected a class name in quotes"),
    "segment_short": ({"results": {"v": [{"label": "Diving", "segment": [1], "score": 1}]}},
                      r'results\["v"\]\[0\].segment: expected \[start, end\], two numbers'),
    "segment_long": ({"results": {"v": [{"label": "Diving", "segment": [1, 2, 3], "score": 1}]}}, "two numbers"),
    "segment_text": ({"results": {"v": [{"label": "Diving", "segment": ["1", 2], "score": 1}]}}, "two numbers"),
    "our_rows_in_results": ({"results": {"v": [ROW]}}, "'segment' is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "text"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_wrong_layout_says_where_and_shows_an_example(tmp_path, value, text):
    path = put(tmp_path, value)
    with pytest.raises(DataError, match=text) as caught:
        read_detections(path, CLASSES)
    message = str(caught.value)
    assert str(path) in message
    example = message[message.index("\n") + 1 :]
    assert len(example.splitlines()) == 5
    assert list(json.loads(example)) == ["version", "videos"]


def test_damaged_files_are_explained(tmp_path):
    whole = gzip.compress(json.dumps(with_rows(*[ROW] * 50)).encode())
    damaged = {
        "is empty": put(tmp_path, b"", "empty.json"),
        "damaged gzip": put(tmp_path, whole[: len(whole) // 2], "cut.json.gz"),
        "does not begin like a gzip": put(tmp_path, b"xx" + whole[2:], "head.json.gz"),
        "not valid JSON": put(tmp_path, '{"videos": {"v": [', "cut.json"),
        "is not valid JSON": put(tmp_path, b"\xff\xfe\x00", "binary.json"),
        "stands twice": put(tmp_path, '{"videos": {"v": [], "v": []}}', "twice.json"),
        "nowhere.json: there is no such file": tmp_path / "nowhere.json",
    }
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged["a damaged gzip"] = put(tmp_path, bytes(flipped), "flipped.json.gz")
    for text, path in damaged.items():
        with pytest.raises(DataError, match=text) as caught:
            read_detections(path, CLASSES)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ('{"label": "Diving", "start": 1, "end": 2, "score": NaN}', "video 'v', detection 1: its score is NaN"),
        ('{"label": "Diving", "start": 3, "end": 2, "score": 1}', "video 'v', detection 1: start 3.0, end 2.0"),
        ('{"label": "Diving", "start": 3, "end": Infinity, "score": 1}', "video 'v', detection 1: start 3.0, end inf"),
    ],
)
def test_bad_numbers_are_named_even_behind_rows_left_out(tmp_path, row, text):
    unknown = json.dumps({**ROW, "label": "Surfing"})
    path = put(tmp_path, f'{{"videos": {{"u": [{unknown}], "v": [{unknown}, {row}]}}}}')
    with pytest.raises(DataError, match=text):
        read_detections(path, CLASSES)
    assert len(read_detections(path, CLASSES, allow_invalid=True).videos["v"]) == 1


def test_unknown_classes_are_counted_or_refused(tmp_path):
    path = put(tmp_path, with_rows(ROW, {**ROW, "label": "Divin"}, {**ROW, "label": "Divin"}, {**ROW, "label": "Z"}))
    file = read_detections(path, CLASSES)
    assert (file.unknown_labels, file.count) == ({"Divin": 2, "Z": 1}, 1)
    with pytest.raises(
        DataError, match=r"video 'v', detection 1: class 'Divin' is not in the class list \(3 rows of 2"
    ):
        read_detections(path, CLASSES, strict=True)
