"""release_smoke: an endpoint must answer the golden requests as the evaluation did, and name its package."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import S3Store, SageMakerEndpoints
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import ReleaseSmokeSettings
from tidemill.events import SmokeRequest
from tidemill.steps.release import release_smoke

settings = ReleaseSmokeSettings.load()
logger = Logger(service="release_smoke")
ledger, endpoints, lake = DynamoLedger(settings.ledger_table), SageMakerEndpoints(), S3Store(settings.lake_bucket)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = SmokeRequest.model_validate(event)
    smoke = release_smoke(request, ledger=ledger, endpoints=endpoints, lake=lake)
    logger.info("smoke", extra=smoke | {"model": request.model, "endpoint": request.endpoint, "step": "release"})
    return smoke
