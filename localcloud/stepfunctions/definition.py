"""Reading a machine's definition: what is not understood is refused when the machine is made, not when it runs."""

import json
from collections.abc import Iterator
from typing import Any

from localcloud.errors import ServiceError
from localcloud.stepfunctions import query

COMMON = {"Type", "Comment", "Next", "End", "Assign", "Output", "QueryLanguage"}
FIELDS: dict[str, set[str]] = {
    "Task": COMMON | {"Resource", "Arguments", "Retry", "Catch", "TimeoutSeconds"},
    "Pass": COMMON,
    "Choice": (COMMON - {"Next", "End"}) | {"Choices", "Default"},
    "Wait": COMMON | {"Seconds"},
    "Succeed": COMMON - {"Next", "End", "Assign"},
    "Fail": {"Type", "Comment", "Error", "Cause", "QueryLanguage"},
    "Map": COMMON | {"Items", "ItemSelector", "ItemProcessor", "MaxConcurrency", "Retry", "Catch", "TimeoutSeconds"},
    "Parallel": COMMON | {"Branches", "Retry", "Catch", "TimeoutSeconds"},
}
TOP = {"Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"}


def parse(text: str) -> dict[str, Any]:
    """The definition as a dict. Raises InvalidDefinition naming state and field."""
    try:
        machine: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: not JSON: {error}") from error
    if machine.get("QueryLanguage") != "JSONata":
        raise ServiceError("InvalidDefinition", 'localcloud runs machines with "QueryLanguage": "JSONata" only')
    if faults := [*_unknown("", machine, TOP), *_check_states(machine, "")]:
        raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: {'; '.join(faults)}")
    return machine


def _check_states(machine: dict[str, Any], path: str) -> Iterator[str]:
    states = machine.get("States", {})
    if machine.get("StartAt") not in states:
        yield f"{path}/StartAt names no state: {machine.get('StartAt')}"
    for name, state in states.items():
        yield from _check_state(state, f"{path}/States/{name}", states)


def _check_state(state: dict[str, Any], path: str, siblings: dict[str, Any]) -> Iterator[str]:
    kind = state.get("Type", "")
    if kind not in FIELDS:
        yield f"{path}: unknown state type '{kind}'"
        return
    yield from _unknown(path, state, FIELDS[kind])
    followers = [state.get("Next"), state.get("Default"), *(rule.get("Next") for rule in [*state.get("Choices", []), *state.get("Catch", [])])]
    yield from (f"{path}: no state '{name}'" for name in followers if name is not None and name not in siblings)
    if "Next" in FIELDS[kind] and not (state.get("Next") or state.get("End")):
        yield f"{path}: needs Next or End"
    for inner in [state.get("ItemProcessor"), *state.get("Branches", [])]:
        if inner is not None:
            yield from _check_states(inner, path)
    try:
        query.check({name: value for name, value in state.items() if name not in ("ItemProcessor", "Branches")})
    except ValueError as error:
        yield f"{path}: {error}"


def _unknown(path: str, value: dict[str, Any], known: set[str]) -> Iterator[str]:
    yield from (f"{path}/{name}: field not supported" for name in value if name not in known)
