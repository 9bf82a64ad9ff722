"""The SageMaker model registry: docs.aws.amazon.com/sagemaker/latest/dg/model-registry.html"""

import json

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/test-image:1"
SPEC = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/m.tar.gz"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


class Registry:
    def __init__(self, account):
        self.account, self.client, self.group = account, account.client("sagemaker"), account.name("group")
        self.client.create_model_package_group(ModelPackageGroupName=self.group)

    def add(self, **more):
        return self.client.create_model_package(ModelPackageGroupName=self.group, **{"InferenceSpecification": SPEC} | more)["ModelPackageArn"]

    def update(self, arn, **more):
        self.client.update_model_package(ModelPackageArn=arn, **more)

    def describe(self, arn):
        return self.client.describe_model_package(ModelPackageName=arn)

    def listed(self, **more):
        pages = self.client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=self.group, **more)
        return [package["ModelPackageVersion"] for page in pages for package in page["ModelPackageSummaryList"]]


@pytest.fixture
def registry(account):
    return Registry(account)


def refused(code, message, call):
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] == code
    assert message in error.value.response["Error"]["Message"]


def test_versions_count_up_and_are_never_used_again(registry):
    # docs … /dg/model-registry-version.html; API_CreateModelPackage.html: default status PendingManualApproval
    arns = [registry.add() for _ in range(2)]
    assert arns == [f"{ARN}:model-package/{registry.group}/{n}" for n in (1, 2)]
    described = registry.describe(arns[1])
    assert (described["ModelPackageVersion"], described["ModelApprovalStatus"]) == (2, "PendingManualApproval")
    assert (described["ModelPackageStatus"], described["InferenceSpecification"]["Containers"][0]["Image"]) == ("Completed", IMAGE)
    registry.client.delete_model_package(ModelPackageName=arns[1])
    assert registry.add().endswith("/3")
    assert registry.listed() == [3, 1]  # API_ListModelPackages.html: SortBy CreationTime, the newest first


def test_the_same_client_token_makes_one_package(registry):
    # API_CreateModelPackage.html: "A unique token that guarantees that the call to this API is idempotent"
    token = registry.account.name("token") + "x" * 20
    assert registry.add(ClientToken=token) == registry.add(ClientToken=token)
    assert registry.listed() == [1]


def test_each_change_is_an_event_that_names_what_was_updated(account, registry):
    # docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html#eventbridge-model-package; ModelLifeCycle in
    # UpdatedModelPackageFields: … /dg/model-registry-staging-construct-event-bridge.html
    url, queue = account.open_queue("events.amazonaws.com")
    rule = account.name("rule")
    pattern = {
        "source": ["aws.sagemaker"],
        "detail-type": ["SageMaker Model Package State Change"],
        "detail": {"ModelPackageGroupName": [registry.group]},
    }
    account.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    account.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    arn = registry.add()

    def event():
        (message,) = account.messages(url)
        found = json.loads(message["Body"])
        assert found["resources"] == [arn]
        return found["detail"]

    first = event()
    assert {name: first[name] for name in ("ModelPackageArn", "ModelPackageVersion", "ModelApprovalStatus", "ModelPackageStatus")} == {
        "ModelPackageArn": arn, "ModelPackageVersion": 1, "ModelApprovalStatus": "PendingManualApproval", "ModelPackageStatus": "Completed",
    }  # fmt: skip
    assert first["UpdatedModelPackageFields"] == []
    registry.update(arn, ModelApprovalStatus="Approved", ApprovalDescription="good")
    approved = event()
    assert (approved["ModelApprovalStatus"], approved["ApprovalDescription"]) == ("Approved", "good")
    assert sorted(approved["UpdatedModelPackageFields"]) == ["ApprovalDescription", "ModelApprovalStatus"]
    registry.update(arn, ModelLifeCycle={"Stage": "Staging", "StageStatus": "PendingApproval"})
    staged = event()
    assert (staged["UpdatedModelPackageFields"], staged["ModelApprovalStatus"]) == (["ModelLifeCycle"], "Approved")
    assert staged["ModelLifeCycle"] == {"Stage": "Staging", "StageStatus": "PendingApproval"}
    registry.update(arn, CustomerMetadataProperties={"k": "v"})
    assert event()["UpdatedModelPackageFields"] == ["CustomerMetadataProperties"]


def test_an_update_is_shown(registry):
    arn = registry.add(ModelApprovalStatus="Approved", ModelPackageDescription="d")
    registry.update(arn, ModelApprovalStatus="Rejected", ApprovalDescription="bad", ModelLifeCycle={"Stage": "Dev", "StageStatus": "Out"})
    described = registry.describe(arn)
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == ("Rejected", "bad")
    assert (described["ModelLifeCycle"]["StageStatus"], described["ModelPackageDescription"]) == ("Out", "d")
    assert described["LastModifiedTime"] >= described["CreationTime"]


def test_customer_metadata_is_merged_removed_and_limited(registry):
    # API_UpdateModelPackage.html: CustomerMetadataProperties (keys 1–128, values to 256, 50 of them), CustomerMetadataPropertiesToRemove
    arn = registry.add(CustomerMetadataProperties={"a": "1", "b": "2"})
    registry.update(arn, CustomerMetadataProperties={"b": "3", "c": "4"}, CustomerMetadataPropertiesToRemove=["a"])
    assert registry.describe(arn)["CustomerMetadataProperties"] == {"b": "3", "c": "4"}
    for properties in ({"x": "v" * 257}, {"x" * 129: "v"}, {f"k{i}": "v" for i in range(51)}):
        refused(
            "ValidationException", "Member must have length less than or equal to", lambda p=properties: registry.add(CustomerMetadataProperties=p)
        )
    told = "customerMetadataProperties.x.member' failed to satisfy constraint: Member must satisfy regular expression pattern"
    refused("ValidationException", told, lambda: registry.add(CustomerMetadataProperties={"x": "50%"}))  # the values' pattern
    registry.add(CustomerMetadataProperties={"x": "Größe 5_a.b:c/d=e+f-g@h"}, ModelPackageDescription="a — b (50%)")
    refused("ValidationException", "modelPackageDescription", lambda: registry.add(ModelPackageDescription="two\nlines"))
    many = {f"k{i}": "v" for i in range(50)}
    refused("ValidationException", "at most 50", lambda: registry.update(arn, CustomerMetadataProperties=many))


def test_a_group_with_packages_cannot_be_deleted(registry):
    # API_DeleteModelPackageGroup.html: ConflictException
    arn = registry.add()
    delete = lambda: registry.client.delete_model_package_group(ModelPackageGroupName=registry.group)  # noqa: E731
    refused("ConflictException", registry.group, delete)
    registry.client.delete_model_package(ModelPackageName=arn)
    delete()
    refused("ValidationException", "does not exist", registry.add)


def test_lists_filter_by_status_and_name_in_order_and_pages(registry):
    # API_ListModelPackages.html, API_ListModelPackageGroups.html
    for status in ("Approved", "Rejected", "Approved"):
        registry.add(ModelApprovalStatus=status)
    assert registry.listed(ModelApprovalStatus="Approved") == [3, 1]
    assert registry.listed(SortOrder="Ascending", PaginationConfig={"PageSize": 2}) == [1, 2, 3]
    assert len(registry.client.list_model_packages(ModelPackageGroupName=registry.group, MaxResults=1)["ModelPackageSummaryList"]) == 1
    groups = registry.client.list_model_package_groups(NameContains=registry.group)["ModelPackageGroupSummaryList"]
    assert [group["ModelPackageGroupArn"] for group in groups] == [f"{ARN}:model-package-group/{registry.group}"]


def test_what_does_not_exist_or_exists_already_is_refused(registry):
    missing = f"{ARN}:model-package/{registry.group}/9"
    refused("ValidationException", f"ModelPackage {missing} does not exist.", lambda: registry.describe(missing))
    refused("ValidationException", "does not exist", lambda: registry.update(missing, ModelApprovalStatus="Approved"))
    refused("ValidationException", "does not exist", lambda: registry.client.describe_model_package_group(ModelPackageGroupName="no"))
    again = lambda: registry.client.create_model_package_group(ModelPackageGroupName=registry.group)  # noqa: E731
    refused("ValidationException", "Model Package Group already exists", again)
    refused("ValidationException", "enum value set", lambda: registry.add(ModelApprovalStatus="Maybe"))
    by_arn = registry.client.describe_model_package_group(ModelPackageGroupName=f"{ARN}:model-package-group/{registry.group}")
    assert by_arn["ModelPackageGroupName"] == registry.group


def test_what_the_registry_here_cannot_do_is_refused_by_name(registry):
    told = "CertifyForMarketplace of CreateModelPackage"
    refused("NotSupportedByLocalcloud", told, lambda: registry.add(CertifyForMarketplace=True))
    validation = {"ValidationRole": f"arn:aws:iam::{ACCOUNT}:role/x", "ValidationProfiles": [{"ProfileName": "p", "TransformJobDefinition": {
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"}}}, "TransformOutput": {"S3OutputPath": "s3://b/x"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1}}}]}  # fmt: skip
    refused("NotSupportedByLocalcloud", "ValidationSpecification", lambda: registry.add(ValidationSpecification=validation))
    create = lambda: registry.client.create_model_package(ModelPackageName="alone", InferenceSpecification=SPEC)  # noqa: E731
    refused("NotSupportedByLocalcloud", "ModelPackageName of CreateModelPackage", create)
    # API_CreateModelPackage.html, Tags: "If you supply ModelPackageGroupName, … you cannot supply a tag argument"
    refused("ValidationException", "Tags", lambda: registry.add(Tags=[{"Key": "k", "Value": "v"}]))
