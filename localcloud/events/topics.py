"""SNS delivers to a queue only if the queue's policy lets it. Two seams of moto: `Subscription.publish`, which asks
nobody, and `SNSBackend.subscribe`, which takes protocols that nothing here delivers to.

Source: docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html. E-mail is recorded by moto, not sent.
"""

import logging
from typing import Any

from moto.sns.models import SNSBackend, Subscription

from localcloud.errors import NotSupported
from localcloud.iam.authorizer import Authorizer

log = logging.getLogger("localcloud")

SNS = "sns.amazonaws.com"

DELIVERED = ("email", "email-json", "sqs")

_publish = Subscription.publish
_subscribe = SNSBackend.subscribe


def install(authorizer: Authorizer) -> None:
    def publish(subscription: Subscription, *arguments: Any, **more: Any) -> None:
        if subscription.protocol == "sqs":
            decision = authorizer.service(SNS, "sqs:SendMessage", subscription.endpoint, subscription.topic.arn)
            if not decision.allowed:
                log.warning("topic %s: not delivered to %s: %s", subscription.topic.name, subscription.endpoint, decision.reason)
                return
        _publish(subscription, *arguments, **more)

    def subscribe(backend: SNSBackend, topic_arn: str, endpoint: str, protocol: str) -> Any:
        if protocol not in DELIVERED:
            raise NotSupported(f"SNS subscriptions of protocol {protocol}")
        return _subscribe(backend, topic_arn, endpoint, protocol)

    Subscription.publish = publish
    SNSBackend.subscribe = subscribe
