"""The local stage's clean-up of what runs and releases made and no stack owns. No other stage has it: it would delete live endpoints."""

from aws_cdk import Aws, CustomResource, Duration
from constructs import Construct, IDependable

from infra.constructs.function import Function
from infra.settings import Stage


class Remover(Construct):
    """One function; each `remove_…` is a custom resource that does its work when the stack is deleted.

    What makes such things must depend on what is returned: then it is deleted, and has stopped, before.
    """

    def __init__(self, scope: Construct, *, stage: Stage) -> None:
        super().__init__(scope, "Remover")
        self._arn = f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}"
        self._function = Function(self, "remove_models", stage=stage, layers=[], settings=None, environment={}, timeout=Duration.minutes(5))

    def remove_endpoints(self, scope: Construct, name: str) -> IDependable:
        """The endpoint of a name, and all endpoints, configs and models whose names begin with it and a hyphen."""
        for action, kind in (("DeleteEndpoint", "endpoint"), ("DeleteEndpointConfig", "endpoint-config"), ("DeleteModel", "model")):
            self._function.allow(f"sagemaker:{action}", on=[f"{self._arn}:{kind}/{name}{rest}" for rest in ("", "-*")])
        self._function.allow("sagemaker:ListEndpoints", "sagemaker:ListEndpointConfigs", "sagemaker:ListModels", on=["*"])  # no resource level
        return self._custom(scope, "RemoveEndpoints", {"Endpoints": name})

    def remove_packages(self, scope: Construct, group: str, after: IDependable) -> IDependable:
        """The packages of a group; `after` is the group, which goes when they are gone."""
        self._function.allow("sagemaker:ListModelPackages", on=[f"{self._arn}:model-package-group/{group}"])
        self._function.allow("sagemaker:DeleteModelPackage", on=[f"{self._arn}:model-package/{group}/*"])
        made = self._custom(scope, "RemovePackages", {"Packages": group})
        made.node.add_dependency(after)
        return made

    def _custom(self, scope: Construct, name: str, properties: dict[str, str]) -> CustomResource:
        token = self._function.function.function_arn
        made = CustomResource(scope, name, service_token=token, resource_type=f"Custom::{name}", properties=properties)
        made.node.add_dependency(self._function.role)
        return made
