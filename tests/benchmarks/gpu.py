"""Everything that needs a GPU to be known, in one run: most valuable first, saved after every figure, resumable.

1. the card's own limits (matrix products in float32, TF32 and bf16; copying), 2. the tests marked `gpu`, 3. the step of
every method at published sizes: time, FLOP/s beside the limit, peak memory, waits, operations, in float32, bf16 and
TF32, against a plain loop over its videos (`video_loops`), 4. the same compiled and as a CUDA graph, 5. an epoch of the
first method through the loader and the step the runner makes, with features mapped (gathered here or by loader
processes), in RAM and on the GPU: the share of time that is spent waiting for a mini-batch on the device, 6. how much
of the test time is decoding. What a method makes of its training videos (GauFuse's pseudo labels) is not made at
published sizes, where there are none: its step is that of the epochs before.

A figure that fails is kept with its error and is tried again by the next run; those that are there are not made again.

    python tests/benchmarks/gpu.py --minutes 10 --out gpu.json
    python tests/benchmarks/gpu.py --tiny --out /tmp/gpu.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.video_loops import loop_of
from tests.helpers import REPOSITORY
from tests.steps import LENGTHS, begin, epochs_of, first_batch, published_batch
from wtal_bench.data.dataset import VideoSet
from wtal_bench.data.sampling import build_sampling
from wtal_bench.data.store import FeatureStore, StoredVideo, write_store
from wtal_bench.errors import ConfigError
from wtal_bench.files import write_json
from wtal_bench.modeling.model import Model
from wtal_bench.running.config import load_config
from wtal_bench.running.graph import GraphedStep, check_graph
from wtal_bench.running.loader import Gather, Plan, build_loader
from wtal_bench.running.model_checks import check_model
from wtal_bench.running.optim import OptimizerStep, build_optimizer
from wtal_bench.testing import Operations

METHODS = (
    "rskp",
    "fac_net",
    "ecm",
    "acm_net",
    "ftcl",
    "gaufuse",
    "co2net",
    "wtalc",
    "bges_ten",
    "cola",
    "um",
    "basnet",
)
METHODS += ("bm", "stpn", "bm_embedding", "stpn_embedding")
PRECISIONS = ("float32", "bf16", "tf32")


class Figures:
    """The results file: figures by name, written after each one.

    Args:
        path: of the file; what is in it is not made again, unless it failed.
        seconds: after which nothing new is begun.
        about: the settings; another run's figures are not mixed in.
    """

    def __init__(self, path: Path, seconds: float, about: dict[str, Any]) -> None:
        self.path, self.end = path, time.monotonic() + seconds
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.found = known if known.get("about") == about else {"about": about, "figures": {}}
        self.left: list[str] = []

    def make(self, name: str, figure: Callable[[], Any]) -> None:
        """Make one figure, if it is not there and there is time."""
        known = self.found["figures"].get(name)
        if known is not None and "error" not in known:
            return
        if time.monotonic() > self.end:
            self.left.append(name)
            return
        began = time.monotonic()
        try:
            made = figure()
        except ConfigError as error:
            made = {"refused": str(error)}
        except Exception as error:  # whatever one figure does, the others are worth having
            made = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        made["seconds"] = round(time.monotonic() - began, 2)
        self.found["figures"][name] = made
        write_json(self.path, self.found)
        print(f"{name}: {json.dumps({key: _short(value) for key, value in made.items()})}", flush=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


# ---- timing ----


def wait() -> None:
    """Until the device has done everything."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Of calls one after the other, as in training: the queue is emptied before and after all of them."""
    for _ in range(2):
        run()
    times = []
    for _ in range(3):
        wait()
        began = time.perf_counter()
        for _ in range(repeats):
            run()
        wait()
        times.append((time.perf_counter() - began) / repeats)
    return 1e3 * statistics.median(times)


@contextlib.contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Let float32 products round their factors to ten bits."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = before


def limits(device: torch.device, size: int, repeats: int) -> dict[str, Any]:
    """What the card reaches on one matrix product and one copy: the ceiling of all that follows."""
    made: dict[str, Any] = {}
    for name, kind in (("float32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(size, size, device=device, dtype=kind)
        with tf32(name == "tf32"):
            made[f"{name}_tflops"] = 2 * size**3 / median_ms(lambda a=a: a @ a, repeats) / 1e9
    x = torch.empty(size * size * 4, dtype=torch.uint8, device=device)
    y = torch.empty_like(x)
    made["copy_gb_s"] = 2 * x.numel() / median_ms(lambda: y.copy_(x), repeats) / 1e6
    return made


def marked_tests(tiny: bool) -> dict[str, Any]:
    """The tests that need a GPU."""
    where = ["tests/plugins/test_ftcl_recursions.py"] if tiny else ["tests"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *where]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    lines = done.stdout.strip().splitlines()
    return {"rc": done.returncode, "summary": lines[-1] if lines else "", "failed": [x for x in lines if "FAILED" in x]}


# ---- steps ----


class Setting:
    """A method with a mini-batch, ready to step.

    Args:
        method: name of its recipe, without the data set.
        tiny: the embedded benchmark's size, else the published one.
        device: where.
    """

    def __init__(self, method: str, tiny: bool, device: torch.device) -> None:
        self.config = load_config(f"{method}_{'synthetic' if tiny else 'thumos'}")
        self.model = check_model(self.config).train()
        self.model.grad_reduction = self.config.train.grad_reduction
        (*_, epoch) = epochs_of(self.config)
        if tiny:
            begin(self.model, self.config, 0)
            batch = first_batch(self.config, epoch)
        else:
            batch = published_batch(self.config, epoch)
        self.model.to(device)
        self.precision = "float32"
        self.batch, self.device = batch.to(device), device

    def stepper(self, precision: str = "float32") -> OptimizerStep:
        """An optimiser of its own."""
        t = self.config.train
        return OptimizerStep(build_optimizer(self.model.parameters(), t), precision, t.accumulate, clip=t.clip)


def step_figure(setting: Setting, precision: str, repeats: int, prepare: Callable[[Setting], Any] | None = None) -> Any:
    """Time, FLOP/s and memory of a step."""
    setting.precision = "bf16" if precision == "bf16" else "float32"
    step, model, batch = setting.stepper(setting.precision), setting.model, setting.batch
    run = prepare(setting) if prepare else model.train_step
    if setting.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tf32(precision == "tf32"):
        ms = median_ms(lambda: run(batch, step), repeats)
    made = {"ms": ms, "videos": len(batch), "snippets": sum(batch.packing.lengths)}
    if setting.device.type == "cuda":
        made["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return made


def eager_figure(setting: Setting, precision: str, repeats: int) -> Any:
    """The step as it is, with what it computes and asks for."""
    made, step = step_figure(setting, precision, repeats), setting.stepper()
    with FlopCounterMode(display=False) as flops:
        setting.model.train_step(setting.batch, step)
    with Operations() as seen:
        setting.model.train_step(setting.batch, step)
    made |= {"tflops": flops.get_total_flops() / made["ms"] / 1e9, "operations": seen.count}
    return made | {"waits": seen.waits.total()}


def loop_figure(setting: Setting, repeats: int) -> Any:
    """The same mini-batch by a loop over its videos."""
    step, whose = loop_of(setting.config, setting.model, setting.batch)
    return {"ms": median_ms(step, repeats), "whose": whose}


def compiled(backend: str) -> Callable[[Setting], Any]:
    """Losses through `torch.compile`, for any length."""

    def prepare(setting: Setting) -> Any:
        model = setting.model
        for part in getattr(model, "members", {"": model}).values():
            part.losses = torch.compile(part.losses, dynamic=True, backend=backend)
        return model.train_step

    return prepare


def graphed(setting: Setting) -> Any:
    """A step as one graph, or why not."""
    from tests.steps import videos_of  # the shapes of the recipe's own data say whether they change

    small = load_config(setting.config.path.replace("_thumos", "_synthetic"))
    check_graph(check_model(small), videos_of(small), small, setting.device, 1)
    return GraphedStep(setting.model, setting.precision)


# ---- an epoch, and a test ----


def a_store(folder: Path, videos: int, longest: int, width: int) -> FeatureStore:
    """Random features of some videos."""
    if (folder / "manifest.json").is_file():
        return FeatureStore.open(folder)
    rng = np.random.default_rng(0)
    lengths = [min(longest, LENGTHS[at % len(LENGTHS)]) for at in range(videos)]
    made = (
        StoredVideo(f"v{at}", rng.random((length, width), dtype=np.float32), length * 0.64, 25.0)
        for at, length in enumerate(lengths)
    )
    manifest = dict(name="speed", extractor="random", fps=25.0, stride=16, window=16, streams={"all": [0, width]})
    return write_store(folder, made, manifest={**manifest, "synthetic": True})


def some_videos(store: FeatureStore, classes: int) -> VideoSet:
    """All videos of a store, one tag each."""
    rows, names = np.arange(len(store)), tuple(f"class{at}" for at in range(classes))
    labels = np.eye(classes, dtype=np.float32)[rows % 3]
    return VideoSet(store, store.ids, names, labels, rows, tuple(map(store.meta, store.ids)))


def epoch_figure(setting: Setting, folder: Path, resident: str | None, workers: int, tiny: bool) -> Any:
    """An epoch of steps on mini-batches of the loader: how long, and what share of it they are waited for."""
    width, classes = setting.batch.features.shape[2], setting.batch.labels.shape[1]
    a_store(folder, 8 if tiny else 200, 60 if tiny else 2200, width)
    videos, t = some_videos(FeatureStore.open(folder, resident), classes), setting.config.train
    plan = Plan(videos.labels, 4 if tiny else t.batch_size, 0, shuffle=t.shuffle, drop_last=True)
    loader = build_loader(
        plan,
        Gather(videos, build_sampling(t.sampling, length=t.length), 0),
        on_device=resident == "cuda",
        num_workers=workers,
        pin=setting.device.type == "cuda",
    )
    step, model = setting.stepper(), setting.model
    for epoch in range(2):  # the first warms up
        plan.start_at(epoch)
        wait()
        waited, began = 0.0, time.perf_counter()
        mini_batches = iter(loader)
        while True:
            at = time.perf_counter()
            data = next(mini_batches, None)
            if data is None:
                break
            batch = model.data_preprocessor(data, True)["batch"]
            waited += time.perf_counter() - at
            model.train_step(batch, step)
        wait()
    took = time.perf_counter() - began
    return {"epoch_s": took, "videos": len(plan) * plan.batch_size, "waited_share": waited / took}


def test_figure(setting: Setting) -> Any:
    """One test video: the network, and the decoding of what it says."""
    model: Model = setting.model.eval()
    batch = setting.batch
    times = {"network": [], "decoding": []}
    for _ in range(3):
        wait()
        began = time.perf_counter()
        videos = list(model.video_outputs(batch))
        middle = time.perf_counter()
        for outputs, meta in videos:
            model.decode(outputs, meta)
        times["network"].append(middle - began)
        times["decoding"].append(time.perf_counter() - middle)
    model.train()
    network, decoding = (statistics.median(values) / len(batch) for values in times.values())
    return {
        "network_ms": 1e3 * network,
        "decoding_ms": 1e3 * decoding,
        "decoding_share": decoding / (network + decoding),
    }


def main() -> None:
    """Make what is not there yet, as far as the time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="nothing new is begun after so many (10)")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="results; continued if it is there")
    parser.add_argument("--methods", nargs="+", default=None, help=f"of {', '.join(METHODS)} (all, in this order)")
    parser.add_argument("--tiny", action="store_true", help="seconds of work, on any machine: does everything run?")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not args.tiny:
        parser.error("torch sees no GPU here; --tiny runs anywhere")
    unknown = set(args.methods or ()) - set(METHODS)
    if unknown:
        parser.error(f"no such method: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
    methods = args.methods or (("fac_net", "ecm") if args.tiny else METHODS)
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    about = {"device": name, "torch": torch.__version__, "tiny": args.tiny, "python": platform.python_version()}
    figures, repeats = Figures(args.out, 60 * args.minutes, about), 1 if args.tiny else 10
    print(f"{name}, torch {torch.__version__}: {args.out}")
    make_all(figures, methods, args.tiny, device, repeats)
    failed = [name for name, made in figures.found["figures"].items() if "error" in made]
    print(f"{len(figures.found['figures'])} figures, {len(failed)} with an error, {len(figures.left)} left for later")


def make_all(figures: Figures, methods: tuple[str, ...], tiny: bool, device: torch.device, repeats: int) -> None:
    """Every figure, the most telling first."""
    figures.make("limits", lambda: limits(device, 64 if tiny else 8192, repeats))
    figures.make("gpu tests", lambda: marked_tests(tiny))

    def fresh(method: str) -> Setting:
        torch.manual_seed(0)
        return Setting(method, tiny, device)

    for precision in PRECISIONS[: 1 if tiny else 2]:
        for method in methods:
            figures.make(
                f"{method} {precision} eager", lambda m=method, p=precision: eager_figure(fresh(m), p, repeats)
            )
    for method in methods:
        figures.make(f"{method} loop", lambda m=method: loop_figure(fresh(m), max(1, repeats // 5)))
    with tempfile.TemporaryDirectory() as scratch:
        for resident, workers in ((None, 0), (None, 2), ("ram", 0), ("cuda", 0)):
            if resident == "cuda" and device.type == "cpu":
                continue
            figures.make(
                f"{methods[0]} epoch, features {resident or 'mapped'}{f', {workers} workers' if workers else ''}",
                lambda r=resident, w=workers: epoch_figure(fresh(methods[0]), Path(scratch) / "store", r, w, tiny),
            )
    for method in methods:
        figures.make(f"{method} test", lambda m=method: test_figure(fresh(m)))
    for method in methods:
        figures.make(f"{method} graph", lambda m=method: step_figure(fresh(m), "float32", repeats, graphed))
    backend = "eager" if tiny else "inductor"
    for method in methods[: 1 if tiny else None]:
        figures.make(
            f"{method} float32 compiled", lambda m=method: step_figure(fresh(m), "float32", repeats, compiled(backend))
        )
    for method in methods[: 0 if tiny else None]:
        figures.make(f"{method} tf32 eager", lambda m=method: eager_figure(fresh(m), "tf32", repeats))
    for method in methods[: 0 if tiny else None]:
        for kind, prepare in (("compiled", compiled(backend)), ("graph", graphed)):
            figures.make(f"{method} bf16 {kind}", lambda m=method, p=prepare: step_figure(fresh(m), "bf16", repeats, p))


if __name__ == "__main__":
    main()
