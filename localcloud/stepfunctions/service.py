"""The Step Functions API: machines, executions, history, and the status events EventBridge gets."""

import json
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Service
from localcloud.stepfunctions.definition import parse
from localcloud.stepfunctions.failure import StateFailure, Stopped
from localcloud.stepfunctions.integrations import Integrations
from localcloud.stepfunctions.interpreter import Interpreter, Scope, now_iso

DETAIL_KEYS = {"StateEntered": "stateEnteredEventDetails", "StateExited": "stateExitedEventDetails", "TaskFailed": "taskFailedEventDetails"}
MAX_DATA_BYTES = 256 * 1024


@dataclass
class Execution:
    """One execution and its history."""

    arn: str
    name: str
    machine: str
    input: str
    started: datetime
    status: str = "RUNNING"
    ended: datetime | None = None
    output: str | None = None
    error: str | None = None
    cause: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def described(self) -> dict[str, Any]:
        fields = {
            "executionArn": self.arn, "stateMachineArn": self.machine, "name": self.name, "status": self.status, "startDate": self.started,
            "stopDate": self.ended, "input": self.input, "output": self.output, "error": self.error, "cause": self.cause,
        }  # fmt: skip
        return {key: value for key, value in fields.items() if value is not None}


class StateMachines:
    """All machines and executions of the account."""

    def __init__(self, clients: Clients, bus: EventBus, clock: Clock) -> None:
        self._integrations = Integrations(clients)
        self._bus = bus
        self._clock = clock
        self._clients = clients
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
        parse(p["definition"])
        now = datetime.now(UTC)
        machine = {"loggingConfiguration": {"level": "OFF"}, "tracingConfiguration": {"enabled": False}, "tags": [], "type": "STANDARD"} | p
        self._machines[arn] = machine | {"stateMachineArn": arn, "status": "ACTIVE", "creationDate": now}
        return {"stateMachineArn": arn, "creationDate": now}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        machine = self._machine(p["stateMachineArn"])
        if "definition" in p:
            parse(p["definition"])
        machine |= {k: p[k] for k in ("definition", "roleArn", "loggingConfiguration", "tracingConfiguration") if k in p}
        return {"updateDate": datetime.now(UTC)}

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
            execution = self._executions[arn] = Execution(arn, name, p["stateMachineArn"], text, datetime.now(UTC))
        self._announce(execution)
        threading.Thread(target=self._run, args=(machine, execution), daemon=True, name=name).start()
        return {"executionArn": arn, "startDate": execution.started}

    def stop(self, p: dict[str, Any]) -> dict[str, Any]:
        execution = self._execution(p["executionArn"])
        execution.error, execution.cause = p.get("error"), p.get("cause")
        execution.stop.set()
        return {"stopDate": datetime.now(UTC)}

    def list_executions(self, p: dict[str, Any]) -> dict[str, Any]:
        found = [e.described() for e in reversed(self._executions.values()) if e.machine == p["stateMachineArn"]]
        if status := p.get("statusFilter"):
            found = [e for e in found if e["status"] == status]
        return {"executions": found[: p.get("maxResults") or 1000]}

    def history(self, p: dict[str, Any]) -> dict[str, Any]:
        events = list(self._execution(p["executionArn"]).history)
        return {"events": events[::-1] if p.get("reverseOrder") else events}

    def _run(self, machine: dict[str, Any], execution: Execution) -> None:
        definition = json.loads(machine["definition"])
        limit = definition.get("TimeoutSeconds")
        deadline = self._clock.now() + limit if limit else None
        interpreter = Interpreter(
            self._integrations, self._clock, lambda kind, detail: self._record(execution, kind, detail), execution.stop, deadline
        )
        about = {"Id": execution.arn, "Name": execution.name, "Input": json.loads(execution.input), "RoleArn": machine["roleArn"]}
        about["StartTime"] = now_iso(self._clock)
        context = {"Execution": about, "StateMachine": {"Id": execution.machine, "Name": machine["name"]}}
        self._record(execution, "ExecutionStarted", {})
        try:
            output = interpreter.run(definition, about["Input"], Scope(context))
            execution.output, status = json.dumps(output), "SUCCEEDED"
        except StateFailure as failure:
            execution.error, execution.cause, status = failure.error, failure.cause, "FAILED"
        except Stopped as stopped:
            status = stopped.status
            execution.error, execution.cause = execution.error or stopped.error or None, execution.cause or stopped.cause or None
        execution.ended = datetime.now(UTC)
        self._record(execution, f"Execution{status.title().replace('_', '')}", {})
        execution.status = status
        self._announce(execution)
        self._measure(execution)

    def _record(self, execution: Execution, kind: str, detail: dict[str, Any]) -> None:
        key = next((name for ending, name in DETAIL_KEYS.items() if kind.endswith(ending)), None)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in detail.items()}
        event = {"timestamp": datetime.now(UTC), "type": kind, "id": len(execution.history) + 1, "previousEventId": len(execution.history)}
        execution.history.append(event | ({key: texts} if key else {}))

    def _announce(self, execution: Execution) -> None:
        """Source: docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html"""
        detail = dict.fromkeys(("stopDate", "output", "error", "cause")) | execution.described()
        self._bus.emit("aws.states", "Step Functions Execution Status Change", detail, [execution.arn])

    def _measure(self, execution: Execution) -> None:
        names = {"SUCCEEDED": "ExecutionsSucceeded", "FAILED": "ExecutionsFailed", "TIMED_OUT": "ExecutionsTimedOut", "ABORTED": "ExecutionsAborted"}
        dimensions = [{"Name": "StateMachineArn", "Value": execution.machine}]
        data = [{"MetricName": names[execution.status], "Value": 1.0, "Unit": "Count", "Dimensions": dimensions}]
        self._clients("cloudwatch").put_metric_data(Namespace="AWS/States", MetricData=data)

    def _machine(self, arn: str) -> dict[str, Any]:
        if arn not in self._machines:
            raise ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return self._machines[arn]

    def _execution(self, arn: str) -> Execution:
        if arn not in self._executions:
            raise ServiceError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")
        return self._executions[arn]
