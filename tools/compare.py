#!/usr/bin/env python
"""Compare two runs with a bootstrap over videos: a door to `wtal-bench compare`.

Example: python tools/compare.py ecm-s0-1a2b3c4d gaufuse-s0-5e6f7a8b
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
