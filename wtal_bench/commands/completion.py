"""`wtal-bench completion SHELL`: what a shell needs to complete verbs, options and files."""

from __future__ import annotations

import argparse
import importlib
import pkgutil

from wtal_bench import commands
from wtal_bench.errors import ConfigError

SUMMARY = "print a completion script for bash, zsh, fish and others"
EXAMPLE = """wtal-bench completion bash > ~/.local/share/bash-completion/completions/wtal-bench
  wtal-bench completion zsh > ~/.zfunc/_wtal-bench
  wtal-bench completion fish > ~/.config/fish/completions/wtal-bench.fish"""

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that shall complete")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    try:
        import shtab
    except ImportError as error:
        raise ConfigError("completion scripts are written by shtab: pip install 'wtal-bench[completion]'.") from error
    print(shtab.complete(_whole_parser(), shell=args.shell))
    return 0


def _whole_parser() -> argparse.ArgumentParser:
    """One parser of all verbs; the command line itself imports only the verb that is used."""
    import shtab

    parser = argparse.ArgumentParser(prog="wtal-bench")
    verbs = parser.add_subparsers(dest="verb")
    for found in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{found.name}")
        if not hasattr(module, "SUMMARY"):
            continue
        verb = verbs.add_parser(found.name.replace("_", "-"), help=module.SUMMARY)
        module.configure(verb)
        for action in verb._actions:
            if action.choices is None and action.nargs != 0 and action.type is None:
                action.complete = shtab.FILE  # most texts a verb takes are paths; a name just finds no file
    return parser
