"""Warm environments by function version, cold ones when all are busy, and the limits on how many and how large."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.errors import ServiceError
from localcloud.functions.archive import Archive, extract, read_archive
from localcloud.functions.environment import SAMPLE_S, Blueprint, Environment, Outcome
from localcloud.iam.authorizer import Authorizer
from localcloud.logs import LogWriter
from localcloud.processes import Processes

ACCOUNT_CONCURRENCY = 1000
IDLE_S = 600.0
SWEEP_S = 60.0


class TooManyRequests(ServiceError):
    """`Reason` tells which limit was met: docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"""

    def __init__(self, reason: str) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.")
        self.Reason = reason
        self.Type = "User"


class Executor:
    """Runs functions. Environments whose blueprint is out of date are stopped when they are next idle.

    `variables`: the AWS_* environment of a process with a fresh key of a role.
    """

    def __init__(
        self, folder: Path, python: str, variables: Callable[[str, str], dict[str, str]],
        authorizer: Authorizer, processes: Processes, logs: LogWriter, clock: Clock,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._tmp = folder / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True)
        self._python = python
        self._variables = variables
        self._authorizer = authorizer
        self._processes = processes
        self._logs = logs
        self._clock = clock
        self._pools: dict[str, list[tuple[Blueprint, Environment]]] = {}
        self._lock = threading.Lock()
        self._busy = threading.Event()
        clock.at(clock.now() + SWEEP_S, self._sweep, SWEEP_S)
        threading.Thread(target=self._watch_memory, daemon=True, name="memory").start()

    def unpack(self, data: bytes) -> Archive:
        """A zip's content on disk, unpacked once a digest. Raises InvalidParameterValueException for what is no zip, or too large."""
        archive = read_archive(data, self._folder)
        with self._lock:
            if not archive.folder.exists():
                partial = archive.folder.with_suffix(".partial")
                extract(data, partial)
                partial.rename(archive.folder)
        return archive

    def run(self, blueprint: Blueprint, event: bytes, concurrency: int | None, request_id: str) -> Outcome:
        """Invoke in a free environment. Raises TooManyRequestsException above the reserved concurrency."""
        environment = self._take(blueprint, concurrency)
        self._busy.set()
        try:
            return environment.invoke(event, request_id)
        finally:
            with self._lock:
                environment.idle_since = self._clock.now()
                environment.busy = False
                forgotten = all(e is not environment for _, e in self._pools.get(blueprint.arn, []))
            if forgotten:
                environment.stop()

    def forget(self, arn: str) -> None:
        """Stop what runs for a function that was deleted: what is idle now, what is busy when it is done."""
        with self._lock:
            pool = self._pools.pop(arn, [])
        for _, environment in pool:
            if not environment.busy:
                environment.stop()

    def kill(self, access_key: str) -> bool:
        """Kill the process that holds a key; False when no function does."""
        found = next((e for e in self._all() if e.access_key == access_key), None)
        if found is not None:
            found.kill()
        return found is not None

    def _take(self, blueprint: Blueprint, concurrency: int | None) -> Environment:
        with self._lock:
            pool = self._pools.get(blueprint.arn, [])
            if sum(e.busy for _, e in pool) >= (ACCOUNT_CONCURRENCY if concurrency is None else concurrency):
                raise TooManyRequests("ReservedFunctionConcurrentInvocationLimitExceeded" if concurrency is not None else "CallerRateLimitExceeded")
            useless = [e for b, e in pool if not e.busy and (b != blueprint or not e.alive)]
            kept = [(b, e) for b, e in pool if e not in useless]
            environment = next((e for b, e in kept if b == blueprint and not e.busy), None)
            if environment is None:
                environment = self._start(blueprint)
                kept = [*kept, (blueprint, environment)]
            environment.busy = True
            self._pools[blueprint.arn] = kept
        for old in useless:
            old.stop()
        return environment

    def _start(self, blueprint: Blueprint) -> Environment:
        credentials = self._variables(blueprint.role, blueprint.name)
        return Environment(blueprint, self._python, credentials, self._processes, self._writer(blueprint), self._tmp)

    def _writer(self, blueprint: Blueprint) -> Callable[[str, str], None]:
        """Lambda writes a function's log with the function's role; without the permission the lines are lost, as on AWS."""
        group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{blueprint.log_group}:log-stream:"
        if all([self._authorizer.allows(blueprint.role, f"logs:{action}", group) for action in ("CreateLogStream", "PutLogEvents")]):  # noqa: C419  # both are recorded
            return lambda stream, line: self._logs.write(blueprint.log_group, stream, line)
        return lambda stream, line: None

    def _all(self) -> list[Environment]:
        with self._lock:
            return [environment for pool in self._pools.values() for _, environment in pool]

    def _sweep(self) -> None:
        """Stop what has been idle for long, as Lambda does."""
        oldest = self._clock.now() - IDLE_S
        with self._lock:
            for arn, pool in self._pools.items():
                idle = [e for _, e in pool if not e.busy and e.idle_since < oldest]
                self._pools[arn] = [(b, e) for b, e in pool if e not in idle]
                for environment in idle:
                    environment.stop()

    def _watch_memory(self) -> None:
        while True:
            self._busy.wait()
            busy = [environment for environment in self._all() if environment.busy and environment.alive]
            if not busy:
                self._busy.clear()
            for environment in busy:
                environment.sample()
            time.sleep(SAMPLE_S)
