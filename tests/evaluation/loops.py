"""The rules as loops, one detection at a time: what the array code must equal."""

from __future__ import annotations

import random


def tiou(start, end, low, high):
    """Overlap over union; two of no length overlap if they are the same instant."""
    shared = max(min(end, high) - max(start, low), 0.0)
    union = (high - low) + (end - start) - shared
    return shared / union if union else float(start == low)


def loop_ap(truth, found, label, threshold, rules, ambiguous=()):
    """AP of one class by a greedy loop; truth, found, ambiguous: {video: rows}; rules: a `Rules` in seconds."""
    rows = [(score, video, start, end) for video, part in found.items() for name, start, end, score in part
            if name == label]  # fmt: skip
    if rules.ties == "last_first":
        rows = rows[::-1]
    rows.sort(key=lambda row: -row[0])
    free = {video: [row[1:] for row in part if row[0] == label] for video, part in truth.items()}
    taken, flags = set(), []
    for _, video, start, end in rows:
        choices = [(tiou(start, end, *segment), index) for index, segment in enumerate(free.get(video, []))]
        choices = [choice for choice in choices if choice[0] >= threshold and (video, choice[1]) not in taken]
        if choices:
            taken.add((video, pick(choices, rules)))
            flags.append(True)
        elif rules.ambiguous != "ignore_fp" or not touches(start, end, ambiguous.get(video, ())):
            flags.append(False)
    return ap_of(flags, sum(map(len, free.values())), rules.ap)


def pick(choices, rules):
    """Index of the instance taken."""
    if rules.matching == "first":
        return min(index for _, index in choices)
    best = max(overlap for overlap, _ in choices)
    equal = [index for overlap, index in choices if overlap == best]
    return max(equal) if rules.instance_ties == "last_first" else min(equal)


def touches(start, end, stretches):
    """Whether a segment shares time with one of the stretches."""
    return any(min(end, high) > max(start, low) for low, high in stretches)


def ap_of(flags, instances, rule):
    """Average precision from the ranked flags."""
    points, hits = [], 0
    for rank, flag in enumerate(flags, 1):
        hits += flag
        if flag:
            points.append(hits / rank)
    if rule == "interpolated":
        points = [max(points[index:]) for index in range(len(points))]
    return sum(points) / instances


def random_case(seed):
    """Ground truth, detections and ambiguous stretches on a half-second grid with many ties."""
    chance = random.Random(seed)
    truth, found, ambiguous = {}, {}, {}
    for index in range(chance.randint(1, 4)):
        segments = [segment(chance) for _ in range(chance.randint(0, 6))]
        truth[f"v{index}"] = [(chance.choice("AB"), *part) for part in segments]
        found[f"v{index}"] = [
            (chance.choice("AB"), *segment(chance), chance.choice([0.25, 0.5, 0.75]))
            for _ in range(chance.randint(0, 12))
        ]
        ambiguous[f"v{index}"] = [segment(chance) for _ in range(chance.randint(0, 2))]
    truth["v0"].append(("A", 0.0, 4.0))
    found["stranger"] = [("A", 0.0, 4.0, 0.6)]
    names = list(found)
    chance.shuffle(names)
    return truth, {name: found[name] for name in names}, ambiguous


def segment(chance):
    """A segment on the half-second grid, sometimes of no length."""
    start = chance.randint(0, 20) / 2
    return start, start + chance.randint(0, 8) / 2
