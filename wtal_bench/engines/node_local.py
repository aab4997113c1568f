"""Folders that other machines of a cluster cannot see, as far as this machine can tell by itself."""

from __future__ import annotations

import re
from pathlib import Path

from wtal_bench.errors import ConfigError

MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs", "overlay", "aufs", "squashfs")
"""File systems of this machine's memory, or of a container: nobody else can mount them."""
ON_DISK = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs", "zfs")
"""File systems of a disk, which may be served to others, but not those of a folder for temporary files."""
TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
"""Folders that every machine has one of its own of."""


def refuse_node_local(folder: Path, what: str, remedy: str) -> None:
    """Refuse a folder that surely is this machine's alone; one that may be shared is shown to be, or not, by a worker.

    Args:
        folder: need not be there yet.
        what: it is, for the text: "the folder of the runs".
        remedy: what to do instead.

    Raises:
        ConfigError: the text names the folder and what tells.
    """
    place = folder.resolve()
    why = _why_local(place, MOUNTS.read_text(encoding="utf-8", errors="replace") if MOUNTS.is_file() else "")
    if why:
        raise ConfigError(f"{what}, {place}, {why}: the machines of the cluster do not see it. {remedy}")


def _why_local(place: Path, mounts: str) -> str:
    """What tells that a folder is this machine's alone, in words; "" if nothing does."""
    mount, kind = _mounted(place, mounts)
    if kind in IN_MEMORY:
        return f"lies on the {kind} that is mounted at {mount}"
    own = next((folder for folder in TEMPORARY if place.is_relative_to(folder)), None)
    if own is not None and kind in ("", *ON_DISK):
        return f"lies in {own}, which every machine has one of its own of"
    return ""


def _mounted(place: Path, mounts: str) -> tuple[Path, str]:
    """Mount point and kind of the file system a folder lies on: the last of the deepest mounts; ("/", "") if unknown.

    Args:
        place: resolved.
        mounts: as `/proc/self/mountinfo` has them (proc(5)): the fifth field is where, the one after "-" is the kind.
    """
    found = (Path("/"), "")
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split()
        if not dash or len(fields) < 5 or not after.split():
            continue
        mount = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))  # a space is \040
        if place.is_relative_to(mount) and len(mount.parts) >= len(found[0].parts):
            found = (mount, after.split()[0])
    return found


__all__ = ["refuse_node_local"]
