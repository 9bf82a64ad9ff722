"""register: the promoted model becomes a package, pending; then it is approved, by policy or by a person."""

import hashlib
from typing import Any

from tidemill import keys
from tidemill.errors import ReleaseRefused
from tidemill.evaluate.record import Evaluation
from tidemill.events import RegisterRequest
from tidemill.ports import Ledger, Registry, Store
from tidemill.records import Package, Run
from tidemill.spec import ModelSpec
from tidemill.steps.pinned import pinned_spec


def register_run(request: RegisterRequest, stage: str, *, ledger: Ledger, registry: Registry, lake: Store) -> dict[str, Any]:
    """Create the package (once: the token is the execution's), record it, and only then approve it.

    The release starts from the approval, so what it will look up in the ledger has to be there before.
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
        compared_with=evaluation.champion.champion if evaluation.champion else None,
        model_data=request.model_data, image=request.image, evaluation=request.evaluation, spec_hash=run.spec_hash,
    )  # fmt: skip
    ledger.put_package(package)
    ledger.put_run(run.model_copy(update={"package": package.name}))
    if spec.gate.approve == "auto":
        registry.approve(arn, "; ".join(run.reasons))
    return {"package": package.name, "package_arn": arn, "approved": spec.gate.approve == "auto"}


def _package(request: RegisterRequest, run: Run, spec: ModelSpec, evaluation: Evaluation, lake: Store) -> dict[str, Any]:
    """The arguments of CreateModelPackage beside group, token and status."""
    return {
        "ModelPackageDescription": f"{spec.question or spec.name} — {evaluation.headline} on {evaluation.period}"[:1024],
        "InferenceSpecification": {
            "Containers": [{"Image": request.image, "ModelDataUrl": request.model_data}],
            "SupportedContentTypes": ["text/csv", "application/json"],
            "SupportedResponseMIMETypes": ["application/json", "text/csv"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": lake.uri(request.evaluation)}}},
        "CustomerMetadataProperties": {
            "run": keys.run_id(run.epoch),
            "dataset": evaluation.dataset,
            "spec": run.spec_hash,
            "code": run.code_hash,
            "owners": " ".join(spec.owners)[:256],  # the values' pattern has no comma
        },
    }
