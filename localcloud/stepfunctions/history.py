"""An execution's history: events for GetExecutionHistory, and a log line for each when the machine logs."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

from localcloud.clock import Clock
from localcloud.logs import LogWriter

DETAIL_KEYS = {
    "StateEntered": "stateEnteredEventDetails",
    "StateExited": "stateExitedEventDetails",
    "TaskScheduled": "taskScheduledEventDetails",
    "TaskSucceeded": "taskSucceededEventDetails",
    "TaskFailed": "taskFailedEventDetails",
    "TaskTimedOut": "taskTimedOutEventDetails",
    "ExecutionStarted": "executionStartedEventDetails",
    "ExecutionSucceeded": "executionSucceededEventDetails",
    "ExecutionFailed": "executionFailedEventDetails",
    "ExecutionAborted": "executionAbortedEventDetails",
    "ExecutionTimedOut": "executionTimedOutEventDetails",
}
FATAL = ("ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
ERRORS = (*FATAL, "TaskFailed", "TaskTimedOut", "FailStateEntered")
DATA = ("input", "output", "parameters")


class History:
    """Events in order. Log lines: docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"""

    def __init__(self, execution: str, machine: dict[str, Any], clock: Clock, logs: LogWriter) -> None:
        self._execution = execution
        self._logging = machine["loggingConfiguration"]
        self._stream = f"states/{machine['name']}/{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%d-%H}/00000000"
        self._clock = clock
        self._logs = logs
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def events(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(self._events)

    def add(self, kind: str, detail: dict[str, Any]) -> None:
        """An event of a kind as the API names it; `detail` has the members of its ...EventDetails."""
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in detail.items()}
        key = next((name for ending, name in DETAIL_KEYS.items() if kind.endswith(ending)), None)
        with self._lock:
            number = len(self._events) + 1
            event = {"timestamp": datetime.fromtimestamp(self._clock.now(), UTC), "type": kind, "id": number, "previousEventId": number - 1}
            self._events.append(event | ({key: texts} if key else {}))
        self._log(number, kind, texts)

    def _log(self, number: int, kind: str, texts: dict[str, str]) -> None:
        level = self._logging.get("level", "OFF")
        if level == "OFF" or (level == "ERROR" and kind not in ERRORS) or (level == "FATAL" and kind not in FATAL):
            return
        shown = texts if self._logging.get("includeExecutionData") else {name: text for name, text in texts.items() if name not in DATA}
        line = {
            "id": str(number), "type": kind, "details": shown, "previous_event_id": str(number - 1),
            "event_timestamp": str(int(self._clock.now() * 1000)), "execution_arn": self._execution, "redrive_count": "0",
        }  # fmt: skip
        for destination in self._logging.get("destinations", []):
            group = destination["cloudWatchLogsLogGroup"]["logGroupArn"].removesuffix(":*").partition(":log-group:")[2]
            self._logs.write(group, self._stream, json.dumps(line, separators=(",", ":")))
