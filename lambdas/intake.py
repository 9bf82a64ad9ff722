"""intake: S3 events from the queue become uploads in the ledger, and ticks. A failed record is retried alone."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from tidemill.adapters.aws import ParameterModels, SqsTicks
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import IntakeSettings
from tidemill.events import ObjectCreated, QueueRecord
from tidemill.steps.intake import intake

settings = IntakeSettings.load()
logger = Logger(service="intake")
metrics = Metrics(namespace="Tidemill", service="intake")
processor = BatchProcessor(event_type=EventType.SQS)
ledger, models, ticks = DynamoLedger(settings.ledger_table), ParameterModels(settings.stage), SqsTicks(settings.tick_queue_url)


def take(record: Any) -> None:
    message = QueueRecord.model_validate(record.raw_event)
    event = ObjectCreated.read(message.body)
    taken = intake(event, settings.landing_bucket, message.sent_ms, ledger=ledger, models=models, ticks=ticks)
    logger.info("upload", extra=asdict(taken) | {"step": "intake"})
    if taken.outcome == "refused":
        metrics.add_metric("UploadsRefused", MetricUnit.Count, 1)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> Any:
    return process_partial_response(event, take, processor, context)
