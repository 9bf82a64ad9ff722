"""Asynchronous invocations: accepted at once, tried again after errors, then sent to the dead-letter queue.

Source: docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import json
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import ServiceError
from localcloud.functions.environment import Outcome

log = logging.getLogger("localcloud")

RETRY_AFTER_S = (60.0, 120.0)
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0
MAX_AGE_S = 6 * 3600.0
MESSAGE_CHARS = 1024


@dataclass(frozen=True)
class Policy:
    """How often and how long to try, and where an event goes that failed: a queue's ARN, reached with `clients`."""

    retries: int
    max_age_s: float
    dead_letter: str | None
    clients: Clients | None


def invoke_later(run: Callable[[], Outcome], payload: bytes, policy: Policy, clock: Clock) -> None:
    """Run in the background until it succeeds or the policy ends it. Throttled attempts wait, and do not count."""
    threading.Thread(target=_attempts, args=(run, payload, policy, clock), daemon=True, name="lambda-async").start()


def _attempts(run: Callable[[], Outcome], payload: bytes, policy: Policy, clock: Clock) -> None:
    ends = clock.now() + policy.max_age_s
    failures, backoff, message = 0, FIRST_BACKOFF_S, "the event became too old"
    while True:
        try:
            outcome = run()
            if outcome.error is None:
                return
            message = json.loads(outcome.payload or b"{}").get("errorMessage", "")
            failures += 1
            if failures > policy.retries:
                break
            wait = RETRY_AFTER_S[failures - 1]
        except ServiceError as error:
            message, wait, backoff = str(error), backoff, min(backoff * 2, LONGEST_BACKOFF_S)
        if clock.now() + wait > ends:
            break
        clock.wait(wait)
    _bury(payload, message, policy)


def _bury(payload: bytes, message: str, policy: Policy) -> None:
    """Attributes as AWS sets them: ErrorCode is an HTTP status, 200 for an error of the function itself."""
    if policy.dead_letter is None or policy.clients is None:
        log.warning("an event was dropped after its last attempt: %s", message)
        return
    values = {"RequestID": ("String", str(uuid.uuid4())), "ErrorCode": ("Number", "200"), "ErrorMessage": ("String", message[:MESSAGE_CHARS] or "-")}
    attributes = {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in values.items()}
    sqs = policy.clients("sqs")
    try:
        url = sqs.get_queue_url(QueueName=policy.dead_letter.rpartition(":")[2])["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=payload.decode(), MessageAttributes=attributes)
    except sqs.exceptions.ClientError:
        log.exception("an event could not be sent to the dead-letter queue %s", policy.dead_letter)
