"""The CloudFormation API, as the CDK CLI and boto3 use it."""

import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlparse

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.cloudformation.changes import differences, nothing_to_do
from localcloud.cloudformation.engine import Engine, Target, check_known
from localcloud.cloudformation.exports import AllExports
from localcloud.cloudformation.stack import Resource, Stack
from localcloud.cloudformation.template import parse
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Service, caller
from localcloud.iam.authorizer import AccessDenied, Authorizer
from localcloud.iam.needs import Need

CLOUDFORMATION = "cloudformation.amazonaws.com"

NAMED_IAM = {"AWS::IAM::Role": "RoleName", "AWS::IAM::ManagedPolicy": "ManagedPolicyName", "AWS::IAM::Policy": ""}
"""Types that ask for a capability, and the property that makes it the stronger one."""
UNSUPPORTED = (
    "DisableRollback", "ResourcesToImport", "NotificationARNs", "RollbackConfiguration", "StackPolicyBody", "StackPolicyURL",
    "TimeoutInMinutes",
)  # fmt: skip
PARAMETER_KEYS = {"AllowedPattern", "AllowedValues", "ConstraintDescription", "Default", "Description", "NoEcho", "Type"}
NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


@dataclass
class ChangeSet:
    """A change set: keyed by stack and name, because the CDK gives every one the same name."""

    id: str
    name: str
    stack: Stack
    target: Target
    kind: str
    changes: list[dict[str, Any]]
    status: str = "CREATE_COMPLETE"
    reason: str | None = None
    execution: str = "AVAILABLE"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    tags: list[dict[str, str]] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        fields = {
            "ChangeSetName": self.name, "ChangeSetId": self.id, "StackId": self.stack.id, "StackName": self.stack.name, "Status": self.status,
            "StatusReason": self.reason, "ExecutionStatus": self.execution, "CreationTime": self.created, "Changes": self.changes,
            "Capabilities": self.capabilities, "Tags": self.tags,
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in self.target.parameters.items()],
        }  # fmt: skip
        return {key: value for key, value in fields.items() if value is not None}


class Stacks:
    """All stacks of the account."""

    def __init__(self, clients: Clients, authorizer: Authorizer) -> None:
        self._clients = clients
        self._authorizer = authorizer
        self._stacks: dict[str, Stack] = {}
        self._deleted: dict[str, Stack] = {}
        self._change_sets: dict[tuple[str, str], ChangeSet] = {}
        self._lock = threading.Lock()
        self._exports = AllExports(self._stacks)
        self._engine = Engine(self._acting, self._exports)

    def service(self) -> Service:
        return Service(
            "cloudformation",
            {
                "CreateChangeSet": self.create_change_set,
                "CreateStack": self.create,
                "DeleteChangeSet": self.delete_change_set,
                "DeleteStack": self.delete,
                "DescribeChangeSet": lambda p: self._change_set(p).described(),
                "DescribeEvents": self.events_v2,
                "DescribeStackEvents": lambda p: {"StackEvents": self._stack(p["StackName"]).events[::-1]},
                "DescribeStackResource": self.resource,
                "DescribeStackResources": lambda p: {"StackResources": self._resources(p)},
                "DescribeStacks": self.describe,
                "ExecuteChangeSet": self.execute_change_set,
                "GetTemplate": lambda p: {"TemplateBody": self._stack(p["StackName"]).template_text, "StagesAvailable": ["Original"]},
                "GetTemplateSummary": self.summary,
                "ListExports": self.list_exports,
                "ListImports": lambda p: {"Imports": self._exports.importers(p["ExportName"])},
                "ListStackResources": lambda p: {"StackResourceSummaries": self._resources(p)},
                "ListStacks": lambda p: {"StackSummaries": [s.described() for s in [*self._stacks.values(), *self._deleted.values()]]},
                "UpdateStack": self.update,
                "UpdateTerminationProtection": self.protect,
            },
        )

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        if p["StackName"] in self._stacks:
            raise ServiceError("AlreadyExistsException", f"Stack [{p['StackName']}] already exists")
        stack = Stack(p["StackName"])
        self._take_role(stack, p)
        target = self._target(p, stack)
        self._stacks[stack.name] = stack
        self._apply(stack, target, p, creating=True)
        return {"StackId": stack.id}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        stack = self._stack(p["StackName"])
        self._check_updatable(stack)
        self._take_role(stack, p)
        target = self._target(p, stack)
        if nothing_to_do(stack, target, p.get("Tags")):
            raise ServiceError("ValidationError", "No updates are to be performed.")
        self._apply(stack, target, p, creating=False)
        return {"StackId": stack.id}

    def delete(self, p: dict[str, Any]) -> None:
        stack = self._stacks.get(p["StackName"]) or next((s for s in self._stacks.values() if s.id == p["StackName"]), None)
        if stack is None:
            return
        if stack.status == "DELETE_IN_PROGRESS":
            return
        if stack.busy:
            raise ServiceError("ValidationError", f"Stack [{stack.name}] cannot be deleted while in status {stack.status}")
        if stack.protected:
            raise ServiceError("ValidationError", f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
        self._exports.check(stack, [])

        self._take_role(stack, p)
        if stack.status == "DELETE_FAILED":
            for name in p.get("RetainResources", []):
                stack.resources.pop(name, None)

        def work() -> None:
            self._engine.delete(stack)
            if stack.status == "DELETE_COMPLETE":
                self._deleted[stack.id] = self._stacks.pop(stack.name)

        self._start(stack, "DELETE_IN_PROGRESS", work)

    def describe(self, p: dict[str, Any]) -> dict[str, Any]:
        stacks = [self._stack(p["StackName"])] if p.get("StackName") else list(self._stacks.values())
        return {"Stacks": [stack.described() for stack in stacks]}

    def events_v2(self, p: dict[str, Any]) -> dict[str, Any]:
        """DescribeEvents, the newer call the CDK CLI prefers: the same events under operation ids."""
        stack = self._change_set(p).stack if p.get("ChangeSetName") else self._stack(p["StackName"])
        return {"OperationEvents": [event | {"EventType": "STACK_EVENT"} for event in stack.events[::-1]]}

    def protect(self, p: dict[str, Any]) -> dict[str, Any]:
        stack = self._stack(p["StackName"])
        stack.protected = p["EnableTerminationProtection"]
        return {"StackId": stack.id}

    def summary(self, p: dict[str, Any]) -> dict[str, Any]:
        if p.get("StackName"):
            stack = self._stack(p["StackName"])
            if stack.status == "REVIEW_IN_PROGRESS":
                raise ServiceError("ValidationError", "GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
            template = stack.template
        else:
            template = parse(self._text(p, None))
        parameters = [
            {"ParameterKey": name, "ParameterType": spec["Type"], "DefaultValue": str(spec["Default"]) if "Default" in spec else None}
            for name, spec in template.get("Parameters", {}).items()
        ]
        kinds = sorted({resource["Type"] for resource in template["Resources"].values()})
        return {"Parameters": parameters, "ResourceTypes": kinds, "Metadata": template.get("Metadata") and str(template["Metadata"])}

    def resource(self, p: dict[str, Any]) -> dict[str, Any]:
        return {"StackResourceDetail": self._resources(p)[0] | {"LastUpdatedTimestamp": datetime.now(UTC)}}

    def list_exports(self, _: dict[str, Any]) -> dict[str, Any]:
        found = [(stack.id, name, value) for stack in self._stacks.values() for name, value in stack.exports().items()]
        return {"Exports": [{"ExportingStackId": stack, "Name": name, "Value": value} for stack, name, value in found]}

    # change sets

    def create_change_set(self, p: dict[str, Any]) -> dict[str, Any]:
        kind = p.get("ChangeSetType", "UPDATE")
        stack = self._stacks.get(p["StackName"]) or next((s for s in self._stacks.values() if s.id == p["StackName"]), None)
        if stack is None:
            if kind != "CREATE":
                raise ServiceError("ValidationError", f"Stack [{p['StackName']}] does not exist")
            stack = Stack(p["StackName"])
            stack.event(stack.name, "AWS::CloudFormation::Stack", stack.id, "REVIEW_IN_PROGRESS", "User Initiated")
        self._check_updatable(stack)
        self._check_kind(stack, kind, p["ChangeSetName"])
        self._take_role(stack, p)
        target = self._target(p, stack)
        self._stacks[stack.name] = stack
        change_set = ChangeSet(
            f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:changeSet/{p['ChangeSetName']}/{uuid.uuid4()}", p["ChangeSetName"], stack, target, kind,
            differences(stack, target), tags=p.get("Tags", stack.tags), capabilities=p.get("Capabilities", []),
        )  # fmt: skip
        if kind == "UPDATE" and nothing_to_do(stack, target, p.get("Tags")):
            change_set.status, change_set.reason, change_set.execution = "FAILED", NO_CHANGES, "UNAVAILABLE"
        self._change_sets[stack.id, change_set.name] = change_set
        return {"Id": change_set.id, "StackId": stack.id}

    def execute_change_set(self, p: dict[str, Any]) -> None:
        change_set = self._change_set(p)
        if change_set.execution != "AVAILABLE":
            raise ServiceError(
                "InvalidChangeSetStatus", f"ChangeSet [{change_set.id}] cannot be executed in its current status of [{change_set.status}]"
            )
        self._check_free(change_set.stack)
        change_set.execution = "EXECUTE_IN_PROGRESS"
        change_set.stack.change_set_id = change_set.id
        for key in [key for key in self._change_sets if key[0] == change_set.stack.id]:  # the others are of the stack as it was
            del self._change_sets[key]
        self._apply(
            change_set.stack,
            change_set.target,
            {"Tags": change_set.tags, "Capabilities": change_set.capabilities},
            creating=change_set.kind == "CREATE",
        )

    def delete_change_set(self, p: dict[str, Any]) -> None:
        try:
            change_set = self._change_set(p)
        except ServiceError:
            return
        del self._change_sets[change_set.stack.id, change_set.name]

    def _change_set(self, p: dict[str, Any]) -> ChangeSet:
        name = p["ChangeSetName"]
        for change_set in self._change_sets.values():
            if change_set.id == name or (change_set.name == name and p.get("StackName") in (change_set.stack.name, change_set.stack.id)):
                return change_set
        raise ServiceError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist")

    # inside

    def _take_role(self, stack: Stack, p: dict[str, Any]) -> None:
        """A role once given stays with the stack. Raises ValidationError for one that CloudFormation cannot assume."""
        if not p.get("RoleARN"):
            return
        try:
            self._authorizer.acting(p["RoleARN"], CLOUDFORMATION)
        except AccessDenied as error:
            raise ServiceError("ValidationError", f"Role {p['RoleARN']} is invalid or cannot be assumed") from error
        stack.role = p["RoleARN"]

    def _acting(self, stack: Stack) -> Clients:
        """Clients with the stack's role; without one, with the caller's own rights, which here are the account's."""
        return self._clients if stack.role is None else self._clients.acting(self._authorizer.acting(stack.role, CLOUDFORMATION))

    def _check_updatable(self, stack: Stack) -> None:
        self._check_free(stack)
        if stack.status in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED"):
            raise ServiceError("ValidationError", f"Stack:{stack.id} is in {stack.status} state and can not be updated.")

    def _check_kind(self, stack: Stack, kind: str, name: str) -> None:
        if kind == "CREATE" and stack.status != "REVIEW_IN_PROGRESS":
            raise ServiceError("ValidationError", f"Stack [{stack.name}] already exists and cannot be created again with the changeSet [{name}].")
        if kind == "UPDATE" and stack.status == "REVIEW_IN_PROGRESS":
            raise ServiceError("ValidationError", f"Stack:{stack.id} is in REVIEW_IN_PROGRESS state and can not be updated.")
        if (stack.id, name) in self._change_sets:
            raise ServiceError(
                "AlreadyExistsException", f"ChangeSet {name} cannot be created due to a mismatch with existing attributes: it exists already"
            )

    def _apply(self, stack: Stack, target: Target, p: dict[str, Any], *, creating: bool) -> None:
        self._check_free(stack)
        stack.tags, stack.capabilities = p.get("Tags", stack.tags), p.get("Capabilities", stack.capabilities)
        self._start(stack, "CREATE_IN_PROGRESS" if creating else "UPDATE_IN_PROGRESS", lambda: self._engine.apply(stack, target, creating))

    def _check_free(self, stack: Stack) -> None:
        if stack.busy:
            raise ServiceError("ValidationError", f"Stack:{stack.id} is in {stack.status} state and can not be updated.")

    def _start(self, stack: Stack, status: str, work: Callable[[], None]) -> None:
        with self._lock:
            self._check_free(stack)
            stack.status = status
        threading.Thread(target=work, daemon=True, name=f"stack-{stack.name}").start()

    def _target(self, p: dict[str, Any], stack: Stack) -> Target:
        text = self._text(p, stack)
        template = parse(text)
        check_known(template)
        _check_request(p)
        _check_capabilities(template, p.get("Capabilities") or [])
        parameters = {
            item["ParameterKey"]: stack.parameters.get(item["ParameterKey"]) if item.get("UsePreviousValue") else item.get("ParameterValue", "")
            for item in p.get("Parameters", [])
        }
        declared = template.get("Parameters", {})
        if extra := set(parameters) - set(declared):
            raise ServiceError("ValidationError", f"Parameters: [{', '.join(sorted(extra))}] do not exist in the template")
        defaults = {name: str(spec["Default"]) for name, spec in declared.items() if "Default" in spec}
        _check_parameters(declared, defaults | parameters)
        target = Target(text, template, defaults | {name: value for name, value in parameters.items() if value is not None})
        self._engine.check_rules(stack, target)
        return target

    def _text(self, p: dict[str, Any], stack: Stack | None) -> str:
        if p.get("TemplateBody"):
            return str(p["TemplateBody"])
        if p.get("TemplateURL"):
            bucket, _, key = unquote(urlparse(p["TemplateURL"]).path).lstrip("/").partition("/")
            self._authorizer.check(caller(), Need("s3:GetObject", f"arn:aws:s3:::{bucket}/{key}"), "AccessDenied")
            body: bytes = self._clients("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            return body.decode()
        if p.get("UsePreviousTemplate") and stack is not None:
            return stack.template_text
        raise ServiceError("ValidationError", "Either Template URL or Template Body must be specified.")

    def _stack(self, name: str) -> Stack:
        found = self._stacks.get(name) or self._deleted.get(name) or next((s for s in self._stacks.values() if s.id == name), None)
        if found is None:
            raise ServiceError("ValidationError", f"Stack with id {name} does not exist")
        return found

    def _resources(self, p: dict[str, Any]) -> list[dict[str, Any]]:
        stack = self._stack(p["StackName"])
        wanted = p.get("LogicalResourceId")
        found = [_described(stack, resource) for resource in stack.resources.values() if wanted in (None, resource.logical_id)]
        if wanted and not found:
            raise ServiceError("ValidationError", f"Resource {wanted} does not exist for stack {stack.name}")
        return found


def _check_request(p: dict[str, Any]) -> None:
    """Refuse what would be ignored."""
    asked = [f"{name} {p[name]}" for name in UNSUPPORTED if p.get(name) and str(p[name]).lower() != "false"]
    asked += ["OnFailure"] if p.get("OnFailure", "ROLLBACK") != "ROLLBACK" else []
    asked += ["ChangeSetType IMPORT"] if p.get("ChangeSetType") == "IMPORT" else []
    if asked:
        raise NotSupported(f"{', '.join(asked)} of a stack")


def _check_parameters(declared: dict[str, Any], values: dict[str, Any]) -> None:
    """Source: docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html"""
    for name, spec in declared.items():
        if unknown := set(spec) - PARAMETER_KEYS:
            raise NotSupported(f"{', '.join(sorted(unknown))} of the parameter {name}")
        value = values.get(name)
        if value is not None and "AllowedValues" in spec and value not in [str(allowed) for allowed in spec["AllowedValues"]]:
            raise ServiceError("ValidationError", f"Parameter '{name}' must be one of AllowedValues")
        if value is not None and "AllowedPattern" in spec and not re.fullmatch(spec["AllowedPattern"], value):
            message = spec.get("ConstraintDescription") or f"Parameter '{name}' must match pattern {spec['AllowedPattern']}"
            raise ServiceError("ValidationError", message)


def _check_capabilities(template: dict[str, Any], given: list[str]) -> None:
    """Source: docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html (Capabilities)"""
    made = [resource for resource in template["Resources"].values() if resource["Type"] in NAMED_IAM]
    named = any(NAMED_IAM[resource["Type"]] in resource.get("Properties", {}) for resource in made)
    wanted = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"
    if made and wanted not in given and "CAPABILITY_NAMED_IAM" not in given:
        raise ServiceError("InsufficientCapabilitiesException", f"Requires capabilities : [{wanted}]")


def _described(stack: Stack, resource: Resource) -> dict[str, Any]:
    return {
        "StackName": stack.name, "StackId": stack.id, "LogicalResourceId": resource.logical_id, "PhysicalResourceId": resource.made.physical_id,
        "ResourceType": resource.type, "ResourceStatus": resource.status, "Timestamp": resource.changed, "LastUpdatedTimestamp": resource.changed,
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }  # fmt: skip
