"""One stage in memory: the ports' fakes, and each step of the flow as a call."""

import json

from tests.fakes import MemoryAlerts, MemoryEndpoints, MemoryLedger, MemoryModels, MemoryRegistry, MemoryStore, MemoryTicks, MemoryWorkflow
from tests.samples import evaluation, folder, rows
from tidemill.events import (
    ClaimRequest,
    Failure,
    FinishRequest,
    GateRequest,
    ObjectCreated,
    PrepareRequest,
    RegisterRequest,
    ReleaseRequest,
    RunRef,
    SweepEvent,
)  # fmt: skip
from tidemill.ports import ModelEntry
from tidemill.steps.assemble import assemble_run
from tidemill.steps.claim import claim
from tidemill.steps.finish import finish_run
from tidemill.steps.gate import gate_run
from tidemill.steps.intake import intake
from tidemill.steps.prepare import prepare_bin
from tidemill.steps.register import register_run
from tidemill.steps.release import release_claim
from tidemill.steps.start import start
from tidemill.steps.sweep import sweep

NOW = "2024-06-01T12:00:00.000Z"
T0 = 1_717_243_200_000  # 2024-06-01T12:00:00Z in milliseconds


class World:
    """One stage in memory."""

    def __init__(self) -> None:
        self.now = NOW
        entry = ModelEntry(uri="s3://assets/boats.zip", sha256="c0de", quiet_s=60, max_wait_s=300)
        self.ledger, self.lake, self.landing, self.ticks = MemoryLedger(), MemoryStore(), MemoryStore(), MemoryTicks()
        self.models = MemoryModels({"boats": entry}, {entry.uri: folder()})
        self.workflow, self.registry, self.endpoints, self.alerts = MemoryWorkflow(), MemoryRegistry(), MemoryEndpoints(), MemoryAlerts()

    def upload(self, key: str, data: str = "", at_ms: int = T0, version: str = "v1", sequencer: str = "01"):
        self.landing.put_version(key, version, data.encode())
        item = {"key": key, "size": len(data), "version-id": version, "etag": "e", "sequencer": sequencer}
        return self.intake({"detail-type": "Object Created", "detail": {"bucket": {"name": "landing"}, "object": item}}, at_ms)

    def intake(self, message: object, at_ms: int = T0):
        event = ObjectCreated.read(json.dumps(message))
        return intake(event, "landing", at_ms, ledger=self.ledger, models=self.models, ticks=self.ticks)

    def tick(self, now: str):
        return start("boats", now, ledger=self.ledger, models=self.models, workflow=self.workflow)

    def sweep(self, **detail):
        event = SweepEvent.model_validate({"time": self.now, "detail": detail})
        return sweep(event, ledger=self.ledger, models=self.models, workflow=self.workflow, ticks=self.ticks)

    def claim(self, epoch: int = 1):
        execution = self.workflow.execution(f"boats-{epoch:04d}")
        request = ClaimRequest(model="boats", epoch=epoch, cause="upload", execution=execution, started_at=self.now)
        return claim(request, "test", ledger=self.ledger, models=self.models, lake=self.lake)

    def prepare(self, epoch: int = 1, number: int = 0):
        request = PrepareRequest(model="boats", epoch=epoch, bin=number)
        return prepare_bin(request, NOW, ledger=self.ledger, landing=self.landing, lake=self.lake)

    def assemble(self, epoch: int = 1):
        return assemble_run(RunRef(model="boats", epoch=epoch), ledger=self.ledger, workflow=self.workflow, lake=self.lake)

    def gate(self, auc: float = 0.7, epoch: int = 1, **more):
        key = f"e{epoch}.json"
        self.lake.put(key, evaluation(auc, **more).model_dump_json().encode())
        return gate_run(GateRequest(model="boats", epoch=epoch, evaluation=key, now=NOW), ledger=self.ledger, lake=self.lake)

    def register(self, epoch: int = 1):
        request = RegisterRequest(
            model="boats", epoch=epoch, evaluation=f"e{epoch}.json", model_data="s3://lake/m.tar.gz", image="repo@sha256:1", now=NOW
        )
        return register_run(request, "test", ledger=self.ledger, registry=self.registry, lake=self.lake, alerts=self.alerts)

    def finish(self, epoch: int = 1, outcome: str | None = "registered", failure: Failure | None = None, started_at: str = NOW):
        execution = self.workflow.execution(f"boats-{epoch:04d}")
        request = FinishRequest(
            model="boats", epoch=epoch, execution=execution, outcome=outcome, failure=failure, started_at=started_at, now=self.now
        )
        return finish_run(request, ledger=self.ledger, ticks=self.ticks)

    def registered(self, epoch: int = 1) -> None:
        self.upload(f"boats/data/{epoch}.csv", rows(10 + epoch))
        self.claim(epoch)
        self.prepare(epoch)
        assert self.assemble(epoch)["stop"] is False
        self.gate(epoch=epoch)
        self.register(epoch)
        self.finish(epoch)

    def release(self, version: int = 1, execution: str = "arn:release:1"):
        request = ReleaseRequest(group="test-boats", version=version, execution=execution, now=NOW)
        return release_claim(request, "test", 600, ledger=self.ledger, workflow=self.workflow, lake=self.lake)

    def ref(self, version: int = 1, execution: str = "arn:release:1") -> dict:
        return {"model": "boats", "version": version, "execution": execution, "now": NOW}
