"""release_claim: an approved package takes its one release and the model's release lock."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import S3Store, StepFunctions
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import ReleaseClaimSettings
from tidemill.events import ReleaseRequest
from tidemill.steps.release import release_claim

settings = ReleaseClaimSettings.load()
logger = Logger(service="release_claim")
ledger, lake = DynamoLedger(settings.ledger_table), S3Store(settings.lake_bucket)
workflow = StepFunctions(machine_arn="")  # only asks whether other executions live


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    claimed = release_claim(ReleaseRequest.model_validate(event), settings.stage, settings.max_bake_s, ledger=ledger, workflow=workflow, lake=lake)
    logger.info("claimed", extra={"model": claimed["model"], "package": claimed["package"], "step": "release"})
    return claimed
