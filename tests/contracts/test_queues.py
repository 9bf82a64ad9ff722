"""Dead letters on SQS (moto, in process), and what a person reads of them."""

import json

import boto3
import pytest
from moto import mock_aws

from tidemill.adapters.queues import DeadLetters
from tidemill.cli.queues import _about


@pytest.fixture
def sqs():
    with mock_aws():
        yield boto3.client("sqs", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")


@pytest.fixture
def letters(sqs) -> DeadLetters:
    dead, queue = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("dead", "queue"))
    for i in range(12):
        sqs.send_message(QueueUrl=dead, MessageBody=str(i))
    told = {"ERROR_CODE": {"DataType": "String", "StringValue": "NO_PERMISSIONS"}}
    sqs.send_message(QueueUrl=dead, MessageBody="last", MessageAttributes=told)
    return DeadLetters(dead, queue, sqs)


def test_dead_letters_are_all_shown_and_stay_where_they_are(letters):
    assert sorted(letter.body for letter in letters.all()) == sorted([*map(str, range(12)), "last"])
    assert [letter.why for letter in letters.all() if letter.body == "last"] == ["NO_PERMISSIONS"]


def test_redriven_letters_are_in_their_queue_again_and_no_longer_dead(letters, sqs):
    assert len(letters.redrive()) == 13
    assert letters.all() == []
    url = sqs.get_queue_url(QueueName="queue")["QueueUrl"]
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"] == "13"


def test_a_redrive_that_cannot_delete_has_lost_nothing(letters, sqs, monkeypatch):
    def away(**_):
        raise RuntimeError("away")

    monkeypatch.setattr(sqs, "delete_message", away)
    with pytest.raises(RuntimeError):
        letters.redrive()
    url = sqs.get_queue_url(QueueName="queue")["QueueUrl"]
    assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1
    counts = sqs.get_queue_attributes(QueueUrl=sqs.get_queue_url(QueueName="dead")["QueueUrl"], AttributeNames=["All"])["Attributes"]
    assert int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"]) == 13


def test_a_letter_is_told_by_what_it_is_about_never_by_what_it_holds():
    event = {"detail": {"bucket": {"name": "landing"}, "object": {"key": "boats/data/a b.csv", "size": 5, "version-id": "v1"}}}
    assert _about(json.dumps(event)) == "s3://landing/boats/data/a b.csv  version v1  5 bytes"
    assert _about('{"model": "boats"}') == "tick for boats"
    for strange in ("secret,row", "[1]", '{"detail": 3}', "null"):
        assert _about(strange) == f"no message of ours, {len(strange)} characters"
