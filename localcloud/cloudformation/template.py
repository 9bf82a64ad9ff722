"""Templates: reading them, and the order their resources depend on each other."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import yaml

from localcloud.errors import ServiceError

SECTIONS = {
    "AWSTemplateFormatVersion", "Conditions", "Description", "Mappings", "Metadata", "Outputs", "Parameters", "Resources", "Rules",
}  # fmt: skip
RESOURCE_KEYS = {
    "Condition", "DeletionPolicy", "DependsOn", "Metadata", "Properties", "Type", "UpdateReplacePolicy",
}  # fmt: skip
SUB_NAME = re.compile(r"\$\{(?!!)([^}]+)\}")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no stubs here
    """YAML with CloudFormation's short tags."""


def _tag(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tag)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: loader.construct_scalar(node))


def parse(text: str) -> dict[str, Any]:
    """A template from JSON or YAML. Raises ValidationError naming an unknown section."""
    try:
        template = json.loads(text) if text.lstrip().startswith("{") else yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except (ValueError, yaml.YAMLError) as error:
        raise ServiceError("ValidationError", f"Template format error: {error}") from error
    if not isinstance(template, dict) or not template.get("Resources"):
        raise ServiceError("ValidationError", "Template format error: At least one Resources member must be defined.")
    if unknown := set(template) - SECTIONS:
        raise ServiceError("ValidationError", f"Invalid template property or properties [{', '.join(sorted(unknown))}]")
    return template


def references(value: Any) -> Iterator[str]:
    """Every logical id or parameter that a value refers to."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "Ref":
                yield item
            elif name == "Fn::GetAtt":
                yield item[0] if isinstance(item, list) else item.partition(".")[0]
            elif name == "Fn::Sub":
                text, given = (item, {}) if isinstance(item, str) else item
                yield from (found.partition(".")[0] for found in SUB_NAME.findall(text) if found.partition(".")[0] not in given)
                yield from references(given)
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def creation_order(resources: dict[str, Any]) -> list[str]:
    """Logical ids so that each comes after what it refers to or names in DependsOn; the template's order settles ties."""
    graph: dict[str, set[str]] = {}
    for name, resource in resources.items():
        depends = resource.get("DependsOn", [])
        found = {*references(resource.get("Properties", {})), *([depends] if isinstance(depends, str) else depends)}
        graph[name] = {other for other in found if other in resources}
    try:
        sorter = TopologicalSorter(graph)
        sorter.prepare()
    except CycleError as error:
        raise ServiceError("ValidationError", f"Circular dependency between resources: [{', '.join(error.args[1])}]") from error
    place = {name: i for i, name in enumerate(resources)}
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        order += ready
        sorter.done(*ready)
    return order


def deletion_order(resources: Mapping[str, Any], leaving: Collection[str]) -> list[str]:
    """Logical ids so that each comes before what it refers to; what the template does not name goes first."""
    order = [name for name in creation_order(dict(resources)) if name in leaving]
    return [name for name in leaving if name not in order] + order[::-1]
