"""The verb `infer` of wtal-bench."""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["infer", *sys.argv[1:]]))
