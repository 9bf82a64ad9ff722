"""Asks the evaluator about every call, with the policies and condition values that belong to it, and records the answer.

How AWS words and codes a denial differs by service: `denials` knows.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.errors import ServiceError
from localcloud.iam.denials import AccessDenied, denial, denial_code
from localcloud.iam.evaluate import Decision, Principal, Request, decide
from localcloud.iam.keys import ROOT, Credentials, KeyRing
from localcloud.iam.needs import Context, Need, needs
from localcloud.iam.needs_s3 import COPIES, copy_source, deletion
from localcloud.iam.operations import S3, TEMPLATES
from localcloud.iam.policy import PolicyError
from localcloud.iam.recorder import Record, Recorder
from localcloud.iam.stored import Stored, bucket_key, has_bucket, has_bucket_key, key_arn, object_key, upload_key

__all__ = ["AccessDenied", "Authorizer"]

GUARDED = {"ecr", "kms", "sns", "sqs"}
"""Services beside S3 where a resource's policy may deny something to the account itself."""
SAYS_OWNER = {"cloudwatch.amazonaws.com"}
"""Services that still send aws:SourceOwner, which a topic's default policy asks for; a role's request never has it.

Source: docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html, "aws:SourceAccount versus aws:SourceOwner"
"""
HIDDEN = {"GetObject", "GetObjectAttributes", "HeadObject"}
ENCRYPTED = HIDDEN | COPIES | {"CompleteMultipartUpload", "CreateMultipartUpload", "PutObject", "UploadPart"}
HERE: Context = {
    "aws:securetransport": ("true",), "aws:requestedregion": (REGION,), "aws:resourceaccount": (ACCOUNT,), "aws:sourceip": ("127.0.0.1",),
    "aws:viaawsservice": ("false",), "s3:resourceaccount": (ACCOUNT,), "s3:tlsversion": ("1.3",),
}  # fmt: skip
"""True of every request here. Nothing leaves this machine, so the transport counts as secure."""


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
        if service == "sts" or operation == "DeleteObjects" or (principal == ROOT and not _may_deny_root(service, operation)):
            return  # STS asks the trust policy itself, and who one is, everybody may know; for DeleteObjects see `undeletable`
        for need in [*needs(service, operation, self.stored.named(service, operation, parameters)), *_encryption(service, operation, parameters)]:
            self.check(principal, need, denial_code(service))

    def undeletable(self, principal: Principal, parameters: Mapping[str, Any]) -> list[tuple[int, AccessDenied]]:
        """Which of a DeleteObjects' keys (by their place in it) the caller may not delete; the others are deleted.

        Source: docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
        """
        denied = []
        for place, item in enumerate(parameters.get("Delete", {}).get("Objects", [])):
            try:
                self.check(principal, deletion(str(parameters["Bucket"]), item), "AccessDenied")
            except AccessDenied as error:
                denied.append((place, error))
        return denied

    def check_listed(self, principal: Principal, operation: str, parameters: Mapping[str, Any]) -> None:
        """A missing object is missing only to those who may list its bucket. Raises AccessDenied for others.

        Source: docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, "Permissions"
        """
        if operation in HIDDEN and has_bucket(bucket := str(parameters["Bucket"])):
            self.check(principal, Need("s3:ListBucket", f"arn:aws:s3:::{bucket}"), "AccessDenied")

    def check(self, principal: Principal, need: Need, code: str = "AccessDeniedException") -> None:
        """Check one permission. Raises AccessDenied."""
        decision = self.decide(principal, need)
        if not decision.allowed:
            raise denial(code, _called(principal), need.action, need.resource, decision.reason)

    def allows(self, role_arn: str, action: str, resource: str, context: Context | None = None) -> bool:
        """Whether a role may do something; recorded like a call."""
        return self.decide(_role(role_arn), Need(action, resource, context or {})).allowed

    def service(self, service: str, action: str, resource: str, source_arn: str) -> Decision:
        """Whether an AWS service may act on a resource by the resource's policy, on behalf of `source_arn`."""
        principal = Principal(arn="", account=ACCOUNT, service=service)
        owner = {"aws:SourceOwner": (ACCOUNT,)} if service in SAYS_OWNER else {}
        return self.decide(principal, Need(action, resource, {**_source(source_arn), **owner}))

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
            raise denial("AccessDenied", _called(principal), "sts:AssumeRole", role_arn, decision.reason)

    def _about(self, principal: Principal) -> dict[str, tuple[str, ...]]:
        now = self._now()
        moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        values = {**HERE, "aws:currenttime": (moment,), "aws:epochtime": (str(int(now)),)}
        if principal.service:
            return values | {"aws:principalisawsservice": ("true",), "aws:principalservicename": (principal.service,)}
        values |= {
            "aws:principalarn": (principal.arn,), "aws:principalaccount": (ACCOUNT,), "aws:principalisawsservice": ("false",),
            "aws:userid": (self.stored.user_id(principal),),
        }  # fmt: skip
        if not principal.session_arn:
            return values | {"aws:principaltype": ("Account",)}
        tags = {f"aws:principaltag/{name}": (value,) for name, value in self.stored.tags(principal.arn).items()}
        return values | {"aws:principaltype": ("AssumedRole",), "aws:multifactorauthpresent": ("false",)} | tags


def _may_deny_root(service: str, operation: str) -> bool:
    """Only a resource's policy can deny the account itself something."""
    return operation in S3 or operation in COPIES if service == "s3" else service in GUARDED and operation in TEMPLATES[service]


def _encryption(service: str, operation: str, p: Mapping[str, Any]) -> Iterator[Need]:
    """S3 uses a customer's KMS key with the caller's own permissions.

    Sources: docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html; of parts, API_CreateMultipartUpload.html
    """
    if service != "s3" or operation not in ENCRYPTED:
        return
    bucket, name = str(p["Bucket"]), str(p["Key"])
    if operation in COPIES:
        source, key, version = copy_source(p)
        yield from _via_s3("kms:Decrypt", object_key(source, key, version), source, key)
    match operation:
        case "GetObject" | "HeadObject" | "GetObjectAttributes":
            yield from _via_s3("kms:Decrypt", object_key(bucket, name, str(p.get("VersionId") or "")), bucket, name)
        case "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload":
            yield from _via_s3("kms:Decrypt", upload_key(bucket, str(p.get("UploadId"))), bucket, name)
        case _ if p.get("ServerSideEncryption") != "AES256":
            yield from _via_s3("kms:GenerateDataKey", key_arn(p["SSEKMSKeyId"]) if p.get("SSEKMSKeyId") else bucket_key(bucket), bucket, name)


def _via_s3(action: str, key: str | None, bucket: str, name: str) -> Iterator[Need]:
    """The encryption context is the object, or the bucket where it has a Bucket Key."""
    arn = f"arn:aws:s3:::{bucket}" if has_bucket_key(bucket) else f"arn:aws:s3:::{bucket}/{name}"
    via = {
        "kms:ViaService": (f"s3.{REGION}.amazonaws.com",), "kms:CallerAccount": (ACCOUNT,), "aws:ViaAWSService": ("true",),
        "kms:EncryptionContext:aws:s3:arn": (arn,),
    }  # fmt: skip
    if key:
        yield Need(action, key, via)


def _source(source_arn: str) -> Context:
    return {"aws:SourceArn": (source_arn,), "aws:SourceAccount": (ACCOUNT,)} if source_arn else {"aws:SourceAccount": (ACCOUNT,)}


def _role(arn: str) -> Principal:
    return Principal(arn=arn, account=ACCOUNT, session_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{arn.rpartition('/')[2]}/localcloud")


def _called(principal: Principal) -> str:
    return principal.session_arn or principal.arn or principal.service
