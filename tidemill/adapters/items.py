"""Plain JSON values to and from what DynamoDB's serializer takes: it knows Decimal, not float."""

from decimal import Decimal
from typing import Any


def stored(value: Any) -> Any:
    """Floats become Decimals, tuples lists; the rest stays."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: stored(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [stored(item) for item in value]
    return value


def plain(value: Any) -> Any:
    """Decimals become ints where they are whole, else floats."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
