"""From a request to the permissions it asks for: actions, resources and condition values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.errors import NotSupported
from localcloud.iam.operations import ACTIONS, ALL, PASSED_ROLES, PREFIXES, S3, TEMPLATES, VERSIONED

PLACEHOLDER = re.compile(r"\{(\w+)\}")
Context = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Need:
    """One permission: `resource` is an ARN, or `*` for an action that has none. `context` holds what only this request knows."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


def needs(service: str, operation: str, p: Mapping[str, Any]) -> list[Need]:
    """What a request asks for, in the order AWS would report a denial. Raises NotSupported for an operation that is not known."""
    found = list(_own(service, operation, p))
    if passed := PASSED_ROLES.get(f"{service}:{operation}"):
        found += _passed(p, *passed)
    return found


def _own(service: str, operation: str, p: Mapping[str, Any]) -> Iterator[Need]:
    if service == "s3":
        yield from _s3(operation, p)
    elif service == "dynamodb" and operation in ("TransactWriteItems", "TransactGetItems", "BatchGetItem", "BatchWriteItem"):
        yield from _dynamodb_many(operation, p)
    else:
        prefix = PREFIXES.get(service, service)
        known = "sagemaker" if service == "sagemaker-runtime" else service
        single = operation.removesuffix("Batch") if service == "sqs" else operation
        template = TEMPLATES.get(known, {}).get(single)
        if template is None:
            raise NotSupported(f"permissions of {service}:{operation}: localcloud/iam/operations.py does not say which resource it asks for")
        action = ACTIONS.get(f"{service}:{operation}", f"{prefix}:{operation}")
        yield from (Need(action, resource, _context(service, p)) for resource in _resources(prefix, template, _named(service, p)))


def _resources(prefix: str, template: str, p: Mapping[str, Any]) -> list[str]:
    """The template filled; a list parameter gives one ARN each, a value that is an ARN already stands for itself."""
    if template == ALL:
        return [ALL]
    names = PLACEHOLDER.findall(template)
    lists = next((p[name] for name in names if isinstance(p.get(name), list)), [None])
    return [_fill(prefix, template, {**p, **dict.fromkeys((n for n in names if isinstance(p.get(n), list)), item)}) for item in lists]


def _fill(prefix: str, template: str, p: Mapping[str, Any]) -> str:
    given: dict[str, str] = {"account": ACCOUNT, "region": REGION} | {
        name: str(p.get(name) or "") for name in PLACEHOLDER.findall(template) if name in p
    }
    for value in given.values():
        if value.startswith("arn:"):
            return value
    text = PLACEHOLDER.sub(lambda match: given.get(match[1], "*" if match[1] not in ("logStreamName", "logGroupName") else ""), template)
    return text if text.startswith("arn:") else f"arn:aws:{prefix}:{REGION}:{ACCOUNT}:{text}".replace("parameter//", "parameter/")


def _named(service: str, p: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters with the names the templates use."""
    match service:
        case "sqs" if "QueueUrl" in p:
            return {**p, "QueueName": p["QueueUrl"].rpartition("/")[2]}
        case "cloudwatch" if "AlarmNames" in p:
            return {**p, "AlarmName": p["AlarmNames"]}
        case "cloudwatch" if "DashboardNames" in p:
            return {**p, "DashboardName": p["DashboardNames"]}
        case "codebuild" if "ids" in p:
            return {**p, "projectName": [build.partition(":")[0].rpartition("/")[2] for build in p["ids"]]}
        case "logs" if "logGroupNamePrefix" in p:
            return {**p, "logGroupName": p["logGroupNamePrefix"]}
        case "sns" if "TargetArn" in p:
            return {**p, "TopicArn": p["TargetArn"]}
        case "iam" if "RoleName" in p and p.get("Path", "/") != "/":
            return {**p, "RoleName": f"{p['Path'].strip('/')}/{p['RoleName']}"}
    return p


def _context(service: str, p: Mapping[str, Any]) -> Context:
    match service:
        case "cloudwatch" if "Namespace" in p:
            return {"cloudwatch:namespace": (str(p["Namespace"]),)}
        case "dynamodb" if isinstance(p.get("Key"), dict):
            return {}
        case "sns" if "Protocol" in p:
            return {"sns:Protocol": (str(p["Protocol"]),), "sns:Endpoint": (str(p.get("Endpoint", "")),)}
        case "sts" if "RoleSessionName" in p:
            external = {"sts:ExternalId": (str(p["ExternalId"]),)} if "ExternalId" in p else {}
            return {"sts:RoleSessionName": (str(p["RoleSessionName"]),)} | external
    return {}


def _s3(operation: str, p: Mapping[str, Any]) -> Iterator[Need]:
    if operation == "DeleteObjects":
        for item in p.get("Delete", {}).get("Objects", []):
            action = "s3:DeleteObjectVersion" if item.get("VersionId") else "s3:DeleteObject"
            yield Need(action, f"arn:aws:s3:::{p['Bucket']}/{item['Key']}")
        return
    if operation in ("CopyObject", "UploadPartCopy"):
        yield Need("s3:GetObject", f"arn:aws:s3:::{str(p['CopySource']).lstrip('/').partition('?')[0]}")
        operation = "PutObject"
    if operation not in S3:
        raise NotSupported(f"permissions of s3:{operation}: localcloud/iam/operations.py does not say which resource it asks for")
    action, template = S3[operation]
    if p.get("VersionId"):
        action = VERSIONED.get(action, action)
    names = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys", "VersionId": "s3:VersionId"}
    yield Need(action, _fill("s3", template, p), {key: (str(p[name]),) for name, key in names.items() if p.get(name) not in (None, "")})


def _dynamodb_many(operation: str, p: Mapping[str, Any]) -> Iterator[Need]:
    """A transaction asks for the permission of each of its items; a batch for its own, on each table."""
    seen = set()
    if operation.startswith("Batch"):
        seen = {(f"dynamodb:{operation}", table) for table in p["RequestItems"]}
    for item in p.get("TransactItems", []):
        kind, body = next(iter(item.items()))
        verb = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem", "Get": "GetItem"}[kind]
        seen.add((f"dynamodb:{verb}", body["TableName"]))
    for action, table in sorted(seen):
        yield Need(action, _fill("dynamodb", "table/{TableName}", {"TableName": table}))


def _passed(p: Mapping[str, Any], parameter: str, service: str) -> Iterator[Need]:
    value = p.get(parameter)
    roles = [target.get("RoleArn") for target in value] if isinstance(value, list) else [value]
    for role in roles:
        if role:
            yield Need("iam:PassRole", str(role), {"iam:PassedToService": (service,)})
