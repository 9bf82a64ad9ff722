"""JSONata in a state: `{% … %}` strings anywhere in a value, over `$states` and the machine's variables.

The words of the causes are AWS's, as localstack recorded them (scenarios/test_base_scenarios.snapshot.json and
assign/test_assign_reference_variables.snapshot.json). Source: docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
"""

import json
from collections.abc import Callable
from typing import Any

from jsonata import JException, Jsonata, Utils

from localcloud.stepfunctions.failure import QueryFailure
from localcloud.stepfunctions.library import library, nulls_in

NEWER = ("??", "?:")
"""Operators of JSONata 2.1; Step Functions has 2.0.6."""
Places = dict[str, Any]


class Query:
    """Evaluates what stands in a state. `now`: the clock that $now and $millis read."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def evaluate(self, value: Any, variables: Places, states: Places, field: str) -> Any:
        """The value with every `{% … %}` replaced by its result.

        Raises QueryFailure for a fault in an expression, or one that gives nothing: AWS refuses undefined.
        """
        if is_expression(value):
            return self._run(_text(value), variables, states, field)
        if isinstance(value, dict):
            return {name: self.evaluate(item, variables, states, f"{field}/{name}") for name, item in value.items()}
        if isinstance(value, list):
            return [self.evaluate(item, variables, states, f"{field}[{i}]") for i, item in enumerate(value)]
        return value

    def expect(self, kind: str, value: Any, variables: Places, states: Places, field: str) -> Any:
        """Like evaluate, for a field that takes one type only: array, boolean, number, string or object."""
        result = self.evaluate(value, variables, states, field)
        if kind_of(result) != kind:
            shown, was = json.dumps(result, ensure_ascii=False, separators=(",", ":")), kind_of(result)
            what = f"The JSONata expression '{_text(value) if is_expression(value) else value}' specified for the field '{field}'"
            raise QueryFailure(f"{what} returned an unexpected result type. Expected '{kind}', but was '{was}' for value: {shown}", field)
        return result

    def _run(self, expression: str, variables: Places, states: Places, field: str) -> Any:
        what = f"The JSONata expression '{expression}' specified for the field '{field}'"
        try:
            program = _parsed(expression)
            program.set_output_convert_nulls(False)
            for name, function in library(self._now()).items():
                program.register_lambda(name, function)
            program.assign("eval", None)  # JSONata has it, Step Functions leaves it out
            frame = program.create_frame()
            for name, value in (variables | {"states": states}).items():
                frame.bind(name, nulls_in(value))
            result = program.evaluate(None, frame)
        except JException as error:
            raise QueryFailure(f"{what} threw an error during evaluation. {error.error}: {error}", field) from error
        except Exception as error:  # the library and functions of it fail with whatever python has
            raise QueryFailure(f"{what} threw an error during evaluation. {error}", field) from error
        if result is None:
            raise QueryFailure(f"{what} returned nothing (undefined).", field)
        return _nulls_out(result, what, field)


def kind_of(value: Any) -> str:
    """JSONata's $type."""
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return next((kind for type_, kind in kinds.items() if isinstance(value, type_)), "function")


def is_expression(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def check(value: Any) -> None:
    """Parse every expression in a value. Raises ValueError naming the one that does not parse."""
    if is_expression(value):
        try:
            _parsed(_text(value))
        except JException as error:
            raise ValueError(f"{value}: {error}") from error
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check(item)


def _text(value: str) -> str:
    return value[2:-2].strip()


def _parsed(expression: str) -> Any:
    """The parser is one a thread; the operators it knows too many of are taken out of its table."""
    for operator in NEWER:
        Jsonata.get_parser().symbol_table[operator] = None  # as for any operator it does not know
    return Jsonata(expression)


def _nulls_out(value: Any, what: str, field: str) -> Any:
    if value is Utils.NULL_VALUE or value is None:
        return None
    if isinstance(value, dict):
        return {str(name): _nulls_out(item, what, field) for name, item in value.items()}
    if isinstance(value, list):
        return [_nulls_out(item, what, field) for item in value]
    if isinstance(value, bool | int | float | str):
        return value
    raise QueryFailure(f"{what} returned an unsupported result type.", field)
