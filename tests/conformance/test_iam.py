"""Who may do what: every call against the caller's policies and the resource's, and the words of a refusal.

"IAM:" names a page under docs.aws.amazon.com/IAM/latest/UserGuide/, "S3:" one under docs.aws.amazon.com/AmazonS3/latest/.
"""

import io
import json
import time
import zipfile

import pytest

from localcloud import ACCOUNT, REGION
from tests.conformance.acting import (
    LAMBDA,
    Acting,
    bucket_policy,
    is_denied,
    key_policy,
    made_bucket,
    made_table,
    objects,
    refusal,
    session_of,
    trust,
)
from tests.conformance.conftest import Account, allow, deny


@pytest.fixture
def bucket(account: Account) -> str:
    return made_bucket(account)


@pytest.fixture
def table(account: Account) -> str:
    return made_table(account)


# DynamoDB


def table_arn(table: str) -> str:
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"


ITEM = {"k": {"S": "1"}}


def test_dynamodb_denies_with_400(account, table):
    """amazondynamodb/latest/developerguide/Programming.Errors.html: AccessDeniedException is HTTP 400."""
    nobody = Acting(account)
    code, status, message = refusal(nobody("dynamodb").get_item, TableName=table, Key=ITEM)
    assert (code, status) == ("AccessDeniedException", 400)
    assert message == (
        f"User: {session_of(nobody.role)} is not authorized to perform: dynamodb:GetItem on resource: {table_arn(table)} "
        "because no identity-based policy allows the dynamodb:GetItem action"
    )


def test_a_transaction_asks_for_the_permission_of_each_item(account, table):
    """amazondynamodb/latest/developerguide/transaction-apis.html#transaction-apis-iam: there is no dynamodb:TransactWriteItems."""
    writer = Acting(account, allow(["dynamodb:PutItem", "dynamodb:GetItem"], table_arn(table)))("dynamodb")
    put = {"Put": {"TableName": table, "Item": ITEM}}
    writer.transact_write_items(TransactItems=[put])
    assert writer.transact_get_items(TransactItems=[{"Get": {"TableName": table, "Key": ITEM}}])["Responses"] == [{"Item": ITEM}]
    check = {"ConditionCheck": {"TableName": table, "Key": {"k": {"S": "2"}}, "ConditionExpression": "attribute_not_exists(k)"}}
    assert "dynamodb:ConditionCheckItem" in refusal(writer.transact_write_items, TransactItems=[put, check])[2]
    batcher = Acting(account, allow("dynamodb:BatchWriteItem", table_arn(table)))("dynamodb")
    batcher.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": ITEM}}]})
    assert is_denied(writer.batch_write_item, RequestItems={table: [{"PutRequest": {"Item": ITEM}}]})
    assert is_denied(batcher.put_item, TableName=table, Item=ITEM)
    assert is_denied(batcher.batch_get_item, RequestItems={table: {"Keys": [ITEM]}})


def test_an_index_has_an_arn_of_its_own(account, table):
    """service-authorization/…/list_amazondynamodb.html, resource type index."""
    query = {"TableName": table, "IndexName": "by-g", "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": "x"}}}
    assert is_denied(Acting(account, allow("dynamodb:Query", table_arn(table)))("dynamodb").query, **query)
    Acting(account, allow("dynamodb:Query", f"{table_arn(table)}/index/*"))("dynamodb").query(**query)


# SQS, SNS: codes, words, policies


def test_sqs_denies_in_its_own_words(account):
    """A raw answer of AWS's: `x-amzn-query-error: AccessDenied;Sender`, HTTP 403, the action in small letters."""
    url, arn = account.queue()
    nobody = Acting(account)
    code, status, message = refusal(nobody("sqs").send_message, QueueUrl=url, MessageBody="x")
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: {session_of(nobody.role)} is not authorized to perform: sqs:sendmessage on resource: {arn} "
        "because no identity-based policy allows the sqs:sendmessage action"
    )


def test_sqs_batches_ask_for_the_action_of_one_message(account):
    """AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html."""
    url, arn = account.queue()
    sqs = Acting(account, allow(["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"], arn))("sqs")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}])
    receipt = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]
    sqs.change_message_visibility_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": receipt, "VisibilityTimeout": 0}])
    assert is_denied(sqs.delete_message_batch, QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": receipt}])


def test_sns_denies_in_its_own_words_also_under_a_topics_default_policy(account):
    """sns/latest/api/API_Publish.html: AuthorizationError, 403. The default policy asks for aws:SourceOwner, which a role never sends:
    sns/latest/dg/sns-access-policy-use-cases.html, "aws:SourceAccount versus aws:SourceOwner"."""
    topic = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    nobody = Acting(account)
    code, status, message = refusal(nobody("sns").publish, TopicArn=topic, Message="x")
    assert (code, status) == ("AuthorizationError", 403)
    assert message == (
        f"User: {session_of(nobody.role)} is not authorized to perform: SNS:Publish on resource: {topic} "
        "because no identity-based policy allows the SNS:Publish action"
    )
    Acting(account, allow("sns:Publish", topic))("sns").publish(TopicArn=topic, Message="x")
    decide = account.cloud.authorizer.service
    assert decide("cloudwatch.amazonaws.com", "sns:Publish", topic, f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:a").allowed
    assert not decide("events.amazonaws.com", "sns:Publish", topic, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r").allowed


def test_subscribing_may_be_limited_to_a_protocol(account):
    """sns/latest/dg/sns-access-policy-use-cases.html, "Limit subscriptions to HTTPS": sns:Protocol, sns:Endpoint."""
    topic = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    _, queue = account.queue()
    sns = Acting(account, allow("sns:Subscribe", topic, StringEquals={"sns:Protocol": "sqs"}, StringLike={"sns:Endpoint": "arn:aws:sqs:*"}))("sns")
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)
    assert is_denied(sns.subscribe, TopicArn=topic, Protocol="email", Endpoint="a@example.com")


@pytest.mark.parametrize("source", ["SourceArn", "SourceAccount"])
@pytest.mark.parametrize("service", ["sqs", "sns", "lambda", "s3", "kms", "ecr"])
def test_a_service_comes_in_by_the_resources_policy_only_and_from_the_source_it_names(account, service, source):
    """IAM: confused-deputy.html; the policy names the service, and aws:SourceArn or aws:SourceAccount limit it."""
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/mine"
    condition = {"ArnEquals": {"aws:SourceArn": rule}} if source == "SourceArn" else {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    action, arn = guarded(account, service, condition)
    decide = account.cloud.authorizer.service
    assert decide("events.amazonaws.com", action, arn, rule).allowed
    assert decide("events.amazonaws.com", action, arn, f"{rule}2").allowed is (source == "SourceAccount")
    assert not decide("s3.amazonaws.com", action, arn, rule).allowed
    assert decide("s3.amazonaws.com", action, arn, rule).reason == f"because no resource-based policy allows the {action} action"


def guarded(account: Account, service: str, condition: dict) -> tuple[str, str]:
    """(action, ARN) of a new resource whose policy lets EventBridge do the action under a condition."""
    name, events = account.name("guarded"), {"Principal": {"Service": "events.amazonaws.com"}, "Condition": condition}
    match service:
        case "sqs":
            url, arn = account.queue()
            text = json.dumps({"Version": "2012-10-17", "Statement": [allow("sqs:SendMessage", arn) | events]})
            account.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})
            return "sqs:SendMessage", arn
        case "sns":
            arn = account.client("sns").create_topic(Name=name)["TopicArn"]
            text = json.dumps({"Version": "2012-10-17", "Statement": [allow("sns:Publish", arn) | events]})
            account.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=text)
            return "sns:Publish", arn
        case "lambda":
            arn = account.function("handler = print")
            key, value = next(iter(next(iter(condition.values())).items()))
            given = {key.removeprefix("aws:"): value, "Principal": "events.amazonaws.com"}
            account.client("lambda").add_permission(FunctionName=arn, StatementId="x", Action="lambda:InvokeFunction", **given)
            return "lambda:InvokeFunction", arn
        case "s3":
            account.client("s3").create_bucket(Bucket=name)
            bucket_policy(account, name, allow("s3:PutObject", objects(name)) | events)
            return "s3:PutObject", objects(name, "k")
        case "kms":
            arn = account.client("kms").create_key()["KeyMetadata"]["Arn"]
            key_policy(account, arn, allow("kms:*", "*") | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, allow("kms:Decrypt", "*") | events)
            return "kms:Decrypt", arn
    arn = account.client("ecr").create_repository(repositoryName=name)["repository"]["repositoryArn"]
    statement = {"Sid": "x", "Effect": "Allow", "Action": "ecr:BatchGetImage"} | events
    account.client("ecr").set_repository_policy(repositoryName=name, policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    return "ecr:BatchGetImage", arn


@pytest.mark.parametrize("service", ["sqs", "sns", "s3"])
def test_a_service_is_stopped_by_a_deny_in_the_resources_policy(account, service):
    action, arn = guarded(account, service, {})
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r"
    assert account.cloud.authorizer.service("events.amazonaws.com", action, arn, rule).allowed
    statements = [allow(action, arn) | {"Principal": {"Service": "events.amazonaws.com"}}, deny(action, arn) | {"Principal": "*"}]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements})
    if service == "sqs":
        url = account.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
        account.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})
    elif service == "sns":
        account.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=text)
    else:
        bucket_policy(account, arn.removeprefix("arn:aws:s3:::").partition("/")[0], *statements)
    decision = account.cloud.authorizer.service("events.amazonaws.com", action, arn, rule)
    assert decision.reason == "with an explicit deny in a resource-based policy"


def test_queue_topic_function_and_repository_policies_grant_to_roles(account):
    """IAM: access_policies_identity-vs-resource.html. A role's ARN as principal needs no identity policy."""
    nobody = Acting(account)
    who = {"Principal": {"AWS": nobody.role}}
    url, queue = account.queue()
    account.client("sqs").set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow("sqs:SendMessage", queue) | who]})}
    )
    nobody("sqs").send_message(QueueUrl=url, MessageBody="x")
    assert is_denied(nobody("sqs").receive_message, QueueUrl=url)
    function = account.function("def handler(event, context): return 7")
    account.client("lambda").add_permission(FunctionName=function, StatementId="x", Action="lambda:InvokeFunction", Principal=nobody.role)
    assert nobody("lambda").invoke(FunctionName=function)["Payload"].read() == b"7"
    assert is_denied(nobody("lambda").get_function, FunctionName=function)
    name = account.name("repository")
    account.client("ecr").create_repository(repositoryName=name)
    statement = {"Sid": "x", "Effect": "Allow", "Action": "ecr:DescribeImages"} | who
    account.client("ecr").set_repository_policy(repositoryName=name, policyText=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    nobody("ecr").describe_images(repositoryName=name)
    assert is_denied(nobody("ecr").list_images, repositoryName=name)


# the other services: one that is allowed, one that is not, and the code. "400" or "403": each API's "Common Errors".


def here(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


MACHINE = here("states", "stateMachine:machine")
EVENT = {"Source": "s", "DetailType": "d", "Detail": "{}"}


@pytest.mark.parametrize(
    ("service", "call", "parameters", "status", "action", "resource"),
    [
        ("lambda", "invoke", {"FunctionName": "nowhere"}, 403, "lambda:InvokeFunction", here("lambda", "function:nowhere")),
        ("ecr", "describe_images", {"repositoryName": "repo"}, 400, "ecr:DescribeImages", here("ecr", "repository/repo")),
        (
            "logs",
            "create_log_stream",
            {"logGroupName": "g", "logStreamName": "s"},
            400,
            "logs:CreateLogStream",
            here("logs", "log-group:g:log-stream:"),
        ),
        ("sagemaker", "describe_training_job", {"TrainingJobName": "j"}, 400, "sagemaker:DescribeTrainingJob", here("sagemaker", "training-job/j")),
        (
            "sagemaker-runtime",
            "invoke_endpoint",
            {"EndpointName": "e", "Body": b""},
            403,
            "sagemaker:InvokeEndpoint",
            here("sagemaker", "endpoint/e"),
        ),
        ("stepfunctions", "start_execution", {"stateMachineArn": MACHINE}, 400, "states:StartExecution", MACHINE),
        ("events", "put_events", {"Entries": [EVENT]}, 400, "events:PutEvents", here("events", "event-bus/default")),
        ("cloudwatch", "describe_alarms", {}, 403, "cloudwatch:DescribeAlarms", here("cloudwatch", "alarm:*")),
        ("ssm", "get_parameter", {"Name": "/p"}, 400, "ssm:GetParameter", here("ssm", "parameter/p")),
        ("cloudformation", "describe_stacks", {"StackName": "s"}, 403, "cloudformation:DescribeStacks", here("cloudformation", "stack/s/*")),
        ("iam", "get_role", {"RoleName": "r"}, 403, "iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/r"),
        ("codebuild", "start_build", {"projectName": "proj"}, 400, "codebuild:StartBuild", here("codebuild", "project/proj")),
    ],
)
def test_each_service_denies_with_its_code_and_allows_by_its_arn(account, service, call, parameters, status, action, resource):
    """AccessDeniedException, but AccessDenied in the query protocol; 400 in JSON, 403 else."""
    nobody = Acting(account)
    code = "AccessDenied" if service in ("cloudwatch", "cloudformation", "iam") else "AccessDeniedException"
    assert refusal(getattr(nobody(service), call), **parameters) == (
        code,
        status,
        f"User: {session_of(nobody.role)} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action",
    )
    assert not is_denied(getattr(Acting(account, allow(action, resource))(service), call), **parameters)


def test_a_metric_may_be_limited_to_a_namespace(account):
    """AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html; the message names no resource, the action having none."""
    limited = Acting(account, allow("cloudwatch:PutMetricData", "*", StringEquals={"cloudwatch:namespace": "Mine"}))
    data = [{"MetricName": "m", "Value": 1.0}]
    limited("cloudwatch").put_metric_data(Namespace="Mine", MetricData=data)
    code, status, message = refusal(limited("cloudwatch").put_metric_data, Namespace="Yours", MetricData=data)
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: {session_of(limited.role)} is not authorized to perform: cloudwatch:PutMetricData "
        "because no identity-based policy allows the cloudwatch:PutMetricData action"
    )


def test_log_groups_are_matched_with_what_follows_their_name(account):
    """AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html: `log-group:NAME:*` for actions on a group and its streams."""
    group, other = account.name("group"), account.name("group")
    for name in (group, other):
        account.client("logs").create_log_group(logGroupName=name)
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    logs = Acting(account, allow(["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "logs:DescribeLogGroups"], f"{arn}:*"))(
        "logs"
    )
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": "x"}])
    logs.describe_log_streams(logGroupName=group)
    assert is_denied(logs.create_log_stream, logGroupName=other, logStreamName="s")
    assert is_denied(logs.describe_log_groups, logGroupNamePrefix=group)  # it is asked for all groups: "log-group::log-stream:"
    bare = Acting(account, allow("logs:CreateLogStream", arn))("logs")
    assert is_denied(bare.create_log_stream, logGroupName=group, logStreamName="t")


def test_passing_a_role_needs_permission_on_it_for_the_service(account):
    """IAM: id_roles_use_passrole.html; the message names iam:PassRole and the role."""
    passed = account.role(LAMBDA)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("index.py", "handler = print")
    create = allow("lambda:CreateFunction", "*")
    function = {"Runtime": "python3.13", "Handler": "index.handler", "Role": passed, "Code": {"ZipFile": archive.getvalue()}}
    only = {"StringEquals": {"iam:PassedToService": LAMBDA}}
    Acting(account, create, allow("iam:PassRole", passed, **only))("lambda").create_function(FunctionName=account.name("f"), **function)
    code, status, message = refusal(Acting(account, create)("lambda").create_function, FunctionName=account.name("f"), **function)
    assert (code, status) == ("AccessDeniedException", 403)
    assert f"iam:PassRole on resource: {passed} because no identity-based policy allows the iam:PassRole action" in message
    wrong = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    assert is_denied(Acting(account, create, allow("iam:PassRole", passed, **wrong))("lambda").create_function, FunctionName="f", **function)
    target = {"Id": "1", "Arn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:m", "RoleArn": passed}
    account.client("events").put_rule(Name=(rule := account.name("rule")), EventPattern='{"source": ["x"]}')
    assert "iam:PassRole" in refusal(Acting(account, allow("events:*", "*"))("events").put_targets, Rule=rule, Targets=[target])[2]


def test_tags_at_creation_need_the_permission_to_tag(account):
    """AWSSimpleQueueService/…/API_CreateQueue.html: "you must have the sqs:CreateQueue and sqs:TagQueue permissions"."""
    sqs = Acting(account, allow("sqs:CreateQueue", "*"))("sqs")
    sqs.create_queue(QueueName=account.name("q"))
    assert "sqs:tagqueue" in refusal(sqs.create_queue, QueueName=account.name("q"), tags={"a": "b"})[2]
    limited = allow(["sqs:CreateQueue", "sqs:TagQueue"], "*", StringEquals={"aws:RequestTag/team": "a"})
    tagging = Acting(account, limited)("sqs")
    tagging.create_queue(QueueName=account.name("q"), tags={"team": "a"})
    assert is_denied(tagging.create_queue, QueueName=account.name("q"), tags={"team": "b"})
    assert is_denied(tagging.create_queue, QueueName=account.name("q"))


def test_a_policy_may_speak_of_the_callers_tags_and_session(account, bucket):
    """IAM: reference_policies_condition-keys.html (aws:PrincipalTag, aws:userid, aws:MultiFactorAuthPresent) and reference_policies_variables.html."""
    s3 = Acting(account, allow("s3:PutObject", "arn:aws:s3:::" + bucket + "/${aws:PrincipalTag/team}/*"))
    assert is_denied(s3("s3").put_object, Bucket=bucket, Key="a/k", Body=b"")
    account.client("iam").tag_role(RoleName=s3.role.rpartition("/")[2], Tags=[{"Key": "team", "Value": "a"}])
    s3("s3").put_object(Bucket=bucket, Key="a/k", Body=b"")
    assert is_denied(s3("s3").put_object, Bucket=bucket, Key="b/k", Body=b"")
    session = Acting(account, allow("s3:PutObject", "*", StringLike={"aws:userid": "*:tester"}, Bool={"aws:MultiFactorAuthPresent": "false"}))
    session("s3").put_object(Bucket=bucket, Key="k", Body=b"")


def test_a_roles_path_is_a_part_of_its_arn(account):
    """IAM: reference_identifiers.html#identifiers-arns; the request names the role without its path."""
    name = account.name("role")
    account.client("iam").create_role(RoleName=name, Path="/team/a/", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))
    assert Acting(account, allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/team/a/*"))("iam").get_role(RoleName=name)
    assert is_denied(Acting(account, allow("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/{name}"))("iam").get_role, RoleName=name)


# boundary


def boundary(account: Account, role: str, *statements: dict) -> str:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    arn = account.client("iam").create_policy(PolicyName=account.name("boundary"), PolicyDocument=document)["Policy"]["Arn"]
    account.client("iam").put_role_permissions_boundary(RoleName=role.rpartition("/")[2], PermissionsBoundary=arn)
    return arn


def test_a_boundary_limits_what_identity_policies_grant(account, bucket):
    """IAM: access_policies_boundaries.html."""
    limited = Acting(account, allow("s3:*", "*"))
    boundary(account, limited.role, allow("s3:GetObject", "*"), deny("s3:GetObject", objects(bucket, "secret/*")))
    limited("s3").get_object(Bucket=bucket, Key="in/a")
    put = refusal(limited("s3").put_object, Bucket=bucket, Key="k", Body=b"")
    assert put[2].endswith("because no permissions boundary allows the s3:PutObject action")
    get = refusal(limited("s3").get_object, Bucket=bucket, Key="secret/k")
    assert get[2].endswith("with an explicit deny in a permissions boundary")
    account.client("iam").delete_role_permissions_boundary(RoleName=limited.role.rpartition("/")[2])
    limited("s3").put_object(Bucket=bucket, Key="k", Body=b"")


def test_roles_may_be_made_only_with_a_boundary(account):
    """IAM: access_policies_boundaries.html#access_policies_boundaries-delegate: iam:PermissionsBoundary."""
    arn = boundary(account, account.role(LAMBDA), allow("s3:*", "*"))
    creates = allow(["iam:CreateRole", "iam:PutRolePolicy"], "*", StringEquals={"iam:PermissionsBoundary": arn})
    iam, name = Acting(account, creates)("iam"), account.name("role")
    made = {"AssumeRolePolicyDocument": trust({"Service": LAMBDA})}
    assert is_denied(iam.create_role, RoleName=account.name("role"), **made)
    iam.create_role(RoleName=name, PermissionsBoundary=arn, **made)
    policy = {"PolicyName": "p", "PolicyDocument": json.dumps({"Version": "2012-10-17", "Statement": [allow("s3:*", "*")]})}
    iam.put_role_policy(RoleName=name, **policy)
    assert is_denied(iam.put_role_policy, RoleName=account.role(LAMBDA).rpartition("/")[2], **policy)
