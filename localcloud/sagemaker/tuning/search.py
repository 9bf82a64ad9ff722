"""Which hyperparameters the next training job of a tuning job gets, by its Strategy.

Source: docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-how-it-works.html
"""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from localcloud.sagemaker.tuning.gaussian import most_promising
from localcloud.sagemaker.tuning.ranges import Categories, Range, invalid, read_ranges

CANDIDATES = 200
"""Random points, of which Bayesian search takes the one with the greatest expected improvement."""
FIRST = 3
"""Training jobs that Bayesian search draws at random, beside one for each hyperparameter."""


MOST = 750
"""Training jobs of a tuning job, AWS's quota: docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html"""


@dataclass(frozen=True)
class Tried:
    """The hyperparameters of a training job that was started, and its objective: greater is better, None when it is not known."""

    hyperparameters: dict[str, str]
    value: float | None


class Search(Protocol):
    """`size` is the number of training jobs that there can be."""

    size: float

    def next(self, tried: Sequence[Tried]) -> dict[str, str]: ...


class Random:
    """Also Hyperband's: it differs in what is stopped."""

    size = math.inf

    def __init__(self, ranges: list[Range], chance: random.Random) -> None:
        self._ranges = ranges
        self._chance = chance

    def next(self, tried: Sequence[Tried]) -> dict[str, str]:  # noqa: ARG002  # does not learn
        return {one.name: one.draw(self._chance) for one in self._ranges}


class Bayesian(Random):
    def next(self, tried: Sequence[Tried]) -> dict[str, str]:
        known = [(self._point(one.hyperparameters), one.value) for one in tried if one.value is not None]
        if len(tried) < FIRST + len(self._ranges) or len(known) < 2:
            return super().next(tried)
        candidates = [super(Bayesian, self).next(tried) for _ in range(CANDIDATES)]
        points, values = [point for point, _ in known], [value for _, value in known]
        pending = [self._point(one.hyperparameters) for one in tried if one.value is None]
        return candidates[most_promising(points, values, pending, [self._point(one) for one in candidates])]

    def _point(self, hyperparameters: dict[str, str]) -> list[float]:
        return [place for one in self._ranges for place in one.features(hyperparameters[one.name])]


class Grid:
    """All combinations, in the order of the ranges."""

    def __init__(self, ranges: list[Range]) -> None:
        categories = [one for one in ranges if isinstance(one, Categories)]
        if len(categories) < len(ranges):
            raise invalid("Only categorical parameters are supported when using the Grid strategy")
        values = [tuple(dict.fromkeys(one.values)) for one in categories]
        self.size: float = math.prod(map(len, values))
        if self.size > MOST:
            raise invalid(f"The grid has {self.size} combinations: a tuning job can have at most {MOST} training jobs")
        names = [one.name for one in categories]
        self._combinations = [dict(zip(names, one, strict=True)) for one in itertools.product(*values)]

    def next(self, tried: Sequence[Tried]) -> dict[str, str]:
        return self._combinations[len(tried)]


def read_search(config: dict[str, Any]) -> Search:
    """The search that a HyperParameterTuningJobConfig asks for. Raises ValidationException."""
    ranges, strategy = read_ranges(config.get("ParameterRanges", {})), config["Strategy"]
    most = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    chance = random.Random(config.get("RandomSeed"))  # noqa: S311  # must repeat
    if strategy == "Grid":
        grid = Grid(ranges)
        if most not in (None, grid.size):
            raise invalid(f"MaxNumberOfTrainingJobs must equal the number of distinct categorical combinations, {grid.size}, with the Grid strategy")
        return grid
    return Bayesian(ranges, chance) if strategy == "Bayesian" else Random(ranges, chance)
