"""Distributions of third-party plugins as an installation has them, without the seconds a start of pip takes."""

from __future__ import annotations

from pathlib import Path


def install(site: Path, name: str, module: str | None, value: str | None = None, file: str | None = None) -> None:
    """What pip leaves of a distribution of one module."""
    file = file or name
    if module is not None:
        (site / f"{file}.py").write_text(module.replace("NAME", name))
    info = site / f"{file}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {file}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[wtal_bench.plugins]\n{name} = {value or file}\n")
