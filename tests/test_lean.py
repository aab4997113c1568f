"""Commands start without the parts of mmengine that none of them can reach."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mmengine
import pytest

from tests.helpers import REPOSITORY
from tests.running.conftest import dataset, tiny_config
from wtal_bench import lean

__all__ = ["dataset"]

CODE = """
import sys
from wtal_bench.cli import main
assert "mmengine" not in sys.modules
assert main(["train", "tiny.json", "--work-dir", "run"]) == 0
heavy = ("sympy", "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.tensor", "scipy.stats", "matplotlib")
print(*(name for name in heavy if name in sys.modules))
from mmengine.runner import FlexibleRunner
FlexibleRunner()
"""


def test_a_run_loads_none_of_them_nor_a_compiler_and_says_so_to_whoever_makes_one(dataset, tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps(tiny_config(dataset, epochs=1)))
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1:] == [""], done.stdout + done.stderr
    assert "RuntimeError: FlexibleRunner of mmengine is left out of the commands of wtal-bench" in done.stderr
    assert "imports mmengine before wtal_bench.cli" in done.stderr


@pytest.mark.parametrize(("module", "name"), lean.LEFT_OUT.items())
def test_mmengine_has_what_is_left_out_where_it_is_said_to_be(module, name):
    source = Path(mmengine.__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    assert re.search(rf"^class {name}\b", source.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_program_that_has_mmengine_already_keeps_all_of_it(monkeypatch):
    for module in lean.LEFT_OUT:
        monkeypatch.delitem(sys.modules, module, raising=False)
    lean.leave_out()
    assert not lean.LEFT_OUT.keys() & sys.modules.keys()
