"""The container of a job: the command that stands for the image's, on the job's /opt/ml, until it ends or must end."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localcloud.clients import Clients
from localcloud.config import LocalConfig
from localcloud.processes import Child, Processes, base_environment
from localcloud.sagemaker.roles import Roles

GRACE_S = 120
"""Between SIGTERM and SIGKILL. docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html"""
POLL_S = 0.05
DEFAULT_RUNTIME_S = 86_400


class JobFailed(Exception):
    """The job ends as Failed with this FailureReason."""


@dataclass
class Job:
    """A job as its Describe shows it, and who wants it to stop."""

    kind: str
    name: str
    described: dict[str, Any]
    clients: Clients
    stopping: threading.Event = field(default_factory=threading.Event)
    out_of_time: bool = False

    @property
    def arn(self) -> str:
        return str(self.described[f"{self.kind}JobArn"])


class Containers:
    """Runs containers with a job's role and settings."""

    def __init__(self, config: LocalConfig, roles: Roles, processes: Processes) -> None:
        self._config = config
        self._roles = roles
        self._processes = processes

    def run(self, job: Job, folder: Path, image_uri: str, command: list[str], on_line: Callable[[str], None]) -> int:
        """The exit code, as docker tells it. Raises JobFailed, RoleDenied, ConfigError."""
        p, role = job.described, job.described["RoleArn"]
        image = self._config.image(image_uri)
        if command[0] not in image.commands:
            raise JobFailed(f"ClientError: image {image_uri} has no command '{command[0]}' in localcloud.toml")
        self._roles.check_pull(role, image_uri)
        argv = [self._config.path(word) for word in image.commands[command[0]]] + command[1:]
        isolated = p.get("EnableNetworkIsolation") or p.get("NetworkConfig", {}).get("EnableNetworkIsolation")
        env = base_environment() | {name: self._config.path(value) for name, value in image.environment.items()}
        env |= ({} if isolated else self._roles.environment(role, job.arn)) | p.get("Environment", {})
        env |= {"OPT_ML": str(folder), "PYTHONUNBUFFERED": "1", f"{job.kind.upper()}_JOB_NAME": job.name, f"{job.kind.upper()}_JOB_ARN": job.arn}
        write = self._roles.log(role, f"/aws/sagemaker/{job.kind}Jobs", f"{job.name}/algo-1")

        def told(line: str) -> None:
            write(line)
            on_line(line)

        child = self._processes.start(argv, env=env, cwd=folder, on_line=told)
        code = self._wait(job, child, p.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_S))
        return code if code >= 0 else 128 - code

    def _wait(self, job: Job, child: Child, limit_s: float) -> int:
        """Until it ends; SIGTERM when it is told to stop or out of time, SIGKILL when that does not help."""
        ends, kill_at = time.monotonic() + limit_s, float("inf")
        while True:
            try:
                return child.wait(POLL_S)
            except subprocess.TimeoutExpired:
                now = time.monotonic()
            if now >= ends and not job.stopping.is_set():
                job.out_of_time = True
                job.stopping.set()
            if job.stopping.is_set() and kill_at == float("inf"):
                child.signal_group(signal.SIGTERM)
                kill_at = now + GRACE_S
            if now >= kill_at:
                child.signal_group(signal.SIGKILL)
