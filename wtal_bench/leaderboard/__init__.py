"""Runs -> table: records, their rules, and the leaderboard rendered from them. Imports no torch.

One JSON a run is the only truth (`record`, `validate`); the tables are a pure function of the filed records and of
`leaderboard/published.csv` (`published`, `rows`, `gains`, `markdown`, `page`), and stored detections let anyone score a
row again (`filing`). `frame()` gives the records as one tidy pandas table.
"""

from wtal_bench.leaderboard.build import frame

__all__ = ["frame"]
