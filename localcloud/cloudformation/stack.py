"""A stack: its template, parameters, resources, outputs and events."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.cloudformation.types.base import Made, Properties


@dataclass
class Resource:
    """One resource of a stack as it is now."""

    logical_id: str
    type: str
    made: Made
    properties: Properties
    status: str
    deletion_policy: str = "Delete"
    replace_policy: str = "Delete"
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Stack:
    """State of a stack. `resources` keeps the order they were made in."""

    name: str
    id: str = ""
    status: str = "REVIEW_IN_PROGRESS"
    reason: str | None = None
    template_text: str = "{}"
    template: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    tags: list[dict[str, str]] = field(default_factory=list)
    capabilities: list[str] = field(default_factory=list)
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime | None = None
    change_set_id: str | None = None
    protected: bool = False
    role: str | None = None
    imports: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.id = self.id or f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{self.name}/{uuid.uuid4()}"

    @property
    def busy(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    def set_status(self, status: str, reason: str | None = None) -> None:
        self.status, self.reason = status, reason
        self.event(self.name, "AWS::CloudFormation::Stack", self.id, status, reason)

    def event(
        self, logical_id: str, kind: str, physical_id: str, status: str, reason: str | None = None, properties: Properties | None = None
    ) -> None:
        entry: dict[str, Any] = {
            "EventId": str(uuid.uuid4()), "StackId": self.id, "StackName": self.name, "LogicalResourceId": logical_id, "ResourceType": kind,
            "PhysicalResourceId": physical_id, "ResourceStatus": status, "Timestamp": datetime.now(UTC),
        }  # fmt: skip
        if reason:
            entry["ResourceStatusReason"] = reason
        if properties is not None:
            entry["ResourceProperties"] = json.dumps(properties, default=str)
        self.events.append(entry)

    def described(self) -> dict[str, Any]:
        fields = {
            "StackName": self.name, "StackId": self.id, "StackStatus": self.status, "StackStatusReason": self.reason, "CreationTime": self.created,
            "LastUpdatedTime": self.updated, "Outputs": self.outputs, "Tags": self.tags, "Capabilities": self.capabilities,
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in self.parameters.items()],
            "Description": self.template.get("Description"), "EnableTerminationProtection": self.protected, "RoleARN": self.role, "ChangeSetId": self.change_set_id,
            "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"}, "RollbackConfiguration": {}, "NotificationARNs": [],
        }  # fmt: skip
        return {key: value for key, value in fields.items() if value is not None}

    def exports(self) -> Mapping[str, Any]:
        return {output["ExportName"]: output["OutputValue"] for output in self.outputs if "ExportName" in output}
