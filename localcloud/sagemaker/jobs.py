"""Training and processing jobs: made, described, stopped, ended. Their containers run in a folder that is laid out as SageMaker does.

What training does in its folder stands in `training`.
"""

import json
import logging
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.config import ConfigError, LocalConfig
from localcloud.constraints import accept
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler
from localcloud.logs import LogWriter
from localcloud.processes import Processes
from localcloud.sagemaker.accepted import PROCESSING_JOB, TRAINING_JOB
from localcloud.sagemaker.capacity import SPOT_SHARE, check_capacity, select_instances
from localcloud.sagemaker.cluster import alone, resource_config
from localcloud.sagemaker.container import Containers, Interruption, Job, JobFailed, Limit, no_one
from localcloud.sagemaker.data import DataError, check_input, download, local, upload_folder
from localcloud.sagemaker.listing import page
from localcloud.sagemaker.roles import RoleDenied, Roles
from localcloud.sagemaker.training import MESSAGE_CHARS, Training, message
from localcloud.sagemaker.warm import WarmPools

log = logging.getLogger("localcloud")

EXCEEDED = {
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds",
    "MaxWaitTimeExceeded": "Training job wait time exceeded MaxWaitTimeInSeconds",
}
ENDED = {"Completed": "Training job completed", "Stopped": "Training job stopped"}


class Jobs:
    """Both kinds of job; they differ in the layout of the folder and in what goes back to S3."""

    def __init__(self, folder: Path, config: LocalConfig, roles: Roles, bus: EventBus, logs: LogWriter, processes: Processes, clock: Clock) -> None:
        self._folder = folder
        self._roles = roles
        self._clock = clock
        self._bus = bus
        self._logs = logs
        self._containers = Containers(config, roles, processes)
        self._training = Training(self._containers, roles, logs, clock, self._status)
        self._warm = WarmPools(clock)
        self._jobs: dict[tuple[str, str], Job] = {}
        self._lock = threading.RLock()

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateTrainingJob": self._create_training,
            "DescribeTrainingJob": lambda p: self._job("Training", p).described,
            "ListTrainingJobs": self._list_training,
            "StopTrainingJob": lambda p: self._stop("Training", p),
            "CreateProcessingJob": self._create_processing,
            "DescribeProcessingJob": lambda p: self._job("Processing", p).described,
            "ListProcessingJobs": lambda p: self._list("Processing", p),
            "StopProcessingJob": lambda p: self._stop("Processing", p),
        }

    def _create_training(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateTrainingJob", p, TRAINING_JOB)
        if "TrainingImage" not in p["AlgorithmSpecification"]:
            raise NotSupported("CreateTrainingJob without AlgorithmSpecification.TrainingImage")
        return {"TrainingJobArn": self.train(p).arn}

    def checked(self, p: dict[str, Any]) -> Job:
        """A training job that could begin: all that CreateTrainingJob looks at was found in order. Raises ResourceInUse, ValidationException."""
        check_capacity(p)
        job = self._new("Training", p)
        for channel in p.get("InputDataConfig", []):
            check_input(channel["DataSource"]["S3DataSource"], p["RoleArn"], job.clients)
        artifacts = f"{p['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output/model.tar.gz"
        job.described |= {"SecondaryStatusTransitions": [], "ModelArtifacts": {"S3ModelArtifacts": artifacts}}
        job.described["ResourceConfig"] = select_instances(p["ResourceConfig"])
        return job

    def train(
        self, p: dict[str, Any], *, shown: dict[str, Any] | None = None, watch: Callable[[str, float], None] = no_one,
        ended: Callable[[], None] = no_one,
    ) -> Job:  # fmt: skip
        """Begin a training job; `shown` is what else its Describe shows. Raises as `checked` does."""
        job = self.checked(p)
        job.described |= shown or {}
        job.watch, job.ended = watch, ended
        self._warm.take(job)
        self._transition(job, "Starting", "Preparing the instances for training")
        self._begin(job, self._training.run)
        return job

    def interrupt(self, name: str, interruption: Interruption) -> None:
        """Take the spot capacity of a training job away. Raises ValueError unless its container runs on some."""
        job = self._jobs.get(("Training", name))
        if job is None or not job.described.get("EnableManagedSpotTraining") or job.described["SecondaryStatus"] != "Training":
            shown = "no such job" if job is None else f"SecondaryStatus {job.described['SecondaryStatus']}"
            raise ValueError(f"cannot interrupt {name}: only a job with EnableManagedSpotTraining can be while it is Training, this is {shown}")
        job.interruption = interruption

    def _create_processing(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateProcessingJob", p, PROCESSING_JOB)
        if not p["AppSpecification"].get("ContainerEntrypoint"):
            raise NotSupported("CreateProcessingJob without AppSpecification.ContainerEntrypoint: localcloud.toml names commands by its first word")
        for item in p.get("ProcessingInputs", []):
            if "LocalPath" not in item.get("S3Input", {}):
                raise NotSupported("ProcessingInputs without S3Input.LocalPath of CreateProcessingJob")
        job = self._new("Processing", p)
        self._begin(job, self._process)
        return {"ProcessingJobArn": job.arn}

    def _new(self, kind: str, p: dict[str, Any]) -> Job:
        """A job that is not known yet. Raises ResourceInUse, or ValidationException for its role."""
        name, now = p[f"{kind}JobName"], self._moment()
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.lower()}-job/{name}"
        if (kind, name) in self._jobs:
            told = f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
            raise ServiceError("ResourceInUse", told)
        described = p | {f"{kind}JobArn": arn, f"{kind}JobStatus": "InProgress", "CreationTime": now, "LastModifiedTime": now}
        return Job(kind, name, described, self._roles.assume(p["RoleArn"], arn), stopping=self._clock.signal())

    def _begin(self, job: Job, work: Callable[[Job, Path], None]) -> None:
        with self._lock:
            if self._jobs.setdefault((job.kind, job.name), job) is not job:
                raise ServiceError("ResourceInUse", f"a job with this name already exists ({job.arn})")
        self._announce(job)
        threading.Thread(target=self._run, args=(job, work), daemon=True, name=job.name).start()

    def _stop(self, kind: str, p: dict[str, Any]) -> None:
        job = self._job(kind, p)
        if not self.stop(job):
            raise ServiceError("ValidationException", f"The request was rejected because the {kind.lower()} job is in status {job.status}.")

    def stop(self, job: Job) -> bool:
        """Tell a job to stop; False for one that has ended."""
        with self._lock:
            if job.status == "InProgress":
                job.described[f"{job.kind}JobStatus"] = "Stopping"
                if job.kind == "Training":
                    self._transition(job, "Stopping", "Stopping the training job")
                self._announce(job)
                job.stopping.set()
            return job.status == "Stopping"

    def _run(self, job: Job, work: Callable[[Job, Path], None]) -> None:
        folder = self._folder / f"{job.kind.lower()}-{job.name}"
        started = self._moment()
        job.described[f"{job.kind}StartTime"] = started
        reason = None
        try:
            work(job, folder)
        except (JobFailed, RoleDenied) as error:
            reason = str(error)
        except (DataError, ConfigError, ServiceError) as error:
            reason = f"ClientError: {error}"
        except Exception as error:
            log.exception("job %s failed inside localcloud", job.name)
            reason = f"InternalServerError: {type(error).__name__}: {error}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        with self._lock:  # a stop comes before the end, or not at all
            if job.stopping.is_set():
                self._end(job, started, "Stopped", None)
            else:
                self._end(job, started, "Failed" if reason else "Completed", reason)
        job.ended()

    def _process(self, job: Job, folder: Path) -> None:
        p, host = job.described, alone(folder)
        for name, value in (("processingjobconfig", p), ("resourceconfig", resource_config(host, [host]))):
            (folder / "config").mkdir(parents=True, exist_ok=True)
            (folder / f"config/{name}.json").write_text(json.dumps(value, default=str), encoding="utf-8")
        for item in p.get("ProcessingInputs", []):
            download(item["S3Input"], local(folder, item["S3Input"]["LocalPath"]), job.clients)
        outputs = [output["S3Output"] for output in p.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        for output in outputs:
            local(folder, output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        (folder / "output").mkdir(parents=True, exist_ok=True)
        if job.stopping.is_set():
            return
        spec = p["AppSpecification"]
        command = [*spec["ContainerEntrypoint"], *spec.get("ContainerArguments", [])]
        code = self._containers.run(job, host, spec["ImageUri"], command, no_one, Limit(job.max_runtime_s))
        self._logs.flush()
        if told := message(folder / "output/message"):
            p["ExitMessage"] = told
        if code != 0:
            raise JobFailed("AlgorithmError: See job logs for more information")
        for output in outputs:
            upload_folder(local(folder, output["LocalPath"]), output["S3Uri"], job.clients)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _end(self, job: Job, started: datetime, status: str, reason: str | None) -> None:
        now = self._moment()
        job.described |= {f"{job.kind}EndTime": now, "LastModifiedTime": now} | ({"FailureReason": reason[:MESSAGE_CHARS]} if reason else {})
        if job.kind == "Training":
            seconds = max(1, round((now - started).total_seconds() - job.idle_s))
            share = SPOT_SHARE if job.described.get("EnableManagedSpotTraining") else 1
            job.described |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": max(1, round(seconds * share))}
            self._transition(job, job.exceeded or status, reason or EXCEEDED.get(job.exceeded) or ENDED[status])
            last = job.described["SecondaryStatusTransitions"][-1]
            last["EndTime"] = last["StartTime"]
            self._warm.keep(job, reason)
        job.described[f"{job.kind}JobStatus"] = status
        self._announce(job)

    def _status(self, job: Job, secondary: str, told: str) -> None:
        if not job.stopping.is_set():
            self._transition(job, secondary, told)
            self._announce(job)

    def _transition(self, job: Job, secondary: str, told: str) -> None:
        now = self._moment()
        transitions = job.described["SecondaryStatusTransitions"]
        if transitions:
            transitions[-1]["EndTime"] = now
        transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": told})
        job.described |= {"SecondaryStatus": secondary, "LastModifiedTime": now}

    def _announce(self, job: Job) -> None:
        """Source: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html"""
        tags = {tag["Key"]: tag["Value"] for tag in job.described.get("Tags", [])}
        self._bus.emit("aws.sagemaker", f"SageMaker {job.kind} Job State Change", {**job.described, "Tags": tags}, [job.arn])

    def _list_training(self, p: dict[str, Any]) -> dict[str, Any]:
        """WarmPoolStatusEquals looks into a structure."""
        wanted = p.get("WarmPoolStatusEquals")
        rest = {name: value for name, value in p.items() if name != "WarmPoolStatusEquals"}
        return self._list("Training", rest, lambda job: wanted in (None, job.described.get("WarmPoolStatus", {}).get("Status")))

    def _list(self, kind: str, p: dict[str, Any], wanted: Callable[[Job], bool] = lambda _: True) -> dict[str, Any]:
        found = [job.described for (k, _), job in list(self._jobs.items()) if k == kind and wanted(job)]
        return page(f"List{kind}Jobs", p, found, f"{kind}JobSummaries", f"{kind}JobName", StatusEquals=f"{kind}JobStatus")

    def _job(self, kind: str, p: dict[str, Any]) -> Job:
        job = self._jobs.get((kind, p[f"{kind}JobName"]))
        if job is None:
            raise ServiceError("ValidationException", "Requested resource not found.")
        return job
