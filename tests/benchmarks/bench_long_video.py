#!/usr/bin/env python
"""What does it cost to detect in one very long video? Peak memory and processor time of every shipped method and host.

The way is that of `wtal-bench infer`: a .npy file of random features is mapped, the model of a recipe (untrained: its
curves are noise, which makes more proposals than any trained one's) computes its fields, and its decoder decodes them.
Every recipe runs in a process of its own, forked from one that holds torch and nothing else, so that the peak is its
own; what that process held before is taken off. Times are seconds of the processor, which other programs do not change.

Example: OMP_NUM_THREADS=1 python tests/benchmarks/bench_long_video.py --snippets 56250 --data thumos
(56,250 snippets are ten hours at 25 frames a second and a stride of 16.)
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wtal_bench.modeling.model import Model
from wtal_bench.recipes import shipped_recipes
from wtal_bench.running.checkpoint import write_checkpoint
from wtal_bench.running.config import load_config
from wtal_bench.running.infer import detect
from wtal_bench.running.inputs import Rates

TINY = "--snippets 60 --data synthetic --only ecm_synthetic"
"""What the test suite runs, so that this file cannot rot."""
FPS, STRIDE = 25.0, 16
WIDTHS = {"thumos": 2048, "synthetic": 128}
"""Columns of the features the recipes of these data read."""


def main() -> None:
    """Run each recipe in a child, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snippets", type=int, default=56_250, help="T of the video (default: %(default)s)")
    parser.add_argument("--data", default="thumos", choices=WIDTHS, help="recipes of these data (default: thumos)")
    parser.add_argument("--whole", action="store_true", help="let those that sample a video look at all of it")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these recipes only")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.only or [r.name for r in shipped_recipes(f"*_{args.data}") if "/" not in r.name and r.method != "idea"]
    hours = args.snippets * STRIDE / FPS / 3600
    print(f"one video of {args.snippets} snippets ({hours:.1f} h), torch {torch.__version__}, 1 thread")
    print(f"{'recipe':28}{'sampled':>9}{'peak GiB':>10}{'model s':>9}{'decoder s':>11}{'detections':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            found = _in_child(name, args, Path(folder))
            if "error" in found:
                print(f"{name:28}{found['error']}", flush=True)
                continue
            print(
                f"{name:28}{found['sampled']:>9}{found['peak'] / 2**30:10.2f}{found['model']:9.1f}"
                f"{found['decoder']:11.1f}{found['count']:12}",
                flush=True,
            )


def _in_child(name: str, args: argparse.Namespace, folder: Path) -> dict:
    told = folder / "told.json"
    told.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        try:
            told.write_text(json.dumps(_measure(name, args, folder)))
        except BaseException as error:
            told.write_text(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return json.loads(told.read_text()) if told.is_file() else {"error": "killed (out of memory?)"}


def _measure(name: str, args: argparse.Namespace, folder: Path) -> dict:
    from wtal_bench.modeling.build import build_model

    config = load_config(name)
    config.runtime.device = "cpu"
    if args.whole:
        config.test.sampling, config.test.length = "whole", None
    torch.manual_seed(0)
    file, weights = folder / "long.npy", folder / "weights.pth"
    if not file.exists():
        _write(file, args.snippets, WIDTHS[args.data])
    write_checkpoint(weights, {"state_dict": build_model(config.model, config.path).state_dict()})
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    held, clock = _resident("VmRSS"), _Clock()
    decode = Model.decode
    Model.decode = lambda self, *arguments: clock.around(decode, self, *arguments)
    found = detect(config, weights, [str(file)], rates=Rates(FPS, STRIDE)).videos
    count = sum(len(detections) for detections in found.values())
    sampled = "whole" if config.test.sampling == "whole" else f"to {config.test.length}"
    peak = _resident("VmHWM") - held
    return {"sampled": sampled, "peak": peak, "model": clock.rest(), "decoder": clock.inside, "count": count}


def _write(file: Path, snippets: int, width: int) -> None:
    """Features as they come out of a rectifier, written piece by piece."""
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(snippets, width))
    generator = np.random.default_rng(0)
    for first in range(0, snippets, 4096):
        part = array[first : first + 4096]
        part[:] = np.maximum(generator.standard_normal(part.shape, dtype=np.float32), 0)
    array.flush()


class _Clock:
    """Seconds of the processor inside some calls, and in all the rest since it was made."""

    def __init__(self) -> None:
        self.inside, self._started = 0.0, time.process_time()

    def around(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call, and count its seconds."""
        started = time.process_time()
        try:
            return call(*arguments)
        finally:
            self.inside += time.process_time() - started

    def rest(self) -> float:
        """All others."""
        return time.process_time() - self._started - self.inside


def _resident(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


if __name__ == "__main__":
    main()
