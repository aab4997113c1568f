"""CSV tables of tags or instances become annotation files."""

from __future__ import annotations

import argparse
import math

import pytest

from wtal_bench.cli import main
from wtal_bench.commands import import_annotations
from wtal_bench.data.annotations import Annotations
from wtal_bench.data.importers.dialect import seconds
from wtal_bench.data.importers.table import read_table
from wtal_bench.errors import DataError

TAGS = "video,label,duration\nb,Jump,10\nb,Throw,10\nb,Jump,10\na,,5.5\n"
INSTANCES = (
    "\ufeffvideo, label ,start,end,duration,subset,fps,frames,who\n"
    "b,Throw,1,2.5,10,train,25,250,me\nb,Jump,3,4,10,train,25,250,me\na,,,,5.5,test,,,me\n"
)


def table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_tags_alone_are_enough(tmp_path):
    value = read_table(table(tmp_path, TAGS), version="mine", subset="train")
    read = Annotations.from_dict(value)
    assert read.classes == ("Jump", "Throw")
    assert [read.tags(video) for video in ("b", "a")] == [(0, 1), ()]
    assert read.videos["b"].segments == ()
    assert read.subset("train") == ["b", "a"]


def test_instances_keep_their_times(tmp_path):
    read = Annotations.from_dict(read_table(table(tmp_path, INSTANCES), version="mine"))
    video = read.videos["b"]
    assert [(s.label, s.start, s.end) for s in video.segments] == [(1, 1.0, 2.5), (0, 3.0, 4.0)]
    assert (video.fps, video.frames, video.subset) == (25.0, 250, "train")
    assert (read.videos["a"].subset, read.videos["a"].fps) == ("test", None)


def test_classes_can_be_given_in_order(tmp_path):
    value = read_table(table(tmp_path, TAGS), version="mine", subset="train", classes=["Throw", "Run", "Jump"])
    assert Annotations.from_dict(value).tags("b") == (0, 2)
    with pytest.raises(DataError, match="label 'Throw' is not in the class list"):
        read_table(table(tmp_path, TAGS), version="mine", subset="train", classes=["Jump"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("video,label\nb,Jump\n", "the column 'duration' is missing"),
        ("video,lable,duration\nb,Jump,1\n", "unknown column 'lable'. Did you mean 'label'"),
        ("video,label,duration,start\nb,Jump,1,0\n", "only one of the columns 'start' and 'end'"),
        ("video,label,duration,label\nb,Jump,1,x\n", "named twice"),
        ("video,label,duration\nb,Jump,ten\n", r"line 2: `duration` must be a number .* got 'ten'"),
        ("video,label,duration\nb,Jump,nan\n", "`duration` must be a number"),
        ("video,label,duration\nb,Jump,1\nb,Throw,2\n", r"line 3: video 'b' has duration 2.0 here and 1.0"),
        ("video,label,duration\nb,Jump\n", "line 2: has another number of cells"),
        ("video,label,duration\nb,Jump,1,2\n", "line 2: has another number of cells"),
        ("video,label,duration\n,Jump,1\n", "line 2: `video` is empty"),
        ("video,label,duration\nb,Jump,0\n", "`duration` is 0.0, but must be above 0"),
        ("video,label,duration,start,end\nb,Jump,9,2,1\n", "is reversed"),
        ("video,label,duration,start,end\nb,Jump,9,1,\n", "line 2: has only one of `start` and `end`"),
        ("video,label,duration,start,end\nb,Jump,9,1,x\n", "line 2: `end` must be a number"),
        ("video,label,duration,start,end\nb,Jump,9,1,2\nb,Run,9,,\n", "line 3: video 'b' has rows with times and rows"),
        (
            "video,label,duration\nb,Jump|Run,9\n",
            r"line 2: `label` is 'Jump\|Run', .* write a row each: Jump, Run",
        ),
        ("video,label,duration\nb,Jump,1:75\n", "`duration` must be a number"),
        ("video,label,duration,frames\nb,Jump,9,2.5\n", "`frames` must be a whole number"),
        ("video,label,duration\n", "holds no row"),
        ("", "the column 'video' is missing"),
    ],
)
def test_wrong_tables_are_explained(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_table(table(tmp_path, text), version="mine", subset="train")


def test_a_table_without_subsets_needs_one(tmp_path):
    with pytest.raises(DataError, match="line 2: no subset"):
        read_table(table(tmp_path, TAGS), version="mine")


def test_a_table_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"video\xff\xfe\x00")
    with pytest.raises(DataError, match="is no text"):
        read_table(tmp_path / "t.csv", version="mine")
    with pytest.raises(DataError, match="there is no such file"):
        read_table(tmp_path / "none.csv", version="mine")


def test_the_command_writes_the_file_and_lists_oddities(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    import_annotations.configure(parser)
    (tmp_path / "classes.txt").write_text("Throw\nJump\nRun\n")
    arguments = [str(table(tmp_path, TAGS)), str(tmp_path / "out.json"), "--version", "mine", "--subset", "train",
                 "--classes", str(tmp_path / "classes.txt")]  # fmt: skip
    assert import_annotations.run(parser.parse_args(arguments)) == 0
    printed = capsys.readouterr().out
    assert "2 videos, 3 classes, 0 instances" in printed
    assert "no tags: 1" in printed
    assert "class without a video: 1" in printed
    assert Annotations.load(tmp_path / "out.json").classes == ("Throw", "Jump", "Run")
    with pytest.raises(DataError, match="already there"):
        import_annotations.run(parser.parse_args(arguments))
    assert import_annotations.run(parser.parse_args([*arguments, "--overwrite"])) == 0


def test_tables_of_other_programs_are_understood_and_it_is_said(tmp_path):
    path = tmp_path / "german.csv"
    rows = ["clips/a b.MP4;Plié;0:01,5;1:02,25;2:00;test", "c.mkv;Plié;;;7,5;train", ""]
    text = "\n".join(["filename;class;start time;End (s);Length;split", *rows])
    path.write_bytes(text.encode("latin-1"))
    notes: list[str] = []
    read = Annotations.from_dict(read_table(path, version="mine", notes=notes))
    (segment,) = read.videos["a b"].segments
    assert (segment.start, segment.end, read.videos["a b"].duration) == (1.5, 62.25, 120.0)
    assert read.classes == ("Plié",)
    assert (read.videos["c"].duration, read.videos["c"].subset, read.tags("c")) == (7.5, "train", (0,))
    assert not read.videos["c"].segments
    said = "; ".join(notes)
    for part in (
        "read as Latin-1 (é)",
        "'filename' is taken for `video`",
        "separated by ';'",
        "'End (s)' is taken for `end`",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.5", 1.5),
        ("1,5", 1.5),
        ("0:30", 30),
        ("1:02:03.5", 3723.5),
        ("90s", 90),
        ("0:75", None),
        ("1,000,5", None),
        ("", None),
    ],
)
def test_times_are_numbers_or_clocks(cell, value):
    assert seconds(cell) == value if value is not None else math.isnan(seconds(cell))


def thumos_folder(tmp_path):
    folder = tmp_path / "annotation"
    folder.mkdir()
    (folder / "Diving_val.txt").write_text("video_validation_0000001  1.5 3.0\nvideo_validation_0000001  0.5 1.0\n\n")
    (folder / "Golf_test.txt").write_text("video_test_0000004 2 4\n")
    (folder / "Ambiguous_test.txt").write_text("video_test_0000004 7.0 8.0\n")
    (folder / "readme.txt").write_text("no list")
    return folder


def test_the_folder_of_thumos_is_read_with_durations_from_a_table(tmp_path, capsys):
    (tmp_path / "long.csv").write_text("video,duration,fps\nvideo_validation_0000001,10,30\nvideo_test_0000004,20,30\n")
    folder, out = thumos_folder(tmp_path), tmp_path / "out.json"
    arguments = ["import-annotations", str(folder), str(out), "--version", "t"]
    assert main(arguments) == 2
    assert "nothing says how long video 'video_test_0000004' is" in capsys.readouterr().err
    assert main([*arguments, "--durations", str(tmp_path / "long.csv")]) == 0
    read = Annotations.load(out)
    assert read.classes == ("Diving", "Golf")
    first, second = read.videos["video_validation_0000001"], read.videos["video_test_0000004"]
    assert [(s.label, s.start, s.end) for s in first.segments] == [(0, 0.5, 1.0), (0, 1.5, 3.0)]
    assert (first.subset, second.subset, second.ambiguous, second.fps) == ("train", "test", ((7.0, 8.0),), 30.0)
    (folder / "Golf_test.txt").write_text("video_test_0000004 2\n")
    assert main([*arguments, "--durations", str(tmp_path / "long.csv"), "--overwrite"]) == 2
    assert "Golf_test.txt, line 1: is 'video_test_0000004 2'" in capsys.readouterr().err


def test_durations_a_table_lacks_come_from_where_they_are_known(tmp_path):
    table = tmp_path / "tags.csv"
    table.write_text("filename;label;subset;start;end\na.mp4;Jump;train;;\nb.mp4;Jump;test;1,5;2\n")
    known = {"a": {"duration": 12.5, "fps": 25.0}, "b": {"duration": 8.0}}
    value = read_table(table, version="v", durations=known)
    assert value["videos"]["a"] == {"subset": "train", "duration": 12.5, "fps": 25.0, "labels": ["Jump"]}
    assert value["videos"]["b"]["segments"] == [{"label": "Jump", "start": 1.5, "end": 2.0}]
    with pytest.raises(DataError, match=r"'duration' is missing.*A feature store knows durations: --durations STORE"):
        read_table(table, version="v")
    with pytest.raises(DataError, match=r"line 3: no duration is known of video 'b'.*Extract or import its features"):
        read_table(table, version="v", durations={"a": known["a"]})
    table.write_text("video,label,duration,subset\na,Jump,10,train\n")  # what the table says goes before
    assert read_table(table, version="v", durations=known)["videos"]["a"]["duration"] == 10


def names_told(text, tmp_path):
    (tmp_path / "t.csv").write_text("video,label,duration,subset\n" + text)
    found = Annotations.from_dict(read_table(tmp_path / "t.csv", version="v"), "t")
    return [oddity.text for oddity in found.lookalikes()]


def test_a_class_a_letter_off_and_subsets_that_recipes_do_not_know_are_told(tmp_path):
    text = "a,Stripes,40,train\nb,Stripes,40,train\nc,Stripe,40,trian\nd,Red,40,Train\ne,Rad,40,val\n"
    told = names_told(text, tmp_path)
    assert told == [
        "the class 'Stripe' (1 video) is a letter off 'Stripes' (2 videos); if one is meant, write it in one way",
        "the subset 'Train' (1 video) is nearly 'train'; if that is meant, write it so",
        "the subset 'trian' (1 video) is nearly 'train'; if that is meant, write it so",
    ]
    many = "".join(f"{name}{at},{name},40,train\n" for name in ("Curling", "Hurling") for at in range(3))
    assert names_told(many, tmp_path) == [], "two classes, each of several videos"
    assert names_told("a,class one,40,train\nb,class two,40,test\n", tmp_path) == []


def test_several_labels_in_one_cell_are_refused_unless_they_are_a_class(tmp_path):
    for cell in ("Red;Stripes", "Red/Blue", '"Red, Blue"'):
        with pytest.raises(DataError, match=r"line 4: `label` is .*several in one cell; write a row each: Red, "):
            names_told(f"a,Red,40,train\nb,Blue,40,train\nc,{cell},40,train\n", tmp_path)
    assert names_told("a,Clean and jerk/Snatch,40,train\n", tmp_path) == []
    table, classes = tmp_path / "t.csv", ["Red", "Blue", "Red/Blue"]
    table.write_text("video,label,duration,subset\nc,Red/Blue,40,train\n")
    value = read_table(table, version="v", classes=classes)
    (oddity,) = [odd for odd in Annotations.from_dict(value, "t").lookalikes() if odd.kind == "classes in one"]
    assert oddity.text.startswith("the class 'Red/Blue' is several in one")
