#!/usr/bin/env python
"""Write a page about runs: a door to `wtal-bench report`.

Example: python tools/report.py work_dirs/ecm_synthetic/RUN
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
