"""Training and processing jobs: a folder laid out as SageMaker does, a process in it, its results back in S3.

Contract: docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

import json
import logging
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.config import LocalConfig
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler
from localcloud.logs import LogWriter
from localcloud.processes import Child, Processes, base_environment
from localcloud.sagemaker.data import download, upload_archive, upload_folder
from localcloud.sagemaker.roles import MetricReader, RoleDenied, Roles

log = logging.getLogger("localcloud")

OPT_ML = "/opt/ml"
GRACE_S = 120
MESSAGE_CHARS = 1024


class JobFailed(Exception):
    """The job ends as Failed with this FailureReason."""


@dataclass
class Job:
    """A job as its Describe shows it, and the process behind it."""

    kind: str
    name: str
    described: dict[str, Any]
    clients: Clients
    child: Child | None = None
    stopping: threading.Event = field(default_factory=threading.Event)


class Jobs:
    """Both kinds of job; they differ in the layout of the folder and in what goes back to S3."""

    def __init__(self, folder: Path, config: LocalConfig, roles: Roles, bus: EventBus, logs: LogWriter, processes: Processes, clock: Clock) -> None:
        self._folder = folder
        self._config = config
        self._roles = roles
        self._clock = clock
        self._bus = bus
        self._logs = logs
        self._processes = processes
        self._jobs: dict[tuple[str, str], Job] = {}

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateTrainingJob": lambda p: self._create("Training", p, self._train),
            "DescribeTrainingJob": lambda p: self._job("Training", p).described,
            "ListTrainingJobs": lambda p: {"TrainingJobSummaries": self._list("Training")},
            "StopTrainingJob": lambda p: self._stop("Training", p),
            "CreateProcessingJob": lambda p: self._create("Processing", p, self._process),
            "DescribeProcessingJob": lambda p: self._job("Processing", p).described,
            "ListProcessingJobs": lambda p: {"ProcessingJobSummaries": self._list("Processing")},
            "StopProcessingJob": lambda p: self._stop("Processing", p),
        }

    def _create(self, kind: str, p: dict[str, Any], work: Callable[[Job, Path], None]) -> dict[str, Any]:
        name = p[f"{kind}JobName"]
        if (kind, name) in self._jobs:
            raise ServiceError("ResourceInUse", f"Job name must be unique within an AWS account and region, and a job with this name exists: {name}")
        if p.get("EnableManagedSpotTraining"):
            raise NotSupported("managed spot training")
        now = self._moment()
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.lower()}-job/{name}"
        described = p | {f"{kind}JobArn": arn, f"{kind}JobStatus": "InProgress", "CreationTime": now, "LastModifiedTime": now}
        if kind == "Training":
            artifacts = f"{p['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{name}/output/model.tar.gz"
            described |= {"SecondaryStatus": "Starting", "SecondaryStatusTransitions": [], "ModelArtifacts": {"S3ModelArtifacts": artifacts}}
        job = self._jobs[kind, name] = Job(kind, name, described, self._roles.assume(p["RoleArn"], arn))
        threading.Thread(target=self._run, args=(job, work), daemon=True, name=name).start()
        return {f"{kind}JobArn": arn}

    def _stop(self, kind: str, p: dict[str, Any]) -> None:
        job = self._job(kind, p)
        status = job.described[f"{kind}JobStatus"]
        if status not in ("InProgress", "Stopping"):
            reason = f"The request was rejected because the {kind.lower()} job is in status {status}."
            raise ServiceError("ValidationException", reason)
        if status == "InProgress":
            job.described[f"{kind}JobStatus"] = "Stopping"
            job.stopping.set()
            if job.child:
                job.child.signal_group(signal.SIGTERM)

    def _run(self, job: Job, work: Callable[[Job, Path], None]) -> None:
        folder = self._folder / f"{job.kind.lower()}-{job.name}"
        started = self._moment()
        job.described[f"{job.kind}StartTime"] = started
        try:
            work(job, folder)
            self._end(job, started, "Stopped" if job.stopping.is_set() else "Completed")
        except (JobFailed, RoleDenied) as error:
            self._end(job, started, "Stopped" if job.stopping.is_set() else "Failed", str(error))
        except Exception as error:
            log.warning("job %s: %s", job.name, error)
            self._end(job, started, "Failed", f"ClientError: {error}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _train(self, job: Job, folder: Path) -> None:
        p = job.described
        self._status(job, "Downloading", "Downloading input data")
        channels = p.get("InputDataConfig", [])
        for channel in channels:
            download(channel["DataSource"]["S3DataSource"], folder / "input/data" / channel["ChannelName"], job.clients)
        for name in ("input/config", "model", "output/data", "checkpoints"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        host = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
        settings = {
            "hyperparameters": p.get("HyperParameters", {}),
            "inputdataconfig": {c["ChannelName"]: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"} for c in channels},
            "resourceconfig": host | {"current_instance_type": p["ResourceConfig"].get("InstanceType", "")},
        }
        for name, value in settings.items():
            (folder / f"input/config/{name}.json").write_text(json.dumps(value), encoding="utf-8")
        self._status(job, "Training", "Training image download completed. Training in progress.")
        spec = p["AlgorithmSpecification"]
        command = [*spec.get("ContainerEntrypoint", ["train"]), *spec.get("ContainerArguments", [])]
        self._execute(job, folder, spec["TrainingImage"], command)
        self._status(job, "Uploading", "Uploading generated training model")
        upload_archive(folder / "model", p["ModelArtifacts"]["S3ModelArtifacts"], job.clients)
        if any((folder / "output/data").iterdir()):
            upload_archive(folder / "output/data", p["ModelArtifacts"]["S3ModelArtifacts"].replace("model.tar.gz", "output.tar.gz"), job.clients)

    def _process(self, job: Job, folder: Path) -> None:
        p = job.described
        for item in p.get("ProcessingInputs", []):
            download(item["S3Input"], _inside(folder, item["S3Input"]["LocalPath"]), job.clients)
        outputs = [output["S3Output"] for output in p.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        for output in outputs:
            _inside(folder, output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        (folder / "output").mkdir(parents=True, exist_ok=True)
        spec = p["AppSpecification"]
        self._execute(job, folder, spec["ImageUri"], [*spec["ContainerEntrypoint"], *spec.get("ContainerArguments", [])])
        for output in outputs:
            upload_folder(_inside(folder, output["LocalPath"]), output["S3Uri"], job.clients)

    def _execute(self, job: Job, folder: Path, image_uri: str, command: list[str]) -> None:
        """Run the command that stands for the container's. Raises JobFailed with what the container left as its reason."""
        p = job.described
        image = self._config.image(image_uri)
        if command[0] not in image.commands:
            raise JobFailed(f"ClientError: image {image_uri} has no command '{command[0]}' in localcloud.toml")
        argv = [self._config.path(word) for word in image.commands[command[0]]] + command[1:]
        role, arn = p["RoleArn"], p[f"{job.kind}JobArn"]
        self._roles.check_pull(role, image_uri)
        isolated = p.get("EnableNetworkIsolation") or p.get("NetworkConfig", {}).get("EnableNetworkIsolation")
        env = base_environment() | {name: self._config.path(value) for name, value in image.environment.items()}
        env |= ({} if isolated else self._roles.environment(role, arn)) | p.get("Environment", {})
        env |= {"OPT_ML": str(folder), "PYTHONUNBUFFERED": "1", f"{job.kind.upper()}_JOB_NAME": job.name}
        if job.stopping.is_set():
            raise JobFailed("stopped before it began")
        write = self._roles.log(role, f"/aws/sagemaker/{job.kind}Jobs", f"{job.name}/algo-1")
        metrics = MetricReader(p.get("AlgorithmSpecification", {}).get("MetricDefinitions", []))

        def on_line(line: str) -> None:
            write(line)
            metrics.read(line)

        job.child = self._processes.start(argv, env=env, cwd=folder, on_line=on_line)
        code = self._wait(job, p.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86_400))
        self._logs.flush()
        self._publish(job, metrics)
        message = next(
            (path.read_text(encoding="utf-8")[:MESSAGE_CHARS] for path in (folder / "output/failure", folder / "output/message") if path.exists()), ""
        )
        if job.kind == "Processing" and message:
            p["ExitMessage"] = message
        if code != 0:
            raise JobFailed(f"AlgorithmError: {message or 'see job logs for more information'}, exit code: {code}")

    def _publish(self, job: Job, metrics: MetricReader) -> None:
        if not metrics.values:
            return
        found = [{"MetricName": name, "Value": value, "Timestamp": self._moment()} for name, value in metrics.values.items()]
        job.described["FinalMetricDataList"] = found
        self._roles.publish(job.described["RoleArn"], job.kind, job.name, metrics.values)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _wait(self, job: Job, limit_s: int) -> int:
        child = job.child
        assert child is not None  # noqa: S101  # set on the line before this is called
        try:
            return child.wait(limit_s)
        except subprocess.TimeoutExpired:
            child.signal_group(signal.SIGTERM)
            job.stopping.set()
        try:
            return child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.signal_group(signal.SIGKILL)
            return child.wait()

    def _end(self, job: Job, started: datetime, status: str, reason: str | None = None) -> None:
        now = self._moment()
        seconds = max(1, round((now - started).total_seconds()))
        job.described |= {f"{job.kind}EndTime": now, "LastModifiedTime": now} | ({"FailureReason": reason[:MESSAGE_CHARS]} if reason else {})
        if job.kind == "Training":
            job.described |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
            self._transition(job, status, reason or "Training job completed")
        job.described[f"{job.kind}JobStatus"] = status
        self._announce(job)

    def _status(self, job: Job, secondary: str, message: str) -> None:
        self._transition(job, secondary, message)
        self._announce(job)

    def _transition(self, job: Job, secondary: str, message: str) -> None:
        now = self._moment()
        transitions = job.described["SecondaryStatusTransitions"]
        if transitions:
            transitions[-1]["EndTime"] = now
        transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
        job.described |= {"SecondaryStatus": secondary, "LastModifiedTime": now}

    def _announce(self, job: Job) -> None:
        """Source: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html"""
        self._bus.emit("aws.sagemaker", f"SageMaker {job.kind} Job State Change", job.described, [job.described[f"{job.kind}JobArn"]])

    def _list(self, kind: str) -> list[dict[str, Any]]:
        return [job.described for (k, _), job in reversed(self._jobs.items()) if k == kind]

    def _job(self, kind: str, p: dict[str, Any]) -> Job:
        job = self._jobs.get((kind, p[f"{kind}JobName"]))
        if job is None:
            raise ServiceError("ValidationException", f"Requested resource not found: {p[f'{kind}JobName']}")
        return job


def _inside(folder: Path, path: str) -> Path:
    """A container path below /opt/ml, in the job's folder."""
    if not path.startswith(f"{OPT_ML}/"):
        raise JobFailed(f"ClientError: LocalPath {path} is not below {OPT_ML}")
    return folder / path.removeprefix(f"{OPT_ML}/")
