#!/usr/bin/env python
"""File rows, rebuild, check and re-score the leaderboard: a door to `wtal-bench leaderboard`.

Example: python tools/leaderboard.py --check --verify
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["leaderboard", *sys.argv[1:]]))
