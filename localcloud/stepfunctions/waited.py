"""The jobs that a task can start and wait for, `.sync`: what starts, describes and stops each, and the words of its states.

Sources: docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html and …/connect-glue.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Waited:
    """`named` makes the arguments of `describe` out of the task's own and the answer to its start, `stopped` those of `stop` out of these.

    `shown`: the member of the description that is the result; "" for all of it.
    """

    describe: str
    stop: str
    named: Callable[[Any, Any], dict[str, Any]]
    state: str
    done: str = "Completed"
    failed: frozenset[str] = frozenset({"Failed", "Stopped"})
    stopped: Callable[[dict[str, Any]], dict[str, Any]] = lambda named: named
    shown: str = ""


def _of_sagemaker(kind: str) -> Waited:
    name = f"{kind}JobName"
    return Waited(f"Describe{kind}Job", f"Stop{kind}Job", lambda given, _: {name: given[name]}, f"{kind}JobStatus")


JOBS = {
    ("glue", "startJobRun"): Waited(
        "GetJobRun", "BatchStopJobRun", lambda given, started: {"JobName": given["JobName"], "RunId": started["JobRunId"]}, "JobRunState",
        done="SUCCEEDED", failed=frozenset({"FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"}),
        stopped=lambda named: {"JobName": named["JobName"], "JobRunIds": [named["RunId"]]}, shown="JobRun",
    ),
    ("sagemaker", "createHyperParameterTuningJob"): _of_sagemaker("HyperParameterTuning"),
    ("sagemaker", "createProcessingJob"): _of_sagemaker("Processing"),
    ("sagemaker", "createTrainingJob"): _of_sagemaker("Training"),
}  # fmt: skip
"""By service and action of the resource arn:aws:states:::<service>:<action>.sync."""
