"""What a run says at its end: the table on every grid, where things lie, and how it compares with the paper."""

from __future__ import annotations

import shlex
from typing import Any

from wtal_bench import text
from wtal_bench.leaderboard.build import find_folder
from wtal_bench.leaderboard.published import published_file, published_for, read_published
from wtal_bench.leaderboard.rows import span_order
from wtal_bench.leaderboard.validate import HONEST
from wtal_bench.protocols import OWN, get_protocol
from wtal_bench.running.run import Result
from wtal_bench.text import percent, signed


def summary(result: Result) -> str:
    """Text for a person: mAP per tIoU in percent, record, detections, published value, and any alarm."""
    record = result.record
    scored = record["metrics"]["variants"]
    own = record["protocol"]["name"].startswith(OWN)
    lines = ["", *(_scores(record) if scored else ["the test videos have no annotated instance: nothing to score"])]
    if scored and not own:
        lines += _alarms(record)
    places = {
        "record": result.record_path,
        "detections": result.record_path.parent / record["detections"]["file"],
        "picture": result.work_dir / "example.png",
    }
    lines += [f"{name:11} {path}" for name, path in places.items() if path.is_file()]
    lines.append(f"a page      wtal-bench report {shlex.quote(str(result.work_dir))}")
    if not own:
        lines.append(f"file it     wtal-bench leaderboard add {result.record_path}")
    return "\n".join(lines)


def _scores(record: dict[str, Any]) -> list[str]:
    metrics = record["metrics"]
    printed = published_beside(record)
    lines = [table(metrics, printed)]
    if printed is not None:
        lines.append("seeds of one method differ by 0.3 to 0.5 (std): compare three or more before you conclude")
    for name, title in (("classification_mAP", "video-level classification mAP"), ("frame_accuracy", "frame accuracy")):
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
    rows = {}
    for name, block in metrics["variants"].items():
        rows[name] = {f"{tiou:g}": value for tiou, value in zip(block["tious"], block["mAP"], strict=True)}
        rows[name] |= {f"avg {label}": value for label, value in block["averages"].items() if ":" in label}
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    body = []
    for name, cells in rows.items():
        body.append([name, *(percent(cells.get(column)) for column in columns)])
        if printed is not None and name == printed[0]:
            values = printed[1]
            body.append(["  published", *(values.get(column, "-") for column in columns)])
            body.append(["  difference", *(_difference(cells.get(c), values.get(c)) for c in columns)])
    return "\n".join(["mAP (%) at tIoU", *text.table(["", *columns], body)])


def _alarms(record: dict[str, Any]) -> list[str]:
    metrics = record["metrics"]
    main = metrics["variants"][metrics["main"]]
    average = main["averages"][max(main["averages"], key=span_order)]
    if metrics.get("classification_mAP", 0) > 0.7 and (average or 0) < 0.02:
        return [
            "warning: videos are classified well and localised hardly at all. Usual causes: thresholds that do not fit "
            "the curve, a wrong fps or stride in the manifest, or training that ended too early or collapsed."
        ]
    return []


def published_beside(record: dict[str, Any]) -> tuple[str, dict[str, str]] | None:
    """The evaluator a method's published values were made with, and those values as printed, by column of the table.

    None for a variant, generated data, or a method whose paper prints no number on these data.
    """
    name = record["protocol"]["name"]
    if name.startswith(OWN) or record["variant"] or get_protocol(name).synthetic:
        return None
    metrics, file = record["metrics"], published_file(find_folder())
    row = published_for(read_published(file), record["method"], get_protocol(name).dataset) if file.is_file() else None
    evaluator = record["config"].get("test", {}).get("evaluator") or metrics["main"]
    if row is None or evaluator not in metrics["variants"]:
        return None
    values = {f"avg {iou}" if ":" in iou else iou: cell.value for iou, cell in row.cells.items() if cell.value}
    block = metrics["variants"][evaluator]
    columns = {*(f"{tiou:g}" for tiou in block["tious"]), *(f"avg {label}" for label in block["averages"])}
    found = {column: value for column, value in values.items() if column in columns}
    return (evaluator, found) if found else None


def _difference(measured: float | None, printed: str | None) -> str:
    return "-" if measured is None or printed is None else signed(measured - float(printed) / 100)
