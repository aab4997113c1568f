"""Regenerating the leaderboard: README.md, leaderboard.csv and index.html as a pure function of what is filed.

Every record is scored again before it is ranked, or known to the user's cache to have been (`rescore`). Before it
writes the files, `build` adds the columns that records lack (`filing.complete`); `render` and `stale` change nothing.
Where nothing has changed since the files were made, they stay; of what has, the parts that did not are recalled
(`recall`).
"""

from __future__ import annotations

import contextlib
import csv
import gc
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_bench.errors import RecordError
from wtal_bench.files import write_text
from wtal_bench.leaderboard.filing import complete, wanting
from wtal_bench.leaderboard.markdown import to_markdown
from wtal_bench.leaderboard.page import to_html
from wtal_bench.leaderboard.published import read_published, read_published_gains
from wtal_bench.leaderboard.recall import Memory, beside
from wtal_bench.leaderboard.record import SHOWN, StoredRecord, load_records
from wtal_bench.leaderboard.rescore import rescored
from wtal_bench.leaderboard.rows import Section, build_sections
from wtal_bench.leaderboard.shelf import astray, writing
from wtal_bench.leaderboard.tables import all_rows, build_document
from wtal_bench.leaderboard.tidy import records_frame, to_csv

if TYPE_CHECKING:
    import pandas as pd

GAINS = "published_gains.csv"

CONTEXT = 60
"""Characters shown on both sides of a difference."""


def find_folder(folder: str | Path | None = None) -> Path:
    """Return the leaderboard's folder: the one given, else `leaderboard/` here, else that of the source checkout.

    It need not exist: filing a row makes it.
    """
    if folder:
        return Path(folder)
    checkout = Path(__file__).resolve().parents[2] / "leaderboard"
    here = Path("leaderboard")
    return here if is_leaderboard(here) or not is_leaderboard(checkout) else checkout


def is_leaderboard(folder: Path) -> bool:
    """Whether a folder holds records or published numbers."""
    return (folder / "records").is_dir() or (folder / "published.csv").is_file()


def frame(folder: str | Path | None = None, annotations: Iterable[str | Path] = ()) -> pd.DataFrame:
    """Return the filed records as one tidy table: a row a record, evaluator and threshold (columns: see `tidy`).

    Args:
        folder: the leaderboard's folder; None as `find_folder`.
        annotations: annotation files to score on; others are found by themselves.

    Raises:
        RecordError: there is no leaderboard, or a record breaks a rule.
    """
    board = find_folder(folder)
    return records_frame(build_sections(rescored(_records(board, Memory(board)), annotations)))


def render(folder: str | Path, annotations: Iterable[str | Path] = ()) -> dict[str, str]:
    """Return the text of every generated file by name. Equal records and published numbers give equal bytes.

    Args:
        folder: the leaderboard's folder.
        annotations: annotation files to score on; others are found by themselves.

    Raises:
        RecordError: there is no leaderboard, a record, `published.csv` or `published_gains.csv` breaks a rule, or a
            record's detections do not give its numbers.
    """
    return _checked(Path(folder), list(annotations))[0]


def _records(folder: Path, memory: Memory) -> list[StoredRecord]:
    if not is_leaderboard(folder):
        raise RecordError(
            f"{folder} is no leaderboard: it holds neither records/ nor published.csv. Name the folder with --folder, "
            "or file a first row with `leaderboard add`."
        )
    return load_records(folder / "records", memory.seen, memory.parts.records)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's search for cycles: it would walk all records time and again, and there are none among them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_uncollected()
def _checked(folder: Path, annotations: Sequence[str | Path]) -> tuple[dict[str, str], list[str], list[StoredRecord]]:
    """The texts, what lies astray among the records, and which ranked ones cannot be scored again here."""
    memory = Memory(folder)
    if known := memory.recall(annotations):
        return known.texts, [], []
    records = _records(folder, memory)
    scored = rescored(records, annotations)
    return _render(folder, scored, memory), astray(folder / "records", records), _demoted(folder, scored)


def _render(folder: Path, records: list[StoredRecord], memory: Memory) -> dict[str, str]:
    """The texts, remembered for as long as nothing changes."""
    made_from = beside(folder)
    sections = build_sections(records, memory.parts.made)
    texts = _texts(folder, sections)
    rows = [row for section in sections for row in all_rows(section)]
    memory.remember(records, rows, made_from, texts, whole=not any(map(wanting, records)))
    return texts


def _texts(folder: Path, sections: list[Section]) -> dict[str, str]:
    published = read_published(folder / "published.csv")
    document = build_document(sections, published, read_published_gains(folder / GAINS, published))
    return {
        "README.md": to_markdown(document),
        "leaderboard.csv": to_csv(sections, published),
        "index.html": to_html(document, sections, published),
    }


def _demoted(folder: Path, records: Sequence[StoredRecord]) -> list[StoredRecord]:
    """The records that cannot be scored again here and stand in a ranked row of the tables as they lie there."""
    unsure = [stored for stored in records if stored.unverified]
    path = folder / "leaderboard.csv"
    if not unsure or not path.is_file():
        return []
    lines = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8", "replace")))
    ranked = {name for line in lines if line.get("rank") for name in (line.get("records") or "").split()}
    return [stored for stored in unsure if stored.record["id"] in ranked]


def _unchecked(stored: StoredRecord) -> str:
    """Why a ranked record cannot be checked, and what to give."""
    block = stored.record["annotations"]
    sha256 = block.get("sha256") or "unknown"
    return (
        f"row {stored.record['id']} ({stored.path}) cannot be checked here without its annotations "
        f"(sha {sha256[:12]}, {stored.record['protocol']['name']}); give them with --annotations"
    )


def _refused(lost: Sequence[StoredRecord]) -> str:
    more = [f"... and {len(lost) - SHOWN} more"] if len(lost) > SHOWN else []
    end = "These rows would lose their rank, so the tables stay as they were; `leaderboard build --demote` takes it."
    return "\n".join([*map(_unchecked, lost[:SHOWN]), *more, end])


@_uncollected()
def build(folder: str | Path, annotations: Iterable[str | Path] = (), demote: bool = False) -> list[Path]:
    """Add the columns that records lack, then write the generated files, each atomically; return what was written.

    Args:
        folder: the leaderboard's folder.
        annotations: annotation files to score with where a column is lacking; others are found by themselves.
        demote: take the rank from rows that had one and whose annotations are not here.

    Raises:
        RecordError: as `render`, or a row would lose its rank for want of annotations.
    """
    folder, annotations, paths = Path(folder), list(annotations), []
    with writing(folder / "records"):
        memory = Memory(folder)
        known = memory.recall(annotations)
        if known is None or not known.whole:
            records = _records(folder, memory)
            paths = complete(records, annotations)
            records = rescored(_records(folder, memory) if paths else records, annotations)
            known = None
            if not demote and (lost := _demoted(folder, records)):
                raise RecordError(_refused(lost))
    for name, text in (known.texts if known else _render(folder, records, memory)).items():
        write_text(folder / name, text)
        paths.append(folder / name)
    return paths


def check(folder: str | Path, annotations: Iterable[str | Path] = ()) -> tuple[list[str], list[str]]:
    """What is wrong with a leaderboard whose records keep all rules.

    Args:
        folder: the leaderboard's folder.
        annotations: annotation files to score on; others are found by themselves.

    Returns:
        Sentences on the files among its records that belong to none, or on ranked rows whose annotations are not here
        (what the tables should be is not known then), and those of `stale`.

    Raises:
        RecordError: as `render`.
    """
    texts, strays, lost = _checked(Path(folder), list(annotations))
    unchecked = [_unchecked(stored) for stored in lost]
    return [*strays, *unchecked], [] if lost else _stale(folder, texts)


def stale(folder: str | Path, annotations: Iterable[str | Path] = ()) -> list[str]:
    """Say for every generated file that is not what `build` would write how it differs; empty when all are current."""
    return _stale(folder, render(folder, annotations))


def _stale(folder: str | Path, texts: Mapping[str, str]) -> list[str]:
    complaints = []
    for name, text in texts.items():
        path = Path(folder) / name
        there = path.read_bytes().decode("utf-8", "replace") if path.is_file() else None
        if there is None:
            complaints.append(f"{path} is missing")
        elif there != text:
            complaints.append(f"{path} is not current:\n{_summary(there, text)}")
    return complaints


def _summary(there: str, wanted: str) -> str:
    """Where two texts first differ, cut around the spot (lines of the page are long), and how many lines differ."""
    old, new = there.splitlines(), wanted.splitlines()
    changed = [number for number, (a, b) in enumerate(zip(old, new)) if a != b]
    count = len(changed) + abs(len(old) - len(new))
    if not changed:
        return f"  it has {len(old)} lines, rebuilt it has {len(new)}"
    a, b = old[changed[0]], new[changed[0]]
    spot = next((place for place, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    window = slice(max(0, spot - CONTEXT), spot + CONTEXT)
    return f"  {count} lines differ, first line {changed[0] + 1}:\n  filed:   {a[window]}\n  rebuilt: {b[window]}"
