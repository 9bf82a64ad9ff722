"""STS: who am I, and AssumeRole by the role's trust policy."""

from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Service, caller
from localcloud.iam.authorizer import Authorizer
from localcloud.iam.needs import needs

DEFAULT_S = 3600
CHAINED_S = 3600
UNSUPPORTED = {
    "Policy": "session policies", "PolicyArns": "session policies", "Tags": "session tags", "TransitiveTagKeys": "session tags",
    "SourceIdentity": "source identities", "SerialNumber": "MFA", "TokenCode": "MFA", "ProvidedContexts": "provided contexts",
}  # fmt: skip


class Sts:
    """Who am I, and AssumeRole."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def service(self) -> Service:
        return Service("sts", {"AssumeRole": self.assume, "GetCallerIdentity": self.identity})

    def identity(self, _: dict[str, Any]) -> dict[str, Any]:
        principal = caller()
        user = self._authorizer.stored.user_id(principal)
        return {"UserId": user, "Account": ACCOUNT, "Arn": principal.session_arn or principal.arn}

    def assume(self, p: dict[str, Any]) -> dict[str, Any]:
        """Source: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
        for name, what in UNSUPPORTED.items():
            if p.get(name):
                raise NotSupported(f"{what} (AssumeRole with {name})")
        lifetime = float(p.get("DurationSeconds") or DEFAULT_S)
        issued = self._authorizer.assume_for(caller(), p["RoleArn"], p["RoleSessionName"], lifetime, needs("sts", "AssumeRole", p)[0])
        self._check_lifetime(p["RoleArn"], lifetime)
        keys = {"AccessKeyId": issued.access_key, "SecretAccessKey": issued.secret_key, "SessionToken": issued.token}
        expires = datetime.fromtimestamp(issued.expires or 0.0, UTC)
        user = {"AssumedRoleId": self._authorizer.stored.user_id(issued.principal), "Arn": issued.principal.session_arn}
        return {"Credentials": keys | {"Expiration": expires}, "AssumedRoleUser": user}

    def _check_lifetime(self, role_arn: str, lifetime_s: float) -> None:
        """A session is no longer than its role allows, and no longer than an hour when a session assumes it."""
        if caller().session_arn and lifetime_s > CHAINED_S:
            message = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
            raise ServiceError("ValidationError", message)
        if lifetime_s > int(self._authorizer.stored.role(role_arn).max_session_duration or DEFAULT_S):
            raise ServiceError("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
