"""Intrinsic functions: the values of a template's properties, conditions and outputs.

Source: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.template import SUB_NAME
from localcloud.errors import ServiceError

NO_VALUE = object()


class Resolver:
    """Resolves values against parameters, conditions, mappings, exports, and the resources made so far."""

    def __init__(
        self,
        template: Mapping[str, Any],
        parameters: Mapping[str, Any],
        pseudo: Mapping[str, Any],
        physical: Callable[[str], Any],
        attribute: Callable[[str, str], Any],
        exports: Callable[[str], Any],
    ) -> None:
        self._template = template
        self._parameters = parameters
        self._pseudo = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", **pseudo}
        self._physical = physical
        self._attribute = attribute
        self._exports = exports
        self._conditions: dict[str, bool] = {}

    def value(self, value: Any) -> Any:
        """The value with every function applied; members that are AWS::NoValue are left out."""
        if isinstance(value, list):
            return [item for item in (self.value(item) for item in value) if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name == "Ref":
                return self._ref(argument)
            if name == "Condition" and isinstance(argument, str):
                return self.condition(argument)
            if name.startswith("Fn::"):
                return self._call(name, argument)
        resolved = {name: self.value(item) for name, item in value.items()}
        return {name: item for name, item in resolved.items() if item is not NO_VALUE}

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            self._conditions[name] = bool(self.value(self._template["Conditions"][name]))
        return self._conditions[name]

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            return self._parameters[name]
        return self._physical(name)

    def _call(self, name: str, argument: Any) -> Any:
        function = getattr(self, f"_{name.removeprefix('Fn::').lower()}", None)
        if function is None:
            raise ServiceError("ValidationError", f"Template error: localcloud does not know the function {name}")
        return function(argument)

    def _getatt(self, argument: Any) -> Any:
        logical, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
        return self._attribute(logical, self.value(attribute))

    def _sub(self, argument: Any) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument
        named = {name: self.value(item) for name, item in given.items()}

        def replace(match: Any) -> str:
            name = match[1]
            if name in named:
                return text_of(named[name])
            return text_of(self._getatt(name) if "." in name else self._ref(name))

        return SUB_NAME.sub(replace, text).replace("${!", "${")

    def _join(self, argument: Any) -> str:
        separator, items = argument
        return str(separator).join(text_of(item) for item in self.value(items))

    def _select(self, argument: Any) -> Any:
        index, items = self.value(argument)
        return items[int(index)]

    def _split(self, argument: Any) -> list[str]:
        separator, text = self.value(argument)
        return str(text).split(separator)

    def _if(self, argument: Any) -> Any:
        name, yes, no = argument
        return self.value(yes if self.condition(name) else no)

    def _equals(self, argument: Any) -> bool:
        left, right = self.value(argument)
        return text_of(left) == text_of(right)

    def _and(self, argument: Any) -> bool:
        return all(self.value(argument))

    def _or(self, argument: Any) -> bool:
        return any(self.value(argument))

    def _not(self, argument: Any) -> bool:
        return not self.value(argument)[0]

    def _contains(self, argument: Any) -> bool:
        items, item = self.value(argument)
        return item in items

    def _findinmap(self, argument: Any) -> Any:
        name, top, second = self.value(argument)
        return self.value(self._template["Mappings"][name][top][second])

    def _importvalue(self, argument: Any) -> Any:
        return self._exports(str(self.value(argument)))

    def _base64(self, argument: Any) -> str:
        return base64.b64encode(str(self.value(argument)).encode()).decode()


def text_of(value: Any) -> str:
    """A scalar as CloudFormation writes it: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)
