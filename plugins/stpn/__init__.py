"""STPN: a sparse attention pools the video. Equations, switches and how to run are in README.md beside it."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components; the rest of the method is the core's."""
    registrar.titles("STPN")
    registrar.head("stpn.Classifier", "wtal_plugins.stpn.classifier:Classifier")
    for name in ("thumos", "embedding"):
        registrar.example(f"stpn.{name}", f"wtal_plugins.stpn.examples:{name}")
