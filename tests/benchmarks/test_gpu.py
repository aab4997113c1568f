"""The one script that needs a GPU runs to its end without one, and goes on where it was stopped."""

from __future__ import annotations

import json
import logging
import sys

import pytest
import torch

from tests.benchmarks import gpu


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    out = tmp_path / "gpu.json"
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "handlers", [])  # it writes a page for every symbol
    monkeypatch.setattr(gpu, "marked_tests", lambda tiny: {"rc": 0})  # a test run inside of a test run

    def go(*words: str) -> tuple[dict, str]:
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--methods", "stpn", "--out", str(out), *words])
        gpu.main()
        torch._dynamo.reset()
        return json.loads(out.read_text())["figures"], capsys.readouterr().out

    return go


def test_every_figure_is_made_and_none_a_second_time(run):
    figures, _ = run()
    assert not [name for name, made in figures.items() if "error" in made], figures
    eager = figures["stpn float32 eager"]
    assert eager["waits"] == 0
    assert min(eager["ms"], eager["tflops"], eager["operations"]) > 0
    assert figures["stpn loop"]["whose"] == "theirs"
    assert "torch sees no GPU here" in figures["stpn graph"]["refused"] or torch.cuda.is_available()
    assert 0 < figures["stpn test"]["decoding_share"] < 1
    assert {"limits", "gpu tests", "stpn float32 compiled"} <= set(figures)
    for epoch in ("mapped", "mapped, 2 workers", "ram"):
        assert 0 < figures[f"stpn epoch, features {epoch}"]["waited_share"] < 1
    again, said = run()
    assert again == figures
    assert said.count("\n") == 2


def test_without_a_gpu_the_real_run_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit):
        gpu.main()
    assert "--tiny runs anywhere" in capsys.readouterr().err


def test_a_figure_that_fails_in_any_way_is_kept_and_the_next_is_made(tmp_path):
    figures = gpu.Figures(tmp_path / "gpu.json", 60, {})
    figures.make("odd", lambda: {}["missing"])
    figures.make("sound", lambda: {"ms": 1.0})
    kept = json.loads((tmp_path / "gpu.json").read_text())["figures"]
    assert kept["odd"]["error"] == "KeyError: 'missing'"
    assert kept["sound"]["ms"] == 1.0
