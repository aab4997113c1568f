"""The command line's words for engines: `--engine`, `--jobs` and what belongs to one of them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from wtal_bench.engines.machine import cores, visible_gpus
from wtal_bench.errors import ConfigError, did_you_mean, listing
from wtal_bench.options import number_in

if TYPE_CHECKING:
    from wtal_bench.engines.board import Board
    from wtal_bench.engines.engine import Engine

ENGINES = ("here", "local", "ray", "slurm")


def add_arguments(
    parser: argparse.ArgumentParser, what: str = "runs", on_clusters: str = "as many as there is room for"
) -> None:
    """Declare them; `what` is made side by side, on clusters so many unless a number is said."""
    group = parser.add_argument_group(f"where {what} are made")
    group.add_argument(
        "--engine",
        metavar="NAME",
        help="here: one after another (default); local: worker processes, --jobs of them; ray: tasks of a Ray cluster; "
        "slurm: an array job",
    )
    group.add_argument(
        "--jobs",
        type=number_in("[1, 10000]", whole=True),
        help=f"{what} side by side (default: one a GPU, without GPUs one a core; ray, slurm: {on_clusters}); alone it "
        "means --engine local",
    )
    group.add_argument(
        "--threads",
        type=number_in("[1, 1024]", whole=True),
        help="torch's threads of each, which the last bits of a result depend on (default: the cores shared out; "
        "ray, slurm: 1)",
    )
    group.add_argument("--gpus", type=number_in("[0, 64]"), help="GPUs each, for ray (fractions share one) and slurm")
    group.add_argument("--address", help="of the Ray cluster to join, e.g. auto (default: one of this machine)")
    group.add_argument(
        "--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="of the array job: partition=gpu timeout_min=240"
    )


def engine_of(args: argparse.Namespace, out: Callable[[str], None] = print, keep_going: bool = False) -> Engine:
    """The engine that was asked for.

    Args:
        args: of `add_arguments`.
        out: writes lines.
        keep_going: whether a run's problem is an outcome in this process too.

    Raises:
        ConfigError: no such engine, or a word for another one.
    """
    name = args.engine or ("local" if args.jobs else "here")
    if name not in ENGINES:
        raise ConfigError(f"--engine {name!r}:{did_you_mean(name, ENGINES)} There are {listing(ENGINES)}.")
    _refuse_ranks(name)
    _refuse_others(name, args)
    if name == "here":
        return _here(args, out, keep_going)
    from wtal_bench.engines.board import Board

    if name == "ray":
        from wtal_bench.engines.ray import Ray

        return Ray(args.address, args.threads or 1, args.gpus, args.jobs, Board(out))
    if name == "slurm":
        from wtal_bench.engines.slurm import Slurm
        from wtal_bench.running.config import split_option

        gpus = None if args.gpus is None else int(args.gpus)
        return Slurm(dict(map(split_option, args.slurm)), args.threads or 1, gpus, args.jobs, Board(out))
    return _local(args, Board(out))


def _refuse_ranks(name: str) -> None:
    if name != "here" and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError(f"--engine {name} under torchrun: runs side by side, or one run over processes; not both.")


def _refuse_others(name: str, args: argparse.Namespace) -> None:
    """Words for one engine that would do nothing with another."""
    for word, given, engines in (
        ("--address", args.address, ("ray",)),
        ("--slurm", args.slurm, ("slurm",)),
        ("--gpus", args.gpus, ("ray", "slurm")),
    ):
        if given and name not in engines:
            raise ConfigError(f"{word} belongs to --engine {' and '.join(engines)}; this is {name}.")


def _here(args: argparse.Namespace, out: Callable[[str], None], keep_going: bool) -> Engine:
    from wtal_bench.engines.engine import Here

    if args.jobs:
        raise ConfigError(f"--jobs {args.jobs} with --engine here, which makes one run after another; take local.")
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    return Here(out, keep_going)


def _local(args: argparse.Namespace, board: Board) -> Engine:
    from wtal_bench.engines.local import Local

    gpus = visible_gpus()
    jobs = args.jobs or len(gpus) or cores()
    return Local(jobs, args.threads or max(1, cores() // jobs), gpus, board)
