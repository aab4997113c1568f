"""What a run says at its end: the published value stands under the evaluator it was made with, and under no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaderboard.fabricate import World
from wtal_bench.protocols import get_protocol
from wtal_bench.running.config import load_config
from wtal_bench.running.summary import _diagnosis, published_beside, table

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def record(tmp_path, method, evaluator, **changes):
    found, _ = World(tmp_path).record(method=method, config={"test": {"evaluator": evaluator}}, variant="", **changes)
    return found


@pytest.mark.parametrize(
    ("method", "evaluator", "at_half", "average"),
    [("fac_net", "thumos_snippet", "33.4", "42.2"), ("acm_net", "thumos_seconds_210_of_212", "34.6", "42.6")],
)
def test_the_published_values_follow_their_own_evaluator(tmp_path, method, evaluator, at_half, average):
    made = record(tmp_path, method, evaluator)
    name, values = published_beside(made)
    assert (name, values["0.5"], values["avg 0.1:0.7"]) == (evaluator, at_half, average)
    lines = table(made["metrics"], (name, values)).splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith(f"{evaluator} ")]
    assert [line.split()[0] for line in lines[at : at + 3]] == [evaluator, "published", "difference"]
    assert sum("published" in line for line in lines) == 1
    block = made["metrics"]["variants"][evaluator]
    measured = 100 * block["mAP"][block["tious"].index(0.5)]
    row = lines[at + 2].split()
    assert row[1 + block["tious"].index(0.5)] == f"{measured - float(at_half):+.2f}"


def test_without_a_published_value_of_these_data_there_is_none(tmp_path):
    made = record(tmp_path, "fac_net", "thumos_snippet")
    assert published_beside({**made, "variant": "raw_cas"}) is None
    assert published_beside({**made, "method": "my_idea"}) is None
    assert published_beside({**made, "protocol": {"name": "synthetic/v2", "hash": ""}}) is None
    assert published_beside({**made, "protocol": {"name": "own/1234", "hash": ""}}) is None
    name, _ = published_beside({**made, "config": {}})  # of before configs named one
    assert name == made["metrics"]["main"]


def test_every_evaluator_a_recipe_names_is_one_of_its_protocol():
    for path in sorted([*CONFIGS.glob("*.py"), *CONFIGS.glob("ablations/*.py"), *CONFIGS.glob("mixes/*.py")]):
        config = load_config(path)
        variants = get_protocol(config.data.protocol).variants
        assert config.test.evaluator in (None, *variants), path.name
        assert config.test.evaluator or not path.stem.endswith(("thumos", "anet12", "anet13")), path.name


def test_the_curve_of_every_stream_is_told_and_of_an_old_record_the_one_it_has():
    values = {"auc": 0.5, "missed": 0.2, "open": 0.0, "closed": 0.1}
    seen = {
        "foreground": {"rgb.attention": values},
        "curve": {"auc": 0.6, "flat": 0.0},
        "candidates": 2.0,
        "oracles": {"as decoded": 0.1},
        "causes": [],
    }
    (areas, _) = _diagnosis({"diagnosis": seen})
    assert areas.endswith(": rgb.attention 0.50, class curve 0.60")
    curves = {"rgb": values | {"auc": 0.7, "flat": 0.0}, "flow": values | {"flat": 0.0}}
    (areas, _) = _diagnosis({"diagnosis": seen | {"curves": curves}})
    assert areas.endswith(": rgb.attention 0.50, curve rgb 0.70, curve flow 0.50")
    assert _diagnosis({}) == []
