"""Ports in memory. The ledger passes the same contract test as the one on DynamoDB."""

from dataclasses import dataclass, field
from typing import Any

from tidemill.errors import AlreadyRunning, ObjectMissing, RecordMissing, Superseded, UnknownModel
from tidemill.ports import ModelEntry
from tidemill.records import Champion, DecisionEntry, Lease, Package, Release, Run, Upload, chained


class MemoryLedger:
    def __init__(self) -> None:
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._leases: dict[str, Lease] = {}
        self._runs: dict[tuple[str, int], Run] = {}
        self._packages: dict[tuple[str, int], Package] = {}
        self._champions: dict[str, Champion] = {}
        self._releases: dict[tuple[str, int], Release] = {}
        self._locks: dict[str, str] = {}
        self._decisions: list[DecisionEntry] = []

    def add_upload(self, upload: Upload) -> bool:
        return self._uploads.setdefault((upload.model, upload.id), upload) is upload

    def uploads(self, model: str) -> list[Upload]:
        return sorted((u for (m, _), u in self._uploads.items() if m == model), key=lambda u: u.order)

    def claim_upload(self, upload: Upload, epoch: int) -> bool:
        known = self._uploads[upload.model, upload.id]
        free = known.state == "pending" or (known.state == "claimed" and known.epoch <= epoch) or (known.state == "prepared" and known.epoch < epoch)
        if not free or self.lease(upload.model).epoch != epoch:
            return False
        self._uploads[upload.model, upload.id] = upload.model_copy(update={"state": "claimed", "epoch": epoch})
        return True

    def finish_upload(self, upload: Upload, epoch: int) -> None:
        if self._uploads[upload.model, upload.id].epoch != epoch:
            raise Superseded(upload.id)
        self._fence(upload.model, epoch)
        self._uploads[upload.model, upload.id] = upload

    def lease(self, model: str) -> Lease:
        return self._leases.get(model, Lease())

    def acquire(self, model: str, epoch: int, owner: str) -> None:
        lease = self.lease(model)
        if lease not in (Lease(epoch=epoch - 1), Lease(epoch=epoch, owner=owner)):
            raise Superseded(f"{lease}")
        self._leases[model] = Lease(epoch=epoch, owner=owner)

    def skip_epoch(self, model: str, epoch: int) -> None:
        if self.lease(model) == Lease(epoch=epoch - 1):
            self._leases[model] = Lease(epoch=epoch)

    def release_lease(self, model: str, epoch: int, owner: str) -> None:
        if self.lease(model) == Lease(epoch=epoch, owner=owner):
            self._leases[model] = Lease(epoch=epoch)

    def put_run(self, run: Run) -> None:
        self._fence(run.model, run.epoch)
        self._runs[run.model, run.epoch] = run

    def run(self, model: str, epoch: int) -> Run:
        return self._required(self._runs, (model, epoch))

    def runs(self, model: str) -> list[Run]:
        return [run for (m, _), run in sorted(self._runs.items()) if m == model]

    def put_package(self, package: Package) -> None:
        self._fence(package.model, package.run)
        self._packages[package.model, package.version] = package

    def package(self, model: str, version: int) -> Package:
        return self._required(self._packages, (model, version))

    def champion(self, model: str) -> Champion | None:
        return self._champions.get(model)

    def set_champion(self, model: str, champion: Champion, replaces: Champion | None) -> None:
        known = self._champions.get(model)
        if known is not None and known.version not in {champion.version, replaces.version if replaces else champion.version}:
            raise Superseded(model)
        self._champions[model] = champion

    def claim_release(self, model: str, version: int, release: Release) -> None:
        known = self._releases.get((model, version))
        if known is not None and known.execution != release.execution:
            raise Superseded(f"{model}/{version}")
        self._releases[model, version] = release

    def finish_release(self, model: str, version: int, release: Release) -> None:
        if self.release(model, version).execution != release.execution:
            raise Superseded(f"{model}/{version}")
        self._releases[model, version] = release

    def release(self, model: str, version: int) -> Release:
        return self._required(self._releases, (model, version))

    def release_lock(self, model: str) -> str | None:
        return self._locks.get(model)

    def lock_release(self, model: str, owner: str, instead_of: str | None) -> bool:
        if self._locks.get(model, owner) not in (owner, instead_of):
            return False
        self._locks[model] = owner
        return True

    def unlock_release(self, model: str, owner: str) -> None:
        if self._locks.get(model) == owner:
            del self._locks[model]

    def log(self, **fields: Any) -> DecisionEntry:
        before = self.decisions(fields["model"])
        entry = chained(before[-1] if before else None, **fields)
        self._decisions.append(entry)
        return entry

    def decisions(self, model: str) -> list[DecisionEntry]:
        return [entry for entry in self._decisions if entry.model == model]

    def _fence(self, model: str, epoch: int) -> None:
        if self.lease(model).epoch != epoch:
            raise Superseded(f"{model}: epoch {epoch} is over")

    @staticmethod
    def _required(items: dict, key: tuple) -> Any:
        if key not in items:
            raise RecordMissing(str(key))
        return items[key]


@dataclass
class MemoryStore:
    objects: dict[str, bytes] = field(default_factory=dict)

    def get(self, key: str, version_id: str | None = None) -> bytes:
        if key not in self.objects:
            raise ObjectMissing(f"s3://lake/{key}: NoSuchKey")
        return self.objects[key]

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def exists(self, key: str) -> bool:
        return key in self.objects

    def uri(self, key: str) -> str:
        return f"s3://lake/{key}"


@dataclass
class MemoryModels:
    entries: dict[str, ModelEntry]
    folders: dict[str, bytes] = field(default_factory=dict)

    def entry(self, model: str) -> ModelEntry:
        if model not in self.entries:
            raise UnknownModel(f"model '{model}' is not deployed in stage 'test'")
        return self.entries[model]

    def folder(self, entry: ModelEntry) -> bytes:
        return self.folders[entry.uri]


@dataclass
class MemoryTicks:
    sent: list[tuple[str, float]] = field(default_factory=list)

    def send(self, model: str, delay_s: float) -> None:
        self.sent.append((model, delay_s))


@dataclass
class MemoryWorkflow:
    """Executions by ARN, True while they run. A name is used once."""

    executions: dict[str, bool] = field(default_factory=dict)

    def start(self, name: str, payload: dict[str, Any]) -> str:
        if self.execution(name) in self.executions:
            raise AlreadyRunning(name)
        self.executions[self.execution(name)] = True
        return self.execution(name)

    def running(self, execution: str) -> bool:
        return self.executions.get(execution, False)

    def execution(self, name: str) -> str:
        return f"arn:aws:states:us-east-1:123456789012:execution:training:{name}"


@dataclass
class MemoryRegistry:
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, tuple[str, int]] = field(default_factory=dict)

    def create(self, group: str, token: str, package: dict[str, Any]) -> tuple[str, int]:
        if token not in self.tokens:
            version = 1 + len(self.packages)
            self.tokens[token] = (f"arn:{group}/{version}", version)
            self.packages[f"arn:{group}/{version}"] = package | {"status": "PendingManualApproval"}
        return self.tokens[token]

    def approve(self, arn: str, reason: str) -> None:
        self.packages[arn] |= {"status": "Approved", "reason": reason}

    def reject(self, arn: str, reason: str) -> None:
        self.packages.setdefault(arn, {}).update(status="Rejected", reason=reason)


@dataclass
class MemoryEndpoints:
    answers: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def invoke(self, endpoint: str, body: bytes) -> tuple[dict[str, Any], str]:
        return self.answers[endpoint]

    def delete(self, endpoint: str) -> None:
        self.deleted.append(endpoint)
