"""A diagnosis names the cause of a collapse, from labelled test videos that training never sees."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from wtal_bench.decoding import PooledDecoder
from wtal_bench.interfaces import LocatedCurve
from wtal_bench.protocols import get_protocol
from wtal_bench.running.diagnosis import Examiner, area_under_curve, causes, diagnose
from wtal_bench.structures import Detections, VideoMeta

PROTOCOL = get_protocol("synthetic_tiny/v2")
SECONDS = 16 / 25


def test_area_under_the_curve_is_the_share_of_pairs_in_order():
    scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[positive] for b in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs))
    assert area_under_curve(1 - scores, positive) == pytest.approx(1 - np.mean(pairs))
    assert np.isnan(area_under_curve(scores, np.ones(4, dtype=bool)))


def located(curve, tags, probability=True):
    """The tagged columns of a curve [T,C], or what is given."""
    return (
        {"curve": LocatedCurve(curve[:, tags], probability=probability)}
        if isinstance(curve, np.ndarray)
        else curve or {}
    )


def examine(change, videos=8, length=50, classification=0.9, detections=None):
    """Report on videos with two instances of one class each, whose perfect curves `change` spoils."""
    rng = np.random.default_rng(0)
    truth, parts = {}, []
    for at in range(videos):
        label = at % len(PROTOCOL.classes)
        starts = rng.integers(2, 20), rng.integers(28, 40)
        truth[f"v{at}"] = [(label, start * SECONDS, (start + 6) * SECONDS) for start in starts]
        inside = np.zeros(length)
        for start in starts:
            inside[start : start + 6] = 1
        meta = VideoMeta(f"v{at}", length * SECONDS, 25.0, 16, length)
        curve = np.full((length, len(PROTOCOL.classes)), 0.05)
        curve[:, label] = 0.1 + 0.8 * inside
        found = Detections.from_rows([(*row, 0.9) for row in truth[f"v{at}"]])
        parts.append((meta, {"attention": 0.1 + 0.8 * inside}, curve, found))
    examiner = Examiner(PROTOCOL, truth)
    for part in parts:
        meta, attention, curve, *found = change(*part)
        examiner.add(meta, attention, located(curve, examiner.tags(meta.id)), *found)
    return examiner.report(classification)


def codes(report):
    return [cause["code"] for cause in report["causes"]]


def test_a_run_that_is_right_has_no_cause_to_name():
    report = examine(lambda *part: part)
    assert report["foreground"]["attention"] == {"auc": 1.0, "missed": 0.0, "open": 0.0, "closed": 0.0}
    assert report["curve"] == {"auc": 1.0, "flat": 0.0}
    assert report["candidates"] == 1.0
    assert all(value == pytest.approx(1.0) for value in report["oracles"].values())
    assert codes(report) == []
    assert not report["collapsed"]


def test_a_mirrored_foreground_is_named():
    report = examine(
        lambda meta, fields, curve, found: (meta, {"flow.attention": 1 - fields["attention"]}, curve, found)
    )
    assert codes(report) == ["mirrored"]
    assert "`flow.attention` is mirrored" in report["causes"][0]["text"]
    assert report["foreground"]["flow.attention"]["auc"] == 0.0
    assert report["foreground"]["flow.attention"]["missed"] == 1.0


@pytest.mark.parametrize(("value", "code"), [(0.99, "saturated open"), (0.01, "saturated closed")])
def test_an_attention_that_ran_to_an_end_is_named(value, code):
    rng = np.random.default_rng(0)
    report = examine(lambda m, f, c, d: (m, {"attention": value + rng.uniform(0, 0.001, len(c))}, c, d))
    assert codes(report)[0] == code or codes(report)[:2] == ["mirrored", code]


@pytest.mark.parametrize(("closed", "code"), [(0.3, "saturated closed at test"), (0.95, "saturated closed")])
def test_an_attention_that_is_closed_at_test_alone_is_told_from_one_that_always_is(closed, code):
    report = examine(lambda m, f, c, d: (m, {"attention": f["attention"] / 30}, 0 * c, d.take([])))
    report["in_training"] = {"attention": {"auc": 0.8, "missed": 0.1, "open": 0.0, "closed": closed}}
    (cause,) = [cause for cause in causes(report) if cause["code"].startswith("saturated")]
    assert cause["code"] == code
    assert ("with dropout on, on 30.00 % (AUC 0.80)" in cause["text"]) == (code != "saturated closed")


class Noisy(torch.nn.Module):
    """Its attention is 0 without dropout; it counts its passes as a normalisation would."""

    fields = ("attention",)
    needs_tags = False
    decoder = SimpleNamespace(readable=())

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def video_outputs(self, batch, wanted):
        self.passes += 1
        assert not (self.training and self.needs_tags), "no tags at test"
        drawn = torch.rand(50) if self.training else torch.zeros(50)
        yield {"attention": drawn.numpy()}, VideoMeta("v", 50 * SECONDS, 25.0, 16, 50)

    def located_curves(self, outputs, meta, classes):
        return {}

    def decode_told(self, outputs, meta, classes):
        return None


def a_test_of(model: Noisy, videos: int = 1) -> SimpleNamespace:
    """A finished test of one video, seen so many times."""
    segment = SimpleNamespace(label=0, start=0.0, end=5.0)
    opened = SimpleNamespace(
        annotations=SimpleNamespace(videos={"v": SimpleNamespace(segments=[segment])}), protocol=PROTOCOL
    )
    metric = SimpleNamespace(detections={"v": Detections.from_rows([])}, report={})
    return SimpleNamespace(
        model=model, metric=metric, opened=opened, videos=SimpleNamespace(ids=["v"]), device="cpu",
        loader=[SimpleNamespace(to=lambda device: None)] * videos,
    )  # fmt: skip


def test_a_decoder_that_fails_to_say_what_it_locates_by_costs_the_diagnosis_that_part_alone(caplog):
    class Odd(Noisy):
        def decode_told(self, outputs, meta, classes):
            raise TypeError("told() takes no list")

    report = diagnose(a_test_of(Odd(), videos=3))
    assert report["foreground"]["attention"]["closed"] == 1.0
    assert "true tags, own decoder" not in report["oracles"]
    (said,) = (record.getMessage() for record in caplog.records if "the diagnosis goes without" in record.getMessage())
    assert "on video 'v': TypeError: told() takes no list" in said


def test_a_closed_attention_is_looked_at_with_dropout_on_and_nothing_of_the_run_is_moved():
    model = Noisy()
    testing = a_test_of(model)
    state = torch.get_rng_state()
    report = diagnose(testing)
    assert report["foreground"]["attention"]["closed"] == 1.0
    assert report["in_training"]["attention"]["closed"] < 0.2
    assert "saturated closed at test" in codes(report)
    assert torch.equal(torch.get_rng_state(), state)
    assert (model.training, float(model.passes)) == (False, 1.0)
    assert diagnose(testing) == report, "the same draw every time"
    model.needs_tags = True
    assert "saturated closed" in codes(diagnose(testing)), "a run is not lost for a look that fails"
    assert (model.training, float(model.passes)) == (False, 3.0)


def test_of_several_attentions_the_one_the_decoder_reads_is_called_stuck():
    values = {"auc": 0.9, "missed": 0.0, "open": 0.0, "closed": 1.0}
    report = examine(lambda m, f, c, d: (m, {}, 0 * c, d.take([])))
    report["foreground"] = {"attention": values | {"closed": 0.2}, "m.attention": values}
    assert [c["code"] for c in causes(report, ["attention", "cas"]) if "saturated" in c["code"]] == []
    assert [c["code"] for c in causes(report, ["cas"]) if "saturated" in c["code"]] == ["saturated closed"]


def test_a_sparse_attention_that_works_is_no_cause():
    """Low on most snippets, in order, and the run finds what its curves hold."""
    assert codes(examine(lambda m, f, c, d: (m, {"attention": f["attention"] / 30, "actionness": c[:, 0]}, c, d))) == []


def test_a_closed_attention_is_named_though_no_decoder_finds_more():
    """In order, but so small that the curve it weighs is gone: every reading of it finds next to nothing."""
    report = examine(lambda m, f, c, d: (m, {"attention": f["attention"] / 30}, 0 * c, d.take([])))
    assert report["oracles"]["true tags, own curve"] < 0.05
    assert "saturated closed" in codes(report)


@pytest.mark.parametrize(
    ("values", "action", "expected"),
    [
        ({"auc": 0.68, "missed": 0.47, "closed": 0.992}, 0.25, ["saturated closed"]),
        ({"auc": 0.63, "missed": 0.55, "closed": 0.986}, None, ["saturated closed"]),  # a record of before
        ({"auc": 0.72, "missed": 0.20, "closed": 0.992}, 0.25, []),  # sparse by design: it ranks and misses little
        ({"auc": 0.73, "missed": 0.37, "closed": 0.960}, 0.25, []),
        ({"auc": 0.55, "missed": 0.20, "closed": 0.992}, 0.25, ["saturated closed"]),
        ({"auc": 0.68, "missed": 0.47, "closed": 0.920}, 0.05, []),  # as much background as there is
        ({"auc": 0.68, "missed": 0.47, "open": 0.960}, 0.25, ["saturated open"]),
        ({"auc": 0.68, "missed": 0.47, "open": 0.960}, 0.97, []),
    ],
)
def test_an_attention_at_an_end_is_named_whatever_the_map_unless_the_run_works(values, action, expected):
    report = examine(lambda *part: part)
    report["oracles"] |= {"as decoded": 0.07, "true tags, own decoder": 0.07, "true tags, own curve": 0.04}
    report["foreground"] = {"attention": {"open": 0.0, "closed": 0.0, **values}}
    report["action"] = action
    assert codes({"causes": causes(report, ["attention"])}) == expected


def test_foregrounds_that_are_all_blind_are_named():
    report = examine(lambda *part: part)
    values = {"missed": 0.3, "open": 0.0, "closed": 0.1}
    report["foreground"] = {"flow.attention": {"auc": 0.48, **values}, "rgb.attention": {"auc": 0.52, **values}}
    (cause,) = causes(report)
    assert cause["code"] == "blind foreground"
    assert "`flow.attention` 0.48, `rgb.attention` 0.52" in cause["text"]
    report["foreground"]["rgb.attention"]["auc"] = 0.7
    assert causes(report) == []
    report["foreground"] = {}
    assert causes(report) == []


def test_the_stream_whose_curve_fails_is_named():
    rng = np.random.default_rng(0)

    def streams(change):
        def two(meta, fields, curve, found):
            own = curve[:, [int(found.label[0])]]
            return meta, fields, {"rgb": LocatedCurve(own), "flow": LocatedCurve(change(own))}, found

        return examine(two)["causes"]

    for change, code, words in (
        (lambda own: 1 - own, "mirrored", "the class curve `flow` is mirrored"),
        (lambda own: rng.random(own.shape), "blind", "the class curve `flow` hardly tells"),
        (lambda own: 0 * own, "flat", "the class curve `flow` is flat"),
    ):
        (cause,) = streams(change)
        assert (cause["code"], words in cause["text"]) == (code, True)


@pytest.mark.parametrize(("level", "code"), [(0.01, "curve closed"), (0.97, "curve open")])
def test_a_probability_that_ran_to_an_end_is_named_once(level, code):
    rng = np.random.default_rng(0)
    ran_out = lambda shape: level + rng.uniform(0, 0.001, shape)  # noqa: E731
    report = examine(lambda m, f, c, d: (m, f, ran_out(c.shape), d))
    assert codes(report) == [code]
    assert "for the tagged classes" in report["causes"][0]["text"]
    report = examine(lambda m, f, c, d: (m, {"attention": ran_out(len(c))}, ran_out(c.shape), d))
    assert codes(report)[0] == f"saturated {code.removeprefix('curve ')}"
    assert code not in codes(report), "the attention that weighs it says so"


def test_a_record_of_before_curves_had_names_has_the_causes_it_had():
    rng = np.random.default_rng(1)
    report = examine(lambda m, f, c, d: (m, f, rng.random(c.shape), d))
    old = {key: value for key, value in report.items() if key not in ("curves", "action")}
    assert causes(old) == causes(report) == report["causes"]
    assert codes(report)[0] == "blind"


def test_tags_that_fail_are_told_from_curves_that_fail():
    wrong = lambda found: Detections(found.start, found.end, (found.label + 1) % len(PROTOCOL.classes), found.score)  # noqa: E731
    report = examine(lambda m, f, c, d: (m, f, c, wrong(d)), classification=0.3)
    assert codes(report)[0] == "tags fail"
    assert report["oracles"]["as decoded"] == 0.0
    assert report["oracles"]["true tags, own curve"] > 0.9
    assert report["collapsed"]


def test_a_curve_that_sees_nothing_is_named():
    rng = np.random.default_rng(1)
    assert codes(examine(lambda m, f, c, d: (m, f, rng.random(c.shape), d)))[0] == "blind"
    assert codes(examine(lambda m, f, c, d: (m, f, np.full(c.shape, 0.5), d)))[0] == "flat"


def test_thresholds_that_do_not_fit_are_named():
    whole = lambda meta: Detections.from_rows([(0, 0.0, meta.duration, 0.5)])  # noqa: E731
    report = examine(lambda m, f, c, d: (m, f, c, whole(m)))
    assert codes(report) == ["thresholds off"]


@pytest.mark.parametrize(("level", "expected"), [(0.8, ["nothing decoded", "thresholds off"]), (0.25, [])])
def test_thresholds_above_curves_that_rank_well_are_named_of_two_streams_of_probabilities(level, expected):
    """Softmax over all classes and background: its height depends on their number, its order does not."""
    classes = len(PROTOCOL.classes)
    streams = {
        name: dict(scores=f"{name}.scores", curve=dict(field=f"{name}.cas", activation="softmax"))
        for name in ("rgb", "flow")
    }
    decoder = PooledDecoder(
        shared=dict(num_classes=classes, class_threshold=0.05, thresholds=[level], contrast=dict(outer=0.25)),
        passes=streams,
        nms=dict(iou=0.5),
    )

    def decoded(meta, fields, curve, found):
        (label,) = set(found.label.tolist())
        cas = np.zeros((len(curve), classes + 1))
        cas[:, label] = 2.0 * (curve[:, label] > 0.5)
        scores = np.eye(classes + 1)[label]
        outputs = {f"{name}.{field}": v for name in streams for field, v in (("cas", cas), ("scores", scores))}
        curves = decoder.located_curves(outputs, meta, [label])
        return meta, fields, curves, decoder(outputs, meta), decoder.told([label])(outputs, meta)

    report = examine(decoded)
    assert codes(report) == expected
    assert list(report["curves"]) == ["rgb", "flow"]
    assert [curve["auc"] for curve in report["curves"].values()] == [1.0, 1.0]
    assert report["oracles"]["true tags, own curve"] == pytest.approx(1.0)
    assert report["oracles"]["true tags, own decoder"] == pytest.approx(0.0 if expected else 1.0)


def test_every_pass_has_its_own_numbers_and_a_shared_curve_speaks_for_no_class():
    def passes(meta, fields, curve, found):
        tag = [int(found.label[0])]
        own, shared = LocatedCurve(curve[:, tag]), LocatedCurve(1 - fields["attention"][:, None], True)
        return meta, fields, {"cas": own, "attention": shared}, found

    report = examine(passes)
    assert report["curves"]["cas"] == {
        "auc": 1.0, "missed": 0.0, "open": None, "closed": None, "flat": 0.0, "shared": False
    }  # fmt: skip
    assert report["curves"]["attention"] == {
        "auc": 0.0, "missed": 1.0, "open": None, "closed": None, "flat": 0.0, "shared": True
    }  # fmt: skip
    assert report["curve"] == {"auc": 1.0, "flat": 0.0}
    assert report["action"] == pytest.approx(12 / 50)


@pytest.mark.parametrize(("change", "closed"), [(lambda c: c, 1 - 12 / 50), (lambda c: 9 * c, None)])
def test_saturation_is_counted_of_probabilities_alone(change, closed):
    report = examine(lambda meta, fields, curve, found: (meta, fields, change((curve > 0.5) * 0.9), found))
    assert report["curves"]["curve"]["closed"] == (closed and pytest.approx(closed))
    assert report["curves"]["curve"]["open"] == (None if closed is None else 0.0)


def test_scores_in_the_wrong_order_are_what_the_true_order_mends():
    def noisy(meta, fields, curve, found):
        extra = [(int(found.label[0]), at, at + 0.5, 0.95) for at in np.arange(0.0, meta.duration - 1, 1.0)]
        rows = [*extra, *zip(found.label, found.start, found.end, found.score)]
        return meta, fields, curve, Detections.from_rows(rows)

    oracles = examine(noisy)["oracles"]
    assert oracles["as decoded"] < 0.5
    assert oracles["own segments, true order"] == pytest.approx(1.0)


def test_a_model_without_one_curve_or_attention_is_examined_as_far_as_it_goes():
    report = examine(lambda meta, fields, curve, found: (meta, {}, None, found))
    assert report["curve"] == {"auc": None, "flat": None}
    assert report["curves"] == {}
    assert set(report["oracles"]) == {"as decoded", "true tags", "own segments, true order"}
    assert codes(report) == []


def test_a_run_that_decodes_nothing_says_so_first():
    report = examine(lambda meta, fields, curve, found: (meta, fields, curve, Detections.empty()))
    assert codes(report) == ["nothing decoded", "thresholds off"]
    assert report["collapsed"]
