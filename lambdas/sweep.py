"""sweep: executions that ended without their finish are finished for them, and uploads that wait get a tick."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidemill.adapters.aws import ParameterModels, SqsTicks, StepFunctions
from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import SweepSettings
from tidemill.events import SweepEvent
from tidemill.steps.sweep import sweep

settings = SweepSettings.load()
logger = Logger(service="sweep")
metrics = Metrics(namespace="Tidemill", service="sweep")
ledger, models = DynamoLedger(settings.ledger_table), ParameterModels(settings.stage)
workflow, ticks = StepFunctions(settings.training_machine_arn), SqsTicks(settings.tick_queue_url)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> None:
    for swept in sweep(SweepEvent.model_validate(event), ledger=ledger, models=models, workflow=workflow, ticks=ticks):
        logger.info("swept", extra=asdict(swept) | {"step": "sweep"})
        if swept.finished and swept.finished.parked:
            metrics.add_metric("UploadsParked", MetricUnit.Count, len(swept.finished.parked))
