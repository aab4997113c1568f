"""GauFuse's fusion beside the golden numbers: against a plain loop, every distribution, and as a post-processor."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.decoding import ThresholdDecoder
from wtal_bench.errors import ConfigError
from wtal_bench.structures import VideoMeta
from wtal_plugins.gaufuse.decoder import FusedDecoder, build_decoder, candidates_of
from wtal_plugins.gaufuse.fusion import DISTRIBUTIONS, Fusion

DECODER = dict(num_classes=2, class_threshold=0.0, thresholds=[0.2, 0.4, 0.6], contrast=dict(outer=0.25))


def loop(rows: np.ndarray, fusion: Fusion) -> list[tuple[list[int], int]]:
    """(members, picked) of every instance of one class, one candidate at a time; rows (start, end, conf, inner)."""
    left, groups = list(range(len(rows))), []
    while left:
        best = max(left, key=lambda i: (rows[i, 2], i))
        members = []
        for i in left:
            inter = min(rows[i, 1], rows[best, 1]) - max(rows[i, 0], rows[best, 0]) + fusion.offset
            own, other = (rows[j, 1] - rows[j, 0] + fusion.offset for j in (i, best))
            whole = own if fusion.overlap_kind == "self" else own + other - max(inter, 0)
            if i == best or max(inter, 0) / whole > fusion.overlap:
                members.append(i)
        groups.append((members, best))
        left = [i for i in left if i not in members]
    return groups


def random_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    start = rng.integers(0, 60, count)
    conf = rng.integers(-2, 12, count) / 8  # with ties
    return np.stack([start, start + rng.integers(1, 25, count), conf, rng.random(count)], axis=1).astype(float)


def centre(x: np.ndarray, weight: np.ndarray, distribution: str, dof: float) -> float:
    """What the distribution's fit must give, by brute force."""
    if distribution == "gaussian":
        return float(np.sum(weight * x))
    if distribution == "uniform":
        return (x.min() + x.max()) / 2
    if distribution == "exponential":
        return min(x, key=lambda m: (round(np.sum(weight * np.abs(x - m)), 12), m))
    mean = np.sum(weight * x)
    variance = np.sum(weight * (x - mean) ** 2)
    if variance == 0:
        return mean
    grid = mean
    for _ in range(5000):
        pull = weight / (dof + (x - grid) ** 2 / variance)
        grid = np.sum(pull * x) / np.sum(pull)
    score = np.sum(weight * (x - grid) / (dof * variance + (x - grid) ** 2))
    assert abs(score) < 1e-9
    return grid


@pytest.mark.parametrize("distribution", [d for d in DISTRIBUTIONS if d != "nms"])
@pytest.mark.parametrize("settings", [{}, {"overlap_kind": "union", "overlap": 0.4}, {"weight_by": "confidence"}])
def test_fusion_equals_a_plain_loop(distribution, settings):
    rng = np.random.default_rng(3)
    fusion = Fusion(temperature=0.1, distribution=distribution, **settings)
    for count in (1, 2, 7, 30):
        rows = random_rows(rng, count)
        fused = fusion(*rows.T, np.zeros(count, dtype=int))
        expected = loop(rows, fusion)
        assert fused.picked.tolist() == [best for _, best in expected]
        for i, (members, best) in enumerate(expected):
            assert np.flatnonzero(fused.leader == best).tolist() == sorted(members)
            weight = np.exp(rows[members, 3 if fusion.weight_by == "inner" else 2] / fusion.temperature)
            weight /= weight.sum()
            ours = (fused.start[i], fused.end[i], fused.confidence[i])
            wanted = [centre(rows[members, j], weight, distribution, fusion.dof) for j in range(3)]
            np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-8)


def test_nms_keeps_the_picked_candidates_as_they_are():
    rows = random_rows(np.random.default_rng(1), 30)
    fused = Fusion(distribution="nms")(*rows.T, np.zeros(30, dtype=int))
    kept = np.stack([fused.start, fused.end, fused.confidence], axis=1)
    np.testing.assert_array_equal(kept, rows[fused.picked, :3])


def test_a_low_temperature_leaves_the_strongest_member_to_every_distribution_but_uniform():
    rows = random_rows(np.random.default_rng(2), 40)
    for distribution in ("gaussian", "exponential", "t"):
        fused = Fusion(temperature=1e-4, distribution=distribution)(*rows.T, np.zeros(40, dtype=int))
        for i, picked in enumerate(fused.picked):
            members = np.flatnonzero(fused.leader == picked)
            strongest = members[np.argmax(rows[members, 3])]
            np.testing.assert_allclose(fused.start[i], rows[strongest, 0], atol=1e-6)


def test_groups_are_fused_apart_and_no_candidate_at_all_gives_nothing():
    rng = np.random.default_rng(4)
    parts = [random_rows(rng, count) for count in (5, 1, 12)]
    rows, group = np.concatenate(parts), np.repeat([4, 7, 9], [5, 1, 12])
    fusion = Fusion(temperature=0.05)
    together = fusion(*rows.T, group)
    alone = [fusion(*part.T, np.zeros(len(part), dtype=int)) for part in parts]
    for name in ("start", "end", "confidence"):
        np.testing.assert_allclose(
            getattr(together, name), np.concatenate([getattr(a, name) for a in alone]), atol=1e-12
        )
    for distribution in DISTRIBUTIONS:
        empty = Fusion(distribution=distribution)(*np.zeros((4, 0)), np.zeros(0, dtype=int))
        assert len(empty.start) == len(empty.leader) == 0


def test_exponents_of_low_temperatures_do_not_overflow():
    rows = np.array([[0, 9, 0.5, 900.0], [1, 9, 0.4, 899.0], [0, 8, 0.3, -900.0]])
    fused = Fusion(temperature=0.0016)(*rows.T, np.zeros(3, dtype=int))
    assert np.isfinite(fused.start).all()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"distribution": "gausian"}, "Did you mean 'gaussian'"),
        ({"overlap_kind": "iou"}, "it takes self, union"),
        ({"weight_by": "inside"}, "fusion.weight_by"),
        ({"temperature": 0.0}, "fusion.temperature=0.0 must be positive"),
    ],
)
def test_impossible_settings_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        Fusion(**settings)


# ---- as a post-processor ----


def video(snippets: int = 40) -> tuple[dict, VideoMeta]:
    rng = np.random.default_rng(snippets)
    outputs = {"cas": rng.random((snippets, 3)), "video_logits": rng.normal(size=3), "other": rng.random((snippets, 3))}
    return outputs, VideoMeta("v", snippets * 0.64 - 0.3, 25.0, 16, snippets)


def test_fused_detections_lie_in_the_video_and_fall_in_score_within_a_class():
    outputs, meta = video()
    found = FusedDecoder(DECODER)(outputs, meta)
    assert len(found) > 1
    found.check("v", meta.duration)
    assert (np.diff(found.label) >= 0).all()
    for label in (0, 1):
        assert (np.diff(found.score[found.label == label]) <= 0).all()


def test_nms_setting_equals_the_threshold_decoder_s_own_nms():
    outputs, meta = video()
    nms = dict(iou=0.3, overlap="self", offset=1.0, drop=">")
    own = ThresholdDecoder(**DECODER, nms=nms, nms_units="samples")(outputs, meta)
    ours = FusedDecoder(DECODER, dict(distribution="nms", overlap=0.3))(outputs, meta)
    np.testing.assert_array_equal(ours.rows(), own.rows())


def test_class_scores_are_the_decoder_s():
    outputs, _ = video()
    expected = ThresholdDecoder(**DECODER).video_scores(outputs)
    np.testing.assert_array_equal(FusedDecoder(DECODER).video_scores(outputs), expected)


def test_pooled_curves_are_fused_together_and_scales_reach_the_inner_means():
    outputs, meta = video()
    passes = dict(a=dict(curve="cas", score_scale=0.1), b=dict(curve="other"))
    decoder = build_decoder(dict(type="PooledDecoder", shared=DECODER, passes=passes))
    pooled = candidates_of(decoder, outputs, meta)
    single = [ThresholdDecoder(**{**DECODER, "curve": c}).candidates(outputs, meta) for c in ("cas", "other")]
    assert len(pooled) == sum(map(len, single))
    assert (np.diff(pooled.label) >= 0).all()
    inner = np.concatenate([0.1 * single[0].inside, single[1].inside])
    np.testing.assert_allclose(np.sort(pooled.inside), np.sort(inner), rtol=1e-12)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (dict(DECODER, nms=dict(iou=0.5)), "takes the place of the NMS"),
        (dict(DECODER, threshold=[0.1]), "Did you mean 'thresholds'"),
        (dict(DECODER, type="ThresholdDecode"), "Did you mean 'ThresholdDecoder'"),
        (7, "must be a dict"),
    ],
)
def test_decoders_that_cannot_be_fused_are_refused(spec, text):
    with pytest.raises(ConfigError, match=text):
        FusedDecoder(spec)


def test_passes_over_different_grids_are_refused():
    outputs, meta = video()
    passes = dict(a=dict(curve="cas"), b=dict(curve="other", upsample=2))
    decoder = build_decoder(dict(type="PooledDecoder", shared=DECODER, passes=passes))
    with pytest.raises(ConfigError, match=r"video 'v'.*40, 80 samples"):
        candidates_of(decoder, outputs, meta)


def test_the_curves_and_the_told_classes_are_those_of_the_decoder_whose_candidates_are_fused():
    rng = np.random.default_rng(0)
    video = {"cas": rng.random((12, 2)), "video_logits": np.array([3.0, -3.0])}
    meta = VideoMeta("v", 12 * 0.64, 25.0, 16, 12)
    fused = FusedDecoder(decoder=dict(DECODER, class_threshold=0.5), fusion=dict(temperature=0.2))
    (curve,) = fused.located_curves(video, meta, [1]).values()
    np.testing.assert_array_equal(curve.values, video["cas"][:, [1]])
    assert set(fused(video, meta).label) == {0}
    assert set(fused.told([1])(video, meta).label) == {1}
