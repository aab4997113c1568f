"""What a run says at its end: the table on every grid, where things lie, and how it compares with the paper."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from wtal_bench import text
from wtal_bench.data.detection_notes import score_notes
from wtal_bench.leaderboard.build import find_folder
from wtal_bench.leaderboard.published import published_file, published_for, read_published
from wtal_bench.leaderboard.rows import Score
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.protocols import get_protocol, is_own, taken_apart
from wtal_bench.running.run import Result
from wtal_bench.text import percent, signed, span_order, spread

BESIDE = {"classification_mAP": "video-level classification mAP", "frame_accuracy": "frame accuracy"}


def summary(result: Result) -> str:
    """Text for a person: mAP per tIoU in percent, record, detections, published value, and any alarm."""
    record = result.record
    scored = record["metrics"]["variants"]
    own = is_own(record["protocol"]["name"])
    lines = ["", *(_scores(record) if scored else ["the test videos have no annotated instance: nothing to score"])]
    lines += [f"warning: {note.text}" for note in score_notes(record["metrics"])]
    lines += _diagnosis(record)
    places = {
        "record": result.record_path,
        "detections": result.record_path.parent / record["detections"]["file"],
        "picture": result.work_dir / "example.png",
    }
    lines += [f"{name:11} {path}" for name, path in places.items() if path.is_file()]
    lines.append(f"a page      wtal-bench report {shlex.quote(str(result.work_dir))}")
    if taken_apart(record["protocol"]["name"])[1]:
        lines.append("these are held-out videos: settings are chosen by them, no row is filed of them")
    elif scored:
        board = " --folder my_leaderboard" if own else ""
        lines.append(f"file it     wtal-bench leaderboard add {shlex.quote(str(result.record_path))}{board}")
    return "\n".join(lines)


def _diagnosis(record: dict[str, Any]) -> list[str]:
    """What the parts of the run are worth, a line, and the causes of a failure that are known by their pattern."""
    seen = record.get("diagnosis")
    if not seen:
        return []
    areas = [f"{name} {values['auc']:.2f}" for name, values in seen["foreground"].items() if values["auc"] is not None]
    curves = seen.get("curves", {})
    if len(curves) > 1:
        areas += [f"curve {name} {curve['auc']:.2f}" for name, curve in curves.items() if curve["auc"] is not None]
    elif seen["curve"]["auc"] is not None:
        areas.append(f"class curve {seen['curve']['auc']:.2f}")
    oracles = [f"{name} {percent(value)}" for name, value in seen["oracles"].items()]
    lines = [f"inside videos, action over background (AUC): {', '.join(areas)}"] if areas else []
    lines.append(f"average mAP {'; '.join(oracles)}; {seen['candidates']:.1f} detections an instance")
    return lines + [f"cause: {cause['text']}" for cause in seen["causes"]]


def seeds_summary(results: Sequence[Result]) -> str:
    """Text for a person: a line a seed, mean and spread over them, by the evaluator that ranks and by the others.

    The spread is the sample standard deviation (n - 1 in the denominator); one seed has none.
    """
    records = [result.record for result in results]
    metrics = [record["metrics"] for record in records]
    first = metrics[0]
    if not all(item["variants"] for item in metrics):
        return "the test videos have no annotated instance: no mean over seeds"
    columns = [_columns(item["variants"][first["main"]]) for item in metrics]
    scores = {name: Score.over(column[name] for column in columns) for name in columns[0]}
    body = [
        [str(record["seed"]), *map(percent, column.values())] for record, column in zip(records, columns, strict=True)
    ]
    body.append(["mean", *(percent(score.mean) for score in scores.values())])
    body.append(["std", *(percent(score.std) for score in scores.values())])
    count = len(records)
    spoken = f"{count} seeds" if count > 1 else "1 seed, which shows no spread"
    lines = ["", f"mAP (%) at tIoU by {first['main']}, selection {records[0]['selection']}: {spoken}"]
    lines += text.table(["seed", *scores], body)
    lines += _over_seeds(metrics)
    if count > 1:
        lines.append(f"mean ± sample standard deviation (n - 1) over n = {count} seeds")
    return "\n".join(lines)


def _over_seeds(metrics: Sequence[dict[str, Any]]) -> list[str]:
    """Mean ± std of the widest average by every evaluator, and of what is measured beside detection."""
    first, rows = metrics[0], []
    span = max(first["variants"][first["main"]]["averages"], key=span_order)
    for name in first["variants"]:
        blocks = [item["variants"].get(name) for item in metrics]
        score = Score.over(None if block is None else block["averages"][span] for block in blocks)
        rows.append([f"mAP@{span} by {name}", spread(score.mean, score.std)])
    for key, title in BESIDE.items():
        values = [item.get(key) for item in metrics]
        if None not in values:
            score = Score.over(values)
            rows.append([title, spread(score.mean, score.std)])
    return text.table([], rows)


def _columns(block: dict[str, Any]) -> dict[str, float | None]:
    """The numbers of one evaluator by what they are printed under: every tIoU, then the averages."""
    found = {f"{tiou:g}": value for tiou, value in zip(block["tious"], block["mAP"], strict=True)}
    return found | {f"avg {label}": value for label, value in block["averages"].items() if ":" in label}


def _scores(record: dict[str, Any]) -> list[str]:
    metrics = record["metrics"]
    printed = published_beside(record)
    lines = [table(metrics, printed)]
    if printed is not None:
        lines.append("seeds of one method differ by 0.3 to 0.5 (std): compare three or more before you conclude")
    for name, title in BESIDE.items():
        if metrics.get(name) is not None:
            lines.append(f"{title} {percent(metrics[name])}")
    main = metrics["variants"][metrics["main"]]
    lines.append(
        f"{main['videos']} videos, {main['instances']} instances, {main['detections']} detections; selection "
        f"{record['selection']}{_profile(record)}; seed {record['seed']}"
    )
    return lines


def _profile(record: dict[str, Any]) -> str:
    return "" if record.get("profile", HONEST) in ("", HONEST) else f" (profile {record['profile']})"


def table(metrics: dict[str, Any], printed: tuple[str, dict[str, str]] | None = None) -> str:
    """One line per evaluator: mAP at every tIoU and the averages, in percent.

    Args:
        metrics: of a record.
        printed: the evaluator the published values belong to, and these by column: they follow its line, with the
            difference.
    """
    rows = {name: _columns(block) for name, block in metrics["variants"].items()}
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    body = []
    for name, cells in rows.items():
        body.append([name, *(percent(cells.get(column)) for column in columns)])
        if printed is not None and name == printed[0]:
            values = printed[1]
            body.append(["  published", *(values.get(column, "-") for column in columns)])
            body.append(["  difference", *(_difference(cells.get(c), values.get(c)) for c in columns)])
    return "\n".join(["mAP (%) at tIoU", *text.table(["", *columns], body)])


def published_beside(record: dict[str, Any]) -> tuple[str, dict[str, str]] | None:
    """The evaluator a method's published values were made with, and those values as printed, by column of the table.

    None for a variant, generated data, held-out videos, or a method whose paper prints no number on these data.
    """
    name = record["protocol"]["name"]
    if is_own(name) or record["variant"] or get_protocol(name).synthetic or taken_apart(name)[1]:
        return None
    metrics, file = record["metrics"], published_file(find_folder())
    row = published_for(read_published(file), record["method"], get_protocol(name).dataset) if file.is_file() else None
    evaluator = record["config"].get("test", {}).get("evaluator") or metrics["main"]
    if row is None or evaluator not in metrics["variants"]:
        return None
    cells = row.leading.cells.items()
    values = {f"avg {iou}" if ":" in iou else iou: cell.value for iou, cell in cells if cell.value}
    block = metrics["variants"][evaluator]
    columns = {*(f"{tiou:g}" for tiou in block["tious"]), *(f"avg {label}" for label in block["averages"])}
    found = {column: value for column, value in values.items() if column in columns}
    return (evaluator, found) if found else None


def _difference(measured: float | None, printed: str | None) -> str:
    return "-" if measured is None or printed is None else signed(measured - float(printed) / 100)
