"""Where data came from and what became of it: upload → part → dataset → run → package. Reads the record, writes nothing."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tidemill import keys
from tidemill.dataset import Dataset, DatasetPart, DatasetSummary
from tidemill.errors import ObjectMissing, RecordMissing
from tidemill.ports import Ledger, Store
from tidemill.records import Run, Unreproducible, Upload

READERS = 10
RUN = re.compile(r"(?:run )?(\d{1,6})")


@dataclass(frozen=True)
class Learned:
    """A run that has a dataset; `summary` is None for one whose summary is gone, `erased` the mark of one that cannot be read any more."""

    run: Run
    summary: DatasetSummary | None
    erased: Unreproducible | None = None


@dataclass(frozen=True)
class Changed:
    """What differs between two datasets, older first. Parts with the keys of their uploads."""

    before: Dataset
    after: Dataset
    added: tuple[DatasetPart, ...]
    removed: tuple[DatasetPart, ...]


@dataclass(frozen=True)
class Lineage:
    """One thread of the record: the uploads, the parts they gave, and the runs whose datasets hold one of these parts."""

    subject: str
    uploads: tuple[Upload, ...]
    parts: tuple[str, ...]
    runs: tuple[Run, ...]


def learned(model: str, limit: int, *, ledger: Ledger, lake: Store) -> list[Learned]:
    """The runs that have a dataset, newest first."""
    runs = _with_dataset(model, ledger)[:limit]
    marks = {mark.dataset: mark for mark in ledger.unreproducible(model)}
    with ThreadPoolExecutor(READERS) as pool:
        summaries = pool.map(lambda run: _summary(run, lake), runs)
        return [Learned(run, summary, marks.get(str(run.dataset))) for run, summary in zip(runs, summaries, strict=True)]


def erased(run: Run, *, ledger: Ledger) -> Unreproducible | None:
    """The mark of a run's dataset that an erasure took rows out of."""
    return next((mark for mark in ledger.unreproducible(run.model) if mark.dataset == run.dataset), None)


def find_run(model: str, reference: str, *, ledger: Ledger) -> Run:
    """The newest run of a dataset: by the dataset's id or its start (4 characters at least), the run's number, or `latest`.

    Raises RecordMissing.
    """
    runs = _with_dataset(model, ledger)
    number = RUN.fullmatch(reference)
    for run in runs:
        if reference == "latest" or (number and run.epoch == int(number[1])) or run.dataset == reference:
            return run
    found = [run for run in runs if len(reference) >= 4 and str(run.dataset).startswith(reference)]
    if len({run.dataset for run in found}) > 1:
        raise RecordMissing(f"{model}: '{reference}' begins the ids of several datasets: give more of it")
    if not found:
        raise RecordMissing(f"{model}: no dataset '{reference}': give its id, a run's number, or latest; tidemill data list {model} names them")
    return found[0]


def dataset_of(run: Run, *, lake: Store) -> Dataset:
    return Dataset.model_validate_json(lake.get(keys.dataset_manifest(run.model, str(run.dataset))))


def compare(before: Dataset, after: Dataset) -> Changed:
    ours, theirs = ({part.id for part in dataset.parts} for dataset in (before, after))
    added = tuple(part for part in after.parts if part.id not in ours)
    return Changed(before, after, added, tuple(part for part in before.parts if part.id not in theirs))


def lineage(model: str, reference: str, *, ledger: Ledger, lake: Store) -> Lineage:
    """Of an upload (its key), a dataset (as `find_run` takes it) or a part (its id or the start of it). Raises RecordMissing."""
    uploads = ledger.uploads(model)
    named = [upload for upload in uploads if reference in (upload.key, upload.key.removeprefix(f"{model}/data/"), upload.id)]
    if named:
        parts = {upload.part for upload in named if upload.part is not None}
        return Lineage(f"upload {named[-1].key}", tuple(named), tuple(sorted(parts)), _users(model, parts, ledger, lake))
    part = next((u.part for u in uploads if u.part is not None and len(reference) >= 4 and u.part.startswith(reference)), None)
    if part is not None:
        return Lineage(f"part {part}", _givers({part}, uploads), (part,), _users(model, {part}, ledger, lake))
    try:
        run = find_run(model, reference, ledger=ledger)
    except RecordMissing as error:
        raise RecordMissing(f"{model}: '{reference}' is no upload's key and no part's id; nor a dataset: {error}") from error
    held = tuple(part.id for part in dataset_of(run, lake=lake).parts)
    runs = tuple(other for other in _with_dataset(model, ledger) if other.dataset == run.dataset)
    return Lineage(f"dataset {run.dataset}", _givers(set(held), uploads), held, runs)


def keys_of(uploads: list[Upload]) -> dict[str, str]:
    """Part → key of the newest upload that gave it. A part whose uploads were prepared again since is not among them."""
    return {upload.part: upload.key for upload in uploads if upload.part is not None}


def _givers(parts: set[str], uploads: list[Upload]) -> tuple[Upload, ...]:
    return tuple(upload for upload in uploads if upload.part in parts)


def _users(model: str, parts: set[str], ledger: Ledger, lake: Store) -> tuple[Run, ...]:
    """The runs, newest first, whose dataset holds one of the parts; every manifest is read once."""
    runs = _with_dataset(model, ledger)
    datasets = {str(run.dataset): run for run in runs}
    with ThreadPoolExecutor(READERS) as pool:
        holds = dict(zip(datasets, pool.map(lambda run: _holds(run, parts, lake), datasets.values()), strict=True))
    return tuple(run for run in runs if holds[str(run.dataset)])


def _holds(run: Run, parts: set[str], lake: Store) -> bool:
    return any(part.id in parts for part in dataset_of(run, lake=lake).parts)


def _with_dataset(model: str, ledger: Ledger) -> list[Run]:
    return [run for run in reversed(ledger.runs(model)) if run.dataset is not None]


def _summary(run: Run, lake: Store) -> DatasetSummary | None:
    try:
        return DatasetSummary.model_validate_json(lake.get(keys.dataset_summary(run.model, str(run.dataset))))
    except ObjectMissing:
        return None
