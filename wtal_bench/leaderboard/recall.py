"""What a board was rendered to, known again as long as nothing changed; of a board that changed, what did not.

The texts are a pure function of what is filed, so a board is known again by content: every file among its records
(hashed, or known by its look: `seen`), the published numbers, for every record the annotations it is scored on, hence
whether it may be ranked (`rescore.recalled`), the protocols and the names that plugins show, this code and the
libraries it calls (`cached`). A board that differs in anything is made anew from the `parts` that did not change.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wtal_bench.errors import DataError, RecordError, WtalError
from wtal_bench.leaderboard import parts
from wtal_bench.leaderboard.cached import board_cache, make_room, read_sealed, write_sealed
from wtal_bench.leaderboard.record import StoredRecord
from wtal_bench.leaderboard.rescore import recalled
from wtal_bench.leaderboard.rows import Row
from wtal_bench.leaderboard.seen import Seen
from wtal_bench.leaderboard.shelf import KEPT_FILES
from wtal_bench.reading import read_bytes

_LOG = logging.getLogger("wtal_bench")

_BOARD = "board.json"

BESIDE = ("published.csv", "published_gains.csv")
"""What a board's texts are made from beside its records."""

_READ = ("schema", "id", "protocol", "annotations")
"""What of a record says which annotations it is scored on (`rescore.recalled`)."""


@dataclass(frozen=True)
class Known:
    """What a board of these very files was rendered to.

    Attributes:
        texts: text of every generated file by name.
        whole: whether no record lacked a column then, so that `filing.complete` has nothing to do.
    """

    texts: dict[str, str]
    whole: bool


class Memory:
    """What the user's cache holds of a board.

    Args:
        folder: the leaderboard's folder.

    Attributes:
        seen: the board's files, of which those that look as before need not be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._place = folder, board_cache(folder)
        text = read_sealed(self._place / _BOARD)
        self._entry = None if text is None else json.loads(text)
        self.seen = Seen(folder, self._entry["seen"] if self._entry else None)

    @cached_property
    def parts(self) -> parts.Parts:
        """What is known of records and rows that are still what they were."""
        return parts.Parts.load(self._place)

    def recall(self, annotations: Iterable[str | Path] = ()) -> Known | None:
        """What is known of a board whose files, annotations and code are those that were rendered before, and whose
        generated files are what came out then; None otherwise.

        Args:
            annotations: annotation files to score on; others are found by themselves.
        """
        entry, root = self._entry, self._folder / "records"
        if entry is None or entry["files"] != self._files() or entry["beside"] != beside(self._folder):
            return None
        records = [StoredRecord(root / item["path"], item["record"], item["content"]) for item in entry["records"]]
        try:
            if entry["rules"] != parts.rules(stored.record for stored in records):
                return None
            texts = {name: self._text(name, sha256) for name, sha256 in entry["texts"].items()}
            scored = recalled(records, annotations, [item["unverified"] for item in entry["records"]])
        except WtalError:  # whoever reads the board itself says it best
            return None
        if not scored:
            return None
        if self.seen.news:
            self._write({**entry, "seen": self.seen.settled})
        return Known(texts, entry["whole"])

    def remember(
        self,
        records: Sequence[StoredRecord],
        rows: Iterable[Row],
        made_beside: Mapping[str, str],
        texts: Mapping[str, str],
        whole: bool,
    ) -> None:
        """Keep what a board with records was rendered to; a cache that cannot be written is none.

        Args:
            records: what was rendered, as `rescore.rescored` returned it.
            rows: what was made of them.
            made_beside: `beside` from before the files were read; nothing is kept if it has changed since.
            texts: text of every generated file by name.
            whole: whether no record lacks a column.
        """
        if not records or made_beside != beside(self._folder):
            return
        root, files, items = f"{self._folder / 'records'}{os.sep}", {}, []
        for stored in records:  # paths as texts, as in `_files`
            path = str(stored.path).removeprefix(root).replace(os.sep, "/")
            found = stored.record["detections"]
            files[path] = stored.content
            files[f"{path.rpartition('/')[0]}/{found['file']}".removeprefix("/")] = found["sha256"]
            part = {key: stored.record[key] for key in _READ}
            items.append({"path": path, "content": stored.content, "unverified": stored.unverified, "record": part})
        entry = {
            "files": files,
            "seen": self.seen.settled,
            "beside": dict(made_beside),
            "records": items,
            "rules": parts.rules(stored.record for stored in records),
            "texts": {name: _hash(text.encode()) for name, text in texts.items()},
            "whole": whole,
        }
        self._write(entry, records, rows)

    def _write(
        self, entry: dict[str, Any], records: Iterable[StoredRecord] = (), rows: Iterable[Row] | None = None
    ) -> None:
        try:
            write_sealed(self._place / _BOARD, json.dumps(entry))
            if rows is not None:
                self.parts.save(self._place, records, rows)
            make_room(self._place)
        except (DataError, OSError) as error:
            _LOG.debug("%s", error)

    def _text(self, name: str, sha256: str) -> str:
        """A generated file as it was written.

        Raises:
            RecordError: it is not there, or holds something else.
        """
        content = read_bytes(self._folder / name, kind=RecordError)
        if _hash(content) != sha256:
            raise RecordError(f"{self._folder / name} is not what was made of this board.")
        return content.decode()

    def _files(self) -> dict[str, str] | None:
        """Hash of every file among the records by its path; None where one is a link or cannot be read."""
        root, found = str(self._folder / "records"), {}
        # paths as texts: a `Path` takes as long to make as a file to look at
        for place, folders, files in os.walk(root):
            paths = [os.path.join(place, name) for name in files if name not in KEPT_FILES]
            if any(map(os.path.islink, (*paths, *(os.path.join(place, name) for name in folders)))):
                return None
            try:
                found |= {path[len(root) + 1 :].replace(os.sep, "/"): self.seen.hash(path) for path in paths}
            except RecordError:
                return None
        return found


def beside(folder: Path) -> dict[str, str]:
    """Hashes of the files that a board's texts are made from beside its records; "" for one that is not there."""
    paths = {name: folder / name for name in BESIDE}
    return {name: _hash(read_bytes(path, kind=RecordError)) if path.exists() else "" for name, path in paths.items()}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
