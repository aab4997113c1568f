"""Synthetic time lines have the measured statistics of real annotations, and the pairs of labels real ones have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from wtal_bench.data.annotations import Annotations, VideoAnnotation
from wtal_bench.data.synthetic.profiles import PROFILES, synthetic_annotations


@pytest.fixture(scope="module")
def full() -> list[VideoAnnotation]:
    """Four worlds of the size of THUMOS14: one alone scatters by several per cent."""
    profile = replace(PROFILES["full"], videos={"train": 200, "test": 212})
    return [video for world in range(4) for video in synthetic_annotations(profile, world).videos.values()]


@pytest.fixture(scope="module")
def anet() -> Annotations:
    return synthetic_annotations(replace(PROFILES["anet"], videos={"train": 4000}), 0)


def lengths(videos: list[VideoAnnotation]) -> np.ndarray:
    return np.array([segment.end - segment.start for video in videos for segment in video.segments])


def filled(video: VideoAnnotation) -> float:
    spans = {(segment.start, segment.end) for segment in video.segments}
    return min(1.0, sum(end - start for start, end in spans) / video.duration)


@pytest.mark.parametrize(
    ("what", "expected", "tolerance"),
    [
        ("median duration", 147, 0.15),
        ("mean duration", 242, 0.15),
        ("sd of log duration", 0.99, 0.1),
        ("median instances", 8, 0.13),
        ("mean instances", 17.0, 0.15),
        ("median length", 3.17, 0.12),
        ("mean length", 4.38, 0.1),
        ("mean foreground", 0.28, 0.1),
        ("median foreground", 0.24, 0.12),
        ("multi-class videos of 412", 59, 0.15),
    ],
)
def test_full_time_lines_fit_the_measured_statistics(full, what, expected, tolerance):
    durations = np.array([video.duration for video in full])
    counts = np.array([len(video.segments) for video in full])
    foreground = np.array([filled(video) for video in full])
    several = sum(len({segment.label for segment in video.segments}) > 1 for video in full)
    values = {
        "median duration": np.median(durations),
        "mean duration": durations.mean(),
        "sd of log duration": np.log(durations).std(),
        "median instances": np.median(counts),
        "mean instances": counts.mean(),
        "median length": np.median(lengths(full)),
        "mean length": lengths(full).mean(),
        "mean foreground": foreground.mean(),
        "median foreground": np.median(foreground),
        "multi-class videos of 412": several / 4,
    }
    assert values[what] == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize(
    ("what", "expected", "tolerance"),
    [
        ("mean duration", 118, 0.04),
        ("median duration", 115, 0.06),
        ("95th percentile of the duration", 224, 0.06),
        ("mean instances", 1.54, 0.05),
        ("share with one", 0.75, 0.04),
        ("share with two", 0.13, 0.15),
        ("log length mean", 3.16, 0.04),
        ("log length sd", 1.39, 0.1),
        ("median length over video", 0.32, 0.1),
        ("mean foreground", 0.65, 0.04),
        ("median foreground", 0.72, 0.07),
        ("share above 0.95", 0.16, 0.12),
        ("log gap mean", 2.16, 0.08),
        ("log gap sd", 1.02, 0.2),
        ("mean lead", 0.15, 0.1),
        ("mean tail", 0.15, 0.1),
    ],
)
def test_anet_time_lines_fit_the_measured_statistics(anet, what, expected, tolerance):
    videos = list(anet.videos.values())
    durations = np.array([video.duration for video in videos])
    counts = np.array([len(video.segments) for video in videos])
    foreground = np.array([filled(video) for video in videos])
    shares = np.concatenate([[(s.end - s.start) / video.duration for s in video.segments] for video in videos])
    gaps = np.array([b.start - a.end for video in videos for a, b in zip(video.segments, video.segments[1:])])
    values = {
        "mean duration": durations.mean(),
        "median duration": np.median(durations),
        "95th percentile of the duration": np.percentile(durations, 95),
        "mean instances": counts.mean(),
        "share with one": np.mean(counts == 1),
        "share with two": np.mean(counts == 2),
        "log length mean": np.log(lengths(videos)).mean(),
        "log length sd": np.log(lengths(videos)).std(),
        "median length over video": np.median(shares),
        "mean foreground": foreground.mean(),
        "median foreground": np.median(foreground),
        "share above 0.95": np.mean(foreground > 0.95),
        "log gap mean": np.log(gaps[gaps > 0]).mean(),
        "log gap sd": np.log(gaps[gaps > 0]).std(),
        "mean lead": np.mean([video.segments[0].start / video.duration for video in videos]),
        "mean tail": np.mean([1 - video.segments[-1].end / video.duration for video in videos]),
    }
    assert values[what] == pytest.approx(expected, rel=tolerance)


def test_longer_videos_hold_more_instances_as_real_ones_do():
    videos = list(synthetic_annotations(replace(PROFILES["demo"], videos={"train": 1000}), 0).videos.values())
    logs = np.log([[video.duration, len(video.segments)] for video in videos])
    assert np.corrcoef(logs.T)[0, 1] == pytest.approx(0.64, abs=0.06)


def test_anet_classes_differ_in_how_many_instances_their_videos_hold(anet):
    means = np.zeros(len(anet.classes))
    for label in range(len(means)):
        means[label] = np.mean([len(v.segments) for v in anet.videos.values() if v.segments[0].label == label])
    assert means.min() == pytest.approx(1.04, abs=0.1)
    assert means.max() == pytest.approx(2.4, abs=0.35)


@pytest.mark.parametrize("name", PROFILES)
def test_time_lines_are_sound(name):
    profile = PROFILES[name]
    annotations = synthetic_annotations(profile, 3)
    assert annotations.lint() == []
    assert annotations.classes == tuple(f"syn_{label:02d}" for label in range(len(annotations.classes)))
    for video in annotations.videos.values():
        assert video.duration <= profile.max_snippets * 0.64 + 1e-9
        assert video.frames == round(video.duration * video.fps)
        assert all(0 <= s.start < s.end <= video.duration for s in video.segments)
        assert list(video.segments) == sorted(video.segments, key=lambda s: (s.start, s.end, s.label))
        assert all(round(s.start, 2) == s.start and round(s.end, 2) == s.end for s in video.segments)


@pytest.mark.parametrize("name", ["demo", "full"])
def test_every_instance_of_the_first_twin_is_labelled_as_the_second_too(name):
    first, second = PROFILES[name].timing.twin
    seen = 0
    for video in synthetic_annotations(name, 0).videos.values():
        spans = {label: {(s.start, s.end) for s in video.segments if s.label == label} for label in (first, second)}
        if spans[first]:
            assert spans[first] == spans[second]
            seen += 1
    assert seen > 5


def test_the_second_of_a_follow_pair_starts_where_the_first_ends_in_most_videos():
    profile = replace(PROFILES["demo"], videos={"train": 1000})
    first, second = profile.timing.follow
    pairs = alone = 0
    for video in synthetic_annotations(profile, 0).videos.values():
        labels = {segment.label for segment in video.segments}
        if labels == {first, second}:
            ends = {segment.end for segment in video.segments if segment.label == first}
            assert all(segment.start in ends for segment in video.segments if segment.label == second)
            pairs += 1
        alone += labels in ({first}, {second})
    assert pairs / (pairs + alone) == pytest.approx(0.8, abs=0.08)


def test_classes_are_dealt_in_shuffled_blocks():
    profile = replace(PROFILES["full"], timing=replace(PROFILES["full"].timing, twin=None, follow=None))
    annotations = synthetic_annotations(replace(profile, videos={"train": 400}), 0)
    labels = np.array([video.segments[0].label for video in annotations.videos.values()]).reshape(20, 20)
    assert (np.sort(labels, axis=1) == np.arange(20)).all()
    assert len({tuple(block) for block in labels}) == 20


def test_a_very_short_longest_video_still_holds_its_first_instance():
    profile = replace(PROFILES["tiny"], max_snippets=100, videos={"train": 200})
    for video in synthetic_annotations(profile, 1).videos.values():
        assert video.segments
        assert video.duration <= 64.0


def test_the_fit_follows_real_annotations_where_they_are_there(full):
    from tests.helpers import shared_file

    real = [video for video in Annotations.load(shared_file("data/thumos14.json")).videos.values() if video.segments]
    for statistic in (lambda v: np.median(lengths(v)), lambda v: np.mean([len(x.segments) for x in v])):
        assert statistic(full) == pytest.approx(statistic(real), rel=0.15)
