"""Comparing decoded rows with stored ones, and scoring them with the evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np

from wtal_bench.evaluation import DetectionTable, EvaluationResult, GroundTruth, evaluate
from wtal_bench.structures import Detections


def same_rows(ours: np.ndarray, stored: np.ndarray, atol: float = 1e-9, where: str = "") -> None:
    """Equal row by row, in order."""
    assert ours.shape == stored.shape, where
    np.testing.assert_allclose(ours, stored, rtol=0, atol=atol, err_msg=where)


def same_multiset(ours: np.ndarray, stored: np.ndarray, atol: float = 1e-9, where: str = "") -> None:
    """Equal as multisets: both sorted on values rounded to 9 decimals, compared unrounded, column by column."""
    assert ours.shape == stored.shape, where
    ours, stored = (rows[np.lexsort(np.round(rows, 9).T[::-1])] for rows in (ours, stored))
    np.testing.assert_allclose(ours, stored, rtol=0, atol=atol, err_msg=where)


def video_rows(found: list[Detections]) -> np.ndarray:
    """[N,5] rows (video number, class, start, end, score) of the detections of videos 0, 1, ..."""
    return np.concatenate([np.insert(one.rows(), 0, number, axis=1) for number, one in enumerate(found)])


def score(
    rows: np.ndarray,
    truth: np.ndarray,
    tious: np.ndarray,
    count: int,
    classes: int,
    spans: np.ndarray | None = None,
    unit: str = "seconds",
    **switches: Any,
) -> EvaluationResult:
    """Score rows (video, class, start, end, score) of `count` videos against rows (video, class, start s, end s)."""
    ids, names = [str(v) for v in range(count)], [str(c) for c in range(classes)]
    annotated = GroundTruth(names, ids, *truth.T, *(() if spans is None else spans.T))
    return evaluate(DetectionTable(ids, *rows.T, unit=unit), annotated, tious, **switches)


def same_ap(result: EvaluationResult, ap: np.ndarray, mean: np.ndarray, atol: float = 1e-10) -> None:
    """The stored [I,C] average precisions (columns are class numbers) and [I] means, as fractions."""
    columns = [int(name) for name in result.classes]
    np.testing.assert_allclose(result.ap.T, ap[:, columns], rtol=0, atol=atol)
    np.testing.assert_allclose(result.mAP, mean, rtol=0, atol=atol)
