"""Which weights are scored: those the checkpoint holds, the best one whatever interrupted the run."""

from __future__ import annotations

import pytest

from tests.running.conftest import tiny_config
from tests.running.test_training import assert_equal, run
from wtal_bench.errors import ConfigError
from wtal_bench.running.checkpoint import read_checkpoint
from wtal_bench.running.config import check_config
from wtal_bench.running.metrics import ProtocolMetric
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.run import score_checkpoint


@pytest.mark.parametrize("settings", [{"ema": 0.3}, {"ema": 0.3, "selection": "best_on_test"}, {"selection": "last"}])
def test_a_run_scores_what_its_checkpoint_holds(dataset, tmp_path, settings):
    tree = tiny_config(dataset, epochs=3, lr=0.01, **settings)
    result, _ = run(tree, tmp_path / "run")
    name = "last.pth" if settings.get("selection", "last") == "last" else "best.pth"
    again = score_checkpoint(
        check_config(tree, "test"), tmp_path / "run" / name, tmp_path / "again", out=lambda x: None
    )
    assert again.record["detections"]["sha256"] == result.record["detections"]["sha256"]
    assert again.record["metrics"] == result.record["metrics"]


def test_averaged_weights_are_not_those_trained_last(dataset, tmp_path):
    plain = run(tiny_config(dataset, epochs=3, lr=0.01), tmp_path / "plain")
    averaged = run(tiny_config(dataset, epochs=3, lr=0.01, ema=0.3), tmp_path / "averaged")
    assert plain[0].record["detections"]["sha256"] != averaged[0].record["detections"]["sha256"]
    state = read_checkpoint(tmp_path / "averaged" / "last.pth")
    trained = {name.removeprefix("module."): value for name, value in state["ema_state_dict"].items()}
    assert_equal({name: trained[name] for name in plain[1]}, plain[1])  # averaging watches, and changes nothing


PLAIN_SCORE = ProtocolMetric.score


def scores(monkeypatch, *values: float) -> None:
    """Let the evaluator find these averages, one a scoring; None interrupts it."""
    left = list(values)

    def score(metric, predictions):
        value = left.pop(0)
        if value is None:
            raise KeyboardInterrupt
        return PLAIN_SCORE(metric, predictions) | {"test/average": value}

    monkeypatch.setattr(ProtocolMetric, "score", score)


def best_of(folder) -> tuple[dict, dict]:
    state = read_checkpoint(folder / "best.pth")
    return state["meta"]["best"], state["state_dict"]


@pytest.mark.parametrize("unit", ["epochs", "iterations"])
def test_the_best_epoch_survives_an_interruption_anywhere(dataset, tmp_path, monkeypatch, unit):
    """The second of four is best. The run stops after it, or while it is scored, or while the third is."""

    def tree(length: int) -> dict:
        made = tiny_config(dataset, selection="best_on_test", val_interval=1)
        made.setdefault("runtime", {})["checkpoint_seconds"] = 0
        del made["train"]["epochs"]
        made["train"][unit] = length
        return made

    wanted = [0.1, 0.9, 0.2, 0.3]
    scores(monkeypatch, *wanted, 0.0)
    run(tree(4), tmp_path / "straight")
    best, weights = best_of(tmp_path / "straight")
    assert (best["value"], best["done"]) == (0.9, 2)

    scores(monkeypatch, 0.1, 0.9, 0.0, 0.2, 0.3, 0.0)
    run(tree(2), tmp_path / "longer")
    run(tree(4), tmp_path / "longer", resume=True)
    found = {"longer": best_of(tmp_path / "longer")}
    for stop in (1, 2):
        scores(monkeypatch, *wanted[:stop], None, *wanted[stop:], 0.0)
        folder = tmp_path / f"stopped{stop}"
        with pytest.raises(KeyboardInterrupt):
            run(tree(4), folder)
        run(tree(4), folder, resume=True)
        found[stop] = best_of(folder)
    for name, (other, theirs) in found.items():
        assert other == best, name
        assert_equal(theirs, weights)


def test_a_decoder_without_video_scores_cannot_select_by_holdout(dataset, monkeypatch):
    from wtal_bench.decoding import ThresholdDecoder

    tree = tiny_config(dataset, selection="val_holdout")
    check_model(check_config(tree, "my.py"))
    monkeypatch.delattr(ThresholdDecoder, "video_scores")
    with pytest.raises(ConfigError, match=r"my\.py: train\.selection='val_holdout' needs a decoder with video scores"):
        check_model(check_config(tree, "my.py"))


def test_select_by_a_tiou_of_the_protocol(dataset, tmp_path):
    run(tiny_config(dataset, epochs=2, selection="best_on_test", select_by=0.5), tmp_path / "run")
    assert best_of(tmp_path / "run")[0]["metric"] == "test/0.5"
