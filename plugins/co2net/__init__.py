"""CO2-Net: cross-modal consensus of RGB and flow. Equations, switches and how to run are in README.md beside it."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("CO2-Net")
    registrar.backbone("co2net.Consensus", "wtal_plugins.co2net.network:Consensus")
    registrar.head("co2net.Classifier", "wtal_plugins.co2net.network:Classifier")
    registrar.head("co2net.Suppression", "wtal_plugins.co2net.network:Suppression")
    registrar.loss("co2net.Mutual", "wtal_plugins.co2net.losses:Mutual")
    registrar.loss("co2net.Guide", "wtal_plugins.co2net.losses:Guide")
    for name in ("thumos", "activitynet"):
        registrar.example(f"co2net.{name}", f"wtal_plugins.co2net.examples:{name}")
