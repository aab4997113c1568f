"""The verbs as functions, for scripts and notebooks: `from wtal_bench import train, detect, evaluate, frame`.

Each does what its verb does, takes what the verb takes, and returns values where the verb prints. What they raise is a
`WtalError` whose text says what to do. The rooms behind them (`data`, `modeling`, ...) are as open.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from wtal_bench.data.importers.files import Options
from wtal_bench.errors import ConfigError
from wtal_bench.evaluation import EvaluationResult, read_detections
from wtal_bench.leaderboard.build import frame
from wtal_bench.protocols import open_protocol
from wtal_bench.running.config import load_config
from wtal_bench.running.infer import detect as detect_inputs
from wtal_bench.running.inputs import Rates, build_extractor
from wtal_bench.running.plan import Planned, execute
from wtal_bench.structures import Detections

__all__ = ["Run", "detect", "evaluate", "frame", "train"]


class Run(NamedTuple):
    """What a run left.

    Attributes:
        record: its record; `record["metrics"]` holds every number.
        folder: the run's folder.
        checkpoint, detections: files in it.
    """

    record: dict
    folder: Path
    checkpoint: Path
    detections: Path


def train(
    config: str | PathLike[str], folder: str | PathLike[str], *options: str, out: Callable[[str], None] = print
) -> Run:
    """Train a recipe and test it, as `wtal-bench train CONFIG --work-dir FOLDER --cfg-options OPTIONS`.

    Args:
        config: a shipped recipe's name, or a config file.
        folder: the run's folder, which must be new.
        options: changes of settings, "train.lr=1e-4".
        out: takes what is said on the way, line by line.

    Raises:
        WtalError: whatever `wtal-bench train` refuses.
    """
    result = execute(Planned(load_config(str(config), list(options)), Path(folder)), out)
    if result is None:
        raise ConfigError("wtal_bench.train runs in one process; start several by torchrun and the verb `train`.")
    best = result.work_dir / "best.pth"  # which another selection than the last epoch leaves
    checkpoint = best if best.is_file() else result.work_dir / "last.pth"
    return Run(
        result.record, result.work_dir, checkpoint, result.record_path.parent / result.record["detections"]["file"]
    )


def evaluate(
    detections: str | PathLike[str], protocol: str, annotations: str | PathLike[str] | None = None
) -> dict[str, EvaluationResult]:
    """Score a file of detections, as `wtal-bench evaluate`: evaluator -> its mAP, by tIoU and by class.

    Args:
        detections: ours, a submission's or a table's (see `read_detections`).
        protocol: "thumos14/v1", or "own" for data of one's own.
        annotations: the annotation file; by default where the protocol looks. One's own must be named.

    Raises:
        WtalError: no such protocol, no annotations, or a file that is no detections.
    """
    found, truth = open_protocol(protocol, None if annotations is None else Path(annotations))
    return found.evaluate(read_detections(Path(detections), found.classes).table(), truth)


def detect(
    config: str | PathLike[str],
    checkpoint: str | PathLike[str],
    *sources: str | PathLike[str],
    fps: float | None = None,
    stride: float | None = None,
    extractor: str = "EfficientNetLite0",
) -> dict[str, Detections]:
    """Detect actions in videos or features, as `wtal-bench infer`: video -> detections in seconds.

    Args:
        config, checkpoint: a recipe, and what training it left.
        sources: feature files or folders of any layout, a feature store, or videos.
        fps, stride: frames a second, and frames between two snippets; by default those of the training features.
        extractor: what makes features of videos.

    Raises:
        WtalError: whatever `wtal-bench infer` refuses.
    """
    found = detect_inputs(
        load_config(str(config)),
        Path(checkpoint),
        [str(source) for source in sources],
        rates=Rates(fps, stride),
        options=Options(),
        extractor=lambda: build_extractor(extractor),
    )
    return found.videos
