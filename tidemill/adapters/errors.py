"""AWS error codes become Tidemill's errors, in this one place."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from tidemill.errors import ObjectMissing, ServiceUnavailable, TidemillError, UnknownModel

AWS_ERRORS = (ClientError, BotoCoreError)
RETRYABLE = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
MEANING: dict[str, type[TidemillError]] = {
    "NoSuchKey": ObjectMissing,
    "NoSuchVersion": ObjectMissing,
    "NoSuchBucket": ObjectMissing,
    "404": ObjectMissing,
    "ParameterNotFound": UnknownModel,
}


@contextmanager
def translated(what: str, **codes: type[TidemillError]) -> Iterator[None]:
    """Run an AWS call; `what` names it in the error, `codes` adds meanings for this call."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        message = f"{what}: {code}: {error.response['Error'].get('Message', '')}"
        if code in RETRYABLE:
            raise ServiceUnavailable(message) from error
        meaning = codes.get(code) or MEANING.get(code)
        if meaning is None:
            raise
        raise meaning(message) from error
    except BotoCoreError as error:
        raise ServiceUnavailable(f"{what}: {error}") from error
