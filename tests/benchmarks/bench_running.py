"""What the Runner and the loader cost per step, and what starting costs, in absolute numbers and against a real step.

Runner: a tiny model is trained by the Runner and by a bare loop over one ready batch; the difference per step, less the
fixed cost of a run (two lengths are timed), does not depend on the model. Epochs of a dozen steps, as on THUMOS14, and
ten times longer ones tell what a step costs and what an epoch.
Loader: gathering one real mini-batch.
Both are set against one ECM THUMOS step of that size, timed here or given.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_running.py
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_running.py --step-seconds 40 --steps 1000
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.running.conftest import make_dataset, tiny_config
from wtal_bench.data.gather import gather
from wtal_bench.data.sampling import build_sampling
from wtal_bench.data.store import StoredVideo, write_store
from wtal_bench.modeling.build import build_model
from wtal_bench.recipes import read_tree
from wtal_bench.running.config import check_config
from wtal_bench.running.datasets import open_data
from wtal_bench.running.hooks import seed_everything
from wtal_bench.running.loader import Gather, Plan
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.runner import build_training

TINY = "--batch 2 --length 9 --width 8 --steps 10 --repeats 1 --tries 1 --epoch-steps 2 3"
"""What the test suite runs, so that this file cannot rot."""

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT, IMPORT_LIMIT, LIST_LIMIT = 0.05, 0.3, 1.0
clock = time.process_time  # other jobs on the machine do not count; the Runner trains in this process


def seconds(action: Callable[[], object]) -> float:
    began = clock()
    action()
    return clock() - began


def runner_seconds(root: Path, steps: int) -> float:
    """CPU seconds of `runner.train()` over `steps` iterations of the tiny model; the loader gives one ready batch."""
    tree = tiny_config(root, iterations=steps, checkpoint_interval=10**9, batch_size=1)
    del tree["train"]["epochs"]
    tree["runtime"]["log_interval"] = 1e9
    config = check_config(tree, "bench")
    with tempfile.TemporaryDirectory() as folder:
        opened, model = open_data(config.data, "cpu", "bench"), check_model(config)
        made = build_training(config, opened, model, folder, out=lambda line: None)
        loader = made.runner.train_dataloader
        batch = next(iter(loader))
        loader.collate_fn = lambda requests: batch
        return seconds(made.runner.train)


def bare_seconds(root: Path, steps: int) -> float:
    """The same steps in plain torch over a batch that is already there."""
    config = check_config(tiny_config(root, batch_size=1), "bench")
    t = config.train
    videos = open_data(config.data, "cpu", "bench").training("refuse")
    plan = Plan(videos.labels, t.batch_size, 0, shuffle=True)
    gather = Gather(videos, build_sampling(t.sampling, length=t.length), 0)
    batch = gather(plan.batch(0, 0), "cpu")
    seed_everything(0)
    model = build_model(config.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=t.lr)

    def loop() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            model.losses(batch)["total"].backward()
            optimizer.step()

    return seconds(loop)


def overhead(root: Path, steps: int, repeats: int) -> tuple[float, float]:
    """Seconds per step that the Runner adds, and that the bare tiny step takes."""
    short = steps // 5
    added, plain = [], []
    for _ in range(repeats):  # in turn, so that a drifting machine meets both
        through = (runner_seconds(root, steps) - runner_seconds(root, short)) / (steps - short)
        bare = (bare_seconds(root, steps) - bare_seconds(root, short)) / (steps - short)
        added.append(through - bare)
        plain.append(bare)
    return statistics.median(added), statistics.median(plain)


def gather_seconds(folder: Path, args: argparse.Namespace) -> tuple[float, int]:
    """Seconds to gather one mini-batch of real size from the warm map, and its bytes."""
    from wtal_bench.data.store import FeatureStore

    rng = np.random.default_rng(0)
    half = args.width // 2
    manifest = {"name": "bench", "extractor": "random", "fps": 25.0, "stride": 16, "synthetic": True}
    manifest["streams"] = {"rgb": [0, half], "flow": [half, args.width]}
    videos = (
        StoredVideo(f"v{at}", rng.random((args.length * 2, args.width), np.float32), args.length * 1.28, 25.0)
        for at in range(args.batch)
    )
    write_store(folder, videos, manifest=manifest, dtype="float32")
    store = FeatureStore.open(folder)
    rule = build_sampling("uniform", length=args.length)
    ready = functools.partial(gather, store, list(range(args.batch)), rule, seed=0, epoch=0)
    size = ready().features.nbytes
    return statistics.median(seconds(ready) for _ in range(5)), size


def step_seconds(args: argparse.Namespace) -> float:
    """CPU seconds of one ECM THUMOS training step of that size."""
    from wtal_bench.testing import random_batch

    config = read_tree(REPOSITORY / "configs" / "ecm_thumos.py")["model"]
    config["backbone"] |= dict(in_channels=args.width, channels=args.width)
    config["heads"]["pre"]["channels"] = args.width
    model = build_model(config).train()
    batch = random_batch([args.length] * args.batch, width=args.width, classes=20)
    batch.features, batch.labels = batch.features.float(), batch.labels.float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        model.losses(batch)["total"].backward()
        optimizer.step()

    return min(seconds(step) for _ in range(2))


def process_seconds(tries: int, *words: str) -> float:
    """Shortest wall time of a fresh interpreter over some tries."""
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=REPOSITORY)
        times.append(time.perf_counter() - began)
    return min(times)


def verdict(value: float, limit: float) -> str:
    return "met" if value < limit else "MISSED"


def report_start(tries: int) -> None:
    nothing = process_seconds(tries, "-c", "pass")
    package = process_seconds(tries, "-c", "import wtal_bench") - nothing
    listing = process_seconds(tries, "-m", "wtal_bench", "list")
    code = "import sys; before = set(sys.modules); import wtal_bench; "
    code += "print(len(set(sys.modules) - before), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPOSITORY)
    modules, torch_too = done.stdout.split()
    torch_too = "loaded" if torch_too == "True" else "not loaded"
    print(
        f"import wtal_bench   {package:.3f} s above an empty interpreter's {nothing:.3f} s, {modules} modules, torch "
        f"{torch_too} (limit {IMPORT_LIMIT} s: {verdict(package, IMPORT_LIMIT)})"
    )
    print(f"wtal-bench list     {listing:.3f} s (limit {LIST_LIMIT} s: {verdict(listing, LIST_LIMIT)})")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="example: OMP_NUM_THREADS=1 python tests/benchmarks/bench_running.py --step-seconds 40",
    )
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=750)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=600, help="steps of the tiny model (default: %(default)s)")
    parser.add_argument(
        "--epoch-steps", type=int, nargs=2, default=(12, 120), metavar=("SHORT", "LONG"), help="(default: 12 120)"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tries", type=int, default=5, help="fresh interpreters a figure (default: %(default)s)")
    parser.add_argument("--step-seconds", type=float, help="length of a real step, instead of timing one here")
    args = parser.parse_args()
    if args.epoch_steps[0] >= args.epoch_steps[1]:
        parser.error("--epoch-steps: the second number must be larger, or nothing tells a step's cost from an epoch's.")
    report_start(args.tries)
    with tempfile.TemporaryDirectory() as folder:
        short, long = args.epoch_steps
        added, tiny = overhead(make_dataset(Path(folder) / "short", videos=short), args.steps, args.repeats)
        in_long, _ = overhead(make_dataset(Path(folder) / "long", videos=long), args.steps, args.repeats)
        gathering, size = gather_seconds(Path(folder) / "store", args)
    epoch = (added - in_long) / (1 / short - 1 / long)
    print(
        f"Runner              {1e3 * added:.2f} ms a step over the bare loop's {1e3 * tiny:.2f} ms in epochs of "
        f"{short}, {1e3 * in_long:.2f} ms in epochs of {long}: {1e3 * (added - epoch / short):.2f} ms a step and "
        f"{1e3 * epoch:.2f} ms an epoch (tiny model, {args.steps} steps, median of {args.repeats})"
    )
    shape = f"B={args.batch} T={args.length} D={args.width}"
    print(f"gather              {1e3 * gathering:.1f} ms a batch of {shape}, {size / gathering / 1e9:.2f} GB/s")
    step = args.step_seconds or step_seconds(args)
    origin = "given" if args.step_seconds else f"timed, {torch.get_num_threads()} threads, float32"
    share = (added + gathering) / step
    print(f"ECM step            {step:.2f} s ({shape}, {origin})")
    print(f"Runner + loader     {100 * share:.2f} % of it (limit {100 * LIMIT:.0f} %: {verdict(share, LIMIT)})")


if __name__ == "__main__":
    main()
