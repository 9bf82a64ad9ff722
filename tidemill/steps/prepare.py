"""prepare: the uploads of one bin become parts, or are refused with a reason."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tidemill import keys
from tidemill.dataset import PartRecord
from tidemill.errors import ObjectMissing, UploadRefused
from tidemill.events import PrepareRequest
from tidemill.ports import Ledger, Store
from tidemill.prepare.part import part_id, prepare
from tidemill.records import Upload
from tidemill.spec import ModelSpec
from tidemill.steps.pinned import pinned_spec


@dataclass(frozen=True)
class PreparedUpload:
    """What became of one upload, for the log and for people."""

    upload: str
    key: str
    outcome: str
    rows: int = 0
    kept: int = 0
    labelled: int = 0
    rejected: int = 0
    reason: str | None = None


def prepare_bin(request: PrepareRequest, now: str, *, ledger: Ledger, landing: Store, lake: Store) -> list[PreparedUpload]:
    """Prepare each upload of the bin. Doing it again finds the same parts by their ids and changes nothing."""
    work = json.loads(lake.get(keys.work_list(request.model, keys.run_id(request.epoch))))
    spec = pinned_spec(request.model, work["spec"], lake)
    wanted = set(work["bins"][request.bin])
    uploads = [upload for upload in ledger.uploads(request.model) if upload.id in wanted]
    return [_prepare(upload, spec, request.epoch, now, ledger, landing, lake) for upload in uploads]


def summarize(prepared: list[PreparedUpload]) -> dict[str, Any]:
    """What the state machine carries of a bin: a state may hold 256 KB, the ledger has the rest."""
    refused = [f"{upload.key}: {upload.reason}" for upload in prepared if upload.outcome == "refused"]
    totals = {name: sum(getattr(upload, name) for upload in prepared) for name in ("rows", "kept", "labelled", "rejected")}
    return {"uploads": len(prepared), **totals, "refused": len(refused), "first_refused": [text[:300] for text in refused[:3]]}


def _prepare(upload: Upload, spec: ModelSpec, epoch: int, now: str, ledger: Ledger, landing: Store, lake: Store) -> PreparedUpload:
    if upload.state == "refused":
        return PreparedUpload(upload.id, upload.key, "refused", reason=upload.reason)
    try:
        record = _write_part(upload, spec, landing, lake)
    except (UploadRefused, ObjectMissing) as error:
        reason = str(error)
        ledger.finish_upload(upload.model_copy(update={"state": "refused", "reason": reason}), epoch)
        ledger.log(
            time=now, model=upload.model, kind="upload", subject=upload.key, actor="system", decision="refuse",
            reasons=(reason,), inputs={"upload": upload.id, "run": keys.run_id(epoch)},
        )  # fmt: skip
        return PreparedUpload(upload.id, upload.key, "refused", reason=reason)
    ledger.finish_upload(upload.model_copy(update={"state": "prepared", "part": record.id, "prepare_hash": spec.prepare_hash}), epoch)
    return PreparedUpload(upload.id, upload.key, "prepared", record.rows, record.kept, record.labelled, record.rejected)


def _write_part(upload: Upload, spec: ModelSpec, landing: Store, lake: Store) -> PartRecord:
    """Write the part's files, its record last. A part that is there already is kept as it is."""
    version = None if upload.version_id == "null" else upload.version_id
    data = landing.get(upload.key, version)
    known = keys.part_record(spec.name, part_id(hashlib.sha256(data).hexdigest(), spec))
    if lake.exists(known):
        return PartRecord.model_validate_json(lake.get(known))
    part = prepare(data, upload.key.rpartition("/")[2], spec)
    for name, content in part.files.items():
        lake.put(keys.part_prefix(spec.name, part.record.id) + name, content)
    lake.put(keys.part_record(spec.name, part.record.id), part.record.model_dump_json(indent=1).encode())
    return part.record
