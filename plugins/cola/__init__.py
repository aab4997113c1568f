"""CoLA: snippet contrast between easy and hard snippets. Equations, switches and how to run are in README.md here."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("CoLA")
    registrar.head("cola.Classifier", "wtal_plugins.cola.network:Classifier")
    registrar.head("cola.Mining", "wtal_plugins.cola.mining:Mining")
    registrar.loss("cola.SnippetContrast", "wtal_plugins.cola.losses:SnippetContrast")
    for name in ("thumos", "activitynet"):
        registrar.example(f"cola.{name}", f"wtal_plugins.cola.examples:{name}")
