"""The front door: what is no call of an operation, bodies of every form, many callers at once, and the record of it all.

"IAM:" names a page under docs.aws.amazon.com/IAM/latest/UserGuide/, "S3:" one under docs.aws.amazon.com/AmazonS3/latest/.
"""

import gc
import http.client
import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from moto.dynamodb.models.dynamo_type import Item

from localcloud import ACCOUNT, REGION
from localcloud.iam.evaluate import Principal
from tests.conformance.acting import (
    LAMBDA,
    Acting,
    ask,
    bucket_policy,
    error_of,
    is_denied,
    made_bucket,
    made_table,
    objects,
    refusal,
    session_of,
    signed,
)
from tests.conformance.conftest import Account, allow, deny


@pytest.fixture
def bucket(account: Account) -> str:
    return made_bucket(account)


@pytest.fixture
def table(account: Account) -> str:
    return made_table(account)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns far more often than they would, so that what is not one step comes apart."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_only_one_of_many_who_write_the_same_new_item_wins(account, table, bucket, restless):
    """amazondynamodb/latest/developerguide/WorkingWithItems.html#WorkingWithItems.ConditionalUpdate and S3: userguide/conditional-writes.html:
    a conditional write is atomic, and so is a counter."""
    dynamodb, s3 = account.client("dynamodb"), account.client("s3")

    def put(key: str) -> str:
        return error_of(dynamodb.put_item, TableName=table, Item={"k": {"S": key}}, ConditionExpression="attribute_not_exists(k)")

    def upload(key: str) -> str:
        return error_of(s3.put_object, Bucket=bucket, Key=key, Body=b"", IfNoneMatch="*")

    def add(_: int) -> None:
        count = {"UpdateExpression": "ADD n :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
        dynamodb.update_item(TableName=table, Key={"k": {"S": "counter"}}, **count)

    with ThreadPoolExecutor(8) as pool:
        for write, refused in ((put, "ConditionalCheckFailedException"), (upload, "PreconditionFailed")):
            told = list(pool.map(write, [f"new-{number // 8}" for number in range(320)]))
            assert (told.count(""), set(told)) == (40, {"", refused})
        list(pool.map(add, range(200)))
    assert dynamodb.get_item(TableName=table, Key={"k": {"S": "counter"}})["Item"]["n"] == {"N": "200"}


def test_an_object_may_be_written_and_read_by_many_at_once(account, bucket, restless):
    """S3: userguide/Welcome.html#ConsistencyModel: a reader gets one version whole, the last writer wins, nobody gets an error."""
    s3 = account.client("s3")

    def turn(number: int) -> bytes:
        s3.put_object(Bucket=bucket, Key="shared", Body=str(number % 10).encode() * 5000)
        s3.copy_object(Bucket=bucket, Key=f"copy-{number % 2}", CopySource={"Bucket": bucket, "Key": "shared"})
        return bytes(s3.get_object(Bucket=bucket, Key="shared")["Body"].read())

    with ThreadPoolExecutor(8) as pool:
        for body in pool.map(turn, range(160)):
            assert (len(body), len(set(body))) == (5000, 1)


@pytest.mark.parametrize("path", ["/moto-api/reset", "/moto-api/data.json", "/latest/meta-data/x", "/latest/api/token"])
def test_motos_own_endpoints_are_nobodys(account, bucket, path):
    """They would reset everything; a signature for S3 does not open them, nor does a bucket's name in the host."""
    status, body, _ = ask(account, path, "POST", signed("s3"), b"")
    assert (status, b"NotSupportedByLocalcloud" in body) == (400, True)
    first, _, rest = path[1:].partition("/")
    assert ask(account, f"/{rest}", "POST", signed("s3") | {"Host": f"{first}.localhost"}, b"")[0] == 400
    assert account.client("s3").get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"a"


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (signed("nosuch"), b"the service nosuch"),
        (signed("sqs", region="eu-west-1"), b"the region eu-west-1"),
        (signed("lambda"), b"lambda:POST /"),
        (signed("dynamodb") | {"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": "application/x-amz-json-1.0"}, b"SerializationException"),
    ],
)
def test_what_is_no_request_is_answered_not_dropped(account, headers, told):
    assert told in ask(account, "/", "POST", headers, b"{")[1]


def test_an_operation_without_known_permissions_is_refused_to_roles_by_name(account, bucket):
    """Not an allow and not a denial: localcloud says that it does not know."""
    everything = Acting(account, allow("*", "*"))
    code, _, message = refusal(everything("s3").get_bucket_website, Bucket=bucket)
    assert code == "NotSupportedByLocalcloud"
    assert "s3:GetBucketWebsite" in message
    assert refusal(account.client("s3").get_bucket_website, Bucket=bucket)[0] == "NoSuchWebsiteConfiguration"  # the account may ask moto


@pytest.mark.parametrize("condition", [{"StringEquals": {"aws:ResourceTag/team": "x"}}, {"StringNotEquals": {"dynamodb:Select": "x"}}])
def test_a_policy_that_is_not_understood_is_an_error_never_an_allow(account, bucket, condition):
    """A key that no request has a value for would turn a Deny into nothing."""
    role = Acting(account, allow("s3:*", "*"), deny("s3:GetObject", "*", **condition))
    code, _, message = refusal(role("s3").get_object, Bucket=bucket, Key="in/a")
    assert code == "NotSupportedByLocalcloud"
    assert next(iter(next(iter(condition.values())))) in message


def test_an_unknown_operator_in_a_resources_policy_is_an_error_for_whom_the_statement_is_about(account, bucket):
    """IAM: reference_policies_elements_condition_operators.html has no such operator; moto keeps what S3 would refuse."""
    bucket_policy(account, bucket, deny("s3:PutObject", objects(bucket), StringResembles={"aws:userid": "x"}) | {"Principal": "*"})
    for s3 in (Acting(account, allow("s3:*", "*"))("s3"), account.client("s3")):
        code, _, message = refusal(s3.put_object, Bucket=bucket, Key="in/a", Body=b"")
        assert code == "NotSupportedByLocalcloud"
        assert "StringResembles" in message
        assert s3.get_object(Bucket=bucket, Key="in/a")["Body"].read() == b"a"


# the wire


def test_a_bucket_may_stand_in_the_host(account, bucket):
    """S3: userguide/VirtualHosting.html."""
    port = urlsplit(account.cloud.endpoint).port
    host = {"Host": f"{bucket}.localhost:{port}"}
    assert ask(account, "/in/a", headers=signed("s3") | host)[:2] == (200, b"a")
    assert ask(account, "/in/c%20d", "PUT", signed("s3") | host, b"cd")[0] == 200
    assert account.client("s3").get_object(Bucket=bucket, Key="in/c d")["Body"].read() == b"cd"
    assert b"<Key>in/a</Key>" in ask(account, "/?list-type=2", headers=signed("s3") | host)[1]
    assert ask(account, "/in/a", "HEAD", signed("s3") | host)[:2] == (200, b"")
    keys = account.client("sts").assume_role(RoleArn=account.role(LAMBDA), RoleSessionName="session")["Credentials"]
    denied = signed("s3", keys["AccessKeyId"]) | host | {"X-Amz-Security-Token": keys["SessionToken"]}
    assert b"s3:GetObject" in ask(account, "/in/a", headers=denied)[1]


def test_bodies_of_any_form_arrive_whole(account, bucket):
    """S3: API/sigv4-streaming.html (aws-chunked with a trailing checksum), chunked transfer, Expect: 100-continue, and large ones."""
    s3, large = account.client("s3"), bytes(range(256)) * 4 * 1024 * 12
    for checksum in ("CRC32", "SHA256"):
        s3.put_object(Bucket=bucket, Key="streamed", Body=io.BufferedReader(io.BytesIO(large)), ChecksumAlgorithm=checksum)  # type: ignore[arg-type]
        assert s3.get_object(Bucket=bucket, Key="streamed")["Body"].read() == large
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(account.cloud.endpoint).port, timeout=20)
    connection.request("PUT", f"/{bucket}/chunked", body=iter([b"abc", b"def"]), headers=signed("s3"), encode_chunked=True)
    assert connection.getresponse().status == 200
    assert s3.get_object(Bucket=bucket, Key="chunked")["Body"].read() == b"abcdef"


def test_a_denied_upload_is_answered_and_the_next_request_too(account, bucket):
    """The body that nobody reads must not be taken for the next request of the same client."""
    s3 = Acting(account, allow("s3:PutObject", objects(bucket, "ok")))("s3")
    for _ in range(3):
        assert is_denied(s3.put_object, Bucket=bucket, Key="no", Body=b"x" * 3_000_000)
        s3.put_object(Bucket=bucket, Key="ok", Body=b"x")


def test_threads_are_who_they_are(account):
    """Many callers at once: each is judged by its own role."""
    topic = account.client("sns").create_topic(Name=account.name("topic"))["TopicArn"]
    actors = [(Acting(account, *([allow("sns:GetTopicAttributes", topic)] if even else [])), even) for even in (True, False) * 4]
    for actor, _ in actors:
        actor("sns"), actor("sts")  # clients are not made by threads

    def one(pair: tuple[Acting, bool]) -> bool:
        actor, may = pair
        assert actor("sts").get_caller_identity()["Arn"] == session_of(actor.role)
        return is_denied(actor("sns").get_topic_attributes, TopicArn=topic) is not may

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, actors * 12))


# the recorder


def test_the_recorder_tells_calls_denials_and_unused_grants(account, bucket):
    statements = [
        allow(["s3:GetObject", "s3:PutObject"], [objects(bucket, "in/*"), objects(bucket, "other/*")]),
        allow("s3:GetObject", objects(bucket, "${aws:PrincipalTag/team}/*")),
        allow("sqs:SendMessage", "*"),
        {"Effect": "Allow", "NotAction": "iam:*", "Resource": f"arn:aws:kms:{REGION}:{ACCOUNT}:*"},
        allow("s3:DeleteObject", "*"),
        deny("s3:DeleteObject", "*"),
    ]
    actor = Acting(account, *statements)
    for _ in range(3):
        actor("s3").get_object(Bucket=bucket, Key="in/a")
    assert is_denied(actor("s3").delete_object, Bucket=bucket, Key="in/a")
    recorder = account.cloud.recorder
    mine = {(record.action, record.resource, record.allowed): count for record, count in recorder.calls() if record.caller == actor.role}
    assert mine == {("s3:GetObject", objects(bucket, "in/a"), True): 3, ("s3:DeleteObject", objects(bucket, "in/a"), False): 1}
    (denied,) = [record for record in recorder.denied() if record.caller == actor.role]
    assert str(denied) == f"DENIED {actor.role} s3:DeleteObject {objects(bucket, 'in/a')} with an explicit deny in an identity-based policy"
    assert denied.statement.effect == "Deny"
    unused = [(action, resource) for _, action, resource in recorder.unused(actor.role, account.cloud.stored.identity(actor.role))]
    assert unused == [
        ("s3:GetObject", objects(bucket, "other/*")), ("s3:PutObject", objects(bucket, "in/*")), ("s3:PutObject", objects(bucket, "other/*")),
        ("sqs:SendMessage", "*"), ("not iam:*", f"arn:aws:kms:{REGION}:{ACCOUNT}:*"),
        ("s3:DeleteObject", "*"),
    ]  # fmt: skip


def test_what_a_service_asks_for_is_recorded_too(account):
    _, arn = account.queue()
    account.cloud.authorizer.service("events.amazonaws.com", "sqs:SendMessage", arn, "arn:aws:events:us-east-1:1:rule/r")
    assert [record.caller for record in account.cloud.recorder.denied() if record.resource == arn] == ["events.amazonaws.com"]
    assert account.cloud.stored.user_id(Principal(arn="", account=ACCOUNT, service="x")) == ACCOUNT


def test_what_a_query_found_is_not_kept(account):
    """localcloud.instances: moto alone would keep a copy for ever."""
    table, dynamodb = made_table(account), account.client("dynamodb")
    dynamodb.put_item(TableName=table, Item={"k": {"S": "a"}})
    query = {"TableName": table, "KeyConditionExpression": "k = :k", "ExpressionAttributeValues": {":k": {"S": "a"}}}

    def alive() -> int:
        gc.collect()
        return sum(isinstance(thing, Item) for thing in gc.get_objects())

    dynamodb.query(**query)
    before = alive()
    for _ in range(50):
        assert dynamodb.query(**query)["Count"] == 1
    assert alive() < before + 25
