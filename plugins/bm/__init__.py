"""BM (also WSBM): background modelled by the attention's complement. Equations and switches are in README.md."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components; the rest of the method is the core's."""
    registrar.titles("BM")
    registrar.head("bm.Classifier", "wtal_plugins.bm.heads:Classifier")
    registrar.head("bm.Clusters", "wtal_plugins.bm.heads:Clusters")
    registrar.loss("bm.Guide", "wtal_plugins.bm.losses:Guide")
    registrar.loss("bm.Clustering", "wtal_plugins.bm.losses:Clustering")
    registrar.postprocessor("bm.TwoStreamDecoder", "wtal_plugins.bm.decoder:TwoStreamDecoder")
    for name in ("thumos", "embedding"):
        registrar.example(f"bm.{name}", f"wtal_plugins.bm.examples:{name}")
