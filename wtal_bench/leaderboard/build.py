"""Regenerating the leaderboard: README.md, leaderboard.csv and index.html as a pure function of what is filed."""

from __future__ import annotations

import difflib
from pathlib import Path

from wtal_bench.errors import RecordError
from wtal_bench.files import write_text
from wtal_bench.leaderboard.markdown import to_csv, to_markdown
from wtal_bench.leaderboard.page import to_html
from wtal_bench.leaderboard.published import read_published
from wtal_bench.leaderboard.record import load_records
from wtal_bench.leaderboard.rows import build_sections
from wtal_bench.leaderboard.tables import build_document

DIFF_LINES = 12


def find_folder(folder: str | Path | None = None) -> Path:
    """Return the leaderboard's folder: the one given, else `leaderboard/` here, else that of the source checkout.

    Raises:
        RecordError: there is none.
    """
    checkout = Path(__file__).resolve().parents[2] / "leaderboard"
    options = [Path(folder)] if folder else [Path("leaderboard"), checkout]
    found = next((path for path in options if (path / "records").is_dir() or (path / "published.csv").is_file()), None)
    if found is None:
        raise RecordError(
            f"no leaderboard in {' or '.join(str(path) for path in options)}: a leaderboard's folder holds records/ "
            "and published.csv. Give it with --folder."
        )
    return found


def render(folder: str | Path) -> dict[str, str]:
    """Return the text of every generated file by name. Equal records and published numbers give equal bytes.

    Raises:
        RecordError: a record or `published.csv` breaks a rule.
    """
    folder = Path(folder)
    sections = build_sections(load_records(folder / "records"))
    published = read_published(folder / "published.csv")
    document = build_document(sections, published)
    return {
        "README.md": to_markdown(document),
        "leaderboard.csv": to_csv(sections, published),
        "index.html": to_html(document, sections, published),
    }


def build(folder: str | Path) -> list[Path]:
    """Write the generated files, each atomically; return their paths."""
    paths = []
    for name, text in render(folder).items():
        write_text(Path(folder) / name, text)
        paths.append(Path(folder) / name)
    return paths


def stale(folder: str | Path) -> list[str]:
    """Say for every generated file that is not what `build` would write how it differs; empty when all are current."""
    complaints = []
    for name, text in render(folder).items():
        path = Path(folder) / name
        there = path.read_bytes().decode("utf-8", "replace") if path.is_file() else None
        if there is None:
            complaints.append(f"{path} is missing")
        elif there != text:
            complaints.append(f"{path} is not current:\n{_summary(there, text)}")
    return complaints


def _summary(there: str, wanted: str) -> str:
    changes = [
        line if len(line) <= 160 else f"{line[:157]}..."
        for line in difflib.unified_diff(there.splitlines(), wanted.splitlines(), "filed", "rebuilt", lineterm="", n=0)
    ]
    more = len(changes) - DIFF_LINES
    return "\n".join(changes[:DIFF_LINES] + ([f"... and {more} lines more"] if more > 0 else []))
