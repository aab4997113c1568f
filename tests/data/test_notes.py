"""The notes about data: one function, a summary first, each kind found where it is and silent where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.data.stores import MANIFEST, features, toy_annotations, toy_store
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.coverage import TEST, TRAIN, Coverage, cover, coverage_text, ids_hash
from wtal_bench.data.feature_notes import feature_facts, length_notes, resolution_notes, trained_notes
from wtal_bench.data.importers.table import read_table
from wtal_bench.data.note import SUMMARY
from wtal_bench.data.notes import data_notes, printed
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.errors import DataError
from wtal_bench.protocols import own_protocol
from wtal_bench.structures import VideoMeta


def codes(notes):
    return [note.code for note in notes]


def annotations(duration=100.0, segments=((10.0, 90.0),), classes=("A",), count=6):
    videos = {
        f"v{number}": {
            "subset": "test" if number % 2 else "train",
            "duration": duration if isinstance(duration, float) else duration[number],
            "segments": [{"label": classes[0], "start": start, "end": end} for start, end in segments],
        }
        for number in range(count)
    }
    return Annotations.from_dict({"version": "x", "classes": list(classes), "videos": videos})


def test_sound_data_give_a_summary_and_no_note():
    truth = annotations()
    (summary,) = notes = data_notes(own_protocol(truth), truth)
    assert summary.code == SUMMARY
    assert printed(notes) == ["data: 3 test videos with 3 instances; 1 classes; nothing to note"]


# ---- features ----


def facts(**changes):
    known = {"name": "i3d", "extractor": "I3D", "fps": 25.0, "stride": 16, "width": 4, "streams": ["rgb", "flow"]}
    return {**known, "window": None, "snippets_a_second": 25 / 16, **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stride": 8, "snippets_a_second": 25 / 8}, "moves every time by 0.5"),
        (
            {"fps": 30.0, "snippets_a_second": 30 / 16},
            "1.562 snippets a second (25 fps, stride 16), these",
        ),
        ({"stride": None}, "the features the model was trained on had 25 fps, stride 16, these are resized"),
        ({"width": 8}, "with columns 4, these have 8"),
        ({"streams": ["flow", "rgb"]}, "with streams rgb, flow, these have flow, rgb"),
        ({"extractor": "TSN"}, "with extractor I3D, these have TSN"),
    ],
)
def test_features_unlike_those_trained_on_are_told(changes, says):
    (note,) = trained_notes(facts(), facts(**changes))
    assert note.code == "trained_on"
    assert says in note.text


def test_features_like_those_trained_on_give_no_note():
    assert trained_notes(facts(), facts()) == []
    assert trained_notes(facts(), facts(fps=50.0, stride=32)) == []  # the same rate in other words
    assert trained_notes(None, facts()) == []  # a checkpoint of before, or of another program
    assert trained_notes(facts(), {"fps": 25.0, "stride": 16, "width": 4, "snippets_a_second": 25 / 16}) == []


def test_the_facts_of_a_store_are_its_manifests(tmp_path):
    found = feature_facts(toy_store(tmp_path / "s"))
    assert found == {
        "name": "toy", "extractor": "random numbers", "fps": 25, "stride": 16, "window": 16, "width": 5,
        "streams": ["rgb", "flow"], "snippets_a_second": 25 / 16,
    }  # fmt: skip


def spanning(factors, stride=16):
    metas = [VideoMeta(f"v{row}", 64.0 * factor, 25.0, 16, 100) for row, factor in enumerate(factors)]
    return length_notes(metas, facts(stride=stride), {meta.id: 64.0 for meta in metas})


def test_features_that_do_not_span_their_video_are_told():
    assert spanning([1, 1.01]) == []
    length, durations = spanning([1, 1, 1.2])
    assert (length.code, length.level, durations.code) == ("length", "warning", "two_durations")
    assert length.text.startswith(
        "video 'v2': 100 snippets x 16 frames / 25 fps span 64.0 s, its duration is given as 76.8"
    )
    rate, *_ = spanning([2, 2, 1])
    assert (rate.code, rate.level) == ("rate", "error")
    assert "2 of 3 videos: the features span another time than the video, 0.500 of it in the median" in rate.text
    assert codes(spanning([2, 2, 1], stride=None)) == ["two_durations"]  # resized features span their video


def test_coarse_samples_are_told():
    meta = VideoMeta("v", 2268.0, 25.0, 1, 56700)
    (note,) = resolution_notes([meta], {"v": 200})
    assert note.text.startswith("video 'v': 56700 snippets, 200 samples, one every 11.3 s")
    assert resolution_notes([replace(meta, num_snippets=800)], {"v": 200}) == []


def test_store_and_annotations_meet_under_two_spellings_of_one_name(tmp_path):
    apart, whole = "Cafe\u0301", "Caf\u00e9"
    store = write_store(tmp_path / "s", [StoredVideo(apart, features(0, 7), 4.48, 25.0)], manifest=MANIFEST)
    assert whole in store
    assert store.ids == (whole,)


# ---- annotations ----


def test_durations_that_hold_a_segments_length_are_blamed_and_not_the_rate():
    truth = annotations(duration=5.0, segments=((40.0, 45.0), (70.0, 72.0)))
    notes = data_notes(own_protocol(truth), truth, subsets=("train", "test"))
    (note,) = [note for note in notes if note.code == "duration"]
    assert note.level == "error"
    assert (
        "in 6 of 6 videos annotated segments end after the video: `duration` holds the length of a segment" in note.text
    )
    metas = [VideoMeta(video, 5.0, 25.0, 16, 125) for video in truth.videos]
    notes = data_notes(own_protocol(truth), truth, subsets=("train", "test"), features=facts(), metas=metas)
    (rate,) = [note for note in notes if note.code == "rate"]
    assert rate.text.endswith("it is the annotated durations that are wrong")


def test_segments_in_frames_or_minutes_are_told():
    frames = annotations(duration=100.0, segments=((500.0, 2250.0),))
    (note,) = [n for n in data_notes(own_protocol(frames), frames, subsets=("test",)) if n.code == "duration"]
    assert "22.5 times the duration in the median: frames? milliseconds?" in note.text
    minutes = annotations(duration=100.0, segments=((0.2, 1.5),), count=10)
    (note,) = [n for n in data_notes(own_protocol(minutes), minutes) if n.code == "unit"]
    assert "are the times minutes? Seconds are needed." in note.text


def test_a_few_segments_past_the_end_are_no_wrong_duration():
    durations = [100.0, 80.0, 100.0, 100.0, 100.0, 100.0]
    truth = annotations(duration=durations)
    assert codes(data_notes(own_protocol(truth), truth, subsets=("train", "test"))) == [SUMMARY]


@pytest.mark.parametrize("extra", ["a", "A ", " a"])
def test_classes_that_look_alike_are_told(extra):
    truth = annotations(classes=("A", extra))
    (note,) = [note for note in data_notes(own_protocol(truth), truth) if note.code == "names"]
    assert f"the class names 'A' and {extra!r} differ only in" in note.text


def test_one_name_in_two_spellings_is_one_class_and_one_video():
    value = {
        "version": "x",
        "classes": ["Pli\u00e9"],
        "videos": {"Cafe\u0301": {"subset": "test", "duration": 9.0, "labels": ["Plie\u0301"]}},
        "exclude": {"odd": ["Caf\u00e9"]},
        "tags": {"more": {"Caf\u00e9": ["Plie\u0301"]}},
    }
    truth = Annotations.from_dict(value)
    assert list(truth.videos) == ["Caf\u00e9"]
    assert (truth.tags("Caf\u00e9"), truth.tag_list("more")) == ((0,), {"Caf\u00e9": (0,)})
    entry = {"subset": "test", "duration": 9.0, "labels": []}
    twice = {"classes": ["Pli\u00e9", "Plie\u0301"], "videos": {"Cafe\u0301": entry, "Caf\u00e9": entry}}
    for key, content in twice.items():
        with pytest.raises(DataError, match="twice"):
            Annotations.from_dict({**value, "exclude": {}, "tags": {}, key: content})


def test_a_table_whose_durations_are_segments_is_refused(tmp_path):
    table = tmp_path / "t.csv"
    rows = [f"v{n},A,5,train,{10 + n},{15 + n}" for n in range(4)]
    table.write_text("\n".join(["video,label,duration,subset,start,end", *rows]))
    with pytest.raises(DataError, match=r"`duration` holds the length of a segment.*Nothing was written"):
        read_table(table, version="x")


# ---- coverage ----


def test_every_video_of_a_subset_is_in_one_list():
    truth = toy_annotations(lengths=[5] * 6, subsets=["train"] * 6)
    wanted = ["v0", "v1", "v2", "v3", "v4"]
    found = cover(TRAIN, "train", truth, wanted, ["v0"], there=["v0", "v1", "v2"], held_out=["v2"])
    assert (found.ids, found.missing, found.left_out, found.bare) == (("v0",), ("v3", "v4"), ("v1",), ("v5",))
    assert (found.annotated, found.with_features, found.held_out, found.text) == (5, 3, 1, "2/5")
    assert (found.instances, found.instances_lost) == (6, 3)
    assert Coverage.from_dict(TRAIN, found.as_dict()) == found
    assert found.as_dict()["ids_hash"] == ids_hash(["v0"])
    text = coverage_text(found)
    assert text.startswith(
        "train: 2 of 5 videos are used: 2 have no features (v3, v4) and 1 are left out by data.only (v1)"
    )
    assert text.endswith("3 of 6 annotated instances are lost")


def test_a_published_choice_of_test_videos_is_named():
    truth = toy_annotations(lengths=[5] * 4, subsets=["test"] * 4)
    ids = list(truth.videos)
    presets = {"all": (), "without_v3": ("v3",)}
    assert cover(TEST, "test", truth, ids, ids[:3], there=ids[:3], presets=presets).preset == "without_v3"
    assert cover(TEST, "test", truth, ids, ids[:2], there=ids[:2], presets=presets).preset == ""
    assert cover(TEST, "test", truth, ids, ids, there=ids, presets=presets).preset == ""


def test_classes_without_a_training_video_or_a_test_instance_are_told(tmp_path):
    truth = toy_annotations(lengths=[5] * 4, subsets=["train", "test", "train", "test"])
    splits = [
        cover(name, subset, truth, ids, ids, there=ids)
        for name, subset in ((TRAIN, "train"), (TEST, "test"))
        for ids in [truth.subset(subset)]
    ]
    notes = data_notes(own_protocol(truth), truth, coverage=splits)
    assert [note.text for note in notes if note.code == "classes"] == [
        "1 of 3 classes have no training video and cannot be learned: C.",
        "1 of 3 classes have no instance in the test videos and do not count: C.",
    ]
