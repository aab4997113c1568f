"""A data set -> how hard it is: what chance, plain numbers and linear scores reach, and how its features vary.

    report = probe("data/composed/ucf101")      # features/ and annotations.json of any data set

Temporal annotations are read here, as the evaluator reads them; nothing of it reaches training.
"""

from wtal_bench.probing.probe import Report, probe, table

__all__ = ["Report", "probe", "table"]
