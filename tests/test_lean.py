"""Commands start without the parts of mmengine that none of them can reach."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import mmengine
import pytest

from tests.helpers import REPOSITORY
from wtal_bench import lean

CODE = """
import sys
from wtal_bench.cli import main
assert "mmengine" not in sys.modules
assert main(["train", "configs/cola_synthetic.py", "--dry-run"]) == 0
print(*(name for name in ("sympy", "torch.distributed.fsdp", "torch.distributed.tensor") if name in sys.modules))
from mmengine.runner import FlexibleRunner
FlexibleRunner()
"""


def test_a_dry_run_loads_none_of_them_and_says_so_to_whoever_makes_one():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=REPOSITORY, capture_output=True, text=True)
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
