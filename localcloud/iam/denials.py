"""How services word and code a refusal: not allowed, an unknown key, an expired one, none at all.

Sources: docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html, each service's "Common Errors",
docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from localcloud.errors import ServiceError

QUERY = {"cloudformation", "cloudwatch", "iam", "sns", "sqs", "sts"}
"""Services of the query protocol, or of one that keeps its error codes: there the codes have no `Exception` at their end."""
INVALID = "The security token included in the request is invalid"
EXPIRED = "The security token included in the request is expired"


class Refusal(ServiceError):
    """A request that was not let in. Its HTTP status is the protocol's own, unless `status` says another."""

    status: int | None = None


class AccessDenied(Refusal):
    """A denial in the words of the service that was called."""


class UnknownKey(Refusal):
    """The request is signed with a key that this localcloud did not issue, or not signed."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(code, message)
        self.status = status


def denial_code(service: str) -> str:
    if service == "sns":
        return "AuthorizationError"
    return "AccessDenied" if service == "s3" or service in QUERY else "AccessDeniedException"


def denial(code: str, caller: str, action: str, resource: str, reason: str) -> AccessDenied:
    """`User: … is not authorized to perform: …`: S3 quotes the ARN, SQS has no capitals, SNS some, a metric no resource."""
    spelled = _spelled(action)
    where = "" if resource == "*" and action.startswith(("s3:", "cloudwatch:")) else f" on resource: {_quoted(action, resource)}"
    return AccessDenied(code, f"User: {caller} is not authorized to perform: {spelled}{where} {reason.replace(action, spelled)}")


def _spelled(action: str) -> str:
    prefix, _, name = action.partition(":")
    return action.lower() if prefix == "sqs" else f"SNS:{name}" if prefix == "sns" else action


def _quoted(action: str, resource: str) -> str:
    return f'"{resource}"' if action.startswith("s3:") else resource


def unknown_key(service: str, access_key: str, known: str) -> UnknownKey:
    told = f": localcloud takes the key '{known}' and the keys it issued, not '{access_key}'."
    if service == "s3":
        return UnknownKey("InvalidAccessKeyId", f"The AWS Access Key Id you provided does not exist in our records{told}")
    return UnknownKey("InvalidClientTokenId" if service in QUERY else "UnrecognizedClientException", INVALID + told)


def wrong_token(service: str) -> UnknownKey:
    if service == "s3":
        return UnknownKey("InvalidToken", "The provided token is malformed or otherwise invalid.", status=400)
    return UnknownKey("InvalidClientTokenId" if service in QUERY else "UnrecognizedClientException", f"{INVALID}.")


def expired(service: str) -> UnknownKey:
    if service == "s3":
        return UnknownKey("ExpiredToken", "The provided token has expired.", status=400)
    return UnknownKey("ExpiredToken" if service in QUERY else "ExpiredTokenException", EXPIRED)


def unsigned(protocol: str) -> UnknownKey:
    """For S3 an unsigned request is an anonymous one."""
    if protocol == "rest-xml":
        return UnknownKey("AccessDenied", "Access Denied")
    told = "Missing Authentication Token: localcloud takes requests that are signed"
    return UnknownKey("MissingAuthenticationToken" if protocol == "query" else "MissingAuthenticationTokenException", told)


def out_of_date() -> UnknownKey:
    """A presigned URL after its time: docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html"""
    return UnknownKey("AccessDenied", "Request has expired")
