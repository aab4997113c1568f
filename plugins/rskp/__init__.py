"""RSKP: Representative Snippet Knowledge Propagation. Equations and switches are in README.md beside this file."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("RSKP")
    registrar.backbone("rskp.Embedding", "wtal_plugins.rskp.embedding:Embedding")
    registrar.head("rskp.Classifier", "wtal_plugins.rskp.heads:Classifier")
    registrar.head("rskp.Propagation", "wtal_plugins.rskp.heads:Propagation")
    registrar.head("rskp.Memory", "wtal_plugins.rskp.memory:Memory")
    registrar.loss("rskp.AttentionContrast", "wtal_plugins.rskp.losses:AttentionContrast")
    registrar.loss("rskp.Distillation", "wtal_plugins.rskp.losses:Distillation")
    for name in ("official", "memory", "memory_of_slot_zero"):
        registrar.example(f"rskp.{name}", f"wtal_plugins.rskp.examples:{name}")
