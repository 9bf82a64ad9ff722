"""A dirty CSV of any size: 20 columns, and every kind of fault that the rules of SPEC find. The same size gives the same bytes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tidemill.spec import ModelSpec, parse_spec

KINDS = ("standard", "express", "bulk", "fragile", "cold")
REGIONS = tuple(f"R{i:02d}" for i in range(20))
SPEC = f"""
name = "orders"
task = "binary"
owners = ["bench@example.com"]
[data]
reject_share_max = 0.2
split = {{ by = "key", train = 0.8, validation = 0.1, test = 0.1 }}
[columns]
order_id = {{ role = "key", type = "string", pattern = "o-[0-9]{{9}}" }}
placed_at = {{ role = "time", type = "datetime" }}
late = {{ role = "label", type = "boolean", nullable = true }}
kind = {{ type = "category", allowed = [{", ".join(f'"{kind}"' for kind in KINDS)}] }}
region = {{ type = "category", allowed = [{", ".join(f'"{region}"' for region in REGIONS)}] }}
channel = {{ type = "category", allowed = ["web", "app", "shop"], nullable = true, other = "missing" }}
depot = {{ type = "category", max_length = 6 }}
carrier = {{ type = "category", pattern = "[A-Z]{{2}}" }}
weight_kg = {{ type = "float", min = 0, max = 1000 }}
volume_l = {{ type = "float", min = 0, max = 5000, nullable = true }}
price = {{ type = "float", min = 0 }}
discount = {{ type = "float", min = 0, max = 1, nullable = true }}
temp_c = {{ type = "float", nullable = true, min = -60, max = 60 }}
distance_km = {{ type = "float", min = 0, max = 20000 }}
items = {{ type = "integer", min = 1, max = 500 }}
stops = {{ type = "integer", min = 0, max = 50 }}
age_days = {{ type = "integer", nullable = true, min = 0 }}
priority = {{ type = "integer", min = 1, max = 5 }}
gift = {{ type = "boolean" }}
note = {{ role = "ignore", type = "string", nullable = true }}
"""
ROWS = 200_000
NOTES = ["", "", "", "call first", "ring twice", 'say "hello"', "leave at door, please", "two\nlines", "näher", "gate 7"]


def spec() -> ModelSpec:
    return parse_spec(SPEC, "models/orders/model.toml")


def write(path: Path, size_bytes: int) -> int:
    """Write about `size_bytes`; the number of rows."""
    rows = chunk = 0
    old = b""
    with path.open("wb") as file:
        file.write((",".join(spec().columns) + "\n").encode())
        while file.tell() < size_bytes:
            frame = _chunk(chunk)
            old = frame[:1].write_csv(include_header=False).encode() if not chunk else old
            file.write(frame.write_csv(include_header=False).encode())
            if chunk:
                file.write(old)  # a row of the beginning once more
            if chunk % 3 == 0:
                file.write(b"o-1,short row\n")
            rows, chunk = rows + len(frame) + (chunk % 3 == 0) + (chunk > 0), chunk + 1
    return rows


def _chunk(number: int) -> pl.DataFrame:
    rng = np.random.default_rng(number)
    clean = pl.DataFrame(_clean(rng, number))
    dirty = clean.with_columns(
        _some(rng, "placed_at", 0.001, "yesterday"), _some(rng, "late", 0.03, None), _some(rng, "kind", 0.002, "n/a"),
        _some(rng, "region", 0.001, "R99"), _some(rng, "channel", 0.01, "fax"), _some(rng, "weight_kg", 0.002, "-1.0"),
        _some(rng, "volume_l", 0.05, None), _some(rng, "price", 0.002, "n/a"), _some(rng, "discount", 0.3, None), _some(rng, "temp_c", 0.001, "999"),
        _some(rng, "items", 0.002, "2.5"), _some(rng, "age_days", 0.1, None), _some(rng, "priority", 0.001, "9"), _some(rng, "carrier", 0.001, "x1"),
    )  # fmt: skip
    again = pl.Series(rng.random(ROWS) < 0.002)  # a row sent once more, a little later
    resent = dirty.with_row_index("at").filter(again).with_columns(pl.col("at") + 3000)
    return pl.concat([dirty.with_row_index("at"), resent]).sort("at", maintain_order=True).drop("at")


def _some(rng: np.random.Generator, name: str, share: float, value: str | None) -> pl.Expr:
    return pl.when(pl.Series(rng.random(ROWS) < share)).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)


def _clean(rng: np.random.Generator, number: int) -> dict[str, pl.Series]:
    first = number * ROWS
    ids = pl.Series(np.arange(first, first + ROWS)).cast(pl.String).str.zfill(9)
    times = pl.Series(
        np.datetime64("2024-01-01T00:00:00.000") + np.sort(rng.integers(0, 86_400 * 365, ROWS)).astype("timedelta64[s]"), dtype=pl.Datetime("ms")
    )

    def of(values: Sequence[str]) -> pl.Series:
        return pl.Series(np.array(values, object)[rng.integers(0, len(values), ROWS)], dtype=pl.String)

    def number_of(values: NDArray[np.float64], digits: int) -> pl.Series:
        return pl.Series(np.round(values, digits)).cast(pl.String)

    def whole(low: int, high: int) -> pl.Series:
        return pl.Series(rng.integers(low, high, ROWS)).cast(pl.String)

    return {
        "order_id": "o-" + ids, "placed_at": times.dt.strftime("%Y-%m-%dT%H:%M:%S"), "late": of(["true", "false"]), "kind": of(KINDS), "region": of(REGIONS),
        "channel": of(["web", "app", "shop"]), "depot": of([f"D{i:03d}" for i in range(300)]), "carrier": of(["UP", "FX", "DH", "DP"]),
        "weight_kg": number_of(rng.gamma(2, 5, ROWS), 2), "volume_l": number_of(rng.gamma(2, 20, ROWS), 1), "price": number_of(rng.gamma(3, 20, ROWS), 2),
        "discount": number_of(rng.random(ROWS) * 0.5, 2), "temp_c": number_of(rng.normal(12, 8, ROWS), 1), "distance_km": number_of(rng.gamma(1, 80, ROWS), 1),
        "items": whole(1, 30), "stops": whole(0, 12), "age_days": whole(0, 2000), "priority": whole(1, 6), "gift": of(["0", "1"]), "note": of(NOTES),
    }  # fmt: skip
