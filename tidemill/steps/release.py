"""release: the steps of the release machine. The live endpoint changes last, and goes back when it must."""

from typing import Any

from tidemill import keys, release
from tidemill.errors import RecordMissing, ReleaseBusy, ReleaseRefused, SmokeFailed
from tidemill.evaluate.record import Evaluation
from tidemill.events import ReleaseEnd, ReleaseRef, ReleaseRequest, SmokeRequest
from tidemill.ports import Endpoints, Ledger, Registry, Store, Workflow
from tidemill.records import Champion, Package, Release
from tidemill.steps.claim import deployment_of
from tidemill.steps.pinned import pinned_spec


def release_claim(request: ReleaseRequest, stage: str, max_bake_s: int, *, ledger: Ledger, workflow: Workflow, lake: Store) -> dict[str, Any]:
    """Take the package's one release and the model's release lock.

    Raises Superseded when another execution has this package, ReleaseBusy while another package of the model is released.
    """
    model = request.group.removeprefix(f"{stage}-")
    package = _package(ledger, model, request.version)
    ledger.claim_release(model, request.version, Release(package=package.name, execution=request.execution, started_at=request.now))
    holder = ledger.release_lock(model)
    dead = holder if holder is not None and not workflow.running(holder) else None
    if not ledger.lock_release(model, request.execution, dead):
        raise ReleaseBusy(f"{package.name} waits: {holder} is releasing another package of {model}")
    run = ledger.run(model, package.run)
    spec = pinned_spec(model, run.code_hash, lake)
    deployment = deployment_of(request.execution)
    return {
        "model": model,
        "version": package.version,
        "package": package.name,
        "image": package.image,
        "model_data": package.model_data,
        "name": release.resource_name(stage, model, package.version, deployment),
        "endpoint": keys.endpoint_name(stage, model),
        "candidate": release.candidate_name(stage, model, package.version, deployment),
        "serve": {"memory_mb": spec.serve.memory_mb, "max_concurrency": spec.serve.max_concurrency, "bake_s": min(spec.serve.bake_s, max_bake_s)},
    }


def release_verify(request: ReleaseRef, *, ledger: Ledger) -> dict[str, Any]:
    """Trust the record, not the approval: the gate said promote, and the live champion is the one it was compared with.

    Raises ReleaseRefused otherwise, whoever approved the package.
    """
    package = _package(ledger, request.model, request.version)
    if package.decision != "promote":
        raise ReleaseRefused(f"{package.name}: the gate decided {package.decision}, an approval does not change that")
    if package.expires_at is not None and request.now > package.expires_at:
        raise ReleaseRefused(f"{package.name} could be approved until {package.expires_at}: what it was compared with is old; retrain")
    champion = ledger.champion(request.model)
    live = champion.package if champion else None
    if live != package.compared_with:
        raise ReleaseRefused(
            f"{package.name} was compared with {package.compared_with or 'no champion'}, but {live or 'nothing'} is live now: retrain"
        )
    return {"verified": package.name}


def release_smoke(request: SmokeRequest, *, ledger: Ledger, endpoints: Endpoints, lake: Store) -> dict[str, Any]:
    """Ask the golden requests; the package must name itself and every score must equal the evaluation's."""
    package = _package(ledger, request.model, request.version)
    golden = Evaluation.model_validate_json(lake.get(package.evaluation)).golden
    answer, answered_by = endpoints.invoke(request.endpoint, release.golden_body(golden))
    if answered_by != package.name:
        raise SmokeFailed(f"endpoint {request.endpoint} answers as '{answered_by}', not as {package.name}")
    if wrong := release.differences(golden, answer):
        raise SmokeFailed(f"endpoint {request.endpoint}: {len(wrong)} of {len(golden)} golden requests differ: {'; '.join(wrong[:3])}")
    return {"golden": len(golden), "answered_by": answered_by}


def release_finish(request: ReleaseEnd, stage: str, *, ledger: Ledger, registry: Registry, endpoints: Endpoints) -> dict[str, Any]:
    """Record the outcome and free the lock. A package that did not go live is marked Rejected with the reason."""
    package = _package(ledger, request.model, request.version)
    reason = str(request.failure) if request.failure else None
    if request.outcome == "live" and request.endpoint_config:
        _crown(package, request, ledger)
    else:
        registry.reject(package.arn, reason or request.outcome)
    endpoints.delete(release.candidate_name(stage, request.model, request.version, deployment_of(request.execution)))
    claimed = ledger.release(request.model, request.version)
    if claimed.outcome is None:
        done = claimed.model_copy(update={"outcome": request.outcome, "reason": reason, "finished_at": request.now})
        ledger.finish_release(request.model, request.version, done)
        ledger.log(
            time=request.now, model=request.model, kind="release", subject=package.name, actor="system", decision=request.outcome,
            reasons=(reason,) if reason else (), inputs={"execution": request.execution, "package": package.arn},
        )  # fmt: skip
    ledger.unlock_release(request.model, request.execution)
    return {"package": package.name, "outcome": request.outcome, "reason": reason}


def _crown(package: Package, request: ReleaseEnd, ledger: Ledger) -> None:
    champion = Champion(
        package=package.name, version=package.version, model_data=package.model_data, endpoint_config=str(request.endpoint_config),
        since=request.now, keeps_to=package.keeps_to,
    )  # fmt: skip
    ledger.set_champion(request.model, champion, replaces=ledger.champion(request.model))


def _package(ledger: Ledger, model: str, version: int) -> Package:
    try:
        return ledger.package(model, version)
    except RecordMissing as error:
        raise ReleaseRefused(f"{model}/{version} is not in the ledger: it was not registered by a run of this system") from error
