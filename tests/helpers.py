"""Finding the material tests may use: golden numbers and real annotations, present or not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
GOLDEN = Path(os.environ.get("WTAL_GOLDEN") or REPOSITORY.parent / "shared" / "golden")


def golden_files(folder: str, pattern: str = "*") -> list:
    """Return one pytest.param a golden file (id = its stem), or one skipped param that says what was not found."""
    files = sorted(path for path in (GOLDEN / folder).glob(pattern) if path.is_file())
    if not files:
        reason = f"no golden file {folder}/{pattern} under {GOLDEN} (set WTAL_GOLDEN)"
        return [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(path, id=path.stem) for path in files]


def load_golden(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz of plain arrays."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def shared_file(name: str) -> Path:
    """Return a real annotation or detection file beside the golden folder; skip the test when it is not there."""
    path = GOLDEN.parent / name
    if not path.exists():
        pytest.skip(f"{path} is not here (real annotations and detections lie beside the golden folder)")
    return path
