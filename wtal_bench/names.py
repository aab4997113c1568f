"""Names of videos and classes as people and file systems write them: which are the same, and which only look so.

One name has several spellings in Unicode (macOS hands file names out decomposed: "e" and an accent), so every door
that reads names composes them (`composed`), and two spellings of one name are one name. What differs in case, in
spaces or in a file's ending is another name, but rarely meant to be: `folded` and `bare` find those for hints.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Collection, Iterable

_ENDINGS = re.compile(
    r"\.(mp4|avi|mkv|webm|mov|m4v|mpg|mpeg|wmv|flv|ts|3gp|npy|npz|pt|pth|h5|csv|mat|json)$", re.IGNORECASE
)
_PREFIX = "v_"
_JOINTS = re.compile(r"[;,|/+&]")
SHORTEST, LONGEST = 5, 80
"""Letters of names among which one may be a slip; comparing longer ones takes long."""


def composed(name: str) -> str:
    """Return the composed spelling (NFC) of a name, which is how names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name without what rarely tells two apart: Unicode form, case, and how many spaces."""
    return unicodedata.normalize("NFC", " ".join(unicodedata.normalize("NFKC", name).casefold().split()))


def bare(name: str) -> str:
    """Return a video's id folded, without the ending of a file and ActivityNet's leading "v_"."""
    return _without_ending(folded(name)).removeprefix(_PREFIX)


def lookalikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of different names that are equal when folded, in the order of their first ones."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(folded(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_twins(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return pairs of names of letters that are one slip apart, as `Stripe` and `Stripes` or `trian` and `train` are.

    A slip is a letter too many, another one, or two neighbours exchanged. Numbers tell names apart on purpose (`class
    1`), and so do letters in short names; what is equal when folded is told by `lookalikes`.
    """
    forms = {name: folded(name) for name in dict.fromkeys(names)}
    buckets: dict[str, list[str]] = {}
    for name, form in forms.items():
        if SHORTEST <= len(form) <= LONGEST and form.replace(" ", "").isalpha():
            for cut in {form, *(form[:at] + form[at + 1 :] for at in range(len(form)))}:
                buckets.setdefault(cut, []).append(name)
    pairs = {pair: None for group in buckets.values() for pair in itertools.combinations(group, 2)}
    return [pair for pair in pairs if forms[pair[0]] != forms[pair[1]] and _one_slip(forms[pair[0]], forms[pair[1]])]


def joined(name: str, others: Collection[str]) -> list[str]:
    """The parts of a name that is several in one, such as `Red;Stripes` where `Red` is a name; [] for a single one."""
    parts = [part.strip() for part in _JOINTS.split(name) if part.strip()]
    if len(parts) < 2:
        return []
    known = set(map(folded, others)) - {folded(name)}
    return parts if any(folded(part) in known for part in parts) else []


def _one_slip(name: str, other: str) -> bool:
    short, long = sorted((name, other), key=len)
    if len(short) != len(long):
        return any(long[:at] + long[at + 1 :] == short for at in range(len(long)))
    differ = [at for at, pair in enumerate(zip(short, long)) if pair[0] != pair[1]]
    if len(differ) == 1:
        return True
    swapped = len(differ) == 2 and differ[1] == differ[0] + 1
    return swapped and short[differ[0]] == long[differ[1]] and short[differ[1]] == long[differ[0]]


def difference(name: str, other: str) -> str:
    """Say in what two names differ that are equal when bare, such as "case" or "the ending '.mp4'"."""
    parts = []
    a, b = composed(name), composed(other)
    if (a, b) != (name, other) and a == b:
        return "Unicode form"
    endings = {_ending(a), _ending(b)}
    if len(endings) > 1:
        parts.append(f"the ending {max(endings, key=len)!r}")
    a, b = _without_ending(a), _without_ending(b)
    if a.casefold().startswith(_PREFIX) != b.casefold().startswith(_PREFIX):
        parts.append(f"the leading {_PREFIX!r}")
        a, b = (text[len(_PREFIX) :] if text.casefold().startswith(_PREFIX) else text for text in (a, b))
    spaced = [" ".join(text.split()) for text in (a, b)]
    if spaced != [a, b]:
        parts.append("spaces")
    if spaced[0] != spaced[1]:
        plain = [unicodedata.normalize("NFKC", text) for text in spaced]
        parts += ["Unicode form"] if plain != spaced else []
        parts += ["case"] if plain[0] != plain[1] else []
    return " and ".join(parts) or "nothing that shows"


def alike_hint(odd: Iterable[str], known: Collection[str]) -> str:
    """Say how unknown ids differ from known ones where all but a trifle is the same; empty when none does."""
    forms = {bare(name): name for name in known}
    groups: dict[str, list[tuple[str, str]]] = {}
    for name in odd:
        meant = forms.get(bare(name))
        if meant is not None and name not in known:
            groups.setdefault(difference(name, meant), []).append((name, meant))
    return "".join(
        f" {len(group)} are known but for {what}: write {group[0][1]!r} for {group[0][0]!r}."
        for what, group in groups.items()
    )


def _without_ending(name: str) -> str:
    return name[: len(name) - len(_ending(name))]


def _ending(name: str) -> str:
    found = _ENDINGS.search(name)
    return found.group() if found and found.start() else ""
