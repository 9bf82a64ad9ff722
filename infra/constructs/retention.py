"""How long logs stay, and what happens to data when a stack goes: the local stage leaves nothing, every other keeps it."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs

from infra.settings import Stage

DAYS = {7: logs.RetentionDays.ONE_WEEK, 90: logs.RetentionDays.THREE_MONTHS}


def retention(stage: Stage) -> logs.RetentionDays:
    return DAYS[stage.log_days]


def removal(stage: Stage) -> RemovalPolicy:
    return RemovalPolicy.RETAIN if stage.keep_data else RemovalPolicy.DESTROY
