"""A Standard state machine of ours: definition by file, logs of every state, an alarm when it fails."""

from typing import cast

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.alarm import alarm
from infra.constructs.function import Function
from infra.constructs.retention import removal, retention
from infra.settings import Stage
from infra.workflows import definition


class Machine(Construct):
    """`functions`: substitution name → function the machine may invoke; `texts`: the other substitutions."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        stage: Stage,
        functions: dict[str, Function],
        texts: dict[str, str],
        numbers: dict[str, int],
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, name.title())
        log_group = logs.LogGroup(self, "Logs", retention=retention(stage), removal_policy=removal(stage))
        self.role = iam.Role(self, "Role", assumed_by=cast("iam.IPrincipal", iam.ServicePrincipal("states.amazonaws.com")))
        self.allow("lambda:InvokeFunction", on=[function.function.function_arn for function in functions.values()])
        self.machine = sfn.StateMachine(
            self,
            "Machine",
            definition_body=sfn.DefinitionBody.from_string(definition(name, numbers)),
            definition_substitutions={**{key: f.function.function_arn for key, f in functions.items()}, **texts},
            role=cast("iam.IRole", self.role),
            logs=sfn.LogOptions(destination=log_group, level=sfn.LogLevel.ALL, include_execution_data=False),
        )
        for metric, label in (
            (self.machine.metric_failed, "Failed"),
            (self.machine.metric_timed_out, "TimedOut"),
            (self.machine.metric_aborted, "Aborted"),
        ):
            alarm(
                self, label, metric=metric(period=Duration.minutes(5), statistic="Sum"), threshold=0,
                description=f"{name} run {label.lower()}: its reason is in the ledger and in the log of finish", topic=topic,
            )  # fmt: skip

    def allow(self, *actions: str, on: list[str], conditions: dict[str, object] | None = None) -> None:
        """A hand-written statement of the machine's own role."""
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=on, conditions=conditions))


def executions_of(machine: Machine) -> str:
    """The ARN pattern of a machine's executions."""
    return Stack.of(machine).format_arn(
        service="states", resource="execution", resource_name=f"{machine.machine.state_machine_name}:*", arn_format=ArnFormat.COLON_RESOURCE_NAME
    )
