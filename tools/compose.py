#!/usr/bin/env python
"""Make untrimmed videos of features of trimmed clips: a door to `wtal-bench compose`.

Example: python tools/compose.py ucf101_clips --step 0.28 --background Basketball Biking
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["compose", *sys.argv[1:]]))
