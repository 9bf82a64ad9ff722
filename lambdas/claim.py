"""claim: the run takes the model's lease, its uploads and the spec's hash."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import ParameterModels, S3Store
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import ClaimSettings
from tidemill.events import ClaimRequest
from tidemill.steps.claim import claim

settings = ClaimSettings.load()
logger = Logger(service="claim")
ledger, models, lake = DynamoLedger(settings.ledger_table), ParameterModels(settings.stage), S3Store(settings.lake_bucket)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = ClaimRequest.model_validate(event)
    claimed = claim(request, settings.stage, ledger=ledger, models=models, lake=lake, large_bytes=settings.large_bytes)
    bins = {name: len(claimed[name]) for name in ("bins", "large")}
    logger.info("claimed", extra={"model": request.model, "run_id": claimed["run"], "step": "claim", **bins})
    return claimed
