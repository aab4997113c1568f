"""Records that repeat one another, and names that can be taken for one another."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from wtal_bench.leaderboard.identity import annotation_key

Placed = tuple[str, Mapping[str, Any]]
"""Where a record lies, and the record."""

_LOOKS_LIKE = {
    # Cyrillic and Greek letters that most fonts draw as a Latin one, after case folding
    **dict(zip("авсԁеһіјкӏмпорԛѕтυѵԝхуғгѡъь", "abcdehijklmnopqstuvwxyfrwbb")),
    **dict(zip("αβγδεηικμνορςστυχω", "abydenikuvopsstuxw")),
    **{"ı": "i", "ɡ": "g", "ɑ": "a", "ᴄ": "c", "ᴏ": "o", "ℓ": "l", "þ": "p", "ø": "o", "đ": "d", "ł": "l"},
    # digits and letters
    **{"0": "o", "1": "l", "i": "l", "|": "l"},
}  # fmt: skip


@lru_cache(maxsize=1024)
def skeleton(name: str) -> str:
    """What a name looks like: compatible forms, case, accents, separators and look-alike letters are made equal.

    After the skeletons of Unicode TS 39, with a table of the letters that occur in Latin names.
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    folded = re.sub(r"(?<=\d)\.(?=\d)", "=", folded)  # 1.0 is no 10
    letters = (_LOOKS_LIKE.get(letter, letter) for letter in folded if unicodedata.category(letter)[0] in "LNS")
    # twice: a look-alike may lead to a letter that has one itself (Cyrillic i -> i -> l)
    return "".join(_LOOKS_LIKE.get(letter, letter) for letter in letters).replace("rn", "m").replace("vv", "w")


def look_alike_problems(records: Iterable[Placed]) -> list[str]:
    """Return a sentence for every method, or variant of one method, whose name can be taken for another's."""
    methods: dict[str, tuple[str, str]] = {}
    variants: dict[tuple[str, str], tuple[str, str]] = {}
    problems = []
    for where, record in records:
        pairs = ((methods, skeleton(record["method"]), record["method"], "method"),)
        if record["variant"]:
            key = (record["method"], skeleton(record["variant"]))
            pairs += ((variants, key, record["variant"], "variant"),)
        for seen, key, name, kind in pairs:
            known, first = seen.setdefault(key, (name, where))
            if known != name:
                problems.append(
                    f"{where}: the {kind} {_spelt(name)} looks like {_spelt(known)} of {first}. Call it exactly that, "
                    "or so that nobody takes one for the other."
                )
    return problems


def _spelt(name: str) -> str:
    odd = [f"U+{ord(letter):04X}" for letter in name if not letter.isascii()]
    return f"{name!r}{f' ({chr(32).join(odd[:4])})' if odd else ''}"


def duplicate_problems(records: Iterable[Placed]) -> list[str]:
    """Return a sentence for every record that repeats another: same id, same run and seed, or same detections.

    Args:
        records: (where, record) in the order in which the first of two is the one to keep.
    """
    seen: dict[tuple[Any, ...], str] = {}
    problems = []
    for where, record in records:
        for what, key in _fingerprints(record).items():
            first = seen.setdefault((what, *key), where)
            if first != where:
                problems.append(f"{where} repeats {first}: {what}. Keep one (`leaderboard add --replace` swaps them).")
                break
    return problems


def _fingerprints(record: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    block, found = (record["protocol"]["name"], record["protocol"]["hash"]), record["detections"]
    prints: dict[str, tuple[Any, ...]] = {"the same id": (record["id"],)}
    if found["count"]:  # two failed runs may both have found nothing
        prints["the same detections"] = (*block, found.get("rows") or found["sha256"])
        prints["the same detections file"] = (*block, found["sha256"])
    if record["source"] == "measured":
        run = ("method", "variant", "config_hash", "seed", "selection")
        data = (record["features"]["manifest_hash"], annotation_key(record))
        prints["the same config and seed"] = (*block, *data, *(record[key] for key in run))
    return prints
