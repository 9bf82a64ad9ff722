"""An execution's history: events for GetExecutionHistory, and a log line for each when the machine logs.

What AWS writes: localstack's recordings of AWS, logs/test_logs.snapshot.json and scenarios/test_base_scenarios.snapshot.json.
"""

import json
import threading
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from localcloud.clock import Clock
from localcloud.logs import LogWriter

DETAIL_KEYS = {
    "StateEntered": "stateEnteredEventDetails",
    "StateExited": "stateExitedEventDetails",
    "TaskScheduled": "taskScheduledEventDetails",
    "TaskStarted": "taskStartedEventDetails",
    "TaskSucceeded": "taskSucceededEventDetails",
    "TaskFailed": "taskFailedEventDetails",
    "TaskTimedOut": "taskTimedOutEventDetails",
    "MapStateStarted": "mapStateStartedEventDetails",
    "MapIterationStarted": "mapIterationStartedEventDetails",
    "MapIterationSucceeded": "mapIterationSucceededEventDetails",
    "MapIterationFailed": "mapIterationFailedEventDetails",
    "MapIterationAborted": "mapIterationAbortedEventDetails",
    "EvaluationFailed": "evaluationFailedEventDetails",
    "ExecutionStarted": "executionStartedEventDetails",
    "ExecutionSucceeded": "executionSucceededEventDetails",
    "ExecutionFailed": "executionFailedEventDetails",
    "ExecutionAborted": "executionAbortedEventDetails",
    "ExecutionTimedOut": "executionTimedOutEventDetails",
}
FATAL = ("ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
ERRORS = (
    *FATAL, "FailStateEntered", "MapIterationAborted", "MapIterationFailed", "MapStateFailed", "ParallelStateFailed", "TaskFailed", "TaskTimedOut",
)  # fmt: skip
"""docs.aws.amazon.com/step-functions/latest/dg/cloudwatch-log-level.html"""
DATA = ("input", "output", "parameters", "assignedVariables")
NUMBERS = ("index", "length", "timeoutInSeconds")

_previous: ContextVar[int] = ContextVar("previous", default=0)
"""The event before, in this branch of the execution."""


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

    def add(self, kind: str, detail: dict[str, Any]) -> int:
        """An event of a kind as the API names it; `detail` has the members of its ...EventDetails. Returns the event's id."""
        shown = {name: _shown(name, value) for name, value in detail.items() if value is not None}
        shown |= {f"{name}Details": {"truncated": False} for name in ("input", "output", "assignedVariables") if name in shown}
        key = next((name for ending, name in DETAIL_KEYS.items() if kind.endswith(ending)), None)
        with self._lock:
            number, previous = len(self._events) + 1, _previous.get()
            event = {"timestamp": datetime.fromtimestamp(self._clock.now(), UTC), "type": kind, "id": number, "previousEventId": previous}
            self._events.append(event | ({key: shown} if key else {}))
            self._log(number, previous, kind, shown)
        if number > 1:  # the first state's event has no predecessor: AWS counts from the start event
            _previous.set(number)
        return number

    def _log(self, number: int, previous: int, kind: str, detail: dict[str, Any]) -> None:
        level = self._logging.get("level", "OFF")
        if level == "OFF" or (level == "ERROR" and kind not in ERRORS) or (level == "FATAL" and kind not in FATAL):
            return
        hidden = () if self._logging.get("includeExecutionData") else (*DATA, *(f"{name}Details" for name in DATA))
        line = {
            "id": str(number), "type": kind, "details": {name: _text(value) for name, value in detail.items() if name not in hidden},
            "previous_event_id": str(previous), "event_timestamp": str(int(self._clock.now() * 1000)), "execution_arn": self._execution,
            "redrive_count": "0",
        }  # fmt: skip
        for destination in self._logging.get("destinations", []):
            group = destination["cloudWatchLogsLogGroup"]["logGroupArn"].removesuffix(":*").partition(":log-group:")[2]
            self._logs.write(group, self._stream, json.dumps(line, separators=(",", ":")))


def _shown(name: str, value: Any) -> Any:
    """Data is JSON text in an event; names, errors and numbers are themselves."""
    if name == "assignedVariables":
        return {variable: compact(item) for variable, item in value.items()}
    if name in DATA:
        return compact(value)
    return value if name in NUMBERS else str(value)


def _text(value: Any) -> Any:
    """All scalars in a log line are strings."""
    if isinstance(value, dict):
        return {name: _text(item) for name, item in value.items()}
    return value if isinstance(value, str) else json.dumps(value)


def compact(value: Any) -> str:
    """JSON as AWS writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
