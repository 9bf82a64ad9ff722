"""Asks the evaluator about every call, with the policies and condition values that belong to it, and records the answer.

How AWS words and codes a denial differs by service; `AccessDenied` carries both.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.errors import ServiceError
from localcloud.iam.evaluate import Decision, Principal, Request, decide
from localcloud.iam.keys import ROOT, Credentials, KeyRing
from localcloud.iam.needs import Context, Need, needs
from localcloud.iam.operations import S3, TEMPLATES
from localcloud.iam.policy import PolicyError
from localcloud.iam.recorder import Record, Recorder
from localcloud.iam.stored import Stored, bucket_key, object_key

CODES = {
    "s3": "AccessDenied", "sns": "AuthorizationError", "iam": "AccessDenied", "sts": "AccessDenied", "cloudformation": "AccessDenied",
    "cloudwatch": "AccessDenied",
}  # fmt: skip
WRITES = {"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"}
READS = {"GetObject", "HeadObject", "CopyObject", "UploadPartCopy"}
HERE: Context = {
    "aws:securetransport": ("true",), "aws:requestedregion": (REGION,), "aws:resourceaccount": (ACCOUNT,), "aws:sourceip": ("127.0.0.1",),
    "aws:viaawsservice": ("false",), "aws:sourceowner": (ACCOUNT,), "s3:resourceaccount": (ACCOUNT,),
}  # fmt: skip
"""True of every request here. Nothing leaves this machine, so the transport counts as secure."""


class AccessDenied(ServiceError):
    """A denial in the words of the service that was called."""


class Authorizer:
    """The only place that decides whether something may be done."""

    def __init__(self, keys: KeyRing, stored: Stored, recorder: Recorder, now: Callable[[], float]) -> None:
        self._keys = keys
        self.stored = stored
        self._recorder = recorder
        self._now = now
        self._acting: dict[tuple[str, str], Credentials] = {}
        self._lock = threading.Lock()

    def authorize(self, principal: Principal, service: str, operation: str, parameters: Mapping[str, Any]) -> None:
        """Check an API request. Raises AccessDenied, or NotSupported for what localcloud cannot judge."""
        if service == "sts" or (principal == ROOT and not _may_deny_root(service, operation)):
            return  # STS asks the trust policy itself; who one is, everybody may know
        for need in [*needs(service, operation, parameters), *_encryption(service, operation, parameters)]:
            self.check(principal, need, CODES.get(service, "AccessDeniedException"))

    def check(self, principal: Principal, need: Need, code: str = "AccessDeniedException") -> None:
        """Check one permission. Raises AccessDenied."""
        decision = self.decide(principal, need)
        if not decision.allowed:
            raise AccessDenied(
                code, f"User: {_called(principal)} is not authorized to perform: {need.action} on resource: {need.resource} {decision.reason}"
            )

    def allows(self, role_arn: str, action: str, resource: str, context: Context | None = None) -> bool:
        """Whether a role may do something; recorded like a call."""
        return self.decide(_role(role_arn), Need(action, resource, context or {})).allowed

    def service(self, service: str, action: str, resource: str, source_arn: str) -> Decision:
        """Whether an AWS service may act on a resource by the resource's policy, on behalf of `source_arn`."""
        principal = Principal(arn="", account=ACCOUNT, service=service)
        return self.decide(principal, Need(action, resource, _source(source_arn)))

    def decide(self, principal: Principal, need: Need) -> Decision:
        """Raises ServiceError when a policy has something the evaluator does not know."""
        context = {key.lower(): value for key, value in {**self._about(principal), **need.context}.items()}
        request = Request(principal, need.action, need.resource, context)
        try:
            identity = self.stored.identity(principal.arn) if principal.session_arn else ()
            boundary = self.stored.boundary(principal.arn) if principal.session_arn else None
            policies = self.stored.resource(need.resource)
            required = need.action.startswith("kms:") and need.resource != "*" and bool(policies)
            decision = decide(request, identity, policies, boundary, resource_required=required)
        except PolicyError as error:
            raise ServiceError("NotSupportedByLocalcloud", f"localcloud cannot evaluate a policy that applies here: {error}") from error
        self._recorder.add(
            Record(principal.arn or principal.service, need.action, need.resource, decision.allowed, decision.reason, decision.statement)
        )
        return decision

    def assume(self, role_arn: str, service: str, session: str, source_arn: str = "") -> Credentials:
        """New credentials of a role for a service, if its trust policy lets the service have them. Raises AccessDenied."""
        principal = Principal(arn="", account=ACCOUNT, service=service)
        self._trusted(principal, role_arn, {}, _source(source_arn))
        return self._keys.issue(role_arn, session)

    def acting(self, role_arn: str, service: str, source_arn: str = "") -> Credentials:
        """Like assume, but one key for all the work a service does for a role; trust is asked every time."""
        self._trusted(Principal(arn="", account=ACCOUNT, service=service), role_arn, {}, _source(source_arn))
        with self._lock:
            if (role_arn, service) not in self._acting:
                self._acting[role_arn, service] = self._keys.issue(role_arn, service.partition(".")[0])
            return self._acting[role_arn, service]

    def assume_for(self, principal: Principal, role_arn: str, session: str, lifetime_s: float, need: Need) -> Credentials:
        """STS AssumeRole. Raises AccessDenied."""
        self._trusted(principal, role_arn, need.context, {})
        return self._keys.issue(role_arn, session, lifetime_s)

    def _trusted(self, principal: Principal, role_arn: str, context: Context, source: Context) -> None:
        values = {key.lower(): value for key, value in {**self._about(principal), **context, **source}.items()}
        identity = self.stored.identity(principal.arn) if principal.session_arn else ()
        request = Request(principal, "sts:AssumeRole", role_arn, values)
        try:
            trust = self.stored.trust(role_arn)
            decision = decide(request, identity, [replace(s, resources=("*",)) for s in trust], resource_required=True)
        except PolicyError as error:
            raise ServiceError("NotSupportedByLocalcloud", f"localcloud cannot evaluate a trust policy: {error}") from error
        self._recorder.add(
            Record(principal.arn or principal.service, "sts:AssumeRole", role_arn, decision.allowed, decision.reason, decision.statement)
        )
        if not decision.allowed:
            raise AccessDenied("AccessDenied", f"User: {_called(principal)} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")

    def _about(self, principal: Principal) -> dict[str, tuple[str, ...]]:
        now = self._now()
        moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        values = {**HERE, "aws:currenttime": (moment,), "aws:epochtime": (str(int(now)),)}
        if principal.service:
            return values | {"aws:principalisawsservice": ("true",), "aws:principalservicename": (principal.service,)}
        kind = "AssumedRole" if principal.session_arn else "Account"
        return values | {
            "aws:principalarn": (principal.arn,), "aws:principalaccount": (ACCOUNT,), "aws:principaltype": (kind,),
            "aws:principalisawsservice": ("false",), "aws:userid": (principal.session_arn.partition("/")[2].replace("/", ":") or ACCOUNT,),
        }  # fmt: skip


def _may_deny_root(service: str, operation: str) -> bool:
    """Only a resource's policy can deny the account itself something."""
    return operation in S3 if service == "s3" else operation in TEMPLATES[service] if service in ("sqs", "sns") else False


def _encryption(service: str, operation: str, p: Mapping[str, Any]) -> Iterator[Need]:
    """S3 uses a customer's KMS key with the caller's own permissions.

    Source: docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
    """
    if service != "s3":
        return
    via = {"kms:ViaService": (f"s3.{REGION}.amazonaws.com",), "kms:CallerAccount": (ACCOUNT,)}
    if operation in WRITES and (key := p.get("SSEKMSKeyId") or bucket_key(str(p["Bucket"]))):
        yield Need("kms:GenerateDataKey", str(key), via)
    if operation in READS:
        bucket, name = str(p["CopySource"]).lstrip("/").split("/", 1) if "CopySource" in p else (str(p["Bucket"]), str(p["Key"]))
        if key := object_key(bucket, name.partition("?")[0]):
            yield Need("kms:Decrypt", key, via)


def _source(source_arn: str) -> Context:
    return {"aws:SourceArn": (source_arn,), "aws:SourceAccount": (ACCOUNT,)} if source_arn else {"aws:SourceAccount": (ACCOUNT,)}


def _role(arn: str) -> Principal:
    return Principal(arn=arn, account=ACCOUNT, session_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rpartition('/')[2]}/localcloud")


def _called(principal: Principal) -> str:
    return principal.session_arn or principal.arn or principal.service
