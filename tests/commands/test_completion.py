"""Shells complete every verb and every option of it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from wtal_bench.cli import VERBS, main
from wtal_bench.commands.completion import SHELLS

pytest.importorskip("shtab", reason="needs the extra 'completion'")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_is_completed(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(verb in script for verb in VERBS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_an_option(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    lines = [
        f"source {tmp_path / 'script'}",
        "COMP_WORDS=(wtal-bench train --see); COMP_CWORD=2; COMP_LINE='wtal-bench train --see'; COMP_POINT=22",
        '$(complete -p wtal-bench | sed "s/.*-F \\([^ ]*\\).*/\\1/") wtal-bench --see train',
        'echo "${COMPREPLY[@]}"',
    ]
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True)
    assert set(done.stdout.split()) == {"--seed", "--seeds"}, done.stderr


def test_without_shtab_the_pip_line_is_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'wtal-bench[completion]'" in capsys.readouterr().err
