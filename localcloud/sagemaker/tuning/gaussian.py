"""Expected improvement by a Gaussian process: which of some candidates Bayesian optimization tries next.

Sources: Rasmussen and Williams, Gaussian Processes for Machine Learning, algorithm 2.1; Snoek et al., arxiv.org/abs/1206.2944.
In plain python: some hundred points are its limit, and more than a tuning job on one machine has.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, pstdev

Point = Sequence[float]

LENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Length scales that are tried, in parts of a hyperparameter's range; the likeliest is taken."""
NOISE = 1e-4
"""Variance of the noise in parts of that of the values: training twice does not give the same."""
NORMAL = NormalDist()


class Process:
    """A Gaussian process with a squared exponential kernel through values at points. Values are made to have mean 0 and variance 1."""

    def __init__(self, points: Sequence[Point], values: Sequence[float], length: float) -> None:
        self._points, self._length = points, length
        self._mean, self._scale = fmean(values), pstdev(values) or 1.0
        known = [(value - self._mean) / self._scale for value in values]
        self._root = _root([[self._kernel(a, b) + (NOISE if i == j else 0.0) for j, b in enumerate(points)] for i, a in enumerate(points)])
        half = _solve(self._root, known)
        self._weights = _solve_transposed(self._root, half)
        self.likelihood = -sum(h * h for h in half) / 2 - sum(math.log(row[i]) for i, row in enumerate(self._root))

    def at(self, point: Point) -> tuple[float, float]:
        """Mean and standard deviation of the value at a point."""
        near = [self._kernel(point, other) for other in self._points]
        mean = sum(k * w for k, w in zip(near, self._weights, strict=True))
        variance = 1.0 - sum(s * s for s in _solve(self._root, near))
        return self._mean + self._scale * mean, self._scale * math.sqrt(max(variance, 1e-12))

    def _kernel(self, a: Point, b: Point) -> float:
        return math.exp(-sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / (2 * self._length**2))


def fit(points: Sequence[Point], values: Sequence[float]) -> Process:
    """The process with the likeliest length scale."""
    return max((Process(points, values, length) for length in LENGTHS), key=lambda process: process.likelihood)


def expected_improvement(process: Process, best: float, point: Point) -> float:
    """By how much the value at a point is expected to exceed the best so far."""
    mean, deviation = process.at(point)
    z = (mean - best) / deviation
    return (mean - best) * NORMAL.cdf(z) + deviation * NORMAL.pdf(z)


def most_promising(points: Sequence[Point], values: Sequence[float], pending: Sequence[Point], candidates: Sequence[Point]) -> int:
    """The index of the candidate to try next, where greater values are better. Points whose value is not known yet count as
    if they had the value that is expected there, so that nothing is tried twice at a time."""
    process = fit(points, values)
    if pending:
        process = Process([*points, *pending], [*values, *(process.at(point)[0] for point in pending)], process._length)
    gains = [expected_improvement(process, max(values), point) for point in candidates]
    return gains.index(max(gains))


def _root(matrix: list[list[float]]) -> list[list[float]]:
    """The lower triangle L of a positive definite matrix L·Lᵀ (Cholesky)."""
    root: list[list[float]] = []
    for i, row in enumerate(matrix):
        found: list[float] = []
        for j in range(i):
            found.append((row[j] - sum(a * b for a, b in zip(found, root[j], strict=False))) / root[j][j])
        found.append(math.sqrt(max(row[i] - sum(a * a for a in found), 1e-12)))
        root.append(found)
    return root


def _solve(root: list[list[float]], right: Sequence[float]) -> list[float]:
    """x of L·x = right."""
    found: list[float] = []
    for row, value in zip(root, right, strict=True):
        found.append((value - sum(a * b for a, b in zip(row, found, strict=False))) / row[-1])
    return found


def _solve_transposed(root: list[list[float]], right: Sequence[float]) -> list[float]:
    """x of Lᵀ·x = right."""
    found = [0.0] * len(right)
    for i in reversed(range(len(right))):
        found[i] = (right[i] - sum(root[k][i] * found[k] for k in range(i + 1, len(right)))) / root[i][i]
    return found
