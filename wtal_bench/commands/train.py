"""The verb `train`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wtal_bench.engines.choose import add_arguments
from wtal_bench.errors import ConfigError, WtalError
from wtal_bench.options import number_in
from wtal_bench.recipes import describe

if TYPE_CHECKING:
    from wtal_bench.running.plan import Planned
    from wtal_bench.running.run import Result
    from wtal_bench.running.settings import RunConfig

SUMMARY = "Train a config, test it, print its table and write its leaderboard record."
EXAMPLE = r"""wtal-bench train ecm_synthetic
  wtal-bench train ecm_thumos --seeds 0 1 2 --cfg-options train.lr=1e-4
  wtal-bench train ecm_thumos --profile published
  wtal-bench train ecm_synthetic --cfg-options runtime.visualizer=tensorboard
  wtal-bench train ecm_synthetic --seeds 0 1 2 --jobs 3
  wtal-bench train ecm_synthetic --nproc 2
  torchrun --nnodes 2 --nproc_per_node 4 --rdzv_backend c10d --rdzv_endpoint HOST:29500 -m wtal_bench train ecm_thumos \
      --work-dir SHARED_FOLDER

in a checkout, `python tools/train.py CONFIG` is the same door
curves go to the run's folder (`wtal-bench report` draws them), and with runtime.visualizer=tensorboard, wandb or mlflow
there too (pip install "wtal-bench[tensorboard]", ...; wandb and mlflow as they are logged in on this machine)"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "config", help="config file (.py, .yaml or .json), or a shipped one's name (`wtal-bench list --configs`)"
    )
    parser.add_argument("--work-dir", help="the run's folder (default: a new one under work_dirs/)")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --work-dir, or the config's newest run"
    )
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="settings the config names: 'honest' (default), or 'published', the authors' own choice of the checkpoint "
        "(never ranked); same as --cfg-options profile=NAME",
    )
    parser.add_argument(
        "--seed", type=number_in("[0, 4294967296)", whole=True), help="same as --cfg-options runtime.seed=N"
    )
    parser.add_argument(
        "--seeds",
        type=number_in("[0, 4294967296)", whole=True),
        nargs="+",
        help="train once per seed, in folders of their own, and print mean ± std over them",
    )
    parser.add_argument("--deterministic", action="store_true", help="ask torch for deterministic algorithms")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="change settings, e.g. train.lr=1e-4"
    )
    parser.add_argument("--dry-run", action="store_true", help="one training and one test step, nothing kept")
    parser.add_argument("--print-config", action="store_true", help="print the resolved config and stop")
    parser.add_argument(
        "--nproc",
        type=number_in("[1, 1024]", whole=True),
        metavar="N",
        help="train the run over N processes of this machine, one a GPU (or over cores): what torchrun does",
    )
    add_arguments(parser)
    parser.add_argument("--file", action="store_true", help="also file the record under leaderboard/ and rebuild it")


def run(args: argparse.Namespace) -> int:
    """Train, once or once per seed."""
    from wtal_bench.running.config import load_config

    options = list(args.cfg_options)
    if args.deterministic:
        options.append("runtime.deterministic=True")
    if args.seed is not None:
        options.append(f"runtime.seed={args.seed}")
    config = load_config(args.config, options, profile=args.profile)
    if args.print_config:
        print(json.dumps(config.resolved(), indent=1))
        return 0
    if args.seeds is not None:
        from wtal_bench.running.plan import refuse_twice

        refuse_twice(args.seeds)
    if args.dry_run:
        from wtal_bench.running.run import dry_run

        with tempfile.TemporaryDirectory() as scratch:
            print(f"config {describe(config.path)}")
            dry_run(config, Path(scratch))
        return 0
    from wtal_bench.running.plan import Planned, plan_seeds
    from wtal_bench.running.workdir import latest_work_dir

    engine = args.engine not in (None, "here") or args.jobs is not None
    if args.seeds is None and engine:
        raise ConfigError("--engine and --jobs make runs side by side: name several with --seeds.")
    if not engine:
        from wtal_bench.engines.choose import engine_of

        engine_of(args)  # sets the threads, refuses words for other engines
    if args.nproc is not None and (engine or args.seeds is not None):
        raise ConfigError("--nproc trains one run over several processes; runs side by side have one process each.")
    if args.seeds is None:
        folder = args.work_dir
        if folder is None:
            folder = latest_work_dir(config.path) if args.resume else _new_folder(config, config.runtime.seed)
        if args.nproc is not None and args.nproc > 1:
            return _over_processes(args, config, Path(folder))
        _train(args, Planned(config, Path(folder), resume=args.resume))
        return 0
    if args.seed is not None:
        raise ConfigError(f"--seed {args.seed} and --seeds are two ways to say it; give one.")
    if args.resume and args.work_dir is None:
        raise ConfigError("--resume with --seeds needs --work-dir, the folder that holds the seeds' runs.")

    def place(seed: int) -> Path:
        return _new_folder(config, seed) if args.work_dir is None else Path(args.work_dir) / f"seed{seed}"

    runs = plan_seeds(config, args.seeds, place, resume=args.resume)
    results = _side_by_side(args, runs) if engine else [_train(args, run) for run in runs]
    if all(result is not None for result in results):
        from wtal_bench.running.summary import seeds_summary

        print(seeds_summary(results))
    return 0


def _over_processes(args: argparse.Namespace, config: RunConfig, folder: Path) -> int:
    """Start the processes; each of them runs this verb with the same arguments, as under torchrun."""
    from wtal_bench.engines.processes import launch
    from wtal_bench.running.device import pick_device

    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(
            f"--nproc {args.nproc} under torchrun, which has started the processes already; leave it out."
        )
    if pick_device(config).type == "cuda":
        import torch

        if args.nproc > (there := torch.cuda.device_count()):
            raise ConfigError(f"--nproc {args.nproc}: this machine has {there} GPUs, and every process needs one.")
    words = ["train", args.config, "--work-dir", str(folder)]
    words += ["--profile", args.profile] if args.profile is not None else []
    words += ["--seed", str(args.seed)] if args.seed is not None else []
    words += ["--threads", str(args.threads)] if args.threads else []
    words += ["--cfg-options", *args.cfg_options] if args.cfg_options else []
    words += [f"--{name}" for name in ("resume", "deterministic", "file") if getattr(args, name)]
    return launch(words, args.nproc, _go_on(folder))


def _go_on(folder: Path) -> str:
    return f"What was trained is in {folder}: give the same command with --work-dir {folder} --resume to go on."


def _side_by_side(args: argparse.Namespace, runs: list[Planned]) -> list[Result]:
    """Make the seeds' runs by an engine, and say each that is whole."""
    from wtal_bench.engines.choose import engine_of

    engine = engine_of(args)
    print(f"config {describe(runs[0].config.path)}: {len(runs)} seeds, {engine.describe}", flush=True)
    results, problems = {}, []
    for outcome in engine.run(runs):
        if outcome.result is None:
            problems.append(f"\n  {outcome.run.folder}: {outcome.problem}")
        else:
            results[outcome.run.folder] = outcome.result
            _say(args, outcome.result)
    if problems:
        raise WtalError(f"{len(problems)} of {len(runs)} runs were not made, the others are kept:{''.join(problems)}")
    return [results[run.folder] for run in runs]


def _new_folder(config: RunConfig, seed: int) -> Path:
    from wtal_bench.running.workdir import default_work_dir

    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError("with torchrun, name the run's folder with --work-dir, so that all processes agree.")
    return default_work_dir(config.path, seed)


def _train(args: argparse.Namespace, run: Planned) -> Result | None:
    """Make one run, say what it left, and file it if asked to. A process that is not the first says nothing."""
    from wtal_bench.running.plan import execute

    first = int(os.environ.get("RANK", 0)) == 0
    with contextlib.redirect_stdout(sys.stdout if first else open(os.devnull, "w", encoding="utf-8")):
        named = f"profile {run.config.profile or 'none'}, seed {run.config.runtime.seed}"
        print(f"config {describe(run.config.path)}, {named}")
        try:
            result = execute(run)
        except RuntimeError as error:
            from wtal_bench.engines.processes import lost_peer

            if not lost_peer(error):
                raise
            raise WtalError(f"another process of this run is gone, so it cannot go on. {_go_on(run.folder)}") from error
    if result is not None:
        _say(args, result)
    return result


def _say(args: argparse.Namespace, result: Result) -> None:
    """What a run left; filed, if asked to."""
    from wtal_bench.running.summary import summary

    print(summary(result))
    if args.file:
        from wtal_bench.commands.leaderboard import file_record

        print(file_record(result.record_path))
