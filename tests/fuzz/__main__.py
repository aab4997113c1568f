"""`python -m tests.fuzz --n 10000 [--seed 0] [--reader NAME] [--keep DIR]`: many mutated inputs, failures grouped."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fuzz.corpus import make_corpus
from tests.fuzz.harness import Failure, run_case
from tests.fuzz.readers import READERS


def main() -> int:
    """Run, print what failed, return 1 if anything did."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=300, help="inputs (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=list(READERS), help="one kind of input alone")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the inputs that failed")
    parser.add_argument("--show", action="store_true", help="print what each failure said")
    args = parser.parse_args()
    failures: dict[str, list[Failure]] = {}
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        corpus = make_corpus(Path(folder))
        for number in range(args.first, args.first + args.n):
            began = time.monotonic()
            failure = run_case(number, args.seed, corpus, args.reader, args.keep)
            name = args.reader or list(READERS)[number % len(READERS)]
            spent[name] = spent.get(name, 0.0) + time.monotonic() - began
            if failure is not None:
                if failure.signature not in failures:
                    print(f"{failure.reader} {failure.number}: {failure.signature}", flush=True)
                    if args.show:
                        print(failure.command, failure.said[-3000:], sep="\n", flush=True)
                failures.setdefault(failure.signature, []).append(failure)
    print(f"{args.n} inputs, {sum(map(len, failures.values()))} failures of {len(failures)} kinds")
    for signature, found in sorted(failures.items(), key=lambda item: -len(item[1])):
        print(f"{len(found):5}  {signature}  first: --reader {found[0].reader} --first {found[0].number}")
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in sorted(spent.items(), key=lambda i: -i[1])))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
