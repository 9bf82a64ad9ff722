"""The pollers behind event source mappings: messages go from SQS to a function in batches, failures come back.

One thread a mapping waits for messages; batches are handled side by side, as many as Lambda's pollers would at most.
Source: docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from moto.sqs.models import sqs_backends

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock, Signal
from localcloud.errors import ServiceError
from localcloud.functions.service import Functions

log = logging.getLogger("localcloud")

IDLE_S = 0.02
TROUBLE_S = 1.0
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
            for uuid, mapping in list(self._functions.mappings.all.items()):
                if uuid not in self._pollers:
                    self._pollers[uuid] = QueuePoller(mapping, self._functions, self._clock, self._stop)
            self._stop.wait(IDLE_S)


class QueuePoller:
    """Serves one mapping until it is deleted."""

    def __init__(self, mapping: dict[str, Any], functions: Functions, clock: Clock, stop: Signal) -> None:
        self._mapping = mapping
        self._functions = functions
        self._clock = clock
        self._stop = stop
        self._queue = mapping["EventSourceArn"].rpartition(":")[2]
        self._url = functions.queue_url(self._queue)
        self._free = threading.Semaphore(PARALLEL)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix=f"poll-{self._queue}")
        threading.Thread(target=self._run, daemon=True, name=f"poll-{self._queue}").start()

    def _run(self) -> None:
        while not self._stop.is_set() and self._mapping["UUID"] in self._functions.mappings.all:
            if self._mapping["State"] != "Enabled" or not self._waiting():
                self._stop.wait(IDLE_S)
                continue
            self._free.acquire()
            try:
                batch = self._gather()
            except (ClientError, BotoCoreError, ServiceError) as error:
                log.warning("mapping %s: %s", self._queue, error)
                batch = []
                self._clock.wait(TROUBLE_S, until=self._stop)
            if batch and not self._stop.is_set():
                self._pool.submit(self._handle, batch)
            else:
                self._free.release()
        self._pool.shutdown(wait=False)

    def _waiting(self) -> bool:
        """Whether the queue has a visible message: looked up in moto, so that an idle poller costs no call."""
        queue = sqs_backends[ACCOUNT][REGION].queues.get(self._queue)
        return queue is not None and any(message.visible and not message.delayed for message in list(queue._messages))

    def _gather(self) -> list[dict[str, Any]]:
        """A batch: as many as there are, up to the batch size; with a window, wait for more until it has passed."""
        size, window = self._mapping["BatchSize"], self._mapping["MaximumBatchingWindowInSeconds"]
        sqs = self._sqs()
        url = self._url
        ends = self._clock.now() + window
        batch: list[dict[str, Any]] = []
        while True:
            wanted = min(size - len(batch), RECEIVE_AT_MOST)
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=wanted, AttributeNames=["All"], MessageAttributeNames=["All"])
            batch += found.get("Messages", [])
            if len(batch) >= size or self._clock.now() >= ends or self._stop.is_set():
                return batch
            while not self._waiting() and self._clock.now() < ends and not self._stop.is_set():
                self._stop.wait(IDLE_S)

    def _handle(self, messages: list[dict[str, Any]]) -> None:
        """Invoke with the batch; what the function did not fail is deleted, the rest becomes visible again by timeout."""
        try:
            event = {"Records": [_record(message, self._mapping["EventSourceArn"]) for message in messages]}
            outcome = self._functions.run(self._mapping["FunctionArn"], json.dumps(event).encode())
            if outcome.error is not None:
                log.warning("mapping %s: %s", self._queue, outcome.payload.decode(errors="replace")[:500])
                return
            failed = _failures(outcome.payload, messages) if "ReportBatchItemFailures" in self._mapping["FunctionResponseTypes"] else set()
            self._delete([message for message in messages if message["MessageId"] not in failed])
        except (ServiceError, ClientError, BotoCoreError) as error:
            log.warning("mapping %s: %s", self._queue, error)
        finally:
            self._free.release()

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        for start in range(0, len(messages), RECEIVE_AT_MOST):
            entries = [
                {"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages[start : start + RECEIVE_AT_MOST])
            ]
            self._sqs().delete_message_batch(QueueUrl=self._url, Entries=entries)

    def _sqs(self) -> Any:
        return self._acting()("sqs")

    def _acting(self) -> Clients:
        return self._functions.acting(self._mapping["FunctionArn"])


def _failures(payload: bytes, messages: list[dict[str, Any]]) -> set[str]:
    """The message ids a function names as failed. An answer that is no such report fails the whole batch, as on AWS."""
    ids = {message["MessageId"] for message in messages}
    answer = json.loads(payload or b"null")
    if not answer:
        return set()
    items = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not items:
        return set()
    failed = {str(item.get("itemIdentifier")) if isinstance(item, dict) else "" for item in items}
    return ids if failed - ids else failed


def _record(message: dict[str, Any], arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    text = {"stringValue": value["StringValue"]} if "StringValue" in value else {}
    return text | {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
