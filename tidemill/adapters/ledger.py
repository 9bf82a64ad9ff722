"""The ledger on one DynamoDB table: partition key `model`, sort key `item`.

Items: LEASE · RULES · UPLOAD#<id> · OPEN#<received>#<id> · EXCLUSION#<upload id> · RUN#<epoch> · PACKAGE#<version> · CHAMPION ·
RELEASE#<version> · RELEASE_LOCK · SUPPRESSION#<digest of a key> · UNREPRODUCIBLE#<dataset> · DECISION#<seq>, and the head of the decision
chain, DECISIONS. OPEN# marks an upload that is not settled yet: what asks for those reads nothing of the others, however many there are.
"""

import random
import time
from typing import Any, TypeVar

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import BaseModel

from tidemill.adapters.errors import translated
from tidemill.adapters.items import plain, stored
from tidemill.errors import RecordMissing, ServiceUnavailable, Superseded
from tidemill.records import (
    Champion,
    DecisionEntry,
    Exclusion,
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

LEASE, RULES, CHAMPION, RELEASE_LOCK, DECISIONS = "LEASE", "RULES", "CHAMPION", "RELEASE_LOCK", "DECISIONS"
BATCH = 100
"""Items that one BatchGetItem may ask for."""
CHAIN_ATTEMPTS = 20
CONFLICT_ATTEMPTS = 7
STATE = {"#state": "state"}
CONFLICTS = {"TransactionConflict", "TransactionConflictException"}
R = TypeVar("R", bound=BaseModel)


class DynamoLedger:
    """`tidemill.ports.Ledger` on DynamoDB."""

    def __init__(self, table: str, client: Any = None) -> None:
        self._table = table
        self._client = client or boto3.client("dynamodb")
        self._serialize = TypeSerializer().serialize
        self._deserialize = TypeDeserializer().deserialize

    # uploads

    def add_upload(self, upload: Upload) -> bool:
        """Record an upload once; False when it was there already."""
        put = self._put(upload.model, _upload(upload), _dump(upload), "attribute_not_exists(#item)")
        return self._try(put, self._mark(upload)) if upload.open else self._try(put)

    def upload(self, model: str, upload_id: str) -> Upload:
        return _load(Upload, self._required(model, f"UPLOAD#{upload_id}"))

    def uploads(self, model: str) -> list[Upload]:
        """Every upload of the model, oldest first; a consistent read."""
        return sorted((_load(Upload, item) for item in self._query(model, "UPLOAD#")), key=lambda upload: upload.order)

    def open_uploads(self, model: str) -> list[Upload]:
        """The uploads that a run still has to settle, oldest first; a consistent read."""
        names = [f"UPLOAD#{marker['upload']}" for marker in self._query(model, "OPEN#")]
        found = (_load(Upload, item) for start in range(0, len(names), BATCH) for item in self._get_many(model, names[start : start + BATCH]))
        return sorted((upload for upload in found if upload.open), key=lambda upload: upload.order)

    def waiting(self, model: str) -> Waiting | None:
        """The first and the last open upload's time, at the price of two items however many are open."""
        first, last = self._query(model, "OPEN#", first=True), self._query(model, "OPEN#", first=True, backwards=True)
        return Waiting(first=first[0]["received_at"], last=last[0]["received_at"]) if first and last else None

    def claim_upload(self, upload: Upload, epoch: int) -> bool:
        """Take an upload that is pending, or was left claimed by an epoch that is over."""
        free, values = "#state = :pending OR (#state = :claimed AND epoch <= :epoch)", {":pending": "pending", ":claimed": "claimed", ":epoch": epoch}
        claimed = upload.model_copy(update={"state": "claimed", "epoch": epoch})
        return self._try(self._held(upload.model, epoch), self._put(upload.model, _upload(upload), _dump(claimed), free, values, STATE))

    def finish_upload(self, upload: Upload, epoch: int) -> None:
        """Write `prepared` or `refused` for an upload this epoch claimed."""
        put = self._put(upload.model, _upload(upload), _dump(upload), "epoch = :epoch", {":epoch": epoch})
        self._fenced(upload.model, epoch, put, self._unmark(upload))

    def give_back(self, upload: Upload, epoch: int) -> bool:
        """Write `pending` or `parked` for an upload that a run left claimed when it ended; False when it is no longer so."""
        left, values = "#state = :claimed AND epoch = :epoch", {":claimed": "claimed", ":epoch": epoch}
        put = self._put(upload.model, _upload(upload), _dump(upload), left, values, STATE)
        return self._try(put) if upload.open else self._try(put, self._unmark(upload))

    def reopen(self, upload: Upload, epoch: int | None = None) -> bool:
        """Make a settled upload pending again, as if it were new; by a run (fenced by its epoch) or by a person. False when it is open."""
        settled, values = "#state IN (:prepared, :refused, :parked)", {":prepared": "prepared", ":refused": "refused", ":parked": "parked"}
        again = upload.reopened()
        put = self._put(upload.model, _upload(upload), _dump(again), settled, values, STATE)
        held = [] if epoch is None else [self._held(upload.model, epoch)]
        return self._try(*held, put, self._mark(again))

    def rules(self, model: str) -> str | None:
        """The rules that every prepared upload was, or is being, prepared with."""
        item = self._get(model, RULES)
        return None if item is None else str(item["rules"])

    def set_rules(self, model: str, rules: str, epoch: int) -> None:
        self._fenced(model, epoch, self._put(model, RULES, {"rules": rules}))

    # exclusions

    def exclude(self, exclusion: Exclusion) -> bool:
        """Take an upload out of later datasets; False when it is out already."""
        put = self._put(exclusion.model, f"EXCLUSION#{exclusion.upload}", _dump(exclusion), "attribute_not_exists(#item)")
        return self._try(put)

    def include(self, model: str, upload_id: str) -> bool:
        """Take an exclusion back; False when there is none."""
        key = {"TableName": self._table, "Key": self._item({"model": model, "item": f"EXCLUSION#{upload_id}"})}
        return self._try({"Delete": key | {"ConditionExpression": "attribute_exists(#item)", "ExpressionAttributeNames": {"#item": "item"}}})

    def exclusions(self, model: str) -> list[Exclusion]:
        return [_load(Exclusion, item) for item in self._query(model, "EXCLUSION#")]

    # the lease

    def lease(self, model: str) -> Lease:
        item = self._get(model, LEASE)
        return _load(Lease, item) if item else Lease()

    def acquire(self, model: str, epoch: int, owner: str) -> None:
        """Become the owner of epoch `epoch`; calling again with the same owner is fine. Raises Superseded."""
        free, values = _idle_before(epoch)
        values |= {":epoch": epoch, ":owner": owner}
        body = {"epoch": epoch, "owner": owner}
        if not self._try(self._put(model, LEASE, body, f"{free} OR (epoch = :epoch AND #owner = :owner)", values, {"#owner": "owner"})):
            raise Superseded(f"{model}: epoch {epoch} cannot be claimed by {owner}, the lease is {self.lease(model)}")

    def release_lease(self, model: str, epoch: int, owner: str) -> None:
        """Make the model idle if this owner still holds it; a lost race is fine."""
        values = {":epoch": epoch, ":owner": owner}
        self._try(self._put(model, LEASE, {"epoch": epoch, "owner": None}, "epoch = :epoch AND #owner = :owner", values, {"#owner": "owner"}))

    # runs and packages

    def put_run(self, run: Run) -> None:
        """Write the run's record as it stands now; once it has its outcome it stays as it is. Raises Superseded."""
        open_, values = "attribute_not_exists(#item) OR attribute_type(outcome, :null)", {":null": "NULL"}
        self._fenced(run.model, run.epoch, self._put(run.model, f"RUN#{run.epoch:08d}", _dump(run), open_, values))

    def run(self, model: str, epoch: int) -> Run:
        return _load(Run, self._required(model, f"RUN#{epoch:08d}"))

    def runs(self, model: str) -> list[Run]:
        return [_load(Run, item) for item in self._query(model, "RUN#")]

    def put_package(self, package: Package) -> None:
        self._fenced(package.model, package.run, self._put(package.model, f"PACKAGE#{package.version:08d}", _dump(package)))

    def package(self, model: str, version: int) -> Package:
        return _load(Package, self._required(model, f"PACKAGE#{version:08d}"))

    def waive(self, waiver: Waiver) -> bool:
        """False when there is one already: the first word stays."""
        put = self._put(waiver.model, f"WAIVER#{waiver.package}", _dump(waiver), "attribute_not_exists(#item)")
        return self._try(put)

    def waiver(self, model: str, package: str) -> Waiver | None:
        item = self._get(model, f"WAIVER#{package}")
        return _load(Waiver, item) if item else None

    # champion and releases

    def champion(self, model: str) -> Champion | None:
        item = self._get(model, CHAMPION)
        return _load(Champion, item) if item else None

    def set_champion(self, model: str, champion: Champion, replaces: Champion | None) -> None:
        """Replace the champion if it is still `replaces`; setting the same one again is fine. Raises Superseded."""
        condition, values = "attribute_not_exists(#item) OR version = :same", {":same": champion.version}
        if replaces is not None:
            condition, values = "version = :old OR version = :same", values | {":old": replaces.version}
        if not self._try(self._put(model, CHAMPION, _dump(champion), condition, values)):
            raise Superseded(f"{model}: the champion is no longer {replaces.package if replaces else 'absent'}")

    def claim_release(self, model: str, version: int, release: Release) -> None:
        """Once a package; again by the same execution is fine. Raises Superseded."""
        condition = "attribute_not_exists(#item) OR #execution = :execution"
        put = self._put(model, f"RELEASE#{version:08d}", _dump(release), condition, {":execution": release.execution}, {"#execution": "execution"})
        if not self._try(put):
            raise Superseded(f"{model}/{version} was released, or is being released, by another execution")

    def finish_release(self, model: str, version: int, release: Release) -> None:
        condition, names = "#execution = :execution", {"#execution": "execution"}
        put = self._put(model, f"RELEASE#{version:08d}", _dump(release), condition, {":execution": release.execution}, names)
        if not self._try(put):
            raise Superseded(f"{model}/{version}: its release belongs to another execution")

    def release(self, model: str, version: int) -> Release:
        return _load(Release, self._required(model, f"RELEASE#{version:08d}"))

    def release_lock(self, model: str) -> str | None:
        item = self._get(model, RELEASE_LOCK)
        return None if item is None else str(item["owner"])

    def lock_release(self, model: str, owner: str, instead_of: str | None) -> bool:
        """One release of a model at a time; `instead_of` names a dead owner to take over from. False when it is held."""
        free, values = "attribute_not_exists(#item) OR #owner IN (:owner, :dead)", {":owner": owner, ":dead": instead_of or owner}
        return self._try(self._put(model, RELEASE_LOCK, {"owner": owner}, free, values, {"#owner": "owner"}))

    def unlock_release(self, model: str, owner: str) -> None:
        condition = {
            "ConditionExpression": "#owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": self._item({":owner": owner}),
        }
        self._try({"Delete": self._key(model, RELEASE_LOCK) | condition})

    # erasure

    def suppress(self, suppression: Suppression) -> bool:
        """Keep a key from coming back; False when it is kept out already."""
        return self._once(suppression.model, f"SUPPRESSION#{suppression.digest}", suppression)

    def suppressions(self, model: str) -> list[Suppression]:
        return [_load(Suppression, item) for item in self._query(model, "SUPPRESSION#")]

    def replace_part(self, upload: Upload, part: str) -> bool:
        """Let an upload stand for another part; False when it is no longer prepared as the part that the caller saw."""
        put = self._put(
            upload.model, f"UPLOAD#{upload.id}", _dump(upload.model_copy(update={"part": part})), "part = :seen AND #state = :prepared",
            {":seen": upload.part, ":prepared": "prepared"}, {"#state": "state"},
        )  # fmt: skip
        return self._try(put)

    def mark_unreproducible(self, mark: Unreproducible) -> bool:
        """Say that a dataset lost rows; False when that is known already."""
        return self._once(mark.model, f"UNREPRODUCIBLE#{mark.dataset}", mark)

    def unreproducible(self, model: str) -> list[Unreproducible]:
        return [_load(Unreproducible, item) for item in self._query(model, "UNREPRODUCIBLE#")]

    def _once(self, model: str, item: str, record: Suppression | Unreproducible) -> bool:
        return self._try(self._put(model, item, _dump(record), "attribute_not_exists(#item)"))

    # decisions

    def log(self, **fields: Any) -> DecisionEntry:
        """Append to the model's decision log. Writers that meet try again behind each other."""
        model = fields["model"]
        for _ in range(CHAIN_ATTEMPTS):
            head = self._get(model, DECISIONS)
            entry = chained(_load(DecisionEntry, head) if head else None, **fields)
            unmoved, values = ("attribute_not_exists(#item)", {}) if head is None else ("seq = :seq", {":seq": entry.seq - 1})
            move = self._put(model, DECISIONS, _dump(entry), unmoved, values)
            if self._try(move, self._put(model, f"DECISION#{entry.seq:08d}", _dump(entry), "attribute_not_exists(#item)")):
                return entry
        raise Superseded(f"{model}: the decision log moved {CHAIN_ATTEMPTS} times while appending")

    def decisions(self, model: str) -> list[DecisionEntry]:
        return [_load(DecisionEntry, item) for item in self._query(model, "DECISION#")]

    # DynamoDB

    def _item(self, values: dict[str, Any]) -> dict[str, Any]:
        return {name: self._serialize(stored(value)) for name, value in values.items()}

    def _put(
        self,
        model: str,
        item: str,
        body: dict[str, Any],
        condition: str = "",
        values: dict[str, Any] | None = None,
        names: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """A conditional Put of a transaction."""
        put: dict[str, Any] = {"TableName": self._table, "Item": self._item(body | {"model": model, "item": item})}
        if condition:
            put["ConditionExpression"] = condition
            used = (names or {}) | {"#item": "item"}
            put["ExpressionAttributeNames"] = {name: real for name, real in used.items() if name in condition}
            put["ExpressionAttributeValues"] = self._item(values or {})
            put = {name: value for name, value in put.items() if value != {}}
        return {"Put": put}

    def _key(self, model: str, item: str) -> dict[str, Any]:
        return {"TableName": self._table, "Key": self._item({"model": model, "item": item})}

    def _mark(self, upload: Upload) -> dict[str, Any]:
        return self._put(upload.model, _marker(upload), {"upload": upload.id, "received_at": upload.received_at})

    def _unmark(self, upload: Upload) -> dict[str, Any]:
        return {"Delete": self._key(upload.model, _marker(upload))}

    def _held(self, model: str, epoch: int) -> dict[str, Any]:
        """Somebody holds the lease for this epoch: an epoch has one owner, and none once it has ended."""
        condition, values = "epoch = :epoch AND attribute_type(#owner, :text)", {":epoch": epoch, ":text": "S"}
        check = {
            "ConditionExpression": condition,
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": self._item(values),
        }
        return {"ConditionCheck": self._key(model, LEASE) | check}

    def _fenced(self, model: str, epoch: int, *actions: dict[str, Any]) -> None:
        if not self._try(self._held(model, epoch), *actions):
            raise Superseded(f"{model}: epoch {epoch} is over, nothing was written")

    def _try(self, *actions: dict[str, Any]) -> bool:
        """Write all or nothing; False when a condition does not hold.

        A conflict says nothing about the condition: another transaction touched an item at that moment. It is tried again.
        """
        for attempt in range(CONFLICT_ATTEMPTS):
            try:
                with translated("ledger write"):
                    self._write(actions)
            except ClientError as error:
                codes = {error.response["Error"]["Code"], *(r.get("Code") for r in error.response.get("CancellationReasons", []))}
                if "ConditionalCheckFailed" in codes or "ConditionalCheckFailedException" in codes:
                    return False
                if not codes & CONFLICTS:
                    raise
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  # jitter
            else:
                return True
        raise ServiceUnavailable(f"ledger write: in conflict with other writers {CONFLICT_ATTEMPTS} times")

    def _write(self, actions: tuple[dict[str, Any], ...]) -> None:
        """One action is a plain conditional write; several are a transaction, at twice the price."""
        if len(actions) > 1:
            self._client.transact_write_items(TransactItems=list(actions))
        elif put := actions[0].get("Put"):
            self._client.put_item(**put)
        else:
            self._client.delete_item(**actions[0]["Delete"])

    def _get(self, model: str, item: str) -> dict[str, Any] | None:
        with translated("ledger read"):
            found = self._client.get_item(**self._key(model, item), ConsistentRead=True)
        return self._body(found["Item"]) if "Item" in found else None

    def _required(self, model: str, item: str) -> dict[str, Any]:
        found = self._get(model, item)
        if found is None:
            raise RecordMissing(f"the ledger has no {item} of {model}")
        return found

    def _get_many(self, model: str, items: list[str]) -> list[dict[str, Any]]:
        """At most BATCH items, in no order; one that is not there is left out. What DynamoDB puts off is asked for again."""
        found: list[dict[str, Any]] = []
        asked: dict[str, Any] = {self._table: {"ConsistentRead": True, "Keys": [self._key(model, item)["Key"] for item in items]}}
        for attempt in range(CONFLICT_ATTEMPTS):
            with translated("ledger read"):
                answer = self._client.batch_get_item(RequestItems=asked)
            found += answer["Responses"].get(self._table, [])
            if not (asked := answer.get("UnprocessedKeys") or {}):
                return [self._body(item) for item in found]
            time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  # jitter
        raise ServiceUnavailable(f"ledger read: items of {model} were put off {CONFLICT_ATTEMPTS} times")

    def _query(self, model: str, prefix: str, *, first: bool = False, backwards: bool = False) -> list[dict[str, Any]]:
        """Every item below a prefix in its order, or only the first; a consistent read."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table, ConsistentRead=True, KeyConditionExpression="#m = :m AND begins_with(#i, :i)",
            ExpressionAttributeNames={"#m": "model", "#i": "item"}, ExpressionAttributeValues=self._item({":m": model, ":i": prefix}),
            ScanIndexForward=not backwards, PaginationConfig={"MaxItems": 1, "PageSize": 1} if first else {},
        )  # fmt: skip
        with translated("ledger read"):
            return [self._body(item) for page in pages for item in page["Items"]]

    def _body(self, item: dict[str, Any]) -> dict[str, Any]:
        return {name: plain(self._deserialize(value)) for name, value in item.items()}


def _idle_before(epoch: int) -> tuple[str, dict[str, Any]]:
    """The condition that nobody holds the lease and that the epoch before this one was the last."""
    if epoch == 1:
        return "attribute_not_exists(#item)", {}
    return "(epoch = :before AND attribute_type(#owner, :null))", {":before": epoch - 1, ":null": "NULL"}


def _upload(upload: Upload) -> str:
    return f"UPLOAD#{upload.id}"


def _marker(upload: Upload) -> str:
    """Markers sort by time: received_at is ISO 8601 of one width."""
    return f"OPEN#{upload.received_at}#{upload.id}"


def _load(record: type[R], item: dict[str, Any]) -> R:
    """The record of an item, without the attributes that only serve the table."""
    return record.model_validate({name: item[name] for name in record.model_fields if name in item})


def _dump(
    record: Upload | Exclusion | Run | Package | Champion | Release | Suppression | Unreproducible | Waiver | DecisionEntry,
) -> dict[str, Any]:
    return record.model_dump(mode="json")
