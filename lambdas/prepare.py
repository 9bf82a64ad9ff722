"""prepare: the uploads of one bin become parts, or are refused with a reason."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidemill.adapters.aws import S3Store
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import PrepareSettings
from tidemill.events import PrepareRequest
from tidemill.keys import run_id
from tidemill.steps.prepare import prepare_bin
from tidemill.steps.settle import summarize

settings = PrepareSettings.load()
logger = Logger(service="prepare")
metrics = Metrics(namespace="Tidemill", service="prepare")
ledger, landing, lake = DynamoLedger(settings.ledger_table), S3Store(settings.landing_bucket), S3Store(settings.lake_bucket)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = PrepareRequest.model_validate(event)
    prepared = prepare_bin(request, event["now"], ledger=ledger, landing=landing, lake=lake, max_bytes=settings.max_unpacked_bytes)
    for upload in prepared:
        logger.info("prepared", extra=asdict(upload) | {"model": request.model, "run_id": run_id(request.epoch), "step": "prepare"})
    summary = summarize(prepared)
    if summary["refused"]:
        metrics.add_metric("UploadsRefused", MetricUnit.Count, summary["refused"])
    return summary
