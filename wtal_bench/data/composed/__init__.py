"""Untrimmed videos made of trimmed clips: time lines, the scenes that are cut along them, and clips read from files.

`timeline` says when what happens, `scenes` cuts clips along it, `clips` reads features of real clips, `build` writes a
data set of them (`wtal-bench compose`). The synthetic benchmark is cut by the same code from clips it draws.
"""
