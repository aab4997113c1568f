"""Score a detection file: `python tools/evaluate.py DETECTIONS --protocol thumos14/v1` (the same as `wtal-bench evaluate`)."""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
