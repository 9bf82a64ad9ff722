"""Where policies lie: moto keeps them for IAM, S3, SQS, SNS, KMS and ECR; localcloud's own services hand in theirs.

This is the one place that reads policies out of moto's models; tests/contracts/test_moto_seams.py watches it.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from moto.ecr.models import ecr_backends
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from localcloud import ACCOUNT, REGION
from localcloud.iam.policy import Statement, parse

Statements = tuple[Statement, ...]
OwnPolicies = Callable[[str], str | None]


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
        found = next((role for role in list(iam_backends[ACCOUNT]["aws"].roles.values()) if role.name == name), None)
        return found if found is not None and found.arn == arn else None

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


FINDERS: dict[str, Callable[[str], Any]] = {"s3": _bucket, "sqs": _queue, "sns": _topic, "kms": _key, "ecr": _repository}


def key_arn(key_id: str) -> str | None:
    """A KMS key's ARN from its id, ARN or alias; None for a key of AWS's own (`alias/aws/s3`), or one that is not there."""
    backend = kms_backends[ACCOUNT][REGION]
    if key_id.rpartition(":")[2].startswith("alias/aws/"):
        return None
    found = backend.any_id_to_key_id(key_id)
    return backend.keys[found].arn if found in backend.keys else None


def bucket_key(bucket: str) -> str | None:
    """The ARN of the customer's key that a bucket encrypts with by default."""
    found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    rule = ((found.encryption if found else None) or {}).get("Rule", {})
    key = rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID")
    return key_arn(key) if key else None


def object_key(bucket: str, name: str) -> str | None:
    """The ARN of the customer's key that an object is encrypted with."""
    found = s3_backends[ACCOUNT]["aws"].buckets.get(bucket)
    item = found.keys.get(name) if found else None
    key = getattr(item, "kms_key_id", None) if getattr(item, "encryption", None) == "aws:kms" else None
    return key_arn(key) if key else None
