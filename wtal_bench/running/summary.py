"""What a run says at its end: the table on every grid, where things lie, and how it compares with the paper."""

from __future__ import annotations

from typing import Any

from wtal_bench import text
from wtal_bench.leaderboard.build import find_folder
from wtal_bench.leaderboard.published import published_file, published_for, read_published
from wtal_bench.leaderboard.rows import span_order
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
        lines += [*_published(record), *_alarms(record)]
    places = {
        "record": result.record_path,
        "detections": result.record_path.parent / record["detections"]["file"],
        "picture": result.work_dir / "example.png",
    }
    lines += [f"{name:11} {path}" for name, path in places.items() if path.is_file()]
    if not own:
        lines.append(f"file it     wtal-bench leaderboard add {result.record_path}")
    return "\n".join(lines)


def _scores(record: dict[str, Any]) -> list[str]:
    metrics = record["metrics"]
    lines = [table(metrics)]
    for name, title in (("classification_mAP", "video-level classification mAP"), ("frame_accuracy", "frame accuracy")):
        if metrics.get(name) is not None:
            lines.append(f"{title} {percent(metrics[name])}")
    main = metrics["variants"][metrics["main"]]
    lines.append(
        f"{main['videos']} videos, {main['instances']} instances, {main['detections']} detections; selection "
        f"{record['selection']}; seed {record['seed']}"
    )
    return lines


def table(metrics: dict[str, Any]) -> str:
    """One line per evaluator variant: mAP at every tIoU and the averages, in percent."""
    rows = {}
    for name, block in metrics["variants"].items():
        rows[name] = {f"{tiou:g}": value for tiou, value in zip(block["tious"], block["mAP"], strict=True)}
        rows[name] |= {f"avg {label}": value for label, value in block["averages"].items() if ":" in label}
    columns = list(dict.fromkeys(column for cells in rows.values() for column in cells))
    body = [[name, *(percent(cells.get(column)) for column in columns)] for name, cells in rows.items()]
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


def _published(record: dict[str, Any]) -> list[str]:
    protocol = get_protocol(record["protocol"]["name"])
    file = published_file(find_folder())
    if protocol.synthetic or not file.is_file():
        return []
    row = published_for(read_published(file), record["method"], protocol.dataset)
    main = record["metrics"]["variants"][record["metrics"]["main"]]
    if row is None or record["variant"]:
        return []
    lines = []
    for label, value in main["averages"].items():
        cell = row.cells.get(label)
        if cell is not None and cell.value and value is not None:
            difference = signed(value - float(cell.value) / 100)
            lines.append(f"published {cell.value} for {label}; this run {percent(value)} ({difference})")
    if lines:
        lines.append("seeds of one method differ by 0.3 to 0.5 (std): compare three or more before you conclude")
    return lines
