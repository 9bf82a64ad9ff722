"""Lines of functions, jobs and builds go to CloudWatch Logs, through its API, from one writer thread."""

import logging
import queue
import threading
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime

import moto.logs.models as moto_logs
from botocore.exceptions import BotoCoreError, ClientError

from localcloud.clients import Clients
from localcloud.clock import Clock

log = logging.getLogger("localcloud")

BATCH = 500


GATHER_S = 0.1
"""Lines of so long go into one call: a call a line would slow down what logs."""


class LogWriter:
    """Collects lines and writes them in batches, so that nobody who logs waits for it.

    One seam of moto: the time by which its logs refuse events that are too old or too new.
    """

    def __init__(self, clients: Clients, clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        moto_logs.utcnow = lambda: datetime.fromtimestamp(clock.now(), UTC).replace(tzinfo=None)
        self._lines: queue.Queue[tuple[str, str, int, str] | None] = queue.Queue()
        self._hurry = threading.Event()
        self._streams: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True, name="log-writer")
        self._thread.start()

    def write(self, group: str, stream: str, message: str) -> None:
        self._lines.put((group, stream, int(self._clock.now() * 1000), message))

    def flush(self) -> None:
        """Wait until all that was written before is in CloudWatch Logs."""
        self._hurry.set()
        self._lines.join()
        self._hurry.clear()

    def stop(self) -> None:
        self._hurry.set()
        self._lines.put(None)
        self._thread.join(5)

    def _run(self) -> None:
        stopping = False
        while not stopping and (first := self._lines.get()) is not None:
            self._hurry.wait(GATHER_S)
            batch = [first]
            while len(batch) < BATCH and not self._lines.empty() and not stopping:
                if (line := self._lines.get()) is None:
                    stopping = True
                else:
                    batch.append(line)
            try:
                self._put(batch)
            except (ClientError, BotoCoreError):
                log.exception("%s lines were not written", len(batch))
            finally:
                for _ in batch:
                    self._lines.task_done()

    def _put(self, batch: list[tuple[str, str, int, str]]) -> None:
        streams: dict[tuple[str, str], list[dict[str, object]]] = defaultdict(list)
        for group, stream, at, message in batch:
            streams[group, stream].append({"timestamp": at, "message": message or " "})
        client = self._clients("logs")
        for (group, stream), events in streams.items():
            self._ensure(group, stream)
            try:
                client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
            except client.exceptions.ResourceNotFoundException:
                # Deleted since, with its stack: like Lambda, make it again.
                self._streams.discard((group, stream))
                self._ensure(group, stream)
                client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)

    def _ensure(self, group: str, stream: str) -> None:
        if (group, stream) in self._streams:
            return
        client = self._clients("logs")
        exists = client.exceptions.ResourceAlreadyExistsException
        with suppress(exists):
            client.create_log_group(logGroupName=group)
        with suppress(exists):
            client.create_log_stream(logGroupName=group, logStreamName=stream)
        self._streams.add((group, stream))
