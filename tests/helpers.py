"""Finding what tests compare with: golden numbers, which travel with them, and real annotations, which do not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
"""Real annotations and detections, and golden cases over them; may be absent."""
NAMED = os.environ.get("WTAL_GOLDEN")
GOLDEN = Path(NAMED).expanduser().resolve() if NAMED else REPOSITORY / "tests" / "golden"
FOLDERS = (GOLDEN,) if NAMED else (GOLDEN, SHARED / "golden")
"""Where golden files are looked for. A folder named by WTAL_GOLDEN stands alone: nothing is mixed into its cases."""

SUFFIXES = (".npz", ".json")


@dataclass(frozen=True)
class Absent:
    """Stands where a golden file should be. A test that is given one fails with `reason` (see conftest)."""

    reason: str


def golden_paths(folder: str, pattern: str = "*") -> list[Path]:
    """The golden files of a folder; of two with one name, the first of `FOLDERS` counts."""
    found: dict[str, Path] = {}
    for root in FOLDERS:
        for path in sorted((root / folder).glob(pattern)):
            if path.suffix in SUFFIXES:
                found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def golden_files(
    folder: str,
    pattern: str = "*",
    *,
    holding: str | None = None,
    travels: bool = True,
    why_not: Callable[[Path], str] | None = None,
) -> list:
    """One pytest.param a golden file (id = its stem). None at all is a failure, or a skip where others' cases run.

    A test given a golden file this way must open it, or it fails (conftest sees to that).

    Args:
        folder: of the method, below the golden folder.
        pattern: of file names.
        holding: leave out files without an array whose name begins so: they have nothing to say to the test.
        travels: False for cases over real annotations, which a plain clone has not: their absence is a skip.
        why_not: file -> why it cannot be compared here, or "": a skip with that reason.
    """
    files = [path for path in golden_paths(folder, pattern) if holding is None or has(path, holding)]
    if files:
        reasons = {path: why_not(path) if why_not else "" for path in files}
        return [
            pytest.param(path, id=path.stem, marks=[pytest.mark.skip(reason=reasons[path])] if reasons[path] else [])
            for path in files
        ]
    what = f"golden file {folder}/{pattern}" + (f" with {holding}" if holding else "")
    reason = f"no {what} in {' or '.join(map(str, FOLDERS))}"
    if not travels:
        reason += ": it is a case over real annotations or detections, which do not travel"
    elif not (NAMED and any(path.suffix in SUFFIXES for path in GOLDEN.rglob("*"))):
        return [pytest.param(Absent(reason), id="absent")]
    return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


def golden_file(name: str) -> Path:
    """One golden file by name, for a case over real annotations; skip the test when it is not there."""
    folder, _, name = name.rpartition("/")
    found = golden_paths(folder, name)
    if not found:
        pytest.skip(f"golden case {name} is over real annotations and is in none of {', '.join(map(str, FOLDERS))}")
    return found[0]


def has(path: Path, prefix: str) -> bool:
    """Whether an .npz holds an array whose name begins with `prefix`."""
    with np.load(path, allow_pickle=False) as archive:
        return any(name.startswith(prefix) for name in archive.files)


def load_golden(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz of plain arrays."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def shared_file(name: str) -> Path:
    """Return a real annotation or detection file beside the checkout; skip the test when it is not there."""
    places = [GOLDEN.parent / name, SHARED / name] if NAMED else [SHARED / name]
    for path in places:
        if path.exists():
            return path
    pytest.skip(f"{name} is not in {' or '.join(str(path.parent) for path in places)}: real files do not travel")
