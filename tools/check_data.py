#!/usr/bin/env python
"""Check a feature store against its annotations: a door to `wtal-bench check-data`.

Example: python tools/check_data.py data/thumos14/features --annotations data/thumos14/thumos14.json
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["check-data", *sys.argv[1:]]))
