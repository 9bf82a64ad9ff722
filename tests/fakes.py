"""Ports in memory. The ledger passes the same contract test as the one on DynamoDB."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tidemill.errors import AlreadyRunning, ObjectMissing, RecordMissing, Superseded, UnknownModel
from tidemill.ports import ModelEntry
from tidemill.records import (
    Champion,
    DecisionEntry,
    Exclusion,
    Execution,
    Lease,
    Package,
    Release,
    Run,
    Suppression,
    Unreproducible,
    Upload,
    Waiting,
    Waiver,
    chained,
)


class MemoryLedger:
    def __init__(self) -> None:
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._exclusions: dict[tuple[str, str], Exclusion] = {}
        self._leases: dict[str, Lease] = {}
        self._rules: dict[str, str] = {}
        self._runs: dict[tuple[str, int], Run] = {}
        self._waivers: dict[tuple[str, str], Waiver] = {}
        self._packages: dict[tuple[str, int], Package] = {}
        self._champions: dict[str, Champion] = {}
        self._releases: dict[tuple[str, int], Release] = {}
        self._locks: dict[str, str] = {}
        self._decisions: list[DecisionEntry] = []
        self._suppressions: dict[tuple[str, str], Suppression] = {}
        self._unreproducible: dict[tuple[str, str], Unreproducible] = {}

    def add_upload(self, upload: Upload) -> bool:
        return self._uploads.setdefault((upload.model, upload.id), upload) is upload

    def upload(self, model: str, upload_id: str) -> Upload:
        return self._required(self._uploads, (model, upload_id))

    def uploads(self, model: str) -> list[Upload]:
        return sorted((u for (m, _), u in self._uploads.items() if m == model), key=lambda u: u.order)

    def open_uploads(self, model: str) -> list[Upload]:
        return [upload for upload in self.uploads(model) if upload.open]

    def waiting(self, model: str) -> Waiting | None:
        times = [upload.received_at for upload in self.open_uploads(model)]
        return Waiting(first=times[0], last=times[-1]) if times else None

    def claim_upload(self, upload: Upload, epoch: int) -> bool:
        known = self._uploads[upload.model, upload.id]
        free = known.state == "pending" or (known.state == "claimed" and known.epoch <= epoch)
        return free and self._holds(upload.model, epoch) and self._keep(upload.model_copy(update={"state": "claimed", "epoch": epoch}))

    def finish_upload(self, upload: Upload, epoch: int) -> None:
        if self._uploads[upload.model, upload.id].epoch != epoch:
            raise Superseded(upload.id)
        self._fence(upload.model, epoch)
        self._keep(upload)

    def give_back(self, upload: Upload, epoch: int) -> bool:
        known = self._uploads[upload.model, upload.id]
        return known.state == "claimed" and known.epoch == epoch and self._keep(upload)

    def reopen(self, upload: Upload, epoch: int | None = None) -> bool:
        settled = self._uploads[upload.model, upload.id].state in ("prepared", "refused", "parked")
        return settled and (epoch is None or self._holds(upload.model, epoch)) and self._keep(upload.reopened())

    def rules(self, model: str) -> str | None:
        return self._rules.get(model)

    def set_rules(self, model: str, rules: str, epoch: int) -> None:
        self._fence(model, epoch)
        self._rules[model] = rules

    def exclude(self, exclusion: Exclusion) -> bool:
        return self._exclusions.setdefault((exclusion.model, exclusion.upload), exclusion) is exclusion

    def include(self, model: str, upload_id: str) -> bool:
        return self._exclusions.pop((model, upload_id), None) is not None

    def exclusions(self, model: str) -> list[Exclusion]:
        return [exclusion for (m, _), exclusion in sorted(self._exclusions.items()) if m == model]

    def lease(self, model: str) -> Lease:
        return self._leases.get(model, Lease())

    def acquire(self, model: str, epoch: int, owner: str) -> None:
        lease = self.lease(model)
        if lease not in (Lease(epoch=epoch - 1), Lease(epoch=epoch, owner=owner)):
            raise Superseded(f"{lease}")
        self._leases[model] = Lease(epoch=epoch, owner=owner)

    def release_lease(self, model: str, epoch: int, owner: str) -> None:
        if self.lease(model) == Lease(epoch=epoch, owner=owner):
            self._leases[model] = Lease(epoch=epoch)

    def put_run(self, run: Run) -> None:
        self._fence(run.model, run.epoch)
        if (run.model, run.epoch) in self._runs and self._runs[run.model, run.epoch].outcome is not None:
            raise Superseded(f"{run.model}: run {run.epoch} is over")
        self._runs[run.model, run.epoch] = run

    def run(self, model: str, epoch: int) -> Run:
        return self._required(self._runs, (model, epoch))

    def runs(self, model: str) -> list[Run]:
        return [run for (m, _), run in sorted(self._runs.items()) if m == model]

    def waive(self, waiver: Waiver) -> bool:
        return self._waivers.setdefault((waiver.model, waiver.package), waiver) is waiver

    def waiver(self, model: str, package: str) -> Waiver | None:
        return self._waivers.get((model, package))

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

    def suppress(self, suppression: Suppression) -> bool:
        return self._suppressions.setdefault((suppression.model, suppression.digest), suppression) is suppression

    def suppressions(self, model: str) -> list[Suppression]:
        return [suppression for (m, _), suppression in sorted(self._suppressions.items()) if m == model]

    def replace_part(self, upload: Upload, part: str) -> bool:
        known = self._uploads[upload.model, upload.id]
        if (known.state, known.part) != ("prepared", upload.part):
            return False
        self._uploads[upload.model, upload.id] = upload.model_copy(update={"part": part})
        return True

    def mark_unreproducible(self, mark: Unreproducible) -> bool:
        return self._unreproducible.setdefault((mark.model, mark.dataset), mark) is mark

    def unreproducible(self, model: str) -> list[Unreproducible]:
        return [mark for (m, _), mark in sorted(self._unreproducible.items()) if m == model]

    def log(self, **fields: Any) -> DecisionEntry:
        before = self.decisions(fields["model"])
        entry = chained(before[-1] if before else None, **fields)
        self._decisions.append(entry)
        return entry

    def decisions(self, model: str) -> list[DecisionEntry]:
        return [entry for entry in self._decisions if entry.model == model]

    def _keep(self, upload: Upload) -> bool:
        self._uploads[upload.model, upload.id] = upload
        return True

    def _holds(self, model: str, epoch: int) -> bool:
        lease = self.lease(model)
        return lease.epoch == epoch and lease.owner is not None

    def _fence(self, model: str, epoch: int) -> None:
        if not self._holds(model, epoch):
            raise Superseded(f"{model}: epoch {epoch} is over")

    @staticmethod
    def _required(items: dict, key: tuple) -> Any:
        if key not in items:
            raise RecordMissing(str(key))
        return items[key]


@dataclass
class MemoryStore:
    objects: dict[str, bytes] = field(default_factory=dict)
    versions: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def get(self, key: str, version_id: str | None = None) -> bytes:
        if key not in self.objects:
            raise ObjectMissing(f"s3://lake/{key}: NoSuchKey")
        return self.versions.get((key, str(version_id)), self.objects[key])

    def put_version(self, key: str, version_id: str, data: bytes) -> None:
        self.versions[key, version_id] = self.objects[key] = data

    def open(self, key: str, version_id: str | None = None) -> BinaryIO:
        return io.BytesIO(self.get(key, version_id))

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data

    def put_file(self, key: str, path: Path) -> None:
        self.put(key, path.read_bytes())

    def exists(self, key: str) -> bool:
        return key in self.objects

    def list_versions(self, prefix: str) -> list[tuple[str, str]]:
        return [(key, "null") for key in sorted(self.objects) if key.startswith(prefix)]

    def delete_versions(self, versions: list[tuple[str, str]]) -> None:
        for key, _ in versions:
            self.objects.pop(key, None)

    def uri(self, key: str) -> str:
        return f"s3://lake/{key}"


@dataclass
class MemoryModels:
    entries: dict[str, ModelEntry]
    folders: dict[str, bytes] = field(default_factory=dict)

    def names(self) -> list[str]:
        return list(self.entries)

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
    """Executions by ARN, True while they run; those that do not have failed. A name is used once."""

    executions: dict[str, bool] = field(default_factory=dict)

    def start(self, name: str, payload: dict[str, Any]) -> str:
        if self.execution(name) in self.executions:
            raise AlreadyRunning(name)
        self.executions[self.execution(name)] = True
        return self.execution(name)

    def running(self, execution: str) -> bool:
        return self.executions.get(execution, False)

    def look(self, execution: str) -> Execution | None:
        if execution not in self.executions:
            return None
        return Execution(arn=execution, status="RUNNING" if self.executions[execution] else "ABORTED")

    def execution(self, name: str) -> str:
        return f"arn:aws:states:us-east-1:123456789012:execution:training:{name}"


@dataclass
class MemoryRegistry:
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, tuple[str, int]] = field(default_factory=dict)

    def create(self, group: str, token: str, package: dict[str, Any]) -> tuple[str, int]:
        if token not in self.tokens:
            version = 1 + len(self.packages)
            self.tokens[token] = (f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{group}/{version}", version)
            self.packages[f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{group}/{version}"] = package | {"status": "PendingManualApproval"}
        return self.tokens[token]

    def approve(self, arn: str, reason: str) -> None:
        self.packages[arn] |= {"status": "Approved", "reason": reason}

    def reject(self, arn: str, reason: str) -> None:
        self.packages.setdefault(arn, {}).update(status="Rejected", reason=reason)


@dataclass
class MemoryAlerts:
    told: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, subject: str, text: str) -> None:
        self.told.append((subject, text))


@dataclass
class MemoryEndpoints:
    answers: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)

    def invoke(self, endpoint: str, body: bytes) -> tuple[dict[str, Any], str]:
        return self.answers[endpoint]

    def delete(self, endpoint: str) -> None:
        self.deleted.append(endpoint)
