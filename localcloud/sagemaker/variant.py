"""A production variant: a real server process on an /opt/ml tree, ready once it answers /ping."""

import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import urllib3

from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.config import LocalConfig
from localcloud.processes import Child, Processes, base_environment
from localcloud.sagemaker.data import unpack_model

PING_TIMEOUT_S = 60.0
"""For a container that does not say otherwise; AWS waits eight minutes."""
PING_EVERY_S = 0.05
INVOKE_TIMEOUT_S = 60.0
"""docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html"""
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
    """One running container stand-in, made from an entry of ProductionVariants."""

    def __init__(self, settings: dict[str, Any], image: str, port: int, folder: Path, stop: Callable[[], None]) -> None:
        self.settings = settings
        self.image = image
        self.name: str = settings["VariantName"]
        self.weight = float(settings.get("InitialVariantWeight", 1.0))
        self.serverless = "ServerlessConfig" in settings
        self._limit: int | None = settings.get("ServerlessConfig", {}).get("MaxConcurrency")
        self._inside = 0
        self._retired = False
        self._change = threading.Condition()
        self._folder = folder
        self._stop = stop
        self._http = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=32, retries=False, timeout=urllib3.Timeout(total=INVOKE_TIMEOUT_S))

    def ping(self) -> int | None:
        """The status of /ping; None while nobody listens."""
        try:
            return int(self._http.request("GET", "/ping", timeout=2.0).status)
        except urllib3.exceptions.HTTPError:
            return None

    def enter(self) -> Literal["in", "full", "retired"]:
        """Take one of the places of MaxConcurrency."""
        with self._change:
            if self._retired:
                return "retired"
            if self._limit is not None and self._inside >= self._limit:
                return "full"
            self._inside += 1
            return "in"

    def leave(self) -> None:
        with self._change:
            self._inside -= 1
            self._change.notify_all()

    def invoke(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        answer = self._http.request("POST", "/invocations", body=body, headers=headers)
        return answer.status, answer.data, dict(answer.headers)

    def retire(self) -> None:
        """Take no more requests, answer those that are inside, then stop."""
        with self._change:
            self._retired = True
            self._change.wait_for(lambda: self._inside == 0, INVOKE_TIMEOUT_S)
        self.stop()

    def stop(self) -> None:
        self._stop()
        self._http.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def described(self) -> dict[str, Any]:
        """As DescribeEndpoint shows it."""
        weights = {"CurrentWeight": self.weight, "DesiredWeight": self.weight}
        shown = {"VariantName": self.name, "DeployedImages": [{"SpecifiedImage": self.image, "ResolvedImage": self.image}], **weights}
        if self.serverless:
            return shown | {
                "CurrentServerlessConfig": self.settings["ServerlessConfig"],
                "DesiredServerlessConfig": self.settings["ServerlessConfig"],
            }
        count = self.settings.get("InitialInstanceCount", 1)
        return shown | {"CurrentInstanceCount": count, "DesiredInstanceCount": count}


def start_variant(
    variant: dict[str, Any], container: dict[str, Any], place: Place, on_line: Callable[[str], None],
    config: LocalConfig, processes: Processes, clock: Clock,
) -> Variant:  # fmt: skip
    """Unpack the model, start the image's serve command, wait for /ping. Raises VariantFailed."""
    folder = place.folder
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "model").mkdir(parents=True)
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
    running = Variant(variant, container["Image"], port, folder, lambda: child.signal_group(signal.SIGKILL))
    _wait_until_healthy(running, child, clock)
    return running


def _wait_until_healthy(variant: Variant, child: Child, clock: Clock) -> None:
    """A container that answers, but not 200, is given up by the clock; one that does not listen yet lives in real time."""
    patience = float(variant.settings.get("ContainerStartupHealthCheckTimeoutInSeconds", PING_TIMEOUT_S))
    ends, ends_really = clock.now() + patience, time.monotonic() + patience
    while (status := variant.ping()) != 200:
        if not child.running or time.monotonic() > ends_really or (status is not None and clock.now() > ends):
            variant.stop()
            raise VariantFailed(NOT_HEALTHY.format(name=variant.name))
        clock.wait(PING_EVERY_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
