"""Transactions on localcloud's DynamoDB: all or nothing, also where items are changed in place."""

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

from localcloud import tables
from localcloud.tables import _transact


@pytest.fixture
def dynamodb():
    tables.install()
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
        keys = [("model", "HASH"), ("item", "RANGE")]
        client.create_table(
            TableName="t",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client
    DynamoDBBackend.transact_write_items = _transact


def row(item: str, **more: str) -> dict:
    return {name: {"S": value} for name, value in {"model": "m", "item": item, **more}.items()}


def found(dynamodb) -> list[dict]:
    return dynamodb.query(TableName="t", KeyConditionExpression="model = :m", ExpressionAttributeValues={":m": {"S": "m"}})["Items"]


NEVER = {"Put": {"TableName": "t", "Item": row("z"), "ConditionExpression": "attribute_exists(model)"}}


@pytest.mark.parametrize(
    "action",
    [
        {"Put": {"TableName": "t", "Item": row("b")}},
        {"Put": {"TableName": "t", "Item": row("a", state="new")}},
        {"Delete": {"TableName": "t", "Key": row("a")}},
        {
            "Update": {
                "TableName": "t", "Key": row("a"), "UpdateExpression": "SET #s = :s", "ExpressionAttributeNames": {"#s": "state"},
                "ExpressionAttributeValues": {":s": {"S": "new"}},
            }
        },
    ],
    ids=["put", "overwrite", "delete", "update"],
)  # fmt: skip
def test_a_transaction_that_is_cancelled_leaves_everything_as_it_was(dynamodb, action):
    dynamodb.put_item(TableName="t", Item=row("a", state="old"))
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        dynamodb.transact_write_items(TransactItems=[action, NEVER])
    assert found(dynamodb) == [row("a", state="old")]
    dynamodb.transact_write_items(TransactItems=[action])
    assert found(dynamodb) != [row("a", state="old")]
