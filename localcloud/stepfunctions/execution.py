"""One execution as DescribeExecution and EventBridge show it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localcloud.clock import Signal
from localcloud.stepfunctions.history import History

EVENT_DATA_BYTES = 248 * 1024
"""Input and output that together are larger are left out of an event."""
REDRIVABLE = ("FAILED", "TIMED_OUT", "ABORTED")


@dataclass
class Execution:
    """One execution and its history. `machine` is the machine as it was when the execution started."""

    arn: str
    name: str
    machine: dict[str, Any]
    input: str
    started: datetime
    history: History
    stop: Signal
    trace: str | None = None
    status: str = "RUNNING"
    ended: datetime | None = None
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    asked: tuple[str | None, str | None] = (None, None)
    """Error and cause that StopExecution gave."""

    def summary(self) -> dict[str, Any]:
        """As ListExecutions shows it."""
        fields = {
            "executionArn": self.arn, "stateMachineArn": self.machine["stateMachineArn"], "name": self.name, "status": self.status,
            "startDate": self.started, "stopDate": self.ended,
        }  # fmt: skip
        return {key: value for key, value in fields.items() if value is not None}

    def described(self) -> dict[str, Any]:
        included = {"included": True}
        again = {"redriveCount": 0, "redriveStatus": "REDRIVABLE" if self.status in REDRIVABLE else "NOT_REDRIVABLE"}
        if self.status not in REDRIVABLE:
            again["redriveStatusReason"] = f"Execution is {self.status} and cannot be redriven"
        fields = self.summary() | again | {
            "input": self.input, "inputDetails": included, "output": self.output, "outputDetails": None if self.output is None else included,
            "error": self.error, "cause": self.cause, "traceHeader": self.trace,
        }  # fmt: skip
        return {key: value for key, value in fields.items() if value is not None}

    def event(self) -> dict[str, Any]:
        """The detail of the status change event.

        Sources: docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html, and localstack's recording of AWS,
        base/test_base.snapshot.json test_event_bridge_events_base.
        """
        names = (
            "executionArn", "stateMachineArn", "name", "status", "startDate", "stopDate", "input", "output", "stateMachineVersionArn",
            "stateMachineAliasArn", "redriveCount", "redriveDate", "redriveStatus", "redriveStatusReason", "inputDetails", "outputDetails", "error",
            "cause",
        )  # fmt: skip
        detail = dict.fromkeys(names) | {name: value for name, value in self.described().items() if name in names}
        output = len((self.output or "").encode())
        if len(self.input.encode()) + output > EVENT_DATA_BYTES:
            detail |= {"input": None, "inputDetails": {"included": False}}
        if output > EVENT_DATA_BYTES:
            detail |= {"output": None, "outputDetails": {"included": False}}
        return detail
