"""The events and messages Tidemill reads, parsed once at the edge."""

import json
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from tidemill.records import Execution, ReleaseOutcome, RunOutcome


def iso(ms: int) -> str:
    """Epoch milliseconds as ISO 8601 UTC, sortable as text: how every time of an event is written down."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class _Bucket(_Event):
    name: str


class _Object(_Event):
    key: str
    size: int = 0
    version_id: str = Field(default="null", alias="version-id")
    etag: str | None = None
    sequencer: str | None = Field(default=None, pattern=r"^[0-9A-Fa-f]+$")


class _ObjectDetail(_Event):
    bucket: _Bucket
    object: _Object


class ObjectCreated(_Event):
    """S3 "Object Created" as EventBridge delivers it; the key comes unencoded.

    Shape: docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
    """

    detail: _ObjectDetail

    @classmethod
    def read(cls, body: str) -> Self | None:
        """The event of a message; None for a message that is something else, like the test event S3 sends when a bucket is set up.

        Raises ValueError for what is no JSON, and for an "Object Created" that lacks what it must have.
        """
        message = json.loads(body)
        if not isinstance(message, dict) or message.get("detail-type") != "Object Created":
            return None
        return cls.model_validate(message)


class Tick(_Event):
    """The message that closes a quiet window."""

    model: str


class QueueRecord(_Event):
    """One SQS message as Lambda receives it; the times are epoch milliseconds."""

    message_id: str = Field(alias="messageId")
    body: str
    attributes: dict[str, Any]

    @property
    def sent_ms(self) -> int:
        return int(self.attributes["SentTimestamp"])

    @property
    def first_received_ms(self) -> int:
        return int(self.attributes["ApproximateFirstReceiveTimestamp"])


class ClaimRequest(_Event):
    """What the training machine hands to claim."""

    model: str
    epoch: int
    cause: str
    execution: str
    started_at: str


class RunRef(_Event):
    """Which run a step works for."""

    model: str
    epoch: int


class ExportRequest(RunRef):
    """A run that has ended, to be told to an experiment tracker; `last`: a server that is away now is not asked again."""

    last: bool = False


class PrepareRequest(RunRef):
    """One bin of the run's work list."""

    bin: int


class PackRequest(RunRef):
    """The dataset of a run, by id."""

    dataset: str


class GateRequest(RunRef):
    """Where the evaluation lies, as a key of the lake, and when the execution began."""

    evaluation: str
    now: str


class RegisterRequest(RunRef):
    """What was trained, for the model package."""

    evaluation: str
    model_data: str
    image: str
    now: str


class Failure(_Event):
    """A caught error of a state machine. A cause is text, or the JSON of a function's error or of a SageMaker job."""

    state: str
    error: str
    cause: str

    def __str__(self) -> str:
        return f"{self.state}: {self.error}: {self._reason()}"[:2000]

    def _reason(self) -> str:
        try:
            body = json.loads(self.cause)
        except ValueError:
            return self.cause
        reasons = (body.get(name) for name in ("errorMessage", "ExitMessage", "FailureReason")) if isinstance(body, dict) else ()
        return next((str(reason) for reason in reasons if reason), self.cause)


class FinishRequest(RunRef):
    """The end of a run: its outcome, or the failure that ended it."""

    execution: str
    outcome: RunOutcome | None = None
    failure: Failure | None = None
    started_at: str
    now: str


class _ExecutionDetail(_Event):
    execution: str | None = Field(default=None, alias="executionArn")
    status: str = ""
    started_ms: int | None = Field(default=None, alias="startDate")
    input: str | None = None
    error: str | None = None
    cause: str | None = None


class SweepEvent(_Event):
    """A schedule's event, or Step Functions' "Execution Status Change".

    Shapes: docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    time: str
    detail: _ExecutionDetail = _ExecutionDetail()

    @property
    def execution(self) -> Execution | None:
        """The execution that ended; None for a schedule."""
        told = self.detail
        if told.execution is None:
            return None
        started = None if told.started_ms is None else iso(told.started_ms)
        return Execution(arn=told.execution, status=told.status, started_at=started, error=told.error, cause=told.cause)

    @property
    def model(self) -> str | None:
        """The model of the execution that ended; None for a schedule, and when the event does not say (a large input is left out)."""
        try:
            given = json.loads(self.detail.input or "null")
        except ValueError:
            return None
        model = given.get("model") if isinstance(given, dict) else None
        return model if isinstance(model, str) else None


class ReleaseRequest(_Event):
    """An approved package, and the execution that releases it."""

    group: str
    version: int
    execution: str
    now: str


class ReleaseRef(_Event):
    """Which release a step works for."""

    model: str
    version: int
    execution: str
    now: str


class SmokeRequest(_Event):
    """An endpoint to check against a package's golden requests."""

    model: str
    version: int
    endpoint: str


class ReleaseEnd(ReleaseRef):
    """The end of a release."""

    outcome: ReleaseOutcome
    endpoint_config: str | None = None
    failure: Failure | None = None
