"""Every place where localcloud reaches into moto 5.2.5: these fail loudly when moto changes.

Each test names the module of localcloud that leans on what it checks.
"""

import inspect
import io
import json
from importlib.metadata import version

import boto3
import pytest
from botocore.loaders import JSONFileLoader
from moto import backends, mock_aws
from moto.core import utils as moto_utils
from moto.core.common_models import BaseModel
from moto.core.loaders import Loader
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from moto.ecr.models import ecr_backends
from moto.iam.access_control import PermissionResult
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.logs import models as logs_models
from moto.logs.models import logs_backends
from moto.logs.responses import LogsResponse
from moto.s3 import notifications
from moto.s3.models import FakeBucket, S3Backend, s3_backends
from moto.sns.models import SNSBackend, Subscription, sns_backends
from moto.sqs import models as sqs_models
from moto.sqs.models import Queue, SQSBackend, sqs_backends

from localcloud.events.queues import ALONE

ACCOUNT, REGION = "123456789012", "us-east-1"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]})


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.fixture
def client():
    with mock_aws():
        yield lambda service: boto3.client(service, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")


def test_the_pin():
    assert version("moto") == "5.2.5"


def test_s3_events_leave_moto_through_one_function():
    """localcloud.events.objects"""
    assert parameters(notifications._send_event_bridge_message)[-4:] == ["account_id", "bucket", "event_name", "key"]
    assert "_send_event_bridge_message(account_id, bucket, event_name, key)" in inspect.getsource(notifications.send_event)


def test_what_happens_to_a_versioned_object_is_told_by_one_method():
    """localcloud.events.objects"""
    assert parameters(S3Backend.delete_object) == ["self", "bucket_name", "key_name", "version_id", "bypass"]


def test_bucket_policies_are_asked_through_one_method():
    """localcloud.policies"""
    assert parameters(FakeBucket.get_permission) == ["self", "action", "resource"]
    assert PermissionResult.NEUTRAL


def test_topics_deliver_through_one_method():
    """localcloud.events.topics"""
    assert parameters(Subscription.publish)[:3] == ["self", "message", "message_id"]
    assert parameters(SNSBackend.subscribe) == ["self", "topic_arn", "endpoint", "protocol"]


def test_queues_ask_two_functions_for_the_time(client, monkeypatch):
    """localcloud.events.queues, localcloud.events.poller, localcloud.cloudwatch.pipeline"""
    now = 1_000_000.0
    monkeypatch.setattr(sqs_models, "unix_time", lambda: now)
    monkeypatch.setattr(sqs_models, "unix_time_millis", lambda: now * 1000)
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "30"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="late", DelaySeconds=60)
    queue = sqs_backends[ACCOUNT][REGION].queues["q"]
    (message,) = queue._messages
    assert (message.delayed, message.sent_timestamp) == (True, now * 1000)
    now += 61
    assert (message.delayed, message.visible) == (False, True)
    assert sqs.receive_message(QueueUrl=url)["Messages"]
    assert not message.visible
    assert (queue.approximate_number_of_messages_delayed, queue.approximate_number_of_messages_not_visible) == (0, 1)
    now += 31
    assert message.visible


def test_queues_change_through_these_methods_and_a_long_poll_waits_in_one():
    """localcloud.events.queues"""
    assert parameters(SQSBackend.receive_message) == [
        "self",
        "queue_name",
        "count",
        "wait_seconds_timeout",
        "visibility_timeout",
        "message_attribute_names",
    ]
    assert parameters(Queue.wait_for_messages) == ["self", "timeout"]
    assert "if wait_seconds_timeout == 0" in inspect.getsource(SQSBackend.receive_message)
    for name in ALONE:
        assert parameters(getattr(SQSBackend, name))[:2] == ["self", "queue_name"]


def test_models_remember_their_instances_in_one_place_and_only_resets_ask_there():
    """localcloud.instances"""
    assert "instances_tracked.append" in inspect.getsource(BaseModel.__new__)
    assert "for key in FakeKey.instances_tracked" in inspect.getsource(S3Backend.reset)


def test_service_models_are_loaded_by_one_function():
    """localcloud.models"""
    assert parameters(moto_utils.create_loader) == []
    assert "create_loader()" in inspect.getsource(moto_utils._load_service_model)
    assert {"extra_search_paths", "file_loader"} <= set(parameters(Loader))
    assert parameters(JSONFileLoader._load_file) == ["self", "full_path", "open_method"]


def test_metric_filters_lie_where_they_are_looked_for(client):
    """localcloud.cloudwatch.pipeline"""
    logs = client("logs")
    logs.create_log_group(logGroupName="g")
    target = {"metricName": "m", "metricNamespace": "n", "metricValue": "1"}
    logs.put_metric_filter(logGroupName="g", filterName="f", filterPattern="ERROR", metricTransformations=[target])
    (found,) = logs_backends[ACCOUNT][REGION].filters.metric_filters
    assert (found["logGroupName"], found["filterPattern"], found["metricTransformations"]) == ("g", "ERROR", [target])


def test_metric_filters_come_in_through_one_method_and_logs_ask_one_function_for_the_time():
    """localcloud.cloudwatch.pipeline, localcloud.logs"""
    assert parameters(LogsResponse.put_metric_filter) == ["self"]
    assert "utcnow()" in inspect.getsource(logs_models)


def test_roles_hold_their_policies(client):
    """localcloud.iam.stored"""
    iam = client("iam")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=POLICY)
    iam.put_role_policy(RoleName="r", PolicyName="inline", PolicyDocument=POLICY)
    arn = iam.create_policy(PolicyName="managed", PolicyDocument=POLICY)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="r", PolicyArn=arn)
    iam.put_role_permissions_boundary(RoleName="r", PermissionsBoundary=arn)
    iam.tag_role(RoleName="r", Tags=[{"Key": "a", "Value": "b"}])
    (role,) = [role for role in iam_backends[ACCOUNT]["aws"].roles.values() if role.name == "r"]
    assert role.arn == f"arn:aws:iam::{ACCOUNT}:role/r"
    assert role.policies == {"inline": POLICY}
    assert role.tags == [{"Key": "a", "Value": "b"}]
    assert hasattr(role, "max_session_duration")
    assert json.loads(role.assume_role_policy_document) == json.loads(POLICY)
    (policy,) = role.managed_policies.values()
    assert [v.document for v in policy.versions if v.version_id == policy.default_version_id] == [POLICY]
    assert iam_backends[ACCOUNT]["aws"].managed_policies[role.permissions_boundary_arn].name == "managed"


def test_resources_hold_their_policies(client):
    """localcloud.iam.stored"""
    client("s3").create_bucket(Bucket="bucket")
    client("s3").put_bucket_policy(Bucket="bucket", Policy=POLICY)
    assert json.loads(s3_backends[ACCOUNT]["aws"].buckets["bucket"].policy) == json.loads(POLICY)
    url = client("sqs").create_queue(QueueName="q", Attributes={"Policy": POLICY})["QueueUrl"]
    assert url
    assert json.loads(sqs_backends[ACCOUNT][REGION].queues["q"].policy) == json.loads(POLICY)
    topic = client("sns").create_topic(Name="t")["TopicArn"]
    client("sns").set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=POLICY)
    assert json.loads(sns_backends[ACCOUNT][REGION].topics[topic].policy) == json.loads(POLICY)
    client("ecr").create_repository(repositoryName="a/b")
    client("ecr").set_repository_policy(repositoryName="a/b", policyText=POLICY)
    assert json.loads(ecr_backends[ACCOUNT][REGION].repositories["a/b"].policy)["Statement"]


def test_keys_and_what_is_encrypted_with_them(client):
    """localcloud.iam.stored"""
    kms, s3 = client("kms"), client("s3")
    key = kms.create_key(Policy=POLICY)["KeyMetadata"]
    kms.create_alias(AliasName="alias/k", TargetKeyId=key["KeyId"])
    backend = kms_backends[ACCOUNT][REGION]
    assert {backend.any_id_to_key_id(name) for name in (key["KeyId"], key["Arn"], "alias/k")} == {key["KeyId"]}
    assert (backend.keys[key["KeyId"]].arn, json.loads(backend.keys[key["KeyId"]].policy)) == (key["Arn"], json.loads(POLICY))
    s3.create_bucket(Bucket="secret")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key["Arn"]}}
    s3.put_bucket_encryption(Bucket="secret", ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_object(Bucket="secret", Key="k", Body=io.BytesIO(b"x"))
    bucket = s3_backends[ACCOUNT]["aws"].buckets["secret"]
    assert bucket.encryption["Rule"]["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == key["Arn"]
    assert (bucket.keys.get("k").encryption, bucket.keys.get("k").kms_key_id) == ("aws:kms", key["Arn"])


def test_a_ciphertext_begins_with_its_keys_id(client):
    """localcloud.iam.stored"""
    key = client("kms").create_key()["KeyMetadata"]["KeyId"]
    assert client("kms").encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"].startswith(key.encode())


def test_moto_lists_its_own_modules_in_one_function():
    """localcloud.front keeps the list: moto reads its folder on every request."""
    assert "list_of_moto_modules()" in inspect.getsource(backends)


def test_requests_are_parsed_and_answers_serialized_by_botocores_models():
    """localcloud.front"""
    model = get_service_model("sagemaker")
    request = Request.from_primitives("POST", "http://localhost/", {"Content-Type": "application/x-amz-json-1.1"}, b'{"ModelName": "m"}')
    operation = model.operation_model("DescribeModel")
    fields = {"method": "POST", "values": request.values, "headers": request.headers, "body": request.data, "url_path": "/", "url_params": {}}
    assert PROTOCOL_PARSERS["json"](operation).parse(fields) == {"ModelName": "m"}
    answer = get_serializer_class("sagemaker", "json")(operation_model=operation).serialize({"ModelName": "m"})
    assert '"ModelName": "m"' in answer["body"]
    invoke = Request.from_primitives("POST", "http://localhost/2015-03-31/functions/f/invocations", {}, b"{}")
    found, uri = get_service_router("lambda").match(invoke)
    assert (found.name, uri) == ("Invoke", {"FunctionName": "f"})
