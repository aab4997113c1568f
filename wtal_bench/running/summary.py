"""What a run says at its end: the table on every grid, where things lie, and how it compares with the paper."""

from __future__ import annotations

from typing import Any

from wtal_bench.leaderboard.build import find_folder
from wtal_bench.leaderboard.published import published_for, read_published
from wtal_bench.leaderboard.rounding import percent
from wtal_bench.protocols import get_protocol
from wtal_bench.running.run import Result


def summary(result: Result) -> str:
    """Text for a person: mAP per tIoU in percent, record, detections, published value, and any alarm."""
    record = result.record
    metrics = record["metrics"]
    lines = ["", table(metrics)]
    if "classification_mAP" in metrics:
        lines.append(f"video-level classification mAP {percent(metrics['classification_mAP'])}")
    if metrics.get("frame_accuracy") is not None:
        lines.append(f"frame accuracy {percent(metrics['frame_accuracy'])}")
    main = metrics["variants"][metrics["main"]]
    lines.append(
        f"{main['videos']} videos, {main['instances']} instances, {main['detections']} detections; selection "
        f"{record['selection']}; seed {record['seed']}"
    )
    lines += _published(record)
    lines += _alarms(record)
    folder = result.record_path.parent
    lines += [
        f"record      {result.record_path}",
        f"detections  {folder / record['detections']['file']}",
        *([f"picture     {result.work_dir / 'example.png'}"] if (result.work_dir / "example.png").is_file() else []),
        f"file it     wtal-bench leaderboard add {result.record_path}",
    ]
    return "\n".join(lines)


def table(metrics: dict[str, Any]) -> str:
    """One line per evaluator variant: mAP at every tIoU and the averages, in percent."""
    rows = []
    for name, block in metrics["variants"].items():
        cells = {f"{tiou:g}": value for tiou, value in zip(block["tious"], block["mAP"], strict=True)}
        cells |= {f"avg {label}": value for label, value in block["averages"].items() if ":" in label}
        rows.append((name, cells))
    columns = list(dict.fromkeys(column for _, cells in rows for column in cells))
    width = max(len(name) for name, _ in rows)
    head = " " * width + "  " + "  ".join(f"{column:>6}" for column in columns)
    body = [
        f"{name:{width}}  " + "  ".join(f"{percent(cells.get(c)):>{max(6, len(c))}}" for c in columns)
        for name, cells in rows
    ]
    return "\n".join(["mAP (%) at tIoU", head, *body])


def _alarms(record: dict[str, Any]) -> list[str]:
    metrics = record["metrics"]
    main = metrics["variants"][metrics["main"]]
    average = main["averages"][get_protocol(record["protocol"]["name"]).headline]
    if metrics.get("classification_mAP", 0) > 0.7 and (average or 0) < 0.02:
        return [
            "warning: videos are classified well and localised hardly at all. Usual causes: thresholds that do not fit "
            "the curve, a wrong fps or stride in the manifest, or training that ended too early or collapsed."
        ]
    return []


def _published(record: dict[str, Any]) -> list[str]:
    protocol = get_protocol(record["protocol"]["name"])
    file = find_folder() / "published.csv"
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
            difference = 100 * value - float(cell.value)
            lines.append(f"published {cell.value} for {label}; this run {percent(value)} ({difference:+.2f})")
    if lines:
        lines.append("seeds of one method differ by 0.3 to 0.5 (std): compare three or more before you conclude")
    return lines
