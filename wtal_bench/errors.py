"""Errors a person can act on, and the helpers that word them.

Every error raised for bad input is a `WtalError`: its text says what was wrong, where, what would be right and what
to do next. The command line prints that text alone and exits with status 2; any other exception is a bug in the
harness and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from wtal_bench.names import bare, composed, difference


class WtalError(Exception):
    """Bad input, explained. `str(error)` is the whole message for the user."""


class ConfigError(WtalError):
    """A config (or `--cfg-options`) holds a key, name or value that cannot work."""


class DataError(WtalError):
    """A feature store, annotation or detection file is missing, damaged or inconsistent."""


class PluginError(WtalError):
    """A plugin or one of its components is unknown, broken, duplicated or incompatible."""


class CheckpointError(WtalError):
    """A checkpoint cannot be read safely or belongs to another model."""


class RecordError(WtalError):
    """A leaderboard record breaks a rule; the text names the rule."""


_LONGEST = 200
"""Characters of the longest name that is compared."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest option, or an empty string when nothing is near.

    An option that is the same but for case, spaces, Unicode form, a file's ending or a leading "v_" is the nearest;
    what of it the eye does not see is said.
    """
    name = str(name)
    options = sorted({str(option) for option in options if len(str(option)) <= _LONGEST})
    if len(name) > _LONGEST:  # comparing is quadratic, and nobody means a name of a page
        return ""
    same = [option for option in options if bare(option) == bare(name)]
    if same:
        exact = [option for option in same if composed(option) == composed(name)]
        option = (exact or same)[0]
        differ = "" if option == name else difference(name, option)
        return f" Did you mean {option!r}?" + (f" The two differ in {differ}." if differ not in ("", "case") else "")
    by_lower = {option.lower(): option for option in options}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def listing(options: Iterable[str], limit: int = 20) -> str:
    """Join names for a message, cut after `limit` with a count of the rest."""
    options = [str(option) for option in options]
    shown = ", ".join(options[:limit]) or "none"
    return shown if len(options) <= limit else f"{shown} and {len(options) - limit} more"
