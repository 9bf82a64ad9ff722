"""The environment of each function, one settings model a function: what the stacks set and the handlers read."""

import os
from typing import Self

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Fields are environment variables in lower case; a missing one is an error at start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def names(cls) -> frozenset[str]:
        return frozenset(name.upper() for name in cls.model_fields)

    @classmethod
    def load(cls) -> Self:
        return cls.model_validate({name: os.environ[name.upper()] for name in cls.model_fields if name.upper() in os.environ})


class IntakeSettings(Settings):
    stage: str
    ledger_table: str
    landing_bucket: str
    tick_queue_url: str


class StartSettings(Settings):
    stage: str
    ledger_table: str
    training_machine_arn: str


class ClaimSettings(Settings):
    stage: str
    ledger_table: str
    lake_bucket: str
    large_bytes: int


class PrepareSettings(Settings):
    ledger_table: str
    landing_bucket: str
    lake_bucket: str
    max_unpacked_bytes: int


class PreparedLargeSettings(Settings):
    ledger_table: str
    lake_bucket: str


class AssembleSettings(Settings):
    ledger_table: str
    lake_bucket: str


class PackSettings(Settings):
    lake_bucket: str


class GateSettings(Settings):
    ledger_table: str
    lake_bucket: str


class RegisterSettings(Settings):
    stage: str
    ledger_table: str
    lake_bucket: str
    alerts_topic_arn: str


class ExportSettings(Settings):
    stage: str
    ledger_table: str
    lake_bucket: str


class FinishSettings(Settings):
    ledger_table: str
    tick_queue_url: str


class SweepSettings(Settings):
    stage: str
    ledger_table: str
    tick_queue_url: str
    training_machine_arn: str


class ReleaseClaimSettings(Settings):
    stage: str
    ledger_table: str
    lake_bucket: str
    max_bake_s: int


class ReleaseVerifySettings(Settings):
    ledger_table: str


class ReleaseSmokeSettings(Settings):
    ledger_table: str
    lake_bucket: str


class ReleaseFinishSettings(Settings):
    stage: str
    ledger_table: str
