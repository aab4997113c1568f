"""What an idea adds to a host: every filed mix beside its host's row of the same block, over the seeds both have.

A mix is known by its record's config: `ideas` says what was put on the host, `host` on which method and variant. The
host's row is the one of that name in the mix's block (protocol, features, annotations) with the mix's supervision and
way to pick a checkpoint, and trained as the mix was: a mix that began from its host's weights stands beside the row of
those very runs (its records' `parent`), any other beside rows of the same data, precision and train section, as far as
both records hold them. Nothing but the records is needed: the interval is that of their stored replicates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wtal_bench.errors import listing
from wtal_bench.evaluation import Interval
from wtal_bench.leaderboard.rows import Block, Row, Score, Section, compare_rows
from wtal_bench.leaderboard.titles import PLUS, SHOWN_PLUS, idea_title, row_title

UNDEFINED = Score(None, None)

TRAINED_BY = ("data", "precision", "train")
"""Sections of a config that a mix shares with its host."""

OTHERWISE = {("train", "checkpoint_interval"), ("train", "pairs"), ("model", "postprocessor")}
"""What may differ: how often a run is saved, the pairs that an idea's losses need, and how it decodes."""

NAMED = 3
"""Differences that a note names."""


@dataclass(frozen=True)
class Gain:
    """A mix and its host, cut to the seeds they share.

    Attributes:
        mix: the whole row of the mix.
        host: method and variant of the host, in words.
        ideas: what was put on it, in words.
        seeds: those of both; empty when there is nothing to compare with.
        before, after: mean and spread of the host's and of the mix's ranking average over `seeds`.
        difference: after less before, a fraction; None when either is undefined.
        interval: the bootstrap over videos, paired, and over `seeds`; None where replicates do not pair up.
        pair: the records of the mix, then of the host, that were compared, in the order of `seeds`.
        shaded: whether the mix or its host is not ranked.
        note: what the reader must know; empty for a whole comparison.
    """

    mix: Row
    host: str
    ideas: str
    seeds: tuple[int, ...] = ()
    before: Score = UNDEFINED
    after: Score = UNDEFINED
    difference: float | None = None
    interval: Interval | None = None
    pair: tuple[dict[str, Any], ...] = ()
    shaded: bool = False
    note: str = ""


def host_of(row: Row) -> tuple[str, str] | None:
    """Method and variant of the host a row's ideas were put on; None for a row that is no mix."""
    config = row.records[0]["config"]
    host, ideas = (config.get(key) for key in ("host", "ideas"))
    if not (isinstance(ideas, Mapping) and ideas and isinstance(host, Mapping) and host.get("method")):
        return None
    return str(host["method"]), str(host.get("variant") or "")


def ideas_of(row: Row) -> tuple[str, ...]:
    """The ideas of a mix, in the order in which they were put on the host."""
    order = row.variant.split(PLUS)
    names = map(str, row.records[0]["config"]["ideas"])
    return tuple(sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)))


def find_gains(section: Section, block: Block) -> list[Gain]:
    """A gain for every mix of a block, by host and idea; a mix whose host has several rows has one for each."""
    mixes = [row for row in block.rows if host_of(row) is not None]
    alike = Counter(map(_terms, mixes))
    found = []
    for mix in mixes:
        note = f"one of several settings, config {_config(mix)}" if alike[_terms(mix)] > 1 else ""
        found += _of_mix(section, mix, block.rows, note)
    return sorted(found, key=lambda gain: (gain.host, gain.ideas, gain.mix.key))


def _terms(row: Row) -> tuple[str, ...]:
    return row.method, row.variant, row.supervision, row.selection


def _config(row: Row) -> str:
    return row.records[0]["config_hash"][:8]


def _of_mix(section: Section, mix: Row, rows: Sequence[Row], note: str) -> list[Gain]:
    named = _named(mix, rows)
    plain = Gain(mix, row_title(*host_of(mix)), _ideas_in_words(mix), shaded=bool(mix.reason))
    plain = replace(plain, note=_joined(mix.reason, note))
    if not named:
        why = f"no {plain.host} is filed with the same features, annotations, supervision and choice of checkpoint"
        return [replace(plain, note=_joined(plain.note, why))]
    hosts, why = _trained_alike(mix, named, rows)
    if not hosts:
        return [replace(plain, note=_joined(plain.note, why))]
    # what is not ranked stands in only where nothing else is there
    hosts = [row for row in hosts if not row.reason] or hosts
    several = "one of several rows of the host, config {}" if len(hosts) > 1 else ""
    return [_gain(section, plain, host, several.format(_config(host))) for host in hosts]


def _named(mix: Row, rows: Sequence[Row]) -> list[Row]:
    """The rows of the mix's host."""
    terms = (*host_of(mix), mix.supervision, mix.selection)
    return [row for row in rows if host_of(row) is None and _terms(row) == terms]


def _trained_alike(mix: Row, hosts: Sequence[Row], rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The host's rows that a mix may be held against, and why there is none."""
    began = _began_from(mix, rows)
    if began:
        alike = [row for row in hosts if began & {record["id"] for record in row.records}]
        hosts = [row for row in hosts if began & {record.get("parent") for record in row.records}]
        if alike or not hosts:
            return alike, f"began from {listing(sorted(began))}, which is in no row of the host here"
    elif _setting(mix, "train", "init_from") and not _setting(hosts[0], "train", "init_from"):
        return (
            [],
            "began from weights that its record does not name, so the host's row that it is to be held against"
            " is not known",
        )
    differences = [list(_differences(mix, row, TRAINED_BY)) for row in hosts]
    alike = [row for row, found in zip(hosts, differences) if not found]
    # ideas may change the model: another one is told, not refused
    alike = [row for row in alike if not _other_model(mix, row)] or alike
    return alike, f"no row of the host was trained as the mix was: {_spoken(min(differences, key=len))}"


def _began_from(mix: Row, rows: Sequence[Row]) -> set[str]:
    """The records a mix's runs began from; of a mix that began from another mix, those that one began from."""
    by_id = {record["id"]: record for row in rows for record in row.records}
    began, left = set(), [record.get("parent") for record in mix.records]
    for _ in range(len(by_id) + 1):
        earlier = [by_id[parent] for parent in left if parent in by_id and by_id[parent]["config"].get("ideas")]
        mixed = {record["id"] for record in earlier if record.get("parent")}
        began |= {parent for parent in left if parent and parent not in mixed}
        left = [record["parent"] for record in earlier if record.get("parent")]
    return began


def _setting(row: Row, *path: str) -> Any:
    value = row.records[0]["config"]
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _other_model(mix: Row, host: Row) -> str:
    """How the host's model is another than the mix's, where both have a setting; empty for runs that began from it."""
    if _setting(mix, "train", "init_from"):
        return ""
    found = list(_differences(mix, host, ("model",)))
    return _spoken(found) if found else ""


def _differences(mix: Row, host: Row, sections: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """Settings that both records hold and that differ: name, the mix's value, the host's."""
    ours, theirs = ({key: _setting(row, key) for key in sections} for row in (mix, host))
    return _unlike(ours, theirs, ())


def _unlike(ours: Any, theirs: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any, Any]]:
    if path in OTHERWISE:
        return
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in [key for key in ours if key in theirs]:
            yield from _unlike(ours[key], theirs[key], (*path, key))
    elif ours != theirs and (len(path) > 1 or None not in (ours, theirs)):
        yield ".".join(path), ours, theirs


def _spoken(differences: Sequence[tuple[str, Any, Any]]) -> str:
    shown = [f"{name} is {ours!r:.60}, the host's {theirs!r:.60}" for name, ours, theirs in differences[:NAMED]]
    more = [f"and {len(differences) - NAMED} more"] if len(differences) > NAMED else []
    return ", ".join([*shown, *more])


def _gain(section: Section, plain: Gain, host: Row, note: str) -> Gain:
    mix = plain.mix
    seeds = tuple(seed for seed in mix.seeds if seed in host.seeds)
    shaded = bool(mix.reason or host.reason)
    notes = [plain.note, note, f"host: {host.reason}" if host.reason else "", _other_model(mix, host)]
    if not seeds:
        no_seed = f"no seed in common: the host has {_numbers(host.seeds)}, the mix {_numbers(mix.seeds)}"
        return replace(plain, shaded=shaded, note=_joined(*notes, no_seed))
    if set(mix.seeds) != set(host.seeds):
        both = f"the host has {_numbers(host.seeds)}, the mix {_numbers(mix.seeds)}"
        notes.append(f"over the seeds both have, {_numbers(seeds)}: {both}")
    ours, theirs = (_cut(row, seeds) for row in (mix, host))
    after, before = (row.average(section.main, section.span) for row in (ours, theirs))
    defined = after.mean is not None and before.mean is not None
    interval = compare_rows(ours, theirs, section.main, section.span) if defined else None
    if not defined:
        notes.append("the average is undefined for a seed")
    elif interval is None:
        notes.append("no interval: the records hold no replicates of the same videos")
    return replace(
        plain,
        seeds=seeds,
        before=before,
        after=after,
        difference=after.mean - before.mean if defined else None,
        interval=interval,
        pair=(*ours.records, *theirs.records),
        shaded=shaded,
        note=_joined(*notes),
    )


def _cut(row: Row, seeds: Sequence[int]) -> Row:
    """A row of some of its seeds; one that has no others stays as it is, and what was made of it with it."""
    kept = tuple(record for record in row.records if record["seed"] in seeds)
    return row if kept == row.records else Row(kept, row.reason)


def _ideas_in_words(mix: Row) -> str:
    """The ideas; behind them the mix's variant, where somebody gave it a name of its own."""
    ideas = ideas_of(mix)
    usual = PLUS.join(filter(None, (host_of(mix)[1], *ideas)))
    shown = SHOWN_PLUS.join(map(idea_title, ideas))
    return shown if mix.variant == usual else f"{shown} ({mix.variant or 'no variant'})"


def _numbers(seeds: Sequence[int | None]) -> str:
    return listing([str(seed) for seed in seeds])


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
