"""FTCL: contrast two videos by dynamic programming. Equations, switches and how to run are in README.md beside it."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("FTCL", fsd="FSD", lcs="LCS", dtw="DTW", bce="BCE", acm_net="ACM-Net")
    registrar.loss("ftcl.FSD", "wtal_plugins.ftcl.losses:FSD")
    registrar.loss("ftcl.LCS", "wtal_plugins.ftcl.losses:LCS")
    registrar.loss("ftcl.DTW", "wtal_plugins.ftcl.losses:DTW")
    for name in ("official", "in_batch", "paper", "dtw"):
        registrar.example(f"ftcl.{name}", f"wtal_plugins.ftcl.examples:{name}")
