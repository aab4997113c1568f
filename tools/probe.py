#!/usr/bin/env python
"""Measure how hard a data set is: a door to `wtal-bench probe`.

Example: python tools/probe.py data/composed/ucf101
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["probe", *sys.argv[1:]]))
