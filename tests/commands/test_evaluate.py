"""`tools/evaluate.py` prints and writes the numbers of every evaluator, and explains what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY, golden_file, shared_file
from wtal_bench.cli import main
from wtal_bench.protocols import get_protocol

CLASSES = list(get_protocol("thumos14/v1").classes)


def small(tmp_path, detections, **videos):
    """An annotation file of two test videos and a detection file; returns the command line."""
    entry = {"subset": "test", "duration": 60.0, "segments": [{"label": "Diving", "start": 0.0, "end": 16.0}]}
    annotations = {"version": "small", "classes": CLASSES, "videos": {"v": entry, "w": entry, **videos}}
    (tmp_path / "annotations.json").write_text(json.dumps(annotations))
    (tmp_path / "found.json").write_text(json.dumps(detections))
    found, truth = tmp_path / "found.json", tmp_path / "annotations.json"
    return ["evaluate", str(found), "--protocol", "thumos14/v1", "--annotations", str(truth)]


def row(end=16.0, score=0.5, label="Diving"):
    return {"label": label, "start": 0.0, "end": end, "score": score}


@pytest.fixture(scope="module")
def pmil(tmp_path_factory):
    """What the command writes for the P-MIL detections."""
    path = tmp_path_factory.mktemp("pmil") / "scores.json"
    detections = shared_file("detections/thumos14_pmil_base_test.json.gz")
    annotations = shared_file("data/thumos14.json")
    status = main(["evaluate", str(detections), "--protocol", "thumos14/v1", "--annotations", str(annotations),
                   "--json", str(path)])  # fmt: skip
    assert status == 0
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("case", "loop", "variant"),
    [
        ("real_thumos_pmil_test212", None, "thumos_seconds_212"),
        ("real_thumos_wtalc_style", "fac_rskp_gaufuse", "thumos_snippet"),
        ("real_thumos_wtalc_style", "wtalc", "wtalc"),
    ],
)
def test_real_detections_score_as_the_authors_code_scores_them(pmil, case, loop, variant):
    path = golden_file(f"evaluation/eval_case_{case}.json")
    expected = json.loads(path.read_text())["expected"]
    expected = expected[loop] if loop else expected
    table = pmil["metrics"]["variants"][variant]
    assert table["ap"] == expected["ap"]
    assert table["averages"]["0.1:0.7"] == pytest.approx(expected["average_mAP"], rel=1e-15)
    assert (table["videos"], table["instances"], table["detections"], table["ignored"]) == (212, 3358, 31587, 0)


def test_the_figures_of_every_scale(pmil):
    averages = {name: 100 * table["averages"]["0.1:0.7"] for name, table in pmil["metrics"]["variants"].items()}
    assert {name: f"{value:.2f}" for name, value in averages.items()} == {
        "thumos_seconds_212": "42.43",
        "thumos_seconds_210": "43.27",
        "thumos_seconds_210_of_212": "42.74",
        "thumos_snippet": "43.60",
        "thumos_snippet_official": "43.62",
        "wtalc": "42.61",
    }
    assert pmil["protocol"]["hash"] == get_protocol("thumos14/v1").hash
    (only,) = pmil["notes"]
    assert only["code"] == "summary"
    assert only["text"].startswith(
        "data: 213 test videos with 3358 instances; 20 classes; 31587 detections in 212 videos"
    )
    assert only["text"].endswith("; nothing to note")


def test_both_grids_are_printed_with_classes_and_errors(tmp_path, capsys):
    command = small(tmp_path, {"videos": {"v": [row()], "w": [row(10.0, 0.4)]}})
    assert main([*command, "--per-class", "--errors"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    # the second detection covers 10 of 16 seconds, 16 of 25 snippets
    assert lines["thumos_seconds_212"][1:] == ["*", *["100.00"] * 6, "50.00", "100.00", "90.00", "92.86", "2", "2", "0"]
    assert lines["thumos_snippet"][1:-3] == [*["100.00"] * 6, "50.00", "100.00", "90.00", "92.86"]
    assert out.count("\nDiving ") == 2
    assert "errors at tIoU 0.5" in out
    assert "XL, over 18 s" in out


def test_what_is_odd_is_noted_and_refused_when_strict(tmp_path, capsys):
    rows = [row(), row(), row(label="Divin")]
    command = small(tmp_path, {"videos": {"v": rows, "w": [row()], "x": [row()]}})
    assert main([*command, "--json", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr()
    for text in ("'Divin' (1)", "1 videos are not among those", "1 of 4 detections repeat", "is defined on 213"):
        assert text in printed.err
    assert json.loads((tmp_path / "out.json").read_text())["detections"]["unknown_labels"] == {"Divin": 1}
    assert main([*command, "--strict"]) == 2
    assert "class 'Divin' is not in the class list" in capsys.readouterr().err
    strangers = small(tmp_path, {"videos": {"v": [row()], "x": [row()]}})
    assert main([*strangers, "--strict"]) == 2
    assert "1 videos are not in subset 'test': x" in capsys.readouterr().err
    other_videos = small(tmp_path, {"videos": {"v": [row()]}})
    assert main([*other_videos, "--strict"]) == 2
    assert "is defined on 213 with 3358" in capsys.readouterr().err


def test_no_detection_scores_zero(tmp_path, capsys):
    assert main(small(tmp_path, {"videos": {}})) == 0
    printed = capsys.readouterr()
    assert "there is no detection at all" in printed.err
    assert "0.00" in printed.out


def test_reversed_segments_are_refused_unless_strictly_official(tmp_path, capsys):
    backwards = {"label": "Diving", "start": 9.0, "end": 3.0, "score": 0.9}
    command = small(tmp_path, {"videos": {"v": [row(), backwards], "w": []}})
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "video 'v', detection 1: start 9.0, end 3.0" in said
    assert "`wtal-bench evaluate --strict-official`" in said
    assert main([*command, "--strict-official"]) == 0
    out = capsys.readouterr().out
    assert "thumos_seconds_212" in out
    assert "thumos_snippet" not in out


@pytest.mark.parametrize("suffix", [".csv", ".vtt", ".eaf"])
def test_what_infer_writes_for_other_programs_is_not_read_and_what_is_read_is_said(tmp_path, capsys, suffix):
    command = small(tmp_path, {"videos": {}})
    path = tmp_path / f"found{suffix}"
    missing = main([command[0], str(path), *command[2:]])
    assert (missing, "not read" in capsys.readouterr().err) == (2, False)
    path.write_text("video,label,start,end,score\nv,Diving,0.000,16.000,0.5\n")
    for words in ([command[0], str(path), *command[2:]], ["compare", str(path), str(path)]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"{path}: {suffix} files of detections are written for other programs, and not read" in said
        assert "Read are .json, .json.gz (our layout or ActivityNet's) and .parquet" in said
    (tmp_path / "board" / "records").mkdir(parents=True)
    assert main(["leaderboard", "add", "--folder", str(tmp_path / "board"), str(path)]) == 2
    assert "and not read" in capsys.readouterr().err


def test_unknown_protocols_and_classes_are_explained(tmp_path, capsys):
    command = small(tmp_path, {"videos": {}})
    assert main([*command[:3], "thumos/v1", *command[4:]]) == 2
    assert "Did you mean 'thumos14/v1'" in capsys.readouterr().err
    truth = json.loads((tmp_path / "annotations.json").read_text())
    truth["classes"] = [*CLASSES[1:], CLASSES[0]]
    (tmp_path / "annotations.json").write_text(json.dumps(truth))
    assert main(command) == 2
    assert "the same names in another order" in capsys.readouterr().err


def test_the_tool_runs_without_torch(tmp_path):
    command = small(tmp_path, {"videos": {"v": [row()]}})
    probe = "import runpy, sys; sys.argv = sys.argv[1:]\n" \
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n" \
            "except SystemExit as end: assert not end.code, end.code\n" \
            "assert not {'torch', 'mmengine'} & set(sys.modules), 'heavy import'"  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    tool = REPOSITORY / "tools" / "evaluate.py"
    ended = subprocess.run([sys.executable, "-c", probe, str(tool), *command[1:]], env=environment, text=True,
                           capture_output=True, check=False)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "thumos_snippet" in ended.stdout
