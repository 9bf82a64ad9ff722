"""SNS, as far as alarms and rules use it. docs.aws.amazon.com/sns/latest/dg/subscribe-sqs-queue-to-sns-topic.html"""

import json

import pytest

from tests.conformance.conftest import until


def test_a_queue_gets_messages_only_if_its_policy_lets_sns_send(account):
    sns = account.client("sns")
    topic = sns.create_topic(Name=account.name("topic"))["TopicArn"]
    (open_url, open_arn), (_, closed_arn) = account.open_queue("sns.amazonaws.com"), account.queue()
    for arn in (open_arn, closed_arn):
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    account.cloud.recorder.clear()
    sns.publish(TopicArn=topic, Message="hello")
    assert json.loads(account.messages(open_url)[0]["Body"])["Message"] == "hello"
    denied = until(account.cloud.recorder.denied)
    assert [(record.caller, record.action, record.resource) for record in denied] == [("sns.amazonaws.com", "sqs:SendMessage", closed_arn)]


def test_a_protocol_that_nothing_delivers_to_is_refused_by_name(account):
    sns = account.client("sns")
    topic = sns.create_topic(Name=account.name("topic"))["TopicArn"]
    with pytest.raises(sns.exceptions.ClientError, match="SNS subscriptions of protocol sms"):
        sns.subscribe(TopicArn=topic, Protocol="sms", Endpoint="+12025550123")
