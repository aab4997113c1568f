"""Every command of the README runs: here, in tests/leaderboard, or in .ci/run."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import shared_file
from wtal_bench import cli
from wtal_bench.cli import VERBS, main
from wtal_bench.evaluation import read_detections
from wtal_bench.recipes import find

REPOSITORY = Path(__file__).resolve().parents[1]
TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)]


def block(start: str) -> list[str]:
    """The bash block whose first line starts so."""
    return next(lines for lines in BLOCKS if lines[0].startswith(start))


def run(line: str) -> None:
    """Run a line of the README in this process, as the command line would."""
    words = shlex.split(line)
    if words[0] == "python":
        words = ["wtal-bench", Path(words[1]).stem.replace("_", "-"), *words[2:]]
    assert words[0] == "wtal-bench", line
    assert main(words[1:]) == 0, line


def test_the_two_first_commands_are_what_ci_runs():
    ci = (REPOSITORY / ".ci" / "run").read_text()
    first, second = (lines[0] for lines in BLOCKS[:2])
    assert first == "pip install -e . && python tools/train.py configs/cola_synthetic.py"
    assert "python tools/train.py configs/cola_synthetic.py" in ci
    assert second == "pip install -e '.[test]' && python -m pytest -q -n 2"
    assert "python -m pytest -q -n 2" in ci
    assert "pip install --quiet -e '.[dev]'" in ci  # dev is test and ruff


def test_own_videos_from_tags_to_detections(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_features").mkdir()
    rng = np.random.default_rng(0)
    rows = ["video,label,duration,subset"]
    for number in range(8):
        length = 20 + number
        np.save(tmp_path / "my_features" / f"v{number}.npy", rng.gamma(0.7, 1, (length, 2048)).astype(np.float32))
        subset = "train" if number < 6 else "test"
        rows.append(f"v{number},{'abc'[number % 3]},{length * 16 / 25},{subset}")
    (tmp_path / "tags.csv").write_text("\n".join(rows) + "\n")
    np.save(tmp_path / "new_video.npy", rng.gamma(0.7, 1, (25, 2048)).astype(np.float32))
    config = re.search(r"```python\n(# my_config.py.*?)```", TEXT, re.DOTALL).group(1)
    # the same config on a narrow trunk for one epoch, to be quick
    small = "model['backbone'] = dict(channels=8)\nmodel['heads']['pre']['channels'] = 8\ntrain = dict(epochs=1)\n"
    (tmp_path / "my_config.py").write_text(config + small)
    for line in block("wtal-bench import-annotations"):
        run(line)
    found = read_detections(tmp_path / "found.json", ("a", "b", "c"))
    assert set(found.videos) == {"new_video"}
    assert (tmp_path / "pictures" / "new_video.png").stat().st_size > 1000
    assert (tmp_path / "my_run" / "record" / "result.json").is_file()


def test_videos_become_features_as_the_readme_says(tmp_path, monkeypatch):
    videos = pytest.importorskip("tests.extraction.videos")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    videos.write_video(tmp_path / "videos" / "a.mp4", videos.greys(40))
    _, extract = block('pip install "wtal-bench[video]"')
    assert (
        "wtal-bench[completion,elan,pictures,report,video]" in (REPOSITORY / "pyproject.toml").read_text()
    )  # the test extra brings it
    run(extract)
    assert (tmp_path / "my_data" / "features" / "features.npy").is_file()


def test_trimmed_clips_become_untrimmed_videos(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ucf101_clips").symlink_to(shared_file("data/ucf101_vgg16/clips.csv").parent)
    compose, probe = block("wtal-bench compose")
    run(f"{compose} --videos 16 6 8 --no-probes")
    assert "protocol='composed/ucf101/v1', root='data/composed/ucf101'" in capsys.readouterr().out
    run(probe)
    assert "mAP: supervised linear, all" in capsys.readouterr().out


def test_evaluate_prints_the_four_averages_the_readme_quotes(capsys):
    line = block("wtal-bench evaluate DETECTIONS")[0]
    file = shared_file("detections/thumos14_pmil_base_test.json.gz")
    run(line.replace("DETECTIONS.json.gz", str(file)) + f" --annotations {shared_file('data/thumos14.json')}")
    printed = capsys.readouterr().out
    for value in ("42.43", "43.27", "43.60", "42.61"):
        assert value in TEXT
        assert value in printed


def test_the_mix_of_the_readme_adds_its_loss_and_takes_none_away(tmp_path, monkeypatch):
    from wtal_bench.running.config import load_config

    monkeypatch.chdir(tmp_path)
    start = re.escape("_base_ = ['wtal::acm_net_thumos.py']\nmodel = dict(losses")
    mix = re.search(rf"```python\n({start}.*?)```", TEXT, re.DOTALL)
    (tmp_path / "mix.py").write_text(mix.group(1))
    losses = load_config("mix.py").model["losses"]
    host = load_config("wtal::acm_net_thumos.py").model["losses"]
    assert losses == {**host, "my_sparsity": {"type": "my_idea.Sparsity", "weight": 0.1}}


def test_the_host_with_ideas_of_the_readme_is_one_config(capsys):
    for line in block("wtal-bench list --matrix")[1:]:
        run(f"{line} --print-config")
        assert json.loads(capsys.readouterr().out)["ideas"]


def test_the_lines_of_python_train_score_and_detect(tmp_path, monkeypatch, capsys):
    """Six lines, on a smaller run than the recipe's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaderboard" / "records").mkdir(parents=True)
    small = """_base_ = ['wtal::cola_synthetic.py']
data = dict(protocol='synthetic_tiny/v2', synthetic=dict(profile='tiny'))
model = dict(
    backbone=dict(in_channels=32, channels=8),
    heads=dict(classifier=dict(channels=8, num_classes=5)),
    postprocessor=dict(shared=dict(num_classes=5)))
train = dict(iterations=2)
"""
    (tmp_path / "small.py").write_text(small)
    np.save(tmp_path / "new_video.npy", np.random.default_rng(0).normal(size=(30, 32)).astype(np.float32))
    (lines,) = re.findall(r"```python\n(from wtal_bench import.*?)```", TEXT, re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) <= 6
    values: dict = {}
    exec(lines.replace('"cola_synthetic"', '"small.py"').replace('"synthetic/v2"', '"synthetic_tiny/v2"'), values)
    assert list(values["found"]) == ["new_video"]
    printed = capsys.readouterr().out
    block = values["run"].record["metrics"]["variants"]["activitynet"]
    assert str(block["averages"]["0.1:0.7"])[:6] in printed
    assert values["run"].record["seed"] == 1


def test_the_runs_that_the_readme_compares_can_be_made():
    first, second, compare = block("python tools/train.py configs/ecm_synthetic.py --seeds")
    for line in (first, second):
        run(f"{line} --dry-run")
    assert compare.split()[2:] == [line.split("--work-dir ")[1] for line in (first, second)]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"configs/[\w/]+\.py", TEXT))))
def test_configs_the_readme_names_are_there(name):
    assert (REPOSITORY / name).is_file()


def test_the_shipped_configs_the_readme_names_are_there(capsys):
    assert len(names := set(re.findall(r"wtal::[\w/]+\.py", TEXT))) >= 2
    assert all(find(name).is_file() for name in names)
    run(next(line for lines in BLOCKS for line in lines if line.startswith("wtal-bench list --configs")))
    assert "ecm_synthetic" in capsys.readouterr().out


PAGES = sorted(
    path
    for folder in ("", "plugins", "wtal_bench", "tests", ".github", "configs")
    for path in (REPOSITORY / folder).glob("*.md" if folder == "" else "**/*.md")
)


def commands(page: Path) -> list[str]:
    """The lines of a page's blocks of code that start a verb, continued lines joined."""
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fences if language in ("", "bash", "sh", "console")]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [
        re.search(r"(?:^|&& |^\$ |^\w+=\S+ )((?:wtal-bench|python tools/\w+\.py|python -m wtal_bench) .*)", line)
        for line in lines
    ]
    return [match[1].partition(" &&")[0].partition("  #")[0] for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_command_of_every_page_is_one_its_verb_takes(page, capsys):
    """What is written can be typed: the verb is there, and takes these options."""
    for line in commands(page):
        words = shlex.split(line.replace("...", ""), comments=True)
        door = words[0] == "python" and words[1].startswith("tools/")
        verb, *rest = (
            [Path(words[1]).stem.replace("_", "-"), *words[2:]] if door else words[3 if words[0] == "python" else 1 :]
        )
        if verb == "VERB" or verb.startswith("--"):
            continue
        try:
            cli._parser(verb, importlib.import_module(VERBS[verb])).parse_args(rest)
        except SystemExit as left:
            if left.code:
                pytest.fail(f"{page}: {line}\n{capsys.readouterr().err}")


def test_tools_and_verbs_the_readme_names_are_there():
    assert all((REPOSITORY / name).is_file() for name in re.findall(r"tools/\w+\.py", TEXT))
    named = {line.split()[1] for lines in BLOCKS for line in lines if line.startswith("wtal-bench ")}
    assert named <= set(VERBS)
