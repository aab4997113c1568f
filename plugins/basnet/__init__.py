"""BaS-Net: a base and a background-suppressed branch. Equations, switches and how to run are in README.md beside it."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("BaS-Net")
    registrar.backbone("basnet.Trunk", "wtal_plugins.basnet.network:Trunk")
    registrar.head("basnet.BaseBranch", "wtal_plugins.basnet.network:BaseBranch")
    registrar.example("basnet.thumos", "wtal_plugins.basnet.examples:thumos")
