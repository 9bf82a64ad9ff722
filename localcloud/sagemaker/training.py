"""A training job's container: /opt/ml laid out as SageMaker does, the process in it, its results back in S3; again when spot capacity was taken away.

Contract: docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.clock import Clock, Signal
from localcloud.logs import LogWriter
from localcloud.sagemaker.capacity import instance_count, instance_type
from localcloud.sagemaker.checkpoints import Checkpoints
from localcloud.sagemaker.cluster import Host, hosts, resource_config, together
from localcloud.sagemaker.container import Containers, Interrupted, Job, JobFailed, Limit
from localcloud.sagemaker.data import download, upload_archive
from localcloud.sagemaker.roles import MetricReader, Roles

MESSAGE_CHARS = 1024

Status = Callable[[Job, str, str], None]
"""Takes a job, its new SecondaryStatus and the message of it."""


class Training:
    """Runs training jobs."""

    def __init__(self, containers: Containers, roles: Roles, logs: LogWriter, clock: Clock, status: Status) -> None:
        self._containers = containers
        self._roles = roles
        self._logs = logs
        self._clock = clock
        self._status = status

    def run(self, job: Job, folder: Path) -> None:
        """Until it is done or told to stop, however often its capacity is taken away. Raises JobFailed, RoleDenied, DataError, ConfigError."""
        created_at, ran_s = self._clock.now(), 0.0
        while not job.stopping.is_set():
            started_at = time.monotonic()
            try:
                self._attempt(job, folder, self._limit(job, created_at, ran_s))
                return
            except Interrupted:
                ran_s += time.monotonic() - started_at
                shutil.rmtree(folder, ignore_errors=True)  # another instance comes with another disk
                self._await_capacity(job, created_at)

    def _limit(self, job: Job, created_at: float, ran_s: float) -> Limit:
        """MaxRuntimeInSeconds is for all attempts, MaxWaitTimeInSeconds for these and the waiting."""
        running = Limit(job.max_runtime_s - ran_s)
        waiting = Limit(self._patience(job, created_at), "MaxWaitTimeExceeded")
        return min(running, waiting, key=lambda limit: limit.seconds)

    def _patience(self, job: Job, created_at: float) -> float:
        return float(job.described["StoppingCondition"].get("MaxWaitTimeInSeconds", float("inf"))) - (self._clock.now() - created_at)

    def _await_capacity(self, job: Job, created_at: float) -> None:
        """Waits by localcloud's clock: a test that takes capacity away for an hour moves it."""
        self._status(job, "Interrupted", "The managed spot training instances were interrupted")
        away_s, job.interruption = job.interruption.away_s if job.interruption else 0.0, None
        began, patience = self._clock.now(), self._patience(job, created_at)
        stop = job.stopping if isinstance(job.stopping, Signal) else None
        if not self._clock.wait(min(away_s, patience), until=stop) and patience <= away_s:
            job.exceeded = "MaxWaitTimeExceeded"
            job.stopping.set()
        job.idle_s += self._clock.now() - began
        self._status(job, "Starting", "Preparing the instances for training")

    def _attempt(self, job: Job, folder: Path, limit: Limit) -> None:
        p, spec = job.described, job.described["AlgorithmSpecification"]
        self._status(job, "Downloading", "Downloading input data")
        among = hosts(instance_count(p["ResourceConfig"]), folder)
        kept = [self._laid_out(job, host, among) for host in among]
        if job.stopping.is_set():
            return
        self._status(job, "Training", "Training image download completed. Training in progress.")
        metrics = MetricReader(spec.get("MetricDefinitions", []), job.watch)
        command = [*spec.get("ContainerEntrypoint", ["train"]), *spec.get("ContainerArguments", [])]
        try:
            with ExitStack() as open_checkpoints:
                for checkpoints in kept:
                    open_checkpoints.enter_context(checkpoints)
                first, code = together(
                    among,
                    lambda host, failed: self._containers.run(job, host, spec["TrainingImage"], command, metrics.read, limit, failed),
                    lambda: job.stopping.is_set() or job.interruption is not None,
                )
        finally:
            self._logs.flush()
            self._publish(job, metrics)
        if code != 0 and not job.stopping.is_set():
            raise JobFailed(f"AlgorithmError: {message(first.folder / 'output/failure')}, exit code: {code}")
        self._upload(job, [host.folder for host in among], code)

    def _laid_out(self, job: Job, host: Host, among: Sequence[Host]) -> Checkpoints:
        """Everything below a host's /opt/ml, and the checkpoints there."""
        channels = job.described.get("InputDataConfig", [])
        for channel in channels:
            download(channel["DataSource"]["S3DataSource"], host.folder / "input/data" / channel["ChannelName"], job.clients)
        for name in ("input/config", "model", "output/data", "checkpoints"):
            (host.folder / name).mkdir(parents=True, exist_ok=True)
        _configure(job.described, channels, resource_config(host, among), host.folder / "input/config")
        checkpoints = Checkpoints(job.described.get("CheckpointConfig", {}), host.folder, job.clients)
        checkpoints.restore()
        return checkpoints

    def _upload(self, job: Job, folders: Sequence[Path], code: int) -> None:
        """A job that was stopped may have saved its model in the time SIGTERM left it: "the results of training are not lost"."""
        if not job.stopping.is_set():
            self._status(job, "Uploading", "Uploading generated training model")
        artifacts = job.described["ModelArtifacts"]["S3ModelArtifacts"]
        if code == 0 or any(any((folder / "model").iterdir()) for folder in folders):
            upload_archive([folder / "model" for folder in folders], artifacts, job.clients)
        if any(any((folder / "output/data").iterdir()) for folder in folders):
            upload_archive([folder / "output/data" for folder in folders], artifacts.replace("model.tar.gz", "output.tar.gz"), job.clients)

    def _publish(self, job: Job, metrics: MetricReader) -> None:
        if not metrics.values:
            return
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        job.described["FinalMetricDataList"] = [{"MetricName": name, "Value": value, "Timestamp": now} for name, value in metrics.values.items()]
        self._roles.publish(job.described["RoleArn"], job.kind, job.name, metrics.values)


def _configure(p: dict[str, Any], channels: list[dict[str, Any]], resources: dict[str, Any], folder: Path) -> None:
    settings = {
        "hyperparameters": p.get("HyperParameters", {}),
        "inputdataconfig": {
            c["ChannelName"]: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
            | ({"ContentType": c["ContentType"]} if "ContentType" in c else {})
            for c in channels
        },
        "resourceconfig": resources | {"current_instance_type": instance_type(p["ResourceConfig"])},
    }
    for name, value in settings.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def message(path: Path) -> str:
    """What a container left in a file for its Describe to show."""
    return path.read_text(encoding="utf-8", errors="replace")[:MESSAGE_CHARS] if path.exists() else ""
