"""A report as one self-contained page: no network, works from a file; Plotly draws, a small script lays it out.

Text of runs never becomes markup: HTML is escaped here, the data block is JSON with `<` escaped, the script sets text
alone, and a content-security policy admits nothing but these very scripts (by hash).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from wtal_bench.errors import ConfigError
from wtal_bench.text import html_text as escape
from wtal_bench.text import percent, signed, spread, visible_data

SECTIONS = (
    ("scores", "Scores", "mAP in percent by tIoU, every evaluator of the protocol; scored again from the detections."),
    ("diagnosis", "Parts", "What attention, curves and tags are worth on the labelled test videos, as the run said, in "
                           "percent: area under the ROC curve inside videos, instances missed, snippets above 0.95 "
                           "and below 0.05, flat curves; average mAP by oracle; causes."),
    ("curves", "Training", "Every loss as reported, before its weight; the mean over each epoch's log lines."),
    ("classes", "Classes", "Average precision of every class; the bar is the mean over all tIoU."),
    ("confusion", "Tags", "For each tag of a video, the class of the video's best detection, in percent of the row."),
    ("errors", "Errors", "What the best-ranked detections of every class are; G is the number of its instances."),
    ("videos", "Videos", "From the worst to the best by average precision of the video alone at tIoU 0.5. "
                         "Green is annotated, other colours are detections by their score. "
                         "Drag to zoom, double-click to go back."),
    ("differences", "Settings", "What differs between the runs; everything else is equal."),
)  # fmt: skip

UNSCORED = (
    "What was found in every video, by name; there are no times to score it by. Drag to zoom, double-click to go back."
)


def to_html(runs: Sequence[Mapping[str, Any]], films: Mapping[str, str] | None = None) -> str:
    """Spell runs (see `content.gather`) as a page.

    Args:
        runs: at least one, all of one protocol's test videos where they are compared.
        films: video id -> address of its file, relative to the page, to be played beside its time line.

    Raises:
        ConfigError: Plotly is not installed.
    """
    plotly, script, style = _plotly(), _asset("report.js"), _asset("report.css")
    policy = (
        "default-src 'none'; img-src data: blob:; media-src file: data: blob: 'self'; style-src 'unsafe-inline'; "
        f"script-src {_hash(plotly)} {_hash(script)}"
    )
    data = json.dumps(
        visible_data({"runs": list(runs), "films": dict(films or {})}), separators=(",", ":"), allow_nan=False
    )
    title = runs[0]["label"] if len(runs) == 1 else f"{len(runs)} runs"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">
<meta name="color-scheme" content="light dark">
<title>{escape(title)} - wtal-bench report</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><button type="button" id="theme">light / dark</button></header>
{_head(runs)}
{_body(runs, bool(films))}
<footer>Made by wtal-bench report from the detections and logs of {len(runs)} run{"s" * (len(runs) > 1)}.</footer>
<script type="application/json" id="data">{data.replace("<", chr(92) + "u003c")}</script>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""


def _head(runs: Sequence[Mapping[str, Any]]) -> str:
    facts = [name for name in runs[0]["facts"] if any(run["facts"].get(name, "-") != "-" for run in runs)]
    if len(runs) == 1:
        rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(runs[0]['facts'][name])}</dd></div>" for name in facts)
        return f'<dl class="facts">{rows}</dl>'
    heads = "".join(f"<th>{escape(name)}</th>" for name in facts)
    lines = "".join(
        f'<tr><th><span class="dot run{at % 8}"></span>{escape(run["label"])}</th>'
        + "".join(f"<td>{escape(run['facts'].get(name, '-'))}</td>" for name in facts)
        + "</tr>"
        for at, run in enumerate(runs)
    )
    return f'<div class="scroll"><table class="words"><thead><tr><th>run</th>{heads}</tr></thead>{lines}</table></div>'


def _body(runs: Sequence[Mapping[str, Any]], films: bool) -> str:
    parts = []
    for name, title, lead in SECTIONS:
        if name in ("curves", "diagnosis") and not any(run[name] for run in runs):
            continue
        if name in ("scores", "classes", "errors") and not any(run["scores"] for run in runs):
            continue
        if name == "differences" and len(runs) < 2:
            continue
        if name == "videos" and not any(run["scores"] for run in runs):
            lead = UNSCORED
        made = {"scores": _scores, "diagnosis": _diagnosis, "differences": _differences}
        inner = made.get(name, lambda runs: "")(runs)
        if name == "videos" and films:
            lead += " Press a bar to start the video there, where its file is at hand."
        parts.append(
            f'<section id="{name}"><h2>{title}</h2><p class="lead">{lead}</p>{inner}<div class="plots"></div></section>'
        )
    return "\n".join(parts)


def _scores(runs: Sequence[Mapping[str, Any]]) -> str:
    """A table an evaluator: runs, their mean where there are several, and the paper's row."""
    tables = []
    for evaluator in runs[0]["scores"]:
        having = [run for run in runs if evaluator in run["scores"] and run["tious"] == runs[0]["tious"]]
        spans = list(reversed(runs[0]["scores"][evaluator]["averages"]))  # the one that ranks first: never cut off
        heads = [*(f"avg {span}" for span in spans), *(f"{tiou:g}" for tiou in runs[0]["tious"])]
        rows = [[run["label"], *map(percent, _cells(run, evaluator, spans))] for run in having]
        if len(having) > 1 and len({(run["facts"]["method"], run["facts"]["variant"]) for run in having}) == 1:
            columns = list(zip(*(_cells(run, evaluator, spans) for run in having)))
            rows.append([f"mean ± std of {len(having)}", *(_spread(column) for column in columns)])
        for run in having:
            printed = run["printed"]
            if printed is not None and printed["evaluator"] == evaluator:
                rows += _beside(run, printed["values"], evaluator, spans)
        name = f"{evaluator}{' (ranks)' if evaluator == runs[0]['main'] else ''}"
        tables.append(_table([name, *heads], rows))
    return "".join(tables) + "".join(map(_besides, runs))


def _besides(run: Mapping[str, Any]) -> str:
    known = [f"{name} {percent(value)}" for name, value in run["video_scores"].items() if value is not None]
    return f"<p>{escape(run['label'])}: {escape(', '.join(known))}</p>" if known else ""


def _diagnosis(runs: Sequence[Mapping[str, Any]]) -> str:
    """A table a run: foregrounds and curves; then what the oracles get, and the causes."""
    text = []
    for run in runs:
        if run["diagnosis"]:
            parts, oracles = run["diagnosis"]["parts"], run["diagnosis"]["oracles"]
            heads = list(dict.fromkeys(key for values in parts.values() for key in values))
            rows = [[name, *(percent(values[key]) for key in heads)] for name, values in parts.items()]
            text.append(_table([run["label"], *heads], rows))
            words = "; ".join(f"{name} {percent(value)}" for name, value in oracles.items())
            text += [f"<p>{escape(line)}</p>" for line in (words, *run["diagnosis"]["causes"]) if line]
    return "".join(text)


def _cells(run: Mapping[str, Any], evaluator: str, spans: Sequence[str]) -> list[float | None]:
    block = run["scores"][evaluator]
    return [*(block["averages"].get(span) for span in spans), *block["mAP"]]


def _spread(values: Sequence[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    if len(numbers) < 2:
        return percent(numbers[0] if numbers else None)
    mean = sum(numbers) / len(numbers)
    return spread(mean, (sum((value - mean) ** 2 for value in numbers) / (len(numbers) - 1)) ** 0.5)


def _beside(run: Mapping[str, Any], values: Mapping[str, str], evaluator: str, spans: Sequence[str]) -> list[list[str]]:
    names = [*spans, *(f"{tiou:g}" for tiou in run["tious"])]
    measured = _cells(run, evaluator, spans)
    less = [
        "-" if value is None or name not in values else signed(value - float(values[name]) / 100)
        for name, value in zip(names, measured)
    ]
    method = run["facts"]["method"]
    return [[f"{method}, published", *(values.get(name, "-") for name in names)], [f"{run['label']}, less that", *less]]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>" for row in rows
    )
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def _differences(runs: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for run in runs for key in run["config"]))
    rows = [[key, *(run["config"].get(key, "-") for run in runs)] for key in keys]
    rows += [
        [fact, *(run["facts"].get(fact, "-") for run in runs)] for fact in ("seed", "checkpoint", "features", "code")
    ]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    if not rows:
        return "<p>Nothing: the runs have one and the same config, seed and code.</p>"
    return _table(["key", *(run["label"] for run in runs)], rows)


@cache
def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ConfigError("a report is drawn by Plotly: pip install 'wtal-bench[report]'.") from error
    return get_plotlyjs().replace("</script", r"<\/script")


@cache
def _asset(name: str) -> str:
    return files("wtal_bench.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
