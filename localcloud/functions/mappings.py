"""Event source mappings: which queue feeds which function, and how. localcloud.events.poller serves them.

Source of the limits: docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Handler
from localcloud.iam.authorizer import Authorizer

WITHOUT_WINDOW = 10
KNOWN = {"BatchSize", "Enabled", "EventSourceArn", "FunctionName", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "Tags", "UUID"}
ASKED = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")


class Mappings:
    """All mappings of the account. `functions` gives a function's configuration by name or ARN."""

    def __init__(self, clients: Clients, authorizer: Authorizer, functions: Any) -> None:
        self._clients = clients
        self._authorizer = authorizer
        self._functions = functions
        self.all: dict[str, dict[str, Any]] = {}

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateEventSourceMapping": self.create,
            "DeleteEventSourceMapping": self.delete,
            "GetEventSourceMapping": self._mapping,
            "ListEventSourceMappings": lambda p: {"EventSourceMappings": list(self.all.values())},
            "UpdateEventSourceMapping": self.update,
        }

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        function = self._functions(p["FunctionName"])
        if ":sqs:" not in p["EventSourceArn"]:
            raise NotSupported(f"an event source mapping from {p['EventSourceArn']}")
        _check(p)
        self._check_queue(p["EventSourceArn"], function)
        mapping = {
            "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [],
            **{k: v for k, v in p.items() if k not in ("FunctionName", "Enabled", "Tags")},
            "UUID": str(uuid.uuid4()), "FunctionArn": function["FunctionArn"],
            "State": "Enabled" if p.get("Enabled", True) else "Disabled", "LastModified": datetime.now(UTC),
        }  # fmt: skip
        mapping["EventSourceMappingArn"] = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{mapping['UUID']}"
        self.all[mapping["UUID"]] = mapping
        return mapping

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        mapping = self._mapping(p)
        _check(mapping | p)
        if "Enabled" in p:
            mapping["State"] = "Enabled" if p["Enabled"] else "Disabled"
        if "FunctionName" in p:
            mapping["FunctionArn"] = self._functions(p["FunctionName"])["FunctionArn"]
        mapping |= {k: v for k, v in p.items() if k not in ("UUID", "Enabled", "FunctionName")}
        return mapping

    def delete(self, p: dict[str, Any]) -> dict[str, Any]:
        mapping = self._mapping(p)
        del self.all[p["UUID"]]
        return mapping | {"State": "Deleting"}

    def _mapping(self, p: dict[str, Any]) -> dict[str, Any]:
        if p["UUID"] not in self.all:
            raise ServiceError("ResourceNotFoundException", "The resource you requested does not exist.")
        return self.all[p["UUID"]]

    def _check_queue(self, arn: str, function: dict[str, Any]) -> None:
        for action in ASKED:
            if not self._authorizer.allows(function["Role"], f"sqs:{action}", arn):
                raise ServiceError("InvalidParameterValueException", f"The provided execution role does not have permissions to call {action} on SQS")
        sqs = self._clients("sqs")
        url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        visibility = int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"])
        if visibility < function["Timeout"]:
            message = f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {function['Timeout']} seconds"
            raise ServiceError("InvalidParameterValueException", message)


def _check(p: dict[str, Any]) -> None:
    known = KNOWN | {"FunctionArn", "State", "LastModified", "EventSourceMappingArn"}
    if unknown := set(p) - known:
        raise NotSupported(f"{', '.join(sorted(unknown))} of an event source mapping")
    if p.get("BatchSize", 10) > WITHOUT_WINDOW and not p.get("MaximumBatchingWindowInSeconds"):
        message = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        raise ServiceError("InvalidParameterValueException", message)
