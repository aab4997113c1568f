"""ACM-Net: instance, context and background branches. Equations, switches and how to run are in README.md beside it."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("ACM-Net")
    registrar.backbone("acm_net.Embedding", "wtal_bench.modeling.embeddings:ConvEmbedding")
    registrar.head("acm_net.Attention", "wtal_plugins.acm_net.network:Attention")
    registrar.head("acm_net.Classifier", "wtal_plugins.acm_net.network:Classifier")
    registrar.head("acm_net.Branches", "wtal_plugins.acm_net.network:Branches")
    registrar.head("acm_net.BranchFeatures", "wtal_plugins.acm_net.network:BranchFeatures")
    registrar.loss("acm_net.Guide", "wtal_plugins.acm_net.losses:Guide")
    registrar.loss("acm_net.FeatureSeparation", "wtal_plugins.acm_net.losses:FeatureSeparation")
    registrar.loss("acm_net.Sparsity", "wtal_plugins.acm_net.losses:Sparsity")
    for name in ("thumos", "activitynet"):
        registrar.example(f"acm_net.{name}", f"wtal_plugins.acm_net.examples:{name}")
