"""The verb `picture` of wtal-bench."""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["picture", *sys.argv[1:]]))
