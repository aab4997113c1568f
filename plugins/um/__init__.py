"""UM (also WUM): background as features of small magnitude. Equations, switches and how to run are in README.md."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components; the rest of the method is the core's."""
    registrar.titles("UM")
    registrar.head("um.Magnitude", "wtal_plugins.um.heads:Magnitude")
    registrar.head("um.Selection", "wtal_plugins.um.heads:Selection")
    registrar.loss("um.Uncertainty", "wtal_plugins.um.losses:Uncertainty")
    registrar.example("um.thumos", "wtal_plugins.um.examples:thumos")
