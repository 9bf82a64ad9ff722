"""Training and processing jobs: a folder laid out as SageMaker does, a process in it, its results back in S3.

Contract: docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
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
from localcloud.sagemaker.container import Containers, Job, JobFailed
from localcloud.sagemaker.data import DataError, check_input, download, inside, upload_archive, upload_folder
from localcloud.sagemaker.listing import page
from localcloud.sagemaker.roles import MetricReader, RoleDenied, Roles

log = logging.getLogger("localcloud")

OPT_ML = "/opt/ml"
MESSAGE_CHARS = 1024


class Jobs:
    """Both kinds of job; they differ in the layout of the folder and in what goes back to S3."""

    def __init__(self, folder: Path, config: LocalConfig, roles: Roles, bus: EventBus, logs: LogWriter, processes: Processes, clock: Clock) -> None:
        self._folder = folder
        self._roles = roles
        self._clock = clock
        self._bus = bus
        self._logs = logs
        self._containers = Containers(config, roles, processes)
        self._jobs: dict[tuple[str, str], Job] = {}
        self._lock = threading.Lock()

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateTrainingJob": self._create_training,
            "DescribeTrainingJob": lambda p: self._job("Training", p).described,
            "ListTrainingJobs": lambda p: self._list("Training", p),
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
        job = self._new("Training", p)
        for channel in p.get("InputDataConfig", []):
            check_input(channel["DataSource"]["S3DataSource"], p["RoleArn"], job.clients)
        artifacts = f"{p['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job.name}/output/model.tar.gz"
        job.described |= {"SecondaryStatusTransitions": [], "ModelArtifacts": {"S3ModelArtifacts": artifacts}}
        self._transition(job, "Starting", "Preparing the instances for training")
        return self._begin(job, self._train)

    def _create_processing(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateProcessingJob", p, PROCESSING_JOB)
        if not p["AppSpecification"].get("ContainerEntrypoint"):
            raise NotSupported("CreateProcessingJob without AppSpecification.ContainerEntrypoint: localcloud.toml names commands by its first word")
        for item in p.get("ProcessingInputs", []):
            if "LocalPath" not in item.get("S3Input", {}):
                raise NotSupported("ProcessingInputs without S3Input.LocalPath of CreateProcessingJob")
        return self._begin(self._new("Processing", p), self._process)

    def _new(self, kind: str, p: dict[str, Any]) -> Job:
        """A job that is not known yet. Raises ResourceInUse, or ValidationException for its role."""
        name, now = p[f"{kind}JobName"], self._moment()
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.lower()}-job/{name}"
        if (kind, name) in self._jobs:
            told = f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
            raise ServiceError("ResourceInUse", told)
        described = p | {f"{kind}JobArn": arn, f"{kind}JobStatus": "InProgress", "CreationTime": now, "LastModifiedTime": now}
        return Job(kind, name, described, self._roles.assume(p["RoleArn"], arn))

    def _begin(self, job: Job, work: Callable[[Job, Path], None]) -> dict[str, Any]:
        with self._lock:
            if self._jobs.setdefault((job.kind, job.name), job) is not job:
                raise ServiceError("ResourceInUse", f"a job with this name already exists ({job.arn})")
        self._announce(job)
        threading.Thread(target=self._run, args=(job, work), daemon=True, name=job.name).start()
        return {f"{job.kind}JobArn": job.arn}

    def _stop(self, kind: str, p: dict[str, Any]) -> None:
        job = self._job(kind, p)
        status = job.described[f"{kind}JobStatus"]
        if status not in ("InProgress", "Stopping"):
            reason = f"The request was rejected because the {kind.lower()} job is in status {status}."
            raise ServiceError("ValidationException", reason)
        if status == "InProgress":
            job.described[f"{kind}JobStatus"] = "Stopping"
            if kind == "Training":
                self._transition(job, "Stopping", "Stopping the training job")
            self._announce(job)
            job.stopping.set()

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
        if job.stopping.is_set():
            self._end(job, started, "Stopped", None)
        else:
            self._end(job, started, "Failed" if reason else "Completed", reason)

    def _train(self, job: Job, folder: Path) -> None:
        p = job.described
        self._status(job, "Downloading", "Downloading input data")
        channels = p.get("InputDataConfig", [])
        for channel in channels:
            download(channel["DataSource"]["S3DataSource"], folder / "input/data" / channel["ChannelName"], job.clients)
        for name in ("input/config", "model", "output/data", "checkpoints"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._configure(p, channels, folder / "input/config")
        if job.stopping.is_set():
            return
        self._status(job, "Training", "Training image download completed. Training in progress.")
        spec = p["AlgorithmSpecification"]
        metrics = MetricReader(spec.get("MetricDefinitions", []))
        command = [*spec.get("ContainerEntrypoint", ["train"]), *spec.get("ContainerArguments", [])]
        code = self._containers.run(job, folder, spec["TrainingImage"], command, metrics.read)
        self._logs.flush()
        self._publish(job, metrics)
        if code != 0 and not job.stopping.is_set():
            raise JobFailed(f"AlgorithmError: {_message(folder / 'output/failure')}, exit code: {code}")
        # A job that was stopped may have saved its model in the time SIGTERM left it: "the results of training are not lost".
        if not job.stopping.is_set():
            self._status(job, "Uploading", "Uploading generated training model")
        if code == 0 or any((folder / "model").iterdir()):
            upload_archive(folder / "model", p["ModelArtifacts"]["S3ModelArtifacts"], job.clients)
        if any((folder / "output/data").iterdir()):
            upload_archive(folder / "output/data", p["ModelArtifacts"]["S3ModelArtifacts"].replace("model.tar.gz", "output.tar.gz"), job.clients)

    def _configure(self, p: dict[str, Any], channels: list[dict[str, Any]], folder: Path) -> None:
        settings = {
            "hyperparameters": p.get("HyperParameters", {}),
            "inputdataconfig": {
                c["ChannelName"]: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
                | ({"ContentType": c["ContentType"]} if "ContentType" in c else {})
                for c in channels
            },
            "resourceconfig": _host() | {"current_instance_type": p["ResourceConfig"].get("InstanceType", "")},
        }
        for name, value in settings.items():
            (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")

    def _process(self, job: Job, folder: Path) -> None:
        p = job.described
        for name, value in (("processingjobconfig", p), ("resourceconfig", _host())):
            (folder / "config").mkdir(parents=True, exist_ok=True)
            (folder / f"config/{name}.json").write_text(json.dumps(value, default=str), encoding="utf-8")
        for item in p.get("ProcessingInputs", []):
            download(item["S3Input"], _local(folder, item["S3Input"]["LocalPath"]), job.clients)
        outputs = [output["S3Output"] for output in p.get("ProcessingOutputConfig", {}).get("Outputs", [])]
        for output in outputs:
            _local(folder, output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        (folder / "output").mkdir(parents=True, exist_ok=True)
        if job.stopping.is_set():
            return
        spec = p["AppSpecification"]
        command = [*spec["ContainerEntrypoint"], *spec.get("ContainerArguments", [])]
        code = self._containers.run(job, folder, spec["ImageUri"], command, lambda line: None)
        self._logs.flush()
        if message := _message(folder / "output/message"):
            p["ExitMessage"] = message
        if code != 0:
            raise JobFailed("AlgorithmError: See job logs for more information")
        for output in outputs:
            upload_folder(_local(folder, output["LocalPath"]), output["S3Uri"], job.clients)

    def _publish(self, job: Job, metrics: MetricReader) -> None:
        if not metrics.values:
            return
        found = [{"MetricName": name, "Value": value, "Timestamp": self._moment()} for name, value in metrics.values.items()]
        job.described["FinalMetricDataList"] = found
        self._roles.publish(job.described["RoleArn"], job.kind, job.name, metrics.values)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _end(self, job: Job, started: datetime, status: str, reason: str | None) -> None:
        now = self._moment()
        seconds = max(1, round((now - started).total_seconds()))
        job.described |= {f"{job.kind}EndTime": now, "LastModifiedTime": now} | ({"FailureReason": reason[:MESSAGE_CHARS]} if reason else {})
        if job.kind == "Training":
            job.described |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
            words = {"Completed": "Training job completed", "Stopped": "Training job stopped"}
            secondary = "MaxRuntimeExceeded" if job.out_of_time else status
            self._transition(job, secondary, reason or ("Training job runtime exceeded MaxRuntimeInSeconds" if job.out_of_time else words[status]))
            job.described["SecondaryStatusTransitions"][-1]["EndTime"] = now
        job.described[f"{job.kind}JobStatus"] = status
        self._announce(job)

    def _status(self, job: Job, secondary: str, message: str) -> None:
        if not job.stopping.is_set():
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
        tags = {tag["Key"]: tag["Value"] for tag in job.described.get("Tags", [])}
        self._bus.emit("aws.sagemaker", f"SageMaker {job.kind} Job State Change", {**job.described, "Tags": tags}, [job.arn])

    def _list(self, kind: str, p: dict[str, Any]) -> dict[str, Any]:
        found = [job.described for (k, _), job in list(self._jobs.items()) if k == kind]
        return page(f"List{kind}Jobs", p, found, f"{kind}JobSummaries", f"{kind}JobName", StatusEquals=f"{kind}JobStatus")

    def _job(self, kind: str, p: dict[str, Any]) -> Job:
        job = self._jobs.get((kind, p[f"{kind}JobName"]))
        if job is None:
            raise ServiceError("ValidationException", "Requested resource not found.")
        return job


def _host() -> dict[str, Any]:
    return {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}


def _message(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[:MESSAGE_CHARS] if path.exists() else ""


def _local(folder: Path, path: str) -> Path:
    """A container path below /opt/ml, in the job's folder."""
    try:
        if path.startswith(f"{OPT_ML}/"):
            return inside(folder, path.removeprefix(f"{OPT_ML}/"))
    except ValueError:
        pass
    raise JobFailed(f"ClientError: LocalPath {path} is not below {OPT_ML}")
