"""claim: take the model's lease for this epoch and the pending uploads with it; pin the spec by hash."""

import hashlib
import io
import json
import zipfile
from typing import Any

from tidemill import jobs, keys
from tidemill.errors import SpecError
from tidemill.events import ClaimRequest
from tidemill.ports import Ledger, Models, Store
from tidemill.prepare import rules_of
from tidemill.records import Run, Upload
from tidemill.spec import ModelSpec, parse_spec
from tidemill.steps.deal import LARGE_BYTES, deal

MAX_UPLOADS = 5_000
"""What one run takes: about ten milliseconds each. The rest waits for the run that follows it."""


def claim(request: ClaimRequest, stage: str, *, ledger: Ledger, models: Models, lake: Store, large_bytes: int = LARGE_BYTES) -> dict[str, Any]:
    """What the rest of the machine needs, small: names, numbers and keys. The work list itself lies in the lake.

    Uploads are taken before the spec is read, so that a spec that fails counts as an attempt and cannot loop.
    Raises Superseded when another run owns the model; calling again with the same execution changes nothing.
    """
    ledger.acquire(request.model, request.epoch, request.execution)
    taken = _take(request, ledger)
    entry = models.entry(request.model)
    spec = _pin_spec(request.model, models.folder(entry), entry.sha256, lake)
    if _reopen_under_new_rules(request, spec, ledger):
        taken = _take(request, ledger)
    run = keys.run_id(request.epoch)
    bins = deal(taken, large_bytes)
    in_large = {upload for bin_ in bins.large for upload in bin_}
    large = {upload.id: upload.model_dump(include={"key", "version_id", "received_at"}) for upload in taken if upload.id in in_large}
    lake.put(keys.work_list(request.model, run), json.dumps({"spec": entry.sha256, "bins": bins.all, "large": large}).encode())
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
        "code": entry.sha256,
        "job_prefix": keys.job_prefix(stage, request.model, request.epoch, deployment_of(request.execution)),
        "bins": list(range(len(bins.small))),
        "large": list(range(len(bins.small), len(bins.all))),
        "code_uri": lake.uri(keys.code_prefix(request.model, entry.sha256)),
        "output_uri": lake.uri(f"{keys.run_prefix(request.model, run)}train"),
        "evaluate_key": keys.evaluation_prefix(request.model, run),
        "evaluate_uri": lake.uri(keys.evaluation_prefix(request.model, run)),
        "scores_uri": lake.uri(keys.scores(request.model, run)),
        "tuning_prefix": jobs.tuning_name(stage, request.model, request.epoch, deployment_of(request.execution)),
        "checkpoints_uri": lake.uri(keys.checkpoints(request.model, run)),
        "train": jobs.training(spec),
        "export": spec.experiments is not None,
    }


def deployment_of(execution: str) -> str:
    """Four hex digits of the state machine's identity: its generated name differs between deployments."""
    machine = execution.rpartition(":")[0]
    return hashlib.sha256(machine.encode()).hexdigest()[:4]


def _take(request: ClaimRequest, ledger: Ledger) -> list[Upload]:
    """The open uploads, claimed; those that this epoch had before are among them and count no second attempt."""
    return [taken for upload in ledger.open_uploads(request.model)[:MAX_UPLOADS] if (taken := _claimed(upload, request.epoch, ledger))]


def _claimed(upload: Upload, epoch: int, ledger: Ledger) -> Upload | None:
    if upload.state == "claimed" and upload.epoch == epoch:
        return upload
    claimed = upload.model_copy(update={"state": "claimed", "epoch": epoch, "attempts": upload.attempts + 1, "reason": None})
    return claimed if ledger.claim_upload(claimed, epoch) else None


def _reopen_under_new_rules(request: ClaimRequest, spec: ModelSpec, ledger: Ledger) -> bool:
    """Parts of two sets of rules must not meet in a dataset: what was prepared under others waits again, to be prepared anew.

    Only when the rules are not those of the last claim does this read every upload. They are written down last: a claim
    that dies half-way does it again.
    """
    rules = rules_of(spec)
    if ledger.rules(request.model) == rules:
        return False
    for upload in ledger.uploads(request.model):
        if upload.state == "prepared" and upload.rules != rules:
            ledger.reopen(upload, request.epoch)
    ledger.set_rules(request.model, rules, request.epoch)
    return True


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
