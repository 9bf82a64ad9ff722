"""What a change set would do: the difference of two templates, resource by resource."""

from typing import Any

from localcloud.cloudformation.engine import Target, resource_type
from localcloud.cloudformation.stack import Stack

COMPARED = ("Type", "Properties", "DeletionPolicy", "UpdateReplacePolicy", "Condition", "DependsOn", "Metadata")


def differences(stack: Stack, target: Target) -> list[dict[str, Any]]:
    """Entries of DescribeChangeSet's Changes: Add, Modify, Remove."""
    old, new = stack.template.get("Resources", {}), target.template["Resources"]
    moved = stack.parameters != target.parameters
    changes = [_change("Add", name, spec) for name, spec in new.items() if name not in old]
    changes += [_change("Modify", name, spec, stack, old[name]) for name, spec in new.items() if name in old and (moved or _differs(old[name], spec))]
    return changes + [_change("Remove", name, spec, stack) for name, spec in old.items() if name not in new]


def nothing_to_do(stack: Stack, target: Target, tags: list[dict[str, str]] | None) -> bool:
    """Other tags of the stack are a change too; `tags` None keeps them."""
    same = tags is None or {tag["Key"]: tag["Value"] for tag in tags} == {tag["Key"]: tag["Value"] for tag in stack.tags}
    return same and stack.template == target.template and stack.parameters == target.parameters


def _differs(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return any(old.get(key) != new.get(key) for key in COMPARED)


def _change(action: str, name: str, spec: dict[str, Any], stack: Stack | None = None, old: dict[str, Any] | None = None) -> dict[str, Any]:
    entry: dict[str, Any] = {"Action": action, "LogicalResourceId": name, "ResourceType": spec["Type"], "Scope": [], "Details": []}
    if stack is not None and name in stack.resources:
        entry["PhysicalResourceId"] = stack.resources[name].made.physical_id
    if old is not None:
        before, after = old.get("Properties", {}), spec.get("Properties", {})
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        known = resource_type(spec["Type"])
        replaced = known is not None and (known.update is None or bool(changed & known.replaces))
        entry |= {"Scope": ["Properties"], "Replacement": "True" if replaced else "False"}
        entry["Details"] = [{"Target": {"Attribute": "Properties", "Name": key}, "Evaluation": "Static"} for key in sorted(changed)]
    return {"Type": "Resource", "ResourceChange": entry}
