"""Video sets: tags in the right columns, no temporal annotation anywhere, and errors that say what to do."""

from __future__ import annotations

import gc
import pickle
import struct
import types

import numpy as np
import pytest

from tests.data.stores import LENGTHS, MANIFEST, features, toy_annotations, toy_store
from tests.helpers import shared_file
from wtal_bench.data.annotations import Annotations, Segment, VideoAnnotation
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.errors import ConfigError, DataError

IDS = ["v0", "v1", "v2", "v3"]
SECRET = 1.23456789  # seconds at which the segments of the leak tests start; no other number equals it


@pytest.fixture
def store(tmp_path):
    return toy_store(tmp_path / "s")


def secret_annotations() -> Annotations:
    videos = {
        video: {
            "subset": "train",
            "duration": length * 0.64,
            "segments": [{"label": "A", "start": SECRET, "end": SECRET + 1 + row}],
            "ambiguous": [[SECRET, SECRET + 0.5]],
        }
        for row, (video, length) in enumerate(zip(IDS, LENGTHS))
    }
    return Annotations.from_dict({"version": "secret", "classes": ["A"], "videos": videos})


def reachable(root: object) -> list:
    """Return every object that can be reached from `root`, not stepping into code."""
    code = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
    seen, found, queue = set(), [], [root]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, code):
            continue
        seen.add(id(item))
        found.append(item)
        queue += gc.get_referents(item)
    return found


def holds_a_time(item: object) -> bool:
    times = np.array([SECRET, SECRET + 0.5, *(SECRET + 1 + row for row in range(4))])
    if isinstance(item, Annotations | VideoAnnotation | Segment):
        return True
    if isinstance(item, np.ndarray) and item.dtype.kind == "f":
        return bool(np.isclose(item.reshape(-1, 1).astype(float), times, rtol=0, atol=1e-7).any())
    return isinstance(item, float) and bool(np.isclose(item, times, rtol=0, atol=1e-7).any())


def test_no_segment_time_can_be_reached_from_a_video_set(store):
    annotations = secret_annotations()
    assert any(holds_a_time(item) for item in reachable(annotations))  # the walk would see one
    videos = VideoSet.build(store, annotations, IDS)
    assert not [item for item in reachable(videos) if holds_a_time(item)]
    train, held = videos.holdout(0.5, seed=0)
    batch = train.gather([0], {"type": "random_segments", "length": 5})
    assert not [item for item in reachable((train, held, batch)) if holds_a_time(item)]


def test_no_segment_time_travels_in_a_pickle_to_the_workers(store):
    videos = VideoSet.build(store, secret_annotations(), IDS)
    content = pickle.dumps(videos)
    for value in (SECRET, SECRET + 0.5, SECRET + 1):
        assert struct.pack(">d", value) not in content
        assert struct.pack("<d", value) not in content
    assert b"Segment" not in content
    assert b"segments" not in content
    assert struct.pack(">d", videos.metas[0].duration) in content  # the search finds what is there
    again = pickle.loads(content)
    assert again.ids == videos.ids
    np.testing.assert_array_equal(again.gather([2]).features, videos.gather([2]).features)


def test_labels_follow_the_class_order_asked_for(store):
    annotations = toy_annotations()
    videos = VideoSet.build(store, annotations, ["v2", "v1", "v0"], ("C", "B", "A"))
    assert videos.labels.tolist() == [[0, 1, 1], [0, 1, 0], [0, 0, 1]]
    assert videos.rows.tolist() == [2, 1, 0]
    assert [meta.id for meta in videos.metas] == ["v2", "v1", "v0"]
    assert VideoSet.build(store, annotations, ["v0"]).labels.tolist() == [[1, 0, 0]]


def test_gather_speaks_in_positions_of_the_set(store):
    videos = VideoSet.build(store, toy_annotations(), ["v3", "v0", "v2"])
    batch = videos.gather([2, 0], seed=1, epoch=3, streams=["rgb"])
    assert batch.index.tolist() == [2, 0]
    assert [meta.id for meta in batch.meta] == ["v2", "v3"]
    assert batch.labels.tolist() == [[1, 1, 0], [1, 0, 0]]
    np.testing.assert_array_equal(batch.features[0], features(2, 12)[:, :3])
    for bad in ([], [3], [-1], [0.0], [[0]]):
        with pytest.raises(DataError, match="gather needs"):
            videos.gather(bad)


def test_durations_come_from_the_annotations_and_frame_rates_from_the_features(store):
    value = {"subset": "train", "duration": 4.5, "fps": 25.0, "frames": 113, "labels": ["A"]}
    other = {**value, "fps": 30.0, "frames": 135}
    annotations = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": {"v0": value, "v3": other}})
    first, second = VideoSet.build(store, annotations, ["v0", "v3"]).metas
    assert (first.duration, first.fps, first.frames) == (4.5, 25.0, 113)
    assert second.num_frames is None  # counted at 30 fps, the features were made at 25
    assert second.frames == round(4.5 * 25)


def test_an_empty_split_is_refused(store):
    with pytest.raises(DataError, match="split 'train' of toy holds no video"):
        VideoSet.build(store, toy_annotations(), [])


def test_videos_without_features_are_refused_or_skipped_when_told(store):
    annotations = toy_annotations(lengths=(7, 1, 12, 4, 5, 6))
    ids = annotations.subset("train")
    with pytest.raises(DataError, match="2 of 6 videos of split 'val' have no features") as error:
        VideoSet.build(store, annotations, ids, split="val")
    for part in ("v4, v5", "import-features", "missing='skip'", str(store.folder)):
        assert part in str(error.value)
    videos = VideoSet.build(store, annotations, ids, missing="skip")
    assert videos.ids == ("v0", "v1", "v2", "v3")
    assert videos.skipped == ("v4", "v5")
    with pytest.raises(ConfigError, match="Did you mean 'skip'"):
        VideoSet.build(store, annotations, ids, missing="skp")


def test_a_store_of_other_videos_is_refused_even_when_skipping(store):
    videos = {f"x_v{row}": {"subset": "train", "duration": 3.0, "labels": ["A"]} for row in range(3)}
    annotations = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": videos})
    with pytest.raises(DataError, match="None was found: the store names its videos like 'v0'"):
        VideoSet.build(store, annotations, list(videos), missing="skip")


def test_ids_without_annotation_or_twice_are_refused(store):
    with pytest.raises(DataError, match=r"1 of 2 videos of split 'train' are not in toy: vv1\. Did you mean 'v1'"):
        VideoSet.build(store, toy_annotations(), ["v0", "vv1"])
    with pytest.raises(DataError, match="names a video twice"):
        VideoSet.build(store, toy_annotations(), ["v0", "v0"])


def test_a_tag_outside_the_class_list_is_refused(store):
    with pytest.raises(DataError, match="video 'v1' is tagged 'B', which is not in the class list"):
        VideoSet.build(store, toy_annotations(), IDS, ("A", "C"))


def test_training_videos_need_a_tag_test_videos_do_not(store):
    bare = {"subset": "test", "duration": 4.5, "segments": []}
    annotations = Annotations.from_dict({"version": "x", "classes": ["A"], "videos": {"v0": bare}})
    assert not VideoSet.build(store, annotations, ["v0"]).labels.any()
    with pytest.raises(DataError, match="1 training videos of x have no tag: v0"):
        VideoSet.build(store, annotations, ["v0"], training=True)


def many(tmp_path, tags: list[list[str]]) -> VideoSet:
    """Return a set of one-snippet videos with the given tags."""
    store = toy_store(tmp_path / "many", lengths=[1] * len(tags))
    videos = {f"v{row}": {"subset": "train", "duration": 0.64, "labels": labels} for row, labels in enumerate(tags)}
    classes = sorted({label for labels in tags for label in labels})
    annotations = Annotations.from_dict({"version": "many", "classes": classes, "videos": videos})
    return VideoSet.build(store, annotations, list(videos))


def test_holdout_partitions_the_set_by_seed(tmp_path):
    videos = many(tmp_path, [["A"], ["B"]] * 10)
    train, held = videos.holdout(0.2, seed=1)
    assert (len(train), len(held)) == (16, 4)
    assert set(train.ids) | set(held.ids) == set(videos.ids)
    assert not set(train.ids) & set(held.ids)
    assert list(held.ids) == [video for video in videos.ids if video in held.ids]
    for part in (train, held):
        np.testing.assert_array_equal(part.rows, [videos.store.row(video) for video in part.ids])
        assert [meta.id for meta in part.metas] == list(part.ids)
    assert videos.holdout(0.2, seed=1)[1].ids == held.ids
    assert any(videos.holdout(0.2, seed=seed)[1].ids != held.ids for seed in range(2, 5))


def test_holdout_keeps_a_video_of_every_class_in_both_parts(tmp_path):
    tags = [["A"]] * 30 + [["B"]] * 2 + [["C", "A"]] * 2 + [["D"]]
    videos = many(tmp_path, tags)
    for seed in range(20):
        train, held = videos.holdout(0.15, seed)
        assert len(held) == round(0.15 * 35)
        assert held.labels.any(axis=0).tolist() == [True, True, True, False]  # D has but one video
        assert train.labels.any(axis=0).all()


def test_holdout_takes_about_the_same_share_of_every_class(tmp_path):
    videos = many(tmp_path, [["A"]] * 40 + [["B"]] * 20 + [["C"]] * 10)
    counts = videos.holdout(0.2, seed=0)[1].labels.sum(axis=0)
    assert counts.tolist() == [8, 4, 2]


def test_holdout_never_empties_a_part(tmp_path):
    videos = many(tmp_path, [["A"], ["B"], ["C"]])
    train, held = videos.holdout(0.01, seed=0)
    assert (len(train), len(held)) == (2, 1)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        videos.holdout(1.0, seed=0)
    with pytest.raises(ConfigError, match="seed must be 0 or above"):
        videos.holdout(0.5, seed=-1)
    with pytest.raises(ConfigError, match="cannot be split"):
        videos.take([0]).holdout(0.5, seed=0)


def test_the_real_training_videos_split_with_every_class_in_both_parts(tmp_path):
    annotations = Annotations.load(shared_file("data/thumos14.json"))
    ids = annotations.subset("train")
    store = write_store(
        tmp_path / "s",
        [StoredVideo(video, features(0, 1), annotations.videos[video].duration, 25.0) for video in ids],
        manifest={**MANIFEST, "stride": None},
    )
    videos = VideoSet.build(store, annotations, ids, training=True)
    assert videos.labels.shape == (200, 20)
    assert (videos.labels.sum(axis=1) > 1).sum() == 27
    train, held = videos.holdout(0.1, seed=0)
    assert (len(train), len(held)) == (180, 20)
    assert train.labels.any(axis=0).all()
    assert held.labels.any(axis=0).all()
