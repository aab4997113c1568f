"""The embedded benchmark: seeded synthetic features of two streams over realistic time lines.

    folder = ensure_synthetic("demo", world=0)         # features/ and annotations.json, made once, cached
    annotations = synthetic_annotations("demo", 0)     # the same annotations without making any feature
    stand_in("thumos14.json", "data/stand-in", dim=64)   # drawn features on a real data set's time lines

Profiles: `tiny` (5 classes, 30 videos, 2 x 16; to test plumbing, its mAP means nothing), `demo` (10 classes, 250
videos, 2 x 64), `full` (20 classes, 512 videos, 2 x 1024, size and time lines of THUMOS14), `anet` (20 classes, 700
videos, 2 x 64, time lines of ActivityNet 1.3). Every profile has train, val and test videos; tune on val or on
another world, never on the test split that is reported.

Clips are drawn with the statistics of real CNN features and cut into untrimmed videos as `wtal-bench compose` cuts real
clips; README.md of this folder has real composed videos, the first generator and this one side by side.

Every video depends on (profile, world, split, index) alone. Time lines come from random streams of their own, so the
annotations are made in a moment, without features, wherever a stored result is scored again.

What this benchmark claims: time lines with the statistics of real annotations, features as hard to tell apart as real
ones were measured to be, the same numbers everywhere, speed, room above every baseline, and that the plain shortcuts
that are probed (`wtal-bench probe`) do not work.

What it does not claim: the ranking of methods on real videos. Its results stand in tables of their own, marked with
profile, world and generator version; report at least five training seeds and three worlds. No method may take the
number of instances from a video's length, although the two correlate here as they do in real videos.
"""

from wtal_bench.data.synthetic.build import ensure_synthetic, generate
from wtal_bench.data.synthetic.profiles import GENERATOR_VERSION, PROFILES, Profile, synthetic_annotations
from wtal_bench.data.synthetic.standin import stand_in

__all__ = [
    "GENERATOR_VERSION",
    "PROFILES",
    "Profile",
    "ensure_synthetic",
    "generate",
    "stand_in",
    "synthetic_annotations",
]
