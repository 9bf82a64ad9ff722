"""The container of a job: the command that stands for the image's, on the job's /opt/ml, until it ends or must end."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localcloud.clients import Clients
from localcloud.config import LocalConfig
from localcloud.processes import Child, Processes, base_environment
from localcloud.sagemaker.cluster import Host
from localcloud.sagemaker.roles import Roles

GRACE_S = 120.0
"""Between SIGTERM and SIGKILL. docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html"""
POLL_S = 0.05
DEFAULT_RUNTIME_S = 86_400


class JobFailed(Exception):
    """The job ends as Failed with this FailureReason."""


class Interrupted(Exception):
    """The instance was taken away while the container ran."""


@dataclass(frozen=True)
class Interruption:
    """Spot capacity that is taken away: what runs there gets SIGTERM, SIGKILL `grace_s` later, and new capacity comes after `away_s`."""

    away_s: float = 0.0
    grace_s: float = GRACE_S


@dataclass(frozen=True)
class Limit:
    """How long a container may run, in real time, and the SecondaryStatus of a job whose container ran longer."""

    seconds: float
    exceeded: str = "MaxRuntimeExceeded"


def no_one(*_: Any) -> None:
    """Who watches a job that nobody watches."""


@dataclass
class Job:
    """A job as its Describe shows it, who wants it to stop, and who is told what becomes of it.

    `watch` gets the name and value of each metric that the log shows; `ended` is called once, when the last status is set.
    """

    kind: str
    name: str
    described: dict[str, Any]
    clients: Clients
    stopping: threading.Event = field(default_factory=threading.Event)
    exceeded: str = ""
    interruption: Interruption | None = None
    idle_s: float = 0.0
    watch: Callable[[str, float], None] = no_one
    ended: Callable[[], None] = no_one

    @property
    def arn(self) -> str:
        return str(self.described[f"{self.kind}JobArn"])

    @property
    def status(self) -> str:
        return str(self.described[f"{self.kind}JobStatus"])

    @property
    def max_runtime_s(self) -> float:
        return float(self.described.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_S))


class Containers:
    """Runs containers with a job's role and settings."""

    def __init__(self, config: LocalConfig, roles: Roles, processes: Processes) -> None:
        self._config = config
        self._roles = roles
        self._processes = processes

    def run(
        self, job: Job, host: Host, image_uri: str, command: list[str], on_line: Callable[[str], None], limit: Limit,
        peer_failed: threading.Event | None = None,
    ) -> int:  # fmt: skip
        """The exit code, as docker tells it. Raises JobFailed, Interrupted, RoleDenied, ConfigError."""
        p, role = job.described, job.described["RoleArn"]
        image = self._config.image(image_uri)
        if command[0] not in image.commands:
            raise JobFailed(f"ClientError: image {image_uri} has no command '{command[0]}' in localcloud.toml")
        self._roles.check_pull(role, image_uri)
        argv = [self._config.path(word) for word in image.commands[command[0]]] + command[1:]
        isolated = p.get("EnableNetworkIsolation") or p.get("NetworkConfig", {}).get("EnableNetworkIsolation")
        env = base_environment() | {name: self._config.path(value) for name, value in image.environment.items()}
        env |= ({} if isolated else self._roles.environment(role, job.arn)) | p.get("Environment", {})
        env |= {"OPT_ML": str(host.folder), "PYTHONUNBUFFERED": "1", f"{job.kind.upper()}_JOB_NAME": job.name, f"{job.kind.upper()}_JOB_ARN": job.arn}
        write = self._roles.log(role, f"/aws/sagemaker/{job.kind}Jobs", f"{job.name}/{host.name}")

        def told(line: str) -> None:
            write(line)
            on_line(line)

        code = _wait(job, self._processes.start(argv, env=env, cwd=host.folder, on_line=told), limit, peer_failed)
        return code if code >= 0 else 128 - code


def _wait(job: Job, child: Child, limit: Limit, peer_failed: threading.Event | None) -> int:
    """Until it ends; SIGTERM when it is told to stop, interrupted or out of time, SIGKILL when that does not help or a peer failed."""
    ends, kill_at = time.monotonic() + limit.seconds, float("inf")
    while True:
        try:
            code = child.wait(POLL_S)
            break
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        if now >= ends and not job.stopping.is_set():
            job.exceeded = limit.exceeded
            job.stopping.set()
        grace_s = GRACE_S if job.stopping.is_set() else job.interruption.grace_s if job.interruption else None
        if grace_s is not None and kill_at == float("inf"):
            child.signal_group(signal.SIGTERM)
            kill_at = now + grace_s
        if now >= kill_at or (peer_failed is not None and peer_failed.is_set()):
            child.signal_group(signal.SIGKILL)
    if kill_at < float("inf") and not job.stopping.is_set():
        raise Interrupted
    return code
