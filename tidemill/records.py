"""What the ledger remembers: uploads, leases, runs, decisions, champions, releases."""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

UploadState = Literal["pending", "claimed", "prepared", "refused", "stored"]
RunOutcome = Literal["registered", "rejected", "refused", "nothing_new", "failed"]
ReleaseOutcome = Literal["live", "refused", "restored", "restore_failed"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Upload(_Record):
    """One version of one object in the landing bucket. Its identity is bucket, key and version id.

    pending → claimed (by the run of `epoch`) → prepared | refused. `prepare_hash` is the spec's that made the part: under other
    rules a later run claims and prepares it again. Labels are `stored` until the watch step reads them.
    """

    bucket: str
    key: str
    version_id: str
    model: str
    size_bytes: int
    received_at: str
    state: UploadState = "pending"
    epoch: int | None = None
    attempts: int = 0
    part: str | None = None
    prepare_hash: str | None = None
    reason: str | None = None

    @property
    def id(self) -> str:
        return hashlib.sha256("\n".join((self.bucket, self.key, self.version_id)).encode()).hexdigest()[:32]

    @property
    def order(self) -> tuple[str, str]:
        """Oldest first; the id settles ties for good."""
        return self.received_at, self.id


class Lease(_Record):
    """Who may write for a model. `owner` is an execution ARN, or None when the model is idle."""

    epoch: int = 0
    owner: str | None = None


class Run(_Record):
    """One training run. `refused`: files it could not use; `reasons`: why it ended as it did; finish sets outcome and finished_at."""

    model: str
    epoch: int
    cause: str
    execution: str
    started_at: str
    uploads: tuple[str, ...]
    spec_hash: str
    code_hash: str
    dataset: str | None = None
    evaluation: str | None = None
    decision: Literal["promote", "reject"] | None = None
    refused: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    package: str | None = None
    outcome: RunOutcome | None = None
    finished_at: str | None = None


class Package(_Record):
    """A registered model package and what its gate said: the only thing a release trusts."""

    arn: str
    model: str
    version: int
    run: int
    decision: Literal["promote", "reject"]
    compared_with: str | None
    model_data: str
    image: str
    evaluation: str
    spec_hash: str

    @property
    def name(self) -> str:
        return f"{self.model}/{self.version}"


class Champion(_Record):
    """The package that serves, and the endpoint config that serves it."""

    package: str
    version: int
    model_data: str
    endpoint_config: str
    since: str


class Release(_Record):
    """One attempt to bring a package live; there is at most one a package."""

    package: str
    execution: str
    started_at: str
    outcome: ReleaseOutcome | None = None
    reason: str | None = None
    finished_at: str | None = None


class DecisionEntry(_Record):
    """A line of the decision log. `hash` covers every other field, `previous` the entry before: a chain."""

    seq: int
    time: str
    model: str
    kind: Literal["upload", "gate", "run", "release"]
    subject: str
    actor: str
    decision: str
    reasons: tuple[str, ...]
    inputs: dict[str, str]
    previous: str
    hash: str


def chained(previous: DecisionEntry | None, **fields: Any) -> DecisionEntry:
    """The next entry of the log after `previous` (None for the first)."""
    entry = DecisionEntry(seq=previous.seq + 1 if previous else 1, previous=previous.hash if previous else "", hash="", **fields)
    return entry.model_copy(update={"hash": digest(entry)})


def digest(entry: DecisionEntry) -> str:
    body = json.dumps(entry.model_dump(mode="json", exclude={"hash"}), sort_keys=True)
    return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"
