"""Average precision of every class and threshold from matched detections."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from wtal_bench.evaluation.matching import Matches


def average_precision(matches: Matches, instances_assumed: float | None = None) -> np.ndarray:
    """[C,T] float64 average precision, 0 where nothing was found.

    "interpolated": precision made non-increasing from the right, summed over the steps of the recall, TP / instances
    (VOC, all points; official ActivityNet code `interpolated_prec_rec`). "sum": precision at every true positive,
    summed, over the number of instances (W-TALC code). Precision is needed at true positives only. The sums run in
    the order of the authors' `np.sum` and equal theirs to the last bit.

    Args:
        matches: what to score.
        instances_assumed: precision as if every class had so many instances (normalised precision of Hoiem et al.,
            ECCV 2012, used by DETAD), so that rare and frequent groups compare; None = as they are.
    """
    hits = [matches.true_positives(threshold) for threshold in range(len(matches.tious))]
    precision = [_precision(matches, places, instances_assumed) for places in hits]
    if matches.rules.ap == "sum":
        return _summed(matches, hits, precision)
    found = np.stack([np.bincount(matches.label[places], minlength=len(matches.classes)) for places in hits])
    instances = np.tile(matches.instances(), len(hits))
    return _interpolated(found.reshape(-1), np.concatenate(precision), instances).reshape(found.shape).T.copy()


def _precision(matches: Matches, hits: np.ndarray, instances_assumed: float | None) -> np.ndarray:
    """Precision at every true positive: the how-manieth of its class it is, over its rank there."""
    label = matches.label[hits]
    number = np.bincount(label, minlength=len(matches.classes))
    nth = np.arange(len(hits)) - np.repeat(np.cumsum(number) - number, number) + 1
    begin = matches.class_bounds()[label]
    rank = hits - begin + 1
    if matches.uncounted.any():
        uncounted = matches.uncounted.copy()
        uncounted[hits] = False
        before = np.concatenate([[0], np.cumsum(uncounted)])
        rank = rank - (before[hits] - before[begin])
    if instances_assumed is None:
        return nth / rank
    found = nth / matches.instances()[label] * instances_assumed
    return found / (found + (rank - nth))


def _summed(matches: Matches, hits: list[np.ndarray], precision: list[np.ndarray]) -> np.ndarray:
    """[C,T] for W-TALC's rule; its sum runs over all detections of a class, zeros included, which fixes its order."""
    bounds, instances = matches.class_bounds(), matches.instances()
    result = np.zeros((len(matches.classes), len(hits)))
    for index, (begin, end) in enumerate(pairwise(bounds)):
        terms = np.zeros((len(hits), end - begin))
        for row, places, values in zip(terms, hits, precision):
            inside = slice(*np.searchsorted(places, (begin, end)))
            row[places[inside] - begin] = values[inside]
        result[index] = terms.sum(axis=1) / instances[index]
    return result


def _interpolated(found: np.ndarray, precision: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """[K] for K groups; group k owns the next `found[k]` entries of `precision`, one a hit in falling score.

    Groups of one size are summed as rows of one array: numpy adds a row in the (pairwise) order in which it adds that
    row alone, which no segmented sum does.
    """
    result = np.zeros(len(found))
    begin = np.cumsum(found) - found
    # the official sum has one more term, 0, unless every instance was found; it changes the pairwise grouping
    kind = 2 * found + (found == instances)
    for size in np.unique(kind[found > 0]):
        rows = np.flatnonzero(kind == size)
        hits, complete = divmod(int(size), 2)
        value = precision[begin[rows][:, None] + np.arange(hits)]
        value = np.maximum.accumulate(value[:, ::-1], axis=1)[:, ::-1]
        recall = np.arange(hits + 1) / instances[rows][:, None]
        terms = np.zeros((len(rows), hits + 1 - complete))
        np.multiply(np.diff(recall, axis=1), value, out=terms[:, :hits])
        result[rows] = terms.sum(axis=1)
    return result
