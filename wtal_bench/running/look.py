"""A finished run, looked at: what its model says of test videos, for pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wtal_bench.errors import ConfigError, DataError, did_you_mean, listing
from wtal_bench.interfaces import Batch, Picture, SeenVideo, VideoMeta, VideoOutputs
from wtal_bench.modeling.build import build_model
from wtal_bench.modeling.model import Model
from wtal_bench.modeling.parts import Part
from wtal_bench.report.curves import DecoderView
from wtal_bench.running.checkpoint import load_weights, read_checkpoint, weights_of
from wtal_bench.running.config import load_config
from wtal_bench.running.datasets import Opened, open_data
from wtal_bench.running.device import pick_device
from wtal_bench.running.loader import Request
from wtal_bench.running.runner import build_testing
from wtal_bench.running.workdir import CONFIG
from wtal_bench.structures import Detections


@dataclass(frozen=True)
class Offered:
    """A picture that a component of the run offers.

    Attributes:
        where: key path of the component below `model`.
        prefix: of the fields it knows, in the model's outputs.
        part: the component in its place.
        picture: the offer.
    """

    where: str
    prefix: str
    part: Part
    picture: Picture


class Look:
    """The model a run ended with, and its test videos.

    Args:
        run: the run's folder.
        checkpoint: another file than the one the run chose.
        options: changes of the run's config, "dotted.key=value" (a field that it keeps to itself, another decoder).

    Raises:
        WtalError: no run there, or its data are gone.
    """

    def __init__(self, run: str | Path, checkpoint: str | Path | None = None, options: Sequence[str] = ()) -> None:
        self.folder = Path(run)
        if not (self.folder / CONFIG).is_file():
            raise ConfigError(f"{self.folder} is no run's folder: it holds no {CONFIG}. Name one under work_dirs/.")
        config = load_config(self.folder / CONFIG, options)
        chosen = "last.pth" if config.train.selection == "last" else "best.pth"
        path = self.folder / chosen if checkpoint is None else Path(checkpoint)
        self.model: Model = build_model(config.model, config.path)
        load_weights(self.model, weights_of(read_checkpoint(path)), path)
        self.opened: Opened = open_data(config.data, pick_device(config).type, config.path)
        testing = build_testing(config, self.opened, self.model)
        self.model.to(testing.device).eval()
        self.method, self.videos = config.method, testing.videos
        self._gather, self._device = testing.gather, testing.device

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.opened.protocol.classes

    def offers(self) -> dict[str, Offered]:
        """What the run's components offer to draw: by name, by component and name where several share one."""
        found = [
            (name, Offered(where, prefix, part, picture))
            for where, prefix, part in self.model.parts()
            for name, picture in part.component.pictures.items()
        ]
        names = [name for name, _ in found]
        return {name if names.count(name) == 1 else f"{offer.where}.{name}": offer for name, offer in found}

    def choose(self, count: int, named: Sequence[str] = ()) -> list[str]:
        """Ids of `count` test videos: those named, else ones that share a class, in file order.

        Raises:
            DataError: an unknown id, or not so many.
        """
        ids = list(self.videos.ids)
        for name in named:
            if name not in ids:
                raise DataError(f"no test video {name!r}.{did_you_mean(name, ids)} There are {len(ids)}.")
        if named:
            if len(named) != count:
                raise DataError(f"this picture shows {count} videos, {len(named)} were named: {listing(named)}.")
            return list(named)
        sharing = self.videos.labels.sum(axis=0)
        own = self.videos.labels[:, int(sharing.argmax())] > 0
        chosen = [name for name, fits in zip(ids, own) if fits][:count]
        if len(chosen) < count:
            raise DataError(f"this picture shows {count} videos of one class; no class of the test split has as many.")
        return chosen

    def see(self, ids: Sequence[str], fields: Sequence[str]) -> Iterator[SeenVideo]:
        """Run the model over some videos, one after the other.

        Raises:
            DataError: a field the model does not make.
        """
        made = self.model.fields
        for field in fields:
            if field not in made:
                raise DataError(
                    f"no output field {field!r}.{did_you_mean(field, made)} There are: {listing(made, 40)}."
                )
        return (self._seen(name, batch, fields) for name, batch in self._batches(ids))

    def see_for(self, offer: Offered, ids: Sequence[str]) -> list[SeenVideo]:
        """The same, with the fields a component reads, under the names it knows."""
        fields = [offer.prefix + field for field in offer.part.readable]
        found = []
        for video in self.see(ids, [field for field in fields if field in self.model.fields]):
            own = {name.removeprefix(offer.prefix): value for name, value in video.outputs.items()}
            try:
                inputs = offer.part.inputs(own)
            except KeyError as error:
                raise DataError(
                    f"model.{offer.where} reads {error.args[0]!r}, which is there in training alone, so it cannot be "
                    "drawn."
                ) from error
            found.append(replace(video, outputs=inputs))
        return found

    def detections(self, name: str) -> tuple[SeenVideo, Detections, DecoderView | None]:
        """A video with the fields its decoder reads, what the decoder finds, and what it looks at."""
        ((_, batch),) = self._batches([name])
        ((outputs, meta),) = self.model.video_outputs(batch)
        found = self.model.decode(outputs, meta).detections
        return self._video(name, outputs, meta), found, view_of(self.model, outputs)

    def _batches(self, ids: Sequence[str]) -> Iterator[tuple[str, Batch]]:
        for name in ids:
            yield name, self._gather(Request((self.videos.ids.index(name),)), self._device).to(self._device)

    def _seen(self, name: str, batch: Batch, fields: Sequence[str]) -> SeenVideo:
        ((outputs, meta),) = self.model.video_outputs(batch, list(fields))
        return self._video(name, outputs, meta)

    def _video(self, name: str, outputs: VideoOutputs, meta: VideoMeta) -> SeenVideo:
        row = self.videos.labels[self.videos.ids.index(name)]
        segments = self.opened.annotations.videos[name].segments
        truth = tuple((s.label, s.start, s.end) for s in segments)
        timed = self.opened.annotations.timed(name)
        return SeenVideo(meta, outputs, self.classes, tuple(int(c) for c in row.nonzero()[0]), truth, timed)


def view_of(model: Model, outputs: VideoOutputs) -> DecoderView | None:
    """What the model's decoder looks at in a video, for a picture."""
    seen = model.decoder_view(outputs)
    return None if seen is None else DecoderView(*seen)
