"""Composition is a config: every mix builds on its host, takes a step and decodes a video."""

from pathlib import Path

import pytest

from wtal_bench.cli import main

MIXES = sorted((Path(__file__).resolve().parents[2] / "configs" / "mixes").glob("*_synthetic.py"))


@pytest.mark.parametrize("path", MIXES, ids=lambda path: path.stem)
def test_mix_trains_and_decodes(path, capsys):
    assert main(["train", str(path), "--dry-run"]) == 0
    assert "one step gives loss" in capsys.readouterr().out
