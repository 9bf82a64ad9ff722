"""gate: the pure decision on an evaluation, written down with its reasons."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import S3Store
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import GateSettings
from tidemill.events import GateRequest
from tidemill.keys import run_id
from tidemill.steps.gate import gate_run

settings = GateSettings.load()
logger = Logger(service="gate")
ledger, lake = DynamoLedger(settings.ledger_table), S3Store(settings.lake_bucket)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = GateRequest.model_validate(event)
    decided = gate_run(request, ledger=ledger, lake=lake)
    log = logger.error if "report_failed" in decided else logger.info
    log("decided", extra=decided | {"model": request.model, "run_id": run_id(request.epoch), "step": "gate"})
    return decided
