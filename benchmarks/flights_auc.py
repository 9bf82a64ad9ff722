"""What AUC flights reaches on a later month: trained on months 1..n, scored on month n+1, with the days and the keys split.

    python -m benchmarks.flights_auc

Two numbers for each n: the honest one (every row of the next month, which the model never saw) and what a split of the
same months by key would have promised (its own test side). Writes benchmarks/results/flights_auc.json.
"""

import io
import time

import polars as pl
from sklearn.metrics import roc_auc_score

from benchmarks.record import ROOT, write
from tidemill.cli.flights import month_csv
from tidemill.dataset import SPLITS, Candidate, Dataset, DatasetPart, SplitName, assemble
from tidemill.model import estimators
from tidemill.model.features import Rows, features_of, labels_of
from tidemill.prepare.part import SmallPart, prepare
from tidemill.spec import ModelSpec, load_spec

MONTHS = (1, 2, 3, 6, 9, 11)


def rows(dataset: Dataset, parts: dict[str, SmallPart], split: SplitName) -> pl.DataFrame:
    frames = [pl.read_parquet(io.BytesIO(parts[part].files[file.name])) for part, file in dataset.files(split)]
    return pl.concat(frames).filter(pl.col("late").is_not_null())


def trained(spec: ModelSpec, months: dict[int, bytes], upto: int) -> dict[str, float | int]:
    """AUC of model and linear baseline: on the split's own test side, and on the whole next month."""
    made = [prepare(months[m], f"2013-{m:02d}.csv", spec) for m in range(1, upto + 1)]
    parts = {part.record.id: part for part in made}
    dataset = assemble(tuple(Candidate(DatasetPart.of(part.record)) for part in made), spec)
    sides = {split: rows(dataset, parts, split) for split in SPLITS}
    train, validation = (Rows(features_of(sides[s], spec), labels_of(sides[s], spec)) for s in ("train", "validation"))
    after = prepare(months[upto + 1], "next.csv", spec)
    later = pl.concat([pl.read_parquet(io.BytesIO(d)) for d in after.files.values()])
    later = later.filter(pl.col("late").is_not_null())
    out: dict[str, float | int] = {"train_rows": len(train.labels), "next_month_rows": len(later)}
    for name in ("default", "linear"):
        model = estimators.fit(name, spec, train, validation)
        for where, frame in (("own_test", sides["test"]), ("next_month", later)):
            out[f"{name}_{where}"] = round(roc_auc_score(labels_of(frame, spec), model.predict_proba(features_of(frame, spec))[:, 1]), 4)
    return out


def main() -> None:
    started = time.monotonic()
    by_time = load_spec(ROOT / "models" / "flights" / "model.toml")
    split = by_time.data.split.model_copy(update={"by": "key"})
    by_key = by_time.model_copy(update={"data": by_time.data.model_copy(update={"split": split})})
    months = {m: month_csv(m) for m in range(1, max(MONTHS) + 2)}
    raw = [{"months": f"1-{n}", "split": s, **trained(spec, months, n)} for n in MONTHS for s, spec in (("time", by_time), ("key", by_key))]
    means = {
        f"{split}_{where}": round(sum(float(r[f"default_{where}"]) for r in raw if r["split"] == split) / len(MONTHS), 3)
        for split in ("time", "key")
        for where in ("own_test", "next_month")
    }
    write("flights_auc", command="python -m benchmarks.flights_auc", repeats=1, seconds=time.monotonic() - started, figures=means, raw=raw)
    for row in raw:
        print(row)
    print(means)


if __name__ == "__main__":
    main()
