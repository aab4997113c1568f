"""Layouts of feature files come through the plugin door: a stranger's is used like ours."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_bench.cli import main
from wtal_bench.data.store import FeatureStore
from wtal_bench.interfaces import ComponentInfo, FeatureSource, Layout, RawVideo
from wtal_bench.plugins import registry, snapshot


class TextFiles(Layout):
    """One text file of numbers a video.

    Args:
        scale: multiplies every number.
    """

    def __init__(self, scale: str = "1") -> None:
        self.scale = float(scale)

    def __call__(self, sources) -> FeatureSource:
        from pathlib import Path

        files = sorted(Path(sources[0]).glob("*.txt"))

        def read(at: int) -> RawVideo:
            array = np.loadtxt(files[at], ndmin=2, dtype=np.float32) * self.scale
            return RawVideo(files[at].stem, (array,), str(files[at]))

        return FeatureSource(tuple(path.stem for path in files), ("features",), read)


@pytest.fixture
def text_layout():
    with snapshot():
        target = f"{__name__}:TextFiles"
        registry("layout").add(ComponentInfo("layout", "mine.text", target, plugin="mine"))
        yield


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    np.savetxt(folder / "a.txt", np.arange(6.0).reshape(3, 2))
    return folder


def imported(folder, out, *options: str) -> int:
    settings = ["--out", str(out), "--extractor", "mine", "--fps", "25", "--stride", "16"]
    return main(["import-features", str(folder), *settings, *options])


def test_a_plugins_layout_is_imported_with_its_options(text_layout, sources, tmp_path):
    assert imported(sources, tmp_path / "s", "--format", "mine.text", "--format-options", "scale=2") == 0
    np.testing.assert_array_equal(FeatureStore.open(tmp_path / "s").video("a"), [[0, 2], [4, 6], [8, 10]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--format", "mine.txt"], "no such layout. Did you mean 'mine.text'? Layouts: auto, mine.text, wtalc."),
        (["--format", "mine.text", "--format-options", "scal=2"], "no argument 'scal'. Did you mean 'scale'?"),
        (["--format", "mine.text", "--format-options", "scale"], "must look like key=value, got 'scale'"),
        (["--format", "mine.text", "--format-options", "scale=much"], "could not convert string to float"),
        (["--format", "mine.text", "--keys", "rgb"], "layout 'mine.text' has no argument 'keys'"),
        (["--format", "wtalc", "--transposed"], "layout 'wtalc' has no argument 'transposed'"),
    ],
)
def test_a_layout_or_an_option_there_is_not_is_told(text_layout, sources, tmp_path, capsys, options, expected):
    assert imported(sources, tmp_path / "s", *options) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
