"""Where policies lie: moto keeps them for IAM, S3, SQS, SNS, KMS and ECR; localcloud's own services hand in theirs.

This is the one place that reads policies out of moto's models; tests/contracts/test_moto_seams.py watches it.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from moto.ecr.models import ecr_backends
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from localcloud import ACCOUNT, REGION
from localcloud.iam.evaluate import Principal
from localcloud.iam.policy import Statement, parse

Statements = tuple[Statement, ...]
OwnPolicies = Callable[[str], str | None]
BOUNDED = {"AttachRolePolicy", "DeleteRolePermissionsBoundary", "DeleteRolePolicy", "DetachRolePolicy", "PutRolePolicy"}
"""Operations for which iam:PermissionsBoundary is the boundary that the role has: reference_policies_iam-condition-keys.html"""


@lru_cache(maxsize=4096)
def _parsed(text: str, name: str) -> Statements:
    return parse(text, name)


def _text(document: Any) -> str:
    if isinstance(document, bytes):
        return document.decode()
    return document if isinstance(document, str) else json.dumps(document)


def _managed(policy: Any) -> str:
    """The document of a managed policy's default version."""
    return _text(next(version.document for version in policy.versions if version.version_id == policy.default_version_id))


class Stored:
    """Policies by ARN. `own`: service → a function from ARN to the policy text that localcloud itself keeps."""

    def __init__(self) -> None:
        self.own: dict[str, OwnPolicies] = {}

    def role(self, arn: str) -> Any:
        """moto's role, or None."""
        name = arn.rpartition("/")[2]
        return next((role for role in self._roles() if role.name == name and role.arn == arn), None)

    def _roles(self) -> list[Any]:
        return list(iam_backends[ACCOUNT]["aws"].roles.values())

    def tags(self, role_arn: str) -> dict[str, str]:
        """A role's tags: they are its sessions' principal tags."""
        role = self.role(role_arn)
        return {} if role is None else {tag["Key"]: tag["Value"] for tag in role.tags}

    def user_id(self, principal: Principal) -> str:
        """`AROA…:session`, or the account's number for the account itself."""
        role = self.role(principal.arn) if principal.session_arn else None
        return f"{role.id}:{principal.session_arn.rpartition('/')[2]}" if role is not None else ACCOUNT

    def named(self, service: str, operation: str, p: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parameters with the full names of what they mean: a KMS key by id, alias or ciphertext, a role by its path."""
        if service == "kms":
            return {**p, **_named_keys(operation, p)}
        name = p.get("RoleName") if service == "iam" and operation != "CreateRole" else None
        role = next((each for each in self._roles() if each.name == name), None) if name else None
        if role is None:
            return p
        limit = role.permissions_boundary_arn if operation in BOUNDED else None
        return {**p, "RoleName": role.arn} | ({"PermissionsBoundary": limit} if limit else {})

    def identity(self, role_arn: str) -> Statements:
        """All inline and attached policies of a role; none when the role is gone."""
        role = self.role(role_arn)
        if role is None:
            return ()
        documents = [(name, _text(text)) for name, text in role.policies.items()]
        documents += [(policy.name, _managed(policy)) for policy in role.managed_policies.values()]
        return tuple(statement for name, text in documents for statement in _parsed(text, f"{role.name}/{name}"))

    def boundary(self, role_arn: str) -> Statements | None:
        role = self.role(role_arn)
        arn = getattr(role, "permissions_boundary_arn", None)
        if not arn:
            return None
        policy = iam_backends[ACCOUNT]["aws"].managed_policies.get(arn)
        return () if policy is None else _parsed(_managed(policy), policy.name)

    def trust(self, role_arn: str) -> Statements:
        role = self.role(role_arn)
        return () if role is None else _parsed(_text(role.assume_role_policy_document), f"{role.name}/trust")

    def resource(self, arn: str) -> Statements:
        """The policy attached to a resource, if there is one."""
        service = arn.split(":")[2] if arn.startswith("arn:") else ""
        find = self.own.get(service) or FINDERS.get(service)
        document = find(arn) if find else None
        return _parsed(_text(document), arn) if document else ()


def _bucket(arn: str) -> Any:
    bucket = s3_backends[ACCOUNT]["aws"].buckets.get(arn.removeprefix("arn:aws:s3:::").partition("/")[0])
    return bucket and bucket.policy


def _queue(arn: str) -> Any:
    queue = sqs_backends[ACCOUNT][REGION].queues.get(arn.rpartition(":")[2])
    return queue and queue.policy


def _topic(arn: str) -> Any:
    topic = sns_backends[ACCOUNT][REGION].topics.get(arn)
    return topic and topic.policy


def _key(arn: str) -> Any:
    key = kms_backends[ACCOUNT][REGION].keys.get(arn.rpartition("/")[2])
    return key and key.policy


def _repository(arn: str) -> Any:
    repository = ecr_backends[ACCOUNT][REGION].repositories.get(arn.partition(":repository/")[2])
    return repository and repository.policy


KEY_ID_BYTES = 36
FINDERS: dict[str, Callable[[str], Any]] = {"s3": _bucket, "sqs": _queue, "sns": _topic, "kms": _key, "ecr": _repository}


def key_arn(key_id: str) -> str | None:
    """A KMS key's ARN from its id, ARN or alias; None for a key of AWS's own (`alias/aws/s3`), or one that is not there."""
    backend = kms_backends[ACCOUNT][REGION]
    name = key_id.rpartition(":")[2]
    for key in list(backend.keys.values()):
        if name in (key.id, f"key/{key.id}") or name in key.aliases:
            return None if any(alias.startswith("alias/aws/") for alias in key.aliases) else str(key.arn)
    return None


def _named_keys(operation: str, p: Mapping[str, Any]) -> dict[str, Any]:
    """KeyId as ARN; for an operation on an alias also `AliasKeys`, the keys it points to before and after.

    Source: docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
    """
    if "AliasName" in p:
        keys = [] if operation == "CreateAlias" else [key_arn(p["AliasName"])]
        keys += [key_arn(p["TargetKeyId"])] if "TargetKeyId" in p else []
        return {"AliasKeys": [key for key in dict.fromkeys(keys) if key]}
    if "KeyId" in p:
        return {"KeyId": key_arn(p["KeyId"]) or p["KeyId"]}
    ciphertext = p.get("CiphertextBlob", b"")[:KEY_ID_BYTES].decode(errors="replace")  # moto's ciphertext begins with the key's id
    return {"KeyId": found} if ciphertext and (found := key_arn(ciphertext)) else {}


def has_bucket(name: str) -> bool:
    return name in s3_backends[ACCOUNT]["aws"].buckets


def bucket_key(bucket: str) -> str | None:
    """The ARN of the customer's key that a bucket encrypts with by default."""
    key = _default(bucket).get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID")
    return key_arn(key) if key else None


def has_bucket_key(bucket: str) -> bool:
    """Whether S3 uses one data key for the bucket (an "S3 Bucket Key") and not one an object."""
    return str(_default(bucket).get("BucketKeyEnabled", "")).lower() == "true"


def _default(bucket: str) -> dict[str, Any]:
    found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    rule: dict[str, Any] = ((found.encryption if found else None) or {}).get("Rule", {})
    return rule


def object_key(bucket: str, name: str, version: str = "") -> str | None:
    """The ARN of the customer's key that an object, or one version of it, is encrypted with."""
    found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    item = found.keys.get(name) if found and not version else None
    if found and version:
        item = next((each for each in found.keys.getlist(name, []) if str(each.version_id) == version), None)
    key = getattr(item, "kms_key_id", None) if str(getattr(item, "encryption", None)).startswith("aws:kms") else None
    return key_arn(key) if key else None


def upload_key(bucket: str, upload: str) -> str | None:
    """The same for a multipart upload: what it was begun with, else the bucket's default."""
    found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    begun = found.multiparts.get(upload) if found else None
    if begun is None or begun.sse_encryption == "AES256":
        return None
    return key_arn(begun.kms_key_id) if begun.kms_key_id else bucket_key(bucket)
