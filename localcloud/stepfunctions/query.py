"""JSONata in a state: `{% … %}` strings anywhere in a value, over `$states` and the machine's variables.

Source: docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

import uuid
from collections.abc import Callable
from typing import Any

from jsonata import JException, Jsonata, Utils

from localcloud.stepfunctions.failure import StateFailure

UNSUPPORTED = ("eval",)
"""JSONata functions that Step Functions leaves out; it adds $uuid. Other additions of its are refused like any unknown function."""


def evaluate(value: Any, variables: dict[str, Any], states: dict[str, Any]) -> Any:
    """The value with every `{% … %}` replaced by its result.

    Raises States.QueryEvaluationError for a fault in an expression, or one that gives nothing: AWS refuses undefined.
    """
    if isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
        return _run(value[2:-2].strip(), variables, states)
    if isinstance(value, dict):
        return {name: evaluate(item, variables, states) for name, item in value.items()}
    if isinstance(value, list):
        return [evaluate(item, variables, states) for item in value]
    return value


def check(value: Any) -> None:
    """Parse every expression in a value. Raises ValueError naming the one that does not parse."""
    if isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
        try:
            Jsonata(value[2:-2].strip())
        except JException as error:
            raise ValueError(f"{value}: {error}") from error
    elif isinstance(value, dict):
        for item in value.values():
            check(item)
    elif isinstance(value, list):
        for item in value:
            check(item)


def _run(expression: str, variables: dict[str, Any], states: dict[str, Any]) -> Any:
    try:
        program = Jsonata(expression)
        program.set_output_convert_nulls(False)
        program.register_lambda("uuid", lambda: str(uuid.uuid4()))
        for name in UNSUPPORTED:
            program.register_lambda(name, _refusing(name))
        frame = program.create_frame()
        for name, value in (variables | {"states": states}).items():
            frame.bind(name, _nulls_in(value))
        result = program.evaluate(None, frame)
    except JException as error:
        raise StateFailure("States.QueryEvaluationError", f"The JSONata expression '{expression}' failed: {error}") from error
    if result is None:
        raise StateFailure("States.QueryEvaluationError", f"The JSONata expression '{expression}' returned nothing (undefined)")
    return _nulls_out(result)


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise StateFailure("States.QueryEvaluationError", f"the function ${name} is not supported by Step Functions")

    return refuse


def _nulls_in(value: Any) -> Any:
    """JSON null is a value; python's None means undefined to jsonata-python."""
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {name: _nulls_in(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_nulls_in(item) for item in value]
    return value


def _nulls_out(value: Any) -> Any:
    if value is Utils.NULL_VALUE or value is None:
        return None
    if isinstance(value, dict):
        return {str(name): _nulls_out(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_nulls_out(item) for item in value]
    if isinstance(value, bool | int | float | str):
        return value
    raise StateFailure("States.QueryEvaluationError", f"an expression returned a {type(value).__name__}, which is no JSON value")
