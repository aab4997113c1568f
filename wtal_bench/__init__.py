"""wtal-bench: every weakly supervised temporal action localization method under one protocol.

Importing this package is cheap (no torch): pick the room you need, in the order data walks through them:
`interfaces`, `registry`, `plugins`, `data`, `modeling`, `decoding`, `evaluation`, `protocols`, `running`,
`leaderboard`.
"""

__version__ = "0.1.0"
