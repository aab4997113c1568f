"""A finished run can be looked at: its pictures, those its components offer, and its components' own log."""

from __future__ import annotations

import logging

import pytest
from matplotlib.figure import Figure

from tests.running.conftest import tiny_config
from wtal_bench.cli import main
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.interfaces import Picture
from wtal_bench.plugins import registry
from wtal_bench.running.config import check_config
from wtal_bench.running.look import Look
from wtal_bench.running.run import train
from wtal_bench.running.workdir import WorkDir


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("look") / "run"
    train(check_config(tiny_config(dataset, epochs=1), "tiny"), WorkDir(folder), out=lambda line: None)
    return folder


@pytest.mark.parametrize("kind", ["similarity", "curves"])
def test_the_verb_draws_any_run(run, kind, capsys):
    assert main(["picture", str(run), "--kind", kind]) == 0
    path = run / "pictures" / f"{kind}.png"
    assert capsys.readouterr().out == f"written {path}\n"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_verb_lays_out_the_embedding(run, tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "deep" / "a.png"
    words = ["--kind", "tsne", "--points", "60", "--aggregate", "weight_action", "--out", str(out)]
    assert main(["picture", str(run), *words]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_told_with_the_nearest(run, tmp_path, capsys):
    for words, text in (
        (["--kind", "similarty"], "Did you mean 'similarity'"),
        (["--kind", "similarity", "--field", "embeding"], "Did you mean 'embedding'"),
        (["--kind", "curves", "--video", "test_0001"], "Did you mean 'test_001'"),
        (["--kind", "curves", "--video", "test_001", "test_002"], "this picture shows 1 videos, 2 were named"),
        (["--kind", "similarity", "--checkpoint", str(run / "lost.pth")], "Checkpoints there: last.pth"),
    ):
        assert main(["picture", str(run), *words]) == 2
        assert text in capsys.readouterr().err
    assert main(["picture", str(tmp_path), "--kind", "curves"]) == 2
    assert "it holds no config.json" in capsys.readouterr().err


def test_videos_are_seen_with_their_sampled_snippets_and_annotations(run):
    look = Look(run)
    names = look.choose(2)
    videos = list(look.see(names, ["embedding", "cas"]))
    shared = {*videos[0].tags} & {*videos[1].tags}
    assert shared  # chosen because they have a class in common
    for name, video in zip(names, videos):
        segments = look.opened.annotations.videos[name].segments
        assert video.truth == tuple((s.label, s.start, s.end) for s in segments)
        assert len(video.outputs["embedding"]) == len(video.centres()) == video.meta.num_snippets
    with pytest.raises(DataError, match="no output field"):
        look.see(names, ["nothing"])


def test_a_component_offers_a_picture_and_gets_the_fields_it_reads(run, monkeypatch, capsys):
    """The core finds it by the component alone: it knows neither its name nor what is drawn."""
    drawn = []
    monkeypatch.setattr(DRAWN, "append", drawn.append)
    decoder = registry("postprocessor").get("ThresholdDecoder")
    monkeypatch.setattr(decoder, "pictures", {"mine": Picture(f"{__name__}:draw", "mine, of two", videos=2)})
    assert main(["picture", str(run), "--list"]) == 0
    assert "mine        model.postprocessor  mine, of two" in capsys.readouterr().out
    assert main(["picture", str(run), "--kind", "mine"]) == 0
    ((component, videos),) = drawn
    assert isinstance(component, decoder)
    assert [sorted(video.outputs) for video in videos] == [sorted(component.requires)] * 2
    head = registry("head").get("ecm.Weights")
    monkeypatch.setattr(head, "pictures", {"mine": Picture(f"{__name__}:draw", "another")})
    assert set(Look(run).offers()) == {"postprocessor.mine", "heads.weights.mine"}


class _Drawn:
    def append(self, what):
        raise AssertionError("replaced by the test")


DRAWN = _Drawn()


def draw(component, videos):
    DRAWN.append((component, videos))
    return Figure()


def test_a_run_is_looked_at_with_other_settings_if_asked(run):
    assert Look(run, options=["model.postprocessor.class_threshold=0.9"]).model.components()
    with pytest.raises(ConfigError, match="class_treshold"):
        Look(run, options=["model.postprocessor.class_treshold=0.9"])


def test_what_components_say_is_in_the_runs_log(run):
    logging.getLogger("wtal_plugins.somebody.module").info("five of them")
    (log,) = run.glob("*/*.log")
    assert "five of them" in log.read_text(encoding="utf-8")
