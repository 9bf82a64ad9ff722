"""register: a promoted model becomes a pending package, then an approved one."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import S3Store, SageMakerRegistry, SnsAlerts
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import RegisterSettings
from tidemill.events import RegisterRequest
from tidemill.keys import run_id
from tidemill.steps.register import register_run

settings = RegisterSettings.load()
logger = Logger(service="register")
ledger, registry, lake = DynamoLedger(settings.ledger_table), SageMakerRegistry(), S3Store(settings.lake_bucket)
alerts = SnsAlerts(settings.alerts_topic_arn)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = RegisterRequest.model_validate(event)
    registered = register_run(request, settings.stage, ledger=ledger, registry=registry, lake=lake, alerts=alerts)
    logger.info("registered", extra=registered | {"model": request.model, "run_id": run_id(request.epoch), "step": "register"})
    return registered
