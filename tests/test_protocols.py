"""Protocols are frozen: their hashes are pinned here, and what they score follows from them alone."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError

import pytest

from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError, WtalError
from wtal_bench.protocols import PROTOCOLS, get_protocol, load_annotations, locate_annotations
from wtal_bench.structures import Detections

HASHES = {
    "thumos14/v1": "a488217bdeddf2517459eedbe8d9470c0ff3dc5e6b502a1c38fd3b40d20ddd81",
    "activitynet12/v1": "f696fb40fd970ccd61d1dffa4798083f6b62b9c619ca90f6995d01e5131ae71f",
    "activitynet13/v1": "b141f7ec549b2198073a25fa362ac19726d72aac0bc592cc9550e67e7f73268b",
    "synthetic/v1": "93ce3e0fcf8cdc208274a9ad31388f568c010cb4c1c895bb96531589dc2dbd5f",
    "synthetic_tiny/v1": "61d40e45af7881a1f1a27709920cd8d97ab5c1291b70ac96ab63728eea77c05c",
    "synthetic_full/v1": "db7389922c76da97d6b98e655c4bf7a12531bdf22849ca9ba31432a32feec4a0",
    "synthetic_anet/v1": "9ddf9efe23f8a950680dd134a673256f032c50fdf9330efca17b3d86387ee079",
}
"""A failure here means that a published number would change its meaning: make a new version instead."""

REAL = {
    "thumos14/v1": "thumos14.json",
    "activitynet12/v1": "activitynet1.2.json",
    "activitynet13/v1": "activitynet1.3.json",
}


def annotations(protocol, subset=None, videos=("v", "w")):
    entry = {
        "subset": subset or protocol.subset,
        "duration": 60.0,
        "segments": [{"label": protocol.classes[1], "start": 0.0, "end": 16.0}],
    }
    content = {"version": "small", "classes": list(protocol.classes), "videos": dict.fromkeys(videos, entry)}
    return Annotations.from_dict(content)


def test_every_hash_is_pinned():
    assert {name: protocol.hash for name, protocol in PROTOCOLS.items()} == HASHES


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_well_formed(name):
    protocol = get_protocol(name)
    assert protocol.name == f"{protocol.dataset}/{protocol.version}" == name
    assert protocol.main in protocol.variants
    assert len(set(protocol.classes)) == len(protocol.classes)
    assert list(protocol.tious) == sorted(protocol.tious)
    for span, tious in protocol.averages.items():
        assert span == f"{tious[0]:g}:{tious[-1]:g}"
        assert set(tious) <= set(protocol.tious)
    assert list(protocol.averages.values())[-1] == protocol.tious


def test_a_protocol_cannot_be_changed():
    protocol = get_protocol("thumos14/v1")
    with pytest.raises(FrozenInstanceError):
        protocol.subset = "train"
    with pytest.raises(TypeError):
        protocol.averages["0.1:0.7"] = ()
    with pytest.raises(TypeError):
        PROTOCOLS["mine/v1"] = protocol


def test_a_protocol_survives_the_way_to_a_worker():
    protocol = get_protocol("thumos14/v1")
    assert pickle.loads(pickle.dumps(protocol)) is protocol


@pytest.mark.parametrize(("name", "file"), REAL.items())
def test_real_annotations_hold_the_frozen_videos_and_classes(name, file):
    protocol, real = get_protocol(name), Annotations.load(shared_file(f"data/{file}"))
    assert protocol.split_notes(real) == []
    assert real.classes == protocol.classes
    assert protocol.ground_truth(real).instances().min() > 0


def test_synthetic_protocols_say_what_is_made():
    made = {name: (p.profile, p.world, len(p.classes), p.classes[0]) for name, p in PROTOCOLS.items() if p.synthetic}
    assert made == {
        "synthetic/v1": ("demo", 0, 10, "syn_00"),
        "synthetic_tiny/v1": ("tiny", 0, 5, "syn_00"),
        "synthetic_full/v1": ("full", 0, 20, "syn_00"),
        "synthetic_anet/v1": ("anet", 0, 20, "syn_00"),
    }


@pytest.mark.parametrize("name", [name for name, protocol in PROTOCOLS.items() if protocol.synthetic])
def test_synthetic_annotations_are_made_as_frozen(name):
    protocol = get_protocol(name)
    made = load_annotations(protocol)
    assert made.classes == protocol.classes
    assert protocol.split_notes(made) == []
    other = annotations(protocol)
    assert protocol.split_notes(other)[0].startswith(f"the annotations are 'small'; {name} is defined on 'synthetic-")


def test_score_gives_plain_json_of_every_evaluator():
    protocol = get_protocol("thumos14/v1")
    found = {"v": Detections.from_rows([(1, 0, 16, 0.9)]), "w": Detections.from_rows([(1, 0, 10, 0.5), (3, 0, 1, 1)])}
    report = protocol.score(found, annotations(protocol))
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["main"], list(report["variants"])) == (protocol.main, list(protocol.variants))
    main = report["variants"][protocol.main]
    assert main["tious"] == list(protocol.tious)
    assert main["mAP"] == [1, 1, 1, 1, 1, 1, 0.5]
    assert main["ap"] == {protocol.classes[1]: main["mAP"]}
    assert main["averages"] == {"0.1:0.5": 1.0, "0.3:0.7": 0.9, "0.1:0.7": pytest.approx(6.5 / 7)}
    assert [main[key] for key in ("videos", "instances", "detections", "ignored")] == [2, 2, 3, 1]


def test_undefined_aps_are_none():
    protocol = get_protocol("thumos14/v1")
    report = protocol.score({}, annotations(protocol))
    assert report["variants"]["wtalc"]["ap"] == {protocol.classes[1]: [None] * 7}
    assert report["variants"]["wtalc"]["mAP"] == [0.0] * 7
    assert report["variants"]["thumos_seconds_212"]["ap"] == {protocol.classes[1]: [0.0] * 7}


def test_variants_leave_out_their_videos():
    protocol = get_protocol("thumos14/v1")
    videos = ("v", "video_test_0000270", "video_test_0001292", "video_test_0001496")
    found = dict.fromkeys(videos, Detections.from_rows([(1, 0, 16, 0.9)]))
    variants = protocol.score(found, annotations(protocol, videos=videos))["variants"]
    assert {name: (table["videos"], table["detections"]) for name, table in variants.items()} == {
        "thumos_seconds_212": (3, 3),
        "thumos_seconds_210": (1, 1),
        "thumos_snippet": (3, 3),
        "wtalc": (3, 3),
    }


def test_only_the_evaluated_subset_counts():
    protocol = get_protocol("activitynet13/v1")
    with pytest.raises(DataError, match="no video of subset 'val'"):
        protocol.score({}, annotations(protocol, "test"))


def test_other_classes_and_other_videos_are_told():
    protocol = get_protocol("thumos14/v1")
    other = get_protocol("synthetic/v1")
    with pytest.raises(DataError, match=r"\(10 and 20 classes; they differ in BaseballPitch"):
        protocol.score({}, annotations(other))
    train, test = protocol.split_notes(annotations(protocol))
    assert train.startswith("subset 'train' holds 0 videos with 0 instances; thumos14/v1 is defined on 200 with 3007")
    assert test.startswith("subset 'test' holds 2 videos with 2 instances; thumos14/v1 is defined on 213 with 3358")


def test_unknown_protocols_are_explained():
    with pytest.raises(WtalError, match="Did you mean 'activitynet13/v1'"):
        get_protocol("activitynet1.3/v1")


def test_annotations_are_found_where_they_are_told_to_be(tmp_path, monkeypatch):
    protocol = get_protocol("thumos14/v1")
    path = tmp_path / "thumos14" / "thumos14.json"
    path.parent.mkdir()
    entry = {"subset": "test", "duration": 1.0, "segments": []}
    path.write_text(json.dumps({"version": "x", "classes": list(protocol.classes), "videos": {"v": entry}}))
    monkeypatch.setenv("WTAL_DATA", str(tmp_path))
    assert locate_annotations(protocol) == path
    assert locate_annotations(protocol, path.parent) == path
    assert load_annotations(protocol, path).version == "x"
    with pytest.raises(DataError, match="there is no annotation file"):
        locate_annotations(protocol, tmp_path / "nowhere.json")


def test_missing_annotations_name_the_places_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "here"))
    monkeypatch.setattr("wtal_bench.protocols.__file__", str(tmp_path / "checkout" / "wtal_bench" / "protocols.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"annotations of thumos14 are not at .*here.thumos14\.json.*--annotations"):
        locate_annotations(get_protocol("thumos14/v1"))
