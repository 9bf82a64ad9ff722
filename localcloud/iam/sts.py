"""STS: who am I, and AssumeRole by the role's trust policy."""

from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT
from localcloud.errors import ServiceError
from localcloud.front import Service, caller
from localcloud.iam.authorizer import Authorizer
from localcloud.iam.needs import needs

DEFAULT_S = 3600


class Sts:
    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def service(self) -> Service:
        return Service("sts", {"AssumeRole": self.assume, "GetCallerIdentity": self.identity})

    def identity(self, _: dict[str, Any]) -> dict[str, Any]:
        principal = caller()
        arn = principal.session_arn or principal.arn
        return {"UserId": arn.rpartition(":")[2], "Account": ACCOUNT, "Arn": arn}

    def assume(self, p: dict[str, Any]) -> dict[str, Any]:
        if "Policy" in p or "PolicyArns" in p:
            raise ServiceError("NotSupportedByLocalcloud", "localcloud does not do this: session policies")
        need = needs("sts", "AssumeRole", p)[0]
        lifetime = float(p.get("DurationSeconds") or DEFAULT_S)
        issued = self._authorizer.assume_for(caller(), p["RoleArn"], p["RoleSessionName"], lifetime, need)
        keys = {"AccessKeyId": issued.access_key, "SecretAccessKey": issued.secret_key, "SessionToken": issued.token}
        expires = datetime.fromtimestamp(issued.expires or 0.0, UTC)
        session = issued.principal.session_arn
        return {"Credentials": keys | {"Expiration": expires}, "AssumedRoleUser": {"AssumedRoleId": session.rpartition(":")[2], "Arn": session}}
