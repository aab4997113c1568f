"""Logistic regression on snippets: what a linear score can tell, with the frames' labels to learn from."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

DECAY = 1e-3
"""Weight of half the squared weights against the mean loss."""


def fit(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Fit one logistic regression a column of `targets`, on standardized columns.

    Args:
        features: [N,D].
        targets: [N,C] 0 or 1.

    Returns:
        [D+1,C] weights and, last, biases, of the features as they came.
    """
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 0, std, 1)
    inputs = (features - mean) / std
    wanted = targets.astype(np.float64)
    shape = (inputs.shape[1] + 1, wanted.shape[1])

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        logits = inputs @ weights[:-1] + weights[-1]
        value = np.logaddexp(0, logits).sum() - (wanted * logits).sum()
        error = _sigmoid(logits) - wanted
        slope = np.concatenate([inputs.T @ error, error.sum(axis=0, keepdims=True)]) / len(inputs)
        slope[:-1] += DECAY * weights[:-1]
        return value / len(inputs) + DECAY / 2 * (weights[:-1] ** 2).sum(), slope.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    weights = found.x.reshape(shape)
    weights[:-1] /= std[:, None]
    weights[-1] -= mean @ weights[:-1]
    return weights


def logits(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return [N,C] logits of [N,D] features."""
    return features @ weights[:-1] + weights[-1]


def probabilities(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return [N,C] probabilities of [N,D] features."""
    return _sigmoid(logits(features, weights))


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the chance that a positive scores higher than a negative; ties count half.

    Args:
        scores: [N].
        positive: [N] bool, neither all nor none.
    """
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    ones = int(positive.sum())
    return float((rank[positive].sum() - ones * (ones + 1) / 2) / (ones * (len(scores) - ones)))


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(values / 2))
