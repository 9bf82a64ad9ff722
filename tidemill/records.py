"""What the ledger remembers: uploads, leases, runs, decisions, champions, releases."""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

UploadState = Literal["pending", "claimed", "prepared", "refused", "parked", "stored"]
RunOutcome = Literal["registered", "rejected", "held", "refused", "nothing_new", "failed"]
ReleaseOutcome = Literal["live", "refused", "restored", "restore_failed"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Upload(_Record):
    """One version of one object in the landing bucket. Its identity is bucket, key and version id.

    pending → claimed (by the run of `epoch`) → prepared | refused; back to pending when that run dies, to parked when it was
    the third. `rules` are what made the part: under other rules it is reopened and prepared again. Labels are
    `stored` until the watch step reads them.
    """

    bucket: str
    key: str
    version_id: str
    model: str
    size_bytes: int
    received_at: str
    sequencer: str | None = None
    etag: str | None = None
    state: UploadState = "pending"
    epoch: int | None = None
    attempts: int = 0
    part: str | None = None
    rules: str | None = None
    reason: str | None = None

    @property
    def id(self) -> str:
        return hashlib.sha256("\n".join((self.bucket, self.key, self.version_id)).encode()).hexdigest()[:32]

    @property
    def order(self) -> tuple[str, str]:
        """Oldest first; the id settles ties for good."""
        return self.received_at, self.id

    @property
    def version_order(self) -> tuple[int, str, str]:
        """Oldest first among the versions of one key, in whatever order their events came.

        S3's sequencers of one key compare as hexadecimal numbers: docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
        """
        return int(self.sequencer or "0", 16), *self.order

    @property
    def open(self) -> bool:
        """True while a run still has to settle it."""
        return self.state in ("pending", "claimed")

    def reopened(self) -> "Upload":
        """The same upload as if it had just come."""
        return self.model_copy(update={"state": "pending", "epoch": None, "attempts": 0, "part": None, "rules": None, "reason": None})


class Waiting(_Record):
    """When the first and the last open upload of a model were received."""

    first: str
    last: str


class Exclusion(_Record):
    """An upload that a person took out of all later datasets, and why. It goes with the upload's content, under whatever key."""

    model: str
    upload: str
    key: str
    reason: str
    actor: str
    time: str


class Lease(_Record):
    """Who may write for a model. `owner` is an execution ARN, or None when the model is idle."""

    epoch: int = 0
    owner: str | None = None


class Execution(_Record):
    """An execution of the training machine, as Step Functions tells it."""

    arn: str
    status: str
    started_at: str | None = None
    error: str | None = None
    cause: str | None = None

    @property
    def alive(self) -> bool:
        return self.status == "RUNNING"


class Run(_Record):
    """One training run. `refused`: files it could not use; `reasons`: why it ended as it did; finish sets outcome and finished_at.

    `holdout`: hash of the rows that judged its model.
    """

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
    holdout: str | None = None
    decision: Literal["promote", "hold", "reject"] | None = None
    refused: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    package: str | None = None
    outcome: RunOutcome | None = None
    finished_at: str | None = None


class Package(_Record):
    """A registered model package and what its gate said: the only thing a release trusts. `expires_at`: until when a person may approve it.

    `keeps_to`: the package that later challengers must not fall behind once this one is live, where that is an earlier and better one.
    """

    arn: str
    model: str
    version: int
    run: int
    decision: Literal["promote", "hold", "reject"]
    compared_with: str | None
    model_data: str
    image: str
    evaluation: str
    spec_hash: str
    expires_at: str | None = None
    keeps_to: str | None = None

    @property
    def name(self) -> str:
        return f"{self.model}/{self.version}"


class Waiver(_Record):
    """A person's word that challengers need not be compared with a package that cannot score their rows, and why. `fault`: what it could not do."""

    model: str
    package: str
    fault: str
    reason: str
    actor: str
    time: str


class Champion(_Record):
    """The package that serves, and the endpoint config that serves it. `keeps_to`: see Package."""

    package: str
    version: int
    model_data: str
    endpoint_config: str
    since: str
    keeps_to: str | None = None


class Release(_Record):
    """One attempt to bring a package live; there is at most one a package."""

    package: str
    execution: str
    started_at: str
    outcome: ReleaseOutcome | None = None
    reason: str | None = None
    finished_at: str | None = None


class Suppression(_Record):
    """A key that was erased and must not come back: `digest` is one-way, `tag` is 16 bits to find candidates by."""

    model: str
    digest: str
    tag: int
    erasure: str
    time: str


class Unreproducible(_Record):
    """A dataset that can no longer be read as it was learned from: an erasure took rows out of one of its parts."""

    model: str
    dataset: str
    erasure: str
    time: str


class DecisionEntry(_Record):
    """A line of the decision log. `hash` covers every other field, `previous` the entry before: a chain."""

    seq: int
    time: str
    model: str
    kind: Literal["upload", "gate", "run", "approval", "release", "erasure"]
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
