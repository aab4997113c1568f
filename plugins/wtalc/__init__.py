"""W-TALC: multiple instance learning and co-activity of pairs. Equations, switches and how to run are in README.md."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components; the rest of the method is the core's."""
    registrar.titles("W-TALC")
    registrar.head("wtalc.ClassScores", "wtal_plugins.wtalc.scores:ClassScores")
    registrar.example("wtalc.thumos", "wtal_plugins.wtalc.examples:thumos")
