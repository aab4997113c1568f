"""Public code that people compare with, run from checkouts the user brings; nothing of it is kept here.

    python tests/benchmarks/peers.py --peers FOLDER

looks anywhere under FOLDER for

- `eval_detection.py`, the official ActivityNet evaluator or one of its many copies (a Python 3 one) that has
  `compute_average_precision_detection`, or mmaction2's - scoring;
- `nms.py` beside `nms_cpu.cpp`, OpenTAD's or ActionFormer's, whose extension `nms_1d_cpu` is installed
  (`pip install ./opentad/models/utils/post_processing/nms --no-build-isolation`) - suppression.

Both sides get the same random input, and what they give is compared before they are timed.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.authors import Checkout, as_they_expect
from tests.benchmarks.paired import paired
from wtal_bench.decoding import NMS
from wtal_bench.evaluation import DetectionTable, GroundTruth, evaluate

TIOUS = np.linspace(0.1, 0.7, 7)
CLASSES, VIDEOS = 20, 200


def evaluators(folder: Path, args: argparse.Namespace) -> None:
    """Scoring by every official evaluator there is, on detections without ties."""
    truth, found = random_set(np.random.default_rng(0), args.detections)
    table = GroundTruth.from_rows(truth)
    rows = DetectionTable.from_rows(found, table.classes)
    frames = [frame(truth, ["label", "t-start", "t-end"]), frame(found, ["label", "t-start", "t-end", "score"])]
    frames = [[of[of["label"] == label].reset_index(drop=True) for of in frames] for label in table.classes]
    records = [[of.to_dict("records") for of in pair] for pair in frames]

    def theirs(module: ModuleType) -> np.ndarray:
        if hasattr(module, "ActivityNetLocalization"):  # mmaction2's: rows in lists, the second of which it sorts
            parts = ((ground, list(seen)) for ground, seen in records)
        else:
            parts = frames
        return np.stack([module.compute_average_precision_detection(*part, TIOUS) for part in parts])

    for path in sorted(folder.rglob("eval_detection.py")):
        with usable(path):
            module = Checkout(path.parent.parent).file(path)
            ap = theirs(module)
            np.testing.assert_allclose(evaluate(rows, table, TIOUS).ap, ap, rtol=0, atol=1e-9)
            report(f"scoring {args.detections} detections", path, folder, lambda: evaluate(rows, table, TIOUS),
                   lambda module=module: theirs(module), args)  # fmt: skip


_missed: list[Path] = []
"""What could not be compared, or does not agree."""


@contextlib.contextmanager
def usable(path: Path, hint: str = "") -> Iterator[None]:
    """Go on with the next peer where one fails, and say why; `hint` is for one that cannot be imported."""
    try:
        with as_they_expect():
            yield
    except Exception as error:  # somebody else's code may fail in any way
        _missed.append(path)
        what = "does not agree with ours" if isinstance(error, AssertionError) else "cannot be used"
        print(f"{path}: {what} ({type(error).__name__}: {error}){hint if isinstance(error, ImportError) else ''}")


def random_set(random: np.random.Generator, detections: int) -> tuple[dict[str, list], dict[str, list]]:
    """Instances and detections of some videos."""
    truth, found = {}, {}
    for number in range(VIDEOS):
        start = random.uniform(0, 200, 15)
        labels = random.integers(0, CLASSES, 15)
        truth[f"v{number}"] = [(f"c{at:02}", s, s + d) for at, s, d in zip(labels, start, random.uniform(1, 20, 15))]
        start = random.uniform(0, 200, detections // VIDEOS)
        labels, length = random.integers(0, CLASSES, len(start)), random.uniform(1, 20, len(start))
        rows = zip(labels, start, length, random.random(len(start)))
        found[f"v{number}"] = [(f"c{at:02}", s, s + d, score) for at, s, d, score in rows]
    return truth, found


def frame(rows: dict[str, list], names: list[str]) -> pd.DataFrame:
    """One table of all videos."""
    return pd.DataFrame([(video, *row) for video, part in rows.items() for row in part], columns=["video-id", *names])


def suppressors(folder: Path, args: argparse.Namespace) -> None:
    """Hard suppression, class by class, by every compiled one there is."""
    random = np.random.default_rng(0)
    start = random.uniform(0, 200, CLASSES * args.proposals).astype(np.float32)
    end = (start + random.uniform(1, 30, len(start))).astype(np.float32)
    score, group = random.random(len(start)).astype(np.float32), np.repeat(np.arange(CLASSES), args.proposals)
    tensors = torch.tensor(np.stack([start, end], axis=1)), torch.tensor(score), torch.tensor(group)
    for path in sorted(file for file in folder.rglob("nms.py") if (file.parent / "nms_cpu.cpp").is_file()):
        with usable(path, "; is nms_1d_cpu installed?"):
            module = Checkout(path.parent.parent).file(path)
            for iou in (0.3, 0.5, 0.7):
                rule = NMS(iou=iou, offset=1e-6, offset_on="length", ties="earlier_first", precision="float32")

                def theirs(module: ModuleType = module, iou: float = iou) -> Any:
                    most = len(start)
                    return module.batched_nms(*tensors, iou, max_seg_num=most, use_soft_nms=False, multiclass=True)

                def ours(rule: NMS = rule) -> Any:
                    return rule(start, end, score, group)

                np.testing.assert_array_equal(np.sort(ours()[1]), np.sort(theirs()[1].numpy().astype(np.float64)))
                report(f"NMS, N={args.proposals} x {CLASSES} classes, IoU {iou}", path, folder, ours, theirs, args)


def report(
    work: str, path: Path, folder: Path, ours: Callable[[], Any], theirs: Callable[[], Any], args: argparse.Namespace
) -> None:
    """Time both, print, keep the line."""
    peer = str(path.relative_to(folder))
    took = paired(ours, theirs, args.repeats)
    print(f"{work}: {took.text(peer=peer)}")
    took.note(work, peer)


def main() -> None:
    """Run what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="folder with the checkouts")
    parser.add_argument("--detections", type=int, default=10_000, help="to score (default 10000)")
    parser.add_argument("--proposals", type=int, default=1000, help="a class, to suppress (default 1000)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds the median is of (default 5)")
    args = parser.parse_args()
    if not args.peers.is_dir():
        parser.error(f"--peers {args.peers} is no folder; it holds checkouts such as ActivityNet/ and OpenTAD/.")
    _missed.clear()
    evaluators(args.peers, args)
    suppressors(args.peers, args)
    if _missed:
        raise SystemExit(f"not compared: {', '.join(map(str, _missed))}")


if __name__ == "__main__":
    main()
