"""exclude, include: a person takes an upload out of all later datasets, or back in. What was learned already stays learned."""

from tidemill.errors import RecordMissing
from tidemill.ports import Ledger
from tidemill.records import Exclusion, Upload


def exclude(model: str, key: str, reason: str, actor: str, now: str, *, ledger: Ledger) -> tuple[Upload, bool]:
    """The upload that is out now, and whether this call did it. A later version of the key is another upload: it comes in.

    Earlier versions were superseded before and stay so.
    """
    upload = newest_of(model, key, ledger.uploads(model))
    changed = ledger.exclude(Exclusion(model=model, upload=upload.id, key=upload.key, reason=reason, actor=actor, time=now))
    if changed:
        _log(upload, "exclude", reason, actor, now, ledger)
    return upload, changed


def include(model: str, key: str, reason: str, actor: str, now: str, *, ledger: Ledger) -> list[Exclusion]:
    """The exclusions of this key that are taken back, of every version of it. Raises RecordMissing when there is none."""
    known = {upload.id: upload for upload in ledger.uploads(model)}
    found = [each for each in ledger.exclusions(model) if _named(each.key, each.upload, key, model)]
    if not found:
        raise RecordMissing(f"{model}: no excluded upload '{key}': tidemill data list {model} names what is excluded")
    taken_back = [each for each in found if ledger.include(model, each.upload)]
    for each in taken_back:
        _log(known[each.upload], "include", reason, actor, now, ledger)
    return taken_back


def newest_of(model: str, key: str, uploads: list[Upload]) -> Upload:
    """The newest upload under a key: whole, without `<model>/data/`, or an upload's id. Raises RecordMissing."""
    found = [upload for upload in uploads if _named(upload.key, upload.id, key, model)]
    if not found:
        raise RecordMissing(f"{model}: no upload '{key}': give its key as in the landing bucket, with or without {model}/data/, or its id")
    return found[-1]


def _named(key: str, upload_id: str, given: str, model: str) -> bool:
    return given in (key, key.removeprefix(f"{model}/data/"), upload_id)


def _log(upload: Upload, decision: str, reason: str, actor: str, now: str, ledger: Ledger) -> None:
    ledger.log(
        time=now, model=upload.model, kind="upload", subject=upload.key, actor=actor, decision=decision,
        reasons=(reason,) if reason else (), inputs={"upload": upload.id},
    )  # fmt: skip
