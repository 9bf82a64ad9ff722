"""An alarm that tells the topic when a metric is above a threshold, and when it is well again."""

from typing import cast

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct


def alarm(
    scope: Construct, name: str, *, metric: cloudwatch.IMetric, threshold: float, description: str, topic: sns.ITopic, periods: int = 1
) -> cloudwatch.Alarm:
    """No data is good news: an idle system raises no alarm."""
    made = cloudwatch.Alarm(
        scope,
        name,
        metric=metric,
        threshold=threshold,
        evaluation_periods=periods,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=description,
    )
    tell = cast("cloudwatch.IAlarmAction", actions.SnsAction(topic))
    made.add_alarm_action(tell)
    made.add_ok_action(tell)
    return made
