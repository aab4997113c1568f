"""GauFuse: instance fusion, LinPro pseudo labels and their differences, for any host. README.md explains."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("GauFuse", nms="NMS", iou="IoU")
    registrar.head("gaufuse.PseudoLabels", "wtal_plugins.gaufuse.labels:PseudoLabels")
    registrar.loss("gaufuse.PseudoLabelLoss", "wtal_plugins.gaufuse.losses:PseudoLabelLoss")
    registrar.postprocessor("gaufuse.FusedDecoder", "wtal_plugins.gaufuse.decoder:FusedDecoder")
    for name in ("official", "without_background", "two_curves"):
        registrar.example(f"gaufuse.{name}", f"wtal_plugins.gaufuse.examples:{name}")
