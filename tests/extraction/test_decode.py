"""Frames lie where their timestamps say, at any rate; a broken video is a sentence that names the file."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from tests.extraction.videos import av, greys, level, turn, write_audio, write_video
from tests.helpers import SHARED
from wtal_bench.errors import DataError
from wtal_bench.extraction.decode import FrameReader, find_videos, probe
from wtal_bench.extraction.snippets import SnippetGrid, read_snippets

VIDEOS = sorted((SHARED / "data" / "videos").glob("*.mp4"))


def levels(path, fps, **options):
    reader = FrameReader(path, fps, 48, **options)
    return [None if pixels is None else level(pixels) for _, pixels in reader], reader.decoded


def test_at_its_own_rate_every_frame_comes_once(tmp_path):
    found, decoded = levels(write_video(tmp_path / "a.mp4", greys(28)), 25)
    assert found == list(range(28))
    assert (decoded.frames, decoded.pictures, decoded.seconds) == (28, 28, pytest.approx(28 / 25))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_half_and_double_rate_drop_and_repeat(tmp_path, suffix):
    path = write_video(tmp_path / f"a.{suffix}", greys(20), rate=10)
    assert levels(path, 5)[0] == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]  # shown at the middle of their 0.2 s
    assert levels(path, 20)[0] == [k // 2 for k in range(40)]


def test_a_variable_rate_follows_the_timestamps(tmp_path):
    times = [0.0, 0.1, 0.2, 1.2, 1.3, 2.3]
    found, decoded = levels(write_video(tmp_path / "a.mkv", greys(6), times=times), 10)
    shown = [max(at for at, time in enumerate(times) if time <= (k + 0.5) / 10 + 1e-9) for k in range(len(found))]
    assert found == shown
    assert decoded.seconds == pytest.approx(2.3, abs=0.11)


def test_frames_nobody_wants_are_not_converted(tmp_path):
    found, _ = levels(write_video(tmp_path / "a.mp4", greys(12)), 25, wanted=lambda k: k % 4 == 1)
    assert found == [k if k % 4 == 1 else None for k in range(12)]


def test_a_turned_video_stands_upright(tmp_path):
    upright = [np.zeros((64, 64, 3), np.uint8) for _ in range(3)]
    for picture in upright:
        picture[:32] = 200  # bright above
    path = write_video(tmp_path / "a.mp4", [np.ascontiguousarray(np.rot90(picture)) for picture in upright])
    turn(path)
    _, pixels = next(iter(FrameReader(path, 25, 64)))
    assert pixels[:28].mean() > 180
    assert pixels[36:].mean() < 20


def test_wide_and_tall_videos_are_cut_in_the_middle(tmp_path):
    wide = np.zeros((48, 192, 3), np.uint8)
    wide[:, 72:120] = 255
    for name, picture in (("wide", wide), ("tall", np.ascontiguousarray(wide.transpose(1, 0, 2)))):
        _, pixels = next(iter(FrameReader(write_video(tmp_path / f"{name}.mp4", [picture] * 2), 25, 48)))
        assert pixels.shape == (48, 48, 3)
        assert pixels[8:-8, 8:-8].mean() > 240


@pytest.mark.parametrize(
    ("stride", "offsets"), [(4, (0,)), (4, (2,)), (4, (0, 1, 2, 3)), (4, (0, 7)), (1, (0,)), (50, (25,))]
)
@pytest.mark.parametrize("frames", [1, 5, 6, 22, 24])
def test_a_snippet_holds_the_frames_of_its_time(tmp_path, stride, offsets, frames):
    path = write_video(tmp_path / "a.mp4", greys(frames))
    grid = SnippetGrid(25, stride, offsets)
    found = [[level(p) for p in s] for s in read_snippets(FrameReader(path, 25, 48, wanted=grid.wants), grid)]
    count = max(1, int(frames / stride + 0.5))
    assert found == [[min(i * stride + o, frames - 1) for o in offsets] for i in range(count)]


@pytest.mark.skipif(not VIDEOS, reason="the real videos are not beside this checkout")
@pytest.mark.parametrize("path", VIDEOS, ids=lambda path: path.stem)
def test_real_videos_decode_as_opencv_decodes_them(path):
    cv2 = pytest.importorskip("cv2")
    video = probe(path)
    capture, times, means = cv2.VideoCapture(str(path)), [], []
    while (read := capture.read())[0]:
        height, width = read[1].shape[:2]
        left = (width - height) // 2
        means.append(read[1][:, left : left + height, ::-1].mean(axis=(0, 1)))
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    pixels = [p.mean(axis=(0, 1)) for _, p in FrameReader(path, video.rate, height)]
    assert len(pixels) == len(means)
    assert np.abs(np.array(pixels) - means).max() < 0.1
    half = FrameReader(path, video.rate / 2, height)
    shown = [p.mean(axis=(0, 1)) for _, p in half]
    expected = [means[np.searchsorted(times, (k + 0.5) / half.fps + 1e-6, side="right") - 1] for k in range(len(shown))]
    assert np.abs(np.array(shown) - expected).max() < 0.1


def test_broken_videos_are_sentences_that_name_the_file(tmp_path):
    whole = write_video(tmp_path / "whole.mkv", greys(300))
    cases = {
        "text.mp4": lambda path: path.write_text("no video at all\n" * 50),
        "empty.mp4": lambda path: path.write_bytes(b""),
        "audio.mp4": write_audio,
        "no_index.mp4": lambda path: path.write_bytes(write_video(path, greys(50)).read_bytes()[:-400]),
        "cut.mkv": lambda path: path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2]),
    }
    for name, make in cases.items():
        make(tmp_path / name)
        with pytest.raises(DataError, match=re.escape(name)):
            list(FrameReader(tmp_path / name, 25, 48))
    with pytest.raises(DataError, match="only audio"):
        probe(tmp_path / "audio.mp4")
    with pytest.raises(DataError, match="cut off"):
        list(FrameReader(tmp_path / "cut.mkv", 25, 48))
    with pytest.raises(DataError, match="no plain file"):
        probe(tmp_path)


def test_a_few_damaged_packets_are_passed_over_and_counted(tmp_path):
    path = write_video(tmp_path / "a.avi", greys(200), codec="png")
    content = bytearray(path.read_bytes())
    at = content.index(b"IHDR", len(content) // 2)
    content[at : at + 20] = bytes(20)
    path.write_bytes(content)
    reader = FrameReader(path, 25, 48)
    assert len(list(reader)) == pytest.approx(200, abs=2)
    assert reader.decoded.damaged == 1


def test_videos_are_found_below_a_folder_and_names_are_ids(tmp_path):
    (tmp_path / "deep").mkdir()
    first, second = tmp_path / "b.MP4", tmp_path / "deep" / "a.mkv"
    write_video(tmp_path / "b.mp4", greys(2)).rename(first)
    write_video(second, greys(2))
    (tmp_path / "notes.txt").write_text("no video")
    assert find_videos([tmp_path]) == [first, second]
    assert find_videos([second, tmp_path]) == [second, first]
    shutil.copy(first, tmp_path / "deep" / "b.mp4")
    with pytest.raises(DataError, match="the same name"):
        find_videos([tmp_path])
    with pytest.raises(DataError, match="holds no video"):
        find_videos([_made(tmp_path / "nothing")])
    with pytest.raises(DataError, match="there is no such video"):
        find_videos([tmp_path / "absent.mp4"])


def _made(folder):
    folder.mkdir()
    return folder


def test_without_pyav_the_pip_line_is_named(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", greys(2))
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(DataError, match=r"pip install 'wtal-bench\[video\]'"):
        probe(path)
    assert av is not None
