"""forget: the right to erasure. What belongs to given keys is taken out of the model's data, and kept from coming back.

In this order, each step safe to repeat: keep the keys out, find what holds them, write that down, put redacted parts in place
of those that do, mark what was learned from them, delete for good. One that is interrupted is run again with the same keys.
"""

import hashlib
import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import polars as pl

from tidemill import keys
from tidemill.dataset import Dataset, PartRecord
from tidemill.erasure import RULE, ErasedPart, Erasure, Mentions, Suppressed, erasure_id, suppression, typed_keys
from tidemill.erasure_part import Redaction, Wanted, mentioned
from tidemill.errors import ErasureRefused, ObjectMissing
from tidemill.layout import packs
from tidemill.ports import Ledger, Models, Store
from tidemill.prepare.split import key_hashes
from tidemill.records import Lease, Run, Unreproducible, Upload
from tidemill.spec import ModelSpec, parse_spec

READERS = 8
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class ForgetRequest:
    """Whose data goes, on whose word, and when (UTC, ISO 8601)."""

    model: str
    keys: tuple[str, ...]
    actor: str
    now: str


def forget(request: ForgetRequest, *, ledger: Ledger, models: Models, landing: Store, lake: Store) -> Erasure:
    """Erase the keys; what was found and deleted comes back, without naming them.

    Raises ErasureRefused while a run is in progress or uploads wait for one, and when one began meanwhile: run it again afterwards.
    """
    lease = _idle(request.model, ledger)
    spec = _spec(request.model, models)
    erased = typed_keys(request.keys, spec)
    hashes = key_hashes(erased, spec.salt).to_list()
    own = Erasure(id=erasure_id(hashes, spec), model=spec.name, time=request.now, actor=request.actor, keys=len(hashes))
    for key_hash in hashes:
        ledger.suppress(suppression(key_hash, spec, own.id, request.now))
    wanted = Wanted(spec, Suppressed(ledger.suppressions(spec.name), spec.salt), erased, Mentions(map(str, erased)))
    work = _Forgetting(wanted, ledger, landing, lake)
    plan, others = work.planned(own), [other for other in work.unfinished() if other.id != own.id]
    blind = {part.id for other in others for part in other.parts}
    for erasure in (plan, *others):
        work.replace(erasure, blind)
    if _idle(request.model, ledger) != lease:
        raise ErasureRefused(f"{spec.name}: a run began meanwhile and may have read what is to go: run this again once it has ended")
    for erasure in others:
        work.finish(erasure, request)
    return work.finish(plan, request)


def _idle(model: str, ledger: Ledger) -> Lease:
    lease = ledger.lease(model)
    if lease.owner is not None:
        raise ErasureRefused(f"{model}: run {keys.run_id(lease.epoch)} is in progress: wait until it has ended, then run this again")
    if waiting := ledger.open_uploads(model):
        raise ErasureRefused(f"{model}: {len(waiting)} uploads wait for a run, the first is {waiting[0].key}: let it end, then run this again")
    return lease


def _spec(model: str, models: Models) -> ModelSpec:
    with zipfile.ZipFile(io.BytesIO(models.folder(models.entry(model)))) as archive:
        return parse_spec(archive.read("model.toml").decode(), f"models/{model}/model.toml")


class _Forgetting:
    """One pass over a model's data. Plans lie in the lake until they are done."""

    def __init__(self, wanted: Wanted, ledger: Ledger, landing: Store, lake: Store) -> None:
        self._wanted, self._model = wanted, wanted.spec.name
        self._ledger, self._landing, self._lake = ledger, landing, lake

    def planned(self, own: Erasure) -> Erasure:
        """What holds the keys, together with what an earlier attempt found, written down."""
        key = keys.erasure(self._model, own.id)
        known = Erasure.model_validate_json(self._lake.get(key)) if self._lake.exists(key) else own
        known = known.with_found(parts=self._parts())
        gone = {part.id for part in known.parts}
        holding, unsearched = self._landing_versions(gone)
        learned = self._learned(gone)
        found = known.model_copy(update={"unsearched": unsearched}).with_found(
            landing=holding,
            packs=[key for _, dataset in learned for key in _packs(dataset, gone)],
            datasets=[str(run.dataset) for run, _ in learned],
            packages=[run.package for run, _ in learned if run.package],
        )
        self._write(found)
        return found

    def unfinished(self) -> list[Erasure]:
        """Erasures of other keys that were interrupted."""
        names = sorted({key for key, _ in self._lake.list_versions(keys.erasures_prefix(self._model))})
        return [plan for plan in (Erasure.model_validate_json(self._lake.get(name)) for name in names) if not plan.done]

    def replace(self, erasure: Erasure, blind: set[str]) -> None:
        """Every upload that stands for a part that goes stands for its redacted copy."""
        users = defaultdict(list)
        for upload in self._ledger.uploads(self._model):
            if upload.state == "prepared":
                users[upload.part].append(upload)
        for part in erasure.parts:
            if users[part.id]:
                copy = self._redacted(part.id, blind=part.id in blind)
                for upload in users[part.id]:
                    self._note(upload, copy)
                    self._ledger.replace_part(upload, copy.id)

    def finish(self, erasure: Erasure, request: ForgetRequest) -> Erasure:
        """Mark what was learned from the parts, delete, and put it on the record."""
        for dataset in erasure.datasets:
            self._ledger.mark_unreproducible(Unreproducible(model=self._model, dataset=dataset, erasure=erasure.id, time=request.now))
        self._landing.delete_versions(list(erasure.landing))
        for prefix in (*self._folders(erasure), *erasure.packs, keys.QUERY_RESULTS):
            self._lake.delete_versions(self._lake.list_versions(prefix))
        self._log(erasure, request)
        done = erasure.model_copy(update={"done": True})
        self._write(done)
        return done

    # finding

    def _parts(self) -> tuple[ErasedPart, ...]:
        """Every part in the lake that holds a key, whether an upload stands for it or not."""
        files: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for prefix in (keys.rows_prefix(self._model), keys.rejects_prefix(self._model)):
            for key, version in self._lake.list_versions(prefix):
                files[key.removeprefix(prefix).partition("/")[0]].append((key, version))
        looked = _all(lambda part: self._look(part, files[part]), sorted(files))
        return tuple(part for part in looked if part.rows or part.rejects)

    def _look(self, part: str, files: list[tuple[str, str]]) -> ErasedPart:
        rows = rejects = 0
        for key, version in files:
            try:
                frame = pl.read_parquet(self._lake.get(key, version))
            except ObjectMissing:  # the marker of a deletion
                continue
            if key.startswith(keys.rejects_prefix(self._model)):
                rejects += int(self._wanted.in_rejects(frame).sum())
            else:
                rows += int(self._wanted.in_rows(frame).sum())
        return ErasedPart(id=part, rows=rows, rejects=rejects)

    def _landing_versions(self, holding: set[str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        """Versions of uploads that hold a key, and objects that could not be looked into.

        A prepared upload is known by its part; what was refused, or never looked at, is searched as text.
        """
        uploads = self._ledger.uploads(self._model)
        known = {(upload.key, upload.version_id): upload for upload in uploads if upload.state == "prepared" and upload.part}
        tainted = dict(zip(parts := sorted({str(u.part) for u in known.values()}), _all(self._tainted, parts), strict=True))
        versions = self._landing.list_versions(f"{self._model}/")

        def held(at: tuple[str, str]) -> bool | None:
            if at in known:
                return known[at].part in holding or tainted[str(known[at].part)]
            try:
                return mentioned(at[0], self._landing.get(*at), self._wanted)
            except ObjectMissing:
                return False

        answers = list(zip(versions, _all(held, versions), strict=True))
        return tuple(at for at, answer in answers if answer), tuple(sorted({key for (key, _), answer in answers if answer is None}))

    def _tainted(self, part: str) -> bool:
        """Whether the file behind a part held an erased key: the part is a redacted copy, or prepare kept a key out of it."""
        try:
            record = self._record(part)
        except ObjectMissing:
            return False
        return record.redacted_from is not None or any(rule.endswith(RULE) for rule in record.rejects_by_rule)

    def _learned(self, gone: set[str]) -> list[tuple[Run, Dataset]]:
        """The runs whose dataset lists a part that goes."""
        runs = [run for run in self._ledger.runs(self._model) if run.dataset]
        manifests = (self._lake.get(keys.dataset_manifest(self._model, str(run.dataset))) for run in runs)
        read = ((run, Dataset.model_validate_json(manifest)) for run, manifest in zip(runs, manifests, strict=True))
        return [(run, dataset) for run, dataset in read if any(part.id in gone for part in dataset.parts)]

    # replacing

    def _redacted(self, old: str, *, blind: bool) -> PartRecord:
        """Write the copy, its record last. One that is there already is kept."""
        work = Redaction(self._record(old), self._wanted, blind)
        if self._lake.exists(keys.part_record(self._model, work.id)):
            return self._record(work.id)
        for file in work.old.files:
            if content := work.rows(file.name, self._lake.get(keys.part_file(self._model, old, file.name))):
                self._lake.put(keys.part_file(self._model, work.id, file.name), content)
        self._lake.put(keys.part_rejects(self._model, work.id), work.rejects(self._lake.get(keys.part_rejects(self._model, old))))
        self._lake.put(keys.part_profile(self._model, work.id), work.profile())
        self._lake.put(keys.part_record(self._model, work.id), work.record().model_dump_json(indent=1).encode())
        return self._record(work.id)

    def _record(self, part: str) -> PartRecord:
        return PartRecord.model_validate_json(self._lake.get(keys.part_record(self._model, part)))

    def _note(self, upload: Upload, copy: PartRecord) -> None:
        """The catalog's line names the copy too."""
        key = keys.upload_fact(self._model, upload.id)
        if self._lake.exists(key):
            fact = json.loads(self._lake.get(key)) | {"part": copy.id, "rows": copy.rows, "kept": copy.kept, "rejected": copy.rejected}
            self._lake.put(key, (json.dumps(fact) + "\n").encode())

    # finishing

    def _folders(self, erasure: Erasure) -> Iterable[str]:
        for part in erasure.parts:
            for prefix in (keys.rows_prefix(self._model), keys.rejects_prefix(self._model), keys.parts_prefix(self._model)):
                yield f"{prefix}{part.id}/"

    def _log(self, erasure: Erasure, request: ForgetRequest) -> None:
        """Once for what was found: a repetition that finds no more is no decision."""
        found = hashlib.sha256(erasure.model_copy(update={"done": False}).model_dump_json().encode()).hexdigest()
        if any(entry.inputs.get("found") == found for entry in self._ledger.decisions(self._model)):
            return
        models = ", ".join(erasure.packages) or "none"
        self._ledger.log(
            time=request.now, model=self._model, kind="erasure", subject=f"erasure {erasure.id}", actor=request.actor, decision="forget",
            reasons=(
                f"keys: {erasure.keys}", f"parts: {len(erasure.parts)}", f"uploads: {len(erasure.landing)}",
                f"datasets no longer reproducible: {len(erasure.datasets)}", f"models trained on them: {models}",
            ),
            inputs={"erasure": erasure.id, "found": found},
        )  # fmt: skip

    def _write(self, erasure: Erasure) -> None:
        self._lake.put(keys.erasure(self._model, erasure.id), erasure.model_dump_json(indent=1).encode())


def _packs(dataset: Dataset, gone: set[str]) -> list[str]:
    return [keys.pack_file(dataset.model, pack.split, pack.id) for pack in packs(dataset) if any(part in gone for part, _ in pack.files)]


def _all(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Reads wait for S3, so several at a time."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(function, items))
