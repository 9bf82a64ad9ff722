"""The instances of a training job: processes of this machine, each with an /opt/ml and a log stream of its own.

Contract: docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html#your-algorithms-training-algo-running-container-dist-training
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Host:
    """name: as logs call it; address: as its peers do; folder: its /opt/ml."""

    name: str
    address: str
    folder: Path


def hosts(count: int, folder: Path) -> tuple[Host, ...]:
    """Names of several could not be resolved here: they are known by addresses of the loopback network."""
    if count == 1:
        return (alone(folder / "algo-1"),)
    return tuple(Host(f"algo-{at}", f"127.0.0.{at}", folder / f"algo-{at}") for at in range(1, count + 1))


def alone(folder: Path) -> Host:
    """The one host of a job."""
    return Host("algo-1", "algo-1", folder)


def resource_config(host: Host, among: Sequence[Host]) -> dict[str, Any]:
    """What resourceconfig.json tells a host of itself and its peers."""
    return {"current_host": host.address, "hosts": [each.address for each in among], "network_interface_name": "lo"}


def together(among: Sequence[Host], run: Callable[[Host, threading.Event], int], kept: Callable[[], bool]) -> tuple[Host, int]:
    """Run every host's container until all have ended: the exit code 0, or the first other one and whose it is.

    The event is set when one has failed: the others are then to end at once, unless they are `kept` (they were told to end, and may take
    their time). Raises what the first of them raised.
    """
    failed, found = threading.Event(), []
    with ThreadPoolExecutor(len(among)) as pool:
        running = {pool.submit(run, host, failed): host for host in among}
        for future in as_completed(running):
            if future.exception() is not None or future.result() != 0:
                found.append(future)
                if not kept():
                    failed.set()
    found.sort(key=lambda future: future.exception() is None)  # an instance that was taken away also ends badly
    return (running[found[0]], found[0].result()) if found else (among[0], 0)
