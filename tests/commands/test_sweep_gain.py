"""A row that says what it is compared with: both are trained with the same seeds, and the gain has an interval."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.running.conftest import tiny_config
from wtal_bench.cli import main
from wtal_bench.errors import ConfigError
from wtal_bench.recipes import find
from wtal_bench.running.ablation import load_rows
from wtal_bench.running.config import load_config

IDEA = """# More epochs at half the rate.
def idea(host):
    return dict(train=host.continued(1, [(0, 0.5)]))
"""
ROWS = """
method: several
data: first
rows:
  - name: more
    base: host_{data}.json+more
    against: host_{data}.json
    published: {metric: "mAP@0.1:0.7", host: 28.4, value: 31.6}
  - name: joint
    base: host_{data}.json
    against: host_{data}.json
    options: {train.epochs: 2}
"""


@pytest.fixture
def rows(dataset, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ideas").mkdir()
    (tmp_path / "ideas" / "more.py").write_text(IDEA)
    (tmp_path / "host_first.json").write_text(json.dumps(tiny_config(dataset, epochs=1)))
    (tmp_path / "host_second.json").write_text(json.dumps(tiny_config(dataset, epochs=2)))
    (tmp_path / "rows.yaml").write_text(ROWS)
    return tmp_path


def records(folder: Path, seed: int) -> list[dict]:
    return [json.loads(path.read_text()) for path in (folder / f"seed{seed}").glob("record/*.json")]


def average(record: dict) -> float:
    return record["metrics"]["variants"][record["metrics"]["main"]]["averages"]["0.1:0.7"]


def test_the_gain_is_that_of_the_runs_with_the_interval_of_one_draw(rows, capsys):
    assert main(["sweep", "rows.yaml", "--rows", "more", "--seeds", "0", "1"]) == 0
    printed = capsys.readouterr().out
    folder = rows / "work_dirs" / "sweep" / "rows"
    ours, theirs = ([records(folder / name, seed)[0] for seed in (0, 1)] for name in ("more", "against_host_first"))
    expected = 100 * sum(average(a) - average(b) for a, b in zip(ours, theirs)) / 2
    gain, low, high = map(float, re.search(r"gain ([-+.\d]+) \[([-+.\d]+), ([-+.\d]+)\]", printed).groups())
    assert gain == pytest.approx(expected, abs=0.005)
    assert low <= gain <= high
    assert "published 28.4 -> 31.6 mAP@0.1:0.7 (+3.2)" in printed
    assert "paired bootstrap over videos" in printed


def test_a_row_that_follows_what_it_is_compared_with_starts_from_that_run(rows, capsys):
    assert main(["sweep", "rows.yaml", "--rows", "more"]) == 0
    folder = rows / "work_dirs" / "sweep" / "rows"
    (mix,), (host,) = records(folder / "more", 0), records(folder / "against_host_first", 0)
    assert (mix["parent"], mix["variant"]) == (host["id"], "more")
    init = folder / "more" / "seed0" / "init"
    assert [path.stem for path in init.glob("record/*.json")] == [host["id"]]
    before = capsys.readouterr().out
    assert main(["sweep", "rows.yaml", "--rows", "more"]) == 0
    again = capsys.readouterr().out
    assert again.splitlines()[-3:] == before.splitlines()[-3:], "a finished row is read, not trained again"


def test_the_data_set_is_named_by_the_file_or_the_command_line(rows):
    more, joint = load_rows("rows.yaml")
    assert (more.config().host["method"], more.rival().train.epochs) == ("ecm", 1)
    assert (joint.config().variant, joint.config().train.epochs) == ("joint", 2)
    more, _ = load_rows("rows.yaml", "second")
    assert more.rival().train.epochs == 2
    with pytest.raises(ConfigError, match=r"no recipe 'host_third\.json'"):
        load_rows("rows.yaml", "third")[0].config()
    with pytest.raises(ConfigError, match=r"has no \{data\} in its names"):
        load_rows("ablations/ecm", "synthetic")


TRANSFER = load_rows("ablations/transfer")


@pytest.mark.parametrize("row", TRANSFER, ids=lambda row: row.name)
@pytest.mark.parametrize("data", ["thumos", "synthetic"])
def test_every_published_mix_is_a_config_beside_its_host(row, data):
    row = next(other for other in load_rows("ablations/transfer", data) if other.name == row.name)
    mix, host = row.config(), row.rival()
    assert (mix.method, mix.host) == (host.method, {"method": host.method, "variant": host.variant})
    (idea,) = mix.ideas
    assert mix.variant == "+".join(filter(None, (host.variant, idea)))
    assert row.name.startswith(f"{idea}_on_")
    assert mix.data == host.data
    assert row.published["metric"] == "mAP@0.1:0.7"
    lines = find(row.base, row.file).read_text().splitlines()
    said = [line for line in lines if line and not line.startswith("#")]
    assert len(said) <= 8, "a mix is its host and a few lines"
    source = mix.train.init_from
    if source is not None:
        parent = load_config(source["config"], named_by=Path(mix.path))
        assert parent.resolved() == host.resolved()
