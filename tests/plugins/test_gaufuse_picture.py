"""The picture of GauFuse's README is made by the code, and says what is wrong with its input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.helpers import REPOSITORY
from wtal_bench.errors import DataError
from wtal_bench.evaluation import write_detections
from wtal_bench.structures import Detections
from wtal_plugins.gaufuse.picture import draw_labels, main

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
    assert "absent.json cannot be read" in capsys.readouterr().err


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="0 candidates"):
        draw_labels("never.png", Detections.empty(), 10.0)


def test_the_committed_picture_is_there_and_small():
    picture = REPOSITORY / "plugins" / "gaufuse" / "picture.png"
    assert picture.read_bytes().startswith(PNG)
    assert picture.stat().st_size < 150_000
