"""Dead letters: the messages that failed five times, to look at and to send again."""

from collections.abc import Iterator
from typing import Any

import boto3
from pydantic import BaseModel, ConfigDict

from tidemill.adapters.errors import translated

AT_MOST = 10
HIDDEN_S = 60
WAIT_S = 1


class DeadLetter(BaseModel):
    """A message of a dead-letter queue. `why` is what EventBridge says of an event that it could not deliver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    body: str
    sent_ms: int
    why: str | None
    receipt: str


class DeadLetters:
    """One dead-letter queue and the queue that its messages came from."""

    def __init__(self, dead_url: str, queue_url: str, client: Any = None) -> None:
        self._dead, self._queue = dead_url, queue_url
        self._sqs = client or boto3.client("sqs")

    def all(self) -> list[DeadLetter]:
        """All of them, as far as SQS shows them; they stay where they are."""
        letters = list(self._receive())
        for letter in letters:
            with translated(f"dead letter {letter.id}"):
                self._sqs.change_message_visibility(QueueUrl=self._dead, ReceiptHandle=letter.receipt, VisibilityTimeout=0)
        return letters

    def redrive(self) -> list[DeadLetter]:
        """Send each again, then delete it: one that is interrupted between is there twice, which intake and start take for once.

        Not StartMessageMoveTask: it moves in the background, and would have to be asked what became of it.
        """
        moved = []
        for letter in self._receive():
            with translated(f"dead letter {letter.id}"):
                self._sqs.send_message(QueueUrl=self._queue, MessageBody=letter.body)
                self._sqs.delete_message(QueueUrl=self._dead, ReceiptHandle=letter.receipt)
            moved.append(letter)
        return moved

    def _receive(self) -> Iterator[DeadLetter]:
        """Until the queue shows none; each once, also when it is delivered twice."""
        seen: set[str] = set()
        while True:
            with translated("dead letters"):
                found = self._sqs.receive_message(
                    QueueUrl=self._dead, MaxNumberOfMessages=AT_MOST, WaitTimeSeconds=WAIT_S, VisibilityTimeout=HIDDEN_S,
                    AttributeNames=["SentTimestamp"], MessageAttributeNames=["ERROR_CODE", "ERROR_MESSAGE"],
                ).get("Messages", [])  # fmt: skip
            fresh = [message for message in found if message["MessageId"] not in seen]
            if not fresh:
                return
            seen |= {message["MessageId"] for message in fresh}
            yield from (_letter(message) for message in fresh)


def _letter(message: dict[str, Any]) -> DeadLetter:
    told = message.get("MessageAttributes", {})
    why = [told[name]["StringValue"] for name in ("ERROR_CODE", "ERROR_MESSAGE") if name in told]
    return DeadLetter(
        id=message["MessageId"], body=message["Body"], sent_ms=int(message["Attributes"]["SentTimestamp"]), why=": ".join(why) or None,
        receipt=message["ReceiptHandle"],
    )  # fmt: skip
