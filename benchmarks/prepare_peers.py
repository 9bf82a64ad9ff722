"""One run of one contestant of benchmarks.prepare: `python -m benchmarks.prepare_peers <peer> <csv> <folder>`; prints rows kept and rejected, and the RSS."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.dirty import spec
from benchmarks.record import max_rss_mb

FLOATS = ("weight_kg", "volume_l", "price", "discount", "temp_c", "distance_km")
INTEGERS = ("items", "stops", "age_days", "priority")


def ours(source: Path, folder: Path) -> dict[str, int]:
    from tidemill.prepare.part import prepare_upload

    with source.open("rb") as file:
        record = prepare_upload(file, source.name, spec(), folder).record
    return {"kept": record.kept, "rejected": record.rejected}


def pandas(source: Path, folder: Path) -> dict[str, int]:
    """As everyone writes it: read whole, coerce, mask, drop duplicates."""
    import pandas as pd

    raw = pd.read_csv(source, dtype=str, on_bad_lines="skip")
    typed = raw.copy()
    typed["placed_at"] = pd.to_datetime(raw["placed_at"], errors="coerce", utc=True)
    for name in (*FLOATS, *INTEGERS):
        typed[name] = pd.to_numeric(raw[name], errors="coerce")
    for name in ("late", "gift"):
        typed[name] = raw[name].str.lower().map({"true": True, "1": True, "false": False, "0": False})
    faults = []
    for name, column in spec().columns.items():
        if column.role == "ignore":
            continue
        values, text = typed[name], raw[name]
        rules: list[tuple[str, Any]] = [("type", values.isna() & text.notna())]
        if not column.nullable:
            rules.append(("required", text.isna()))
        if column.min is not None:
            rules.append(("min", values < column.min))
        if column.max is not None:
            rules.append(("max", values > column.max))
        if column.allowed and column.other == "reject":
            rules.append(("allowed", ~values.isin(column.allowed) & text.notna()))
        if column.pattern:
            rules.append(("pattern", ~values.str.fullmatch(column.pattern).fillna(True).astype(bool)))
        faults += [pd.DataFrame({"column": name, "rule": rule, "value": text[mask]}) for rule, mask in rules if mask.any()]
    rejects = pd.concat(faults)
    good = typed.drop(index=rejects.index.unique())
    kept = good.drop_duplicates("order_id", keep="last")
    share = pd.util.hash_pandas_object(kept["order_id"], index=False) / 2**64
    for side, low, high in (("train", 0, 0.8), ("validation", 0.8, 0.9), ("test", 0.9, 1.1)):
        kept[(share >= low) & (share < high)].to_parquet(folder / f"{side}.parquet", compression="zstd", index=False)
    rejects.join(raw, how="left").to_parquet(folder / "rejects.parquet", compression="zstd")
    profile = {name: {"missing": int(kept[name].isna().sum()), "distinct": int(kept[name].nunique())} for name in kept.columns if name != "note"}
    numbers = kept[[*FLOATS, *INTEGERS]].describe(percentiles=[0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]).to_dict()
    tops = {name: kept[name].value_counts().head(64).to_dict() for name in ("kind", "region", "channel", "depot", "carrier")}
    (folder / "profile.json").write_text(json.dumps({"columns": profile, "numbers": numbers, "top": tops}, default=str))
    return {"kept": len(kept), "rejected": len(raw) - len(kept)}


def polars(source: Path, folder: Path) -> dict[str, int]:
    """Streaming: a first pass for repeated keys and the profile, a second one that writes."""
    import polars as pl

    columns = spec().columns
    raw = pl.scan_csv(source, infer_schema=False, truncate_ragged_lines=True).with_row_index("line", offset=2)
    as_boolean = {"true": True, "1": True, "false": False, "0": False}
    typed = raw.with_columns(
        pl.col("placed_at").str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False).alias("placed_at.v"),
        *(pl.col(name).cast(pl.Float64, strict=False).alias(f"{name}.v") for name in FLOATS),
        *(pl.col(name).cast(pl.Int64, strict=False).alias(f"{name}.v") for name in INTEGERS),
        *(
            pl.col(name).str.to_lowercase().replace_strict(as_boolean, default=None, return_dtype=pl.Boolean).alias(f"{name}.v")
            for name in ("late", "gift")
        ),
    )
    rules = []
    for name, column in columns.items():
        text, value = pl.col(name), pl.col(name if column.type in ("string", "category") else f"{name}.v")
        if column.role == "ignore":
            continue
        rules.append((f"{name}: type", value.is_null() & text.is_not_null()))
        rules += [(f"{name}: required", text.is_null())] * (not column.nullable)
        rules += [(f"{name}: min", value < column.min)] if column.min is not None else []
        rules += [(f"{name}: max", value > column.max)] if column.max is not None else []
        rules += [(f"{name}: allowed", ~value.is_in(list(column.allowed or ())))] * bool(column.allowed and column.other == "reject")
        rules += [(f"{name}: pattern", ~value.str.contains(f"^(?:{column.pattern})$"))] * bool(column.pattern)
    reason = pl.coalesce(pl.when(broken.fill_null(False)).then(pl.lit(rule)) for rule, broken in rules)
    judged = typed.with_columns(reason=reason)
    good = judged.filter(pl.col("reason").is_null())
    numbers = [f"{name}.v" for name in (*FLOATS, *INTEGERS)]
    facts = [
        pl.len().alias("rows"),
        *(pl.col(name).null_count().alias(f"{name}.missing") for name in columns),
        *(pl.col(name).approx_n_unique().alias(f"{name}.distinct") for name in columns if name != "note"),
        *(getattr(pl.col(name), fact)().alias(f"{name}.{fact}") for name in numbers for fact in ("min", "max", "mean", "std", "median")),
    ]
    profile, last = pl.collect_all(
        [good.select(facts), good.group_by("order_id").agg(pl.col("line").max(), pl.len()).filter(pl.col("len") > 1)], engine="streaming"
    )
    repeated = last.lazy().select("order_id", last_line="line")
    final = judged.join(repeated, on="order_id", how="left")
    keep = pl.col("reason").is_null() & (pl.col("last_line").is_null() | (pl.col("line") == pl.col("last_line")))
    share = pl.col("order_id").hash(7).cast(pl.Float64) / 2.0**64
    kept = final.filter(keep).select(*(pl.col(f"{n}.v" if f"{n}.v" in typed.collect_schema() else n).alias(n) for n in columns), share=share)
    sides = {"train": pl.col("share") < 0.8, "validation": pl.col("share").is_between(0.8, 0.9, closed="left"), "test": pl.col("share") >= 0.9}
    sinks = [kept.filter(side).sink_parquet(folder / f"{name}.parquet", compression="zstd", lazy=True) for name, side in sides.items()]
    sinks.append(final.filter(~keep).select("line", "reason", *columns).sink_parquet(folder / "rejects.parquet", compression="zstd", lazy=True))
    pl.collect_all(sinks, engine="streaming")
    (folder / "profile.json").write_text(json.dumps(profile.to_dicts(), default=str))
    counts = {file: int(pl.scan_parquet(folder / f"{file}.parquet").select(pl.len()).collect().item()) for file in (*sides, "rejects")}
    return {"kept": sum(counts[side] for side in sides), "rejected": counts["rejects"]}


def duckdb(source: Path, folder: Path) -> dict[str, int]:
    """A table of text with a reason a row, then statements over it; 1 GB of memory."""
    import duckdb as db

    base = db.connect(str(folder / "work.db"))
    base.execute("set memory_limit = '1GB'")
    base.execute(f"set temp_directory = '{folder}/spill'")
    types = {"float": "double", "integer": "bigint", "boolean": "boolean", "datetime": "timestamp", "string": "varchar", "category": "varchar"}
    columns = spec().columns
    cases, values = [], []
    for name, column in columns.items():
        value = f"try_cast({name} as {types[column.type]})"
        values.append(f"{value} as {name}")
        if column.role == "ignore":
            continue
        cases.append(f"when {value} is null and {name} is not null then '{name}: type'")
        cases += [f"when {name} is null then '{name}: required'"] * (not column.nullable)
        cases += [f"when {value} < {column.min} then '{name}: min'"] * (column.min is not None)
        cases += [f"when {value} > {column.max} then '{name}: max'"] * (column.max is not None)
        listed = ", ".join(f"'{allowed}'" for allowed in column.allowed or ())
        cases += [f"when {name} not in ({listed}) then '{name}: allowed'"] * bool(listed and column.other == "reject")
        cases += [f"when not regexp_full_match({name}, '{column.pattern}') then '{name}: pattern'"] * bool(column.pattern)
    read = f"read_csv('{source}', all_varchar = true, header = true, quote = '\"', escape = '\"', null_padding = false, ignore_errors = true)"
    base.execute(f"create table raw as select row_number() over () as line, case {' '.join(cases)} end as reason, * from {read}")  # noqa: S608
    base.execute("create table last as select order_id, max(line) as line from raw where reason is null group by order_id having count(*) > 1")
    joined = "raw left join last using (order_id) where {}reason is null and (last.line is null or last.line = raw.line)"
    base.execute(f"create table kept as select {', '.join(v.replace('(order_id', '(raw.order_id') for v in values)} from " + joined.format(""))  # noqa: S608
    for side, low, high in (("train", 0, 80), ("validation", 80, 90), ("test", 90, 100)):
        chosen = f"select * from kept where hash(order_id) % 100 >= {low} and hash(order_id) % 100 < {high}"  # noqa: S608
        base.execute(f"copy ({chosen}) to '{folder}/{side}.parquet' (format parquet, compression zstd)")
    bad = "select raw.* from raw left join last using (order_id) where reason is not null or (last.line is not null and last.line != raw.line)"
    base.execute(f"copy ({bad}) to '{folder}/rejects.parquet' (format parquet, compression zstd)")
    (folder / "profile.json").write_text(json.dumps(base.execute("summarize kept").fetchall(), default=str))
    kept, rejected = (base.execute(f"select count(*) from '{folder}/{name}.parquet'").fetchall()[0][0] for name in ("[tv]*", "rejects"))  # noqa: S608
    return {"kept": int(kept), "rejected": int(rejected)}


if __name__ == "__main__":
    peer, source, folder = sys.argv[1:]
    told = {"ours": ours, "pandas": pandas, "polars": polars, "duckdb": duckdb}[peer](Path(source), Path(folder))
    print(json.dumps(told | {"rss_mb": max_rss_mb()}))
