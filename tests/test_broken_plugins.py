"""Plugins broken in every way we could think of, all installed at once: none stops a verb, each is named with why.

What no process can hold is `os._exit`, a crash and a loop without end (`wtal_bench.discovery` says so).
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.distributions import install
from tests.helpers import REPOSITORY

HEAD = "from wtal_bench.plugins import hookimpl\nWTAL_API_VERSION = 1\n"


def hook(*lines: str, head: str = HEAD) -> str:
    """A plugin's module whose `wtal_register` runs these lines."""
    body = textwrap.indent("\n".join(lines), "    ")
    return f"{head}@hookimpl\ndef wtal_register(registrar):\n{body}\n"


GOOD = 'registrar.layout("NAME.Fine", "wtal_bench.data.importers.layouts:Recognised")'
AT_DISCOVERY: dict[str, tuple[str, str]] = {
    "does_not_parse": ("def (:", "SyntaxError"),
    "holds_nul": ("x = 1\0", "source code string cannot contain null bytes"),
    "imports_nothing": ("import a_module_nobody_has", "ModuleNotFoundError"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "exits_in_hook": (hook("raise SystemExit('bye')"), "SystemExit: bye"),
    "interrupts_in_hook": (hook("raise KeyboardInterrupt"), "KeyboardInterrupt"),
    "raises_base": ("class Odd(BaseException): ...\nraise Odd('odd')", "Odd: odd"),
    "raises_generator_exit": (hook("raise GeneratorExit"), "GeneratorExit"),
    "raises_stop": (hook("raise StopIteration"), "StopIteration"),
    "recurses": ("def f(): return f()\nf()", "RecursionError"),
    "eats_memory": ("raise MemoryError", "MemoryError"),
    "cannot_say_why": ("class Mute(Exception):\n    def __str__(self): raise RuntimeError\nraise Mute", "Mute"),
    "getattr_raises": ("def __getattr__(name): raise RuntimeError('no ' + name)", "RuntimeError: no WTAL_API_VERSION"),
    "no_version": (hook(GOOD, head="from wtal_bench.plugins import hookimpl\n"), "plugin API None"),
    "version_true": (hook(GOOD, head=HEAD.replace("= 1", "= True")), "plugin API True"),
    "version_float": (hook(GOOD, head=HEAD.replace("= 1", "= 1.0")), "plugin API 1.0"),
    "version_text": (hook(GOOD, head=HEAD.replace("= 1", "= '1'")), "plugin API '1'"),
    "version_other": (hook(GOOD, head=HEAD.replace("= 1", "= 99")), "plugin API 99"),
    "no_hook": ("WTAL_API_VERSION = 1", "registers nothing"),
    "hook_misspelt": (HEAD + "@hookimpl\ndef wtal_registre(registrar): ...", "unknown hook 'wtal_registre'"),
    "hook_unmarked": (HEAD + "def wtal_register(registrar): ...", "registers nothing"),
    "hook_takes_more": (HEAD + "@hookimpl\ndef wtal_register(registrar, more): ...", "PluginValidationError"),
    "hook_takes_none": (HEAD + "@hookimpl\ndef wtal_register(): ...", "registers nothing"),
    "hook_is_a_generator": (hook("yield", GOOD), "registers nothing"),
    "hook_raises_late": (hook(GOOD, "1 / 0"), "ZeroDivisionError"),
    "takes_a_name": (hook('registrar.head("ecm.Mine", "m:A")'), "its names must be 'takes_a_name.<Name>'"),
    "takes_a_core_name": (hook('registrar.head("TopKMean", "m:A")'), "its names must be 'takes_a_core_name.<Name>'"),
    "name_twice": (hook(GOOD, GOOD), "registered twice"),
    "name_no_text": (hook('registrar.head(None, "m:A")'), "the name of a head must be a text, got None"),
    "title_taken": (hook(GOOD, 'registrar.titles("Co-LA")'), "calls itself 'Co-LA', as plugin 'cola' does"),
    "title_unseen": (hook(GOOD, 'registrar.titles("Co\u200bLA")'), "a title is a printable text"),
    "title_no_text": (hook(GOOD, "registrar.titles('x', bl=3)"), "the name of a title must be a text, got 3"),
    "target_no_text": (hook('registrar.head("NAME.A", object)'), "must be 'module:Class'"),
    "target_no_class": (hook('registrar.head("NAME.A", "m")'), "must be 'module:Class', got 'm'"),
    "asks_at_discovery": (hook("from wtal_bench.plugins import registry", "registry('head')"), "being loaded"),
    "asks_at_import": (
        "from wtal_bench.plugins import registry\nregistry('head')",
        "at discovery a plugin registers, and asks for no component",
    ),
}
"""Name -> module, and words of the reason `list` gives."""

PARTS = '''
class Bare:
    """No component."""
class Head(interfaces.Head):
    """No torch module."""
class Silent(torch.nn.Module, interfaces.Head):
    pass
class Sly(type):
    def __subclasscheck__(cls, other): raise RuntimeError("sly")
    @property
    def __mro__(cls): raise RuntimeError("sly")
    @property
    def __doc__(cls): raise RuntimeError("no words")
class Wordless(interfaces.Loss, metaclass=Sly):
    pass
def function(outputs, batch):
    """A function."""
def boom(): raise SystemExit(9)
def no_example(): return {}
'''
ON_USE: dict[str, tuple[str, str]] = {
    "module_missing": ('registrar.head("NAME.A", "nowhere.at_all:A")', "No module named 'nowhere'"),
    "class_missing": ('registrar.head("NAME.A", "broken_parts:Absent")', "has no attribute 'Absent'"),
    "module_exits": ('registrar.head("NAME.A", "exits:A")', "SystemExit: 3"),
    "relative": ('registrar.head("NAME.A", ".parts:A")', "TypeError"),
    "no_component": ('registrar.head("NAME.A", "broken_parts:Bare")', "inherits wtal_bench.interfaces.Head"),
    "another_kind": ('registrar.loss("NAME.A", "broken_parts:Head")', "inherits wtal_bench.interfaces.Loss"),
    "no_module": ('registrar.head("NAME.A", "broken_parts:Head")', "must also be a torch module"),
    "no_docstring": ('registrar.head("NAME.A", "broken_parts:Silent")', "has no docstring"),
    "docstring_raises": ('registrar.loss("NAME.A", "broken_parts:Wordless")', "RuntimeError: no words"),
    "function": ('registrar.loss("NAME.A", "broken_parts:function")', "must be a class"),
    "protocol_none": ('registrar.protocol("NAME/v1", "broken_parts:Bare")', "must be a wtal_bench.protocols.Protocol"),
    "example_exits": (f'{GOOD}\nregistrar.example("NAME.e", "broken_parts:boom")', "SystemExit: 9"),
    "example_no_example": (f'{GOOD}\nregistrar.example("NAME.e", "broken_parts:no_example")', "must return a"),
}
"""Name -> what its hook registers, and words of what `list --check` says."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """All of them, a good one last in the alphabet, and what only stands in files of an installation."""
    site = tmp_path_factory.mktemp("site")
    for name, (module, _) in AT_DISCOVERY.items():
        install(site, name, module)
    for name, (lines, _) in ON_USE.items():
        install(site, name, hook(*lines.splitlines()))
    (site / "broken_parts.py").write_text(f"import torch\nfrom wtal_bench import interfaces\n{PARTS}")
    install(site, "ecm", hook('registrar.head("ecm.A", "m:A")'), file="hijacks_ecm")
    install(site, "core", hook('registrar.head("core.A", "m:A")'), file="hijacks_core")
    install(site, "thumos14", hook('registrar.protocol("NAME/v1", "m:A")'))
    install(site, "claims_ours", None, value="wtal_plugins.nothing_there")
    install(site, "no_reference", None, value="not a module!!")
    install(site, "object_missing", hook(GOOD), value="object_missing:absent.attribute")
    install(site, "prints", f"print('hello')\n{hook(GOOD)}")
    install(site, "shuts_stdout", f"import sys; sys.stdout = None\n{hook(GOOD)}")
    install(site, "no_metadata", hook(GOOD))
    (site / "no_metadata-1.0.dist-info" / "METADATA").unlink()
    (site / "wtal_plugins").mkdir()
    (site / "wtal_plugins" / "__init__.py").write_text("raise SystemExit('a package named like ours')")
    install(site, "zz_good", hook(GOOD))
    return site


@pytest.fixture(scope="module")
def said(site) -> dict:
    """What `list`, `list --check` and a dry run print with all of them installed, in one process."""
    code = """
import contextlib, io, json
from wtal_bench.cli import main
out = {}
for verb in (["list", "--json"], ["list", "--check", "--json"], ["train", "ecm_synthetic", "--dry-run"]):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        status = main(verb)
    out[" ".join(verb)] = [status, text.getvalue()]
print(json.dumps(out))
"""
    variables = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "WTAL_CACHE": str(site / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stderr  # what a plugin prints is kept, out of the way
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def listed(said) -> dict:
    status, text = said["list --json"]
    assert status == 0
    return json.loads(text)


@pytest.mark.parametrize("name", AT_DISCOVERY)
def test_a_plugin_broken_at_discovery_is_named_with_the_reason(listed, name):
    reasons = {row["name"]: row["reason"] for row in listed["failed"]}
    assert AT_DISCOVERY[name][1] in reasons[name]
    assert not [row for row in listed["components"] if row["plugin"] == name], "it left components behind"


@pytest.mark.parametrize("name", ON_USE)
def test_a_component_that_is_none_is_found_by_list_check(said, name):
    status, text = said["list --check --json"]
    assert status == 1
    mine = [problem for problem in json.loads(text)["problems"] if f"of plugin {name!r}" in problem]
    assert len(mine) == 1, mine
    assert ON_USE[name][1] in mine[0]


def test_list_check_finds_no_other_fault(said):
    problems = json.loads(said["list --check --json"][1])["problems"]
    named = [name for name in ON_USE if any(f"of plugin {name!r}" in problem for problem in problems)]
    assert len(problems) == len(AT_DISCOVERY) + len(named) + len({"ecm", "core", "thumos14", "claims", "ref", "obj"})


def test_names_of_ours_stay_ours_and_the_conflict_is_named(listed):
    rows = {(row["name"], row["module"]): row["reason"] for row in listed["failed"]}
    assert "taken by wtal_plugins.ecm, which comes with the harness" in rows["ecm", "hijacks_ecm"]
    assert "taken by wtal_bench.builtin, which comes with the harness" in rows["core", "hijacks_core"]
    assert "the data set 'thumos14' is the harness's own" in rows["thumos14", "m:A"]
    components = {row["name"]: row["source"] for row in listed["components"]}
    assert components["ecm.Trunk"] == "wtal_plugins.ecm.trunk:Trunk"
    assert not {"ecm.A", "core.A"} & set(components)
    assert [row["plugin"] for row in listed["components"] if row["name"] == "thumos14/v1"] == ["core"]


def test_a_stranger_that_points_at_a_module_of_ours_is_a_stranger(listed):
    reasons = {row["name"]: row["reason"] for row in listed["failed"]}
    assert "ModuleNotFoundError" in reasons["claims_ours"]  # of ours it would stop every verb


def test_broken_files_of_an_installation_are_named(listed):
    reasons = {row["name"]: row["reason"] for row in listed["failed"]}
    assert "'module' or 'module:object'" in reasons["no_reference"]
    assert "AttributeError" in reasons["object_missing"]


def test_the_good_ones_load_and_ours_train(said, listed):
    versions = {plugin["name"]: plugin["version"] for plugin in listed["plugins"]}
    assert [versions[name] for name in ("zz_good", "prints", "shuts_stdout", "no_metadata")] == [
        "1.0",
        "1.0",
        "1.0",
        "",
    ]
    assert "ecm" in versions
    status, text = said["train ecm_synthetic --dry-run"]
    assert status == 0
    assert "one step gives" in text


def test_entry_points_nobody_can_read_are_named_where_they_lie(tmp_path):
    """Torch cannot be imported with them, so no more than discovery is ours to hold."""
    install(tmp_path, "not_utf8", hook(GOOD))
    info = tmp_path / "not_utf8-1.0.dist-info"
    (info / "entry_points.txt").write_bytes(b"[wtal_bench.plugins]\nnot_utf8 = \xff\xfe\n")
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "wtal_bench", "list"], capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    assert f"{info}: its entry points cannot be read (UnicodeDecodeError" in done.stdout


def test_the_users_own_interrupt_is_not_the_plugins(tmp_path):
    install(tmp_path, "slow", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass")
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "wtal_bench", "list"]
    # where the tests run in the background of a shell, interrupts are ignored by all that they start
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=60, preexec_fn=heard)
    assert done.returncode == 130
    assert "interrupted" in done.stderr
