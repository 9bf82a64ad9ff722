"""release_finish: the outcome of a release in the ledger, the candidate endpoint gone, the lock free."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import SageMakerEndpoints, SageMakerRegistry
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import ReleaseFinishSettings
from tidemill.events import ReleaseEnd
from tidemill.steps.release import release_finish

settings = ReleaseFinishSettings.load()
logger = Logger(service="release_finish")
ledger, registry, endpoints = DynamoLedger(settings.ledger_table), SageMakerRegistry(), SageMakerEndpoints()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = ReleaseEnd.model_validate(event)
    finished = release_finish(request, settings.stage, ledger=ledger, registry=registry, endpoints=endpoints)
    log = logger.error if request.failure else logger.info
    log("released", extra=finished | {"model": request.model, "step": "release"})
    return finished
