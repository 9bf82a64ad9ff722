"""assemble: the prepared parts of a model become a dataset, or the run stops here with a reason."""

import json
from typing import Any

from tidemill import keys
from tidemill.dataset import SPLITS, Dataset, DatasetPart, PartRecord, assemble, channel_manifest, describe
from tidemill.errors import DatasetRefused, ReleaseBusy
from tidemill.events import RunRef
from tidemill.ports import Ledger, Store, Workflow
from tidemill.records import Run, Upload
from tidemill.steps.pinned import pinned_spec


def assemble_run(request: RunRef, *, ledger: Ledger, workflow: Workflow, lake: Store) -> dict[str, Any]:
    """The dataset's channels and the champion to compare with; or `stop` with the outcome when there is nothing new to learn.

    Raises ReleaseBusy while a release of the model runs: its end decides who the champion is.
    """
    holder = ledger.release_lock(request.model)
    if holder is not None and workflow.running(holder):
        raise ReleaseBusy(f"{request.model}: waits for {holder} to end, it decides who the champion is")
    run = ledger.run(request.model, request.epoch)
    uploads = ledger.uploads(request.model)
    mine = [upload for upload in uploads if upload.id in run.uploads]
    refused = tuple(f"{upload.key}: {upload.reason}" for upload in mine if upload.state == "refused")
    if not any(upload.state == "prepared" for upload in mine):
        return _stop(run, "refused" if refused else "nothing_new", refused or ("no upload was waiting",), ledger)
    spec = pinned_spec(run.model, run.code_hash, lake)
    try:
        dataset = assemble(_parts(uploads, request.model, lake), spec)
    except DatasetRefused as error:
        return _stop(run, "refused", (*refused, str(error)), ledger)
    if dataset.id in {
        other.dataset for other in ledger.runs(request.model) if other.decision and other.spec_hash == run.spec_hash and other.epoch != run.epoch
    }:
        return _stop(run, "nothing_new", (*refused, f"the dataset {dataset.id} was learned from before"), ledger)
    _write(dataset, lake)
    ledger.put_run(run.model_copy(update={"dataset": dataset.id, "refused": refused}))
    champion = ledger.champion(request.model)
    return {
        "stop": False,
        "dataset": dataset.id,
        "dataset_uri": lake.uri(f"{keys.dataset_prefix(request.model, dataset.id)}dataset/"),
        "channels": {split: lake.uri(keys.channel_manifest(request.model, dataset.id, split)) for split in SPLITS},
        "champion": champion.package if champion else None,
        "champion_model": champion.model_data if champion else None,
        "covers": {split: {"rows": dataset.rows(split), "period": describe(dataset, split)} for split in SPLITS},
    }


def current_uploads(uploads: list[Upload]) -> list[Upload]:
    """The prepared uploads that count, oldest first: a later version of a key supersedes the part of an earlier one."""
    newest = {upload.key: upload for upload in uploads if upload.state == "prepared"}
    return sorted(newest.values(), key=lambda upload: upload.order)


def _parts(uploads: list[Upload], model: str, lake: Store) -> tuple[DatasetPart, ...]:
    """One entry a part: two uploads with the same content gave the same part, and the newest place in the order counts."""
    latest = {upload.part: upload for upload in current_uploads(uploads) if upload.part is not None}
    ordered = sorted(latest.items(), key=lambda item: item[1].order)
    return tuple(DatasetPart(id=part, files=_record(model, part, lake).files) for part, _ in ordered)


def _record(model: str, part: str, lake: Store) -> PartRecord:
    return PartRecord.model_validate_json(lake.get(keys.part_record(model, part)))


def _write(dataset: Dataset, lake: Store) -> None:
    bucket = lake.uri("").rstrip("/")
    lake.put(keys.dataset_manifest(dataset.model, dataset.id), dataset.model_dump_json(indent=1).encode())
    for split in SPLITS:
        lake.put(keys.channel_manifest(dataset.model, dataset.id, split), json.dumps(channel_manifest(bucket, dataset, split)).encode())


def _stop(run: Run, outcome: str, reasons: tuple[str, ...], ledger: Ledger) -> dict[str, Any]:
    ledger.put_run(run.model_copy(update={"reasons": reasons}))
    return {"stop": True, "outcome": outcome, "reasons": list(reasons)}
