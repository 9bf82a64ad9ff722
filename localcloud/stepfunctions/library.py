"""The JSONata functions that Step Functions adds to JSONata's own.

Source: docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html#jsonata-functions-provided-by-sfn
"""

import hashlib
import json
import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jsonata import Utils
from jsonata.functions import Functions

LONGEST_RANGE = 1000
HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def library(now: float) -> dict[str, Callable[..., Any]]:
    """The functions by name. `now`: seconds since the epoch, which $now and $millis give."""

    def text_of_now(picture: str | None = None, timezone: str | None = None) -> Any:
        if picture is None:
            return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return Functions.datetime_from_millis(int(now * 1000), picture, timezone)

    return {
        "hash": _hash,
        "millis": lambda: int(now * 1000),
        "now": text_of_now,
        "parse": lambda text: nulls_in(json.loads(text)),
        "partition": lambda items, size: [items[start : start + int(size)] for start in range(0, len(items), int(size))],
        "random": lambda seed=None: random.Random(seed).random(),  # noqa: S311  # as AWS's, nothing secret
        "range": _range,
        "uuid": lambda: str(uuid.uuid4()),
    }


def _hash(text: str, algorithm: str) -> str:
    if algorithm not in HASHES:
        raise ValueError(f"$hash knows {', '.join(HASHES)}, not {algorithm}")
    return hashlib.new(HASHES[algorithm], text.encode()).hexdigest()


def _range(start: float, end: float, step: float) -> list[float]:
    """Both ends included."""
    if not step:
        raise ValueError("$range needs a step that is not 0")
    number = int((end - start) // step) + 1
    if number > LONGEST_RANGE:
        raise ValueError(f"$range makes at most {LONGEST_RANGE} numbers")
    return [start + step * i for i in range(max(number, 0))]


def nulls_in(value: Any) -> Any:
    """JSON null is a value; python's None means undefined to jsonata-python."""
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, dict):
        return {name: nulls_in(item) for name, item in value.items()}
    return [nulls_in(item) for item in value] if isinstance(value, list) else value
