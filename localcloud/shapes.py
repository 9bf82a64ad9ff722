"""Values as API arguments, checked and coerced by botocore's shapes: CloudFormation properties and Step Functions arguments."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import Shape

from localcloud.models import service_model


@cache
def input_shape(service: str, operation: str) -> Shape:
    return service_model(service).operation_model(operation).input_shape


def members(shape: Shape) -> dict[str, tuple[str, Shape]]:
    """Members by lower-case name: CloudFormation and the APIs differ in capitals."""
    return {name.lower(): (name, member) for name, member in shape.members.items()}


def coerce(shape: Shape, value: Any) -> Any:
    """The value in the wire's types: names in the API's capitals, "5" → 5, policy documents → JSON text, tag lists → maps."""
    match shape.type_name:
        case "structure":
            known: Any = members(shape)
            return {known[name.lower()][0]: coerce(known[name.lower()][1], item) for name, item in value.items() if name.lower() in known}
        case "list":
            if isinstance(value, dict) and set(getattr(shape.member, "members", ())) == {"Key", "Value"}:
                value = [{"Key": name, "Value": item} for name, item in value.items()]
            return [coerce(shape.member, item) for item in (value if isinstance(value, list) else [value])]
        case "map":
            pairs = {item["Key"]: item["Value"] for item in value} if isinstance(value, list) else value
            return {name: coerce(shape.value, item) for name, item in pairs.items()}
        case "string":
            if isinstance(value, bool):
                return str(value).lower()
            return json.dumps(value) if isinstance(value, dict | list) else str(value)
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case "boolean":
            return value if isinstance(value, bool) else str(value).lower() == "true"
        case "blob":
            return value.encode() if isinstance(value, str) else value
    return value


def unknown(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Paths in an unresolved value that the shape has no member for. What an intrinsic function will give is not looked into."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)).startswith(("Fn::", "Ref")):
        for branch in value.get("Fn::If", [None])[1:]:
            yield from unknown(shape, branch, path)
        return
    if shape.type_name == "structure" and isinstance(value, dict):
        known: Any = members(shape)
        for name, item in value.items():
            if name.lower() not in known:
                yield f"{path}.{name}"
            else:
                yield from unknown(known[name.lower()][1], item, f"{path}.{name}")
    elif shape.type_name == "list" and isinstance(value, list):
        for i, item in enumerate(value):
            yield from unknown(shape.member, item, f"{path}[{i}]")


def pascal(shape: Shape | None, value: Any) -> Any:
    """A result with member names in PascalCase, as Step Functions shows them; keys of maps stay as they are."""
    if shape is None:
        return value
    if shape.type_name == "structure" and isinstance(value, dict):
        return {name[0].upper() + name[1:]: pascal(shape.members.get(name), item) for name, item in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [pascal(shape.member, item) for item in value]
    return value
