"""finish: the end of every run, good or bad: outcome written, what is left given back, lease free, waiting uploads ticked."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidemill.adapters.aws import SqsTicks
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import FinishSettings
from tidemill.events import FinishRequest
from tidemill.keys import run_id
from tidemill.steps.finish import finish_run

settings = FinishSettings.load()
logger = Logger(service="finish")
metrics = Metrics(namespace="Tidemill", service="finish")
ledger, ticks = DynamoLedger(settings.ledger_table), SqsTicks(settings.tick_queue_url)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = FinishRequest.model_validate(event)
    finished = asdict(finish_run(request, ledger=ledger, ticks=ticks))
    log = logger.error if request.failure else logger.info
    log("finished", extra=finished | {"model": request.model, "run_id": run_id(request.epoch), "step": "finish"})
    if finished["parked"]:
        metrics.add_metric("UploadsParked", MetricUnit.Count, len(finished["parked"]))
    return {"outcome": finished["outcome"], "reasons": finished["reasons"], "waiting": finished["waiting"]}
