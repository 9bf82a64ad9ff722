"""assemble: the prepared parts of a model become a dataset, or the run stops here with a reason."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import TypeAdapter

from tidemill import keys
from tidemill.catalog import dataset_facts
from tidemill.dataset import SPLITS, Candidate, Dataset, DatasetPart, PartRecord, assemble, summarize
from tidemill.errors import DatasetRefused, ObjectMissing, ReleaseBusy
from tidemill.events import RunRef
from tidemill.layout import Layout, channel_manifest, packs, unpacked
from tidemill.ports import Ledger, Store, Workflow
from tidemill.records import Run, Upload
from tidemill.steps.pinned import pinned_spec

READERS = 10  # boto3 keeps as many connections
INDEX = TypeAdapter(tuple[DatasetPart, ...])


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
        dataset = assemble(candidates(uploads, request.model, ledger, lake), spec)
    except DatasetRefused as error:
        return _stop(run, "refused", (*refused, str(error)), ledger)
    if dataset.id in {
        other.dataset for other in ledger.runs(request.model) if other.decision and other.spec_hash == run.spec_hash and other.epoch != run.epoch
    }:
        return _stop(run, "nothing_new", (*refused, f"the dataset {dataset.id} was learned from before"), ledger)
    _write(dataset, lake)
    ledger.put_run(run.model_copy(update={"dataset": dataset.id, "refused": refused}))
    lake.put(keys.dataset_fact(run.model, keys.run_id(run.epoch)), dataset_facts(dataset, keys.run_id(run.epoch)))
    summary = summarize(dataset)
    return {
        "stop": False,
        "dataset": dataset.id,
        "dataset_uri": lake.uri(f"{keys.dataset_prefix(request.model, dataset.id)}dataset/"),
        "channels": {split: lake.uri(keys.channel_manifest(request.model, dataset.id, split)) for split in SPLITS},
        **_formers(request.model, ledger, lake),
        "covers": {split: {"rows": summary.rows[split], "period": summary.periods[split]} for split in SPLITS},
        "pack": bool(packs(dataset)),
    }


def _formers(model: str, ledger: Ledger, lake: Store) -> dict[str, Any]:
    """The packages a challenger is set beside: their images, their models, and the records of what they learned from."""
    champion = ledger.champion(model)
    named = {"champion": champion.package if champion else None, "best": champion.keeps_to if champion else None}
    formers = []
    for which, name in named.items():
        if name is not None:
            package = ledger.package(model, int(name.rpartition("/")[2]))
            learned = keys.dataset_prefix(model, str(ledger.run(model, package.run).dataset))
            formers.append({"name": which, "image": package.image, "model": package.model_data, "dataset": lake.uri(f"{learned}dataset/")})
    return named | {"formers": formers}


def current_uploads(uploads: list[Upload]) -> list[Upload]:
    """The prepared uploads that count, oldest first: a later version of a key supersedes the part of an earlier one."""
    prepared = sorted((upload for upload in uploads if upload.state == "prepared"), key=lambda upload: upload.version_order)
    newest = {upload.key: upload for upload in prepared}
    return sorted(newest.values(), key=lambda upload: upload.order)


def candidates(uploads: list[Upload], model: str, ledger: Ledger, lake: Store) -> tuple[Candidate, ...]:
    """One entry a part: two uploads with the same content gave the same part, and the newest place in the order counts.

    An exclusion takes out what the upload held, so the same content is out under whatever key it comes.
    """
    latest = {upload.part: upload for upload in current_uploads(uploads) if upload.part is not None}
    ordered = sorted(latest.items(), key=lambda item: item[1].order)
    excluded = {exclusion.upload for exclusion in ledger.exclusions(model)}
    out = {upload.part for upload in uploads if upload.id in excluded}
    parts = _parts([part for part, _ in ordered], model, lake)
    found = (Candidate(parts[part], upload.received_at[:10], part in out) for part, upload in ordered)
    return tuple(candidate for candidate in found if candidate.part.files)


def _parts(ids: list[str], model: str, lake: Store) -> dict[str, DatasetPart]:
    """The parts by id: out of the index of the run before, and for new ones out of their records."""
    known = _index(model, lake)
    missing = [part for part in ids if part not in known]
    with ThreadPoolExecutor(READERS) as pool:
        known |= {record.id: DatasetPart.of(record) for record in pool.map(lambda part: _record(model, part, lake), missing)}
    parts = {part: known[part] for part in ids}
    if missing:
        lake.put(keys.part_index(model), INDEX.dump_json(tuple(parts.values())))
    return parts


def _index(model: str, lake: Store) -> dict[str, DatasetPart]:
    """Parts never change, so what the index says of one stays true; a part it does not know has its record."""
    try:
        data = lake.get(keys.part_index(model))
    except ObjectMissing:
        return {}
    return {part.id: part for part in INDEX.validate_json(data)}


def _record(model: str, part: str, lake: Store) -> PartRecord:
    return PartRecord.model_validate_json(lake.get(keys.part_record(model, part)))


def _write(dataset: Dataset, lake: Store) -> None:
    lake.put(keys.dataset_manifest(dataset.model, dataset.id), dataset.model_dump_json().encode())
    lake.put(keys.dataset_summary(dataset.model, dataset.id), summarize(dataset).model_dump_json(indent=1).encode())
    write_layout(dataset, unpacked(dataset), lake)


def write_layout(dataset: Dataset, layout: Layout, lake: Store) -> None:
    """Where the rows lie, for the reader, and the same as channels, for SageMaker."""
    bucket = lake.uri("").rstrip("/")
    lake.put(keys.dataset_layout(dataset.model, dataset.id), layout.model_dump_json().encode())
    for split in SPLITS:
        manifest = channel_manifest(bucket, dataset.model, layout, split)
        lake.put(keys.channel_manifest(dataset.model, dataset.id, split), json.dumps(manifest).encode())


def _stop(run: Run, outcome: str, reasons: tuple[str, ...], ledger: Ledger) -> dict[str, Any]:
    ledger.put_run(run.model_copy(update={"reasons": reasons}))
    return {"stop": True, "outcome": outcome, "reasons": list(reasons)}
