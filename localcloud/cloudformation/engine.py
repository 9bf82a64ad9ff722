"""The engine: make a stack's resources what a template says, or put everything back."""

import logging
from collections.abc import Callable, Iterator, Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.exceptions import ClientError

from localcloud.clients import Clients
from localcloud.cloudformation.custom import custom_type
from localcloud.cloudformation.intrinsics import Resolver, text_of
from localcloud.cloudformation.stack import Resource, Stack
from localcloud.cloudformation.template import RESOURCE_KEYS, creation_order, deletion_order, references
from localcloud.cloudformation.types import KNOWN
from localcloud.cloudformation.types.base import Context, Made, ResourceType
from localcloud.errors import ServiceError

log = logging.getLogger("localcloud")


POLICIES = ("Delete", "Retain", "RetainExceptOnCreate")


class ResourceFailed(Exception):
    """A resource could not be made, changed or deleted."""


@dataclass(frozen=True)
class Target:
    """What a stack is to become."""

    text: str
    template: dict[str, Any]
    parameters: dict[str, str]


def resource_type(name: str) -> ResourceType | None:
    if name.startswith("Custom::") or name == "AWS::CloudFormation::CustomResource":
        return custom_type(name)
    return KNOWN.get(name)


def check_known(template: Mapping[str, Any]) -> None:
    """Refuse a template that names a type, property or attribute localcloud does not know, all faults in one message."""
    faults = []
    for logical_id, resource in template["Resources"].items():
        path = f"Resources.{logical_id}"
        faults += [f"{path}.{key}: unknown" for key in resource if key not in RESOURCE_KEYS]
        kind = resource_type(resource.get("Type", ""))
        if kind is None:
            faults.append(f"{path}: resource type {resource.get('Type')} is not known to localcloud")
        else:
            unknown = kind.unknown_properties(resource.get("Properties", {}))
            faults += [f"{path}.{place}: property not known to localcloud for {resource['Type']}" for place in unknown]
    faults += _dangling(template)
    if faults:
        raise ServiceError("ValidationError", "; ".join(faults))


def _dangling(template: Mapping[str, Any]) -> Iterator[str]:
    """References and dependencies that lead nowhere, and policies that do not exist."""
    resources = template["Resources"]
    known = {*resources, *template.get("Parameters", {})}
    places = {f"Resources.{name}": resource for name, resource in resources.items()}
    places |= {f"Outputs.{name}": output for name, output in template.get("Outputs", {}).items()}
    for place, body in places.items():
        depends = body.get("DependsOn", [])
        named = {name for name in references(body) if isinstance(name, str) and not name.startswith("AWS::")}
        yield from (f"{place}: unresolved reference {name}" for name in sorted(named - known))
        missing = {*([depends] if isinstance(depends, str) else depends)} - set(resources)
        yield from (f"{place}.DependsOn: no resource {name}" for name in sorted(missing))
        for key in ("DeletionPolicy", "UpdateReplacePolicy"):
            if body.get(key, "Delete") not in POLICIES:
                yield f"{place}.{key}: {body[key]} is none of {', '.join(POLICIES)}"


class Exports(Protocol):
    """What the engine asks about the exports of all stacks."""

    def value(self, name: str) -> Any:
        """Raises ValidationError when nobody exports it."""

    def check(self, stack: Stack, outputs: list[dict[str, Any]]) -> None:
        """Raises ValidationError when these outputs would take an export from its users, or a name from its owner."""


class Engine:
    """Applies targets to stacks, one resource after the other in dependency order."""

    def __init__(self, clients: Callable[[Stack], Clients], exports: "Exports") -> None:
        self._clients = clients
        self._exports = exports

    def apply(self, stack: Stack, target: Target, creating: bool) -> None:
        """Create or update; on a failure roll back. The stack's status and events tell the outcome."""
        kind = "CREATE" if creating else "UPDATE"
        before = replace(stack)
        stack.set_status(f"{kind}_IN_PROGRESS", "User Initiated")
        step: _Step | None = None
        try:
            step = _Step(self, stack, target)
            step.forward()
            outputs = step.outputs()
            self._exports.check(stack, outputs)
        except Exception as error:
            if not isinstance(error, ResourceFailed | ServiceError):
                log.exception("stack %s", stack.name)
            self._roll_back(stack, step, creating, str(error))
            return
        old = before.template.get("Resources", {})
        stack.outputs, stack.imports = outputs, step.imports
        stack.template_text, stack.template, stack.parameters = target.text, target.template, target.parameters
        if not creating:
            stack.updated = datetime.now(UTC)
            stack.set_status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            step.clean_up(old)
        stack.set_status(f"{kind}_COMPLETE")

    def delete(self, stack: Stack) -> None:
        """Delete every resource, users before what they use. A resource that will not go leaves the stack DELETE_FAILED."""
        stack.set_status("DELETE_IN_PROGRESS", "User Initiated")
        try:
            for name in deletion_order(stack.template.get("Resources", {}), stack.resources):
                self.remove(stack, stack.resources[name])
        except ResourceFailed as error:
            stack.set_status("DELETE_FAILED", str(error))
            return
        stack.set_status("DELETE_COMPLETE")

    def remove(self, stack: Stack, resource: Resource) -> None:
        """Delete one resource of a stack, unless its policy is to keep it."""
        name, physical = resource.logical_id, resource.made.physical_id
        if resource.deletion_policy.startswith("Retain"):
            stack.event(name, resource.type, physical, "DELETE_SKIPPED")
        else:
            self.destroy(stack, resource)
        stack.resources.pop(name, None)

    def destroy(self, stack: Stack, resource: Resource) -> None:
        name, physical = resource.logical_id, resource.made.physical_id
        stack.event(name, resource.type, physical, "DELETE_IN_PROGRESS")
        try:
            self.known(resource.type).delete(self.context(stack, name), physical, resource.properties)
        except Exception as error:
            stack.event(name, resource.type, physical, "DELETE_FAILED", str(error))
            raise ResourceFailed(f"The following resource(s) failed to delete: [{name}]: {error}") from error
        stack.event(name, resource.type, physical, "DELETE_COMPLETE")

    def exported(self, name: str) -> Any:
        return self._exports.value(name)

    def check_rules(self, stack: Stack, target: Target) -> None:
        """Raises ValidationError when an assertion of the template's Rules does not hold for its parameters."""
        resolver = self.resolver(stack, target)
        for name, rule in target.template.get("Rules", {}).items():
            if "RuleCondition" in rule and not resolver.value(rule["RuleCondition"]):
                continue
            for assertion in rule["Assertions"]:
                if not resolver.value(assertion["Assert"]):
                    raise ServiceError("ValidationError", f"Template validation error: Rule {name} failed: {assertion.get('AssertDescription', '')}")

    def context(self, stack: Stack, logical_id: str) -> Context:
        return Context(self._clients(stack), stack.name, stack.id, logical_id)

    def known(self, name: str) -> ResourceType:
        found = resource_type(name)
        if found is None:
            raise ResourceFailed(f"resource type {name} is not known to localcloud")
        return found

    def resolver(self, stack: Stack, target: Target, imported: Callable[[str], Any] | None = None) -> Resolver:
        """`imported` gives the value of an export; without it, nothing remembers who imports what."""

        def physical(name: str) -> Any:
            if name not in stack.resources:
                raise ServiceError("ValidationError", f"Template error: unresolved reference {name}")
            return stack.resources[name].made.physical_id

        def attribute(name: str, attr: str) -> Any:
            if name not in stack.resources:
                raise ServiceError("ValidationError", f"Template error: unresolved reference {name}.{attr}")
            attributes = stack.resources[name].made.attributes
            if attr not in attributes:
                raise ServiceError("ValidationError", f"Template error: {name} ({stack.resources[name].type}) has no attribute {attr} in localcloud")
            return attributes[attr]

        parameters = {name: self._parameter(stack, name, spec, target.parameters) for name, spec in target.template.get("Parameters", {}).items()}
        pseudo = {"AWS::StackName": stack.name, "AWS::StackId": stack.id, "AWS::NotificationARNs": []}
        return Resolver(target.template, parameters, pseudo, physical, attribute, imported or self._exports.value)

    def _parameter(self, stack: Stack, name: str, spec: dict[str, Any], given: dict[str, str]) -> Any:
        value = given.get(name, spec.get("Default"))
        if value is None:
            raise ServiceError("ValidationError", f"Parameters: [{name}] must have values")
        if spec["Type"].startswith("AWS::SSM::Parameter::Value"):
            return self._ssm(stack, name, value)
        if spec["Type"] in ("CommaDelimitedList",) or spec["Type"].startswith("List<"):
            return [item.strip() for item in str(value).split(",")] if value else []
        return str(value)

    def _ssm(self, stack: Stack, name: str, path: str) -> Any:
        try:
            found = self._clients(stack)("ssm").get_parameter(Name=path)["Parameter"]
        except ClientError as error:
            raise ServiceError("ValidationError", f"Unable to fetch parameters [{path}] from parameter store for {name}: {error}") from error
        if found["Type"] == "SecureString":
            raise ServiceError("ValidationError", f"Parameters [{path}] referenced by template have types not supported by CloudFormation.")
        return found["Value"]

    def _roll_back(self, stack: Stack, step: "_Step | None", creating: bool, reason: str) -> None:
        status = "ROLLBACK" if creating else "UPDATE_ROLLBACK"
        stack.set_status(f"{status}_IN_PROGRESS", reason)
        try:
            if step is not None:
                step.backward()
        except Exception as error:
            log.exception("rollback of %s", stack.name)
            stack.set_status(f"{status}_FAILED", str(error))
            return
        stack.set_status(f"{status}_COMPLETE", reason)


class _Step:
    """One run of the engine over a stack, with what is needed to take it back."""

    def __init__(self, engine: Engine, stack: Stack, target: Target) -> None:
        self._engine = engine
        self._stack = stack
        self._target = target
        self.imports: set[str] = set()
        self._resolver = engine.resolver(stack, target, self._import)
        self._before: dict[str, Resource] = dict(stack.resources)
        self._touched: list[str] = []
        self._replaced: list[Resource] = []

    def _import(self, name: str) -> Any:
        self.imports.add(name)
        return self._engine.exported(name)

    def forward(self) -> None:
        """Make and change resources in the order of their references."""
        wanted = {
            name: resource for name, resource in self._target.template["Resources"].items()
            if "Condition" not in resource or self._resolver.condition(resource["Condition"])
        }  # fmt: skip
        for name in creation_order(wanted):
            self._bring(name, wanted[name])
        self._gone = [name for name in self._before if name not in wanted]

    def clean_up(self, old: Mapping[str, Any]) -> None:
        """Delete what the template no longer has, and the old half of every replacement, users before what they use.

        The update is done by now: what will not go is left behind, with its event, as on AWS.
        """
        leaving = {resource.logical_id: resource for resource in self._replaced} | {name: self._stack.resources[name] for name in self._gone}
        for name in deletion_order(old, leaving):
            resource = leaving[name]
            keeps = resource.deletion_policy if name in self._gone else resource.replace_policy
            if name in self._gone:
                del self._stack.resources[name]
            if keeps.startswith("Retain"):
                self._stack.event(name, resource.type, resource.made.physical_id, "DELETE_SKIPPED")
                continue
            try:
                self._engine.destroy(self._stack, resource)
            except ResourceFailed as error:
                log.warning("stack %s: %s", self._stack.name, error)

    def outputs(self) -> list[dict[str, Any]]:
        out = []
        for key, output in self._target.template.get("Outputs", {}).items():
            if "Condition" in output and not self._resolver.condition(output["Condition"]):
                continue
            entry = {"OutputKey": key, "OutputValue": text_of(self._resolver.value(output["Value"]))}
            entry |= {"Description": output["Description"]} if "Description" in output else {}
            out.append(entry | ({"ExportName": self._resolver.value(output["Export"]["Name"])} if "Export" in output else {}))
        return out

    def backward(self) -> None:
        """Undo in reverse: delete what was made, give back what was changed."""
        for name in reversed(self._touched):
            now, before = self._stack.resources.get(name), self._before.get(name)
            if before is None and now is not None:
                self._undo_create(now)
            elif before is not None and now is not None and now.made.physical_id != before.made.physical_id:
                self._engine.destroy(self._stack, now)
                self._stack.resources[name] = before
            elif before is not None and now is not None:
                self._change(name, now, before.properties, before.type, (before.deletion_policy, before.replace_policy))
        for name, before in self._before.items():  # what was only told to be kept, or not to be
            now = self._stack.resources[name]
            self._stack.resources[name] = replace(now, deletion_policy=before.deletion_policy, replace_policy=before.replace_policy)

    def _undo_create(self, resource: Resource) -> None:
        """RetainExceptOnCreate keeps everywhere but here."""
        if resource.deletion_policy == "RetainExceptOnCreate":
            resource = replace(resource, deletion_policy="Delete")
        self._engine.remove(self._stack, resource)

    def _bring(self, name: str, spec: dict[str, Any]) -> None:
        properties = self._resolver.value(deepcopy(spec.get("Properties", {})))
        policy = (spec.get("DeletionPolicy", "Delete"), spec.get("UpdateReplacePolicy", "Delete"))
        current = self._stack.resources.get(name)
        if current is None:
            self._make(name, spec["Type"], properties, policy)
        elif current.type != spec["Type"]:
            raise ResourceFailed(f"Update of resource type is not permitted: {name} from {current.type} to {spec['Type']}")
        elif current.properties != properties:
            self._change(name, current, properties, spec["Type"], policy)
        else:
            self._stack.resources[name] = replace(current, deletion_policy=policy[0], replace_policy=policy[1])

    def _make(self, name: str, kind: str, properties: dict[str, Any], policy: tuple[str, str]) -> None:
        stack = self._stack
        stack.event(name, kind, "", "CREATE_IN_PROGRESS", properties=properties)
        context = self._engine.context(stack, name)
        try:
            made = self._engine.known(kind).create(context, properties)
        except Exception as error:
            stack.event(name, kind, "", "CREATE_FAILED", str(error), properties)
            self._take_back(context, kind, properties)
            raise ResourceFailed(f"The following resource(s) failed to create: [{name}]: {error}") from error
        stack.resources.pop(name, None)
        stack.resources[name] = Resource(name, kind, made, properties, "CREATE_COMPLETE", *policy)
        self._touched.append(name)
        stack.event(name, kind, made.physical_id, "CREATE_COMPLETE", properties=properties)

    def _take_back(self, context: Context, kind: str, properties: dict[str, Any]) -> None:
        """Delete what was begun and not finished."""
        for physical_id in context.begun:
            try:
                self._engine.destroy(self._stack, Resource(context.logical_id, kind, Made(physical_id), properties, "CREATE_FAILED"))
            except ResourceFailed as error:
                log.warning("stack %s: %s", self._stack.name, error)

    def _change(self, name: str, current: Resource, properties: dict[str, Any], kind: str, policy: tuple[str, str]) -> None:
        known = self._engine.known(kind)
        changed = {key for key in {*current.properties, *properties} if current.properties.get(key) != properties.get(key)}
        if known.update is None or changed & known.replaces:
            self._make(name, kind, properties, policy)
            self._replaced.append(current)
            return
        _check_changeable(known, name, changed, current.properties.keys() - properties.keys())
        stack = self._stack
        stack.event(name, kind, current.made.physical_id, "UPDATE_IN_PROGRESS", properties=properties)
        try:
            made = known.update(self._engine.context(stack, name), current.made, current.properties, properties)
        except Exception as error:
            stack.event(name, kind, current.made.physical_id, "UPDATE_FAILED", str(error), properties)
            # Some of it may be done: the way back goes from what was attempted.
            stack.resources[name] = Resource(name, kind, current.made, properties, "UPDATE_FAILED", *policy)
            self._touched.append(name)
            raise ResourceFailed(f"The following resource(s) failed to update: [{name}]: {error}") from error
        if made.physical_id != current.made.physical_id:  # a custom resource's answer: its old self is deleted at the end
            self._replaced.append(current)
        made = Made(made.physical_id, {**current.made.attributes, **made.attributes})
        stack.resources[name] = Resource(name, kind, made, properties, "UPDATE_COMPLETE", *policy)
        self._touched.append(name)
        stack.event(name, kind, made.physical_id, "UPDATE_COMPLETE", properties=properties)


def _check_changeable(known: ResourceType, name: str, changed: set[str], removed: Set[str]) -> None:
    """Refuse, by name, a change that the type's update would not make."""
    fixed = changed - removed - known.updates if known.updates is not None else set()
    kept = removed - known.removes if known.removes is not None else set()
    if fixed or kept:
        words = [*(f"change {item}" for item in sorted(fixed)), *(f"take away {item}" for item in sorted(kept))]
        raise ResourceFailed(f"{name}: localcloud cannot {', '.join(words)} of {known.name} in place")
