#!/usr/bin/env python
"""Write a folder of feature files into a feature store: a door to `wtal-bench import-features`.

Example: python tools/import_features.py i3d/rgb i3d/flow --out data/mine/features --extractor I3D --fps 25 --stride 16
"""

import sys

from wtal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main(["import-features", *sys.argv[1:]]))
