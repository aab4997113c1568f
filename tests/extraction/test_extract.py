"""Videos end in a store: features equal a plain loop's, interruptions cost one video, and tags are learnt from them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.extraction.videos import SHAPES, greys, moving_shapes, write_audio, write_video
from tests.running.conftest import draw_nothing
from wtal_bench.cli import main
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError
from wtal_bench.extraction import extract
from wtal_bench.extraction.decode import FrameReader
from wtal_bench.interfaces import Extractor

pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'video'")


class MeanColours(Extractor):
    """[S,N,H,W,3] -> [S,6]: mean and spread of each colour over a snippet's pictures."""

    size, width, window, offsets = 32, 6, 4, (0, 2)
    words, weights = "mean colours", {"name": "none", "sha256": "", "license": "none"}

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, frames):
        self.calls += 1
        pixels = frames.double().flatten(1, 3)
        return torch.cat([pixels.mean(dim=1), pixels.std(dim=1)], dim=1)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    return [write_video(folder / f"v{at}.mp4", greys(10 + 7 * at)) for at in range(4)]


def test_features_equal_a_plain_loop(videos, tmp_path):
    report = extract.extract_features(videos, tmp_path / "f", MeanColours(), fps=25, stride=4, batch=3)
    store = report.store
    assert store.ids == tuple(path.stem for path in videos)
    for path in videos:
        pictures = np.stack([pixels for _, pixels in FrameReader(path, 25, 32)]).astype(float)
        count = max(1, int(len(pictures) / 4 + 0.5))
        seen = [pictures[[min(4 * i, len(pictures) - 1), min(4 * i + 2, len(pictures) - 1)]] for i in range(count)]
        flat = [picture.reshape(-1, 3) for picture in seen]
        plain = [np.concatenate([rows.mean(0), rows.std(0, ddof=1)]) for rows in flat]
        np.testing.assert_allclose(store.video(path.stem), plain, rtol=1e-6, atol=1e-5)
        meta = store.meta(path.stem)
        assert (meta.duration, meta.fps, meta.stride) == (pytest.approx(len(pictures) / 25), 25.0, 4)
        assert meta.num_frames == len(pictures)
    assert store.manifest["weights"]["name"] == "none"
    assert store.manifest["window"] == 4
    assert not list(tmp_path.glob(".*"))


def test_an_interrupted_extraction_goes_on(videos, tmp_path, monkeypatch):
    whole = extract.extract_features(videos, tmp_path / "whole", MeanColours(), stride=4).store
    network = MeanColours()
    original = extract._Parts.write

    def dies(self, video, features, decoded):
        if video.id == "v2":
            raise KeyboardInterrupt
        original(self, video, features, decoded)

    with monkeypatch.context() as patch:
        patch.setattr(extract._Parts, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            extract.extract_features(videos, tmp_path / "whole2", network, stride=4)
    before = network.calls
    report = extract.extract_features(videos, tmp_path / "whole2", network, stride=4, name="whole")
    assert report.reused == 0, "another name is another manifest"
    with monkeypatch.context() as patch:
        patch.setattr(extract._Parts, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            extract.extract_features(videos, tmp_path / "whole3", network, stride=4, name="whole")
    before = network.calls
    report = extract.extract_features(videos, tmp_path / "whole3", network, stride=4, name="whole")
    assert report.reused == 2
    assert network.calls - before == 2
    assert report.store.manifest_hash == whole.manifest_hash


def test_what_was_done_with_other_settings_or_of_a_changed_video_is_done_again(videos, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("nothing")
    network = MeanColours()
    for expected, options, change in (
        (0, dict(stride=4), None),
        (4, dict(stride=4), None),
        (3, dict(stride=4), videos[1]),
        (0, dict(stride=2), None),
    ):
        if change:
            write_video(change, greys(30))
        report = extract.extract_features([*videos, broken], tmp_path / "f", network, **options)
        assert report.store is None
        assert list(report.failed) == ["broken"]
        assert report.reused == expected


def test_videos_that_cannot_be_read_are_left_out_only_when_asked(videos, tmp_path, capsys, monkeypatch):
    write_audio(videos[0].parent / "song.mp4")
    arguments = ["extract", str(videos[0].parent), "--out", str(tmp_path / "f"), "--stride", "4", "--device", "cpu"]
    monkeypatch.setattr("wtal_bench.running.inputs.build_extractor", lambda *_: MeanColours())
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "song.mp4: has no moving picture, only audio" in said
    assert "--skip-broken" in said
    assert not (tmp_path / "f").exists()
    assert main([*arguments, "--skip-broken"]) == 0
    assert len(FeatureStore.open(tmp_path / "f")) == 4
    assert main(arguments) == 2
    assert "already there" in capsys.readouterr().err
    with pytest.raises(DataError, match="not one of 1 videos"):
        extract.extract_features([videos[0].parent / "song.mp4"], tmp_path / "g", MeanColours())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fps", "nan"], "frames a second"),
        (["--fps", "-3"], "frames a second"),
        (["--stride", "0"], "stride must be at least 1"),
        (["--batch", "0"], "batch must be at least 1"),
        (["--extractor", "EfficientNetLite"], "Did you mean 'EfficientNetLite0'"),
        (["--extractor-options", "pictures=17"], "must not exceed window=16"),
        (["--extractor-options", "picture=1"], "has no argument 'picture'"),
        (["--extractor-options", "pictures"], "must look like key=value"),
        (["--extractor", "VideoMAE", "--extractor-options", "weights=/nowhere/at/all"], "weights|transformers"),
        (["--device", "cuda:99"], "Use cpu"),
        (["--device", "gpu"], "Use cpu"),
    ],
)
def test_wrong_options_are_sentences(videos, tmp_path, capsys, options, said):
    assert main(["extract", str(videos[0]), "--out", str(tmp_path / "f"), *options]) == 2
    assert __import__("re").search(said, capsys.readouterr().err)
    assert not (tmp_path / "f").exists()


def test_an_extractor_that_gives_other_shapes_than_it_declares_is_named(videos, tmp_path):
    class Short(MeanColours):
        """Declares six columns, gives five."""

        def __call__(self, frames):
            return super().__call__(frames)[:, :5]

    with pytest.raises(ConfigError, match="Short gave features of shape"):
        extract.extract_features(videos, tmp_path / "f", Short())


def test_lite0_knows_its_snippets_alone_and_together():
    from wtal_bench.extraction.extractors import EfficientNetLite0

    torch.manual_seed(0)
    network = EfficientNetLite0(pictures=2)
    assert network.offsets == (4, 12)
    assert len(network.weights["sha256"]) == 64
    frames = torch.randint(0, 256, (3, 2, 224, 224, 3), dtype=torch.uint8)
    with torch.inference_mode():
        together = network(frames)
        alone = torch.cat([network(frame[None]) for frame in frames])
        plain = network.network.extract_features((frames[1].permute(0, 3, 1, 2).float() - 127) / 128)
    assert together.shape == (3, 1280)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together[1], plain.mean(dim=(0, 2, 3)), rtol=1e-5, atol=1e-5)


def test_videomae_reads_a_folder_of_weights(tmp_path):
    transformers = pytest.importorskip("transformers")
    from wtal_bench.extraction.extractors import VideoMAE

    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = transformers.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, tubelet_size=2, **sizes)
    transformers.VideoMAEModel(config).save_pretrained(tmp_path / "weights")
    network = VideoMAE(str(tmp_path / "weights"))
    assert (network.window, network.offsets, network.size, network.width) == (4, (0, 1, 2, 3), 32, 16)
    path = write_video(tmp_path / "a.mp4", greys(12))
    store = extract.extract_features([path], tmp_path / "f", network, stride=4).store
    assert store.video("a").shape == (3, 16)
    again = extract.video_features(path, VideoMAE(str(tmp_path / "weights")), fps=25, stride=4)
    np.testing.assert_allclose(again.features, store.video("a"), rtol=1e-6)


def run(line):
    return main(line.split())


CONFIG = """
_base_ = ['wtal::ecm_thumos.py']
data = dict(protocol='own', root='own')
model = dict(
    backbone=dict(in_channels=1280, channels=64),
    heads=dict(pre=dict(channels=64, num_classes=3), weights=dict(num_classes=3)),
    postprocessor=dict(num_classes=3))
train = dict(length=12, epochs=60, batch_size=8, lr=1e-3)
test = dict(length=12)
"""


def test_from_mp4_to_localised_actions_with_tags_alone(tmp_path, monkeypatch, capsys):
    """Twenty short videos of moving shapes: extracted, learnt by their tags, found in time, drawn."""
    rng = np.random.default_rng(0)
    draw_nothing(monkeypatch)  # in training: what `infer --plot` draws is looked at
    monkeypatch.chdir(tmp_path)
    Path("videos").mkdir()
    rows = []
    for at in range(20):
        name, start = SHAPES[at % 3], float(rng.integers(1, 6))
        write_video(Path(f"videos/clip_{at:02}.mp4"), moving_shapes(rng, 12, [(name, start, start + 5)]), rate=8)
        subset = "train" if at < 14 else "test"
        rows.append((f"clip_{at:02}", name, 12, subset, start, start + 5))
    with open("table.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("video", "label", "duration", "subset", "start", "end"), *rows])
    Path("my_config.py").write_text(CONFIG)
    assert run("extract videos --out own/features --fps 8 --stride 8 --extractor-options window=2") == 0
    assert run("import-annotations table.csv own/annotations.json --version drawn-1") == 0
    assert run("check-data own/features --annotations own/annotations.json") == 0
    assert run("train my_config.py --seed 0 --work-dir run") == 0
    record = json.loads(next(Path("run/record").glob("*.json")).read_text())
    measured = record["metrics"]["variants"]["activitynet"]
    assert measured["mAP"][measured["tious"].index(0.5)] > 0.5, "moving shapes are learnt from tags alone"
    where = "--extractor-options window=2 --out found.json --plot plots"
    assert run(f"infer my_config.py run/last.pth videos/clip_19.mp4 {where}") == 0
    best = max(json.loads(Path("found.json").read_text())["videos"]["clip_19"], key=lambda row: row["score"])
    _, name, _, _, start, end = rows[19]
    assert best["label"] == name
    overlap = min(end, best["end"]) - max(start, best["start"])
    assert overlap / (max(end, best["end"]) - min(start, best["start"])) > 0.5
    assert Path("plots/clip_19.png").stat().st_size > 1000
