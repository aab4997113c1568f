#!/usr/bin/env python
"""Print a completion script: a door to `wtal-bench completion`.

Example: python tools/completion.py bash
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["completion", *sys.argv[1:]]))
