"""The picture of GauFuse's README is made by the code, and says what is wrong with its input."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.errors import DataError
from wtal_bench.evaluation import write_detections
from wtal_bench.interfaces import SeenVideo, VideoMeta
from wtal_bench.structures import Detections
from wtal_plugins.ftcl.losses import LCS
from wtal_plugins.gaufuse.decoder import FusedDecoder
from wtal_plugins.gaufuse.labels import PseudoLabels
from wtal_plugins.gaufuse.picture import draw_labels, draw_run, main

PNG = b"\x89PNG"


def some_detections() -> Detections:
    start = np.array([3, 4, 20, 22, 23]) * 0.64
    return Detections(
        start, start + np.array([8, 9, 5, 6, 3]) * 0.64, np.zeros(5), np.array([0.9, 0.8, 0.5, 0.4, -0.1])
    )


def files(folder):
    """A detection and an annotation file of one video."""
    found, known = folder / "found.json", folder / "known.json"
    write_detections(found, {"video_1": some_detections()}, ["Jump", "Throw"], "test")
    segments = [{"label": "Jump", "start": 2.0, "end": 7.0}]
    videos = {"video_1": {"subset": "train", "duration": 25.6, "segments": segments}}
    known.write_text(json.dumps({"version": "test", "classes": ["Jump", "Throw"], "videos": videos}))
    return found, known


def test_the_drawn_label_keeps_the_fused_confidences(tmp_path):
    solution = draw_labels(tmp_path / "a.png", some_detections(), 25.6, truth=[(2.0, 7.0)])
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    assert solution.status == 0
    assert len(solution.label) == 40
    # the temperature leaves the first group to its strongest member, [3, 11)
    assert solution.label[3:11].sum() == pytest.approx(0.9, abs=0.01)


def test_the_documented_command_draws(tmp_path, capsys):
    found, known = files(tmp_path)
    out = tmp_path / "out.png"
    given = ["--detections", str(found), "--annotations", str(known), "--video", "video_1", "--out", str(out)]
    assert main(given) == 0
    assert out.read_bytes().startswith(PNG)
    given[5] = "video_2"
    assert main(given) == 2
    assert "Did you mean 'video_1'" in capsys.readouterr().err
    given[5] = "video_1"
    assert main([*given, "--label", "jump"]) == 2
    assert "Did you mean 'Jump'" in capsys.readouterr().err
    given[3] = str(tmp_path / "absent.json")
    assert main(given) == 2
    assert "absent.json: there is no such file" in capsys.readouterr().err


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="0 candidates"):
        draw_labels("never.png", Detections.empty(), 10.0)


def test_the_committed_picture_is_there_and_small():
    picture = REPOSITORY / "plugins" / "gaufuse" / "picture.png"
    assert picture.read_bytes().startswith(PNG)
    assert picture.stat().st_size < 150_000


def seen(tags=(1,)) -> SeenVideo:
    cas = np.zeros((30, 2))
    cas[4:12, 1], cas[6:10, 1], cas[20:24, 1] = 0.5, 0.9, 0.6
    cas[2:5, 0] = 1.0
    meta = VideoMeta("v", 19.2, 25.0, 16, 30).sampled(np.arange(30))
    outputs = {"cas": cas, "video_prob": np.array([0.8, 0.9])}
    return SeenVideo(meta, outputs, ("Jump", "Throw"), tags, ((1, 2.0, 7.0), (0, 9.0, 9.5)))


DECODER = dict(num_classes=2, scores="video_prob", scores_activation="none", thresholds=[0.2, 0.4, 0.7], time="snippet")


@pytest.mark.parametrize(("tags", "name", "candidates", "spans"), [((1,), "Throw", 5, 1), ((0,), "Jump", 3, 1)])
def test_a_runs_decoder_is_drawn_with_the_class_of_the_videos_tags(tags, name, candidates, spans):
    figure = draw_run(FusedDecoder(DECODER, dict(temperature=0.2)), [seen(tags)])
    top, middle, bottom = figure.axes
    assert top.get_title(loc="left").startswith(f"v, {name}, fused at temperature 0.2")
    assert top.get_ylabel().startswith(f"{candidates} candidates")
    assert len([patch for patch in top.patches if patch.get_height() == 0.8]) == candidates
    assert len([patch for patch in bottom.patches if patch.get_facecolor()[:3] == (0.85, 0.85, 0.85)]) == spans
    assert middle.get_ylabel().startswith(("1 fused", "2 fused"))


def test_a_labelling_is_drawn_at_the_temperature_of_its_last_generation():
    head = PseudoLabels(2, DECODER, generations=[5, 9], schedule=[(5, "absolute", 1.0)], temperatures=[0.02, 0.0016])
    figure = draw_run(head, [seen()])
    assert "temperature 0.0016" in figure.axes[0].get_title(loc="left")


def test_a_video_without_candidates_is_said():
    decoder = FusedDecoder({**DECODER, "class_threshold": 2.0})
    with pytest.raises(DataError, match="'v' has no candidate to draw"):
        draw_run(decoder, [seen()])


@pytest.mark.parametrize("component", [FusedDecoder, PseudoLabels, LCS])
def test_every_offered_picture_names_a_function_that_is_there(component):
    for picture in component.pictures.values():
        module, _, function = picture.draw.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
