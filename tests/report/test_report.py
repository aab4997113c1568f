"""The page about runs: scored again from the detections, self-contained, and it says what cannot be shown."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.running.conftest import dataset, draw_nothing, make_dataset, tiny_config
from wtal_bench.cli import main
from wtal_bench.evaluation import DetectionTable, GroundTruth, evaluate
from wtal_bench.report.content import _diagnosis, gather, video_precision
from wtal_bench.report.page import to_html

pytest.importorskip("plotly", reason="needs the extra 'report'")
__all__ = ["dataset"]
BROWSER = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory) -> list[Path]:
    """Two finished runs of one config with two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "my.json").write_text(json.dumps(tiny_config(dataset)))
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        for seed in ("0", "1"):
            assert main(["train", str(folder / "my.json"), "--seed", seed, "--work-dir", str(folder / f"s{seed}")]) == 0
    return [folder / "s0", folder / "s1"]


def page_of(path: Path) -> tuple[str, dict]:
    text = path.read_text()
    return text, json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))


def test_a_report_shows_what_the_record_holds(runs, capsys):
    assert main(["report", str(runs[0])]) == 0
    text, data = page_of(runs[0] / "report.html")
    (run,) = data["runs"]
    record = json.loads(next((runs[0] / "record").glob("*.json")).read_text())
    held = record["metrics"]["variants"][run["main"]]
    assert run["scores"][run["main"]]["mAP"] == pytest.approx(held["mAP"], abs=1e-5)
    assert {row["name"]: row["ap"] for row in run["classes"]} == {
        name: pytest.approx(ap, abs=1e-5) for name, ap in held["ap"].items()
    }
    lines = [json.loads(line) for line in next(runs[0].glob("*/vis_data/scalars.json")).read_text().splitlines()]
    names = set(lines[0]) - {"lr", "data_time", "time", "epoch", "iter", "step"}
    assert set(run["curves"]["series"]) == names, "every loss term has its curve"
    last = [line["loss"] for line in lines if line["epoch"] == lines[-1]["epoch"]]
    assert run["curves"]["series"]["loss"][-1] == pytest.approx(np.mean(last))
    assert len(run["videos"]) == 12
    assert [video["score"] for video in run["videos"]] == sorted(video["score"] for video in run["videos"])
    assert "http://" not in text.split("<script", 1)[0], "nothing is fetched"


def test_a_report_says_what_the_parts_of_the_run_are_worth_and_of_an_old_record_as_much_as_it_holds(runs, capsys):
    assert main(["report", str(runs[0])]) == 0
    text, data = page_of(runs[0] / "report.html")
    record = json.loads(next((runs[0] / "record").glob("*.json")).read_text())
    said, shown = record["diagnosis"], data["runs"][0]["diagnosis"]
    assert (list(said["curves"]), list(shown["parts"])[-1:]) == (["curve"], ["curve"])
    assert shown["parts"]["curve"]["auc"] == pytest.approx(said["curves"]["curve"]["auc"], abs=1e-5)
    assert shown["oracles"] == {name: pytest.approx(value, abs=1e-5) for name, value in said["oracles"].items()}
    assert "true tags, own decoder" in text
    old = {key: value for key, value in said.items() if key not in ("curves", "action")}
    assert _diagnosis({"diagnosis": old})["parts"]["curve"]["auc"] == said["curve"]["auc"]
    named = {"diagnosis": {"curves": {"rgb": {"auc": 0.7}, "flow": {"auc": None}}}}
    assert _diagnosis(named)["parts"] == {
        "curve rgb": dict.fromkeys(("missed", "open", "closed", "flat")) | {"auc": 0.7}
    }
    assert _diagnosis({}) is None
    assert _diagnosis({"diagnosis": {"foreground": 3, "oracles": {"a": "b"}, "causes": 7}})["oracles"] == {"a": None}


def test_several_runs_stand_beside_each_other(runs, tmp_path, capsys):
    out = tmp_path / "both.html"
    assert main(["report", *map(str, runs), "--out", str(out)]) == 0
    text, data = page_of(out)
    assert [run["label"] for run in data["runs"]] == ["ECM seed 0", "ECM seed 1"]
    assert "mean ± std of 2" in text
    differs = re.search(r'id="differences".*?</section>', text, re.DOTALL).group(0)
    assert re.findall(r"<tr><th>([\w.]+)</th>", differs.split("<tbody>")[1]) == ["seed"]


def test_a_video_stands_alone_in_its_average_precision():
    truth = GroundTruth.from_rows({"a": [("x", 0.0, 10.0), ("y", 20.0, 30.0)], "b": [("x", 0.0, 10.0)]})
    found = {
        "a": [("x", 0.0, 10.0, 0.9), ("x", 50.0, 60.0, 0.8), ("y", 20.0, 30.0, 0.7)],  # hit, miss, hit: (1 + 2/3) / 2
        "b": [("y", 0.0, 10.0, 0.99)],
    }
    result = evaluate(DetectionTable.from_rows(found, ("x", "y")), truth, (0.5,))
    assert video_precision(result, 0.5) == {"a": pytest.approx((1 + 2 / 3) / 2), "b": 0.0}


def test_videos_are_played_beside_their_time_line(runs, tmp_path, capsys):
    films = tmp_path / "my films"
    films.mkdir()
    (films / "test_003.mp4").write_bytes(b"film")
    assert main(["report", str(runs[0]), "--out", str(tmp_path / "r.html"), "--videos", str(films)]) == 0
    text, data = page_of(tmp_path / "r.html")
    assert data["films"] == {"test_003": "my%20films/test_003.mp4"}
    assert "Press a bar to start the video" in text
    assert main(["report", str(runs[0]), "--out", str(tmp_path / "r.html")]) == 0
    assert "Press a bar to start the video" not in page_of(tmp_path / "r.html")[0]


def test_text_of_a_run_never_becomes_markup(runs, tmp_path, capsys):
    odd = tmp_path / "run"
    shutil.copytree(runs[0], odd)
    lines = next(odd.glob("*/vis_data/scalars.json"))
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    evil = "</script><script>alert(1)</script>"
    lines.write_text("\n".join(json.dumps({**row, evil: 1.0}) for row in rows) + '\n{"broken": ')
    assert main(["report", str(odd)]) == 0
    text, data = page_of(odd / "report.html")
    assert evil not in text
    assert evil in data["runs"][0]["curves"]["series"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda runs, tmp: [str(tmp / "nothing")], "there is no such run"),
        (lambda runs, tmp: [str(tmp)], "holds no record of a finished run"),
        (lambda runs, tmp: [str(runs[0].parent)], "It holds runs: s0, s1"),
        (lambda runs, tmp: [str(runs[0]), "--out", str(tmp / "page.txt")], "ends in .html"),
        (lambda runs, tmp: [str(runs[0]), "--videos", str(tmp)], "holds none of the videos"),
        (lambda runs, tmp: [str(runs[0]), "--annotations", str(tmp / "no.json")], "there is no annotation file"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(runs, tmp_path, capsys, make, said):
    assert main(["report", *make(runs, tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_other_annotations_than_the_run_was_scored_on_are_refused(runs, tmp_path, dataset, capsys):
    value = json.loads((dataset / "annotations.json").read_text())
    next(iter(value["videos"].values()))["duration"] += 1
    (tmp_path / "other.json").write_text(json.dumps(value))
    assert main(["report", str(runs[0]), "--annotations", str(tmp_path / "other.json")]) == 2
    assert "was scored on annotations with the hash" in capsys.readouterr().err


def test_a_record_alone_has_no_curves(runs, tmp_path, capsys):
    assert gather(next((runs[0] / "record").glob("*.json")))["curves"] is None


def browse(page: Path) -> str:
    """The page as a browser has it after its scripts ran."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"]
    command += ["--virtual-time-budget=8000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if not done.stdout:
        pytest.skip(f"Chromium does not start here: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_draws_in_a_browser(runs, tmp_path, capsys):
    out = tmp_path / "both.html"
    assert main(["report", *map(str, runs), "--out", str(out)]) == 0
    drawn = browse(out)
    assert drawn.count('class="main-svg"') >= 2 * 10, "scores, five losses, classes, tags, errors, a time line"
    assert re.search(r">ECM seed 1</text>", drawn)


HOVER = """<script>
  const at = (section) => document.querySelector(`#${section} .js-plotly-plot`);
  const first = at("classes").data[0].x.findIndex((name) => name.includes("href"));
  Plotly.Fx.hover(at("classes"), [{ curveNumber: 0, pointNumber: first }]);
  Plotly.Fx.hover(at("confusion"), { xval: 0, yval: 0 });
  Plotly.Fx.hover(at("videos"), [{ curveNumber: 1, pointNumber: 0 }]);
</script>"""
"""Points at a bar, a cell and a detection, as a mouse would."""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_long_class_names_are_cut_on_axes_and_whole_where_one_points(runs, tmp_path, capsys):
    run = json.loads(json.dumps(gather(runs[0])))
    long = [f"a class with a name that goes on and on {at}" for at in range(2)]
    text = json.dumps(run)
    for before, after in zip([one["name"] for one in run["classes"]], long):
        text = text.replace(json.dumps(before), json.dumps(after))
    page = tmp_path / "long.html"
    written = to_html([json.loads(text)])
    hover = HOVER.replace('name.includes("href")', 'name.startsWith("a class")')
    page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", written).replace("</body>", f"{hover}</body>"))
    figures = browse(page).split('<section id="classes">')[1].split('<section id="confusion">')[0]
    assert len(re.findall(r">a class with a name tha…\u200b?</text>", figures)) == 2
    assert f"{long[0]}: " in figures or f"{long[1]}: " in figures


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_names_that_plotly_takes_for_markup_are_shown_as_text(runs, tmp_path, capsys):
    """In tick labels, titles, legends and hover texts alike."""
    run = json.loads(json.dumps(gather(runs[0])))
    link, bold = '<a href="//e.org">x</a>', "<b>bold</b> &lt; x"
    old = run["names"][:2]
    text = json.dumps(run)
    for before, after in zip(old, (link, bold)):
        text = text.replace(json.dumps(before), json.dumps(after))
    run = json.loads(text)
    run["label"], run["videos"][-1]["id"] = f"{bold} run", f"{link} video"
    run["curves"]["series"] = {f"{bold} loss": run["curves"]["series"]["loss"]}
    page = tmp_path / "odd.html"
    written = to_html([run, {**run, "label": link}])
    page.write_text(re.sub(r"<meta http-equiv[^>]*>", "", written).replace("</body>", f"{HOVER}</body>"))
    figures = browse(page).split('<section id="scores">')[1].split('<script type="application/json"')[0]
    assert "<a " not in figures
    assert "font-weight: bold" not in re.sub(r'<text class="nums".*?</text>', "", figures)
    shown = [html.unescape(found) for found in re.findall(r"<t(?:ext|span)[^>]*>([^<]+)</t", figures)]
    assert {link, bold} <= set(shown), "tick labels"
    assert {f"{bold} loss", link} <= set(shown), "titles, legend"
    assert any(text.startswith(f"{link} video: AP") for text in shown)
    hovers = [
        html.unescape(re.sub("<[^>]*>", "", found)) for found in re.findall(r'<text class="nums".*?</text>', figures)
    ]
    assert [link in text or bold in text for text in hovers] == [True] * 3, hovers


@pytest.fixture(scope="module")
def tagged(tmp_path_factory) -> Path:
    """A finished run on one's own data with tags alone: its result is no record, for nothing was scored."""
    folder = tmp_path_factory.mktemp("tagged")
    data = make_dataset(folder / "data", videos=6)
    value = json.loads((data / "annotations.json").read_text())
    for video in value["videos"].values():
        video["labels"] = [segment["label"] for segment in video.pop("segments")]
    (data / "annotations.json").write_text(json.dumps(value))
    config = tiny_config(data)
    config["data"]["protocol"] = "own"
    (folder / "my.json").write_text(json.dumps(config))
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        assert main(["train", str(folder / "my.json"), "--work-dir", str(folder / "run")]) == 0
    assert (folder / "run" / "record" / "result.json").is_file()
    return folder / "run"


def test_a_run_on_tags_alone_has_a_page_without_scores(tagged, capsys):
    assert main(["report", str(tagged)]) == 0
    text, data = page_of(tagged / "report.html")
    (run,) = data["runs"]
    assert (run["scores"], run["classes"], run["errors"]) == ({}, [], None)
    assert "none: the test videos have no times" in text
    assert "ress a bar" not in text, "no video file was given"
    assert re.findall(r'<section id="(\w+)"', text) == ["curves", "confusion", "videos"]
    assert run["curves"]["series"]["loss"]
    assert len(run["videos"]) == 6
    assert any(video["found"] for video in run["videos"])
    assert {video["score"] for video in run["videos"]} == {None}
    assert run["confusion"]["videos"], "tags are known"


def test_who_wants_numbers_of_a_run_on_tags_alone_is_told_why_there_are_none(tagged, tmp_path, capsys):
    (tmp_path / "board" / "records").mkdir(parents=True)
    result = str(tagged / "record" / "result.json")
    for folder in (["--folder", str(tmp_path / "board")], []):
        assert main(["leaderboard", "add", *folder, result]) == 2
        said = capsys.readouterr().err
        assert "nothing to score, for its test videos have no times" in said
        assert "schema" not in said
    assert main(["compare", str(tagged), str(tagged)]) == 2
    assert "nothing to score, for its test videos have no times" in capsys.readouterr().err


def test_a_damaged_result_of_tags_alone_is_refused_in_words(tagged, tmp_path, capsys):
    shutil.copytree(tagged, tmp_path / "run")
    path = tmp_path / "run" / "record" / "result.json"
    value = json.loads(path.read_text())
    for broken, said in (({"distributions": [1]}, "distributions[0] is 1"), ({"seed": "x"}, "seed is 'x'")):
        path.write_text(json.dumps(value | broken))
        assert main(["report", str(tmp_path / "run")]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_of_a_run_on_tags_alone_draws_in_a_browser(tagged, tmp_path, capsys):
    assert main(["report", str(tagged), "--out", str(tmp_path / "page.html")]) == 0
    drawn = browse(tmp_path / "page.html").count('class="main-svg"')
    assert drawn >= 2 * 6, "four losses, tags, a time line"
