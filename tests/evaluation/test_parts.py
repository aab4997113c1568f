"""Detections in Parquet and in folders of parts: what is written comes back, what is wrong is named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench.cli import main
from wtal_bench.errors import DataError
from wtal_bench.evaluation import DetectionParts, read_detections, write_detections
from wtal_bench.structures import Detections, SnippetPositions

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
CLASSES = ("Diving", "GolfSwing", "Été|x")


def found(seed: int, rows: int, grid: bool = False) -> Detections:
    random = np.random.default_rng(seed)
    start, score = random.uniform(0, 50, rows), random.standard_normal(rows)
    snippets = SnippetPositions(start * 1.5625, start * 1.5625 + 3, 1.5625) if grid else None
    return Detections(start, start + 3 / 1.5625, random.integers(0, 3, rows), score, snippets)


VIDEOS = {"b": found(1, 5), "a": found(2, 3, grid=True), "none": Detections.empty(), "ç": found(3, 1, grid=True)}


@pytest.mark.parametrize("videos", [VIDEOS, {"a": VIDEOS["b"]}, {"none": Detections.empty()}], ids=len)
def test_parquet_holds_every_bit_and_order_that_json_does(tmp_path, videos):
    for suffix in (".json.gz", ".parquet"):
        write_detections(tmp_path / f"d{suffix}", videos, CLASSES, "mine")
    ours, wanted = (read_detections(tmp_path / f"d{suffix}", CLASSES) for suffix in (".parquet", ".json.gz"))
    assert (list(ours.videos), ours.version, ours.count) == (list(wanted.videos), "mine", wanted.count)
    for name, rows in wanted.videos.items():
        assert rows.rows().tobytes() == ours.videos[name].rows().tobytes()
        assert (rows.snippets is None) == (ours.videos[name].snippets is None)
        if rows.snippets is not None:
            assert rows.snippets.start.tobytes() == ours.videos[name].snippets.start.tobytes()
            assert rows.snippets.rate == ours.videos[name].snippets.rate


def table(**columns) -> dict:
    return {
        "video": ["v", "v"],
        "label": ["Diving", "x"],
        "start": [0, 1.0],
        "end": [1, 2.0],
        "score": [1, 0.5],
        **columns,
    }


def test_a_table_of_pandas_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(table()).to_parquet(tmp_path / "d.parquet")
    file = read_detections(tmp_path / "d.parquet", CLASSES)
    assert (file.count, file.unknown_labels, list(file.videos)) == (1, {"x": 1}, ["v"])
    with pytest.raises(DataError, match="class 'x' is not in the class list"):
        read_detections(tmp_path / "d.parquet", CLASSES, strict=True)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"score": ["a", "b"]}, "column 'score' holds string, expected numbers"),
        ({"video": [1, 2]}, "column 'video' holds int64, expected text"),
        ({"label": ["Diving", None]}, "column 'label' has 1 empty cells"),
        ({"end": [1.0, None]}, "column 'end' has 1 empty cells"),
        ({"score": [1.0, float("nan")]}, "score is NaN"),
        ({"end": [-1.0, 2.0]}, "with start <= end"),
        ({"snippet_start": [0.0, 1.0]}, "go together"),
        ({"snippet_start": [0.0, 1.5], "snippet_end": [1.5, 3.0], "snippets_a_second": [1.5, 2.0]}, "one number > 0"),
    ],
)
def test_wrong_columns_are_named(tmp_path, columns, text):
    parquet.write_table(pyarrow.table(table(**columns)), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=text) as error:
        read_detections(tmp_path / "d.parquet", CLASSES)
    assert "d.parquet" in str(error.value)


def test_wrong_files_are_named(tmp_path, monkeypatch):
    path = tmp_path / "d.parquet"
    path.write_bytes(b"PAR1 and nothing more PAR1")
    with pytest.raises(DataError, match="is no Parquet file, or a damaged one"):
        read_detections(path, CLASSES)
    parquet.write_table(pyarrow.table({key: value for key, value in table().items() if key != "score"}), path)
    with pytest.raises(DataError, match="has no column 'score'"):
        read_detections(path, CLASSES)
    apart = table(video=["v", "w", "v"], label=["Diving"] * 3, start=[0.0] * 3, end=[1.0] * 3, score=[1.0] * 3)
    parquet.write_table(pyarrow.table(apart), path)
    with pytest.raises(DataError, match="rows of video 'v' do not lie together"):
        read_detections(path, CLASSES)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'wtal-bench\[parquet\]'"):
        read_detections(path, CLASSES)


def parts_of(tmp_path, suffixes=(".parquet", ".json.gz", ".json")):
    """P-MIL's detections on THUMOS14 in one file, and in a folder of parts of several kinds."""
    one = shared_file("detections/thumos14_pmil_base_test.json.gz")
    classes = tuple(json.loads(shared_file("data/thumos14.json").read_text())["classes"])
    videos = list(read_detections(one, classes).videos.items())
    step = -(-len(videos) // len(suffixes))
    for number, suffix in enumerate(suffixes):
        part = dict(videos[number * step : (number + 1) * step])
        write_detections(tmp_path / "parts" / f"part-{number:05d}{suffix}", part, classes, "pmil")
    return one, tmp_path / "parts", classes


def test_a_folder_of_parts_scores_as_one_file(tmp_path, capsys):
    one, parts, _ = parts_of(tmp_path)
    truth = ["--protocol", "thumos14/v1", "--annotations", str(shared_file("data/thumos14.json"))]
    reports, printed = [], []
    for path in (one, parts):
        assert main(["evaluate", str(path), *truth, "--per-class", "--strict", "--json", str(tmp_path / "r.json")]) == 0
        reports.append(json.loads((tmp_path / "r.json").read_text()))
        printed.append(capsys.readouterr().out.split("\n", 1)[1])
    assert reports[0]["metrics"] == reports[1]["metrics"]
    assert printed[0].replace("pmil", "") == printed[1].replace("pmil", "")
    for key in ("count", "videos", "repeated_rows"):
        assert reports[0]["detections"][key] == reports[1]["detections"][key]
    assert main(["evaluate", str(parts), *truth, "--errors"]) == 2
    assert "look at all detections at once" in capsys.readouterr().err


def test_wrong_folders_are_named(tmp_path):
    _, parts, classes = parts_of(tmp_path)
    (parts / "notes.txt").write_text("not a part")
    folder = DetectionParts.open(parts, classes)
    assert len(list(folder.tables())) == 3
    shutil.copy(parts / "part-00001.json.gz", parts / "part-00003.json.gz")
    with pytest.raises(DataError, match="its parts changed while they were read"):
        list(folder.tables())
    shutil.copy(parts / "part-00000.parquet", parts / "part-00002.parquet")
    with pytest.raises(DataError, match="part-00002 is there in two formats"):
        DetectionParts.open(parts, classes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no part of detections"):
        DetectionParts.open(tmp_path / "empty", classes)


def test_a_folder_whose_parts_are_not_all_there_yet_is_not_scored(tmp_path):
    _, parts, classes = parts_of(tmp_path)
    (parts / "parts.json").write_text('{"parts": 4, "key": "k"}')
    with pytest.raises(DataError, match=r"3 of 4 parts are there\. Run the same"):
        DetectionParts.open(parts, classes)
    (parts / "parts.json").write_text('{"parts": "4"}')
    with pytest.raises(DataError, match="must hold 'parts', how many"):
        DetectionParts.open(parts, classes)
