"""prepare: the uploads of one bin become parts, or are refused with a reason."""

import json
import tempfile
from pathlib import Path

from tidemill import keys
from tidemill.dataset import PartRecord
from tidemill.erasure import Suppressed
from tidemill.errors import ObjectForbidden, ObjectMissing, UploadRefused
from tidemill.events import PrepareRequest
from tidemill.ports import Ledger, Store
from tidemill.prepare.part import MAX_BYTES, PreparedPart, prepare_upload
from tidemill.records import Upload
from tidemill.spec import ModelSpec
from tidemill.steps.pinned import pinned_spec
from tidemill.steps.settle import PreparedUpload, noted, prepared, refused


def prepare_bin(
    request: PrepareRequest, now: str, *, ledger: Ledger, landing: Store, lake: Store, max_bytes: int = MAX_BYTES
) -> list[PreparedUpload]:
    """Prepare each upload of the bin, at most `max_bytes` unpacked each. Doing it again makes the same parts by their ids and changes nothing."""
    work = json.loads(lake.get(keys.work_list(request.model, keys.run_id(request.epoch))))
    spec = pinned_spec(request.model, work["spec"], lake)
    uploads = [ledger.upload(request.model, upload) for upload in work["bins"][request.bin]]
    kept_out = Suppressed(ledger.suppressions(request.model), spec.salt)
    ended = (_prepare(upload, spec, request.epoch, now, ledger, landing, lake, max_bytes, kept_out) for upload in uploads)
    return [noted(upload, each, request.epoch, lake) for upload, each in zip(uploads, ended, strict=True)]


def _prepare(
    upload: Upload, spec: ModelSpec, epoch: int, now: str, ledger: Ledger, landing: Store, lake: Store, max_bytes: int, kept_out: Suppressed
) -> PreparedUpload:
    if upload.state == "refused":
        return refused(upload, str(upload.reason), epoch, now, ledger)
    try:
        record = _write_part(upload, spec, landing, lake, max_bytes, kept_out)
    except (UploadRefused, ObjectMissing, ObjectForbidden) as error:
        return refused(upload, str(error), epoch, now, ledger)
    return prepared(upload, record, epoch, ledger)


def _write_part(upload: Upload, spec: ModelSpec, landing: Store, lake: Store, max_bytes: int, kept_out: Suppressed) -> PartRecord:
    version = None if upload.version_id == "null" else upload.version_id
    with tempfile.TemporaryDirectory() as work, landing.open(upload.key, version) as stream:
        name = upload.key.rpartition("/")[2]
        part = prepare_upload(stream, name, spec, Path(work), received_at=upload.received_at, max_bytes=max_bytes, suppressed=kept_out)
        return write_part(part, spec, lake)


def write_part(part: PreparedPart, spec: ModelSpec, lake: Store) -> PartRecord:
    """Write the part's files, its record last. A part that is there already is kept as it is."""
    known = keys.part_record(spec.name, part.record.id)
    if lake.exists(known):
        return PartRecord.model_validate_json(lake.get(known))
    for file, path in part.files.items():
        lake.put_file(keys.part_file(spec.name, part.record.id, file), path)
    lake.put_file(keys.part_rejects(spec.name, part.record.id), part.rejects)
    lake.put_file(keys.part_profile(spec.name, part.record.id), part.profile)
    lake.put(known, part.record.model_dump_json(indent=1).encode())
    return part.record
