"""S3, DynamoDB, ECR, SSM parameters."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from localcloud import REGION
from localcloud.cloudformation.types.base import Context, Made, Properties, ResourceType, api, call, ignoring, nothing
from localcloud.cloudformation.types.properties import TAGS, tree

ENCRYPTION = "BucketEncryption.ServerSideEncryptionConfiguration"
ACLS = {"Private": "private", "LogDeliveryWrite": "log-delivery-write"}


def _bucket(context: Context, p: Properties) -> Made:
    name = p.get("BucketName") or context.name(63).lower()
    context.clients("s3").create_bucket(Bucket=name)
    context.begun.append(name)
    _configure_bucket(context, name, p)
    domain = f"{name}.s3.{REGION}.amazonaws.com"
    return Made(name, {"Arn": f"arn:aws:s3:::{name}", "DomainName": f"{name}.s3.amazonaws.com", "RegionalDomainName": domain})


def _configure_bucket(context: Context, name: str, p: Properties) -> None:
    s3 = context.clients("s3")
    if "VersioningConfiguration" in p:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=p["VersioningConfiguration"])
    if "BucketEncryption" in p:
        rules = [_encryption(rule) for rule in p["BucketEncryption"]["ServerSideEncryptionConfiguration"]]
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    if "LifecycleConfiguration" in p:
        rules = [_lifecycle(rule) for rule in p["LifecycleConfiguration"]["Rules"]]
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
    if "PublicAccessBlockConfiguration" in p:
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=p["PublicAccessBlockConfiguration"])
    if "OwnershipControls" in p:
        s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=p["OwnershipControls"])
    if "NotificationConfiguration" in p:
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=_notification(p["NotificationConfiguration"]))
    if "AccessControl" in p:
        s3.put_bucket_acl(Bucket=name, ACL=ACLS[p["AccessControl"]])
    if "Tags" in p:
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": p["Tags"]})


def _encryption(rule: dict[str, Any]) -> dict[str, Any]:
    out = {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
    return out | ({"BucketKeyEnabled": rule["BucketKeyEnabled"]} if "BucketKeyEnabled" in rule else {})


def _notification(config: dict[str, Any]) -> dict[str, Any]:
    return {"EventBridgeConfiguration": {}} if config["EventBridgeConfiguration"].get("EventBridgeEnabled", True) else {}


def _lifecycle(rule: dict[str, Any]) -> dict[str, Any]:
    same = ("Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
    out: dict[str, Any] = {name: rule[name] for name in same if name in rule} | {"Filter": {"Prefix": rule.get("Prefix", "")}}
    if "Id" in rule:
        out["ID"] = rule["Id"]
    if "ExpirationInDays" in rule:
        out["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    return out


def _bucket_policy(context: Context, p: Properties) -> Made:
    context.clients("s3").put_bucket_policy(Bucket=p["Bucket"], Policy=json.dumps(p["PolicyDocument"]))
    return Made(p["Bucket"])


def _table(context: Context, p: Properties) -> Made:
    name = p.get("TableName") or context.name(128)
    arguments = {k: v for k, v in p.items() if k not in ("PointInTimeRecoverySpecification", "TimeToLiveSpecification")} | {"TableName": name}
    described = call(context, "dynamodb", "CreateTable", arguments)["TableDescription"]
    context.begun.append(name)
    _configure_table(context, name, p)
    return Made(name, {"Arn": described["TableArn"], "StreamArn": described.get("LatestStreamArn", "")})


def _configure_table(context: Context, name: str, p: Properties) -> None:
    dynamodb = context.clients("dynamodb")
    if "PointInTimeRecoverySpecification" in p:
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=p["PointInTimeRecoverySpecification"])
    if "TimeToLiveSpecification" in p:
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=p["TimeToLiveSpecification"])


def _update_table(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    _configure_table(context, made.physical_id, p)
    return made


def _update_bucket(context: Context, made: Made, old: Properties, p: Properties) -> Made:
    s3, name, gone = context.clients("s3"), made.physical_id, old.keys() - p.keys()
    if "LifecycleConfiguration" in gone:
        s3.delete_bucket_lifecycle(Bucket=name)
    if "NotificationConfiguration" in gone:
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration={})
    if "Tags" in gone:
        s3.delete_bucket_tagging(Bucket=name)
    if "VersioningConfiguration" in gone:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})
    _configure_bucket(context, made.physical_id, p)
    return made


def _repository(context: Context, p: Properties) -> Made:
    name = p.get("RepositoryName") or context.name(200).lower()
    ecr = context.clients("ecr")
    arguments = {k: v for k, v in p.items() if k in ("ImageTagMutability", "ImageScanningConfiguration", "Tags")} | {"RepositoryName": name}
    found = call(context, "ecr", "CreateRepository", arguments)["repository"]
    context.begun.append(name)
    _configure_repository(ecr, name, p)
    return Made(name, {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]})


def _configure_repository(ecr: Any, name: str, p: Properties) -> None:
    if text := p.get("LifecyclePolicy", {}).get("LifecyclePolicyText"):
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=text)
    if "RepositoryPolicyText" in p:
        ecr.set_repository_policy(repositoryName=name, policyText=json.dumps(p["RepositoryPolicyText"]))


def _update_repository(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    _configure_repository(context.clients("ecr"), made.physical_id, p)
    return made


def _delete_repository(context: Context, name: str, p: Properties) -> None:
    ecr = context.clients("ecr")
    ignoring(
        {"RepositoryNotFoundException"}, lambda: ecr.delete_repository(repositoryName=name, force=str(p.get("EmptyOnDelete", "")).lower() == "true")
    )


def _check_parameter(properties: Properties, path: str) -> Iterator[str]:
    """CloudFormation makes no SecureString: docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ssm-parameter.html"""
    if properties.get("Type") == "SecureString":
        yield f"{path}.Type=SecureString"
    yield from PARAMETER.check(properties, path) if PARAMETER.check else ()


def _update_parameter(context: Context, made: Made, _: Properties, p: Properties) -> Made:
    call(context, "ssm", "PutParameter", {k: v for k, v in p.items() if k != "Tags"} | {"Name": made.physical_id, "Overwrite": True})
    return Made(made.physical_id, {"Type": p["Type"], "Value": p["Value"]})


PARAMETER = api(
    "AWS::SSM::Parameter", "ssm", "PutParameter", named="Name",
    made=lambda p, r: Made(p["Name"], {"Type": p["Type"], "Value": p["Value"]}),
    delete=lambda context, name, p: ignoring({"ParameterNotFound"}, lambda: context.clients("ssm").delete_parameter(Name=name)),
)  # fmt: skip
TYPES = (
    ResourceType(
        "AWS::S3::Bucket",
        tree(
            "AccessControl", "BucketName", f"{ENCRYPTION}.BucketKeyEnabled", f"{ENCRYPTION}.ServerSideEncryptionByDefault.KMSMasterKeyID",
            f"{ENCRYPTION}.ServerSideEncryptionByDefault.SSEAlgorithm", "LifecycleConfiguration.Rules.Id", "LifecycleConfiguration.Rules.Prefix",
            "LifecycleConfiguration.Rules.Status", "LifecycleConfiguration.Rules.AbortIncompleteMultipartUpload.DaysAfterInitiation",
            "LifecycleConfiguration.Rules.ExpirationInDays", "LifecycleConfiguration.Rules.NoncurrentVersionExpiration.NoncurrentDays",
            "NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", "OwnershipControls.Rules.ObjectOwnership",
            "PublicAccessBlockConfiguration.BlockPublicAcls", "PublicAccessBlockConfiguration.BlockPublicPolicy",
            "PublicAccessBlockConfiguration.IgnorePublicAcls", "PublicAccessBlockConfiguration.RestrictPublicBuckets", *TAGS,
            "VersioningConfiguration.Status",
        ),
        _bucket,
        lambda context, name, p: ignoring({"NoSuchBucket"}, lambda: context.clients("s3").delete_bucket(Bucket=name)),
        _update_bucket,
        frozenset({"BucketName"}),
        removes=frozenset({"LifecycleConfiguration", "NotificationConfiguration", "Tags", "VersioningConfiguration"}),
    ),
    ResourceType(
        "AWS::S3::BucketPolicy",
        tree("Bucket", "PolicyDocument"),
        _bucket_policy,
        lambda context, name, p: ignoring({"NoSuchBucket"}, lambda: context.clients("s3").delete_bucket_policy(Bucket=name)),
        lambda context, made, old, p: _bucket_policy(context, p),
        frozenset({"Bucket"}),
    ),
    ResourceType(
        "AWS::DynamoDB::Table",
        tree(
            "AttributeDefinitions.AttributeName", "AttributeDefinitions.AttributeType", "BillingMode", "KeySchema.AttributeName",
            "KeySchema.KeyType", "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", "TableName", *TAGS,
            "TimeToLiveSpecification.AttributeName", "TimeToLiveSpecification.Enabled",
        ),
        _table,
        lambda context, name, p: ignoring({"ResourceNotFoundException"}, lambda: context.clients("dynamodb").delete_table(TableName=name)),
        _update_table,
        frozenset({"AttributeDefinitions", "KeySchema", "TableName"}),
        updates=frozenset({"PointInTimeRecoverySpecification", "TimeToLiveSpecification"}),
        removes=frozenset(),
    ),
    ResourceType(
        "AWS::ECR::Repository",
        tree(
            "EmptyOnDelete", "ImageScanningConfiguration.ScanOnPush", "ImageTagMutability", "LifecyclePolicy.LifecyclePolicyText", "RepositoryName",
            "RepositoryPolicyText", *TAGS,
        ),
        _repository,
        _delete_repository,
        _update_repository,
        frozenset({"RepositoryName"}),
        updates=frozenset({"EmptyOnDelete", "LifecyclePolicy", "RepositoryPolicyText"}),
        removes=frozenset({"EmptyOnDelete"}),
    ),
    replace(
        PARAMETER, check=_check_parameter, update=_update_parameter, replaces=frozenset({"Name"}), updates=frozenset({"Description", "Type", "Value"}),
    ),
    ResourceType("AWS::CDK::Metadata", tree("Analytics"), lambda context, p: Made(context.logical_id), nothing, lambda c, made, o, p: made),
)  # fmt: skip
