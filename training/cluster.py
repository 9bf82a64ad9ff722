"""The instances of a training job that has several, as SageMaker's resourceconfig.json names them, joined by XGBoost's own tracker."""

import atexit
import json
import os
import socket
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

from tidemill.errors import InstanceLost
from training import paths

T = TypeVar("T")
PATIENCE_S = 900.0
"""Until the last instance has its data and is there."""
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

    Raises InstanceLost for an error of XGBoost's: most often a peer that is gone.
    """
    told = json.loads(paths.RESOURCES.read_text(encoding="utf-8"))
    hosts, rank = told["hosts"], told["hosts"].index(told["current_host"])
    tracker = RabitTracker(n_workers=len(hosts), host_ip=socket.gethostbyname(hosts[0]), sortby="task") if rank == 0 else None
    where = _announced(hosts, tracker) if tracker is not None else _asked(hosts[0])
    try:
        collective.init(dmlc_communicator="rabit", dmlc_task_id=f"{rank:04d}", dmlc_timeout=SLOWEST_S, **where)
        yield Cluster(collective.get_rank(), len(hosts))
    except BaseException as error:
        atexit.register(_leave)
        if isinstance(error, xgboost.core.XGBoostError):
            raise InstanceLost(f"xgboost: {str(error).splitlines()[0]}; where another instance failed first, its log says why") from error
        raise
    collective.finalize()
    if tracker is not None:
        tracker.wait_for()


def _leave() -> None:
    """Peers still talk to this process: taking XGBoost's threads down in good order would wait for them, or crash."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _port() -> int:
    """Where the leader says how to join: by the job, so that two jobs on one machine, as on a laptop, do not meet."""
    return 20_000 + zlib.crc32(os.environ.get("TRAINING_JOB_NAME", "").encode()) % 10_000


def _announced(hosts: list[str], tracker: RabitTracker) -> dict[str, str | int]:
    tracker.start()
    where = tracker.worker_args()
    with socket.create_server((hosts[0], _port())) as door:
        door.settimeout(PATIENCE_S)
        for _ in hosts[1:]:
            peer, _address = door.accept()
            with peer:
                peer.sendall(json.dumps(where).encode())
    return where


def _asked(leader: str) -> dict[str, str | int]:
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            with socket.create_connection((leader, _port()), timeout=10) as door:
                answer: dict[str, str | int] = json.loads(door.makefile("rb").read())
                return answer
        except OSError as error:  # its name is not known yet, or its data has not come
            if time.monotonic() > ends:
                raise InstanceLost(f"the first instance, {leader}, did not answer for {PATIENCE_S:.0f} s: {error}") from error
            time.sleep(0.2)
