"""wtal-bench: every weakly supervised temporal action localization method under one protocol.

`from wtal_bench import train, detect, evaluate, frame` gives the verbs as functions (`wtal_bench.library`). Importing
this package is cheap (no torch): pick the room you need, in the order data walks through them: `interfaces`,
`registry`, `plugins`, `data`, `modeling`, `decoding`, `evaluation`, `protocols`, `running`, `leaderboard`.
"""

from importlib import import_module

__version__ = "0.1.0"

__all__ = ["__version__", "detect", "evaluate", "frame", "train"]


def __getattr__(name: str) -> object:
    """Load the functions of the library when one is asked for."""
    if name in __all__:
        return getattr(import_module("wtal_bench.library"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
