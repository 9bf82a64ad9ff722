"""intake: an object in the landing bucket becomes an upload in the ledger, once; then always a tick."""

from dataclasses import dataclass

from tidemill import keys
from tidemill.errors import UnknownModel
from tidemill.events import ObjectCreated, iso
from tidemill.ports import Ledger, Models, Ticks
from tidemill.records import Upload


@dataclass(frozen=True)
class Taken:
    """What became of a message: ignored | duplicate | refused | stored | pending."""

    outcome: str
    key: str | None = None
    model: str | None = None
    upload: str | None = None
    reason: str | None = None


def intake(event: ObjectCreated | None, bucket: str, received_ms: int, *, ledger: Ledger, models: Models, ticks: Ticks) -> Taken:
    """Record the upload and send a tick that is due after the quiet window, also for a duplicate.

    A duplicate ticks because the first delivery may have died between its record and its tick. What is no object of
    `bucket`, or lies outside of the models' folders, is ignored: trying it again would not change it.
    """
    if event is None or event.detail.bucket.name != bucket:
        return Taken("ignored", reason=f'no "Object Created" of s3://{bucket}')
    key = event.detail.object.key
    landing = keys.parse_landing_key(key)
    if landing is None:
        return Taken("ignored", key, reason="outside <model>/data/ and <model>/labels/")
    upload = _upload(event, landing, received_ms)
    try:
        entry = models.entry(landing.model)
    except UnknownModel as error:
        return _refuse(upload, str(error), ledger)
    fresh = ledger.add_upload(upload)
    if landing.kind == "data":
        ticks.send(landing.model, entry.quiet_s)
    return Taken(upload.state if fresh else "duplicate", key, landing.model, upload.id)


def _upload(event: ObjectCreated, landing: keys.LandingKey, received_ms: int) -> Upload:
    item = event.detail.object
    return Upload(
        bucket=event.detail.bucket.name, key=item.key, version_id=item.version_id, model=landing.model, size_bytes=item.size,
        received_at=iso(received_ms), sequencer=item.sequencer, etag=item.etag, state="stored" if landing.kind == "labels" else "pending",
    )  # fmt: skip


def _refuse(upload: Upload, reason: str, ledger: Ledger) -> Taken:
    if ledger.add_upload(upload.model_copy(update={"state": "refused", "reason": reason})):
        ledger.log(
            time=upload.received_at, model=upload.model, kind="upload", subject=upload.key, actor="system",
            decision="refuse", reasons=(reason,), inputs={"upload": upload.id},
        )  # fmt: skip
    return Taken("refused", upload.key, upload.model, upload.id, reason)
