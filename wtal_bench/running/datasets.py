"""From the config's `data` section to features, annotations and splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wtal_bench.data.annotations import Annotations
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.locate import find_annotations, find_features
from wtal_bench.data.store import FeatureStore
from wtal_bench.errors import ConfigError, DataError, WtalError
from wtal_bench.protocols import OWN, Protocol, get_protocol, own_protocol
from wtal_bench.running.settings import Data


@dataclass(frozen=True)
class Opened:
    """A data set ready for use.

    Attributes:
        protocol: what is measured.
        store: the features.
        annotations: tags for training; segments for the evaluator alone.
    """

    protocol: Protocol
    store: FeatureStore
    annotations: Annotations

    def training(self, missing: str) -> VideoSet:
        """The training videos with their tags."""
        ids = [video for video in self.annotations.subset(self.protocol.train_subset) if self._tagged(video)]
        return VideoSet.build(
            self.store,
            self.annotations,
            ids,
            self.protocol.classes,
            split=self.protocol.train_subset,
            training=True,
            missing=missing,
        )

    def test(self, missing: str) -> VideoSet:
        """The videos the protocol evaluates: those of its subset with an annotated instance (all, of one's own)."""
        annotated = self.annotations.videos
        ids = [v for v in self.annotations.subset(self.protocol.subset) if annotated[v].segments or self.protocol.own]
        return VideoSet.build(
            self.store,
            self.annotations,
            ids,
            self.protocol.classes,
            split=self.protocol.subset,
            missing=missing,
        )

    def _tagged(self, video: str) -> bool:
        return bool(self.annotations.tags(video))


def open_data(data: Data, device: str, where: str) -> Opened:
    """Find, or generate, the data a config names.

    Args:
        data: the config's section.
        device: where training runs, for features resident on the GPU.
        where: config file, for error texts.

    Raises:
        DataError: nothing there; the text says what is missing, where it was looked for, and how to get it.
        ConfigError: unknown protocol or an impossible combination.
    """
    try:
        protocol = None if data.protocol == OWN else get_protocol(data.protocol)
    except WtalError as error:
        raise ConfigError(f"{where}: data.protocol: {error} A data set of your own: protocol='own'.") from error
    if data.resident == "gpu" and device == "cpu":
        raise ConfigError(f"{where}: data.resident='gpu' needs a GPU; use 'map' or 'ram' on this machine.")
    if data.synthetic is not None:
        folder = _synthetic_folder(data, protocol, where)
        features, annotation_file = folder / data.features, folder / data.annotations
    else:
        features, annotation_file = _find(data, protocol, where)
    store = FeatureStore.open(features, {"map": None, "ram": "ram", "gpu": "cuda"}[data.resident])
    annotations = Annotations.load(annotation_file)
    if protocol is None:
        protocol = own_protocol(annotations)
    else:
        protocol.ground_truth(annotations)  # refuses another class list before anything trains on it
    return Opened(protocol, store, annotations)


def _synthetic_folder(data: Data, protocol: Protocol | None, where: str) -> Path:
    from wtal_bench.data.synthetic import ensure_synthetic

    if protocol is None or not protocol.synthetic:
        raise ConfigError(
            f"{where}: data.synthetic with protocol {data.protocol}: synthetic videos are scored by a synthetic "
            "protocol alone, e.g. synthetic/v1."
        )
    return ensure_synthetic(data.synthetic.get("profile", "demo"), data.synthetic.get("world", 0))


def _find(data: Data, protocol: Protocol | None, where: str) -> tuple[Path, Path]:
    """The feature store and the annotation file; never falls back to anything else."""
    if protocol is None and data.root is None:
        raise ConfigError(f"{where}: data.protocol='own' needs data.root, the folder of your data set.")
    dataset = data.root if protocol is None else protocol.dataset
    names = (data.annotations,)
    if protocol is not None and data.annotations in protocol.annotation_names:
        names = protocol.annotation_names
    look = {"folder": data.root, "synthetic_config": _stand_in_config(where)}
    try:
        return find_features(dataset, data.features, **look), find_annotations(dataset, names, **look)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _stand_in_config(where: str) -> str:
    """The synthetic config of the same method, if there is one."""
    path = Path(where)
    synthetic = path.with_name(f"{path.stem.rpartition('_')[0]}_synthetic{path.suffix}")
    return str(synthetic) if synthetic.is_file() else "configs/ecm_synthetic.py"
