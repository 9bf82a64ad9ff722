"""The pollers behind event source mappings: messages go from SQS to a function in batches, failures come back.

One thread a mapping waits for messages; batches are handled side by side, as many as Lambda's pollers would at most.
Source: docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import base64
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.sqs.models import sqs_backends

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock, Signal
from localcloud.errors import ServiceError
from localcloud.functions.service import SYNC_PAYLOAD_BYTES, Functions

log = logging.getLogger("localcloud")

IDLE_S = 0.02
TROUBLE_S = 1.0
SPARE_S = 30
RECORD_BYTES = 1024
RECEIVE_AT_MOST = 10
PARALLEL = 5
"""Batches in flight a mapping: Lambda's pollers start with five. docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"""


class QueuePollers:
    """Keeps one poller for every enabled mapping."""

    def __init__(self, functions: Functions, clock: Clock) -> None:
        self._functions = functions
        self._clock = clock
        self._stop = clock.signal()
        self._pollers: dict[str, QueuePoller] = {}
        self._thread = threading.Thread(target=self._run, daemon=True, name="queue-pollers")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            mappings = dict(self._functions.mappings.all)
            self._pollers = {uuid: poller for uuid, poller in self._pollers.items() if uuid in mappings}
            for uuid in mappings.keys() - self._pollers.keys():
                self._pollers[uuid] = QueuePoller(uuid, mappings[uuid]["EventSourceArn"], self._functions, self._clock, self._stop)
            self._stop.wait(IDLE_S)


class QueuePoller:
    """Serves one mapping until it is deleted."""

    def __init__(self, uuid: str, queue: str, functions: Functions, clock: Clock, stop: Signal) -> None:
        self._uuid = uuid
        self._arn = queue
        self._functions = functions
        self._clock = clock
        self._stop = stop
        self._queue = queue.rpartition(":")[2]
        self._free = threading.Semaphore(PARALLEL)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix=f"poll-{self._queue}")
        threading.Thread(target=self._run, daemon=True, name=f"poll-{self._queue}").start()

    def _run(self) -> None:
        while not self._stop.is_set() and (mapping := self._functions.mappings.all.get(self._uuid)) is not None:
            if mapping["State"] != "Enabled" or not self._waiting():
                self._stop.wait(IDLE_S)
                continue
            self._free.acquire()
            try:
                batch = self._gather(mapping)
            except (ClientError, BotoCoreError, ServiceError) as error:
                log.warning("mapping %s: %s", self._queue, error)
                batch = []
                self._clock.wait(TROUBLE_S, until=self._stop)
            if batch and not self._stop.is_set():
                self._pool.submit(self._handle, batch, mapping)
            else:
                self._free.release()
        self._pool.shutdown(wait=False)

    def _waiting(self) -> bool:
        """Whether the queue has a visible message: looked up in moto, so that an idle poller costs no call."""
        queue = sqs_backends[ACCOUNT][REGION].queues.get(self._queue)
        return queue is not None and any(message.visible and not message.delayed for message in list(queue._messages))

    def _gather(self, mapping: dict[str, Any]) -> list[dict[str, Any]]:
        """A batch: as many as there are, up to the batch size; with a window, wait for more until it has passed.

        A batch also ends once it is as large as a payload may be.
        """
        size, window = mapping["BatchSize"], mapping["MaximumBatchingWindowInSeconds"]
        sqs, url = self._sqs(mapping)
        ends = self._clock.now() + window
        batch: list[dict[str, Any]] = []
        while True:
            wanted = min(size - len(batch), RECEIVE_AT_MOST)
            found = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=wanted, AttributeNames=["All"], MessageAttributeNames=["All"], **self._hidden(mapping)
            )
            batch += found.get("Messages", [])
            full = len(batch) >= size or sum(len(message["Body"]) for message in batch) >= SYNC_PAYLOAD_BYTES
            if full or self._clock.now() >= ends or self._stop.is_set():
                return batch
            while not self._waiting() and self._clock.now() < ends and not self._stop.is_set():
                self._stop.wait(IDLE_S)

    def _hidden(self, mapping: dict[str, Any]) -> dict[str, int]:
        """Messages stay hidden through the window and the invocation, also when the queue's own timeout is shorter.

        Source: docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
        """
        queue = sqs_backends[ACCOUNT][REGION].queues.get(self._queue)
        window, timeout = mapping["MaximumBatchingWindowInSeconds"], self._functions.timeout_s(mapping["FunctionArn"])
        if queue is None or not window or window + timeout <= int(queue.visibility_timeout):
            return {}
        return {"VisibilityTimeout": window + timeout + SPARE_S}

    def _handle(self, batch: list[dict[str, Any]], mapping: dict[str, Any]) -> None:
        try:
            for messages in _payloads(batch):
                self._invoke(messages, mapping)
        except (ServiceError, ClientError, BotoCoreError) as error:
            log.warning("mapping %s: %s", self._queue, error)
        finally:
            self._free.release()

    def _invoke(self, messages: list[dict[str, Any]], mapping: dict[str, Any]) -> None:
        """What the function did not fail is deleted, the rest becomes visible again by timeout."""
        event = {"Records": [_record(message, self._arn) for message in messages]}
        outcome = self._functions.run(mapping["FunctionArn"], json.dumps(event).encode())
        if outcome.error is not None:
            log.warning("mapping %s: %s", self._queue, outcome.payload.decode(errors="replace")[:500])
            return
        failed = _failures(outcome.payload, messages) if "ReportBatchItemFailures" in mapping["FunctionResponseTypes"] else set()
        self._delete([message for message in messages if message["MessageId"] not in failed], mapping)

    def _delete(self, messages: list[dict[str, Any]], mapping: dict[str, Any]) -> None:
        sqs, url = self._sqs(mapping)
        for start in range(0, len(messages), RECEIVE_AT_MOST):
            entries = [
                {"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages[start : start + RECEIVE_AT_MOST])
            ]
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)

    def _sqs(self, mapping: dict[str, Any]) -> tuple[Any, str]:
        """A client with the function's role, and the queue's URL."""
        sqs = self._functions.acting(mapping["FunctionArn"])("sqs")
        queue = sqs_backends[ACCOUNT][REGION].queues.get(self._queue)
        if queue is None:
            raise ServiceError("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
        return sqs, f"{sqs.meta.endpoint_url}/{ACCOUNT}/{self._queue}"


def _payloads(batch: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The batch in parts that each fit a payload; room is left for what a record adds to its body."""
    parts: list[list[dict[str, Any]]] = []
    size = 0
    for message in batch:
        bytes_ = len(json.dumps(_record(message, ""))) + RECORD_BYTES
        if not parts or size + bytes_ > SYNC_PAYLOAD_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(message)
        size += bytes_
    return parts


def _failures(payload: bytes, messages: list[dict[str, Any]]) -> set[str]:
    """The message ids a function names as failed. An answer that is no such report fails the whole batch, as on AWS."""
    ids = {message["MessageId"] for message in messages}
    answer = json.loads(payload or b"null")
    items = answer.get("batchItemFailures") if isinstance(answer, dict) else answer
    if not items:
        return set()
    if not isinstance(answer, dict) or not isinstance(items, list):
        return ids
    failed = {str(item.get("itemIdentifier")) if isinstance(item, dict) else "" for item in items}
    return ids if failed - ids else failed


def _record(message: dict[str, Any], arn: str) -> dict[str, Any]:
    """Source: docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
    md5 = {"md5OfMessageAttributes": message["MD5OfMessageAttributes"]} if message.get("MessageAttributes") else {}
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        **md5,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    text = {"stringValue": value["StringValue"]} if "StringValue" in value else {}
    data = {"binaryValue": base64.b64encode(value["BinaryValue"]).decode()} if "BinaryValue" in value else {}
    return text | data | {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
