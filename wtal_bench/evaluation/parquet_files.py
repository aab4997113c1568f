"""Detections in Parquet (extra `parquet`): a tenth of the time of JSON, and what pandas and every engine reads.

A row a detection, rows of a video together, in the decoder's order:

    video, label        dictionary of string
    start, end, score   double, seconds
    snippet_start, snippet_end, snippets_a_second      double, null without a grid; left out where no row has one

The file's metadata holds under `wtal_bench` a JSON text: `version` and `videos`, the ids of all videos in order, those
without detections too. A file of other programs need not have it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wtal_bench.errors import DataError, did_you_mean, listing
from wtal_bench.evaluation.detection_files import Columns, DetectionFile, check_written
from wtal_bench.files import JsonError, atomic_write, parse_json
from wtal_bench.names import composed
from wtal_bench.reading import failure, open_file
from wtal_bench.structures import Detections

LARGEST = 50_000_000
"""Rows of the largest file that is read; more belong into parts."""
_TEXTS, _NUMBERS = ("video", "label"), ("start", "end", "score")
_GRID = ("snippet_start", "snippet_end", "snippets_a_second")
_KEY = b"wtal_bench"


def write_parquet(path: str | Path, videos: Mapping[str, Detections], classes: tuple[str, ...], version: str) -> None:
    """Write detections, atomically; floats keep every bit.

    Args:
        path: the file.
        videos: id -> detections.
        classes: class names.
        version: what made them.

    Raises:
        DataError: a label outside `classes`, a number that is not finite, or no pyarrow.
    """
    arrow, parquet = _arrow(path)
    for name, found in videos.items():
        check_written(name, found, len(classes))
    sizes = [len(found) for found in videos.values()]

    def column(name: str) -> np.ndarray:
        return np.concatenate([np.zeros(0), *(getattr(found, name) for found in videos.values())])

    video = np.repeat(np.arange(len(videos), dtype=np.int32), sizes)
    label = column("label").astype(np.int32)
    columns = {
        "video": arrow.DictionaryArray.from_arrays(video, arrow.array(list(videos), arrow.string())),
        "label": arrow.DictionaryArray.from_arrays(label, arrow.array(list(classes), arrow.string())),
        **{name: arrow.array(column(name)) for name in _NUMBERS},
    }
    if any(found.snippets is not None for found in videos.values()):
        grid = np.concatenate([np.zeros((0, 3)), *map(_on_grid, videos.values())])
        columns |= {name: arrow.array(values, mask=np.isnan(values)) for name, values in zip(_GRID, grid.T)}
    table = arrow.table(columns)
    kept = json.dumps({"version": version, "videos": list(videos)}, ensure_ascii=False)
    table = table.replace_schema_metadata({_KEY: kept.encode()})
    with atomic_write(path, "wb") as stream:
        parquet.write_table(table, stream, compression="zstd")


def read_parquet(path: Path, classes: tuple[str, ...], strict: bool, allow_invalid: bool) -> DetectionFile:
    """Read a file; arguments and errors as `formats.read_detections`."""
    arrow, parquet = _arrow(path)
    with open_file(path, hint="Give a detection file, .parquet.") as stream:
        digest = hashlib.file_digest(stream, "sha256") if hasattr(hashlib, "file_digest") else _digest(stream)
        stream.seek(0)
        try:
            file = parquet.ParquetFile(stream)
            _check_schema(path, arrow, file)
            table = file.read()
            head = _head(path, file.schema_arrow.metadata or {})
            columns = _columns(path, arrow, table, head)
        except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise failure(
                path, f"is no Parquet file, or a damaged one ({why:.200})", DataError, "Write it again."
            ) from error
    value = {"version": head.get("version", "")}
    return columns.sort_out(path, classes, value, "parquet", digest.hexdigest(), strict, allow_invalid)


def _arrow(path: str | Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"{path}: Parquet needs pyarrow: pip install 'wtal-bench[parquet]'.") from error
    return pyarrow, pyarrow.parquet


def _digest(stream: Any) -> Any:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest


def _check_schema(path: Path, arrow: Any, file: Any) -> None:
    schema, rows = file.schema_arrow, file.metadata.num_rows
    if rows > LARGEST:
        raise DataError(f"{path}: has {rows} rows, more than the {LARGEST} that are read at once; write it in parts.")
    grid = [name for name in _GRID if name in schema.names]
    if grid and len(grid) < len(_GRID):
        raise DataError(f"{path}: the columns {listing(_GRID)} go together, it has only {listing(grid)}.")
    for name in (*_TEXTS, *_NUMBERS, *grid):
        if name not in schema.names:
            hint = did_you_mean(name, schema.names)
            raise DataError(f"{path}: has no column {name!r}, it has {listing(schema.names)}.{hint}")
        kind = schema.field(name).type
        if name in _TEXTS:
            plain = kind.value_type if arrow.types.is_dictionary(kind) else kind
            sound, wanted = arrow.types.is_string(plain) or arrow.types.is_large_string(plain), "text"
        else:
            sound, wanted = arrow.types.is_floating(kind) or arrow.types.is_integer(kind), "numbers"
        if not sound:
            raise DataError(f"{path}: column {name!r} holds {kind}, expected {wanted}.")


def _head(path: Path, metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        head = parse_json(metadata.get(_KEY, b"{}"))
    except JsonError as error:
        raise DataError(f"{path}: its metadata 'wtal_bench': {error}.") from error
    videos = head.get("videos", []) if isinstance(head, dict) else None
    if not isinstance(videos, list) or set(map(type, videos)) - {str} or len(set(videos)) != len(videos):
        raise DataError(f"{path}: its metadata 'wtal_bench' must hold 'videos', a list of different ids.")
    return head


def _columns(path: Path, arrow: Any, table: Any, head: Mapping[str, Any]) -> Columns:
    numbers = {name: _numbers(path, arrow, table, name) for name in _NUMBERS}
    names, video = _coded(path, arrow, table, "video")
    labels, label = _coded(path, arrow, table, "label")
    begins = np.flatnonzero(np.append(True, video[1:] != video[:-1])[: len(video)])
    order = [names[at] for at in video[begins].tolist()]
    if len(set(order)) != len(order):
        twice = next(name for name in order if order.count(name) > 1)
        raise DataError(f"{path}: the rows of video {twice!r} do not lie together; sort the table by video.")
    sizes = dict(zip(order, np.diff(np.append(begins, len(video))).tolist()))
    everything = head.get("videos") or order
    if [name for name in everything if name in sizes] != order:
        raise DataError(f"{path}: its rows are not of the videos, or in the order, that its metadata say.")
    composed_names = tuple(map(composed, everything))
    if len(set(composed_names)) != len(composed_names):
        raise DataError(f"{path}: holds a video twice, in two Unicode forms; keep one.")
    grids, snippets = _grids(path, arrow, table, everything, sizes)
    return Columns(
        composed_names,
        [sizes.get(name, 0) for name in everything],
        [labels[at] for at in label.tolist()],
        *numbers.values(),
        grids,
        snippets,
    )


def _coded(path: Path, arrow: Any, table: Any, name: str) -> tuple[list[str], np.ndarray]:
    """The different texts of a column, and [N] which of them each row has."""
    column = table.column(name)
    if column.null_count:
        raise DataError(f"{path}: column {name!r} has {column.null_count} empty cells; every row needs one.")
    if not arrow.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks()
    if isinstance(column, arrow.ChunkedArray):  # of a table without rows
        return [], np.zeros(0, np.int32)
    return column.dictionary.to_pylist(), column.indices.to_numpy(zero_copy_only=False)


def _numbers(path: Path, arrow: Any, table: Any, name: str, *, empty: bool = False) -> np.ndarray:
    column = table.column(name)
    if column.null_count and not empty:
        raise DataError(f"{path}: column {name!r} has {column.null_count} empty cells; every row needs a number.")
    return column.cast(arrow.float64()).to_numpy()


def _grids(
    path: Path, arrow: Any, table: Any, names: list[str], sizes: Mapping[str, int]
) -> tuple[dict[str, float], np.ndarray | None]:
    if _GRID[0] not in table.column_names:
        return {}, None
    start, end, rate = (_numbers(path, arrow, table, name, empty=True) for name in _GRID)
    grids, at = {}, 0
    for name in names:
        rows = rate[at : at + sizes.get(name, 0)]
        at += len(rows)
        if len(rows) and not np.isnan(rows).all():
            if len(set(rows.tolist())) > 1 or not 0 < rows[0] < np.inf:
                raise DataError(f"{path}: video {name!r}: snippets_a_second must be one number > 0 in all its rows.")
            grids[composed(name)] = float(rows[0])
    return grids, np.stack([start, end], axis=1)


def _on_grid(found: Detections) -> np.ndarray:
    """[N,3] start, end and rate on the grid of snippets, NaN without one."""
    if found.snippets is None:
        return np.full((len(found), 3), np.nan)
    rate = np.full(len(found), found.snippets.rate)
    return np.stack([found.snippets.start, found.snippets.end, rate], axis=1)


__all__ = ["read_parquet", "write_parquet"]
