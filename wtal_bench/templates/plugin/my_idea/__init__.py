"""A wtal-bench plugin. Discovery imports this module: keep it light."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("my_idea")  # how a leaderboard spells the method
    registrar.backbone("my_idea.Embedding", "my_idea.components:Embedding")
    registrar.head("my_idea.Gate", "my_idea.components:Gate")
    registrar.loss("my_idea.Sparsity", "my_idea.components:Sparsity")
    registrar.example("my_idea.gated", "my_idea.examples:gated")
