"""Hyperparameter tuning jobs: training jobs with sampled hyperparameters, and the best of them.

Source: docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning.html
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.constraints import accept, check_constraints
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler
from localcloud.sagemaker.accepted import TUNING_JOB
from localcloud.sagemaker.container import Job
from localcloud.sagemaker.jobs import Jobs
from localcloud.sagemaker.listing import OBJECTIVE, page
from localcloud.sagemaker.training import MESSAGE_CHARS
from localcloud.sagemaker.tuning.early import read_judge
from localcloud.sagemaker.tuning.ranges import invalid
from localcloud.sagemaker.tuning.search import Search, read_search
from localcloud.sagemaker.tuning.trials import Plan, Trial, Trials, objective_status

NAME = "HyperParameterTuningJobName"
STATUS = "HyperParameterTuningJobStatus"
RESERVED = "_tuning_objective_metric"
"""The hyperparameter that tells a training job its objective: docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-define-ranges.html"""
PASSED_ON = (
    "AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition", "EnableNetworkIsolation",
    "EnableManagedSpotTraining", "Environment",
)  # fmt: skip
"""Members of the definition that each training job has too."""
SHOWN_OF_JOB = ("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime", "TrainingJobStatus", "FailureReason")


@dataclass
class Tuning:
    """A tuning job: what it was asked for, with its status, and its training jobs."""

    described: dict[str, Any]
    trials: Trials
    began: float

    @property
    def status(self) -> str:
        return str(self.described[STATUS])

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.described["HyperParameterTuningJobConfig"]
        return found


class Tunings:
    """All tuning jobs of the account."""

    def __init__(self, jobs: Jobs, bus: EventBus, clock: Clock) -> None:
        self._jobs = jobs
        self._bus = bus
        self._clock = clock
        self._tunings: dict[str, Tuning] = {}
        self._lock = threading.RLock()

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateHyperParameterTuningJob": self._create,
            "DescribeHyperParameterTuningJob": lambda p: self._described(self._tuning(p)),
            "ListHyperParameterTuningJobs": self._list,
            "ListTrainingJobsForHyperParameterTuningJob": self._list_training,
            "StopHyperParameterTuningJob": self._stop,
        }

    def close(self) -> None:
        """No tuning job starts another training job."""
        for tuning in list(self._tunings.values()):
            tuning.trials.stop()

    def _create(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateHyperParameterTuningJob", p, TUNING_JOB)
        _check_needed(p)
        name, config, now = p[NAME], p["HyperParameterTuningJobConfig"], self._clock.now()
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:hyper-parameter-tuning-job/{name}"
        static = p["TrainingJobDefinition"].get("StaticHyperParameters", {})
        search, sample = read_search(config), read_search(config).next([])  # the sample is no training job's
        if both := sorted(set(sample) & set(static)):
            raise invalid(f"Hyperparameter {', '.join(both)} is both in StaticHyperParameters and in ParameterRanges")
        self._check_training(_request(p, f"{name}-001-00000000", sample))
        judge = read_judge(config, static)
        moment = datetime.fromtimestamp(now, UTC)
        described = p | {"HyperParameterTuningJobArn": arn, STATUS: "InProgress", "CreationTime": moment, "LastModifiedTime": moment}

        def launch(job: str, hyperparameters: dict[str, str], *, watch: Callable[[str, float], None], ended: Callable[[], None]) -> Job:
            return self._jobs.train(_request(p, job, hyperparameters), shown={"TuningJobArn": arn}, watch=watch, ended=ended)

        self._begin(Tuning(described, Trials(_plan(p, search), search, judge, launch, self._jobs.stop), now))
        return {"HyperParameterTuningJobArn": arn}

    def _check_training(self, request: dict[str, Any]) -> None:
        """AWS looks at role and data before the first training job. Raises ValidationException."""
        check_constraints("sagemaker", "CreateTrainingJob", request)
        self._jobs.checked(request)

    def _begin(self, tuning: Tuning) -> None:
        name = tuning.described[NAME]
        with self._lock:
            if self._tunings.setdefault(name, tuning) is not tuning:
                told = "Hyperparameter tuning job names must be unique within an AWS account and region, and a job with this name already exists"
                raise ServiceError("ResourceInUse", f"{told} ({tuning.described['HyperParameterTuningJobArn']})")
        self._announce(tuning)
        threading.Thread(target=self._run, args=(tuning,), daemon=True, name=name).start()

    def _run(self, tuning: Tuning) -> None:
        reason = tuning.trials.run()
        with self._lock:  # a stop comes before the end, or not at all
            now = datetime.fromtimestamp(self._clock.now(), UTC)
            status = "Stopped" if tuning.status == "Stopping" else "Failed" if reason else "Completed"
            failure = {"FailureReason": reason[:MESSAGE_CHARS]} if reason and status == "Failed" else {}
            tuning.described |= failure | {STATUS: status, "HyperParameterTuningEndTime": now, "LastModifiedTime": now}
        self._announce(tuning)

    def _stop(self, p: dict[str, Any]) -> None:
        tuning = self._tuning(p)
        with self._lock:
            if tuning.status not in ("InProgress", "Stopping"):
                raise invalid(f"The request was rejected because the hyperparameter tuning job is in status {tuning.status}.")
            first = tuning.status == "InProgress"
            tuning.described |= {STATUS: "Stopping", "LastModifiedTime": datetime.fromtimestamp(self._clock.now(), UTC)}
        if first:
            self._announce(tuning)
            tuning.trials.stop()

    def _described(self, tuning: Tuning) -> dict[str, Any]:
        best, ended = tuning.trials.best(), tuning.described.get("HyperParameterTuningEndTime")
        seconds = (ended.timestamp() if ended else self._clock.now()) - tuning.began
        found = tuning.described | tuning.trials.counters()
        found["ConsumedResources"] = {"RuntimeInSeconds": round(seconds)}
        found["TuningJobCompletionDetails"] = {"NumberOfTrainingJobsObjectiveNotImproving": tuning.trials.not_improving()}
        return found | ({"BestTrainingJob": _summary(tuning, best)} if best else {})

    def _announce(self, tuning: Tuning) -> None:
        """Source: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html#eventbridge-hpo"""
        described = self._described(tuning)
        tags = {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}
        arn = described["HyperParameterTuningJobArn"]
        self._bus.emit("aws.sagemaker", "SageMaker HyperParameter Tuning Job State Change", {**described, "Tags": tags}, [arn])

    def _list(self, p: dict[str, Any]) -> dict[str, Any]:
        found = [
            self._described(t) | {"Strategy": t.config["Strategy"], "ResourceLimits": t.config["ResourceLimits"]}
            for t in list(self._tunings.values())
        ]
        return page("ListHyperParameterTuningJobs", _sorted(p), found, "HyperParameterTuningJobSummaries", NAME, StatusEquals=STATUS)

    def _list_training(self, p: dict[str, Any]) -> dict[str, Any]:
        tuning = self._tuning(p)
        rest = {name: value for name, value in _sorted(p).items() if name != NAME}
        trials = [trial for trial in tuning.trials.all if rest["SortBy"] != OBJECTIVE or trial.objective is not None]
        found = [_summary(tuning, trial) | {OBJECTIVE: trial.objective} for trial in trials]
        name = "ListTrainingJobsForHyperParameterTuningJob"
        return page(name, rest, found, "TrainingJobSummaries", "TrainingJobName", StatusEquals="TrainingJobStatus")

    def _tuning(self, p: dict[str, Any]) -> Tuning:
        if p[NAME] not in self._tunings:
            raise ServiceError("ResourceNotFound", f"Could not find hyperparameter tuning job '{p[NAME]}'.")
        return self._tunings[p[NAME]]


def _sorted(p: dict[str, Any]) -> dict[str, Any]:
    """The order of tuning jobs and their training jobs when none is asked for."""
    return {"SortBy": "Name", "SortOrder": "Ascending"} | p


def _check_needed(p: dict[str, Any]) -> None:
    """What the API leaves out for features that localcloud does not have. Raises NotSupported, ValidationException."""
    config, definition = p["HyperParameterTuningJobConfig"], p.get("TrainingJobDefinition")
    if definition is None:
        raise NotSupported("CreateHyperParameterTuningJob without TrainingJobDefinition")
    if "TrainingImage" not in definition["AlgorithmSpecification"]:
        raise NotSupported("CreateHyperParameterTuningJob without TrainingJobDefinition.AlgorithmSpecification.TrainingImage")
    if "HyperParameterTuningJobObjective" not in config:
        raise invalid("HyperParameterTuningJobConfig needs a HyperParameterTuningJobObjective")
    if config["Strategy"] != "Grid" and "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise NotSupported(f"ResourceLimits without MaxNumberOfTrainingJobs of CreateHyperParameterTuningJob with Strategy={config['Strategy']}")
    metric = config["HyperParameterTuningJobObjective"]["MetricName"]
    if metric not in [one["Name"] for one in definition["AlgorithmSpecification"].get("MetricDefinitions", [])]:
        raise invalid(f"A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric definitions: {metric}.")


def _plan(p: dict[str, Any], search: Search) -> Plan:
    config = p["HyperParameterTuningJobConfig"]
    objective, limits, criteria = config["HyperParameterTuningJobObjective"], config["ResourceLimits"], config.get("TuningJobCompletionCriteria", {})
    return Plan(
        name=p[NAME],
        metric=objective["MetricName"],
        sign=1 if objective["Type"] == "Maximize" else -1,
        most=int(min(limits.get("MaxNumberOfTrainingJobs", math.inf), search.size)),
        parallel=limits["MaxParallelTrainingJobs"],
        target=criteria.get("TargetObjectiveMetricValue"),
        patience=criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving"),
    )


def _request(p: dict[str, Any], name: str, hyperparameters: dict[str, str]) -> dict[str, Any]:
    """CreateTrainingJob for one training job. Its checkpoints lie below its name: they are no other job's."""
    definition = p["TrainingJobDefinition"]
    objective = {RESERVED: p["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]}
    found = {"TrainingJobName": name, "HyperParameters": definition.get("StaticHyperParameters", {}) | hyperparameters | objective}
    found |= {member: definition[member] for member in PASSED_ON if member in definition}
    if checkpoints := definition.get("CheckpointConfig"):
        found["CheckpointConfig"] = checkpoints | {"S3Uri": f"{checkpoints['S3Uri'].rstrip('/')}/{name}"}
    return found | ({"Tags": p["Tags"]} if p.get("Tags") else {})


def _summary(tuning: Tuning, trial: Trial) -> dict[str, Any]:
    """A HyperParameterTrainingJobSummary."""
    described = trial.job.described if trial.job else {}
    found = {name: described[name] for name in SHOWN_OF_JOB if name in described}
    found |= {"TunedHyperParameters": trial.tuned, "ObjectiveStatus": objective_status(trial)}
    if (definition := tuning.described["TrainingJobDefinition"].get("DefinitionName")) is not None:
        found["TrainingJobDefinitionName"] = definition
    if trial.objective is not None:
        metric = tuning.config["HyperParameterTuningJobObjective"]["MetricName"]
        found["FinalHyperParameterTuningJobObjectiveMetric"] = {"MetricName": metric, "Value": trial.objective}
    return found
