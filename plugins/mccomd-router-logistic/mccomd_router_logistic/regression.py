"""Logistic regression with a ridge, by Newton's method. Knows numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["chance", "fit", "surprises"]

Sparse = Mapping[str, float]
RIDGE = 3.0
"""Each weight but the bias is held to 0 as if by so many answers."""
MAX_STEPS = 30
ENOUGH = 1e-6


def fit(rows: Sequence[Sparse], labels: Sequence[bool], ridge: float = RIDGE) -> dict[str, float]:
    """The weight of each feature that stands in a row. 50,000 rows of 40 features take under a second."""
    names = sorted({name for row in rows for name in row})
    x = _dense(rows, names)  # (rows, features)
    y = np.asarray(labels, dtype=np.float64)
    held = np.full(len(names), ridge)
    if "bias" in names:
        held[names.index("bias")] = 1e-6
    weights = np.zeros(len(names))
    loss = _loss(x, y, weights, held)
    for _ in range(MAX_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - y) + held * weights
        curvature = (x.T * (p * (1 - p))) @ x + np.diag(held)
        step = np.linalg.solve(curvature, gradient)
        # Newton may overshoot where classes separate: halve until the loss falls.
        for halving in range(20):
            tried = weights - step / 2**halving
            new = _loss(x, y, tried, held)
            if new <= loss:
                break
        else:
            break
        done = loss - new < ENOUGH * max(1.0, abs(loss))
        weights, loss = tried, new
        if done:
            break
    return {name: float(weight) for name, weight in zip(names, weights, strict=True)}


def chance(weights: Mapping[str, float], row: Sparse) -> float:
    """0..1; features that were never seen weigh nothing."""
    z = sum(weights.get(name, 0.0) * value for name, value in row.items())
    return 1 / (1 + math.exp(-min(max(z, -30.0), 30.0)))


def surprises(chances: Sequence[float], labels: Sequence[bool]) -> list[float]:
    """The log loss of each prediction, in nats; lower is better."""
    bounded = [min(max(p, 1e-9), 1 - 1e-9) for p in chances]
    return [-math.log(p if label else 1 - p) for p, label in zip(bounded, labels, strict=True)]


def _dense(rows: Sequence[Sparse], names: Sequence[str]) -> NDArray[np.float64]:
    place = {name: column for column, name in enumerate(names)}
    x = np.zeros((len(rows), len(names)))
    for number, row in enumerate(rows):
        for name, value in row.items():
            x[number, place[name]] = value
    return x


def _loss(
    x: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64], held: NDArray[np.float64]
) -> float:
    z = x @ weights
    return float(np.sum(np.logaddexp(0, z) - y * z) + 0.5 * np.sum(held * weights**2))
