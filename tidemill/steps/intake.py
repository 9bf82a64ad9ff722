"""intake: an object in the landing bucket becomes an upload in the ledger, once; then always a tick."""

from dataclasses import dataclass
from datetime import UTC, datetime

from tidemill import keys
from tidemill.errors import UnknownModel
from tidemill.events import ObjectCreated
from tidemill.ports import Ledger, Models, Ticks
from tidemill.records import Upload


@dataclass(frozen=True)
class Taken:
    """What became of an event: ignored | duplicate | refused | stored | pending."""

    outcome: str
    key: str
    model: str | None = None
    upload: str | None = None
    reason: str | None = None


def intake(event: ObjectCreated, received_ms: int, *, ledger: Ledger, models: Models, ticks: Ticks) -> Taken:
    """Record the upload and send a tick that is due after the quiet window, also for a duplicate.

    A duplicate ticks because the first delivery may have died between its record and its tick.
    """
    detail = event.detail
    landing = keys.parse_landing_key(detail.object.key)
    if landing is None:
        return Taken("ignored", detail.object.key, reason="outside <model>/data/ and <model>/labels/")
    upload = Upload(
        bucket=detail.bucket.name,
        key=detail.object.key,
        version_id=detail.object.version_id,
        model=landing.model,
        size_bytes=detail.object.size,
        received_at=iso(received_ms),
        state="stored" if landing.kind == "labels" else "pending",
    )
    try:
        entry = models.entry(landing.model)
    except UnknownModel as error:
        return _refuse(upload, str(error), ledger)
    fresh = ledger.add_upload(upload)
    if landing.kind == "data":
        ticks.send(landing.model, entry.quiet_s)
    outcome = upload.state if fresh else "duplicate"
    return Taken(outcome, upload.key, landing.model, upload.id)


def _refuse(upload: Upload, reason: str, ledger: Ledger) -> Taken:
    if ledger.add_upload(upload.model_copy(update={"state": "refused", "reason": reason})):
        ledger.log(
            time=upload.received_at, model=upload.model, kind="upload", subject=upload.key, actor="system",
            decision="refuse", reasons=(reason,), inputs={"upload": upload.id},
        )  # fmt: skip
    return Taken("refused", upload.key, upload.model, upload.id, reason)


def iso(ms: int) -> str:
    """Epoch milliseconds as ISO 8601 UTC, sortable as text."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
