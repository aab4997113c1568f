"""Protocols are frozen: their hashes are pinned here, and what they score follows from them alone."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, asdict, replace

import pytest

from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations
from wtal_bench.errors import DataError, WtalError
from wtal_bench.evaluation import PRESETS, Rules
from wtal_bench.protocols import PROTOCOLS, get_protocol, load_annotations, locate_annotations
from wtal_bench.structures import Detections

HASHES = {
    "thumos14/v1": "d3bddb45ce5612417482a9161df28eb10e1d28e750895f997a992746be335eeb",
    "activitynet12/v1": "8511cf23dd368267caf7b37676c85ba56db5dbf19db7388f2df6b31728deff0b",
    "activitynet13/v1": "289a62db3f259bdc1aa5bcde94359a52be72394e21bfbca1b2ec91381131738b",
    "synthetic/v2": "4a0001ef42ee81044c5c17f1065cb5a1c621c80fe2f0ee09f119cb26d63c6fbf",
    "synthetic_tiny/v2": "be389e92286c736ebb3387e211aa849c8398154851d083c45e75ec8d32357c2e",
    "synthetic_full/v2": "38bd6b933669a8d6173e855979413f1aec04fe49e4e8f5414a795817bca55aae",
    "synthetic_anet/v2": "bd92dcb89e1a688e6a3efbdb2088317a94d0f4715d7082ffc4e206c31a118686",
}
"""A failure here means that a published number would change its meaning: make a new version instead."""

EVALUATORS = {
    "activitynet": "4547f00a92b4a2033f1cc9d148b3cde9363d2bb89aeb3070392ee27d7ba31781",
    "thumos_seconds_212": "ec40e7ca14f4d7ba9d2198b0c80843a9d220e2e69efe5812c75b510d78efe90b",
    "thumos_seconds_210": "4803553594351149690c5bf919014fa6cea1ae9f44035563e7e810eb03fb5166",
    "thumos_seconds_210_of_212": "daf82411fda6e615baf3494623974a086544e236653614538334a01afeb88d42",
    "thumos_snippet": "9ae3eb968c9aab9f66ff332da4239c281a1c6caf58569eff741eeeb2ba659c65",
    "thumos_snippet_official": "1f41171c5dc55a0e744ae029a3def5aca46969c2c94cf6ab31c9387d16ffc9a4",
    "wtalc": "d777c27ba25d7c6fe2dc22f90c3e2c8b79f970666d58328982124d4b35d503e2",
}
"""A failure here means that an evaluator would score otherwise under its old name: give the new rule a new name."""

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


def test_every_evaluator_is_pinned():
    assert {name: preset.hash for name, preset in PRESETS.items()} == EVALUATORS
    # a hash leaves out switches at their defaults, so the defaults are part of what is pinned
    assert asdict(Rules()) == {
        "grid": None,
        "ambiguous": None,
        "matching": "official",
        "ap": "interpolated",
        "ties": "last_first",
        "instance_ties": "last_first",
        "videos": "all",
        "empty_class": "zero",
    }


def test_the_hash_of_an_evaluator_covers_its_rule_and_not_its_name():
    preset = PRESETS["wtalc"]
    assert replace(preset, name="other", title="another line").hash == preset.hash
    others = [replace(preset, rules=replace(preset.rules, ap="interpolated")), replace(preset, exclude=("v",))]
    others.append(replace(preset, untested=("v",)))
    assert len({preset.hash, *(other.hash for other in others)}) == 4


def test_the_hash_of_a_protocol_covers_the_ranking_rule_alone():
    protocol = get_protocol("thumos14/v1")
    assert replace(protocol, variants=(*protocol.variants, "activitynet")).hash == protocol.hash
    assert replace(protocol, variants=protocol.variants[:1]).hash == protocol.hash
    changed = {
        "the evaluator that ranks": replace(protocol, variants=protocol.variants[::-1]),
        "thresholds": replace(protocol, tious=protocol.tious[1:]),
        "averages": replace(protocol, averages={"0.1:0.7": protocol.tious}),
        "order of averages": replace(protocol, averages=dict(reversed(protocol.averages.items()))),
        "classes": replace(protocol, classes=protocol.classes[::-1]),
        "subset": replace(protocol, subset="train"),
        "videos": replace(protocol, splits={}),
        "name": replace(protocol, name="thumos14/v2"),
    }
    hashes = {what: other.hash for what, other in changed.items()}
    assert protocol.hash not in hashes.values()
    assert len(set(hashes.values())) == len(hashes)


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
        "synthetic/v2": ("demo", 0, 10, "syn_00"),
        "synthetic_tiny/v2": ("tiny", 0, 5, "syn_00"),
        "synthetic_full/v2": ("full", 0, 20, "syn_00"),
        "synthetic_anet/v2": ("anet", 0, 20, "syn_00"),
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
    assert {name: table["hash"] for name, table in report["variants"].items()} == {
        preset.name: preset.hash for preset in protocol.presets
    }
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
        "thumos_seconds_210_of_212": (3, 1),
        "thumos_snippet": (3, 3),
        "thumos_snippet_official": (3, 3),
        "wtalc": (3, 3),
    }


def test_only_the_evaluated_subset_counts():
    protocol = get_protocol("activitynet13/v1")
    with pytest.raises(DataError, match="no video of subset 'val'"):
        protocol.score({}, annotations(protocol, "test"))


def test_other_classes_and_other_videos_are_told():
    protocol = get_protocol("thumos14/v1")
    other = get_protocol("synthetic/v2")
    with pytest.raises(DataError, match=r"\(10 and 20 classes; they differ in BaseballPitch"):
        protocol.score({}, annotations(other))
    train, test = protocol.split_notes(annotations(protocol))
    assert train.startswith("subset 'train' holds 0 videos with 0 instances; thumos14/v1 is defined on 200 with 3007")
    assert test.startswith("subset 'test' holds 2 videos with 2 instances; thumos14/v1 is defined on 213 with 3358")


def test_a_protocol_that_is_gone_says_why():
    with pytest.raises(WtalError, match=r"shared one direction .* Use synthetic/v2"):
        get_protocol("synthetic/v1")


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
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"(?s)thumos14: annotations not found.*here.thumos14\.json.*--annotations"):
        locate_annotations(get_protocol("thumos14/v1"))
