"""A queue with its dead-letter queue and the alarm on it: a message that failed five times is a person's business."""

from typing import cast

from aws_cdk import Duration
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.alarm import alarm


class Queue(Construct):
    """`visibility` must be at least six times the consumer's timeout (AWS's advice for event source mappings)."""

    def __init__(self, scope: Construct, name: str, *, visibility: Duration, topic: sns.ITopic) -> None:
        super().__init__(scope, name)
        self.dead = sqs.Queue(self, "Dead", retention_period=Duration.days(14), enforce_ssl=True)
        self.queue = sqs.Queue(
            self,
            "Queue",
            visibility_timeout=visibility,
            retention_period=Duration.days(4),
            enforce_ssl=True,
            dead_letter_queue=sqs.DeadLetterQueue(queue=cast("sqs.IQueue", self.dead), max_receive_count=5),
        )
        self.alarm = alarm(
            self,
            "DeadAlarm",
            metric=self.dead.metric_approximate_number_of_messages_visible(period=Duration.minutes(1), statistic="Maximum"),
            threshold=0,
            description=f"{name}: messages failed five times and wait in the dead-letter queue",
            topic=topic,
        )
