"""The Step Functions API: machines, executions, history, and the status events EventBridge gets."""

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock, Signal
from localcloud.cloudwatch.meter import Meter
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Service
from localcloud.iam.authorizer import AccessDenied, Authorizer
from localcloud.logs import LogWriter
from localcloud.stepfunctions.definition import parse
from localcloud.stepfunctions.failure import StateFailure, Stopped
from localcloud.stepfunctions.history import History
from localcloud.stepfunctions.integrations import Integrations
from localcloud.stepfunctions.interpreter import MAX_DATA_BYTES, Interpreter, Scope, now_iso

STATES = "states.amazonaws.com"
LOG_DELIVERY = (
    "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
    "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
)  # fmt: skip
"""What the machine's role needs to log. docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"""
MANAGED_RULES = {
    "arn:aws:states:::sagemaker:createTrainingJob.sync": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "arn:aws:states:::sagemaker:createProcessingJob.sync": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
}
"""The EventBridge rules that AWS makes, with the machine's role, to learn that a job ended.

Source: docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html
"""


@dataclass
class Execution:
    """One execution and its history."""

    arn: str
    name: str
    machine: str
    input: str
    started: datetime
    history: History
    stop: Signal
    status: str = "RUNNING"
    ended: datetime | None = None
    output: str | None = None
    error: str | None = None
    cause: str | None = None

    def described(self) -> dict[str, Any]:
        fields = {
            "executionArn": self.arn, "stateMachineArn": self.machine, "name": self.name, "status": self.status, "startDate": self.started,
            "stopDate": self.ended, "input": self.input, "output": self.output, "error": self.error, "cause": self.cause,
        }  # fmt: skip
        return {key: value for key, value in fields.items() if value is not None}


class StateMachines:
    """All machines and executions of the account."""

    def __init__(self, clients: Clients, bus: EventBus, clock: Clock, authorizer: Authorizer, logs: LogWriter, meter: Meter) -> None:
        self._bus = bus
        self._clock = clock
        self._clients = clients
        self._authorizer = authorizer
        self._logs = logs
        self._meter = meter
        self._machines: dict[str, dict[str, Any]] = {}
        self._executions: dict[str, Execution] = {}
        self._lock = threading.Lock()

    def service(self) -> Service:
        return Service(
            "stepfunctions",
            {
                "CreateStateMachine": self.create,
                "DeleteStateMachine": self.delete,
                "DescribeExecution": lambda p: self._execution(p["executionArn"]).described(),
                "DescribeStateMachine": lambda p: self._machine(p["stateMachineArn"]),
                "GetExecutionHistory": self.history,
                "ListExecutions": self.list_executions,
                "ListStateMachines": lambda p: {"stateMachines": list(self._machines.values())},
                "ListTagsForResource": lambda p: {"tags": self._machine(p["resourceArn"])["tags"]},
                "StartExecution": self.start,
                "StopExecution": self.stop,
                "TagResource": self.tag,
                "UpdateStateMachine": self.update,
            },
        )

    def stop_all(self) -> None:
        for execution in self._executions.values():
            execution.stop.set()

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        if p.get("type", "STANDARD") != "STANDARD":
            raise NotSupported("Express workflows")
        arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{p['name']}"
        if arn in self._machines:
            raise ServiceError("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
        self._check_role(p["roleArn"], parse(p["definition"]), p.get("loggingConfiguration", {}))
        now = self._moment()
        machine = {"loggingConfiguration": {"level": "OFF"}, "tracingConfiguration": {"enabled": False}, "tags": [], "type": "STANDARD"} | p
        self._machines[arn] = machine | {"stateMachineArn": arn, "status": "ACTIVE", "creationDate": now}
        return {"stateMachineArn": arn, "creationDate": now}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        machine = self._machine(p["stateMachineArn"])
        now = machine | p
        self._check_role(now["roleArn"], parse(now["definition"]), now["loggingConfiguration"])
        machine |= {k: p[k] for k in ("definition", "roleArn", "loggingConfiguration", "tracingConfiguration") if k in p}
        return {"updateDate": self._moment()}

    def delete(self, p: dict[str, Any]) -> None:
        self._machines.pop(p["stateMachineArn"], None)

    def tag(self, p: dict[str, Any]) -> None:
        machine = self._machine(p["resourceArn"])
        keys = {tag["key"] for tag in p["tags"]}
        machine["tags"] = [tag for tag in machine["tags"] if tag["key"] not in keys] + p["tags"]

    def start(self, p: dict[str, Any]) -> dict[str, Any]:
        machine = self._machine(p["stateMachineArn"])
        name, text = p.get("name") or str(uuid.uuid4()), p.get("input", "{}")
        if len(text.encode()) > MAX_DATA_BYTES:
            raise ServiceError("InvalidExecutionInput", "Input size exceeds 256 KB")
        arn = f"{p['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
        with self._lock:
            known = self._executions.get(arn)
            if known is not None:
                if known.status == "RUNNING" and known.input == text:
                    return {"executionArn": arn, "startDate": known.started}
                raise ServiceError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
            history = History(arn, machine, self._clock, self._logs)
            execution = self._executions[arn] = Execution(arn, name, p["stateMachineArn"], text, self._moment(), history, self._clock.signal())
        self._announce(execution)
        threading.Thread(target=self._run, args=(machine, execution), daemon=True, name=name).start()
        return {"executionArn": arn, "startDate": execution.started}

    def stop(self, p: dict[str, Any]) -> dict[str, Any]:
        execution = self._execution(p["executionArn"])
        execution.error, execution.cause = p.get("error"), p.get("cause")
        execution.stop.set()
        return {"stopDate": self._moment()}

    def list_executions(self, p: dict[str, Any]) -> dict[str, Any]:
        found = [e.described() for e in reversed(self._executions.values()) if e.machine == p["stateMachineArn"]]
        if status := p.get("statusFilter"):
            found = [e for e in found if e["status"] == status]
        return {"executions": found[: p.get("maxResults") or 1000]}

    def history(self, p: dict[str, Any]) -> dict[str, Any]:
        events = self._execution(p["executionArn"]).history.events()
        return {"events": events[::-1] if p.get("reverseOrder") else events}

    def _run(self, machine: dict[str, Any], execution: Execution) -> None:
        definition = json.loads(machine["definition"])
        limit = definition.get("TimeoutSeconds")
        deadline = self._clock.now() + limit if limit else None
        record = execution.history.add
        record("ExecutionStarted", {"input": execution.input, "roleArn": machine["roleArn"]})
        about = {"Id": execution.arn, "Name": execution.name, "Input": json.loads(execution.input), "RoleArn": machine["roleArn"]}
        about["StartTime"] = now_iso(self._clock)
        context = {"Execution": about, "StateMachine": {"Id": execution.machine, "Name": machine["name"]}}
        try:
            acting = self._clients.acting(self._authorizer.acting(machine["roleArn"], STATES, execution.machine))
            interpreter = Interpreter(Integrations(acting), self._clock, record, execution.stop, deadline)
            execution.output = json.dumps(interpreter.run(definition, about["Input"], Scope(context)))
            self._end(execution, "SUCCEEDED", {"output": execution.output})
        except StateFailure as failure:
            execution.error, execution.cause = failure.error, failure.cause
            self._end(execution, "FAILED", {"error": failure.error, "cause": failure.cause})
        except ServiceError as error:
            execution.error, execution.cause = f"States.{error.code}", str(error)
            self._end(execution, "FAILED", {"error": execution.error, "cause": execution.cause})
        except Stopped as stopped:
            execution.error, execution.cause = execution.error or stopped.error or None, execution.cause or stopped.cause or None
            self._end(execution, stopped.status, {"error": execution.error or "", "cause": execution.cause or ""})

    def _end(self, execution: Execution, status: str, details: dict[str, Any]) -> None:
        execution.ended = self._moment()
        execution.history.add(f"Execution{status.title().replace('_', '')}", details)
        execution.status = status
        self._announce(execution)
        self._measure(execution)

    def _check_role(self, role: str, definition: dict[str, Any], logging: dict[str, Any]) -> None:
        """What AWS tries with the role before it makes or changes a machine. Raises AccessDeniedException in its words."""
        try:
            self._authorizer.acting(role, STATES)
        except AccessDenied as error:
            message = "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the provided role."
            raise AccessDenied("AccessDeniedException", message) from error
        for resource in sorted(set(_resources(definition)) & set(MANAGED_RULES)):
            rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{MANAGED_RULES[resource]}"
            if not all([self._authorizer.allows(role, f"events:{action}", rule) for action in ("PutTargets", "PutRule", "DescribeRule")]):  # noqa: C419  # all are recorded
                raise AccessDenied("AccessDeniedException", f"'{role}' is not authorized to create managed-rule.")
        if logging.get("level", "OFF") != "OFF" and not all([self._authorizer.allows(role, action, "*") for action in LOG_DELIVERY]):  # noqa: C419
            raise AccessDenied("AccessDeniedException", "The state machine IAM Role is not authorized to access the Log Destination")

    def _announce(self, execution: Execution) -> None:
        """Source: docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html"""
        detail = dict.fromkeys(("stopDate", "output", "error", "cause")) | execution.described()
        self._bus.emit("aws.states", "Step Functions Execution Status Change", detail, [execution.arn])

    def _measure(self, execution: Execution) -> None:
        names = {"SUCCEEDED": "ExecutionsSucceeded", "FAILED": "ExecutionsFailed", "TIMED_OUT": "ExecutionsTimedOut", "ABORTED": "ExecutionsAborted"}
        self._meter("AWS/States", {"StateMachineArn": execution.machine}, [(names[execution.status], 1.0, "Count")])

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _machine(self, arn: str) -> dict[str, Any]:
        if arn not in self._machines:
            raise ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return self._machines[arn]

    def _execution(self, arn: str) -> Execution:
        if arn not in self._executions:
            raise ServiceError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return self._executions[arn]


def _resources(definition: dict[str, Any]) -> Iterator[str]:
    """Every Resource of every Task, in Maps and Parallels too."""
    for state in definition.get("States", {}).values():
        if "Resource" in state:
            yield state["Resource"]
        for inner in [state.get("ItemProcessor"), *state.get("Branches", [])]:
            if inner is not None:
                yield from _resources(inner)
