"""A Lambda function of ours: one handler file, one role, its settings checked, its logs kept for a while."""

from typing import cast

from aws_cdk import Duration, Size
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.bundle import ROOT
from infra.constructs.retention import removal, retention
from infra.settings import Stage
from tidemill.environment import Settings

ARCHITECTURES = {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}
HANDLERS = ROOT / "lambdas"


class Function(Construct):
    """`step` names the handler file, the log lines and the function. `settings` must be given exactly `environment`."""

    def __init__(
        self,
        scope: Construct,
        step: str,
        *,
        stage: Stage,
        layers: list[lambda_.ILayerVersion],
        settings: type[Settings] | None,
        environment: dict[str, str],
        memory_mb: int = 256,
        storage_mb: int = 512,
        timeout: Duration | None = None,
    ) -> None:
        super().__init__(scope, "".join(word.title() for word in step.split("_")) + "Function")
        if settings is not None and settings.names() != frozenset(environment):
            raise ValueError(f"{step}: settings {sorted(settings.names())}, environment {sorted(environment)}")
        self.logs = logs.LogGroup(self, "Logs", retention=retention(stage), removal_policy=removal(stage))
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=cast("iam.IPrincipal", iam.ServicePrincipal("lambda.amazonaws.com")),
            description=f"Tidemill {stage.name}: {step}",
        )
        self.logs.grant_write(self.role)
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime(f"python{stage.python}", lambda_.RuntimeFamily.PYTHON),
            architecture=ARCHITECTURES[stage.architecture],
            handler=f"{step}.handler",
            code=lambda_.Code.from_asset(str(HANDLERS), exclude=["__pycache__", "*.pyc", "__init__.py"]),
            role=cast("iam.IRole", self.role),
            layers=layers,
            environment={"POWERTOOLS_SERVICE_NAME": step, **environment},
            memory_size=memory_mb,
            ephemeral_storage_size=Size.mebibytes(storage_mb) if storage_mb != 512 else None,
            timeout=timeout or Duration.seconds(30),
            log_group=self.logs,
        )

    def allow(self, *actions: str, on: list[str]) -> None:
        """A hand-written statement of this function's own role."""
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=on))
