"""replay: after a fix of spec or file, settled uploads are pending again, on record, and the model gets a tick."""

from dataclasses import dataclass

from tidemill import keys
from tidemill.dataset import PartRecord
from tidemill.errors import RecordMissing
from tidemill.ports import Ledger, Store, Ticks
from tidemill.records import Upload, UploadState

FAILED: tuple[UploadState, ...] = ("refused", "parked")


@dataclass(frozen=True)
class Choice:
    """Which uploads: in these states, of this key only, with rejected rows only."""

    states: tuple[UploadState, ...] = FAILED
    key: str | None = None
    rejects: bool = False


def replay(model: str, choice: Choice, now: str, actor: str, *, ledger: Ledger, lake: Store, ticks: Ticks) -> list[Upload]:
    """The uploads that are pending again, with no attempts counted. One that a run has is left to it.

    Of a key only the newest settled version is replayed: what it was overwritten with is what its owner means.
    Raises RecordMissing when there is none to replay.
    """
    chosen = [upload for upload in _newest(ledger.uploads(model)) if _fits(upload, choice, lake)]
    if not chosen:
        raise RecordMissing(f"{model}: no upload to replay: {_told(choice)}")
    again = [upload for upload in chosen if ledger.reopen(upload)]
    for upload in again:
        ledger.log(
            time=now, model=model, kind="upload", subject=upload.key, actor=actor, decision="replay",
            reasons=(f"was {upload.state}{f': {upload.reason}' if upload.reason else ''}",), inputs={"upload": upload.id},
        )  # fmt: skip
    ticks.send(model, 0)
    return again


def _newest(uploads: list[Upload]) -> list[Upload]:
    settled = sorted((upload for upload in uploads if not upload.open), key=lambda upload: upload.version_order)
    return sorted({upload.key: upload for upload in settled}.values(), key=lambda upload: upload.order)


def _fits(upload: Upload, choice: Choice, lake: Store) -> bool:
    if upload.state not in choice.states or choice.key not in (None, upload.key):
        return False
    return not choice.rejects or _rejected(upload, lake) > 0


def _rejected(upload: Upload, lake: Store) -> int:
    return PartRecord.model_validate_json(lake.get(keys.part_record(upload.model, str(upload.part)))).rejected


def _told(choice: Choice) -> str:
    of = f" of {choice.key}" if choice.key else ""
    return f"none{of} is {' or '.join(choice.states)}{' with rejected rows' if choice.rejects else ''}"
