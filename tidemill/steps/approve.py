"""approve, reject, waive: a person decides on a package. Who and why is in the decision log before anything moves."""

from typing import Literal

from tidemill.errors import RecordMissing, ReleaseRefused
from tidemill.evaluate.record import Evaluation
from tidemill.ports import Ledger, Registry, Store
from tidemill.records import Package, Release, Waiver

Verdict = Literal["approve", "reject"]


def decide_on(model: str, version: int, verdict: Verdict, reason: str, actor: str, now: str, *, ledger: Ledger, registry: Registry) -> Package:
    """Approve the package, from which its release starts, or reject it for good: its one release is taken, so that nothing can release it.

    Raises RecordMissing for a package that no run registered, ReleaseRefused for one that cannot be decided on any more.
    """
    package = ledger.package(model, version)
    if package.decision != "promote":
        raise ReleaseRefused(f"{package.name}: the gate decided {package.decision}, an approval does not change that")
    if (release := _release(model, version, ledger)) is not None:
        raise ReleaseRefused(
            f"{package.name} was decided on already: {release.outcome or 'its release is under way'}, {release.reason or release.execution}"
        )
    if verdict == "approve" and package.expires_at is not None and now > package.expires_at:
        raise ReleaseRefused(f"{package.name} could be approved until {package.expires_at}: what it was compared with is old; retrain")
    ledger.log(
        time=now, model=model, kind="approval", subject=package.name, actor=actor, decision=verdict, reasons=(reason,), inputs={"package": package.arn},
    )  # fmt: skip
    told = f"{actor}: {reason}"
    if verdict == "approve":
        registry.approve(package.arn, told)
        return package
    ledger.claim_release(
        model, version,
        Release(package=package.name, execution=f"rejected by {actor}", started_at=now, outcome="refused", reason=reason, finished_at=now),
    )  # fmt: skip
    registry.reject(package.arn, told)
    return package


def waive_comparison(model: str, version: int, reason: str, actor: str, now: str, *, ledger: Ledger, lake: Store) -> Waiver:
    """From now on a challenger that cannot be compared with this champion is judged without it; one that can be still is.

    It ends with the champion. Raises RecordMissing for a package that no run registered, ReleaseRefused for one that is not live, that the
    newest judged run could be compared with, or that was waived already.
    """
    package, champion = ledger.package(model, version), ledger.champion(model)
    if champion is None or champion.package != package.name:
        live = "no package" if champion is None else champion.package
        raise ReleaseRefused(f"{package.name} is not the champion, {live} is: there is no comparison with it to waive")
    if (earlier := ledger.waiver(model, package.name)) is not None:
        raise ReleaseRefused(f"{package.name} was waived already, by {earlier.actor}: {earlier.reason}")
    fault = _not_compared(model, package.name, ledger, lake)
    waiver = Waiver(model=model, package=package.name, fault=fault, reason=reason, actor=actor, time=now)
    ledger.log(
        time=now, model=model, kind="approval", subject=package.name, actor=actor, decision="waive", reasons=(reason, fault),
        inputs={"package": package.arn},
    )  # fmt: skip
    ledger.waive(waiver)
    return waiver


def _not_compared(model: str, package: str, ledger: Ledger, lake: Store) -> str:
    """Why the newest judged challenger could not be compared with the package."""
    judged = [run for run in ledger.runs(model) if run.evaluation is not None]
    found = Evaluation.model_validate_json(lake.get(str(judged[-1].evaluation))) if judged else None
    if found is None or found.unreadable is None or found.champion_name != package:
        raise ReleaseRefused(f"{package}: the newest judged run was not held for it: there is no comparison to waive (tidemill runs list {model})")
    return found.unreadable


def _release(model: str, version: int, ledger: Ledger) -> Release | None:
    try:
        return ledger.release(model, version)
    except RecordMissing:
        return None
