"""The ledger on one DynamoDB table: partition key `model`, sort key `item`.

Items: LEASE · UPLOAD#<id> · RUN#<epoch> · PACKAGE#<version> · CHAMPION · RELEASE#<version> · RELEASE_LOCK ·
DECISION#<seq>, and the head of the decision chain, DECISIONS.
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
from tidemill.records import Champion, DecisionEntry, Lease, Package, Release, Run, Upload, chained

LEASE, CHAMPION, RELEASE_LOCK, DECISIONS = "LEASE", "CHAMPION", "RELEASE_LOCK", "DECISIONS"
CHAIN_ATTEMPTS = 20
CONFLICT_ATTEMPTS = 7
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
        return self._try(self._put(upload.model, f"UPLOAD#{upload.id}", _dump(upload), "attribute_not_exists(#item)"))

    def uploads(self, model: str) -> list[Upload]:
        """Every upload of the model, oldest first; a consistent read."""
        return sorted((_load(Upload, item) for item in self._query(model, "UPLOAD#")), key=lambda upload: upload.order)

    def claim_upload(self, upload: Upload, epoch: int) -> bool:
        """Take an upload that is pending, was claimed by an epoch that ended without preparing it, or was prepared by an earlier one."""
        free = "#state = :pending OR (#state = :claimed AND epoch <= :epoch) OR (#state = :prepared AND epoch < :epoch)"
        put = self._put(
            upload.model, f"UPLOAD#{upload.id}", _dump(upload.model_copy(update={"state": "claimed", "epoch": epoch})), free,
            {":pending": "pending", ":claimed": "claimed", ":prepared": "prepared", ":epoch": epoch}, {"#state": "state"},
        )  # fmt: skip
        return self._try(self._held(upload.model, epoch), put)

    def finish_upload(self, upload: Upload, epoch: int) -> None:
        """Write `prepared` or `refused` for an upload this epoch claimed."""
        condition = "epoch = :epoch"
        self._fenced(upload.model, epoch, self._put(upload.model, f"UPLOAD#{upload.id}", _dump(upload), condition, {":epoch": epoch}))

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

    def skip_epoch(self, model: str, epoch: int) -> None:
        """Count an epoch whose execution ended before it claimed, so that the next can start; a lost race is fine."""
        free, values = _idle_before(epoch)
        self._try(self._put(model, LEASE, {"epoch": epoch, "owner": None}, free, values, {"#owner": "owner"}))

    def release_lease(self, model: str, epoch: int, owner: str) -> None:
        """Make the model idle if this owner still holds it; a lost race is fine."""
        values = {":epoch": epoch, ":owner": owner}
        self._try(self._put(model, LEASE, {"epoch": epoch, "owner": None}, "epoch = :epoch AND #owner = :owner", values, {"#owner": "owner"}))

    # runs and packages

    def put_run(self, run: Run) -> None:
        """Write the run's record as it stands now."""
        self._fenced(run.model, run.epoch, self._put(run.model, f"RUN#{run.epoch:08d}", _dump(run)))

    def run(self, model: str, epoch: int) -> Run:
        return _load(Run, self._required(model, f"RUN#{epoch:08d}"))

    def runs(self, model: str) -> list[Run]:
        return [_load(Run, item) for item in self._query(model, "RUN#")]

    def put_package(self, package: Package) -> None:
        self._fenced(package.model, package.run, self._put(package.model, f"PACKAGE#{package.version:08d}", _dump(package)))

    def package(self, model: str, version: int) -> Package:
        return _load(Package, self._required(model, f"PACKAGE#{version:08d}"))

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
        key = {"TableName": self._table, "Key": self._item({"model": model, "item": RELEASE_LOCK})}
        condition = {
            "ConditionExpression": "#owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": self._item({":owner": owner}),
        }
        self._try({"Delete": key | condition})

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

    def _held(self, model: str, epoch: int) -> dict[str, Any]:
        key = self._item({"model": model, "item": LEASE})
        return {
            "ConditionCheck": {
                "TableName": self._table, "Key": key, "ConditionExpression": "epoch = :epoch", "ExpressionAttributeValues": self._item({":epoch": epoch}),
            }
        }  # fmt: skip

    def _fenced(self, model: str, epoch: int, put: dict[str, Any]) -> None:
        if not self._try(self._held(model, epoch), put):
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
            found = self._client.get_item(TableName=self._table, Key=self._item({"model": model, "item": item}), ConsistentRead=True)
        return self._body(found["Item"]) if "Item" in found else None

    def _required(self, model: str, item: str) -> dict[str, Any]:
        found = self._get(model, item)
        if found is None:
            raise RecordMissing(f"the ledger has no {item} of {model}")
        return found

    def _query(self, model: str, prefix: str) -> list[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table, ConsistentRead=True, KeyConditionExpression="#m = :m AND begins_with(#i, :i)",
            ExpressionAttributeNames={"#m": "model", "#i": "item"}, ExpressionAttributeValues=self._item({":m": model, ":i": prefix}),
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


def _load(record: type[R], item: dict[str, Any]) -> R:
    """The record of an item, without the attributes that only serve the table."""
    return record.model_validate({name: item[name] for name in record.model_fields if name in item})


def _dump(record: Upload | Run | Package | Champion | Release | DecisionEntry) -> dict[str, Any]:
    return record.model_dump(mode="json")
