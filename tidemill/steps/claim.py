"""claim: take the model's lease for this epoch and the pending uploads with it; pin the spec by hash."""

import hashlib
import io
import json
import zipfile
from typing import Any

from tidemill import keys
from tidemill.errors import SpecError
from tidemill.events import ClaimRequest
from tidemill.ports import Ledger, Models, Store
from tidemill.records import Run, Upload
from tidemill.spec import ModelSpec, parse_spec

MAX_BINS = 100


def claim(request: ClaimRequest, stage: str, *, ledger: Ledger, models: Models, lake: Store) -> dict[str, Any]:
    """What the rest of the machine needs, small: names, numbers and keys. The work list itself lies in the lake.

    Raises Superseded when another run owns the model; calling again with the same execution changes nothing.
    """
    ledger.acquire(request.model, request.epoch, request.execution)
    entry = models.entry(request.model)
    folder = models.folder(entry)
    spec = _pin_spec(request.model, folder, entry.sha256, lake)
    uploads = [
        upload.model_copy(update={"attempts": upload.attempts + 1}) for upload in ledger.uploads(request.model) if _free(upload, request.epoch, spec)
    ]
    taken = [upload for upload in uploads if ledger.claim_upload(upload, request.epoch)]
    run = keys.run_id(request.epoch)
    bins = deal(taken)
    lake.put(keys.work_list(request.model, run), json.dumps({"spec": entry.sha256, "bins": bins}).encode())
    ledger.put_run(
        Run(
            model=request.model, epoch=request.epoch, cause=request.cause, execution=request.execution, started_at=request.started_at,
            uploads=tuple(upload.id for upload in taken), spec_hash=spec.hash, code_hash=entry.sha256,
        )
    )  # fmt: skip
    return {
        "model": request.model,
        "epoch": request.epoch,
        "run": run,
        "job_prefix": keys.job_prefix(stage, request.model, request.epoch, deployment_of(request.execution)),
        "bins": list(range(len(bins))),
        "code_uri": lake.uri(keys.code_prefix(request.model, entry.sha256)),
        "output_uri": lake.uri(f"{keys.run_prefix(request.model, run)}train"),
        "evaluate_key": keys.evaluation_prefix(request.model, run),
        "evaluate_uri": lake.uri(keys.evaluation_prefix(request.model, run)),
        "train": {"instance": spec.train.instance, "max_runtime_s": spec.train.max_runtime_s},
    }


def deal(uploads: list[Upload]) -> list[list[str]]:
    """Upload ids in at most MAX_BINS bins, oldest first, round the table."""
    count = min(MAX_BINS, len(uploads))
    return [[upload.id for upload in uploads[i::count]] for i in range(count)]


def deployment_of(execution: str) -> str:
    """Four hex digits of the state machine's identity: its generated name differs between deployments."""
    machine = execution.rpartition(":")[0]
    return hashlib.sha256(machine.encode()).hexdigest()[:4]


def _free(upload: Upload, epoch: int, spec: ModelSpec) -> bool:
    """Pending, left claimed by a run that is over (single flight: every earlier epoch is), or prepared under other rules."""
    if upload.state == "prepared":
        return upload.prepare_hash != spec.prepare_hash and upload.epoch != epoch
    return upload.state == "pending" or (upload.state == "claimed" and upload.epoch is not None and upload.epoch <= epoch)


def _pin_spec(model: str, folder: bytes, sha256: str, lake: Store) -> ModelSpec:
    """Copy the model's folder into the lake under its hash: what this run used stays readable for as long as the run."""
    with zipfile.ZipFile(io.BytesIO(folder)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    if "model.toml" not in files:
        raise SpecError(f"the deployed folder of model '{model}' has no model.toml")
    spec = parse_spec(files["model.toml"].decode(), f"models/{model}/model.toml")
    for name, data in files.items():
        lake.put(f"{keys.code_prefix(model, sha256)}{model}/{name}", data)
    return spec
