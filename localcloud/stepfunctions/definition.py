"""Reading a machine's definition: what is not understood is refused when the machine is made, not when it runs."""

import json
from collections.abc import Iterator
from typing import Any

from localcloud.errors import NotSupported, ServiceError
from localcloud.stepfunctions import query

COMMON = {"Type", "Comment", "Next", "End", "Assign", "Output", "QueryLanguage"}
FIELDS: dict[str, set[str]] = {
    "Task": COMMON | {"Resource", "Arguments", "Retry", "Catch", "TimeoutSeconds"},
    "Pass": COMMON,
    "Choice": (COMMON - {"Next", "End"}) | {"Choices", "Default"},
    "Wait": COMMON | {"Seconds"},
    "Succeed": COMMON - {"Next", "End", "Assign"},
    "Fail": {"Type", "Comment", "Error", "Cause", "QueryLanguage"},
    "Map": COMMON | {"Items", "ItemSelector", "ItemProcessor", "MaxConcurrency", "Retry", "Catch"},
    "Parallel": COMMON | {"Arguments", "Branches", "Retry", "Catch"},
}
REQUIRED = {"Task": "Resource", "Choice": "Choices", "Wait": "Seconds", "Map": "ItemProcessor", "Parallel": "Branches"}
TOP = {"Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"}
BRANCH = {"Comment", "StartAt", "States", "ProcessorConfig"}
PARTS = {
    "Retry": {"ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy", "Comment"},
    "Catch": {"ErrorEquals", "Next", "Assign", "Output", "Comment"},
    "Choices": {"Condition", "Next", "Assign", "Output", "Comment"},
}
"""Lists in a state, and what each of their items may have."""


def parse(text: str) -> dict[str, Any]:
    """The definition as a dict. Raises InvalidDefinition naming state and field."""
    try:
        machine: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: 'INVALID_JSON_DESCRIPTION: {error}'") from error
    if machine.get("QueryLanguage") != "JSONata":
        raise NotSupported('state machines in JSONPath: say "QueryLanguage": "JSONata" at the top of the definition')
    if faults := [*_unknown("", machine, TOP), *_check_states(machine, "")]:
        raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: '{'; '.join(faults)}'")
    return machine


def states_in(machine: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every state with its path, in Maps and Parallels too."""
    for name, state in machine.get("States", {}).items():
        yield f"{path}/States/{name}", state
        for where, inner in _inner(state):
            yield from states_in(inner, f"{path}/States/{name}/{where}")


def _inner(state: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "ItemProcessor" in state:
        yield "ItemProcessor", state["ItemProcessor"]
    yield from ((f"Branches[{i}]", branch) for i, branch in enumerate(state.get("Branches", [])))


def _check_states(machine: dict[str, Any], path: str) -> Iterator[str]:
    if missing := [name for name in ("States", "StartAt") if name not in machine]:
        yield f"SCHEMA_VALIDATION_FAILED: These fields are required: [{', '.join(missing)}] at {path}/"
        return
    states = machine["States"]
    if machine["StartAt"] not in states:
        yield f"{path}/StartAt names no state: {machine['StartAt']}"
    reached = {machine["StartAt"]} | {name for state in states.values() for name in _followers(state)}
    for name, state in states.items():
        yield from _check_state(state, f"{path}/States/{name}", states)
        if name not in reached:
            yield f'{path}/States/{name}: MISSING_TRANSITION_TARGET: State "{name}" is not reachable.'


def _followers(state: dict[str, Any]) -> Iterator[str]:
    rules = [rule for part in ("Choices", "Catch") for rule in state.get(part, [])]
    yield from (name for name in (state.get("Next"), state.get("Default"), *(rule.get("Next") for rule in rules)) if name is not None)


def _check_state(state: dict[str, Any], path: str, siblings: dict[str, Any]) -> Iterator[str]:
    kind = state.get("Type", "")
    if kind not in FIELDS:
        yield f"{path}: unknown state type '{kind}'"
        return
    yield from _unknown(path, state, FIELDS[kind])
    if kind in REQUIRED and REQUIRED[kind] not in state:
        yield f"SCHEMA_VALIDATION_FAILED: These fields are required: [{REQUIRED[kind]}] at {path}"
    if state.get("QueryLanguage", "JSONata") != "JSONata":
        yield f"{path}: 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine"
    yield from (f"{path}: no state '{name}'" for name in _followers(state) if name not in siblings)
    if "Next" in FIELDS[kind] and not (state.get("Next") or state.get("End")):
        yield f"{path}: needs Next or End"
    yield from _check_parts(state, path)
    for where, inner in _inner(state):
        yield from _unknown(f"{path}/{where}", inner, BRANCH)
        if inner.get("ProcessorConfig", {"Mode": "INLINE"}) != {"Mode": "INLINE"}:
            yield f"{path}/{where}/ProcessorConfig: only the mode INLINE is supported"
        yield from _check_states(inner, f"{path}/{where}")
    try:
        query.check({name: value for name, value in state.items() if name not in ("ItemProcessor", "Branches")})
    except ValueError as error:
        yield f"{path}: {error}"


def _check_parts(state: dict[str, Any], path: str) -> Iterator[str]:
    for part, known in PARTS.items():
        items = state.get(part, [])
        for i, item in enumerate(items):
            where = f"{path}/{part}[{i}]"
            yield from _unknown(where, item, known)
            yield from (f"{where}/{name}: required" for name in ("ErrorEquals", "Condition") if name in known and name not in item)
            if part != "Retry" and "Next" not in item:
                yield f"{where}/Next: required"
            names = item.get("ErrorEquals", [])
            if "States.ALL" in names and (len(names) > 1 or i + 1 < len(items)):
                yield f"{where}/ErrorEquals: States.ALL must stand alone, in the last {'Retrier' if part == 'Retry' else 'Catcher'}"


def _unknown(path: str, value: dict[str, Any], known: set[str]) -> Iterator[str]:
    yield from (f"{path}/{name}: field not supported" for name in value if name not in known)
