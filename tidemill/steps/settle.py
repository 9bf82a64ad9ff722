"""The end of prepare: an upload is prepared or refused in the ledger, and the catalog has its line."""

import json
from dataclasses import dataclass
from typing import Any

from tidemill import keys
from tidemill.catalog import upload_fact
from tidemill.dataset import PartRecord, rules_id
from tidemill.events import PrepareRequest
from tidemill.ports import Ledger, Store
from tidemill.records import Upload


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
    part: str | None = None


def settle_bin(request: PrepareRequest, now: str, *, ledger: Ledger, lake: Store) -> list[PreparedUpload]:
    """What the job made of the uploads of a large bin goes into the ledger. Doing it again changes nothing."""
    run = keys.run_id(request.epoch)
    work = json.loads(lake.get(keys.work_list(request.model, run)))
    uploads = [ledger.upload(request.model, upload) for upload in work["bins"][request.bin]]
    return [noted(upload, _settled(upload, run, request.epoch, now, ledger, lake), request.epoch, lake) for upload in uploads]


def _settled(upload: Upload, run: str, epoch: int, now: str, ledger: Ledger, lake: Store) -> PreparedUpload:
    made = json.loads(lake.get(keys.large_result(upload.model, run, upload.id)))
    if made["reason"] is not None:
        return refused(upload, made["reason"], epoch, now, ledger)
    record = PartRecord.model_validate_json(lake.get(keys.part_record(upload.model, made["part"])))
    return prepared(upload, record, epoch, ledger)


def refused(upload: Upload, reason: str, epoch: int, now: str, ledger: Ledger) -> PreparedUpload:
    if upload.state != "refused":
        ledger.finish_upload(upload.model_copy(update={"state": "refused", "reason": reason}), epoch)
        ledger.log(
            time=now, model=upload.model, kind="upload", subject=upload.key, actor="system", decision="refuse",
            reasons=(reason,), inputs={"upload": upload.id, "run": keys.run_id(epoch)},
        )  # fmt: skip
    return PreparedUpload(upload.id, upload.key, "refused", reason=upload.reason if upload.state == "refused" else reason)


def prepared(upload: Upload, record: PartRecord, epoch: int, ledger: Ledger) -> PreparedUpload:
    ledger.finish_upload(
        upload.model_copy(update={"state": "prepared", "part": record.id, "rules": rules_id(record.prepare_hash, record.version)}), epoch
    )
    return PreparedUpload(upload.id, upload.key, "prepared", record.rows, record.kept, record.labelled, record.rejected, part=record.id)


def noted(upload: Upload, made: PreparedUpload, epoch: int, lake: Store) -> PreparedUpload:
    """Leave the catalog's line. After the ledger's fenced write: a run that lost its epoch gets no further than that."""
    fact = upload_fact(upload, made.outcome, made.part, rows=made.rows, kept=made.kept, rejected=made.rejected, run=keys.run_id(epoch))
    lake.put(keys.upload_fact(upload.model, upload.id), fact)
    return made


def summarize(prepared: list[PreparedUpload]) -> dict[str, Any]:
    """What the state machine carries of a bin: a state may hold 256 KB, the ledger has the rest."""
    refused = [f"{upload.key}: {upload.reason}" for upload in prepared if upload.outcome == "refused"]
    totals = {name: sum(getattr(upload, name) for upload in prepared) for name in ("rows", "kept", "labelled", "rejected")}
    return {"uploads": len(prepared), **totals, "refused": len(refused), "first_refused": [text[:300] for text in refused[:3]]}
