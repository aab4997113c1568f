#!/usr/bin/env python
"""Turn a table of segments into an annotation file: a door to `wtal-bench import-annotations`."""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["import-annotations", *sys.argv[1:]]))
