"""How long a sweep will take, from the runs of it that are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from wtal_bench.running.plan import BEGUN, DONE, Planned, read_result
from wtal_bench.sweeps.plan import Plan
from wtal_bench.text import duration, table


def cost(record: Mapping) -> float:
    """Seconds of a run, training and test."""
    return sum(record["cost"].get(key, 0.0) for key in ("train_seconds", "test_seconds"))


def plan_lines(plan: Plan, jobs: int = 1) -> list[str]:
    """What a sweep would do: a line a row with the states of its runs, and how long the rest takes.

    Args:
        plan: the sweep.
        jobs: runs side by side.
    """
    rows = [[run.folder.parent.name, str(run.config.runtime.seed), _state(run)] for run in plan.runs]
    return [*table(["row", "seed", "state"], rows, left=(0, 2)), estimate(plan, jobs)]


def _state(run: Planned) -> str:
    if run.changed:
        return f"changed: {'; '.join(run.changed)}"
    if run.start is None or run.done:
        return run.state
    there = "/".join(run.start.parts[-2:])
    return f"{run.state}: scores {there}, trained alike" if run.scores else f"{run.state}: begins from {there}"


def estimate(plan: Plan, jobs: int = 1) -> str:
    """How long the runs that are not done take: as long as those of their row did, or those of the others."""
    seconds: dict[str, list[float]] = {}
    for run in plan.runs:
        if run.state == DONE and not run.changed:
            seconds.setdefault(str(run.folder.parent), []).append(cost(read_result(run.folder).record))
    left = [run for run in plan.runs if run.state != DONE or run.changed]
    if not left:
        return "nothing is left to do"
    if not seconds:
        return f"{len(left)} runs to make; how long they take is known when the first is done: run it with --rows"
    return f"{len(left)} runs to make, about {duration(_sum(left, seconds) / jobs)}{_side_by_side(jobs)}"


def _sum(left: Iterable[Planned], seconds: Mapping[str, list[float]]) -> float:
    whole = fmean(value for values in seconds.values() for value in values)
    total = 0.0
    for run in left:
        if run.scores:  # which takes seconds
            continue
        own = seconds.get(str(run.folder.parent))
        total += (fmean(own) if own else whole) * (0.5 if run.state == BEGUN and not run.changed else 1.0)
    return total


def _side_by_side(jobs: int) -> str:
    return f" with {jobs} side by side" if jobs > 1 else ", one after another"
