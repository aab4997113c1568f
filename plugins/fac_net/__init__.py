"""FAC-Net: Foreground-Action Consistency Network. Equations, switches and how to run are in README.md beside this file."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.backbone("fac_net.Embedding", "wtal_plugins.fac_net.embedding:Embedding")
    registrar.head("fac_net.Classifiers", "wtal_plugins.fac_net.classifiers:Classifiers")
    registrar.head("fac_net.HybridAttention", "wtal_plugins.fac_net.branches:HybridAttention")
    registrar.head("fac_net.ClassWise", "wtal_plugins.fac_net.branches:ClassWise")
    registrar.head("fac_net.ClassAgnostic", "wtal_plugins.fac_net.branches:ClassAgnostic")
    registrar.head("fac_net.MultipleInstance", "wtal_plugins.fac_net.branches:MultipleInstance")
    registrar.head("fac_net.ClassWiseOnHost", "wtal_plugins.fac_net.host:ClassWiseOnHost")
    registrar.loss("fac_net.TagCrossEntropy", "wtal_plugins.fac_net.losses:TagCrossEntropy")
