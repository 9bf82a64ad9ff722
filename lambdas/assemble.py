"""assemble: prepared parts become a dataset, or the run stops with a reason."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import S3Store, StepFunctions
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import AssembleSettings
from tidemill.events import RunRef
from tidemill.keys import run_id
from tidemill.steps.assemble import assemble_run

settings = AssembleSettings.load()
logger = Logger(service="assemble")
ledger, lake = DynamoLedger(settings.ledger_table), S3Store(settings.lake_bucket)
workflow = StepFunctions(machine_arn="")  # only asks whether a release lives


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = RunRef.model_validate(event)
    assembled = assemble_run(request, ledger=ledger, workflow=workflow, lake=lake)
    logger.info("assembled", extra=assembled | {"model": request.model, "run_id": run_id(request.epoch), "step": "assemble"})
    return assembled
