"""start: ticks that are due. Begins the next run of a model whose quiet window is over."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from tidemill.adapters.aws import ParameterModels, StepFunctions
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import StartSettings
from tidemill.events import QueueRecord, Tick, iso
from tidemill.steps.start import start

settings = StartSettings.load()
logger = Logger(service="start")
processor = BatchProcessor(event_type=EventType.SQS)
ledger, models = DynamoLedger(settings.ledger_table), ParameterModels(settings.stage)
workflow = StepFunctions(settings.training_machine_arn)


def tick(record: Any) -> None:
    message = QueueRecord.model_validate(record.raw_event)
    model = Tick.model_validate_json(message.body).model
    started = start(model, iso(message.first_received_ms), ledger=ledger, models=models, workflow=workflow)
    logger.info("tick", extra=asdict(started) | {"step": "start"})


def handler(event: dict[str, Any], context: Any) -> Any:
    return process_partial_response(event, tick, processor, context)
