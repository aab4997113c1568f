#!/usr/bin/env python
"""Generate synthetic features and annotations: a door to `wtal-bench make-synthetic`.

Example: python tools/make_synthetic.py --profile demo --world 0
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["make-synthetic", *sys.argv[1:]]))
