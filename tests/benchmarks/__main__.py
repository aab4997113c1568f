"""Every benchmark in turn, and the table of `tests/benchmarks/README.md` from what they found.

OMP_NUM_THREADS=1 python -m tests.benchmarks                     # everything that needs no peer (about an hour)
OMP_NUM_THREADS=1 python -m tests.benchmarks --only decoding nms  # some; the lines of the others stay
OMP_NUM_THREADS=1 python -m tests.benchmarks --peers ~/checkouts  # against public code, where it is
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
BEGIN, END = "<!-- table: python -m tests.benchmarks -->\n", "<!-- end of table -->\n"
HEAD = ("by", "work", "peer", "ours", "peer's", "ratio", "where")

RUNS: Mapping[str, str] = {
    "decoding": "bench_hosts.py --only decoding --repeats 51",
    "nms": "bench_decoding.py --proposals 200 1000",
    "scoring": "bench_evaluation.py",
    "steps": "bench_hosts.py --only step --repeats 3",
    "fac_net": "bench_fac_net.py --threads 1 --repeats 3",
    "ftcl": "bench_ftcl.py --threads 1",
    "gaufuse": "bench_gaufuse.py --threads 1 --repeats 3",
}
"""Name -> command line of a benchmark that keeps lines for the table."""
BESIDE: Mapping[str, str] = {"peers": "peers.py", "authors": "peer_steps.py --repeats 5"}
"""Those that need checkouts of public code."""


def measure(name: str, command: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """Run one benchmark; the lines it kept, and whether it came to its end."""
    print(f"== {name}: {' '.join(command)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        done = subprocess.run(
            [sys.executable, str(HERE / command[0]), *command[1:]],
            env={**os.environ, "WTAL_BENCHMARK_NOTES": str(notes)},
            cwd=HERE.parents[1],
        )
        if done.returncode:
            print(f"== {name} failed (exit code {done.returncode}); what it had measured is kept, other lines stay.")
        lines = notes.read_text(encoding="utf-8").splitlines() if notes.is_file() else []
    return [{"by": name, **json.loads(line)} for line in lines], not done.returncode


def seconds(value: float | None) -> str:
    """0.00123 -> "1.23 ms"."""
    if value is None:
        return ""
    return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def row(line: Mapping[str, Any], where: str) -> str:
    """One line of the table."""
    ratio = "" if line["ratio"] is None else f"{line['ratio']:.2f}" if line["ratio"] < 10 else f"{line['ratio']:.0f}"
    cells = (line["by"], line["work"], line["peer"], seconds(line["ours"]), seconds(line["theirs"]), ratio, where)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def table(lines: Sequence[str]) -> str:
    """The table with its head."""
    return "\n".join([f"| {' | '.join(HEAD)} |", "|---|---|---|--:|--:|--:|---|", *lines]) + "\n"


def replaced(text: str, fresh: Mapping[str, Sequence[str]], broken: Collection[str] = ()) -> str:
    """The README with the lines of the benchmarks that ran in the place of their old ones.

    Args:
        text: of the README.
        fresh: name of a benchmark -> its new lines.
        broken: those that ended early: of them, old lines about other work stay.
    """
    before, _, rest = text.partition(BEGIN)
    old, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{README} has lost the marks {BEGIN.strip()} and {END.strip()}; put them back.")
    kept: dict[str, list[str]] = {}
    for line in old.splitlines()[2:]:
        kept.setdefault(line.split("|")[1].strip(), []).append(line)
    for name, rows in fresh.items():
        if rows:
            again = {_work(line) for line in rows}
            old = kept.get(name, []) if name in broken else []
            kept[name] = [*rows, *(line for line in old if _work(line) not in again)]
    order = [name for name in (*RUNS, *BESIDE) if name in kept]
    order += sorted(set(kept) - set(order))
    return f"{before}{BEGIN}{table([line for name in order for line in kept[name]])}{END}{after}"


def _work(line: str) -> tuple[str, ...]:
    """What a line of the table is about; behind a semicolon stand counts, which change."""
    by, work, peer = (cell.strip() for cell in line.split("|")[1:4])
    return by, work.partition(";")[0], peer


def machine() -> str:
    """What the figures were measured on, in few words."""
    import numpy
    import torch

    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return f"{platform.machine()}, {threads} thread(s), numpy {numpy.__version__}, torch {torch.__version__}"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {**RUNS, **BESIDE}
    parser.add_argument("--only", nargs="+", choices=list(known), metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="checkouts of public code (peers.py, authors/)")
    parser.add_argument("--print", action="store_true", help="print the table, leave the README as it is")
    args = parser.parse_args(argv)
    names = args.only or [*RUNS, *(BESIDE if args.peers else [])]
    beside = [name for name in names if name in BESIDE]
    if beside and args.peers is None:
        parser.error(f"{' and '.join(beside)} need --peers FOLDER, where the checkouts are.")
    where, fresh, broken = machine(), {}, set()
    for name in names:
        command = known[name].split()
        if name in BESIDE:
            command += ["--peers", str(args.peers.resolve())]
        lines, whole = measure(name, command)
        fresh[name] = [row(line, where) for line in lines]
        if not whole:
            broken.add(name)
        if args.print:
            print(table(fresh[name]))
        else:  # after each: what is stopped keeps what it has
            README.write_text(replaced(README.read_text(encoding="utf-8"), fresh, broken), encoding="utf-8")


if __name__ == "__main__":
    main()
