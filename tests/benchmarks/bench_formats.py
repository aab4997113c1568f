"""Which format the shards of a large feature store should have: random gathers of 16 videos, a whole pass, size.

    python -m tests.benchmarks.bench_formats --videos 1000

Every format holds the same float16 features in files of about `--shard` MB, and is read the quickest way its own
library offers. A gather copies 16 random videos into one padded batch. Formats whose library is missing are left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

TINY = "--videos 12 --width 8 --shard 0.01 --gathers 2"
"""What the test suite runs, so that this file cannot rot."""

Read = Callable[[int], np.ndarray]


def features(videos: int, width: int) -> Iterator[np.ndarray]:
    """[T,D] float16 of one video after the other, T from 20 to 200."""
    rng = np.random.default_rng(0)
    for _ in range(videos):
        yield rng.random((int(rng.integers(20, 201)), width), dtype=np.float32).astype(np.float16)


def groups(videos: int, width: int, limit: float) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(first video, videos) of every shard."""
    first, held, size = 0, [], 0
    for at, video in enumerate(features(videos, width)):
        held.append(video)
        size += video.nbytes
        if size >= limit or at == videos - 1:
            yield first, held
            first, held, size = at + 1, [], 0


def npy_files(folder: Path, shards: Iterator) -> Read:
    """A file a video: what extractors write, and np.load."""
    for first, held in shards:
        for at, video in enumerate(held):
            np.save(folder / f"{first + at}.npy", video)
    return lambda at: np.load(folder / f"{at}.npy")


def npy_shards(folder: Path, shards: Iterator) -> Read:
    """All rows of a shard in one .npy, memory-mapped: this project's store, several times."""
    place = {}
    for number, (first, held) in enumerate(shards):
        np.save(folder / f"{number}.npy", np.concatenate(held))
        ends = np.cumsum([len(video) for video in held]).tolist()
        place |= {first + at: (number, end - len(video), end) for at, (video, end) in enumerate(zip(held, ends))}
    maps = {number: np.load(folder / f"{number}.npy", mmap_mode="r") for number, _, _ in place.values()}

    def read(at: int) -> np.ndarray:
        number, low, high = place[at]
        return maps[number][low:high]

    return read


def safetensors(folder: Path, shards: Iterator) -> Read:
    """A tensor a video."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    place = {}
    for number, (first, held) in enumerate(shards):
        save_file({str(first + at): video for at, video in enumerate(held)}, folder / f"{number}.safetensors")
        place |= {first + at: number for at in range(len(held))}
    files = {n: safe_open(folder / f"{n}.safetensors", "numpy") for n in set(place.values())}
    return lambda at: files[place[at]].get_tensor(str(at))


def zarr3(folder: Path, shards: Iterator) -> Read:
    """One array of all rows, chunks of 64 rows in shards, not compressed."""
    import zarr

    whole, spans, end = [], [], 0
    for _, held in shards:
        whole += held
    for video in whole:
        spans.append((end, end + len(video)))
        end += len(video)
    rows = np.concatenate(whole)
    chunk = 64
    inside = max(1, min(1024, len(rows) // chunk)) * chunk
    array = zarr.create_array(
        str(folder / "rows.zarr"), shape=rows.shape, dtype=rows.dtype, chunks=(chunk, rows.shape[1]),
        shards=(inside, rows.shape[1]), compressors=None,
    )  # fmt: skip
    array[:] = rows
    return lambda at: array[slice(*spans[at])]


def tar(folder: Path, shards: Iterator) -> Read:
    """Tar files of .npy as webdataset reads them, by an index of offsets (webdataset itself only streams)."""
    import tarfile

    place = {}
    for number, (first, held) in enumerate(shards):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for at, video in enumerate(held):
                buffer = io.BytesIO()
                np.save(buffer, video)
                entry = tarfile.TarInfo(f"{first + at}.features.npy")
                entry.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(entry, buffer)
        with tarfile.open(folder / f"{number}.tar") as archive:
            for entry in archive:
                place[int(entry.name.split(".")[0])] = (number, entry.offset_data, entry.size)
    files = {n: open(folder / f"{n}.tar", "rb") for n, _, _ in place.values()}  # noqa: SIM115 - as long as it is read

    def read(at: int) -> np.ndarray:
        number, offset, size = place[at]
        files[number].seek(offset)
        return np.load(io.BytesIO(files[number].read(size)))

    return read


def parquet(folder: Path, shards: Iterator) -> Read:
    """A row group a video, a fixed-size list a snippet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = {}
    for number, (first, held) in enumerate(shards):
        width = held[0].shape[1]
        kind = pa.list_(pa.float16(), width)
        schema = pa.schema([("features", kind)])
        with pq.ParquetWriter(folder / f"{number}.parquet", schema, compression="none", use_dictionary=False) as writer:
            for at, video in enumerate(held):
                column = pa.FixedSizeListArray.from_arrays(pa.array(video.ravel()), width)
                writer.write_table(pa.table([column], schema=schema))
                place[first + at] = (number, at)
    files = {n: pq.ParquetFile(folder / f"{n}.parquet", memory_map=True) for n, _ in place.values()}

    def read(at: int) -> np.ndarray:
        number, group = place[at]
        column = files[number].read_row_group(group).column(0).combine_chunks()
        return column.flatten().to_numpy().reshape(len(column), -1)

    return read


def lance_rows(folder: Path, shards: Iterator) -> Read:
    """One Lance data set, a fixed-size list a snippet."""
    import lance
    import pyarrow as pa

    spans, end, tables = [], 0, []
    for _, held in shards:
        for video in held:
            spans.append((end, len(video)))
            end += len(video)
        rows = np.concatenate(held)
        tables.append(pa.table({"features": pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])}))
    data = lance.write_dataset(pa.concat_tables(tables), str(folder / "rows.lance"))

    def read(at: int) -> np.ndarray:
        first, count = spans[at]
        column = data.take(range(first, first + count)).column(0).combine_chunks()
        return column.flatten().to_numpy().reshape(count, -1)

    return read


FORMATS: dict[str, tuple[str, Callable[[Path, Iterator], Read]]] = {
    "a .npy a video": ("numpy", npy_files),
    ".npy shards": ("numpy", npy_shards),
    "safetensors": ("safetensors", safetensors),
    "zarr 3, sharded": ("zarr", zarr3),
    "tar + offsets": ("numpy", tar),
    "Parquet": ("pyarrow", parquet),
    "Lance": ("lance", lance_rows),
}


def gather_time(read: Read, draws: np.ndarray, width: int) -> float:
    """Median seconds of a gather of 16 videos into a padded batch."""
    times = []
    for draw in draws:
        start = time.perf_counter()
        videos = [read(int(at)) for at in draw]
        batch = np.zeros((len(videos), max(map(len, videos)), width), dtype=np.float32)
        for row, video in zip(batch, videos):
            row[: len(video)] = video
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--shard", type=float, default=64, help="MB of a shard (default: %(default)s)")
    parser.add_argument("--gathers", type=int, default=100)
    args = parser.parse_args()
    draws = np.random.default_rng(1).integers(0, args.videos, (args.gathers, 16))
    results: dict[str, dict[str, float]] = {}
    expected = None
    for name, (package, make) in FORMATS.items():
        if importlib.util.find_spec(package) is None:
            continue
        folder = Path(tempfile.mkdtemp())
        try:
            start = time.perf_counter()
            read = make(folder, groups(args.videos, args.width, args.shard * 1e6))
            written = time.perf_counter() - start
            got = [read(int(at)).astype(np.float64).sum() for at in draws[0]]
            expected = expected or got
            assert np.allclose(got, expected), name
            gathered = gather_time(read, draws, args.width)
            start = time.perf_counter()
            rows = sum(float(read(at)[-1, -1]) > -1 for at in range(args.videos))
            passed = time.perf_counter() - start
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            results[name] = {"gather_ms": 1e3 * gathered, "pass_s": passed, "write_s": written, "MB": size / 1e6}
            assert rows == args.videos
        finally:
            shutil.rmtree(folder)
    base = results["a .npy a video"]
    for name, row in results.items():
        figures = "  ".join(f"{key} {value:8.2f}" for key, value in row.items())
        print(f"{name:16} {figures}  gather {base['gather_ms'] / row['gather_ms']:5.2f}x of a .npy a video")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
