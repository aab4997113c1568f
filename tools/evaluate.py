"""The verb `evaluate` of wtal-bench."""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
