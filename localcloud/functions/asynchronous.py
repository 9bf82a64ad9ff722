"""Asynchronous invocations: accepted at once, tried again after errors, then sent to the dead-letter queue.

Source: docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from localcloud import ACCOUNT
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import ServiceError
from localcloud.functions.environment import Outcome

log = logging.getLogger("localcloud")

RETRY_AFTER_S = (60.0, 120.0)
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0
MAX_AGE_S = 6 * 3600.0
MESSAGE_CHARS = 1024
OF_THE_FUNCTION, THROTTLED = "200", "429"


@dataclass(frozen=True)
class Policy:
    """How often and how long to try, and where an event goes that failed: a queue's ARN, reached with `clients`.

    `unsent` is told when it could not be sent there.
    """

    retries: int
    max_age_s: float
    dead_letter: str | None
    clients: Callable[[], Clients]
    unsent: Callable[[], None]


@dataclass(frozen=True)
class Event:
    """An accepted event. Its id stays the same through all attempts."""

    request_id: str
    payload: bytes


def invoke_later(run: Callable[[], Outcome], event: Event, policy: Policy, clock: Clock) -> None:
    """Run in the background until it succeeds or the policy ends it. Throttled attempts wait, and do not count."""
    threading.Thread(target=_attempts, args=(run, event, policy, clock), daemon=True, name="lambda-async").start()


def _attempts(run: Callable[[], Outcome], event: Event, policy: Policy, clock: Clock) -> None:
    ends = clock.now() + policy.max_age_s
    failures, backoff = 0, FIRST_BACKOFF_S
    while True:
        try:
            outcome = run()
            if outcome.error is None:
                return
            status, message = OF_THE_FUNCTION, str(json.loads(outcome.payload or b"{}").get("errorMessage", ""))
            failures += 1
            wait = RETRY_AFTER_S[failures - 1] if failures <= policy.retries else None
        except ServiceError as error:
            if error.code == "ResourceNotFoundException":
                log.warning("an event was dropped: %s", error)
                return
            status, message, wait, backoff = THROTTLED, error.message, backoff, min(backoff * 2, LONGEST_BACKOFF_S)
        if wait is None or clock.now() + wait > ends:
            _bury(event, status, message, policy)
            return
        if not _slept(clock, wait):
            return


def _slept(clock: Clock, seconds: float) -> bool:
    """Wait by the clock; False when it was stopped before."""
    due = clock.now() + seconds
    clock.wait(seconds)
    return clock.now() >= due


def _bury(event: Event, status: str, message: str, policy: Policy) -> None:
    """Attributes as AWS sets them: ErrorCode is an HTTP status, 200 for an error of the function itself."""
    if policy.dead_letter is None:
        log.warning("an event was dropped after its last attempt: %s", message)
        return
    values = {"RequestID": ("String", event.request_id), "ErrorCode": ("Number", status), "ErrorMessage": ("String", message[:MESSAGE_CHARS] or "-")}
    attributes = {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in values.items()}
    try:
        sqs = policy.clients()("sqs")
        url = f"{sqs.meta.endpoint_url}/{ACCOUNT}/{policy.dead_letter.rpartition(':')[2]}"  # asking for it would need sqs:GetQueueUrl
        sqs.send_message(QueueUrl=url, MessageBody=event.payload.decode(), MessageAttributes=attributes)
    except (ClientError, BotoCoreError, ServiceError):
        policy.unsent()
        log.exception("an event could not be sent to the dead-letter queue %s", policy.dead_letter)
