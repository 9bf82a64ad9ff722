"""The interpreter: one execution, from StartAt to its end. Eight state types, one method each.

Source of the semantics: states-language.net and docs.aws.amazon.com/step-functions/latest/dg/workflow-states.html
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localcloud.clock import Clock, Signal
from localcloud.stepfunctions import query
from localcloud.stepfunctions.failure import StateFailure, Stopped
from localcloud.stepfunctions.integrations import Integrations

MAP_THREADS = 16
MAX_DATA_BYTES = 256 * 1024
Record = Callable[[str, dict[str, Any]], None]


@dataclass
class Scope:
    """Variables and context of a level: a Map iteration reads its parent's variables and writes its own."""

    context: dict[str, Any]
    variables: dict[str, Any] = field(default_factory=dict)

    def inner(self, **context: Any) -> "Scope":
        return Scope(self.context | context, dict(self.variables))


@dataclass
class Interpreter:
    """Runs one execution. `record` takes history events; `stop` ends it from outside."""

    integrations: Integrations
    clock: Clock
    record: Record
    stop: Signal
    deadline: float | None = None

    def run(self, machine: dict[str, Any], value: Any, scope: Scope) -> Any:
        """The output of the machine. Raises StateFailure, or Stopped."""
        name: str | None = machine["StartAt"]
        while name is not None:
            self._check_stopped()
            state = machine["States"][name]
            scope.context = scope.context | {"State": {"Name": name, "EnteredTime": now_iso(self.clock), "RetryCount": 0}}
            self.record(f"{state['Type']}StateEntered", {"name": name, "input": value})
            following, value = self._enter(state, value, scope)
            _check_size(name, value)
            if state["Type"] != "Fail":
                self.record(f"{state['Type']}StateExited", {"name": name, "output": value})
            name = following
        return value

    def _enter(self, state: dict[str, Any], value: Any, scope: Scope) -> tuple[str | None, Any]:
        """Run a state with its retries; (next state or None, output)."""
        attempts: dict[int, int] = {}
        while True:
            try:
                return self._once(state, value, scope)
            except StateFailure as failure:
                if not self._retries(state, failure, attempts):
                    return self._catch(state, value, failure, scope)
                scope.context["State"]["RetryCount"] = sum(attempts.values())

    def _once(self, state: dict[str, Any], value: Any, scope: Scope) -> tuple[str | None, Any]:
        states = {"input": value, "context": scope.context}
        match state["Type"]:
            case "Choice":
                return self._choice(state, value, scope, states)
            case "Fail":
                fields = {name: query.evaluate(state.get(name, ""), scope.variables, states) for name in ("Error", "Cause")}
                raise StateFailure(str(fields["Error"]), str(fields["Cause"]))
            case "Task":
                states["result"] = self._task(state, scope, states)
            case "Map":
                states["result"] = self._map(state, scope, states)
            case "Parallel":
                states["result"] = self._parallel(state, value, scope)
            case "Wait":
                self.pause(float(query.evaluate(state["Seconds"], scope.variables, states)))
        return (None if state.get("End") else state.get("Next")), self._leave(state, value, scope, states)

    def _leave(self, state: dict[str, Any], value: Any, scope: Scope, states: dict[str, Any]) -> Any:
        """Output and Assign see the same variables: assignments count from the next state on."""
        output = query.evaluate(state["Output"], scope.variables, states) if "Output" in state else states.get("result", value)
        scope.variables |= {name: query.evaluate(item, scope.variables, states) for name, item in state.get("Assign", {}).items()}
        return output

    def _choice(self, state: dict[str, Any], value: Any, scope: Scope, states: dict[str, Any]) -> tuple[str, Any]:
        for rule in state["Choices"]:
            verdict = query.evaluate(rule["Condition"], scope.variables, states)
            if not isinstance(verdict, bool):
                raise StateFailure("States.QueryEvaluationError", f"Condition {rule['Condition']} gave {verdict!r}, not a boolean")
            if verdict:
                return rule["Next"], self._leave(rule, value, scope, states)
        if "Default" not in state:
            raise StateFailure("States.NoChoiceMatched", "no Choice rule matched and there is no Default")
        return state["Default"], self._leave(state, value, scope, states)

    def _task(self, state: dict[str, Any], scope: Scope, states: dict[str, Any]) -> Any:
        arguments = query.evaluate(state.get("Arguments", {}), scope.variables, states)
        limit = state.get("TimeoutSeconds")
        ends = self.clock.now() + float(query.evaluate(limit, scope.variables, states)) if limit is not None else None

        def pause(seconds: float) -> None:
            self.pause(seconds)
            if ends is not None and self.clock.now() > ends:
                raise StateFailure("States.Timeout", f"the task did not end within {limit} s")

        resource = {"resource": state["Resource"].rpartition(":")[2], "resourceType": state["Resource"].split(":")[-2]}
        self.record("TaskScheduled", resource | {"parameters": arguments})
        try:
            result = self.integrations.call(state["Resource"], arguments, pause)
        except StateFailure as failure:
            kind = "TaskTimedOut" if failure.error == "States.Timeout" else "TaskFailed"
            self.record(kind, resource | {"error": failure.error, "cause": failure.cause})
            raise
        _check_size(state["Resource"], result)
        self.record("TaskSucceeded", resource | {"output": result})
        return result

    def _map(self, state: dict[str, Any], scope: Scope, states: dict[str, Any]) -> list[Any]:
        items = query.evaluate(state.get("Items", "{% $states.input %}"), scope.variables, states)
        if not isinstance(items, list):
            raise StateFailure("States.QueryEvaluationError", f"Items gave a {type(items).__name__}, not an array")

        def iteration(index: int, item: Any) -> Any:
            inner = scope.inner(Map={"Item": {"Index": index, "Value": item}})
            inputs = {"input": states["input"], "context": inner.context}
            value = query.evaluate(state["ItemSelector"], inner.variables, inputs) if "ItemSelector" in state else item
            return self.run(state["ItemProcessor"], value, inner)

        with ThreadPoolExecutor(min(state.get("MaxConcurrency") or MAP_THREADS, MAP_THREADS)) as pool:
            return [done.result() for done in [pool.submit(iteration, i, item) for i, item in enumerate(items)]]

    def _parallel(self, state: dict[str, Any], value: Any, scope: Scope) -> list[Any]:
        with ThreadPoolExecutor(len(state["Branches"])) as pool:
            return [done.result() for done in [pool.submit(self.run, branch, value, scope.inner()) for branch in state["Branches"]]]

    def _retries(self, state: dict[str, Any], failure: StateFailure, attempts: dict[int, int]) -> bool:
        """Wait and say True when a Retrier takes the failure and has an attempt left."""
        for number, retrier in enumerate(state.get("Retry", [])):
            if failure.matches(retrier["ErrorEquals"]):
                done = attempts.get(number, 0)
                if done >= retrier.get("MaxAttempts", 3):
                    return False
                attempts[number] = done + 1
                wait = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** done
                self.pause(min(wait, retrier.get("MaxDelaySeconds", wait)))
                return True
        return False

    def _catch(self, state: dict[str, Any], value: Any, failure: StateFailure, scope: Scope) -> tuple[str, Any]:
        for catcher in state.get("Catch", []):
            if failure.matches(catcher["ErrorEquals"]):
                error = {"Error": failure.error, "Cause": failure.cause}
                states = {"input": value, "context": scope.context, "errorOutput": error, "result": error}
                return catcher["Next"], self._leave(catcher, error, scope, states)
        raise failure

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopped when the execution was stopped or ran out of time."""
        self.clock.wait(seconds, until=self.stop)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self.stop.is_set():
            raise Stopped("ABORTED", "", "")
        if self.deadline is not None and self.clock.now() > self.deadline:
            raise Stopped("TIMED_OUT", "States.Timeout", "the machine's TimeoutSeconds passed")


def _check_size(name: str, value: Any) -> None:
    """Source: docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
    if len(json.dumps(value).encode()) > MAX_DATA_BYTES:
        cause = f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
        raise StateFailure("States.DataLimitExceeded", cause)


def now_iso(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
