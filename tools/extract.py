#!/usr/bin/env python
"""Extract features of videos: a door to `wtal-bench extract`.

Example: python tools/extract.py videos/ --out data/own/features
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["extract", *sys.argv[1:]]))
