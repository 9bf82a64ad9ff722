"""The pollers behind event source mappings: messages go from SQS to a function in batches, failures come back.

Source: docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import json
import logging
import threading
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud import REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import ServiceError
from localcloud.functions.service import Functions

log = logging.getLogger("localcloud")

IDLE_S = 0.1
RECEIVE_AT_MOST = 10


class QueuePoller:
    """One thread that serves every enabled mapping; each batch is handled in a thread of its own."""

    def __init__(self, clients: Clients, functions: Functions, clock: Clock) -> None:
        self._clients = clients
        self._functions = functions
        self._clock = clock
        self._urls: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="queue-poller")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            received = [self._poll(mapping) for mapping in list(self._functions.mappings.values()) if mapping["State"] == "Enabled"]
            if not any(received):
                self._clock.wait(IDLE_S, until=self._stop)

    def _poll(self, mapping: dict[str, Any]) -> bool:
        sqs = self._clients("sqs")
        try:
            url = self._url(mapping["EventSourceArn"])
            messages = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=min(mapping["BatchSize"], RECEIVE_AT_MOST), AttributeNames=["All"], MessageAttributeNames=["All"]
            ).get("Messages", [])
        except (ClientError, BotoCoreError) as error:
            if not self._stop.is_set():
                log.warning("queue of mapping %s: %s", mapping["UUID"], error)
            return False
        if messages:
            threading.Thread(target=self._handle, args=(mapping, url, messages), daemon=True).start()
        return bool(messages)

    def _url(self, arn: str) -> str:
        if arn not in self._urls:
            self._urls[arn] = self._clients("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        return self._urls[arn]

    def _handle(self, mapping: dict[str, Any], url: str, messages: list[dict[str, Any]]) -> None:
        """Invoke with the batch; what the function did not fail is deleted, the rest becomes visible again by timeout."""
        event = {"Records": [_record(message, mapping["EventSourceArn"]) for message in messages]}
        try:
            outcome = self._functions.run(mapping["FunctionArn"], json.dumps(event).encode())
        except ServiceError as error:
            log.warning("mapping %s: %s", mapping["UUID"], error)
            return
        if outcome.error is not None:
            log.warning("mapping %s: %s", mapping["UUID"], outcome.payload.decode(errors="replace")[:500])
            return
        failed = _failures(outcome.payload, messages) if "ReportBatchItemFailures" in mapping["FunctionResponseTypes"] else set()
        for message in messages:
            if message["MessageId"] not in failed:
                self._clients("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def _failures(payload: bytes, messages: list[dict[str, Any]]) -> set[str]:
    """The message ids a function names as failed. An answer that is no such report fails the whole batch, as on AWS."""
    answer = json.loads(payload or b"null")
    if not answer:
        return set()
    ids = {message["MessageId"] for message in messages}
    failed = {item.get("itemIdentifier") for item in answer.get("batchItemFailures", [])}
    return ids if failed - ids else failed


def _record(message: dict[str, Any], arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": message.get("MessageAttributes", {}),
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    }
