"""Delivery from EventBridge rules to their targets, and events that AWS services send about themselves.

moto keeps buses and rules; two seams give it legs: `Rule.send_to_targets`, which moto calls for every matching
PutEvents, and `_send_event_bridge_message`, which it calls for every change in a bucket that notifies EventBridge.
"""

import copy
import itertools
import json
import logging
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import moto.s3.notifications as moto_s3
from moto.events.models import Rule, events_backends

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import NotSupported
from localcloud.events.transform import target_input

log = logging.getLogger("localcloud")

ATTEMPTS = 3
REASONS = {"Put": "PutObject", "Post": "POST Object", "Copy": "CopyObject", "CompleteMultipartUpload": "CompleteMultipartUpload"}
DELETE_REASONS = {"Delete": ("DeleteObject", "Permanently Deleted"), "DeleteMarkerCreated": ("DeleteObject", "Delete Marker Created")}


class EventBus:
    """Delivers events in the background, retrying, then to the target's dead-letter queue."""

    def __init__(self, clients: Clients, clock: Clock) -> None:
        self._clients = clients
        self._clock = clock
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="events")
        self._sequence = itertools.count(int(time.time() * 1000) << 20)

    def install(self) -> None:
        """Take both seams of moto."""
        bus = self

        def send_to_targets(rule: Any, original_event: dict[str, Any], transform_input: bool = True) -> None:  # noqa: ARG001  # moto's signature
            bus.offer(rule, original_event)

        Rule.send_to_targets = send_to_targets
        moto_s3._send_event_bridge_message = lambda account_id, bucket, event_name, key: bus.object_event(bucket, event_name, key)

    def stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def offer(self, rule: Any, event: dict[str, Any]) -> None:
        """Deliver an event to a rule's targets if the rule is enabled and its pattern matches."""
        has_pattern = bool(rule.event_pattern.get_pattern())
        if rule.state != "ENABLED" or not has_pattern or not rule.event_pattern.matches_event(event):
            return
        sent = {name: copy.deepcopy(value) for name, value in event.items() if name not in ("ingestion-time", "replay-name")}
        sent["version"] = "0"
        if not isinstance(sent.get("time"), str):
            sent["time"] = _iso(float(sent["time"]) if sent.get("time") else self._clock.now())
        for target in list(rule.targets):
            self._pool.submit(self._deliver_with_retries, rule.arn, target, sent)

    def emit(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
        """An event that an AWS service sends on the default bus."""
        event = {
            "version": "0", "id": str(uuid.uuid4()), "detail-type": detail_type, "source": source, "account": ACCOUNT,
            "time": _iso(self._clock.now()), "region": REGION, "resources": resources, "detail": json.loads(json.dumps(detail, default=_json)),
        }  # fmt: skip
        for rule in list(events_backends[ACCOUNT][REGION].event_buses["default"].rules.values()):
            self.offer(rule, event)

    def object_event(self, bucket: Any, event_name: str, key: Any) -> None:
        """S3's event as AWS sends it. Source: docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html"""
        kind, _, how = event_name.removeprefix("s3:").partition(":")
        detail: dict[str, Any] = {
            "version": "0",
            "bucket": {"name": bucket.name},
            "object": {
                "key": key.name,
                "size": key.size,
                "etag": key.etag.strip('"'),
                "version-id": key.version_id,
                "sequencer": f"{next(self._sequence):018X}",
            },
            "request-id": uuid.uuid4().hex[:16].upper(),
            "requester": ACCOUNT,
            "source-ip-address": "127.0.0.1",
        }
        if not bucket.is_versioned:
            detail["object"].pop("version-id")
        if kind == "ObjectCreated":
            self.emit("aws.s3", "Object Created", detail | {"reason": REASONS.get(how, how)}, [bucket.arn])
        elif kind == "ObjectRemoved":
            reason, deletion = DELETE_REASONS.get(how, ("DeleteObject", "Permanently Deleted"))
            self.emit("aws.s3", "Object Deleted", detail | {"reason": reason, "deletion-type": deletion}, [bucket.arn])

    def _deliver_with_retries(self, rule_arn: str, target: dict[str, Any], event: dict[str, Any]) -> None:
        payload = target_input(target, event, rule_arn)
        attempts = 1 + min(int(target.get("RetryPolicy", {}).get("MaximumRetryAttempts", ATTEMPTS - 1)), ATTEMPTS - 1)
        failure: Exception | None = None
        for attempt in range(attempts):
            try:
                return self._deliver(target, payload)
            except Exception as error:
                failure = error
                self._clock.wait(0.3 * (attempt + 1))
        log.error("rule %s: no delivery to %s: %s", rule_arn, target["Arn"], failure)
        if queue := target.get("DeadLetterConfig", {}).get("Arn"):
            attributes = {"RULE_ARN": rule_arn, "TARGET_ARN": target["Arn"], "ERROR_MESSAGE": str(failure)[:500]}
            self._send(queue, payload, {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()})
        return None

    def _deliver(self, target: dict[str, Any], payload: str) -> None:
        """One public call a kind of target."""
        arn = target["Arn"]
        match arn.split(":")[2]:
            case "lambda":
                self._clients("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=payload.encode())
            case "states":
                self._clients("stepfunctions").start_execution(stateMachineArn=arn, name=str(uuid.uuid4()), input=payload)
            case "sqs":
                self._send(arn, payload, {})
            case "sns":
                self._clients("sns").publish(TopicArn=arn, Message=payload)
            case _:
                raise NotSupported(f"EventBridge target {arn}")

    def _send(self, queue_arn: str, body: str, attributes: dict[str, Any]) -> None:
        sqs = self._clients("sqs")
        sqs.send_message(
            QueueUrl=sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"], MessageBody=body, MessageAttributes=attributes
        )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: Any) -> Any:
    """SageMaker's events carry times as epoch milliseconds."""
    return int(value.timestamp() * 1000) if isinstance(value, datetime) else str(value)
