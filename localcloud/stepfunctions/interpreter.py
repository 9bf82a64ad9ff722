"""The interpreter: one execution, from StartAt to its end. Eight state types, one method each.

Source of the semantics: states-language.net and docs.aws.amazon.com/step-functions/latest/dg/workflow-states.html
"""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from localcloud import REGION
from localcloud.clock import Clock, Signal
from localcloud.stepfunctions.failure import QueryFailure, StateFailure, Stopped
from localcloud.stepfunctions.history import compact
from localcloud.stepfunctions.integrations import Integrations, resource_type
from localcloud.stepfunctions.patience import Either, Patience
from localcloud.stepfunctions.query import Query, kind_of

MAP_THREADS = 40
"""Iterations of an inline Map that run at once. docs.aws.amazon.com/step-functions/latest/dg/state-map-inline.html"""
MAX_DATA_BYTES = 256 * 1024
Record = Callable[[str, dict[str, Any]], int]
Branch = Callable[["Interpreter"], Any]


@dataclass
class Scope:
    """Variables and context of a level: a Map iteration reads its parent's variables and writes its own."""

    context: dict[str, Any]
    variables: dict[str, Any] = field(default_factory=dict)
    assigned: dict[str, Any] = field(default_factory=dict)
    entered: int = 0

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

    def __post_init__(self) -> None:
        self._query = Query(self.clock.now)

    @property
    def pause(self) -> Patience:
        """Waits; raises Stopped when the execution was stopped or ran out of time."""
        patience = Patience(self.clock, self.stop, Stopped("ABORTED"))
        return patience if self.deadline is None else patience.within(self.deadline, Stopped("TIMED_OUT"))

    def run(self, machine: dict[str, Any], value: Any, scope: Scope) -> Any:
        """The output of the machine. Raises StateFailure, or Stopped."""
        name: str | None = machine["StartAt"]
        while name is not None:
            self.pause.check()
            state = machine["States"][name]
            scope.context = scope.context | {"State": {"Name": name, "EnteredTime": now_iso(self.clock), "RetryCount": 0}}
            scope.assigned = {}
            scope.entered = self.record(f"{state['Type']}StateEntered", {"name": name, "input": value})
            following, value = self._enter(state, value, scope)
            check_size(name, value)
            self.record(f"{state['Type']}StateExited", {"name": name, "output": value, "assignedVariables": scope.assigned or None})
            name = following
        return value

    def _enter(self, state: dict[str, Any], value: Any, scope: Scope) -> tuple[str | None, Any]:
        """Run a state with its retries; (next state or None, output)."""
        attempts: dict[int, int] = {}
        while True:
            try:
                with self._told(scope):
                    return self._once(state, value, scope)
            except StateFailure as failure:
                if not self._retries(state, failure, attempts):
                    with self._told(scope):
                        return self._catch(state, value, failure, scope)
                scope.context["State"]["RetryCount"] = sum(attempts.values())

    @contextmanager
    def _told(self, scope: Scope) -> Iterator[None]:
        """A failed expression is an event of its own, and its cause says where it stood."""
        try:
            yield
        except QueryFailure as failure:
            name = scope.context["State"]["Name"]
            cause = f"An error occurred while executing the state '{name}' (entered at the event id #{scope.entered}). {failure.cause}"
            self.record("EvaluationFailed", {"error": failure.error, "cause": cause, "location": failure.field or None, "state": name})
            raise StateFailure(failure.error, cause) from failure

    def _once(self, state: dict[str, Any], value: Any, scope: Scope) -> tuple[str | None, Any]:
        states = {"input": value, "context": scope.context}
        match state["Type"]:
            case "Choice":
                return self._choice(state, value, scope, states)
            case "Fail":
                words = {name: self._expect("string", state[name], scope, states, name) for name in ("Error", "Cause") if name in state}
                raise StateFailure(words.get("Error", ""), words.get("Cause", ""))
            case "Task":
                states["result"] = self._task(state, scope, states)
            case "Map":
                states["result"] = self._noted("Map", scope, lambda: self._map(state, scope, states))
            case "Parallel":
                states["result"] = self._noted("Parallel", scope, lambda: self._parallel(state, value, scope, states))
            case "Wait":
                self.pause(float(self._expect("number", state["Seconds"], scope, states, "Seconds")))
        return (None if state.get("End") else state.get("Next")), self._leave(state, states.get("result", value), scope, states)

    def _evaluate(self, value: Any, scope: Scope, states: dict[str, Any], place: str) -> Any:
        return self._query.evaluate(value, scope.variables, states, place)

    def _expect(self, kind: str, value: Any, scope: Scope, states: dict[str, Any], place: str) -> Any:
        return self._query.expect(kind, value, scope.variables, states, place)

    def _leave(self, state: dict[str, Any], default: Any, scope: Scope, states: dict[str, Any]) -> Any:
        """Output and Assign see the same variables: assignments count from the next state on."""
        output = self._evaluate(state["Output"], scope, states, "Output") if "Output" in state else default
        scope.assigned = {name: self._evaluate(item, scope, states, f"Assign/{name}") for name, item in state.get("Assign", {}).items()}
        scope.variables |= scope.assigned
        return output

    def _choice(self, state: dict[str, Any], value: Any, scope: Scope, states: dict[str, Any]) -> tuple[str, Any]:
        for i, rule in enumerate(state["Choices"]):
            if self._expect("boolean", rule["Condition"], scope, states, f"Choices[{i}]/Condition"):
                return rule["Next"], self._leave(rule, value, scope, states)
        if "Default" not in state:
            raise StateFailure("States.NoChoiceMatched", "no Choice rule matched and there is no Default")
        return state["Default"], self._leave(state, value, scope, states)

    def _task(self, state: dict[str, Any], scope: Scope, states: dict[str, Any]) -> Any:
        arguments = self._evaluate(state.get("Arguments", {}), scope, states, "Arguments")
        pause, limit = self.pause, None
        if "TimeoutSeconds" in state:
            limit = self._expect("number", state["TimeoutSeconds"], scope, states, "TimeoutSeconds")
            pause = pause.within(self.clock.now() + float(limit), StateFailure("States.Timeout", ""))
        about = {"resource": state["Resource"].rpartition(":")[2], "resourceType": resource_type(state["Resource"])}
        self.record("TaskScheduled", about | {"region": REGION, "timeoutInSeconds": limit, "parameters": arguments})
        self.record("TaskStarted", about)
        try:
            result = self.integrations.call(state["Resource"], arguments, pause)
            check_size(about["resourceType"], result)
        except StateFailure as failure:
            kind = "TaskTimedOut" if failure.error == "States.Timeout" else "TaskFailed"
            self.record(kind, about | {"error": failure.error, "cause": failure.cause or None})
            raise
        self.record("TaskSucceeded", about | {"output": result})
        return result

    def _noted(self, kind: str, scope: Scope, work: Callable[[], list[Any]]) -> list[Any]:
        """A Map's or Parallel's own events."""
        try:
            with self._told(scope):
                result = work()
        except StateFailure:
            self.record(f"{kind}StateFailed", {})
            raise
        self.record(f"{kind}StateSucceeded", {})
        return result

    def _map(self, state: dict[str, Any], scope: Scope, states: dict[str, Any]) -> list[Any]:
        items = self._items(state, scope, states)
        limit = int(self._expect("number", state.get("MaxConcurrency", 0), scope, states, "MaxConcurrency"))
        self.record("MapStateStarted", {"length": len(items)})
        name = scope.context["State"]["Name"]

        def branch(index: int, item: Any) -> Branch:
            def iteration(self: Interpreter) -> Any:
                self.record("MapIterationStarted", {"index": index, "name": name})
                inner = scope.inner(Map={"Item": {"Index": index, "Value": item}})
                inputs = {"input": states["input"], "context": inner.context}
                try:
                    value = self._evaluate(state["ItemSelector"], inner, inputs, "ItemSelector") if "ItemSelector" in state else item
                    result = self.run(state["ItemProcessor"], value, inner)
                except (StateFailure, Stopped) as error:
                    self.record(f"MapIteration{'Failed' if isinstance(error, StateFailure) else 'Aborted'}", {"index": index, "name": name})
                    raise
                self.record("MapIterationSucceeded", {"index": index, "name": name})
                return result

            return iteration

        return self._all([branch(i, item) for i, item in enumerate(items)], min(limit or MAP_THREADS, MAP_THREADS))

    def _items(self, state: dict[str, Any], scope: Scope, states: dict[str, Any]) -> list[Any]:
        if "Items" in state:
            items: list[Any] = self._expect("array", state["Items"], scope, states, "Items")
            return items
        if kind_of(states["input"]) != "array":
            raise QueryFailure(f"Map state input must be an array but was: {compact(states['input'])}", "")
        return list(states["input"])

    def _parallel(self, state: dict[str, Any], value: Any, scope: Scope, states: dict[str, Any]) -> list[Any]:
        given = self._evaluate(state["Arguments"], scope, states, "Arguments") if "Arguments" in state else value
        self.record("ParallelStateStarted", {})

        def branch(machine: dict[str, Any]) -> Branch:
            return lambda inner: inner.run(machine, given, scope.inner())

        return self._all([branch(machine) for machine in state["Branches"]], len(state["Branches"]))

    def _all(self, branches: list[Branch], at_once: int) -> list[Any]:
        """The results in order; when one branch fails, the others are stopped."""
        halt = self.clock.signal()
        inner = replace(self, stop=Either(self.stop, halt))
        with ThreadPoolExecutor(max(1, at_once)) as pool:
            running: list[Future[Any]] = [pool.submit(copy_context().run, branch, inner) for branch in branches]
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            if failures := [error for future in done if (error := future.exception()) is not None]:
                halt.set()
                for future in running:
                    future.cancel()
                raise next((error for error in failures if isinstance(error, StateFailure)), failures[0])
            return [future.result() for future in running]

    def _retries(self, state: dict[str, Any], failure: StateFailure, attempts: dict[int, int]) -> bool:
        """Wait and say True when a Retrier takes the failure and has an attempt left."""
        for number, retrier in enumerate(state.get("Retry", [])):
            if failure.matches(retrier["ErrorEquals"]):
                done = attempts.get(number, 0)
                if done >= retrier.get("MaxAttempts", 3):
                    return False
                attempts[number] = done + 1
                seconds = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** done
                seconds = min(seconds, retrier.get("MaxDelaySeconds", seconds))
                self.pause(random.uniform(0, seconds) if retrier.get("JitterStrategy") == "FULL" else seconds)  # noqa: S311  # jitter
                return True
        return False

    def _catch(self, state: dict[str, Any], value: Any, failure: StateFailure, scope: Scope) -> tuple[str, Any]:
        for catcher in state.get("Catch", []):
            if failure.matches(catcher["ErrorEquals"]):
                error = {"Error": failure.error, "Cause": failure.cause}
                states = {"input": value, "context": scope.context, "errorOutput": error}
                return catcher["Next"], self._leave(catcher, error, scope, states)
        raise failure


def check_size(name: str, value: Any) -> None:
    """Source: docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""
    if len(compact(value).encode(errors="surrogatepass")) > MAX_DATA_BYTES:
        cause = f"The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
        raise StateFailure("States.DataLimitExceeded", cause)


def now_iso(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
