"""Runs -> table: records, their rules, and the leaderboard rendered from them. Imports no torch.

One JSON a run is the only truth (`record`, `validate`); the tables are a pure function of the filed records and of
`leaderboard/published.csv` (`published`, `rows`, `gains`, `markdown`, `page`), and stored detections let anyone score a
row again (`filing`). `frame()` gives the records as one tidy pandas table.
"""

from importlib import import_module

__all__ = ["frame"]


def __getattr__(name: str) -> object:
    """Load what builds tables when it is asked for: whoever checks a record's rules needs none of it."""
    if name in __all__:
        return getattr(import_module("wtal_bench.leaderboard.build"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
