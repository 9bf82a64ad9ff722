"""Delivery from EventBridge rules to their targets, with retries and dead-letter queues.

Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-event-delivery.html
"""

import json
import logging
import random
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import ServiceError
from localcloud.events.transform import target_input
from localcloud.faults import Faults
from localcloud.iam.authorizer import Authorizer

log = logging.getLogger("localcloud")

EVENTS = "events.amazonaws.com"
RETRIES, MAX_AGE_S = 185, 86_400.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 900.0
ACTIONS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage", "sns": "sns:Publish"}
DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}
GONE = {
    "ResourceNotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "NotFound",
    "NotFoundException",
    "StateMachineDoesNotExist",
}


class Rule(Protocol):
    """What the bus asks of a rule."""

    arn: str
    targets: dict[str, dict[str, Any]]

    def matches(self, event: dict[str, Any]) -> bool: ...


class Undeliverable(Exception):
    """A target that cannot be reached however often one tries; `code` is EventBridge's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Delivery:
    """One event on its way to one target."""

    rule: str
    target: dict[str, Any]
    payload: str
    began: float
    attempts: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  # jitter, nothing secret


class EventBus:
    """Takes events, finds the rules that match, and delivers in the background."""

    def __init__(self, clients: Clients, clock: Clock, authorizer: Authorizer, faults: Faults) -> None:
        self._clients = clients
        self._clock = clock
        self._authorizer = authorizer
        self._faults = faults
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="events")
        self._urls: dict[str, str] = {}
        self._stopped = threading.Event()
        self.rules: dict[str, Rule] = {}

    def stop(self) -> None:
        self._stopped.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def emit(self, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> str:
        """An event that an AWS service sends on the default bus; its id."""
        return self.put(source, detail_type, json.loads(json.dumps(detail, default=_json)), resources)

    def put(self, source: str, detail_type: str, detail: Any, resources: list[str], time: float | None = None) -> str:
        """Offer an event to every rule; its id."""
        moment = datetime.fromtimestamp(self._clock.now() if time is None else time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "version": "0", "id": str(uuid.uuid4()), "detail-type": detail_type, "source": source, "account": ACCOUNT,
            "time": moment, "region": REGION, "resources": resources, "detail": detail,
        }  # fmt: skip
        for rule in list(self.rules.values()):
            if rule.matches(event):
                self.send(rule, event)
        return str(event["id"])

    def send(self, rule: Rule, event: dict[str, Any]) -> None:
        """Deliver an event to all targets of a rule."""
        for target in list(rule.targets.values()):
            delivery = (rule.arn, target, target_input(target, event, rule.arn))
            for delay in self._faults.on_delivery(event["detail-type"]):
                one = Delivery(*delivery, began=self._clock.now())
                if delay:
                    self._clock.at(self._clock.now() + delay, lambda one=one: self._submit(one))  # type: ignore[misc]  # a default argument
                else:
                    self._submit(one)

    def _submit(self, delivery: Delivery) -> None:
        if not self._stopped.is_set():
            self._pool.submit(self._attempt, delivery)

    def _attempt(self, delivery: Delivery) -> None:
        try:
            self._deliver(delivery)
        except Undeliverable as error:
            self._bury(delivery, error.code, str(error), None)
        except (ClientError, ServiceError) as error:
            self._refused(delivery, error.response["Error"]["Code"] if isinstance(error, ClientError) else error.code, str(error))
        except Exception:
            if not self._stopped.is_set():
                log.exception("rule %s to %s", delivery.rule, delivery.target["Arn"])

    def _refused(self, delivery: Delivery, code: str, message: str) -> None:
        """What will not change by itself is not tried again: "missing permissions", "the target resource no longer exists"."""
        if code in GONE:
            self._bury(delivery, "NO_RESOURCE", message, None)
        elif code in DENIED:
            self._bury(delivery, "NO_PERMISSIONS", message, None)
        else:
            self._again(delivery, message)

    def _again(self, delivery: Delivery, message: str) -> None:
        """Wait and try again, unless the target's retry policy says that it is enough."""
        policy = delivery.target.get("RetryPolicy", {})
        if delivery.attempts >= int(policy.get("MaximumRetryAttempts", RETRIES)):
            return self._bury(delivery, "ERROR_FROM_TARGET", message, "MaximumRetryAttempts")
        wait = min(FIRST_WAIT_S * 2.0**delivery.attempts, LONGEST_WAIT_S) * (0.5 + delivery.chance.random() / 2)
        if self._clock.now() + wait - delivery.began > float(policy.get("MaximumEventAgeInSeconds", MAX_AGE_S)):
            return self._bury(delivery, "ERROR_FROM_TARGET", message, "MaximumEventAgeInSeconds")
        delivery.attempts += 1
        self._clock.at(self._clock.now() + wait, lambda: self._submit(delivery))
        return None

    def _bury(self, delivery: Delivery, code: str, message: str, exhausted: str | None) -> None:
        log.error("rule %s: no delivery to %s: %s", delivery.rule, delivery.target["Arn"], message)
        queue = delivery.target.get("DeadLetterConfig", {}).get("Arn")
        if queue is None:
            return
        values = {
            "RULE_ARN": delivery.rule, "TARGET_ARN": delivery.target["Arn"], "ERROR_CODE": code, "ERROR_MESSAGE": message[:1024],
            "RETRY_ATTEMPTS": str(delivery.attempts),
        } | ({"EXHAUSTED_RETRY_CONDITION": exhausted} if exhausted else {})  # fmt: skip
        try:
            self._allowed("sqs", queue, delivery.rule)
            self._queue(
                self._clients, queue, delivery.payload, {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}
            )
        except (Undeliverable, ClientError):
            log.exception("the dead-letter queue %s of rule %s takes nothing: the event is lost", queue, delivery.rule)

    def _deliver(self, delivery: Delivery) -> None:
        """One public call a kind of target: with the target's role if it has one, else by the resource's policy.

        Source: docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        """
        arn, payload = delivery.target["Arn"], delivery.payload
        service = arn.split(":")[2]
        clients = self._clients
        if "RoleArn" in delivery.target:
            clients = self._role(delivery)
        else:
            self._allowed(service, arn, delivery.rule)
        match service:
            case "states":
                clients("stepfunctions").start_execution(stateMachineArn=arn, name=str(uuid.uuid4()), input=payload)
            case "lambda":
                clients("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=payload.encode())
            case "sqs":
                self._queue(clients, arn, payload, {})
            case "sns":
                clients("sns").publish(TopicArn=arn, Message=payload)

    def _allowed(self, service: str, arn: str, rule: str) -> None:
        decision = self._authorizer.service(EVENTS, ACTIONS[service], arn, rule)
        if not decision.allowed:
            raise Undeliverable("NO_PERMISSIONS", f"{EVENTS} is not authorized to perform: {ACTIONS[service]} on resource: {arn} {decision.reason}")

    def _role(self, delivery: Delivery) -> Clients:
        try:
            return self._clients.acting(self._authorizer.acting(delivery.target["RoleArn"], EVENTS, delivery.rule))
        except ServiceError as error:
            raise Undeliverable("FAILED_TO_ASSUME_ROLE", str(error)) from error

    def _queue(self, clients: Clients, arn: str, body: str, attributes: dict[str, Any]) -> None:
        if arn not in self._urls:
            self._urls[arn] = self._clients("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        clients("sqs").send_message(QueueUrl=self._urls[arn], MessageBody=body, MessageAttributes=attributes)


def _json(value: Any) -> Any:
    """SageMaker's events carry times as epoch milliseconds."""
    return int(value.timestamp() * 1000) if isinstance(value, datetime) else str(value)
