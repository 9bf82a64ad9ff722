"""Event source mappings: which queue feeds which function, and how. localcloud.events.poller serves them.

Source of the limits: docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Handler
from localcloud.functions.limits import function_arn, function_name, invalid, page
from localcloud.iam.authorizer import Authorizer

WITHOUT_WINDOW = 10
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
            "ListEventSourceMappings": self.list,
            "UpdateEventSourceMapping": self.update,
        }

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        function, source = self._functions(p["FunctionName"]), str(p.get("EventSourceArn"))
        if ":sqs:" not in source:
            raise NotSupported(f"an event source mapping from {p.get('EventSourceArn')}")
        mapping = {
            "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [],
            **{k: v for k, v in p.items() if k not in ("FunctionName", "Enabled", "Tags")},
            "UUID": str(uuid.uuid4()), "FunctionArn": function["FunctionArn"],
            "State": "Enabled" if p.get("Enabled", True) else "Disabled", "StateTransitionReason": "USER_INITIATED", "LastModified": datetime.now(UTC),
        }  # fmt: skip
        mapping["EventSourceMappingArn"] = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{mapping['UUID']}"
        _check(mapping)
        self._check_only(source, function)
        self._check_queue(source, function)
        self.all[mapping["UUID"]] = mapping
        return mapping | {"State": "Creating"}

    def list(self, p: dict[str, Any]) -> dict[str, Any]:
        wanted = {"EventSourceArn": p["EventSourceArn"]} if p.get("EventSourceArn") else {}
        wanted |= {"FunctionArn": function_arn(function_name(p["FunctionName"]))} if p.get("FunctionName") else {}
        found = [mapping for mapping in list(self.all.values()) if wanted.items() <= {k: str(v) for k, v in mapping.items()}.items()]
        return page(found, p, "EventSourceMappings")

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        """The new settings replace the mapping as a whole: a batch sees all of them or none."""
        mapping = self._mapping(p) | {k: v for k, v in p.items() if k not in ("Enabled", "FunctionName")} | {"LastModified": datetime.now(UTC)}
        if "Enabled" in p:
            mapping["State"] = "Enabled" if p["Enabled"] else "Disabled"
        if "FunctionName" in p:
            function = self._functions(p["FunctionName"])
            if function["FunctionArn"] != mapping["FunctionArn"]:
                self._check_only(mapping["EventSourceArn"], function)
            self._check_queue(mapping["EventSourceArn"], function)
            mapping["FunctionArn"] = function["FunctionArn"]
        _check(mapping)
        self.all[p["UUID"]] = mapping
        return mapping | {"State": "Updating"}

    def delete(self, p: dict[str, Any]) -> dict[str, Any]:
        mapping = self._mapping(p)
        del self.all[p["UUID"]]
        return mapping | {"State": "Deleting"}

    def _mapping(self, p: dict[str, Any]) -> dict[str, Any]:
        if p["UUID"] not in self.all:
            raise ServiceError("ResourceNotFoundException", "The resource you requested does not exist.")
        return self.all[p["UUID"]]

    def _check_only(self, source: str, function: dict[str, Any]) -> None:
        """A function is fed by a queue once."""
        for mapping in self.all.values():
            if (mapping["EventSourceArn"], mapping["FunctionArn"]) == (source, function["FunctionArn"]):
                what = f'An event source mapping with SQS arn (" {source} ") and function (" {function["FunctionName"]} ") already exists.'
                raise ServiceError("ResourceConflictException", f"{what} Please update or delete the existing mapping with UUID {mapping['UUID']}")

    def _check_queue(self, arn: str, function: dict[str, Any]) -> None:
        for action in ASKED:
            if not self._authorizer.allows(function["Role"], f"sqs:{action}", arn):
                raise invalid(f"The provided execution role does not have permissions to call {action} on SQS")
        sqs = self._clients("sqs")
        try:
            url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
            visibility = int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"])
        except ClientError as error:
            missing = "SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist."
            raise invalid(f"Error occurred while ReceiveMessage. {missing}") from error
        if visibility < function["Timeout"]:
            raise invalid(f"Queue visibility timeout: {visibility} seconds is less than Function timeout: {function['Timeout']} seconds")


def _check(mapping: dict[str, Any]) -> None:
    if mapping["EventSourceArn"].endswith(".fifo") and (mapping["BatchSize"] > WITHOUT_WINDOW or mapping["MaximumBatchingWindowInSeconds"]):
        raise invalid("Batch size is at most 10 and batching window is not supported for FIFO queues")
    if mapping["BatchSize"] > WITHOUT_WINDOW and not mapping["MaximumBatchingWindowInSeconds"]:
        raise invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
