"""The video that a run draws at its end."""

from __future__ import annotations

import numpy as np

from wtal_bench.data.annotations import Annotations
from wtal_bench.running.run import typical
from wtal_bench.structures import Detections


def found(*labels: int) -> Detections:
    return Detections(np.zeros(len(labels)), np.ones(len(labels)), np.array(labels, dtype=int), np.ones(len(labels)))


def annotated(**labels: str) -> Annotations:
    videos = {
        name: {"subset": "test", "duration": 9.0, "segments": [{"label": label, "start": 1.0, "end": 2.0}]}
        for name, label in labels.items()
    }
    return Annotations.from_dict({"version": "a", "classes": ["dive", "jump"], "videos": videos}, "a test")


def test_it_has_the_median_number_of_detections_of_videos_whose_class_was_found():
    truth = annotated(a="dive", b="jump", c="dive", d="dive")
    made = {"a": found(0, 1, 1), "b": found(0, 0), "c": found(0), "d": found(0, 0, 0, 0)}
    assert typical(made, truth) == "a"
    assert typical({**made, "a": found(1, 1, 1)}, truth) == "d"


def test_where_no_class_was_found_it_is_the_median_of_all():
    truth = annotated(a="dive", b="jump", c="dive")
    assert typical({"a": found(1), "b": found(), "c": found(1, 1)}, truth) == "a"
