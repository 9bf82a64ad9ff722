"""export: an ended run goes to the MLflow server its spec names; what is not tried again is counted, the run is what it is."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from tidemill.adapters.aws import S3Store
from tidemill.adapters.ledger import DynamoLedger
from tidemill.adapters.mlflow import MlflowServer
from tidemill.environment import ExportSettings
from tidemill.errors import RetryableError
from tidemill.events import ExportRequest
from tidemill.keys import run_id
from tidemill.steps.export import export_run

settings = ExportSettings.load()
logger = Logger(service="export")
metrics = Metrics(namespace="Tidemill", service="export")
ledger, lake = DynamoLedger(settings.ledger_table), S3Store(settings.lake_bucket)


@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = ExportRequest.model_validate(event)
    about = {"model": request.model, "run_id": run_id(request.epoch), "step": "export"}
    try:
        exported = export_run(request, settings.stage, ledger=ledger, lake=lake, server=MlflowServer)
    except Exception as error:
        if request.last or not isinstance(error, RetryableError):
            metrics.add_metric("ExportsFailed", MetricUnit.Count, 1)
        logger.exception("not exported", extra=about)
        raise
    logger.info("exported", extra=exported | about)
    return exported
