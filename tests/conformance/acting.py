"""Fresh roles and what they are told: for the tests of who may do what."""

import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, KEY, REGION
from tests.conformance.conftest import Account

LAMBDA = "lambda.amazonaws.com"


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int, str]:
    """(code, HTTP status, message) of a call that must fail."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def is_denied(call: Callable[..., Any], **parameters: Any) -> bool:
    """Whether the call is refused for want of permission, whatever the service calls that; it may fail for another reason."""
    return error_of(call, **parameters) in ("AccessDenied", "AccessDeniedException", "AuthorizationError", "403")


def error_of(call: Callable[..., Any], **parameters: Any) -> str:
    """The code of a call's error; "" if it succeeds."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def session_of(role: str) -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/tester"


class Acting:
    """A fresh role with some statements, and clients of a session of it."""

    def __init__(self, account: Account, *statements: dict) -> None:
        self.role = account.role(LAMBDA, *statements)
        self._client = account.acting(self.role)
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        return self._clients.setdefault(service, self._client(service))


def made_bucket(account: Account) -> str:
    """A bucket with the object `in/a`."""
    name = account.name("bucket")
    account.client("s3").create_bucket(Bucket=name)
    account.client("s3").put_object(Bucket=name, Key="in/a", Body=b"a")
    return name


def made_table(account: Account) -> str:
    name = account.name("table")
    account.client("dynamodb").create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}, {"AttributeName": "g", "AttributeType": "S"}],
        GlobalSecondaryIndexes=[
            {"IndexName": "by-g", "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
        ],
    )  # fmt: skip
    return name


def objects(bucket: str, pattern: str = "*") -> str:
    return f"arn:aws:s3:::{bucket}/{pattern}"


def of(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}"


def bucket_policy(account: Account, bucket: str, *statements: dict) -> None:
    account.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def key_policy(account: Account, key: str, *statements: dict) -> None:
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Resource": "*"} for statement in statements]})
    account.client("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=text)


def trust(principal: Any, effect: str = "Allow", **conditions: dict) -> str:
    statement = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole"} | ({"Condition": conditions} if conditions else {})
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def trusted(account: Account, document: str) -> str:
    return account.client("iam").create_role(RoleName=account.name("role"), AssumeRolePolicyDocument=document)["Role"]["Arn"]


def client(account: Account, service: str, key: str, token: str | None = None, **config: Any) -> Any:
    return boto3.client(
        service, endpoint_url=account.cloud.endpoint, region_name=config.pop("region", REGION), aws_access_key_id=key, aws_secret_access_key="s",
        aws_session_token=token, config=Config(retries={"total_max_attempts": 1}, **config),
    )  # fmt: skip


def ask(account: Account, path: str, method: str = "GET", headers: dict | None = None, body: bytes | None = None) -> tuple[int, bytes, Any]:
    """A request as it is, with nothing of boto3's."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(account.cloud.endpoint).port, timeout=20)
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def signed(service: str, key: str = KEY, region: str = REGION) -> dict[str, str]:
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"}
