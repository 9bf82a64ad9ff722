"""The instances of a training job that has several, as SageMaker's resourceconfig.json names them, joined by XGBoost's own tracker."""

import atexit
import json
import os
import socket
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

from tidemill.errors import EngineFailed, InstanceLost
from training import paths

T = TypeVar("T")
PATIENCE_S = 900.0
"""Until the last instance has its data and is there."""
ENDING_S = 60
"""What the last instance may need to say goodbye."""
SLOWEST_S = 86_400
"""What one instance may need for its rows while the others wait. When one fails SageMaker ends them all."""


@dataclass(frozen=True)
class Cluster:
    """Peers in a communicator of XGBoost's: what it makes of all rows, and what `gather` brings together, goes between the same instances."""

    rank: int
    count: int

    def gather(self, mine: T) -> list[T]:
        return [self._sent((mine,) if at == self.rank else (), at)[0] for at in range(self.count)]

    def _sent(self, mine: tuple[T, ...], source: int) -> tuple[T, ...]:
        return collective.broadcast(mine, source)


@contextmanager
def joined() -> Iterator[Cluster]:
    """This instance among its peers, until the end of the block; what fails in there ends this process for sure.

    Raises InstanceLost when they do not come together, EngineFailed for what XGBoost says later: most often that a peer is gone.
    """
    told = json.loads(paths.RESOURCES.read_text(encoding="utf-8"))
    hosts, rank = told["hosts"], told["hosts"].index(told["current_host"])
    try:
        leader = _patiently(hosts[0], lambda: socket.gethostbyname(hosts[0]))
        tracker = RabitTracker(n_workers=len(hosts), host_ip=leader, sortby="task") if rank == 0 else None
        where = _announced(leader, hosts, tracker) if tracker is not None else _patiently(hosts[0], lambda: _asked(leader))
        collective.init(dmlc_communicator="rabit", dmlc_task_id=f"{rank:04d}", dmlc_timeout=SLOWEST_S, **where)
        yield Cluster(collective.get_rank(), len(hosts))
        collective.finalize()
        if tracker is not None:
            tracker.wait_for(ENDING_S)
    except BaseException as error:
        atexit.register(_leave)
        if isinstance(error, xgboost.core.XGBoostError):
            raise EngineFailed(f"XGBoost: {_said(error)}; where another instance failed first, its log says why") from error
        raise


def _leave() -> None:
    """Peers still talk to this process: taking XGBoost's threads down in good order would wait for them, or crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _said(error: BaseException) -> str:
    """Its errors are chains of places and messages, a line each, and then its own stack."""
    lines = str(error).partition("Stack trace:")[0].splitlines()
    return " ".join(line.strip() for line in lines if line.strip())[:500]


def _port() -> int:
    """Where the leader says how to join: by the job, so that two jobs on one machine, as on a laptop, do not meet."""
    return 20_000 + zlib.crc32(os.environ.get("TRAINING_JOB_NAME", "").encode()) % 10_000


def _announced(leader: str, hosts: list[str], tracker: RabitTracker) -> dict[str, str | int]:
    tracker.start()
    where = tracker.worker_args()
    with socket.create_server((leader, _port())) as door:
        door.settimeout(PATIENCE_S)
        for met in range(1, len(hosts)):
            try:
                peer, _address = door.accept()
            except TimeoutError as error:
                raise InstanceLost(f"{met} of {len(hosts)} instances were there after {PATIENCE_S:.0f} s: {', '.join(hosts)}") from error
            with peer:
                peer.sendall(json.dumps(where).encode())
    return where


def _asked(leader: str) -> dict[str, str | int]:
    with socket.create_connection((leader, _port()), timeout=10) as door:
        answer: dict[str, str | int] = json.loads(door.makefile("rb").read())
    return answer


def _patiently(leader: str, ask: Callable[[], T]) -> T:
    """A cluster comes up one by one: names are not known yet, the leader's data has not come."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except (OSError, ValueError) as error:
            if time.monotonic() > ends:
                raise InstanceLost(f"the first instance, {leader}, did not answer for {PATIENCE_S:.0f} s: {error}") from error
            time.sleep(0.2)
