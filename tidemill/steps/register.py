"""register: the promoted model becomes a package, pending; then it is approved, by policy or by a person."""

import hashlib
import re
from datetime import datetime, timedelta
from typing import Any

from tidemill import keys
from tidemill.card import model_card
from tidemill.errors import ReleaseRefused
from tidemill.evaluate.record import Evaluation
from tidemill.events import RegisterRequest
from tidemill.ports import Alerts, Ledger, Registry, Store
from tidemill.records import Package, Run
from tidemill.spec import ModelSpec
from tidemill.steps.pinned import pinned_spec

NOT_IN_METADATA = re.compile(r"[^\w\s.:/=+\-@]")
"""docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModelPackage.html, CustomerMetadataProperties: the pattern of a value."""


def register_run(request: RegisterRequest, stage: str, *, ledger: Ledger, registry: Registry, lake: Store, alerts: Alerts) -> dict[str, Any]:
    """Create the package (once: the token is the execution's), record it, and only then approve it.

    The release starts from the approval, so what it will look up in the ledger has to be there before. A package that waits for
    a person is told to the alerts topic, again if this call is repeated before it is on the run's record.
    """
    run = ledger.run(request.model, request.epoch)
    if run.decision != "promote":
        raise ReleaseRefused(f"run {keys.run_id(run.epoch)} of {run.model} was not promoted by its gate: {run.decision}")
    spec = pinned_spec(run.model, run.code_hash, lake)
    evaluation = Evaluation.model_validate_json(lake.get(request.evaluation))
    token = hashlib.sha256(run.execution.encode()).hexdigest()[:36]
    arn, version = registry.create(keys.package_group(stage, run.model), token, _package(request, run, spec, evaluation, lake))
    package = Package(
        arn=arn, model=run.model, version=version, run=run.epoch, decision=run.decision,
        compared_with=evaluation.champion_name,
        model_data=request.model_data, image=request.image, evaluation=request.evaluation, spec_hash=run.spec_hash,
        expires_at=_later(request.now, spec.gate.approve_within_h) if spec.gate.approve == "person" else None,
        keeps_to=keeps_to(evaluation),
    )  # fmt: skip
    ledger.put_package(package)
    if spec.gate.approve == "person" and run.package is None:
        alerts.tell(f"{package.name} waits for approval", _asks(package, run, spec, evaluation, stage, lake))
    ledger.put_run(run.model_copy(update={"package": package.name}))
    if spec.gate.approve == "auto":
        registry.approve(arn, "; ".join(run.reasons))
    return {"package": package.name, "package_arn": arn, "approved": spec.gate.approve == "auto"}


def keeps_to(evaluation: Evaluation) -> str | None:
    """The earlier package that is still to be kept up with: None once a challenger was shown to be better than it.

    A margin lets an equal model through that is a little worse. Were each one measured against the last only, quality could go down a
    margin at a time for ever.
    """
    if evaluation.best is None and evaluation.best_name is not None:
        return evaluation.best_name  # it could not be compared this time: that is no reason to forget it
    former = evaluation.best or evaluation.champion
    return None if former is None or former.gain.low > 0 else former.champion


def _later(time: str, hours: int) -> str:
    return (datetime.fromisoformat(time) + timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _asks(package: Package, run: Run, spec: ModelSpec, evaluation: Evaluation, stage: str, lake: Store) -> str:
    """What a person reads before they decide, and what to type."""
    region = package.arn.split(":")[3]
    return "\n".join((
        f"{package.name}: {spec.question or spec.name}", "",
        f"{evaluation.headline} on {evaluation.rows:,} rows of {evaluation.period}", *(f"- {reason}" for reason in run.reasons), *evaluation.warnings, "",
        f"page         tidemill runs report {spec.name} {run.epoch} --stage {stage}",
        f"evaluation   {lake.uri(package.evaluation)}",
        f"in SageMaker https://{region}.console.aws.amazon.com/sagemaker/home?region={region}#/model-packages/{package.arn}",
        f"approve      tidemill approve {spec.name} {package.version} --stage {stage} --reason '...'",
        f"reject       tidemill reject {spec.name} {package.version} --stage {stage} --reason '...'",
        f"It can be approved until {package.expires_at}. Nothing is released until then.",
    ))  # fmt: skip


def _package(request: RegisterRequest, run: Run, spec: ModelSpec, evaluation: Evaluation, lake: Store) -> dict[str, Any]:
    """The arguments of CreateModelPackage beside group, token and status."""
    known = {"ContentType": "application/json", "S3Uri": lake.uri(request.evaluation)}
    baseline = known | {"S3Uri": lake.uri(request.evaluation.rpartition("/")[0] + "/baseline.json")}
    facts = {
        "run": keys.run_id(run.epoch), "dataset": evaluation.dataset, "holdout": evaluation.holdout, "spec": run.spec_hash, "code": run.code_hash,
        "image": request.image, "pipeline": evaluation.model_sha256, "report": lake.uri(keys.report(run.model, keys.run_id(run.epoch))),
        "owners": " ".join(spec.owners),
    }  # fmt: skip
    learned = f"dataset {evaluation.dataset}, estimator {spec.train.estimator}, seed {spec.train.seed}"
    return {
        "ModelPackageDescription": f"{spec.question or spec.name} — {evaluation.headline} on {evaluation.period}"[:1024],
        "InferenceSpecification": {
            "Containers": [{"Image": request.image, "ModelDataUrl": request.model_data}],
            "SupportedContentTypes": ["text/csv", "application/json"],
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": known}, "Explainability": {"Report": known}, "Bias": {"Report": known}},
        "DriftCheckBaselines": {"ModelDataQuality": {"Statistics": baseline}, "ModelQuality": {"Statistics": known}},
        "MetadataProperties": {"GeneratedBy": run.execution, "CommitId": run.code_hash},
        "ModelCard": {"ModelCardStatus": "PendingReview", "ModelCardContent": model_card(spec, evaluation, learned, facts)},
        "CustomerMetadataProperties": {name: NOT_IN_METADATA.sub(" ", value)[:256] for name, value in facts.items() if value},
    }
