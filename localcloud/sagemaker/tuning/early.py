"""Whether a training job of a tuning job is stopped before its end: early stopping, and what Hyperband does with its resources.

A job's values are those of the objective metric, in the order it wrote them, one each epoch; greater is better.
Sources: docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html and …/APIReference/API_HyperbandStrategyConfig.html
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from localcloud.sagemaker.tuning.ranges import invalid

ETA = 3
"""A third of the jobs goes on at each rung. AWS does not tell its own factor; 3 and 4 are those of the paper: arxiv.org/abs/1603.06560"""
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
MOST_EPOCHS = 20_000


@dataclass(frozen=True)
class Course:
    """What a training job has written so far."""

    values: tuple[float, ...]
    completed: bool


Judge = Callable[[Sequence[float], Sequence[Course]], bool]
"""Takes a job's values, of which the last is new, and the other jobs; whether it is stopped."""


def never(values: Sequence[float], others: Sequence[Course]) -> bool:  # noqa: ARG001  # a Judge
    return False


def worse_than_median(values: Sequence[float], others: Sequence[Course]) -> bool:
    """Worse than the median of what completed jobs had on average up to the same epoch."""
    averages = [fmean(course.values[: len(values)]) for course in others if course.completed and course.values]
    return bool(averages) and values[-1] < median(averages)


def halving(least: int, most: int) -> Judge:
    """Asynchronous successive halving with one bracket (arxiv.org/abs/1810.05934): a job goes on from a rung when it is in the
    best third of those that have reached it, and always while these are fewer than three. It is stopped when it goes on after
    `most`: AWS stops it there, but learns of it so late that a job which ends by itself has saved its model."""
    rungs = {least * ETA**k for k in range(math.ceil(math.log(most / least, ETA)) + 1)}

    def judge(values: Sequence[float], others: Sequence[Course]) -> bool:
        epoch = len(values)
        if epoch > most:
            return True
        if epoch not in rungs:
            return False
        there = sorted((course.values[epoch - 1] for course in others if len(course.values) >= epoch), reverse=True)
        reached = len(there) + 1
        return reached >= ETA and sum(value > values[-1] for value in there) >= math.ceil(reached / ETA)

    return judge


def read_judge(config: dict[str, Any], static: dict[str, str]) -> Judge:
    """The judge that a HyperParameterTuningJobConfig asks for. Raises ValidationException."""
    auto = config.get("TrainingJobEarlyStoppingType", "Off") == "Auto"
    if config["Strategy"] != "Hyperband":
        if "StrategyConfig" in config:
            raise invalid("HyperbandStrategyConfig should be provided only with the Hyperband strategy")
        return worse_than_median if auto else never
    if auto:
        raise invalid("TrainingJobEarlyStoppingType must be Off with the Hyperband strategy, which has its own early stopping mechanism")
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    least, most = given.get("MinResource", 1), given.get("MaxResource") or _epochs(static)
    if not least <= most <= MOST_EPOCHS:
        raise invalid(f"MaxResource {most} must be from MinResource {least} to {MOST_EPOCHS}")
    return halving(least, most)


def _epochs(static: dict[str, str]) -> int:
    found = next((static[name] for name in EPOCHS if name in static), "")
    if not found.isdigit():
        raise invalid(f"MaxResource is not given and cannot be inferred: StaticHyperParameters have none of {', '.join(EPOCHS)}")
    return int(found)
