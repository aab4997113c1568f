"""The verb `train` of wtal-bench."""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
