"""What a spec asks of SageMaker's training and tuning jobs, as arguments of the calls. Pure: no call is made here."""

import hashlib
import math
from typing import Any

from tidemill.errors import SpecError
from tidemill.metric import KINDS
from tidemill.spec import ModelSpec, Range, Setting, TrainSpec

OBJECTIVE = "validation:primary"
LINE = r"validation:primary=([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"
"""What a training job prints of its primary metric on the validation rows, and how SageMaker reads it."""
STEPS = 25
"""How often, at most, a job of a search tells how far it is: after so many trees each time that all would be made."""
LEAST_S = 60
PRICES: dict[str, float] = {"ml.m5.large": 0.115, "ml.m5.xlarge": 0.23}
"""USD an hour of training on demand in us-east-1, September 2026; spot costs less. A type that is not here has no cap on its cost."""


def training(spec: ModelSpec) -> dict[str, Any]:
    """ResourceConfig, StoppingCondition and the rest of what differs between models. Raises SpecError for a cost that cannot be kept."""
    train = spec.train
    runtime_s = capped_runtime_s(spec)
    stopping = {"MaxRuntimeInSeconds": runtime_s} | ({"MaxWaitTimeInSeconds": runtime_s + train.max_wait_s} if train.spot else {})
    return {
        "instance": train.instance, "max_runtime_s": runtime_s, "spot": train.spot, "resources": _resources(train), "stopping": stopping,
        "volume_gb": train.volume_gb, "encrypt": train.scale == "distributed", "tuning": tuning(spec),
    }  # fmt: skip


def capped_runtime_s(spec: ModelSpec) -> int:
    """max_runtime_s, or less where all jobs of a run at that length could cost more than max_cost_usd."""
    train = spec.train
    if train.max_cost_usd is None:
        return train.max_runtime_s
    types = (train.instance, *train.or_instances)
    if unknown := [name for name in types if name not in PRICES]:
        raise SpecError(f"models/{spec.name}/model.toml: train.max_cost_usd: no price of {unknown[0]} is known; known are {', '.join(PRICES)}")
    jobs = train.search.max_jobs if train.search else 1
    affordable = int(train.max_cost_usd / max(PRICES[name] for name in types) * 3600 / jobs / train.instances)
    if affordable < LEAST_S:
        raise SpecError(
            f"models/{spec.name}/model.toml: train.max_cost_usd: {train.max_cost_usd:g} USD pay {affordable} s for each of {jobs} "
            f"job{'s' * (jobs > 1)} on {f'{train.instances} ' * (train.instances > 1)}{train.instance}, {LEAST_S} s are the least that is tried"
        )
    return min(train.max_runtime_s, affordable)


def _resources(train: TrainSpec) -> dict[str, Any]:
    kept = {"KeepAlivePeriodInSeconds": train.keep_alive_s} if train.keep_alive_s else {}
    if train.or_instances:
        preferred = [{"InstanceType": name, "InstanceCount": train.instances} for name in (train.instance, *train.or_instances)]
        return {"InstancePreferences": preferred, "VolumeSizeInGB": train.volume_gb} | kept
    return {"InstanceType": train.instance, "InstanceCount": train.instances, "VolumeSizeInGB": train.volume_gb} | kept


def tuning(spec: ModelSpec) -> dict[str, Any] | None:
    """HyperParameterTuningJobConfig of a search, or None.

    Source: docs.aws.amazon.com/sagemaker/latest/APIReference/API_HyperParameterTuningJobConfig.html
    """
    search = spec.train.search
    if search is None:
        return None
    ranges: dict[str, list[dict[str, Any]]] = {"IntegerParameterRanges": [], "ContinuousParameterRanges": [], "CategoricalParameterRanges": []}
    for name, each in search.space.items():
        kind, told = _range(name, each)
        ranges[kind].append(told)
    hyperband = search.strategy == "hyperband"
    steps = {"StrategyConfig": {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": STEPS}}} if hyperband else {}
    return {
        "Strategy": search.strategy.title(),
        "HyperParameterTuningJobObjective": {"Type": "Maximize" if KINDS[spec.primary].higher else "Minimize", "MetricName": OBJECTIVE},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": search.max_jobs, "MaxParallelTrainingJobs": search.max_parallel},
        "ParameterRanges": {kind: some for kind, some in ranges.items() if some},
        # Hyperband stops jobs itself; SageMaker refuses both at once.
        "TrainingJobEarlyStoppingType": "Auto" if search.early_stopping and not hyperband else "Off",
        "RandomSeed": abs(spec.train.seed),
    } | steps


def _range(name: str, each: Range) -> tuple[str, dict[str, Any]]:
    if each.values is not None:
        return "CategoricalParameterRanges", {"Name": name, "Values": list(each.values)}
    scale = "Logarithmic" if each.scale == "log" else "Linear"
    low, high = (float(str(end)) for end in (each.min, each.max))
    ends = [f"{end:.0f}" if each.integer else repr(end) for end in (low, high)]
    kind = "IntegerParameterRanges" if each.integer else "ContinuousParameterRanges"
    return kind, {"Name": name, "MinValue": ends[0], "MaxValue": ends[1], "ScalingType": scale}


def setting(name: str, text: str, train: TrainSpec) -> Setting:
    """A hyperparameter of a search, which SageMaker passes as text, as its range means it."""
    each = train.search.space[name] if train.search else None
    if each is None or each.values is not None:
        return text
    return round(float(text)) if each.integer else float(text)


def tuning_name(stage: str, model: str, epoch: int, deployment: str) -> str:
    """The start of a tuning job's name, `-<attempt>` follows: at most 32 characters in all, and never used twice in an account and a region."""
    told = hashlib.sha256(f"{stage}/{model}/{deployment}".encode()).hexdigest()[:8]
    return f"{stage}-{epoch:04d}-{told}"


def objective_line(value: float) -> str:
    """What to print; a value that is not finite is none."""
    return f"{OBJECTIVE}={value:.9g}" if math.isfinite(value) else "the primary metric is undefined on the validation rows"
