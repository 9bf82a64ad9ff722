"""The Step Functions API: machines, executions, history, and the status events EventBridge gets."""

import json
import logging
import re
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.cloudwatch.meter import Meter
from localcloud.constraints import only
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Service
from localcloud.iam.authorizer import AccessDenied, Authorizer
from localcloud.logs import LogWriter
from localcloud.stepfunctions import integrations
from localcloud.stepfunctions.definition import parse, states_in
from localcloud.stepfunctions.execution import Execution
from localcloud.stepfunctions.failure import StateFailure, Stopped
from localcloud.stepfunctions.history import History, compact
from localcloud.stepfunctions.integrations import Integrations
from localcloud.stepfunctions.interpreter import MAX_DATA_BYTES, Interpreter, Scope, now_iso

log = logging.getLogger("localcloud")

STATES = "states.amazonaws.com"
FORBIDDEN = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]")
"""In names of machines and executions. docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html"""
LOG_DELIVERY = (
    "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery", "logs:ListLogDeliveries",
    "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
)  # fmt: skip
"""What the machine's role needs to log. docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"""
MANAGED_RULES = {
    "arn:aws:states:::sagemaker:createTrainingJob.sync": "StepFunctionsGetEventsForSageMakerTrainingJobsRule",
    "arn:aws:states:::sagemaker:createHyperParameterTuningJob.sync": "StepFunctionsGetEventsForSageMakerTuningJobsRule",
    "arn:aws:states:::sagemaker:createProcessingJob.sync": "StepFunctionsGetEventsForSageMakerProcessingJobsRule",
}
"""The EventBridge rules that AWS makes, with the machine's role, to learn that a job ended.

Sources: docs.aws.amazon.com/step-functions/latest/dg/connect-sagemaker.html and …/sample-hyper-tuning.html
"""
PAGE = 100
METRICS = {"SUCCEEDED": "ExecutionsSucceeded", "FAILED": "ExecutionsFailed", "TIMED_OUT": "ExecutionsTimedOut", "ABORTED": "ExecutionsAborted"}


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
                "DescribeExecution": lambda p: self._execution(_all_of(p, "DescribeExecution")["executionArn"]).described(),
                "DescribeStateMachine": lambda p: self._machine(_all_of(p, "DescribeStateMachine")["stateMachineArn"]),
                "GetExecutionHistory": self.history,
                "ListExecutions": self.list_executions,
                "ListStateMachines": lambda p: _page(p, "stateMachines", list(self._machines.values())),
                "ListTagsForResource": lambda p: {"tags": self._machine(p["resourceArn"])["tags"]},
                "StartExecution": self.start,
                "StopExecution": self.stop,
                "TagResource": self.tag,
                "UntagResource": self.untag,
                "UpdateStateMachine": self.update,
            },
        )

    def stop_all(self) -> None:
        for execution in list(self._executions.values()):
            execution.stop.set()

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        known = ("name", "definition", "roleArn", "type", "loggingConfiguration", "tracingConfiguration", "tags")
        only("CreateStateMachine", {name: value for name, value in p.items() if (name, value) != ("publish", False)}, known)
        if p.get("type", "STANDARD") != "STANDARD":
            raise NotSupported("Express workflows")
        _check_name(p["name"])
        arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{p['name']}"
        machine = {"tracingConfiguration": {"enabled": False}, "tags": [], "type": "STANDARD"} | p
        machine["loggingConfiguration"] = {"level": "OFF", "includeExecutionData": False} | p.get("loggingConfiguration", {})
        if (known_one := self._machines.get(arn)) is not None:
            _check_stays(known_one)
            if all(known_one[name] == machine[name] for name in ("definition", "type", "loggingConfiguration", "tracingConfiguration")):
                return {"stateMachineArn": arn, "creationDate": known_one["creationDate"]}
            raise ServiceError("StateMachineAlreadyExists", f"State Machine Already Exists: '{arn}'")
        self._check(machine)
        self._machines[arn] = machine | {"stateMachineArn": arn, "status": "ACTIVE", "creationDate": self._moment()}
        return {"stateMachineArn": arn, "creationDate": self._machines[arn]["creationDate"]}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        changed = ("definition", "roleArn", "loggingConfiguration", "tracingConfiguration")
        only("UpdateStateMachine", {name: value for name, value in p.items() if (name, value) != ("publish", False)}, ("stateMachineArn", *changed))
        machine = self._machine(p["stateMachineArn"])
        new = {name: p[name] for name in changed if name in p}
        if not new:
            wanted = "Either the definition, the role ARN, the LoggingConfiguration, or the TracingConfiguration must be specified"
            raise ServiceError("MissingRequiredParameter", wanted)
        if "loggingConfiguration" in new:
            new["loggingConfiguration"] = {"level": "OFF", "includeExecutionData": False} | new["loggingConfiguration"]
        self._check(machine | new)
        machine |= new
        return {"updateDate": self._moment()}

    def delete(self, p: dict[str, Any]) -> None:
        """Its executions end at their next wait, and it is gone when they have: docs of DeleteStateMachine."""
        arn = p["stateMachineArn"]
        if arn in self._machines:
            self._machines[arn]["status"] = "DELETING"
            for execution in self._running(arn):
                execution.stop.set()
            self._forget(arn)

    def _forget(self, arn: str) -> None:
        if self._machines.get(arn, {}).get("status") == "DELETING" and not self._running(arn):
            self._machines.pop(arn, None)

    def _running(self, arn: str) -> list[Execution]:
        return [e for e in list(self._executions.values()) if e.machine["stateMachineArn"] == arn and e.status == "RUNNING"]

    def tag(self, p: dict[str, Any]) -> None:
        machine = self._machine(p["resourceArn"])
        keys = {tag["key"] for tag in p["tags"]}
        machine["tags"] = [tag for tag in machine["tags"] if tag["key"] not in keys] + p["tags"]

    def untag(self, p: dict[str, Any]) -> None:
        machine = self._machine(p["resourceArn"])
        machine["tags"] = [tag for tag in machine["tags"] if tag["key"] not in p["tagKeys"]]

    def start(self, p: dict[str, Any]) -> dict[str, Any]:
        machine = dict(self._machine(p["stateMachineArn"]))
        _check_stays(machine)
        name, text = p.get("name") or str(uuid.uuid4()), p.get("input", "{}")
        _check_name(name)
        _check_input(text)
        arn = f"{p['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
        with self._lock:
            known = self._executions.get(arn)
            if known is not None:
                if known.status == "RUNNING" and known.input == text:
                    return {"executionArn": arn, "startDate": known.started}
                raise ServiceError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
            history = History(arn, machine, self._clock, self._logs)
            stop = self._clock.signal()
            execution = self._executions[arn] = Execution(arn, name, machine, text, self._moment(), history, stop, p.get("traceHeader"))
        self._announce(execution)
        self._measure(execution, "ExecutionsStarted")
        threading.Thread(target=self._run, args=(execution,), daemon=True, name=name).start()
        return {"executionArn": arn, "startDate": execution.started}

    def stop(self, p: dict[str, Any]) -> dict[str, Any]:
        """One that has ended stays as it ended."""
        execution = self._execution(p["executionArn"])
        if execution.status == "RUNNING":
            execution.asked = (p.get("error"), p.get("cause"))
            execution.stop.set()
        return {"stopDate": execution.ended or self._moment()}

    def list_executions(self, p: dict[str, Any]) -> dict[str, Any]:
        only("ListExecutions", p, ("stateMachineArn", "statusFilter", "maxResults", "nextToken"))
        machine, status = self._machine(p.get("stateMachineArn", ""))["stateMachineArn"], p.get("statusFilter")
        found = [e for e in reversed(list(self._executions.values())) if e.machine["stateMachineArn"] == machine and status in (None, e.status)]
        return _page(p, "executions", [e.summary() for e in found])

    def history(self, p: dict[str, Any]) -> dict[str, Any]:
        events = self._execution(p["executionArn"]).history.events()
        if p.get("includeExecutionData") is False:
            raise NotSupported("GetExecutionHistory without execution data")
        return _page(p, "events", events[::-1] if p.get("reverseOrder") else events)

    def _run(self, execution: Execution) -> None:
        machine, definition = execution.machine, json.loads(execution.machine["definition"])
        limit = definition.get("TimeoutSeconds")
        deadline = self._clock.now() + limit if limit else None
        record = execution.history.add
        given = json.loads(execution.input)
        record("ExecutionStarted", {"input": given, "roleArn": machine["roleArn"]})
        about = {"Id": execution.arn, "Name": execution.name, "Input": given, "RoleArn": machine["roleArn"], "StartTime": now_iso(self._clock)}
        context = {"Execution": about, "StateMachine": {"Id": machine["stateMachineArn"], "Name": machine["name"]}}
        try:
            acting = self._clients.acting(self._authorizer.acting(machine["roleArn"], STATES, machine["stateMachineArn"]))
            interpreter = Interpreter(Integrations(acting), self._clock, record, execution.stop, deadline)
            output = interpreter.run(definition, given, Scope(context))
            execution.output = compact(output)
            self._end(execution, "SUCCEEDED", {"output": output})
        except StateFailure as failure:
            self._end_badly(execution, "FAILED", failure.error, failure.cause)
        except Stopped as stopped:
            self._end_badly(execution, stopped.status, *(execution.asked if stopped.status == "ABORTED" else (None, None)))
        except ServiceError as error:
            self._end_badly(execution, "FAILED", f"States.{error.code}", str(error))
        except Exception as error:
            log.exception("execution %s failed inside localcloud", execution.arn)
            self._end_badly(execution, "FAILED", "States.Runtime", f"{type(error).__name__}: {error}")

    def _end_badly(self, execution: Execution, status: str, error: str | None, cause: str | None) -> None:
        execution.error, execution.cause = error or None, cause or None
        self._end(execution, status, {"error": execution.error, "cause": execution.cause})

    def _end(self, execution: Execution, status: str, details: dict[str, Any]) -> None:
        execution.ended = self._moment()
        execution.history.add(f"Execution{status.title().replace('_', '')}", details)
        execution.status = status
        self._measure(execution, METRICS[status])
        self._announce(execution)
        self._forget(execution.machine["stateMachineArn"])

    def _check(self, machine: dict[str, Any]) -> None:
        """What AWS looks at before it makes or changes a machine: definition, role and log destination, in its words."""
        definition = parse(machine["definition"])
        resources = set()
        for path, state in states_in(definition):
            if state["Type"] == "Task":
                integrations.check(state["Resource"], state.get("Arguments", {}), path)
                resources.add(state["Resource"])
        self._check_role(machine["roleArn"], resources)
        self._check_logging(machine["roleArn"], machine["loggingConfiguration"])

    def _check_role(self, role: str, resources: set[str]) -> None:
        try:
            self._authorizer.acting(role, STATES)
        except AccessDenied as error:
            message = "Neither the global service principal states.amazonaws.com, nor the regional one is authorized to assume the provided role."
            raise AccessDenied("AccessDeniedException", message) from error
        for resource in sorted(resources & set(MANAGED_RULES)):
            rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{MANAGED_RULES[resource]}"
            if not all([self._authorizer.allows(role, f"events:{action}", rule) for action in ("PutTargets", "PutRule", "DescribeRule")]):  # noqa: C419  # all are recorded
                raise AccessDenied("AccessDeniedException", f"'{role}' is not authorized to create managed-rule.")

    def _check_logging(self, role: str, logging: dict[str, Any]) -> None:
        if logging["level"] == "OFF":
            return
        groups = [d["cloudWatchLogsLogGroup"]["logGroupArn"] for d in logging.get("destinations", []) if "cloudWatchLogsLogGroup" in d]
        if len(groups) != 1:
            raise ServiceError("InvalidLoggingConfiguration", "Invalid Logging Configuration: Must specify exactly one Log Destination.")
        if not all([self._authorizer.allows(role, action, "*") for action in LOG_DELIVERY]):  # noqa: C419  # all are recorded
            raise AccessDenied("AccessDeniedException", "The state machine IAM Role is not authorized to access the Log Destination")
        name = groups[0].removesuffix(":*").partition(":log-group:")[2]
        found = self._clients("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        if not groups[0].endswith(":*") or name not in [group["logGroupName"] for group in found]:
            raise ServiceError("InvalidLoggingConfiguration", "Invalid Logging Configuration: Log Destination not found.")

    def _announce(self, execution: Execution) -> None:
        self._bus.emit("aws.states", "Step Functions Execution Status Change", execution.event(), [execution.arn])

    def _measure(self, execution: Execution, name: str) -> None:
        self._meter("AWS/States", {"StateMachineArn": execution.machine["stateMachineArn"]}, [(name, 1.0, "Count")])

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


def _all_of(p: dict[str, Any], operation: str) -> dict[str, Any]:
    """Descriptions are shown whole."""
    if p.get("includedData", "ALL_DATA") != "ALL_DATA":
        raise NotSupported(f"includedData={p['includedData']} of {operation}")
    return p


def _check_stays(machine: dict[str, Any]) -> None:
    if machine["status"] == "DELETING":
        raise ServiceError("StateMachineDeleting", f"State Machine is being deleted: '{machine['stateMachineArn']}'")


def _check_name(name: str) -> None:
    if FORBIDDEN.search(name) or len(name) > 80:
        raise ServiceError("InvalidName", f"Invalid Name: '{name}'")


def _check_input(text: str) -> None:
    if len(text.encode()) > MAX_DATA_BYTES:
        raise ServiceError("InvalidExecutionInput", "Invalid State Machine Execution Input: 'Input size exceeds 262144 bytes'")
    try:
        json.loads(text)
    except ValueError as error:
        raise ServiceError("InvalidExecutionInput", f"Invalid State Machine Execution Input: '{error}'") from error


def _page(p: dict[str, Any], name: str, found: list[Any]) -> dict[str, Any]:
    """One page; the token is the place of the next. 100 a page unless told, as on AWS."""
    start, size = int(p.get("nextToken") or 0), p.get("maxResults") or PAGE
    page = {name: found[start : start + size]}
    return page | ({"nextToken": str(start + size)} if start + size < len(found) else {})
