"""prepare, after the job of large uploads: what it made of the uploads of a bin goes into the ledger."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidemill.adapters.aws import S3Store
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import PreparedLargeSettings
from tidemill.events import PrepareRequest
from tidemill.keys import run_id
from tidemill.steps.settle import settle_bin, summarize

settings = PreparedLargeSettings.load()
logger = Logger(service="prepared_large")
metrics = Metrics(namespace="Tidemill", service="prepared_large")
ledger, lake = DynamoLedger(settings.ledger_table), S3Store(settings.lake_bucket)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = PrepareRequest.model_validate(event)
    prepared = settle_bin(request, event["now"], ledger=ledger, lake=lake)
    for upload in prepared:
        logger.info("prepared", extra=asdict(upload) | {"model": request.model, "run_id": run_id(request.epoch), "step": "prepare"})
    summary = summarize(prepared)
    if summary["refused"]:
        metrics.add_metric("UploadsRefused", MetricUnit.Count, summary["refused"])
    return summary
