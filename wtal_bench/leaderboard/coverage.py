"""The `data` section of a record: which videos it saw, of how many. Its own rules, and what it keeps off the ranking.

The shape is in `wtal_bench.leaderboard.record`. A record without the section was written before there was one:
"coverage not recorded". A row is ranked only when every split it names is whole: what a run left out, whatever let it,
is counted, shown (`100/200`) and never ranked. A published choice of videos (THUMOS14's 210) is a column of its own, by
an evaluator, and no way round that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wtal_bench.data.annotations import SEGMENTS, Annotations
from wtal_bench.data.coverage import TEST, TRAIN, VALIDATION, ids_hash
from wtal_bench.errors import did_you_mean, listing
from wtal_bench.evaluation import PRESETS

SPLITS = (TRAIN, VALIDATION, TEST)
COUNTS = ("annotated", "with_features", "used", "held_out", "instances", "instances_lost")
LISTS = ("ids", "missing", "left_out", "bare")
UNRECORDED = "coverage not recorded"


def incomplete_reason(record: Mapping[str, Any]) -> str:
    """Why a valid record's videos keep it out of the ranking, or an empty string."""
    data = record.get("data")
    if data is None:
        return UNRECORDED
    splits = data["splits"]
    if record["source"] == "measured" and TRAIN not in splits:
        return "coverage of its training videos not recorded"
    for name, verb in ((TRAIN, "trained on"), (TEST, "tested on")):
        if name in splits and (split := splits[name])["used"] + split["held_out"] < split["annotated"]:
            choice = f", the choice of {split['preset']}" if split.get("preset") else ""
            return f"{verb} {coverage_cell(record, name)} videos{choice}"
    return ""


def coverage_cell(record: Mapping[str, Any], split: str) -> str:
    """`100/200`: videos used of those annotated; "?" where it is not recorded."""
    block = record.get("data", {}).get("splits", {}).get(split)
    return "?" if block is None else f"{block['used'] + block['held_out']}/{block['annotated']}"


def coverage_summary(record: Mapping[str, Any]) -> str:
    """`train 100/200, test 212/212` of a record that left videos out, or does not say; empty where none was."""
    if not incomplete_reason(record):
        return ""
    names = (TEST,) if record["source"] == "external" else (TRAIN, TEST)
    return ", ".join(f"{name} {coverage_cell(record, name)}" for name in names)


def coverage_problems(record: Mapping[str, Any]) -> Iterator[str]:
    """Say where a record's `data` disagrees with itself or with what stands beside it; nothing when there is none."""
    if "data" not in record:
        return
    data = record["data"]
    if extra := set(data) - {"splits", "notes"}:
        yield f"data holds {listing(sorted(map(str, extra)))}; known: splits, notes"
    yield from _notes(data.get("notes"))
    splits = data.get("splits")
    if not isinstance(splits, Mapping) or TEST not in splits or set(splits) - set(SPLITS):
        given = sorted(map(str, splits)) if isinstance(splits, Mapping) else splits
        yield f"data.splits has {given!r}; needed: {TEST}, and of {listing(SPLITS)} what the run had"
        return
    broken = [problem for name, split in splits.items() for problem in _split(name, split)]
    yield from broken or _between(record, splits)


def annotation_problems(record: Mapping[str, Any], annotations: Annotations, videos: Sequence[str]) -> Iterator[str]:
    """Say where a record's `data` disagrees with the annotations it was scored on and with its detections.

    Args:
        record: keeps `coverage_problems`.
        annotations: the file whose hash it names.
        videos: ids in its detections file.
    """
    if "data" not in record:
        return
    splits = record["data"]["splits"]
    if record["source"] == "measured" and set(videos) != set(splits[TEST]["ids"]):
        odd = sorted(set(videos) ^ set(splits[TEST]["ids"]))
        yield f"data.splits.test.ids are not the videos of its detections: {listing(odd, 3)}"
    for name, split in splits.items():
        known = {video for video, entry in annotations.videos.items() if entry.subset == split["subset"]}
        listed = {video for key in LISTS for video in split[key]}
        listed |= set(splits[VALIDATION]["ids"]) if name == TRAIN and VALIDATION in splits else set()
        if name == VALIDATION:
            listed, known = listed - known, set()
        if listed != known:
            yield (
                f"data.splits.{name} names other videos than subset {split['subset']!r} of the annotations holds: "
                f"{listing(sorted(listed ^ known), 3)}"
            )
            continue
        away = [*split["missing"], *split["left_out"]]
        wanted = known - set(split["bare"]) if name != VALIDATION else set(split["ids"])
        counts = {"instances": wanted, "instances_lost": away}
        for key, ids in counts.items():
            number = sum(len(annotations.videos[video].segments) for video in ids)
            if split[key] != number:
                yield f"data.splits.{name}.{key} is {split[key]}, the annotations have {number}"
        if name == TEST and (full := [video for video in split["bare"] if annotations.videos[video].segments]):
            yield f"data.splits.test.bare names videos with annotated instances: {listing(full, 3)}"
        tags = record["annotations"].get("tags", SEGMENTS)
        known_tags = tags == SEGMENTS or tags in annotations.tag_lists
        if name == TRAIN and known_tags and (full := [v for v in split["bare"] if annotations.tags(v, tags)]):
            yield f"data.splits.train.bare names videos with tags to learn: {listing(full, 3)}"


def _split(name: str, split: Any) -> Iterator[str]:
    where = f"data.splits.{name}"
    if not isinstance(split, Mapping):
        yield f"{where} is {split!r}; needed: {listing((*COUNTS, *LISTS))}"
        return
    known = {"subset", "ids_hash", "preset", *COUNTS, *LISTS}
    for key in sorted(map(str, set(split) - known)):
        yield f"{where}.{key} is no key of it.{did_you_mean(key, known)}"
    if not isinstance(split.get("subset"), str):
        yield f"{where}.subset is {split.get('subset')!r}; needed: the annotations' name of it"
    if "preset" in split and split["preset"] not in [*PRESETS]:
        yield f"{where}.preset is {split['preset']!r:.60}; needed: the name of an evaluator: {listing(PRESETS)}"
    counts = [key for key in COUNTS if not _is_count(split.get(key))]
    lists = [key for key in LISTS if not _is_ids(split.get(key))]
    yield from (f"{where}.{key} is {split.get(key)!r:.60}; needed: a whole number" for key in counts)
    yield from (f"{where}.{key} must be a sorted list of different video ids" for key in lists)
    if counts or lists:
        return
    named = [video for key in LISTS for video in split[key]]
    if len(set(named)) != len(named):
        twice = [video for video, count in Counter(named).items() if count > 1][:3]
        yield f"{where} names {listing(twice)} in two of its lists; a video is used, missing, left out or bare"
    if split.get("ids_hash") != ids_hash(split["ids"]):
        yield f"{where}.ids_hash is not the hash of its ids (`data.coverage.ids_hash`)"
    if split["used"] != len(split["ids"]):
        yield f"{where}.used is {split['used']}, its ids are {len(split['ids'])}"
    away = len(split["missing"]) + len(split["left_out"])
    if split["annotated"] != split["used"] + split["held_out"] + away:
        yield (
            f"{where}.annotated is {split['annotated']}, but {split['used']} used, {split['held_out']} held out and "
            f"{away} missing or left out make {split['used'] + split['held_out'] + away}"
        )
    elif split["with_features"] != split["annotated"] - len(split["missing"]):
        yield f"{where}.with_features is {split['with_features']}; annotated less missing is another number"
    if split["instances_lost"] > split["instances"] or (split["instances_lost"] and not away):
        yield (
            f"{where}.instances_lost is {split['instances_lost']} of {split['instances']}, with {away} videos missing "
            "or left out"
        )


def _between(record: Mapping[str, Any], splits: Mapping[str, Any]) -> Iterator[str]:
    held = splits[VALIDATION]["used"] if VALIDATION in splits else 0
    if TRAIN in splits and splits[TRAIN]["held_out"] != held:
        yield f"data.splits.train.held_out is {splits[TRAIN]['held_out']}, the validation split has {held} videos"
    if (record["selection"] == "val_holdout") != bool(held) and TRAIN in splits:
        yield f"selection is {record['selection']!r}, but {held} training videos were held out"
    seen: dict[str, str] = {}
    for name in (name for name in SPLITS if name in splits):
        split = splits[name]
        both = next((video for video in split["ids"] if seen.setdefault(video, name) != name), None)
        if both is not None:
            yield f"data.splits: video {both!r} is in {seen[both]} and in {name}"
    config = record["config"].get("data")
    config = config if isinstance(config, Mapping) else {}
    for key, setting, none in (("missing", "missing", "refuse"), ("left_out", "only", None)):
        away = [name for name, split in splits.items() if split[key]]
        if record["source"] == "measured" and away and "missing" in config and config.get(setting, none) == none:
            yield f"data.splits.{away[0]}.{key} names videos, but its own config has data.{setting}={none!r}"
    test = splits[TEST]
    if record["source"] == "measured" and record["detections"].get("videos") != test["used"]:
        yield f"data.splits.test.used is {test['used']}, detections.videos is {record['detections'].get('videos')}"


def _notes(notes: Any) -> Iterator[str]:
    fine = isinstance(notes, list) and all(
        isinstance(note, Mapping) and set(note) == {"code", "text"} and all(isinstance(v, str) for v in note.values())
        for note in notes
    )
    if not fine:
        yield "data.notes must be a list of {code, text}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value) and value == sorted(set(value))
