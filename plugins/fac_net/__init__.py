"""FAC-Net: Foreground-Action Consistency Network. Equations, switches, how to run: README.md beside this file."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("FAC-Net", cw="CW", ca="CA", mil="MIL", nms="NMS")
    registrar.backbone("fac_net.Trunk", "wtal_plugins.fac_net.trunk:Trunk")
    registrar.head("fac_net.ClassWise", "wtal_plugins.fac_net.branches:ClassWise")
    registrar.head("fac_net.ClassAgnostic", "wtal_plugins.fac_net.branches:ClassAgnostic")
    registrar.head("fac_net.MultipleInstance", "wtal_plugins.fac_net.branches:MultipleInstance")
    registrar.head("fac_net.ClassWiseOnHost", "wtal_plugins.fac_net.on_host:ClassWiseOnHost")
    for name in ("official", "without_background", "on_host", "on_host_logits"):
        registrar.example(f"fac_net.{name}", f"wtal_plugins.fac_net.examples:{name}")
