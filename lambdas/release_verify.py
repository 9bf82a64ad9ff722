"""release_verify: the ledger's gate decision and the live champion, not the approval, say whether a package may go live."""

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.adapters.ledger import DynamoLedger
from tidemill.environment import ReleaseVerifySettings
from tidemill.events import ReleaseRef
from tidemill.steps.release import release_verify

settings = ReleaseVerifySettings.load()
logger = Logger(service="release_verify")
ledger = DynamoLedger(settings.ledger_table)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    request = ReleaseRef.model_validate(event)
    verified = release_verify(request, ledger=ledger)
    logger.info("verified", extra=verified | {"model": request.model, "step": "release"})
    return verified
