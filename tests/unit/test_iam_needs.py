"""What requests ask for, against the Service Authorization Reference.

Unless a line names another page, actions and ARN formats are those of the service's page under
docs.aws.amazon.com/service-authorization/latest/reference/ (list_amazons3.html, list_awslambda.html and so on).
"""

from typing import Any

import botocore.session
import pytest

from localcloud.errors import NotSupported
from localcloud.iam import conditions
from localcloud.iam.evaluate import Principal, Request, decide
from localcloud.iam.needs import needs
from localcloud.iam.operations import ACTIONS, PASSED_ROLES, PREFIXES, S3, TAGGING, TEMPLATES
from localcloud.iam.policy import PolicyError, parse

HERE = "us-east-1:123456789012"
ROLE = "arn:aws:iam::123456789012:role/r"
B = {"Bucket": "b"}
OBJECT = {**B, "Key": "a/k"}
KEY = f"arn:aws:kms:{HERE}:key/11111111-2222-3333-4444-555555555555"
MACHINE = f"arn:aws:states:{HERE}:stateMachine:m"
PACKAGE = f"arn:aws:sagemaker:{HERE}:model-package/g/1"
EXECUTION = f"arn:aws:states:{HERE}:execution:m:x"


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{HERE}:{rest}"


@pytest.mark.parametrize(
    ("call", "parameters", "expected"),
    [
        # S3: userguide/using-with-s3-policy-actions.html
        ("s3:ListBuckets", {}, [("s3:ListAllMyBuckets", "*")]),
        ("s3:ListObjectsV2", B, [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("s3:HeadBucket", B, [("s3:ListBucket", "arn:aws:s3:::b")]),
        ("s3:ListObjectVersions", B, [("s3:ListBucketVersions", "arn:aws:s3:::b")]),
        ("s3:GetObject", OBJECT, [("s3:GetObject", "arn:aws:s3:::b/a/k")]),
        ("s3:HeadObject", OBJECT, [("s3:GetObject", "arn:aws:s3:::b/a/k")]),
        ("s3:GetObject", {**OBJECT, "VersionId": "v"}, [("s3:GetObjectVersion", "arn:aws:s3:::b/a/k")]),
        ("s3:DeleteObject", {**OBJECT, "VersionId": "v"}, [("s3:DeleteObjectVersion", "arn:aws:s3:::b/a/k")]),
        ("s3:GetObjectTagging", {**OBJECT, "VersionId": "v"}, [("s3:GetObjectVersionTagging", "arn:aws:s3:::b/a/k")]),
        # API_GetObjectAttributes.html: "you must have both the s3:GetObject and s3:GetObjectAttributes permissions"
        ("s3:GetObjectAttributes", OBJECT, [("s3:GetObjectAttributes", "arn:aws:s3:::b/a/k"), ("s3:GetObject", "arn:aws:s3:::b/a/k")]),
        # API_CopyObject.html: GetObject on the source, PutObject on the destination; the header is URL-encoded
        ("s3:CopyObject", {**OBJECT, "CopySource": "s/x%20y"}, [("s3:GetObject", "arn:aws:s3:::s/x y"), ("s3:PutObject", "arn:aws:s3:::b/a/k")]),
        (
            "s3:CopyObject",
            {**OBJECT, "CopySource": "/s/x?versionId=v"},
            [("s3:GetObjectVersion", "arn:aws:s3:::s/x"), ("s3:PutObject", "arn:aws:s3:::b/a/k")],
        ),
        ("s3:UploadPartCopy", {**OBJECT, "CopySource": "s/x"}, [("s3:GetObject", "arn:aws:s3:::s/x"), ("s3:PutObject", "arn:aws:s3:::b/a/k")]),
        # API_DeleteObjects.html
        (
            "s3:DeleteObjects",
            {**B, "Delete": {"Objects": [{"Key": "x"}, {"Key": "y", "VersionId": "v"}]}},
            [("s3:DeleteObject", "arn:aws:s3:::b/x"), ("s3:DeleteObjectVersion", "arn:aws:s3:::b/y")],
        ),
        # API_PutObject.html: s3:PutObjectAcl with an ACL, s3:PutObjectTagging with tags
        (
            "s3:PutObject",
            {**OBJECT, "ACL": "private", "Tagging": "a=b"},
            [(f"s3:PutObject{extra}", "arn:aws:s3:::b/a/k") for extra in ("", "Acl", "Tagging")],
        ),
        # userguide/mpuoverview.html#mpuAndPermissions
        ("s3:CreateMultipartUpload", OBJECT, [("s3:PutObject", "arn:aws:s3:::b/a/k")]),
        ("s3:UploadPart", OBJECT, [("s3:PutObject", "arn:aws:s3:::b/a/k")]),
        ("s3:CompleteMultipartUpload", OBJECT, [("s3:PutObject", "arn:aws:s3:::b/a/k")]),
        ("s3:AbortMultipartUpload", OBJECT, [("s3:AbortMultipartUpload", "arn:aws:s3:::b/a/k")]),
        ("s3:ListParts", OBJECT, [("s3:ListMultipartUploadParts", "arn:aws:s3:::b/a/k")]),
        # DynamoDB: developerguide/using-identity-based-policies.html, transaction-apis.html#transaction-apis-iam
        ("dynamodb:GetItem", {"TableName": "t"}, [("dynamodb:GetItem", arn("dynamodb", "table/t"))]),
        ("dynamodb:GetItem", {"TableName": arn("dynamodb", "table/t")}, [("dynamodb:GetItem", arn("dynamodb", "table/t"))]),
        ("dynamodb:Query", {"TableName": "t", "IndexName": "i"}, [("dynamodb:Query", arn("dynamodb", "table/t/index/i"))]),
        (
            "dynamodb:TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "t"}}, {"ConditionCheck": {"TableName": "u"}}, {"Put": {"TableName": "t"}}]},
            [("dynamodb:ConditionCheckItem", arn("dynamodb", "table/u")), ("dynamodb:PutItem", arn("dynamodb", "table/t"))],
        ),
        ("dynamodb:TransactGetItems", {"TransactItems": [{"Get": {"TableName": "t"}}]}, [("dynamodb:GetItem", arn("dynamodb", "table/t"))]),
        (
            "dynamodb:BatchGetItem",
            {"RequestItems": {"t": {}, "u": {}}},
            [("dynamodb:BatchGetItem", arn("dynamodb", f"table/{t}")) for t in "tu"],
        ),
        ("dynamodb:TagResource", {"ResourceArn": arn("dynamodb", "table/t")}, [("dynamodb:TagResource", arn("dynamodb", "table/t"))]),
        # SQS: the batches have no action of their own
        ("sqs:SendMessage", {"QueueUrl": "http://localhost/123456789012/q"}, [("sqs:SendMessage", arn("sqs", "q"))]),
        ("sqs:SendMessageBatch", {"QueueUrl": "http://localhost/123456789012/q"}, [("sqs:SendMessage", arn("sqs", "q"))]),
        ("sqs:DeleteMessageBatch", {"QueueUrl": "http://localhost/123456789012/q"}, [("sqs:DeleteMessage", arn("sqs", "q"))]),
        ("sqs:ChangeMessageVisibilityBatch", {"QueueUrl": "http://localhost/1/q"}, [("sqs:ChangeMessageVisibility", arn("sqs", "q"))]),
        ("sqs:ListQueues", {}, [("sqs:ListQueues", "*")]),
        # SNS: dg/sns-api-permissions-reference and API_PublishBatch.html
        ("sns:Publish", {"TopicArn": arn("sns", "t")}, [("sns:Publish", arn("sns", "t"))]),
        ("sns:Publish", {"TargetArn": arn("sns", "t")}, [("sns:Publish", arn("sns", "t"))]),
        ("sns:Publish", {"PhoneNumber": "+1"}, [("sns:Publish", "*")]),
        ("sns:PublishBatch", {"TopicArn": arn("sns", "t")}, [("sns:Publish", arn("sns", "t"))]),
        ("sns:CreateTopic", {"Name": "t", "Tags": [{"Key": "a", "Value": "b"}]}, [(f"sns:{x}", arn("sns", "t")) for x in ("CreateTopic", "TagResource")]),
        ("sns:Unsubscribe", {"SubscriptionArn": arn("sns", "t:1")}, [("sns:Unsubscribe", "*")]),
        # KMS: developerguide/alias-access.html, the alias and all affected keys
        ("kms:Encrypt", {"KeyId": KEY}, [("kms:Encrypt", KEY)]),
        ("kms:CreateAlias", {"AliasName": "alias/a", "AliasKeys": [KEY]}, [("kms:CreateAlias", arn("kms", "alias/a")), ("kms:CreateAlias", KEY)]),
        ("kms:CreateKey", {"Tags": [{"TagKey": "a", "TagValue": "b"}]}, [("kms:CreateKey", "*"), ("kms:TagResource", "*")]),
        # Lambda: the qualifier is a part of the ARN; Invoke is called InvokeFunction
        ("lambda:Invoke", {"FunctionName": "f"}, [("lambda:InvokeFunction", arn("lambda", "function:f"))]),
        ("lambda:Invoke", {"FunctionName": "123456789012:function:f"}, [("lambda:InvokeFunction", arn("lambda", "function:f"))]),
        ("lambda:Invoke", {"FunctionName": arn("lambda", "function:f"), "Qualifier": "7"}, [("lambda:InvokeFunction", arn("lambda", "function:f:7"))]),
        ("lambda:CreateFunction", {"FunctionName": "f", "Role": ROLE}, [("lambda:CreateFunction", arn("lambda", "function:f")), ("iam:PassRole", ROLE)]),
        ("lambda:CreateEventSourceMapping", {"FunctionName": "f"}, [("lambda:CreateEventSourceMapping", "*")]),
        ("lambda:GetEventSourceMapping", {"UUID": "u"}, [("lambda:GetEventSourceMapping", arn("lambda", "event-source-mapping:u"))]),
        ("lambda:GetLayerVersion", {"LayerName": "l", "VersionNumber": 3}, [("lambda:GetLayerVersion", arn("lambda", "layer:l:3"))]),
        # ECR
        ("ecr:GetAuthorizationToken", {}, [("ecr:GetAuthorizationToken", "*")]),
        ("ecr:DescribeImages", {"repositoryName": "a/b"}, [("ecr:DescribeImages", arn("ecr", "repository/a/b"))]),
        ("ecr:DescribeRepositories", {"repositoryNames": ["a", "b"]}, [("ecr:DescribeRepositories", arn("ecr", f"repository/{r}")) for r in "ab"]),
        ("ecr:DescribeRepositories", {}, [("ecr:DescribeRepositories", arn("ecr", "repository/*"))]),
        # CloudWatch Logs writes the stream after a group's name, also where there is none: AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html;
        # of DescribeLogGroups the messages of AWS say "on resource: arn:aws:logs:…:log-group::log-stream:" whatever prefix is asked for
        ("logs:CreateLogGroup", {"logGroupName": "/g"}, [("logs:CreateLogGroup", arn("logs", "log-group:/g:log-stream:"))]),
        ("logs:PutLogEvents", {"logGroupName": "/g", "logStreamName": "s"}, [("logs:PutLogEvents", arn("logs", "log-group:/g:log-stream:s"))]),
        ("logs:DescribeLogGroups", {"logGroupNamePrefix": "/g"}, [("logs:DescribeLogGroups", arn("logs", "log-group::log-stream:"))]),
        ("logs:FilterLogEvents", {"logGroupIdentifier": arn("logs", "log-group:/g")}, [("logs:FilterLogEvents", arn("logs", "log-group:/g:log-stream:"))]),
        ("logs:TagResource", {"resourceArn": arn("logs", "log-group:/g")}, [("logs:TagResource", arn("logs", "log-group:/g"))]),
        # SageMaker: dependent actions iam:PassRole, and sagemaker:AddTags where there are tags
        (
            "sagemaker:CreateTrainingJob",
            {"TrainingJobName": "j", "RoleArn": ROLE, "Tags": [{"Key": "a", "Value": "b"}]},
            [
                ("sagemaker:CreateTrainingJob", arn("sagemaker", "training-job/j")),
                ("sagemaker:AddTags", arn("sagemaker", "training-job/j")),
                ("iam:PassRole", ROLE),
            ],
        ),
        (
            "sagemaker:CreateModel",
            {"ModelName": "m", "ExecutionRoleArn": ROLE},
            [("sagemaker:CreateModel", arn("sagemaker", "model/m")), ("iam:PassRole", ROLE)],
        ),
        ("sagemaker-runtime:InvokeEndpoint", {"EndpointName": "e"}, [("sagemaker:InvokeEndpoint", arn("sagemaker", "endpoint/e"))]),
        ("sagemaker:DescribeModelPackage", {"ModelPackageName": PACKAGE}, [("sagemaker:DescribeModelPackage", PACKAGE)]),
        # Step Functions
        ("stepfunctions:StartExecution", {"stateMachineArn": MACHINE}, [("states:StartExecution", MACHINE)]),
        ("stepfunctions:StopExecution", {"executionArn": EXECUTION}, [("states:StopExecution", EXECUTION)]),
        ("stepfunctions:CreateStateMachine", {"name": "m", "roleArn": ROLE}, [("states:CreateStateMachine", MACHINE), ("iam:PassRole", ROLE)]),
        # EventBridge
        ("events:PutEvents", {"Entries": [{}, {"EventBusName": "x"}]}, [("events:PutEvents", arn("events", f"event-bus/{b}")) for b in ("default", "x")]),
        ("events:PutRule", {"Name": "r"}, [("events:PutRule", arn("events", "rule/r"))]),
        ("events:PutRule", {"Name": "r", "EventBusName": "x"}, [("events:PutRule", arn("events", "rule/x/r"))]),
        (
            "events:PutTargets",
            {"Rule": "r", "Targets": [{"Id": "1", "Arn": MACHINE, "RoleArn": ROLE}, {"Id": "2", "Arn": arn("sqs", "q")}]},
            [("events:PutTargets", arn("events", "rule/r")), ("iam:PassRole", ROLE)],
        ),
        # CloudWatch
        ("cloudwatch:PutMetricData", {"Namespace": "N"}, [("cloudwatch:PutMetricData", "*")]),
        ("cloudwatch:PutMetricAlarm", {"AlarmName": "a"}, [("cloudwatch:PutMetricAlarm", arn("cloudwatch", "alarm:a"))]),
        ("cloudwatch:DeleteAlarms", {"AlarmNames": ["a", "b"]}, [("cloudwatch:DeleteAlarms", arn("cloudwatch", f"alarm:{a}")) for a in "ab"]),
        ("cloudwatch:PutDashboard", {"DashboardName": "d"}, [("cloudwatch:PutDashboard", "arn:aws:cloudwatch::123456789012:dashboard/d")]),
        # SSM: systems-manager/latest/userguide/sysman-paramstore-access.html
        ("ssm:GetParameter", {"Name": "/a/b"}, [("ssm:GetParameter", arn("ssm", "parameter/a/b"))]),
        ("ssm:GetParameter", {"Name": "p:3"}, [("ssm:GetParameter", arn("ssm", "parameter/p"))]),
        ("ssm:GetParameters", {"Names": ["p", "/q"]}, [("ssm:GetParameters", arn("ssm", f"parameter/{n}")) for n in "pq"]),
        ("ssm:AddTagsToResource", {"ResourceType": "Parameter", "ResourceId": "p"}, [("ssm:AddTagsToResource", arn("ssm", "parameter/p"))]),
        # CloudFormation: UserGuide/using-iam-template.html; API_DescribeStacks.html for a request without a name
        ("cloudformation:CreateStack", {"StackName": "s"}, [("cloudformation:CreateStack", arn("cloudformation", "stack/s/*"))]),
        (
            "cloudformation:UpdateStack",
            {"StackName": arn("cloudformation", "stack/s/1"), "RoleARN": ROLE},
            [("cloudformation:UpdateStack", arn("cloudformation", "stack/s/1")), ("iam:PassRole", ROLE)],
        ),
        (
            "cloudformation:DescribeStacks",
            {},
            [("cloudformation:DescribeStacks", arn("cloudformation", "stack/*/*")), ("cloudformation:ListStacks", "*")],
        ),
        # IAM
        ("iam:CreateRole", {"RoleName": "r", "Path": "/a/b/"}, [("iam:CreateRole", "arn:aws:iam::123456789012:role/a/b/r")]),
        ("iam:PutRolePolicy", {"RoleName": ROLE}, [("iam:PutRolePolicy", ROLE)]),
        ("iam:CreatePolicy", {"PolicyName": "p", "Path": "/a/"}, [("iam:CreatePolicy", "arn:aws:iam::123456789012:policy/a/p")]),
    ],
)  # fmt: skip
def test_what_a_request_asks_for(call: str, parameters: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    service, _, operation = call.partition(":")
    assert [(need.action, need.resource) for need in needs(service, operation, parameters)] == expected


# The condition keys on the same pages, and reference_policies_condition-keys.html (IAM user guide) for aws:…
@pytest.mark.parametrize(
    ("call", "parameters", "expected"),
    [
        ("s3:ListObjectsV2", {**B, "Prefix": "p/", "Delimiter": "/", "MaxKeys": 5}, {"s3:prefix": ("p/",), "s3:delimiter": ("/",), "s3:max-keys": ("5",)}),
        ("s3:ListObjectsV2", {**B, "Prefix": ""}, {}),
        (
            "s3:PutObject",
            {**OBJECT, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY},
            {"s3:x-amz-server-side-encryption": ("aws:kms",), "s3:x-amz-server-side-encryption-aws-kms-key-id": (KEY,)},
        ),
        ("s3:PutObject", {**OBJECT, "StorageClass": "STANDARD_IA"}, {"s3:x-amz-storage-class": ("STANDARD_IA",)}),
        ("s3:GetObject", {**OBJECT, "VersionId": "v"}, {"s3:VersionId": ("v",)}),
        ("cloudwatch:PutMetricData", {"Namespace": "N"}, {"cloudwatch:namespace": ("N",)}),
        ("cloudwatch:PutMetricAlarm", {"AlarmName": "a", "Namespace": "N"}, {}),
        ("sns:Subscribe", {"TopicArn": "arn:aws:sns:r:1:t", "Protocol": "sqs", "Endpoint": "e"}, {"sns:Protocol": ("sqs",), "sns:Endpoint": ("e",)}),
        ("sts:AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "s", "ExternalId": "x"}, {"sts:RoleSessionName": ("s",), "sts:ExternalId": ("x",)}),
        ("kms:Encrypt", {"KeyId": KEY, "EncryptionContext": {"a": "b"}}, {"kms:CallerAccount": ("123456789012",), "kms:EncryptionContext:a": ("b",)}),
        ("iam:AttachRolePolicy", {"RoleName": "r", "PolicyArn": "arn:p"}, {"iam:PolicyARN": ("arn:p",)}),
        ("iam:CreateRole", {"RoleName": "r", "PermissionsBoundary": "arn:b"}, {"iam:PermissionsBoundary": ("arn:b",)}),
        ("sqs:CreateQueue", {"QueueName": "q", "tags": {"a": "b"}}, {"aws:RequestTag/a": ("b",), "aws:TagKeys": ("a",)}),
        ("ssm:PutParameter", {"Name": "p", "Tags": [{"Key": "a", "Value": "b"}]}, {"aws:RequestTag/a": ("b",), "aws:TagKeys": ("a",)}),
        (
            "kms:TagResource",
            {"KeyId": KEY, "Tags": [{"TagKey": "a", "TagValue": "b"}]},
            {"kms:CallerAccount": ("123456789012",), "aws:RequestTag/a": ("b",), "aws:TagKeys": ("a",)},
        ),
        ("iam:UntagRole", {"RoleName": "r", "TagKeys": ["a", "b"]}, {"aws:TagKeys": ("a", "b")}),
    ],
)  # fmt: skip
def test_what_conditions_may_read_of_a_request(call: str, parameters: dict[str, Any], expected: dict[str, tuple[str, ...]]) -> None:
    service, _, operation = call.partition(":")
    context = needs(service, operation, parameters)[0].context
    assert dict(context) == expected
    assert all(conditions.known(key) for key in context)


# IAM user guide, reference_policies_iam-condition-keys.html#ck_PassedToService: the service that the role is passed to
def test_a_passed_role_is_passed_to_its_service() -> None:
    for call, (parameter, service) in PASSED_ROLES.items():
        value = [{"RoleArn": ROLE}] if parameter == "Targets" else ROLE
        outer, _, inner = parameter.partition(".")
        given = {outer: {inner: value} if inner else value, "StackName": "s"}
        (need,) = [need for need in needs(*call.split(":"), given) if need.action == "iam:PassRole"]
        assert (need.resource, need.context) == (ROLE, {"iam:PassedToService": (service,)}), call
        assert not [need for need in needs(*call.split(":"), {"StackName": "s"}) if need.action == "iam:PassRole"], call


@pytest.mark.parametrize(
    "call",
    ["s3:SelectObjectContent", "dynamodb:ExecuteStatement", "kms:CreateGrant", "sqs:StartMessageMoveTask", "ec2:RunInstances", "lambda:ReceiveBatch"],
)
def test_an_operation_that_is_not_in_the_table_is_refused_by_name(call: str) -> None:
    with pytest.raises(NotSupported, match=call):
        needs(*call.split(":"), {})


def test_copying_from_an_access_point_is_refused() -> None:
    with pytest.raises(NotSupported, match="access point"):
        needs("s3", "CopyObject", {**OBJECT, "CopySource": "arn:aws:s3:us-east-1:123456789012:accesspoint/p/object/k"})


# A key that no request supplies would make a Deny on it an allow: these stand in AWS's lists, localcloud has no values for them.
@pytest.mark.parametrize(
    "key",
    ["aws:ResourceTag/team", "dynamodb:LeadingKeys", "lambda:FunctionArn", "s3:ExistingObjectTag/a", "iam:AssociatedResourceArn", "kms:KeySpec"],
)
def test_a_condition_on_a_key_without_values_is_refused_by_name(key: str) -> None:
    statement = {"Sid": "Only", "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {key: "x"}}}
    policy = parse({"Version": "2012-10-17", "Statement": statement}, "p")
    with pytest.raises(PolicyError, match=f"Only.*{key}"):
        decide(Request(Principal(arn=ROLE, account="123456789012"), "s3:GetObject", "arn:aws:s3:::b/k", {}), policy)


ACTIONS_ONLY = {
    "ConditionCheckItem", "TagSession", "CreateLogDelivery", "GetLogDelivery", "ListLogDeliveries", "UpdateLogDelivery", "DeleteLogDelivery",
}  # fmt: skip
"""What a policy may name and no SDK calls; a service asks for it in the caller's name."""


def test_every_row_is_an_operation_of_its_service() -> None:
    """A row that is misspelt would never be found, and its operation be refused."""
    session = botocore.session.get_session()
    rows = {"s3": {*S3}} | {service: {*operations} for service, operations in TEMPLATES.items()}
    rows |= {service: rows[service] | {*operations} for service, (_, operations) in TAGGING.items()}
    for call in [*ACTIONS, *PASSED_ROLES]:
        rows[call.partition(":")[0]].add(call.partition(":")[2])
    rows["sagemaker"].discard("InvokeEndpoint")  # of sagemaker-runtime
    for service, operations in rows.items():
        assert operations - {*session.get_service_model(service).operation_names} <= ACTIONS_ONLY, service
    assert set(PREFIXES) == {"stepfunctions", "sagemaker-runtime"}
