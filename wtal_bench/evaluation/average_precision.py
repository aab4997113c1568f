"""Average precision of every class and threshold from matched detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wtal_bench.evaluation.matching import Matches


@dataclass(frozen=True)
class Hits:
    """The true positives at one threshold, by class, then rank: H of them.

    Attributes:
        label: [H] class.
        place: [H] position among all detections of the class, from 0.
        rank: [H] position among those that count, from 1.
    """

    label: np.ndarray
    place: np.ndarray
    rank: np.ndarray


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
    bounds = matches.class_bounds()
    hits = [_hits(matches, bounds, threshold) for threshold in range(len(matches.tious))]
    return precision_of_hits(hits, np.diff(bounds), matches.instances(), matches.rules.ap, instances_assumed)


def precision_of_hits(
    hits: list[Hits], detections: np.ndarray, instances: np.ndarray, rule: str, instances_assumed: float | None = None
) -> np.ndarray:
    """[C,T] as `average_precision`, from the true positives at T thresholds.

    Args:
        hits: at every threshold.
        detections, instances: [C] how many each class has.
        rule: "interpolated" or "sum".
        instances_assumed: as above.
    """
    precision = [_precision(found, instances, instances_assumed) for found in hits]
    if rule == "sum":
        return _summed(hits, precision, detections, instances)
    found = np.stack([np.bincount(found.label, minlength=len(instances)) for found in hits])
    everywhere = np.tile(instances, len(hits))
    return _interpolated(found.reshape(-1), np.concatenate(precision), everywhere).reshape(found.shape).T.copy()


def _hits(matches: Matches, bounds: np.ndarray, threshold: int) -> Hits:
    hits = matches.true_positives(threshold)
    label = matches.label[hits]
    begin = bounds[label]
    rank = hits - begin + 1
    if matches.uncounted.any():
        uncounted = matches.uncounted.copy()
        uncounted[hits] = False
        before = np.concatenate([[0], np.cumsum(uncounted)])
        rank = rank - (before[hits] - before[begin])
    return Hits(label, hits - begin, rank)


def _precision(hits: Hits, instances: np.ndarray, instances_assumed: float | None) -> np.ndarray:
    """Precision at every true positive: the how-manieth of its class it is, over its rank there."""
    number = np.bincount(hits.label, minlength=len(instances))
    nth = np.arange(len(hits.label)) - np.repeat(np.cumsum(number) - number, number) + 1
    if instances_assumed is None:
        return nth / hits.rank
    found = nth / instances[hits.label] * instances_assumed
    return found / (found + (hits.rank - nth))


def _summed(hits: list[Hits], precision: list[np.ndarray], detections: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """[C,T] for W-TALC's rule; its sum runs over all detections of a class, zeros included, which fixes its order."""
    result = np.zeros((len(instances), len(hits)))
    for index, size in enumerate(detections):
        terms = np.zeros((len(hits), size))
        for row, found, values in zip(terms, hits, precision):
            inside = slice(*np.searchsorted(found.label, (index, index + 1)))
            row[found.place[inside]] = values[inside]
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
