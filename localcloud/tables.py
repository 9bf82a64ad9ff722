"""DynamoDB's transactions at a price that does not grow with the table. One seam of moto: `transact_write_items` keeps a deep
copy of the whole table for every action of a transaction, to go back to; where items are only put and deleted, a copy of which
items there are is enough, for moto replaces items and does not change them.
"""

import copy
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from moto.dynamodb import models as moto_dynamodb
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table

_transact = DynamoDBBackend.transact_write_items
_deepcopy = copy.deepcopy


def install() -> None:
    """For this process. Transactions run one at a time: the front door holds DynamoDB's lock."""

    def transact(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        in_place = any("Update" in action for action in transact_items)
        moto_dynamodb.copy = SimpleNamespace(deepcopy=_deepcopy if in_place else _listed)
        try:
            _transact(backend, transact_items)
        finally:
            moto_dynamodb.copy = copy

    DynamoDBBackend.transact_write_items = transact


def _listed(value: Any) -> Any:
    if not isinstance(value, Table):
        return _deepcopy(value)
    listed = copy.copy(value)
    rows = {key: dict(items) if value.has_range_key else items for key, items in value.items.items()}
    listed.items = defaultdict(dict, rows)
    return listed
