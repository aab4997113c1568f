"""Reading and writing a file of detections in any format there is: the suffix of its name decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wtal_bench.errors import DataError
from wtal_bench.evaluation.beside import Beside
from wtal_bench.evaluation.detection_files import DetectionFile, read_text_file, write_text_file
from wtal_bench.structures import Detections

PARQUET = ".parquet"

WRITTEN_ALONE = (".csv", ".vtt", ".eaf")
"""Forms that `infer` writes for other programs, rounded; none of them is read."""


def read_detections(
    path: str | Path, classes: Sequence[str], *, strict: bool = False, allow_invalid: bool = False
) -> DetectionFile:
    """Read a `.json` or `.json.gz` file in either layout, or a `.parquet` file (`parquet_files`, an extra).

    Args:
        path: the file.
        classes: class names; a row of another class is left out and counted.
        strict: refuse rows of another class instead.
        allow_invalid: keep NaN scores and reversed segments (for `strict_official` scoring).

    Raises:
        DataError: missing, empty or damaged file, wrong layout (the text names the key, what was expected there and
            shows an example), unknown class with `strict`, NaN score, reversed or infinite segment.
    """
    path = Path(path)
    refuse_unread(path)
    if path.suffix == PARQUET:
        from wtal_bench.evaluation.parquet_files import read_parquet

        return read_parquet(path, tuple(classes), strict, allow_invalid)
    return read_text_file(path, classes, strict=strict, allow_invalid=allow_invalid)


def refuse_unread(path: Path) -> None:
    """Refuse a file in a form that detections are written in for other programs alone.

    Raises:
        DataError: it is one; the text says which forms are read.
    """
    if path.suffix.lower() in WRITTEN_ALONE and path.is_file():
        raise DataError(
            f"{path}: {path.suffix} files of detections are written for other programs, and not read. Read are .json, "
            ".json.gz (our layout or ActivityNet's) and .parquet: write one of those (`wtal-bench infer ... --out "
            f"{path.stem}.json`)."
        )


def write_detections(
    path: str | Path,
    videos: Mapping[str, Detections],
    classes: Sequence[str],
    version: str,
    beside: Beside | None = None,
) -> None:
    """Write our layout, plain or (`.gz`) compressed, or a `.parquet` file; atomically.

    Floats keep every bit, videos and rows their order; equal input gives equal bytes.

    Args:
        path: the file.
        videos: id -> detections.
        classes: class names.
        version: what made them.
        beside: what else a run writes into its file; JSON alone holds it.

    Raises:
        DataError: a label outside `classes`, or a number that is not finite; nothing is written.
    """
    path = Path(path)
    if path.suffix != PARQUET:
        write_text_file(path, videos, classes, version, beside)
        return
    if beside is not None:
        raise DataError(f"{path}: what is scored beside detections is written as .json or .json.gz alone.")
    from wtal_bench.evaluation.parquet_files import write_parquet

    write_parquet(path, videos, tuple(classes), version)


__all__ = ["read_detections", "refuse_unread", "write_detections"]
