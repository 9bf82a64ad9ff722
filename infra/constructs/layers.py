"""The two Lambda layers, from the folders that `infra.bundle` keeps up to date."""

from functools import cached_property
from typing import cast

from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.bundle import folder_of
from infra.constructs.function import ARCHITECTURES
from infra.settings import Stage


class Layers(Construct):
    """`light` for every function; `light` and `frames` for those that read rows."""

    def __init__(self, scope: Construct, *, stage: Stage) -> None:
        super().__init__(scope, "Layers")
        self._stage = stage

    @cached_property
    def light(self) -> list[lambda_.ILayerVersion]:
        return [self._layer("light")]

    @cached_property
    def frames(self) -> list[lambda_.ILayerVersion]:
        return [*self.light, self._layer("frames")]

    def _layer(self, name: str) -> lambda_.ILayerVersion:
        stage = self._stage
        layer = lambda_.LayerVersion(
            self,
            name.title(),
            code=lambda_.Code.from_asset(str(folder_of(name, stage))),
            compatible_architectures=[ARCHITECTURES[stage.architecture]],
            description=f"Tidemill {name}",
        )
        return cast("lambda_.ILayerVersion", layer)
