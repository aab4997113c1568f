"""The verb `test`: score a checkpoint under its config's protocol."""

from __future__ import annotations

import argparse
from pathlib import Path

from wtal_bench.errors import ConfigError
from wtal_bench.recipes import describe

SUMMARY = "Test a checkpoint: print its table and write a leaderboard record."
EXAMPLE = "wtal-bench test ecm_synthetic work_dirs/ecm_synthetic/RUN/last.pth"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", help="the config it was trained with")
    parser.add_argument("checkpoint", help="checkpoint (.pth)")
    parser.add_argument("--work-dir", help="where logs and the record go (default: test/ beside the checkpoint)")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="change settings, e.g. the decoder's"
    )


def run(args: argparse.Namespace) -> int:
    """Load, test, write, print."""
    from wtal_bench.running.config import load_config
    from wtal_bench.running.run import score_checkpoint
    from wtal_bench.running.summary import summary

    config = load_config(args.config, args.cfg_options)
    print(f"config {describe(config.path)}")
    checkpoint = Path(args.checkpoint)
    if checkpoint.is_dir():
        raise ConfigError(f"{checkpoint} is a folder; name a checkpoint in it, e.g. {checkpoint / 'last.pth'}.")
    work_dir = Path(args.work_dir) if args.work_dir else checkpoint.parent / "test"
    print(summary(score_checkpoint(config, checkpoint, work_dir)))
    return 0
