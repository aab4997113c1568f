"""ECM: Equivalent Classification Mapping. Equations, switches and how to run are in README.md beside this file."""

from wtal_bench.plugins import Registrar, hookimpl

WTAL_API_VERSION = 1


@hookimpl
def wtal_register(registrar: Registrar) -> None:
    """Register the components."""
    registrar.titles("ECM", a2c="A2C")
    registrar.backbone("ecm.Trunk", "wtal_plugins.ecm.trunk:Trunk")
    registrar.head("ecm.OwnTrunk", "wtal_plugins.ecm.trunk:OwnTrunk")
    registrar.head("ecm.PreClassification", "wtal_plugins.ecm.heads:PreClassification")
    registrar.head("ecm.Weights", "wtal_plugins.ecm.heads:Weights")
    registrar.head("ecm.PostClassification", "wtal_plugins.ecm.heads:PostClassification")
    registrar.head("ecm.AbsenceClassification", "wtal_plugins.ecm.heads:AbsenceClassification")
    registrar.loss("ecm.ScoreConsistency", "wtal_plugins.ecm.losses:ScoreConsistency")
    registrar.loss("ecm.AggregationConsistency", "wtal_plugins.ecm.losses:AggregationConsistency")
    for name in ("official", "paper", "unshared", "post_only"):
        registrar.example(f"ecm.{name}", f"wtal_plugins.ecm.examples:{name}")
