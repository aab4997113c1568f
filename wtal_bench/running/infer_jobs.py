"""`infer` as plain data, so that other processes take it up: workers that make parts until none is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from wtal_bench.data.importers.files import Options
from wtal_bench.data.note import SUMMARY, Note
from wtal_bench.data.progress import track
from wtal_bench.interfaces import Extractor
from wtal_bench.running.infer import Found, class_names, detect, find_inputs
from wtal_bench.running.infer_parts import PartWriter
from wtal_bench.running.inputs import Input, Rates, build_extractor
from wtal_bench.running.provenance import config_hash
from wtal_bench.running.settings import RunConfig


@dataclass(frozen=True)
class Inference:
    """What `infer` was asked for.

    Attributes:
        config, checkpoint: the trained model.
        sources, rates, options: see `inputs.open_inputs`.
        extractor, extractor_options: name and "key=value" texts of what makes features of videos.
        min_score: detections below it are left out.
        plot, plot_format: folder for pictures, or None, and the suffix they have.
        out: file of the detections; with `part_videos`, the folder of parts of so many videos in `part_format`.
    """

    config: RunConfig
    checkpoint: Path
    sources: tuple[str, ...]
    rates: Rates
    options: Options
    extractor: str
    extractor_options: tuple[str, ...]
    min_score: float
    plot: Path | None
    plot_format: str
    out: Path
    part_videos: int | None
    part_format: str

    @property
    def version(self) -> str:
        """What the detections call themselves."""
        return f"{self.config.method} {self.checkpoint.name}"

    def writer(self, say: Callable[[str], None] = lambda text: None) -> PartWriter | None:
        """What writes the parts; None where one file is asked for.

        Args:
            say: takes a line when a part is begun.
        """
        if self.part_videos is None:
            return None
        settings = [config_hash(self.config), repr(self.rates), repr(self.options)]
        made_by = [str(self.checkpoint), str(self.min_score), *settings, self.extractor, *self.extractor_options]
        names = class_names(self.config)
        return PartWriter(self.out, self.part_videos, self.part_format, names, self.version, made_by, say)

    def inputs(self) -> list[Input]:
        """The videos."""
        return find_inputs(
            self.checkpoint, self.sources, rates=self.rates, options=self.options, extractor=self._extractor
        )

    def detect(self, writer: PartWriter | None = None, progress: Callable[..., Iterable[Input]] = track) -> Found:
        """`infer.detect`, with its `parts` and `progress`."""
        return detect(
            self.config,
            self.checkpoint,
            self.sources,
            rates=self.rates,
            options=self.options,
            extractor=self._extractor,
            plot=None if self.plot is None else lambda name: self.plot / f"{name}.{self.plot_format}",
            min_score=self.min_score,
            parts=writer,
            progress=progress,
        )

    def _extractor(self) -> Extractor:
        return build_extractor(self.extractor, self.extractor_options)


@dataclass(frozen=True)
class PartsJob:
    """One of the workers that share the parts of a folder: a job of `wtal_bench.engines`.

    Attributes:
        asked: the same for all of them.
        number: tells it from the others.
    """

    asked: Inference
    number: int

    start: ClassVar[None] = None
    done: ClassVar[bool] = False
    refused: ClassVar[str] = ""
    goes_on: ClassVar[str] = "goes on with the parts that are missing"

    @property
    def folder(self) -> Path:
        """A name in the folder of the parts; nothing is written there."""
        return self.asked.out / self.label

    @property
    def label(self) -> str:
        """Its name among others."""
        return f"infer{self.number}"

    def joined(self) -> PartsJob:
        """Itself: it goes on with what is missing, however often it begins."""
        return self

    def make(self, out: Callable[[str], None]) -> list[Note]:
        """Make parts that nobody else is at until all are there.

        Returns:
            Notes on the features of the videos it saw, without the summary.
        """
        writer = self.asked.writer(out)
        found = self.asked.detect(writer, progress=lambda items, total, text: items)
        out(f"{len(writer.written)} parts written")
        return [note for note in found.notes if note.code != SUMMARY]

    def read(self) -> Any:
        """Nothing: it is never done before it begins."""


__all__ = ["Inference", "PartsJob"]
