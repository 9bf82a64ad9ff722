"""pack: the small files of a dataset become few large ones."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.aws import S3Store
from tidemill.environment import PackSettings
from tidemill.events import PackRequest
from tidemill.keys import run_id
from tidemill.steps.pack import pack_dataset

settings = PackSettings.load()
logger = Logger(service="pack")
lake = S3Store(settings.lake_bucket)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = PackRequest.model_validate(event)
    packed = pack_dataset(request, lake=lake)
    logger.info("packed", extra=packed | {"model": request.model, "run_id": run_id(request.epoch), "step": "pack"})
    return packed
