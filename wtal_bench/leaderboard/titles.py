"""How readers see a row's name: records hold identifiers, plugins say how theirs are spelled.

What no plugin spells is shown as it is, with spaces for underscores. Only what is shown comes from here: records,
leaderboard.csv, ranks and what belongs to what go by the identifiers.
"""

from __future__ import annotations

from collections.abc import Sequence

from wtal_bench.plugins import titles

PLUS = "+"
"""What a mix's variant joins its host's variant and its ideas by."""

SHOWN_PLUS = " + "


def method_title(method: str) -> str:
    """The method for readers, e.g. "BGES + TEN" for bges_ten."""
    known = titles().get(method)
    return known.method if known else method


def idea_title(idea: str) -> str:
    """An idea for readers: the method it is all of, else word by word as the plugin that has the word spells it."""
    known = titles()
    if idea in known:
        return known[idea].method
    words = {word: shown for plugin in reversed(known.values()) for word, shown in plugin.words.items()}
    methods = {name: plugin.method for name, plugin in known.items()}
    return _spelled(idea, {**words, **methods})


def row_title(method: str, variant: str, ideas: Sequence[str] = ()) -> str:
    """Method, and variant in brackets, for readers.

    Args:
        method, variant: as the record names them.
        ideas: the ideas on it, which are words of other plugins.
    """
    if not variant:
        return method_title(method)
    known = titles().get(method)
    words = known.words if known else {}
    parts = [idea_title(part) if part in ideas else _spelled(part, words) for part in variant.split(PLUS)]
    return f"{method_title(method)} ({SHOWN_PLUS.join(parts)})"


def _spelled(name: str, words: dict[str, str]) -> str:
    return words.get(name) or " ".join(words.get(word, word) for word in name.split("_"))
