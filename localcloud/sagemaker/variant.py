"""A production variant: a real server process on an /opt/ml tree, ready once it answers /ping."""

import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.config import LocalConfig
from localcloud.processes import Processes, base_environment
from localcloud.sagemaker.data import unpack_model

PING_TIMEOUT_S = 60.0
PING_EVERY_S = 0.05
INVOKE_TIMEOUT_S = 60.0
NOT_HEALTHY = (
    "The primary container for production variant {name} did not pass the ping health check. Please check CloudWatch logs for this endpoint."
)


class VariantFailed(Exception):
    """The container did not come up; the message is the endpoint's FailureReason."""


@dataclass(frozen=True)
class Place:
    """Where a container lives: its folder, clients with its role, and the AWS_* variables it may see."""

    folder: Path
    clients: Clients
    variables: dict[str, str]


class Variant:
    """One running container stand-in. `limit`: MaxConcurrency of a serverless variant."""

    def __init__(self, name: str, weight: float, limit: int | None, port: int, folder: Path, stop: Callable[[], None]) -> None:
        self.name = name
        self.weight = weight
        self._limit = limit
        self._inside = 0
        self._lock = threading.Lock()
        self._folder = folder
        self._stop = stop
        self._http = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=32, retries=False, timeout=urllib3.Timeout(total=INVOKE_TIMEOUT_S))

    def healthy(self) -> bool:
        try:
            return bool(self._http.request("GET", "/ping", timeout=2.0).status == 200)
        except urllib3.exceptions.HTTPError:
            return False

    def enter(self) -> bool:
        """Take one of the places of MaxConcurrency; False when all are taken."""
        with self._lock:
            if self._limit is not None and self._inside >= self._limit:
                return False
            self._inside += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1

    def invoke(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        answer = self._http.request("POST", "/invocations", body=body, headers=headers)
        return answer.status, answer.data, dict(answer.headers)

    def stop(self) -> None:
        self._stop()
        self._http.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def start_variant(
    variant: dict[str, Any], container: dict[str, Any], place: Place, on_line: Callable[[str], None],
    config: LocalConfig, processes: Processes, clock: Clock,
) -> Variant:  # fmt: skip
    """Unpack the model, start the image's serve command, wait for /ping. Raises VariantFailed."""
    name, folder = variant["VariantName"], place.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    image = config.image(container["Image"])
    if "serve" not in image.commands:
        raise VariantFailed(f"image {container['Image']} has no command 'serve' in localcloud.toml")
    if container.get("ModelDataUrl"):
        unpack_model(container["ModelDataUrl"], folder / "model", place.clients)
    port = _free_port()
    env = base_environment() | {key: config.path(value) for key, value in image.environment.items()} | place.variables
    env |= container.get("Environment", {}) | {
        "OPT_ML": str(folder),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
    child = processes.start([config.path(word) for word in image.commands["serve"]], env=env, cwd=folder, on_line=on_line)
    limit = variant.get("ServerlessConfig", {}).get("MaxConcurrency")
    running = Variant(name, float(variant.get("InitialVariantWeight", 1.0)), limit, port, folder, lambda: child.signal_group(signal.SIGKILL))
    ends = time.monotonic() + PING_TIMEOUT_S
    while not running.healthy():
        if not child.running or time.monotonic() > ends:
            running.stop()
            raise VariantFailed(NOT_HEALTHY.format(name=name))
        clock.wait(PING_EVERY_S)
    return running


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
