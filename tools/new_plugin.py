"""The verb `new-plugin` of wtal-bench."""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["new-plugin", *sys.argv[1:]]))
