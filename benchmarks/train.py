"""Training 1M × 20 by the container's `train` against plain scikit-learn that fits the same pipeline on the same rows.

    python -m benchmarks.train            (or make bench-train: five to ten minutes)
    python -m benchmarks.train --quick    (50,000 rows, for development: writes nothing)

Every run is a process of its own; wall time with its imports, RSS is the process's maximum. The linear baseline, which `train` fits
beside the model, is counted apart: `ours` runs without it, `ours-with-baseline` with it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import ROOT, max_rss_mb, write

REPEATS = 3
ROWS = 1_250_000
CONTENDERS = ("plain", "ours", "ours-with-baseline")
NUMBERS, CATEGORIES = 14, 6
SPEC = """
name = "synthetic"
task = "binary"
owners = ["bench@example.com"]
[data]
split = { by = "key", train = 0.8, validation = 0.1, test = 0.1 }
[columns]
id = { role = "key", type = "integer" }
label = { role = "label", type = "boolean" }
""" + "".join(
    [f'n{i} = {{ type = "float", nullable = true }}\n' for i in range(NUMBERS)] + [f'c{i} = {{ type = "category" }}\n' for i in range(CATEGORIES)]
)


def lay_out(root: Path, rows: int) -> None:
    """The tree of a training job, made by prepare from a CSV."""
    import numpy as np
    import polars as pl

    from tidemill.dataset import Candidate, DatasetPart, assemble
    from tidemill.layout import unpacked
    from tidemill.prepare.part import prepare_upload
    from tidemill.spec import parse_spec

    rng = np.random.default_rng(7)
    numbers = rng.normal(size=(rows, NUMBERS)).round(4)
    categories = rng.integers(0, 40, (rows, CATEGORIES))
    signal = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + np.sin(categories[:, 0]) + (categories[:, 1] > 20) + rng.normal(0, 1, rows)
    table = {"id": np.arange(rows), "label": np.where(signal > 0.5, "true", "false")}
    table |= {f"n{i}": numbers[:, i] for i in range(NUMBERS)} | {f"c{i}": categories[:, i] for i in range(CATEGORIES)}
    frame = pl.DataFrame(table).with_columns(pl.col(f"c{i}").cast(pl.String) for i in range(CATEGORIES))
    frame = frame.with_columns(pl.when(pl.Series(rng.random(rows) > 0.05)).then(pl.col("n3")).alias("n3"))
    spec, source, work = parse_spec(SPEC, "model.toml"), root / "rows.csv", root / "work"
    frame.write_csv(source)
    work.mkdir()
    with source.open("rb") as stream:
        part = prepare_upload(stream, source.name, spec, work)
    source.unlink()
    dataset = assemble((Candidate(DatasetPart.of(part.record)),), spec)
    for split in ("train", "validation"):
        for path in unpacked(dataset).paths(split):
            target = root / "input/data" / split / path
            target.parent.mkdir(parents=True)
            part.files[target.stem].rename(target)
    for folder, name, text in (
        ("dataset", "manifest.json", dataset.model_dump_json()), ("dataset", "layout.json", unpacked(dataset).model_dump_json()),
        ("code/synthetic", "model.toml", SPEC), ("../config", "hyperparameters.json", json.dumps({"model": "synthetic", "run": "0001"})),
    ):  # fmt: skip
        (root / "input/data" / folder).mkdir(parents=True, exist_ok=True)
        (root / "input/data" / folder / name).write_text(text, encoding="utf-8")


def plain() -> None:
    """As a person writes it: pandas reads the two files, scikit-learn fits, joblib keeps."""
    import joblib
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    root, columns = Path(os.environ["OPT_ML"]), [f"n{i}" for i in range(NUMBERS)] + [f"c{i}" for i in range(CATEGORIES)]
    train, validation = (
        pd.concat(pd.read_parquet(path, columns=[*columns, "label"]) for path in (root / "input/data" / split).rglob("*.parquet"))
        for split in ("train", "validation")
    )
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"), encoded_missing_value=float("nan"), max_categories=250)
    prepare = ColumnTransformer([("categories", encode, columns[NUMBERS:]), ("numbers", "passthrough", columns[:NUMBERS])])
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=500, l2_regularization=1.0, early_stopping=True, n_iter_no_change=20, categorical_features=list(range(CATEGORIES)),
        random_state=13,
    )  # fmt: skip
    known = prepare.fit_transform(train[columns])
    model.fit(known, train["label"].astype(int), X_val=prepare.transform(validation[columns]), y_val=validation["label"].astype(int))
    joblib.dump(Pipeline([("columns", prepare), ("model", model)]), root / "plain.joblib", compress=3)


def ours(*, baseline: bool) -> None:
    from sklearn.dummy import DummyClassifier

    from tidemill.model import estimators
    from training import train

    if not baseline:
        estimators._linear = lambda spec, rows, settings: DummyClassifier().fit(rows.features[:2], [0, 1])  # type: ignore[assignment]
    train.train()


def run(contender: str, root: Path) -> dict[str, Any]:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.train", "--as", contender],
        cwd=ROOT, env=os.environ | {"OPT_ML": str(root)}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    result = {"contender": contender, "seconds": round(time.monotonic() - began, 2), **json.loads(done.stdout.splitlines()[-1])}
    print(result, flush=True)
    return result


def compare(rows: int, repeats: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Contenders take turns, so that a slow minute of the machine is shared."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), rows)
        raw = [run(contender, Path(folder)) for _ in range(repeats) for contender in CONTENDERS]
    found = {c: {k: statistics.median(r[k] for r in raw if r["contender"] == c) for k in ("seconds", "rss_mb")} for c in CONTENDERS}
    figures = {
        "wall_ratio_vs_plain_sklearn": round(found["ours"]["seconds"] / found["plain"]["seconds"], 3),
        "rss_ratio_vs_plain_sklearn": round(found["ours"]["rss_mb"] / found["plain"]["rss_mb"], 3),
        "baseline_s": round(found["ours-with-baseline"]["seconds"] - found["ours"]["seconds"], 1),
        "baseline_rss_mb": found["ours-with-baseline"]["rss_mb"] - found["ours"]["rss_mb"],
        "seconds_plain": found["plain"]["seconds"],
        "seconds_ours": found["ours"]["seconds"],
    }
    return figures, raw


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--as", dest="contender", choices=CONTENDERS)
    options = parser.parse_args()
    if options.contender:
        plain() if options.contender == "plain" else ours(baseline=options.contender == "ours-with-baseline")
        print(json.dumps({"rss_mb": max_rss_mb()}))
        return
    began = time.monotonic()
    figures, raw = compare(*((50_000, 1) if options.quick else (ROWS, REPEATS)))
    if not options.quick:
        write("train", command="python -m benchmarks.train", repeats=REPEATS, seconds=time.monotonic() - began, figures=figures, raw=raw)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
