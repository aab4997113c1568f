"""BGES + TEN: the whole video as background, and neighbours that agree. Equations and switches are in README.md."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("BGES + TEN", bges="BGES", ten="TEN", bl="BL", att="ATT", cas="CAS", mae="MAE", mse="MSE", kl="KL")
    registrar.backbone("bges_ten.Trunk", "wtal_plugins.bges_ten.trunk:Trunk")
    registrar.head("bges_ten.VideoScore", "wtal_plugins.bges_ten.background:VideoScore")
    registrar.view("bges_ten.SnippetRepeat", "wtal_plugins.bges_ten.continuity:SnippetRepeat")
    registrar.loss("bges_ten.BackgroundLoss", "wtal_plugins.bges_ten.background:BackgroundLoss")
    registrar.loss("bges_ten.WholeVideoBackground", "wtal_plugins.bges_ten.background:WholeVideoBackground")
    registrar.loss("bges_ten.BackgroundLogit", "wtal_plugins.bges_ten.background:BackgroundLogit")
    registrar.loss("bges_ten.AttentionConsistency", "wtal_plugins.bges_ten.continuity:AttentionConsistency")
    registrar.loss("bges_ten.CASConsistency", "wtal_plugins.bges_ten.continuity:CASConsistency")
    for name in ("full", "reversed_gradient", "squared", "continuity_alone", "without_background"):
        registrar.example(f"bges_ten.{name}", f"wtal_plugins.bges_ten.examples:{name}")
