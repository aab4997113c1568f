"""Detections that score, but are probably not meant: each kind gets its sentence, and sound ones get none."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.evaluation.test_detection_files import CLASSES, ROW, put, with_rows
from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.detection_notes import detection_notes, refusal, score_notes
from wtal_bench.evaluation import read_detections
from wtal_bench.structures import Detections


def annotations(duration=100.0, end=1.0, fps=None):
    videos = {
        name: {"subset": subset, "duration": duration, "segments": [{"label": "Diving", "start": 0, "end": end}]}
        | ({"fps": fps} if fps else {})
        for name, subset in (("v", "test"), ("w", "test"), ("t", "train"))
    }
    return Annotations.from_dict({"version": "two videos", "classes": list(CLASSES), "videos": videos})


def notes(tmp_path, value, **options):
    file = read_detections(put(tmp_path, value), CLASSES)
    return [note.text for note in detection_notes(file, annotations(**options), "test")]


def test_real_detections_give_no_note():
    real = Annotations.load(shared_file("data/thumos14.json"))
    file = read_detections(shared_file("detections/thumos14_pmil_base_test.json.gz"), real.classes)
    assert detection_notes(file, real, "test", ["video_test_0001292"]) == []


def test_unknown_classes_are_counted(tmp_path):
    rows = with_rows(ROW, {**ROW, "label": "Divin"}, {**ROW, "label": "Divin"}, {**ROW, "label": "Z"})
    note = notes(tmp_path, rows)[0]
    assert re.search(r"3 detections have a class .* 'Divin' \(2\), 'Z' \(1\)\. Did you mean 'Diving'", note)


@pytest.mark.parametrize(
    ("written", "differ"),
    [("diving", "case"), ("Diving ", "spaces"), (" DIVING", "spaces and case"), ("Ｄiving", "Unicode form")],
)
def test_classes_known_but_for_a_trifle_are_named(tmp_path, written, differ):
    note = notes(tmp_path, with_rows({**ROW, "label": written}))[0]
    assert f"1 of them are known but for {differ}: write 'Diving' for {written!r}" in note


def test_repeated_rows_are_counted(tmp_path):
    rows = {"v": [ROW, {**ROW, "score": 0.4}, ROW, ROW], "w": [ROW]}
    assert any(note.startswith("2 of 5 detections repeat an earlier row") for note in notes(tmp_path, {"videos": rows}))


def test_unknown_videos_are_told_apart(tmp_path):
    value = {"videos": {name: [ROW] for name in ("v", "w", "v_w", "W.MP4", "t", "x")}}
    (note,) = notes(tmp_path, value)
    assert note.startswith("4 videos are not among those of subset 'test': v_w, W.MP4, t, x;")
    assert "their 4 detections as false positives" in note
    assert "1 are known but for the leading 'v_': write 'w' for 'v_w'." in note
    assert "1 are known but for the ending '.MP4' and case: write 'w' for 'W.MP4'." in note
    assert "1 belong to subset 'train'" in note


def test_names_in_another_unicode_form_are_the_same_names(tmp_path):
    videos = {
        "Caf\u00e9": {"subset": "test", "duration": 9.0, "segments": [{"label": "Pli\u00e9", "start": 0, "end": 2}]}
    }
    truth = Annotations.from_dict({"version": "x", "classes": ["Pli\u00e9"], "videos": videos})
    row = {"label": "Plie\u0301", "start": 0, "end": 2.0, "score": 1}
    file = read_detections(put(tmp_path, {"videos": {"Cafe\u0301": [row]}}), truth.classes)
    assert (list(file.videos), file.count, file.unknown_labels) == (["Caf\u00e9"], 1, {})
    assert detection_notes(file, truth, "test") == []


def test_videos_without_detections_are_told(tmp_path):
    (note,) = notes(tmp_path, {"videos": {"v": [ROW], "w": []}})
    assert note == "1 of 2 videos have no detection: w."


def test_no_detection_at_all_is_told(tmp_path):
    (note,) = notes(tmp_path, {"videos": {}})
    assert note.startswith("there is no detection at all")


def test_times_in_frames_are_told(tmp_path):
    frames = {"videos": {name: [{**ROW, "start": 30, "end": 75.0}, ROW, {**ROW, "end": 80}] for name in "vw"}}
    (note,) = notes(tmp_path, frames, duration=10.0)
    assert "4 of 6 detections end after their video" in note
    assert "are the times frames" in note
    assert notes(tmp_path, frames, duration=79.0) == []


UNITS = {
    "minutes": lambda video: 1 / 60,
    "hours": lambda video: 1 / 3600,
    "shares of the video": lambda video: 1 / video.duration,
    "percent of the video": lambda video: 100 / video.duration,
    "milliseconds": lambda video: 1000.0,
    "frames": lambda video: video.fps,
    "snippets": lambda video: video.fps / 16,
}


def in_another_unit(file, truth, factor):
    for name, found in file.videos.items():
        by = factor(truth.videos[name])
        file.videos[name] = Detections(found.start * by, found.end * by, found.label, found.score)
    return file


@pytest.mark.parametrize("unit", UNITS)
def test_real_detections_in_another_unit_are_told_which(unit):
    truth = Annotations.load(shared_file("data/thumos14.json"))
    file = read_detections(shared_file("detections/thumos14_pmil_base_test.json.gz"), truth.classes)
    found = detection_notes(in_another_unit(file, truth, UNITS[unit]), truth, "test", ["video_test_0001292"])
    (note,) = [note for note in found if note.code == "unit"]
    assert re.search(rf"are the times {unit}\b", note.text), note.text
    assert "Seconds are needed" in note.text


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_of_few_videos_of_ones_own_is_told_too(tmp_path, unit):
    rng = np.random.default_rng(4)
    videos, found = {}, {}
    for number in range(6):
        duration = float(rng.uniform(39, 90))
        starts = np.sort(rng.uniform(0, duration - 6, 5))
        videos[f"v{number}"] = {"subset": "test", "duration": duration, "fps": 25.0, "segments": [
            {"label": "A", "start": s, "end": s + 4} for s in starts]}  # fmt: skip
        found[f"v{number}"] = [{"label": "A", "start": s, "end": s + 4.5, "score": 0.5} for s in starts]
    truth = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": videos})
    file = read_detections(put(tmp_path, {"videos": found}), ["A"])
    assert detection_notes(file, truth, "test") == []
    (note,) = detection_notes(in_another_unit(file, truth, UNITS[unit]), truth, "test")
    assert re.search(rf"are the times {unit}\b", note.text), note.text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("end", [0.0, 60.0])
def test_an_instance_that_ends_at_0_s_hides_no_unit(tmp_path, end):
    videos = {
        f"v{number}": {"subset": "test", "duration": 60.0 + number, "segments": [
            {"label": "A", "start": 0.0, "end": end if number == 0 else 60.0}]}
        for number in range(4)
    }  # fmt: skip
    truth = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": videos})
    rows = {name: [{"label": "A", "start": 0, "end": 0.0 if name == "v0" else 1.0, "score": 1}] for name in videos}
    file = read_detections(put(tmp_path, {"videos": rows}), ["A"])
    (text,) = [note.text for note in detection_notes(file, truth, "test") if note.code == "unit"]
    assert "are the times minutes" in text


def test_a_file_without_one_known_row_says_why(tmp_path):
    def why(value):
        return refusal(read_detections(put(tmp_path, value), CLASSES), annotations(), "test")

    assert why({"videos": {"v": [ROW]}}) == ""
    assert why({"videos": {}}) == ""
    assert why({"videos": {"v": [{**ROW, "label": "diving"}]}}).startswith(
        "none of its rows is of a known class in a video of subset 'test' (1 rows)"
    )
    assert "write 'v' for 'v.mp4'" in why({"videos": {"v.mp4": [ROW]}})
    assert "1 belong to subset 'train'" in why({"videos": {"t": [ROW]}})


@pytest.mark.parametrize(
    ("average", "classification", "code"),
    [(0.0, None, "near_zero"), (0.019, 0.5, "near_zero"), (0.0, 0.9, "localised_hardly"), (0.02, 0.9, None)],
)
def test_a_near_zero_map_always_gets_a_sentence(average, classification, code):
    metrics = {"main": "a", "variants": {"a": {"averages": {"0.5": 1.0, "0.1:0.7": average}}}}
    metrics |= {} if classification is None else {"classification_mAP": classification}
    assert [note.code for note in score_notes(metrics)] == ([code] if code else [])
    assert score_notes({"main": "a", "variants": {}}) == score_notes(None) == []
